"""Who asks, as whoever answers is told."""

from __future__ import annotations

from twisted.internet.address import IPv6Address, UNIXAddress
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.addresses import parse_proxy
from s3orchestrator.config.features import RateLimitConfig
from s3orchestrator.config.live import Live
from s3orchestrator.web.health import Health
from s3orchestrator.web.root import Root
from tests.unit.web.serving import Answers, Served, Wire, path_as_body


class ForwardedTests(SynchronousTestCase):
    """Requests bear the address of the client, as far as it is known."""

    def setUp(self) -> None:
        self.settings = RateLimitConfig()
        self.answers = Answers(path_as_body)
        settings = Live(lambda: self.settings)
        self.served = Served(Root(Health(), self.answers, (), Answers(path_as_body), settings=settings))

    def client(self, *headers: bytes) -> str:
        self.served.send(b"GET /a HTTP/1.1\r\nHost: h\r\n" + b"".join(headers) + b"\r\n")
        return self.answers.requests[-1].client_address

    def test_trusted(self) -> None:
        """The header counts once its sender is trusted, which a reload may bring."""
        header = b"X-Forwarded-For: 203.0.113.9\r\n"
        self.assertEqual(self.client(header), "192.168.1.1")
        self.settings = RateLimitConfig(trusted_proxies=(parse_proxy("192.168.0.0/16"),))
        self.assertEqual(self.client(header), "203.0.113.9")
        self.assertEqual(self.client(header, b"x-forwarded-for: 203.0.113.10\r\n"), "203.0.113.10")
        self.assertEqual(self.client(), "192.168.1.1")

    def test_unix_socket(self) -> None:
        """On a Unix socket nobody has an address, and a proxy is believed if it was said so."""
        wire = Wire(lenient=True, peerAddress=UNIXAddress(None))
        self.served.channel = self.served.site.buildProtocol(None)
        self.served.channel.makeConnection(wire)
        header = b"X-Forwarded-For: 203.0.113.9\r\n"
        self.assertEqual(self.client(header), "unix")
        self.settings = RateLimitConfig(trusted_proxies=(parse_proxy("unix"),))
        self.assertEqual(self.client(header), "203.0.113.9")

    def test_both_families(self) -> None:
        """A listener for both families shows IPv4 as it is."""
        wire = Wire(lenient=True, peerAddress=IPv6Address("TCP", "::ffff:192.0.2.1", 5000))
        self.served.channel = self.served.site.buildProtocol(None)
        self.served.channel.makeConnection(wire)
        self.assertEqual(self.client(), "192.0.2.1")
