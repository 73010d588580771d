"""Listening at all kinds of places."""

from __future__ import annotations

import os
import socket
import ssl
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from s3orchestrator.config.server import ListenerConfig, TlsConfig
from s3orchestrator.web.inherited import FIRST, Inherited
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.listeners import Listener, ListenError, open_listener
from s3orchestrator.web.request import Request
from s3orchestrator.web.site import StreamingSite
from s3orchestrator.web.tls import TlsError
from tests.unit.web.certificates import Authority
from tests.unit.web.serving import Answers, path_as_body

REQUEST = b"GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class ListenerTests(TestCase):
    timeout = 30.0

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.answers = Answers(path_as_body)
        self.site = StreamingSite(self.answers, Limits(), reactor)
        self.directory = Path(self.mktemp()).absolute()
        # Names of Unix sockets are short.
        self.path = f"/tmp/s3o-{os.getpid()}-{id(self)}.sock"
        self.addCleanup(lambda: Path(self.path).unlink(missing_ok=True))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.site.drain(1)))

    def open(self, address: str, inherited: Inherited | None = None, **more: Any) -> Listener:
        settings = ListenerConfig(address=address, **more)
        listener = open_listener(self.reactor, settings, self.site, inherited or Inherited())
        self.addCleanup(lambda: Deferred.fromCoroutine(listener.close()))
        return listener

    async def ask(self, connect: Callable[[], socket.socket]) -> bytes:
        """Ask for something, without TLS; returns what came."""
        answer: bytes = await deferToThread(_asked, connect)
        return answer

    def unix(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        connection.connect(self.path)
        return connection

    def tcp(self, host: str, port: int) -> Callable[[], socket.socket]:
        return lambda: socket.create_connection((host, port), timeout=10)

    def refusal(self, address: str, **more: Any) -> str:
        return str(self.assertRaises(ListenError, self.open, address, **more))

    async def test_addresses(self) -> None:
        """IPv4 and IPv6, with the URL that a client on this machine would use."""
        for host, url in (("127.0.0.1", "http://127.0.0.1:"), ("[::1]", "http://[::1]:")):
            (endpoint,) = self.open(f"{host}:0").endpoints
            self.assertTrue(endpoint.startswith(url))
            port = int(endpoint.rpartition(":")[2])
            self.assertTrue((await self.ask(self.tcp(host.strip("[]"), port))).endswith(b"/hello"))

    def test_everywhere(self) -> None:
        """Every address is asked at the loopback one."""
        self.assertTrue(self.open("[::]:0").endpoints[0].startswith("http://[::1]:"))
        self.assertTrue(self.open(":0").endpoints[0].startswith("http://127.0.0.1:"))

    def test_taken(self) -> None:
        """An address that is somebody else's is named."""
        port = self.open("127.0.0.1:0").endpoints[0].rpartition(":")[2]
        self.assertEqual(
            self.refusal(f"127.0.0.1:{port}"), f"cannot listen on 127.0.0.1:{port}: Address already in use"
        )

    async def test_unix(self) -> None:
        """A Unix socket serves, has the mode that was asked for, and goes when it is closed."""
        listener = self.open(f"unix:{self.path}", socket_mode=0o600)
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o600)
        self.assertEqual(listener.endpoints, [f"http+unix:{self.path}"])
        self.assertTrue((await self.ask(self.unix)).endswith(b"/hello"))
        self.assertEqual(self.answers.requests[0].client_address, "unix")
        await listener.close()
        self.assertFalse(os.path.exists(self.path))

    async def test_large_answer_on_unix(self) -> None:
        """A Unix socket waits for its reader as any other does."""
        size = 20 << 20
        self.answers._answer = partial(_answer_with, b"x" * size)
        self.open(f"unix:{self.path}")
        answer = await self.ask(self.unix)
        self.assertEqual(len(answer.partition(b"\r\n\r\n")[2]), size)

    async def test_leftover(self) -> None:
        """The file of a process that is gone is replaced; one that is listened at is not, nor other files."""
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
        self.open(f"unix:{self.path}")
        self.assertTrue((await self.ask(self.unix)).endswith(b"/hello"))
        self.assertEqual(
            self.refusal(f"unix:{self.path}"),
            f"cannot listen on unix:{self.path}: somebody else listens there",
        )
        os.unlink(self.path)
        Path(self.path).write_text("precious")
        self.assertIn("no socket", self.refusal(f"unix:{self.path}"))
        self.assertEqual(Path(self.path).read_text(), "precious")

    async def test_file_of_another(self) -> None:
        """A file that is another's by then stays when we close."""
        listener = self.open(f"unix:{self.path}")
        os.unlink(self.path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path)
            await listener.close()
            self.assertTrue(os.path.exists(self.path))

    def test_nowhere(self) -> None:
        """A directory that is not there is said."""
        self.assertIn("No such file or directory", self.refusal("unix:/nowhere/s3.sock"))

    def passed(self, *sockets: socket.socket) -> Inherited:
        """Sockets passed under the name `s3`; their numbers are not those that systemd would give them."""
        inherited = Inherited()
        inherited._by_name["s3"] = [each.fileno() for each in sockets]
        return inherited

    async def test_passed(self) -> None:
        """All sockets of a name are served; after us they are still listened at, and who waits is kept."""
        first, second = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        first.set_inheritable(True)
        second.bind(self.path)
        os.chmod(self.path, 0o640)
        second.listen()
        port = first.getsockname()[1]
        listener = self.open("systemd:s3", self.passed(first, second))
        self.assertEqual(listener.endpoints, [f"http://127.0.0.1:{port}", f"http+unix:{self.path}"])
        for connect in (self.tcp("127.0.0.1", port), self.unix):
            self.assertTrue((await self.ask(connect)).endswith(b"/hello"))
        # A program that we start would keep it open, and take clients away.
        self.assertFalse(first.get_inheritable())
        await listener.close()
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o640)
        waiting = [self.tcp("127.0.0.1", port)(), self.unix()]
        self.open("systemd:s3", self.passed(first, second))
        for connection in waiting:
            self.assertTrue((await self.ask(lambda found=connection: found)).endswith(b"/hello"))  # type: ignore[misc]

    async def test_waiting(self) -> None:
        """Those who have connected before it is closed can be accepted; after that there is nobody."""
        several = [self.open("127.0.0.1:0"), self.open(f"unix:{self.path}")]
        port = int(several[0].endpoints[0].rpartition(":")[2])
        waiting = [connect() for connect in [self.tcp("127.0.0.1", port), self.unix] * 3]
        for connection in waiting:
            connection.sendall(REQUEST)
        for listener in several:
            listener.accept_waiting()
            await listener.close()
            listener.accept_waiting()
        for connection in waiting:
            self.assertTrue((await deferToThread(_rest, connection)).endswith(b"/hello"))

    async def test_tls(self) -> None:
        """Whatever a listener is, it may speak TLS, in either way of doing so."""
        authority = Authority()
        self.directory.mkdir()
        cert_file, key_file = authority.issue("server", self.directory)
        context = ssl.create_default_context(cafile=authority.write(self.directory / "ca.pem"))

        def secure(plain: Callable[[], socket.socket]) -> Callable[[], socket.socket]:
            return lambda: context.wrap_socket(plain(), server_hostname="127.0.0.1")

        for on_socket in (True, False):
            tls = TlsConfig(cert_file=cert_file, key_file=key_file, on_socket=on_socket)
            first, second = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
            with first, second:
                second.bind(self.path)
                second.listen()
                port = first.getsockname()[1]
                passed = self.open("systemd:s3", self.passed(first, second), tls=tls)
                self.assertEqual(passed.endpoints, [f"https://127.0.0.1:{port}", f"https+unix:{self.path}"])
                for connect in (self.tcp("127.0.0.1", port), self.unix):
                    self.assertTrue((await self.ask(secure(connect))).endswith(b"/hello"))
                await passed.close()
            os.unlink(self.path)
            own = self.open(f"unix:{self.path}", tls=tls)
            self.assertTrue((await self.ask(secure(self.unix))).endswith(b"/hello"))
            self.assertEqual({request.isSecure() for request in self.answers.requests}, {True})
            await own.close()

    def test_not_passed(self) -> None:
        """A name that nobody passed is an error that says which were."""
        inherited = Inherited.of({"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}, 1)
        said = self.refusal("systemd:s3", inherited=inherited)
        self.assertIn("cannot listen on systemd:s3: no socket of that name", said)
        self.assertIn("passed: web", said)

    def test_no_listening_socket(self) -> None:
        """A descriptor that nobody can be accepted from is an error."""
        with socket.socket() as idle, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            for each in (idle, datagrams):
                self.assertIn("no listening", self.refusal("systemd:s3", inherited=self.passed(each)))
        self.assertGreaterEqual(idle.fileno(), -1)
        self.assertEqual(FIRST, 3)

    def test_no_certificate(self) -> None:
        """Files that cannot be used are an error, and nobody listens."""
        tls = TlsConfig(cert_file="/nowhere.pem", key_file="/nowhere.key")
        error = self.assertRaises(TlsError, self.open, f"unix:{self.path}", tls=tls)
        self.assertEqual(str(error), "/nowhere.pem: No such file or directory")
        self.assertFalse(os.path.exists(self.path))


def _answer_with(body: bytes, request: Request) -> None:
    request.setHeader(b"content-length", b"%d" % len(body))
    request.write(body)
    request.finish()


def _asked(connect: Callable[[], socket.socket]) -> bytes:
    with connect() as connection:
        connection.sendall(REQUEST)
        return _rest(connection)


def _rest(connection: socket.socket) -> bytes:
    with connection:
        answer = b""
        while data := connection.recv(1 << 20):
            answer += data
    return answer
