"""TLS by real handshakes."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from s3orchestrator.web.limits import Limits
from s3orchestrator.web.site import StreamingSite
from s3orchestrator.web.tls import MOST_BYTES, ServerTls, TlsError
from tests.unit.web.certificates import Authority
from tests.unit.web.serving import Answers, listen, path_as_body

REQUEST = b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"


class TlsTests(TestCase):
    timeout = 30.0
    on_socket = True

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.authority = Authority()
        self.ca_file = self.authority.write(self.directory / "ca.pem")
        self.cert_file, self.key_file = self.authority.issue("first", self.directory)

    def serve(self, tls: ServerTls) -> None:
        site = StreamingSite(Answers(path_as_body), Limits(), self.reactor)
        port = listen(self.reactor, "127.0.0.1", 0, site, tls, on_socket=self.on_socket)
        self.addCleanup(lambda: Deferred.fromCoroutine(site.drain(1)))
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)

    async def connect(self, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        connection: ssl.SSLSocket = await deferToThread(_connected, context or self.client(), self.port)
        self.addCleanup(connection.close)
        return connection

    async def ask(self, connection: ssl.SSLSocket) -> bytes:
        answer: bytes = await deferToThread(_asked, connection)
        return answer

    async def test_serves(self) -> None:
        """A client that trusts our authority is served, and told that HTTP/1.1 is spoken."""
        self.serve(ServerTls(self.cert_file, self.key_file))
        context = self.client()
        context.set_alpn_protocols(["h2", "http/1.1"])
        connection = await self.connect(context)
        self.assertEqual(connection.selected_alpn_protocol(), "http/1.1")
        self.assertTrue((await self.ask(connection)).endswith(b"/hello"))
        self.assertTrue((await self.ask(connection)).endswith(b"/hello"))

    async def test_chain(self) -> None:
        """All of the certificates in the file are shown: clients trust the first in a row of authorities."""
        middle = Authority("middle", above=self.authority)
        cert_file, key_file = middle.issue("below", self.directory)
        own, upper = (
            Path(cert_file).read_text(),
            Path(middle.write(self.directory / "middle.pem")).read_text(),
        )
        Path(cert_file).write_text(own + upper)
        self.serve(ServerTls(cert_file, key_file))
        self.assertTrue((await self.ask(await self.connect())).endswith(b"/hello"))

    async def test_asks_for_certificates_of(self) -> None:
        """Clients are told whose certificates are wanted, so that those with several show the right one."""
        theirs = Authority("theirs")
        ca_file = theirs.write(self.directory / "theirs.pem")
        self.serve(ServerTls(self.cert_file, self.key_file, client_ca_file=ca_file))
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        told = await deferToThread(_authorities_wanted, context, self.port)
        self.assertEqual([name.CN for name in told], ["theirs"])

    async def test_nothing_deprecated(self) -> None:
        """Nothing is used of what pyOpenSSL is about to drop, such as keys and certificates of its own."""
        more = [self.authority.issue("second", self.directory)]
        tls = ServerTls(self.cert_file, self.key_file, client_ca_file=self.ca_file, more=more)
        self.serve(tls)
        tls.reload()
        context = self.client()
        context.load_cert_chain(*self.authority.issue("client", self.directory))
        self.assertTrue((await self.ask(await self.connect(context))).endswith(b"/hello"))
        self.assertEqual(self.flushWarnings(), [])

    async def test_request_is_secure(self) -> None:
        """A resource can tell that a request came through TLS."""
        answers = Answers(path_as_body)
        site = StreamingSite(answers, Limits(), self.reactor)
        tls = ServerTls(self.cert_file, self.key_file)
        port = listen(self.reactor, "127.0.0.1", 0, site, tls, on_socket=self.on_socket)
        self.port = port.getHost().port
        connection = await self.connect()
        await self.ask(connection)
        self.assertTrue(answers.requests[0].isSecure())
        self.assertEqual(answers.requests[0].client_address, "127.0.0.1")
        connection.close()
        await port.stopListening()
        await site.drain(1)

    async def test_reload(self) -> None:
        """After a reload new connections see the new certificate, and old ones live on."""
        tls = ServerTls(self.cert_file, self.key_file)
        self.serve(tls)
        before = await self.connect()
        self.assertEqual(_name(before), "first")
        cert_file, key_file = self.authority.issue("second", self.directory)
        shutil.copy(cert_file, self.cert_file)
        shutil.copy(key_file, self.key_file)
        tls.reload()
        after = await self.connect()
        self.assertEqual(_name(after), "second")
        self.assertTrue((await self.ask(before)).endswith(b"/hello"))
        self.assertTrue((await self.ask(after)).endswith(b"/hello"))

    async def test_failed_reload(self) -> None:
        """Files that do not fit are refused, and the old certificate stays."""
        tls = ServerTls(self.cert_file, self.key_file)
        self.serve(tls)
        cert_file, _ = self.authority.issue("second", self.directory)
        shutil.copy(cert_file, self.cert_file)
        self.assertRaises(TlsError, tls.reload)
        Path(self.cert_file).write_text("no certificate")
        self.assertRaises(TlsError, tls.reload)
        Path(self.cert_file).unlink()
        self.assertRaises(TlsError, tls.reload)
        os.mkfifo(self.cert_file)
        self.assertIn("is no regular file", str(self.assertRaises(TlsError, tls.reload)))
        Path(self.cert_file).unlink()
        Path(self.cert_file).write_bytes(b"\n" * (MOST_BYTES + 1))
        self.assertIn("is larger than 1 MiB", str(self.assertRaises(TlsError, tls.reload)))
        self.assertEqual(_name(await self.connect()), "first")

    def test_unusable(self) -> None:
        """Which file it is, and what is wrong with it, in words that need no knowledge of Python."""
        rubbish, other = self.directory / "rubbish", self.authority.issue("other", self.directory)
        rubbish.write_text("no certificate, and no key")
        locked = self.directory / "locked.key"
        key = load_pem_private_key(Path(self.key_file).read_bytes(), None)
        coded = BestAvailableEncryption(b"secret")
        locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, coded))
        nothing = self.directory / "nothing"
        for cert_file, key_file, ca_file, said in (
            (rubbish, self.key_file, "", f"{rubbish}: there is no certificate in it that can be read (PEM)"),
            (self.cert_file, self.cert_file, "", f"{self.cert_file}: there is no private key in it"),
            (self.cert_file, locked, "", f"{locked}: the key has a passphrase: write one without"),
            (self.cert_file, nothing, "", f"{nothing}: No such file or directory"),
            (self.cert_file, other[1], "", f"{self.cert_file} and {other[1]} do not belong together"),
            (self.cert_file, self.key_file, rubbish, f"{rubbish}: there is no certificate in it"),
        ):
            with self.assertRaises(TlsError) as refused:
                ServerTls(str(cert_file), str(key_file), client_ca_file=str(ca_file))
            self.assertIn(said, str(refused.exception))
            self.assertNotIn("cryptography", str(refused.exception))

    async def test_minimum_version(self) -> None:
        """With 1.3 as the minimum a client of 1.2 is refused; with 1.2 it is not."""
        old = self.client()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        self.serve(ServerTls(self.cert_file, self.key_file, "1.3"))
        self.assertEqual((await self.connect()).version(), "TLSv1.3")
        with self.assertRaises(ssl.SSLError):
            await self.connect(old)
        self.serve(ServerTls(self.cert_file, self.key_file, "1.2"))
        self.assertEqual((await self.connect(old)).version(), "TLSv1.2")

    async def test_client_authority(self) -> None:
        """Where clients must show a certificate, one of that authority's is served and no other."""
        theirs = Authority("theirs")
        ca_file = theirs.write(self.directory / "theirs.pem")
        self.serve(ServerTls(self.cert_file, self.key_file, client_ca_file=ca_file))

        known = self.client()
        known.load_cert_chain(*theirs.issue("known", self.directory))
        self.assertTrue((await self.ask(await self.connect(known))).endswith(b"/hello"))

        stranger = self.client()
        stranger.load_cert_chain(*self.authority.issue("stranger", self.directory))
        for context in (stranger, self.client()):
            with self.assertRaises((ssl.SSLError, ConnectionError)):
                # With TLS 1.3 the client learns it when it reads.
                await self.ask(await self.connect(context))

    def test_files_that_are_not(self) -> None:
        """A file that is missing or something else is named."""
        for arguments in (
            ("missing.pem", self.key_file),
            (self.cert_file, "missing.pem"),
            (self.cert_file, self.cert_file),
            (self.key_file, self.key_file),
            (self.cert_file, self.key_file, "1.2", "missing.pem"),
        ):
            error = self.assertRaises(TlsError, ServerTls, *arguments)
            self.assertIn(".", str(error).split(":")[0])

    def test_half_written(self) -> None:
        """A chain or a list of authorities that ends within a certificate is refused."""
        whole = Path(self.ca_file).read_text()
        Path(self.ca_file).write_text(whole + whole[: len(whole) // 2])
        error = self.assertRaises(TlsError, ServerTls, self.cert_file, self.key_file, "1.2", self.ca_file)
        self.assertIn("is cut off", str(error))
        with Path(self.cert_file).open("a") as chain:
            chain.write(whole[: len(whole) // 2])
        self.assertIn(
            "is cut off", str(self.assertRaises(TlsError, ServerTls, self.cert_file, self.key_file))
        )

    def test_unusable_keys(self) -> None:
        """Why OpenSSL refuses a key or an authority is said."""
        key_file = self.directory / "another.key"
        for key, reason in (
            (x25519.X25519PrivateKey.generate(), "cannot be used: Unsupported key type"),
            (ed25519.Ed25519PrivateKey.generate(), "do not belong together"),
        ):
            key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            error = self.assertRaises(TlsError, ServerTls, self.cert_file, str(key_file))
            self.assertIn(reason, str(error))
        _, other_key = self.authority.issue("other", self.directory)
        error = self.assertRaises(TlsError, ServerTls, self.cert_file, other_key)
        self.assertIn("do not belong together", str(error))
        with Path(self.ca_file).open("a") as authorities:
            authorities.write("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
        error = self.assertRaises(TlsError, ServerTls, self.cert_file, self.key_file, "1.2", self.ca_file)
        self.assertIn("OpenSSL cannot read it", str(error))

    async def shown(self, host: str, context: ssl.SSLContext | None = None) -> tuple[str, str | None]:
        """Ask for a host; return the name in the certificate that is shown, and the protocol agreed on."""
        context = context or self.client()
        context.check_hostname = False
        context.set_alpn_protocols(["h2", "http/1.1"])
        connection: ssl.SSLSocket = await deferToThread(_connected, context, self.port, host)
        try:
            await self.ask(connection)
            return _name(connection), connection.selected_alpn_protocol()
        finally:
            connection.close()

    def serve_two(self, client_ca_file: str = "") -> ServerTls:
        """Serve a certificate for two hosts, one of them any below a name, beside the first one."""
        second = self.authority.issue("second", self.directory, ["s3.example.net", "*.s3.example.net"])
        tls = ServerTls(self.cert_file, self.key_file, client_ca_file=client_ca_file, more=[second])
        self.serve(tls)
        return tls

    async def test_server_names(self) -> None:
        """A client is shown the certificate for the name it asks for, and else the first one."""
        self.serve_two()
        for host, name in (
            ("s3.example.net", "second"),
            ("S3.Example.NET", "second"),
            ("photos.s3.example.net", "second"),
            ("a.b.s3.example.net", "first"),
            ("example.net", "first"),
            ("127.0.0.1", "first"),
        ):
            self.assertEqual(await self.shown(host), (name, "http/1.1"))

    async def test_server_names_after_reload(self) -> None:
        """A reload replaces each of them, also when connections were served before."""
        tls = self.serve_two()
        self.assertEqual(await self.shown("s3.example.net"), ("second", "http/1.1"))
        third = self.authority.issue("third", self.directory, ["s3.example.net"])
        for new, old in zip(third, self.authority.issue("second", self.directory), strict=True):
            shutil.copy(new, old)
        take_over = tls.prepare()
        self.assertEqual(await self.shown("s3.example.net"), ("second", "http/1.1"))
        take_over()
        self.assertEqual(await self.shown("s3.example.net"), ("third", "http/1.1"))
        self.assertEqual(await self.shown("photos.s3.example.net"), ("first", "http/1.1"))

    async def test_client_authority_with_server_names(self) -> None:
        """Clients must show a certificate whichever name they ask for."""
        self.serve_two(self.ca_file)
        for host, name in (("s3.example.net", "second"), ("127.0.0.1", "first")):
            for authority in (None, Authority("other")):
                context = self.client()
                if authority is not None:
                    context.load_cert_chain(*authority.issue("stranger", self.directory))
                with self.assertRaises((ssl.SSLError, ConnectionError)):
                    await self.shown(host, context)
            context = self.client()
            context.load_cert_chain(*self.authority.issue("friend", self.directory))
            self.assertEqual(await self.shown(host, context), (name, "http/1.1"))

    async def test_no_common_protocol(self) -> None:
        """With a client that speaks none of ours no protocol is agreed on, and it may go on without."""
        self.serve(ServerTls(self.cert_file, self.key_file))
        context = self.client()
        context.set_alpn_protocols(["h2"])
        connection = await self.connect(context)
        self.assertIsNone(connection.selected_alpn_protocol())

    def test_held(self) -> None:
        """What there is, and how long it is good."""
        period = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC))
        pair = self.authority.issue("short", self.directory, ["A.example.net"], period)
        tls = ServerTls(self.cert_file, self.key_file, client_ca_file=self.ca_file, more=[pair])
        own, short, authority = tls.held
        self.assertEqual((own.file, own.names), (self.cert_file, frozenset()))
        self.assertEqual(
            (short.file, short.names, short.not_before, short.not_after),
            (pair[0], frozenset(["a.example.net"]), *period),
        )
        self.assertEqual(authority.file, self.ca_file)

    def test_contexts_are_frozen(self) -> None:
        """A context that has served a connection cannot be changed: why a reload builds a new one."""
        tls = ServerTls(self.cert_file, self.key_file)
        context = tls._loaded.default
        SSL.Connection(context)
        self.assertRaises(ValueError, context.set_options, SSL.OP_NO_TLSv1_2)


class InMemoryTests(TlsTests):
    """The same, where TLS is not on the socket."""

    on_socket = False


def _connected(context: ssl.SSLContext, port: int, host: str = "127.0.0.1") -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    return context.wrap_socket(plain, server_hostname=host)


def _asked(connection: ssl.SSLSocket) -> bytes:
    connection.sendall(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\n/hello"):
        data = connection.recv(1000)
        if not data:
            raise ConnectionError("ended")
        answer += data
    return answer


def _name(connection: ssl.SSLSocket) -> str:
    subject: Any = connection.getpeercert()
    return str(subject["subject"][0][0][1])


def _authorities_wanted(context: SSL.Context, port: int) -> list[Any]:
    """Return whose certificates a server asks for."""
    with socket.create_connection(("127.0.0.1", port), 10) as plain:
        plain.setblocking(True)
        connection = SSL.Connection(context, plain)
        connection.set_connect_state()
        connection.do_handshake()
        return connection.get_client_ca_list()
