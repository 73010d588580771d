"""Where to listen: places, and what must hold between them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.addresses import Address
from s3orchestrator.config.loader import load
from s3orchestrator.config.places import SystemdSocket, UnixSocket, parse_place
from s3orchestrator.config.scalars import ScalarError
from tests.unit.config.samples import MINIMAL, errors, warnings

SERVER = 'server:\n  listen_addr: "127.0.0.1:9000"\n'
PAIR = "cert_file: c, key_file: k"


def with_server(settings: str) -> str:
    """A configuration with these settings of the server, in place of the address."""
    assert SERVER in MINIMAL
    return MINIMAL.replace(SERVER, f"server: {{{settings}}}\n")


class PlaceTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """An address, a Unix socket, or what systemd opened."""
        for text, place in (
            ("127.0.0.1:9000", Address("127.0.0.1", 9000)),
            ("[::]:9000", Address("::", 9000)),
            (":9000", Address("", 9000)),
            ("unix:/run/s3.sock", UnixSocket("/run/s3.sock")),
            ("systemd:s3", SystemdSocket("s3")),
        ):
            self.assertEqual(parse_place(text), place)

    def test_refused(self) -> None:
        """What is none of them is refused, and it is said what was expected."""
        for text, why in (
            ("unix:s3.sock", "absolute path"),
            ("unix:/" + "x" * 107, "more than 107 bytes"),
            ("systemd:", "has no name"),
            ("systemd:a:b", "has no name"),
            ("nowhere", "is not an address"),
            ("http://127.0.0.1:9000", "is a URL: write HOST:PORT"),
        ):
            self.assertIn(why, str(self.assertRaises(ScalarError, parse_place, text)))


class ListenerTests(SynchronousTestCase):
    def test_both_forms_are_one(self) -> None:
        """The short form is a list of one."""
        short = load(with_server(f'listen_addr: "h:1", tls: {{{PAIR}}}'), {}).config.server
        long = load(with_server(f'listeners: [{{address: "h:1", tls: {{{PAIR}}}}}]'), {}).config.server
        self.assertEqual(short.places, long.places)

    def test_several(self) -> None:
        """Each has a place and TLS of its own."""
        first = f'{{address: "[::]:443", tls: {{{PAIR}}}}}'
        text = f'listeners: [{first}, {{address: "unix:/s", socket_mode: 0600}}]'
        secure, local = load(with_server(text), {}).config.server.places
        self.assertEqual((secure.tls.enabled, local.tls.enabled), (True, False))
        self.assertEqual((secure.socket_mode, local.socket_mode), (0o660, 0o600))

    def test_mistakes(self) -> None:
        """Each is named with its path."""
        for settings, path, why in (
            ("log_level: info", "server.listen_addr", "is required: write listen_addr: 127.0.0.1:9000"),
            ("listeners: [{}]", "server.listeners[0].address", "is required: write address: 127.0.0.1:9000"),
            ('listen_addr: "h:1", listeners: [{address: "h:2"}]', "server.listeners", "beside listen_addr"),
            (f'tls: {{{PAIR}}}, listeners: [{{address: "h:2"}}]', "server.tls", "belongs to listen_addr"),
            (
                'listeners: [{address: "h:2"}, {address: "h:2"}]',
                "server.listeners[1].address",
                "must be unique",
            ),
            (
                'listeners: [{address: "h:2", tls: {cert_file: c}}]',
                "server.listeners[0].tls.key_file",
                "is required beside cert_file",
            ),
            (
                'listen_addr: "h:1", tls: {client_ca_file: a}',
                "server.tls.client_ca_file",
                "has no effect without TLS",
            ),
            (
                f'listen_addr: "h:1", tls: {{certificates: [{{{PAIR}}}]}}',
                "server.tls.certificates",
                "has no effect without TLS",
            ),
            (
                f'listen_addr: "h:1", tls: {{{PAIR}, certificates: [{{cert_file: c}}]}}',
                "server.tls.certificates[0].key_file",
                "is required beside cert_file",
            ),
            (
                f'listen_addr: "h:1", tls: {{{PAIR}, certificates: [{{}}]}}',
                "server.tls.certificates[0]",
                "needs cert_file and key_file",
            ),
            (
                'listeners: [{address: "unix:/s", socket_mode: 8}]',
                "server.listeners[0].socket_mode",
                "is not a mode",
            ),
        ):
            found = errors(with_server(settings))
            self.assertEqual([*found], [path], settings)
            self.assertIn(why, found[path])

    def test_overlaps(self) -> None:
        """Every address of a kind leaves none of that kind to others, at the same port."""
        for first, second, is_refused in (
            (":9000", "127.0.0.1:9000", True),
            ("0.0.0.0:9000", "127.0.0.1:9000", True),
            ("[::]:9000", "[::1]:9000", True),
            (":9000", "127.0.0.1:9001", False),
            (":9000", "[::]:9000", False),
            ("127.0.0.1:9000", "127.0.0.2:9000", False),
            (":9000", "localhost:9000", False),
        ):
            for one, other, path in ((first, second, 1), (second, first, 0)):
                found = errors(with_server(f'listeners: [{{address: "{one}"}}, {{address: "{other}"}}]'))
                self.assertEqual([*found], [f"server.listeners[{path}].address"] if is_refused else [])
                self.assertTrue(all("leave one of them out" in why for why in found.values()))

    def test_socket_mode(self) -> None:
        """Permissions are of the file of a Unix socket, and of nothing else."""
        path = "server.listeners[0].socket_mode"
        for address, without_effect in (("unix:/s", []), ("h:1", [path]), ("systemd:s3", [path])):
            text = with_server(f'listeners: [{{address: "{address}", socket_mode: 0600}}]')
            self.assertEqual([*warnings(load(text, {}))], without_effect)

    def test_any_port(self) -> None:
        """Several listeners may have any free port each."""
        self.assertEqual(errors(with_server('listeners: [{address: "h:0"}, {address: "h:0"}]')), {})
