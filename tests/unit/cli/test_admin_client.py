"""Where an operator's command finds the daemon, and its token."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.cli.admin_client import CannotAsk, Client, Place, Trust, place
from tests.unit.config.samples import scratch
from tests.unit.web.certificates import Authority

ENVIRON = {"S3O_ADMIN_URL": "http://env:1", "S3O_ADMIN_TOKEN": "from-env"}


class TrustTests(SynchronousTestCase):
    def test_files_that_cannot_be_used(self) -> None:
        """Which option it is, and what to do about it."""
        directory = scratch(self)
        authority = Authority()
        ca_file = authority.write(directory / "ca.crt")
        cert_file, key_file = authority.issue("client", directory)
        _, other = authority.issue("other", directory)
        nothing = str(directory / "nothing")
        for trust, said in (
            (Trust(ca_file=nothing), f"--ca-file {nothing}: No such file"),
            (Trust(cert_file=cert_file, key_file=nothing), f"--key-file {nothing}: No such file"),
            (Trust(ca_file=key_file), f"--ca-file {key_file}: there is no certificate (PEM) in it"),
            (Trust(cert_file=cert_file), "give --key-file"),
            (Trust(key_file=key_file), "--key-file belongs to --cert-file"),
            (Trust(ca_file, cert_file, other), f"{cert_file} and {other} are no certificate and its key"),
        ):
            client = Client(Place("https://127.0.0.1:1", "token", "a test"), 1, trust)
            self.assertIn(said, str(self.assertRaises(CannotAsk, client.get, "status")))

    def test_certificate_wanted(self) -> None:
        """Who is not let in without a certificate is told how to show one, in either version of TLS."""
        directory = scratch(self)
        authority = Authority()
        ca_file = authority.write(directory / "ca.crt")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=ca_file)
        context.load_cert_chain(*authority.issue("server", directory))
        context.verify_mode = ssl.CERT_REQUIRED
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.maximum_version = version
            with socket.create_server(("127.0.0.1", 0)) as server:
                thread = Thread(target=refuse, args=(server, context))
                thread.start()
                place = Place(f"https://127.0.0.1:{server.getsockname()[1]}", "token", "a test")
                refused = self.assertRaises(CannotAsk, Client(place, 10, Trust(ca_file)).get, "status")
                thread.join()
            self.assertIn("give one with --cert-file and --key-file", str(refused))


def refuse(server: socket.socket, context: ssl.SSLContext) -> None:
    """Have one client come, shake hands with it, and say why that failed before hanging up."""
    connection, _ = server.accept()
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    secured = context.wrap_bio(coming, going, server_side=True)
    with connection:
        while received := connection.recv(65536):
            coming.write(received)
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(going.read())
            except ssl.SSLError:
                connection.sendall(going.read())
                return


class PlaceTests(SynchronousTestCase):
    def written(self, server: str, ui: str = 'admin_token: "t"', more: str = "") -> str:
        path = Path(self.mktemp())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"server: {{{server}}}\nui: {{{ui}}}\n{more}")
        return str(path)

    def url(self, server: str) -> str:
        return place(None, self.written(server), {}).url

    def test_environment(self) -> None:
        """With both in the environment no file is needed; --url wins."""
        self.assertEqual(place(None, None, ENVIRON), Place("http://env:1", "from-env", "S3O_ADMIN_TOKEN"))
        self.assertEqual(place("http://option", "/none", ENVIRON).url, "http://option")

    def test_addresses(self) -> None:
        """A daemon that listens everywhere is asked on this machine, with TLS if it has a certificate."""
        for address, url in (
            ("127.0.0.1:9000", "http://127.0.0.1:9000"),
            (":9000", "http://127.0.0.1:9000"),
            ("0.0.0.0:9000", "http://127.0.0.1:9000"),
            ("[::]:9000", "http://[::1]:9000"),
            ("[::1]:80", "http://[::1]:80"),
            ("s3.example:9000", "http://s3.example:9000"),
        ):
            self.assertEqual(self.url(f'listen_addr: "{address}"'), url)
        tls = "tls: {cert_file: c, key_file: k}"
        self.assertEqual(self.url(f'listen_addr: "h:9000", {tls}'), "https://h:9000")

    def test_tokens(self) -> None:
        """`admin_token` if there is one, else `admin_key`."""
        server = 'listen_addr: "h:1"'
        both = place(None, self.written(server, 'admin_key: "k", admin_token: "t"'), {})
        self.assertEqual((both.token, both.token_from.split(" ")[0]), ("t", "ui.admin_token"))
        only = place(None, self.written(server, 'admin_key: "k"'), {})
        self.assertEqual((only.token, only.token_from.split(" ")[0]), ("k", "ui.admin_key"))
        key_unset = self.written(server, 'admin_key: "${UNSET}", admin_token: "t"')
        self.assertEqual(place(None, key_unset, {}).token, "t")
        expanded = self.written(server, 'admin_token: "${SET}"')
        self.assertEqual(place(None, expanded, {"SET": "value"}).token, "value")

    def test_rest_of_the_file(self) -> None:
        """Whatever is wrong elsewhere does not matter."""
        more = 'nonsense: 1\nbackends: [{name: "${UNSET}", type: nix}]\n'
        self.assertEqual(place(None, self.written('listen_addr: "h:1"', more=more), {}).url, "http://h:1")

    def test_missing(self) -> None:
        """What is missing is said, with what to do."""
        for server, ui, said in (
            ('listen_addr: "${UNSET}"', 'admin_token: "t"', "UNSET"),
            ('listen_addr: "nonsense"', 'admin_token: "t"', "listen_addr"),
            ('listen_addr: "h:1"', "", "no ui.admin_token"),
            ('listen_addr: "h:1"', 'admin_token: "${UNSET}"', "S3O_ADMIN_TOKEN"),
            ('listen_addr: "h:1"', 'admin_token: "tökén"', "no header can hold"),
        ):
            refused = self.assertRaises(CannotAsk, place, None, self.written(server, ui), {})
            self.assertIn(said, str(refused))
        broken = self.written("[", "")
        self.assertRaises(CannotAsk, place, None, broken, {})
        self.assertIn("there is no such file", str(self.assertRaises(CannotAsk, place, None, "/none", {})))

    def test_only_what_is_wanted(self) -> None:
        """What the environment has is not looked for in the file."""
        path = self.written('listen_addr: "${UNSET}"')
        self.assertEqual(
            place(None, path, {"S3O_ADMIN_URL": "http://env"}),
            Place("http://env", "t", f"ui.admin_token of {path}"),
        )
        path = self.written('listen_addr: "h:1"', 'admin_token: "${UNSET}"')
        self.assertEqual(
            place(None, path, {"S3O_ADMIN_TOKEN": "e"}), Place("http://h:1", "e", "S3O_ADMIN_TOKEN")
        )
