"""Addresses of services, and how they are reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site

from s3orchestrator.backends.dialling import Address, dial_with
from s3orchestrator.backends.transport import HttpClient
from s3orchestrator.bodies.sources import collect
from s3orchestrator.errors import BackendUnavailable
from tests.unit.backends.bodies import Endless
from tests.unit.backends.certificates import Authority
from tests.unit.backends.scripted import pause, the_reactor

MIB = 1024 * 1024


class AddressTests(SynchronousTestCase):
    """What an endpoint's URL says."""

    def test_ports(self) -> None:
        """
        The usual port is not named in Host; any other is.
        """
        for url, host, port, secure, header in [
            ("https://s3.example.com", "s3.example.com", 443, True, b"s3.example.com"),
            ("http://s3.example.com:80/", "s3.example.com", 80, False, b"s3.example.com"),
            ("http://s3.example.com:443", "s3.example.com", 443, False, b"s3.example.com:443"),
            ("https://127.0.0.1:9000", "127.0.0.1", 9000, True, b"127.0.0.1:9000"),
            ("http://[::1]:9000", "::1", 9000, False, b"[::1]:9000"),
            ("http://bücher.example", "bücher.example", 80, False, b"xn--bcher-kva.example"),
        ]:
            address = Address.of(url)
            self.assertEqual(
                (address.host, address.port, address.secure, address.header), (host, port, secure, header)
            )

    def test_not_a_url(self) -> None:
        """
        Anything else is refused.
        """
        for url in ["", "s3.example.com", "ftp://x", "https://", "http://x:port"]:
            with self.assertRaises(ValueError):
                Address.of(url)

    def test_below(self) -> None:
        """
        A bucket may be the first label of the host.
        """
        self.assertEqual(Address.of("https://s3.example.com:444").below("b").header, b"b.s3.example.com:444")


class _Page(Resource):
    """Gives the same bytes to everybody; tells whoever sends something how much it was."""

    isLeaf = True

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def render_GET(self, request: Any) -> bytes:
        return self._data

    def render_PUT(self, request: Any) -> bytes:
        return b"%d" % len(request.content.read())


class DiallingTests(TestCase):
    """Real connections to a Twisted server."""

    timeout = 20

    def setUp(self) -> None:
        self.reactor = the_reactor()
        root = Resource()
        root.putChild(b"small", _Page(b"small"))
        root.putChild(b"large", _Page(bytes(4 * MIB)))
        root.putChild(b"put", _Page(b""))
        self.site = Site(root)
        self.authority = Authority()
        self.ca_file = str(Path(self.mktemp()).absolute())
        Path(self.ca_file).write_bytes(b"# our own\n" + self.authority.pem + Authority().pem)

    def listen(self, options: Any = None, interface: str = "127.0.0.1") -> int:
        if options is None:
            port = self.reactor.listenTCP(0, self.site, interface=interface)
        else:
            port = self.reactor.listenSSL(0, self.site, options, interface=interface)
        self.addCleanup(maybeDeferred, port.stopListening)
        number: int = port.getHost().port
        return number

    def connect(self, url: str, ca_file: str = "") -> HttpClient:
        address = Address.of(url)
        endpoint = dial_with(self.reactor, address, 5, ca_file)
        self.clock = Clock()
        client = HttpClient("oci", self.clock, address.header, endpoint, secure=address.secure)
        self.addCleanup(client.close)
        return client

    async def _works(self, client: HttpClient) -> None:
        for _ in range(2):
            reply = await client.request(b"GET", b"/small", [])
            self.assertEqual(await collect(reply.body, 10), b"small")
        reply = await client.request(b"GET", b"/large", [])
        self.assertEqual(await collect(reply.body, 4 * MIB), bytes(4 * MIB))
        reply = await client.request(b"PUT", b"/put", [], Endless(self.reactor, 3 * MIB))
        self.assertEqual(await collect(reply.body, 10), b"%d" % (3 * MIB))

    async def test_name(self) -> None:
        """
        A name is looked up.
        """
        await self._works(self.connect(f"http://localhost:{self.listen()}"))

    async def test_address(self) -> None:
        """
        An address is taken as it is.
        """
        await self._works(self.connect(f"http://127.0.0.1:{self.listen()}"))

    async def test_ipv6(self) -> None:
        """
        Also one of IPv6.
        """
        await self._works(self.connect(f"http://[::1]:{self.listen(interface='::1')}"))

    async def test_tls(self) -> None:
        """
        TLS with a certificate of an authority in `ca_file`.
        """
        port = self.listen(self.authority.serve_as("localhost"))
        await self._works(self.connect(f"https://localhost:{port}", self.ca_file))

    async def test_tls_address(self) -> None:
        """
        A certificate may be for an address.
        """
        port = self.listen(self.authority.serve_as("127.0.0.1"))
        await self._works(self.connect(f"https://127.0.0.1:{port}", self.ca_file))

    def get(self, url: str, ca_file: str = "") -> Any:
        return self.connect(url, ca_file).request(b"GET", b"/small", [])

    async def _refused(self, asked: Any) -> None:
        with self.assertRaises(BackendUnavailable) as caught:
            await asked
        self.assertFalse(caught.exception.sent)

    async def test_unknown_authority(self) -> None:
        """
        The system's authorities do not vouch for ours; nothing is sent.
        """
        port = self.listen(self.authority.serve_as("localhost"))
        await self._refused(self.get(f"https://localhost:{port}"))

    async def test_other_name(self) -> None:
        """
        A certificate for another name is no good.
        """
        port = self.listen(self.authority.serve_as("other.example"))
        await self._refused(
            self.connect(f"https://localhost:{port}", self.ca_file).request(b"GET", b"/small", [])
        )

    async def test_no_tls(self) -> None:
        """
        A server that does not speak TLS gets nothing.
        """
        client = self.connect(f"https://localhost:{self.listen()}", self.ca_file)
        asked = client.request(b"GET", b"/small", [])
        await pause(0.05)
        self.clock.pump([1] * 40)
        await self._refused(asked)

    async def test_unknown_name(self) -> None:
        """
        A name that does not exist is a backend that cannot be reached.
        """
        await self._refused(self.get("http://nowhere.invalid:1"))
