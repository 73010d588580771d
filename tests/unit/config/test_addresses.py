"""Places in a network as they are written in the file."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.addresses import (
    Address,
    parse_address,
    parse_domain,
    parse_network,
    parse_proxy,
    parse_url,
)
from s3orchestrator.config.scalars import ScalarError


class AddressesTests(SynchronousTestCase):
    """Addresses, domain names, networks and URLs."""

    def test_addresses(self) -> None:
        """Host and port, with brackets around IPv6; no host is every interface."""
        for text, address in (
            ("0.0.0.0:9000", Address("0.0.0.0", 9000)),
            (":9000", Address("", 9000)),
            ("[::1]:9000", Address("::1", 9000)),
            ("db.example.net:0", Address("db.example.net", 0)),
        ):
            self.assertEqual(parse_address(text), address)
            self.assertEqual(str(parse_address(text)), text)

    def test_addresses_refused(self) -> None:
        """What is no address says so before anything tries to listen."""
        for text in (
            "",
            "9000",
            "host",
            "host:",
            "host:99999",
            "::1:9000",
            "[x]:1",
            "[]:1",
            "*:80",
            "300.1.1.1:80",
        ):
            self.assertRaises(ScalarError, parse_address, text)

    def test_domains(self) -> None:
        """Base names are lower-cased; ports, wildcards and addresses are not names."""
        self.assertEqual(parse_domain("S3.Example.net"), "s3.example.net")
        for text in (
            "",
            "*.example.net",
            "s3.example.net:9000",
            ".example.net",
            "a..b",
            "127.0.0.1",
            "-a.net",
        ):
            self.assertRaises(ScalarError, parse_domain, text)

    def test_networks(self) -> None:
        """Host bits are forgiven; what is no network is not."""
        self.assertEqual(str(parse_network("10.1.2.3/8")), "10.0.0.0/8")
        self.assertEqual(str(parse_network("::1")), "::1/128")
        self.assertRaises(ScalarError, parse_network, "10.0.0.0/33")

    def test_proxy(self) -> None:
        """Proxies may also be who comes through a Unix socket, where there are no networks."""
        self.assertEqual(str(parse_proxy("10.1.2.3/8")), "10.0.0.0/8")
        self.assertEqual(parse_proxy("unix"), "unix")
        self.assertRaises(ScalarError, parse_proxy, "Unix")

    def test_urls(self) -> None:
        """An endpoint may have a path; a trailing slash goes."""
        self.assertEqual(parse_url("https://s3.example.net/"), "https://s3.example.net")
        self.assertEqual(parse_url("http://[::1]:9000/storage/v1/s3"), "http://[::1]:9000/storage/v1/s3")
        for text in (
            "s3.example.net",
            "ftp://x",
            "https://",
            "https://x:99999",
            "https://x?a=b",
            "http://x y",
        ):
            self.assertRaises(ScalarError, parse_url, text)

    def test_url_with_password(self) -> None:
        """Credentials in a URL are refused, and the value is not to be shown."""
        error = self.assertRaises(ScalarError, parse_url, "https://user:hunter2@s3.example.net")
        self.assertFalse(error.show)
