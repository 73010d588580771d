"""Whose request it is, whatever its headers say."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.addresses import Proxy
from s3orchestrator.web.client_address import MOST_HOPS, client_address, peer_address

TRUSTED: tuple[Proxy, ...] = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
PROXY, CLIENT, STRANGER = "10.0.0.1", "203.0.113.9", "198.51.100.7"

addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(lambda address: str(address).encode())
proxies = st.one_of(st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="fd00::/8")).map(
    lambda address: str(address).encode()
)
anything = st.one_of(
    st.binary(max_size=80), addresses, proxies, st.sampled_from([b"", b"unknown", b"unix", b"[::1", b":1"])
)


def asked(*values: bytes, peer: str = PROXY, trusted: Sequence[Proxy] = TRUSTED) -> str:
    return client_address(peer, values, trusted)


class ClientAddressTests(SynchronousTestCase):
    def test_believed(self) -> None:
        """From the right, the first that is no proxy of ours; what is left of it the client wrote itself."""
        for values, expected in (
            ([b"203.0.113.9"], CLIENT),
            ([b"1.1.1.1, 203.0.113.9"], CLIENT),
            ([b"1.1.1.1, 203.0.113.9, 10.2.3.4"], CLIENT),
            ([b"1.1.1.1", b"203.0.113.9,10.2.3.4", b"fd00::7"], CLIENT),
            ([b" 203.0.113.9\t"], CLIENT),
            ([b"10.9.9.9, 10.2.3.4"], "10.9.9.9"),
            ([b"2001:DB8::0:1"], "2001:db8::1"),
            ([b"::ffff:203.0.113.9"], CLIENT),
            ([b"203.0.113.9, ::ffff:10.2.3.4"], CLIENT),
            ([b"203.0.113.9:51000"], CLIENT),
            ([b"[2001:db8::1]:51000, 10.1.1.1:80"], "2001:db8::1"),
            ([b"[2001:db8::1]"], "2001:db8::1"),
            ([b"fe80::1%eth0"], "fe80::1"),
        ):
            self.assertEqual(asked(*values), expected, values)

    def test_malformed(self) -> None:
        """What is no address counts as whoever passed it on."""
        for nonsense in (
            b"unknown",
            b"",
            b"203.0.113.9;drop",
            b"203.0.113.256",
            b"203.0.113",
            b"203.0.113.009",
            b"203.0.113.9%eth0",
            b"0x7f.1",
            b"[203.0.113.9]",
            b"[2001:db8::1",
            b"[2001:db8::1]x",
            b"2001:db8::1]:80",
            b"203.0.113.9:http",
            b"203.0.113.9:123456",
            b"203.0.113.9\xff",
            "２03.0.113.9".encode(),
            b"1" * 10000,
            b"unix",
        ):
            self.assertEqual(asked(nonsense), PROXY, nonsense)
            self.assertEqual(asked(b"1.1.1.1," + nonsense + b", 10.2.3.4"), "10.2.3.4", nonsense)

    def test_not_believed(self) -> None:
        """The header of somebody who is no proxy of ours is not even looked at."""
        self.assertEqual(asked(b"203.0.113.9", peer=STRANGER), STRANGER)
        self.assertEqual(asked(b"203.0.113.9", trusted=()), PROXY)
        self.assertEqual(asked(b"10.0.0.2", peer="2001:db8::1"), "2001:db8::1")

    def test_unix_socket(self) -> None:
        """Who comes through a Unix socket is believed if it was said so."""
        self.assertEqual(peer_address(""), "unix")
        self.assertEqual(asked(b"203.0.113.9", peer="unix"), "unix")
        self.assertEqual(asked(b"203.0.113.9, 10.1.1.1", peer="unix", trusted=(*TRUSTED, "unix")), CLIENT)
        self.assertEqual(asked(b"nobody", peer="unix", trusted=("unix",)), "unix")

    def test_peer(self) -> None:
        """A peer's address looks the same whichever listener it came through."""
        for host, expected in (
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("localhost", "localhost"),
        ):
            self.assertEqual(peer_address(host), expected)

    def test_bounded(self) -> None:
        """Of a chain of proxies longer than anybody has, only the near end is looked at."""
        chain = b",".join(b"10.1.1.%d" % number for number in range(200))
        self.assertEqual(asked(b"203.0.113.9," + chain), f"10.1.1.{200 - MOST_HOPS}")

    @given(st.lists(anything, max_size=30), st.ip_addresses(v=4))
    def test_cannot_be_forged(self, written: list[bytes], peer: object) -> None:
        """Whatever a client writes, a request through our proxy is its own."""
        client = str(peer)
        header = b", ".join([*written, client.encode()])
        if ip_address(client) not in ip_network("10.0.0.0/8"):
            self.assertEqual(asked(header), client)
            self.assertEqual(asked(*written, client.encode()), client)
            self.assertEqual(asked(*written, peer=client), client)

    @given(st.lists(anything, max_size=30), st.lists(proxies, max_size=MOST_HOPS - 1))
    def test_always_an_address(self, written: list[bytes], passed: list[bytes]) -> None:
        """Whatever is written, the result is an address, in the only form it is written in."""
        found = asked(*written, *passed)
        self.assertEqual(found, str(ip_address(found)))
