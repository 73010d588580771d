"""
Whose request it is: that of the peer, or of whom a proxy that is trusted names.

Each proxy adds the address it was asked from at the right end of `X-Forwarded-For`. So, read from the right,
an entry is as good as the one who wrote it, and everything beyond the first address that is no proxy of ours
is whatever the client liked to write.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from s3orchestrator.config.addresses import UNIX, Proxy

Address = IPv4Address | IPv6Address

HEADER = b"x-forwarded-for"
MOST_HOPS = 16  # more proxies of one's own in a row than anybody has
LONGEST = 64  # bytes: an IPv6 address with an IPv4 tail, a zone, brackets and a port


def peer_address(host: str) -> str:
    """
    Return the address of a peer as it is shown and counted; `host` is what its socket says.

    A listener for both families sees IPv4 as `::ffff:192.0.2.1`; on a Unix socket nobody has an address.
    """
    if not host:
        return UNIX
    if ":" not in host:
        return host
    parsed = _plain(host)
    return host if parsed is None else str(parsed)


def client_address(peer: str, forwarded: Sequence[bytes], trusted: Sequence[Proxy]) -> str:
    """
    Return who asks: the first from the right that is not trusted, beginning with `peer`.

    `forwarded` are the values of the header, in the order they came. If all are trusted it is the leftmost;
    where something is no address, whoever passed it on.
    """
    if not _is_trusted(peer, trusted):
        return peer
    client = peer
    for entry in reversed(b",".join(forwarded).rsplit(b",", MOST_HOPS)[-MOST_HOPS:]):
        hop = _hop(entry)
        if hop is None:
            break
        client = str(hop)
        if not _is_among(hop, trusted):
            break
    return client


def _is_trusted(peer: str, trusted: Sequence[Proxy]) -> bool:
    if peer == UNIX:
        return UNIX in trusted
    parsed = _plain(peer)
    return parsed is not None and _is_among(parsed, trusted)


def _is_among(address: Address, trusted: Sequence[Proxy]) -> bool:
    return any(address in network for network in trusted if not isinstance(network, str))


def _hop(entry: bytes) -> Address | None:
    """Read an entry; some proxies write the port of the connection as well."""
    entry = entry.strip(b" \t")
    if not entry or len(entry) > LONGEST or not entry.isascii():
        return None
    text = entry.decode("ascii")
    if text.startswith("["):
        inside, bracket, port = text[1:].partition("]")
        return _plain(inside) if bracket and ":" in inside and _is_port(port) else None
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return _plain(host) if _is_port(":" + port) else None
    return _plain(text)


def _is_port(text: str) -> bool:
    return not text or (text[0] == ":" and text[1:].isdecimal() and len(text) <= 6)


@lru_cache(maxsize=4096)  # bounded in number, and each in length by whoever asks
def _plain(text: str) -> Address | None:
    """Return an address without its zone, which means something on one machine only; IPv4 as such."""
    address, zone, _ = text.partition("%")
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    if zone and parsed.version == 4:
        return None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        return parsed.ipv4_mapped
    return parsed
