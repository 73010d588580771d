"""Places in a network as they are written in the file: addresses, networks, domain names, URLs."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from attrs import evolve, frozen

from s3orchestrator.config.scalars import Scalar, ScalarError, parse_text

_LOOPBACK = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


@frozen
class Address:
    """Where to listen or connect; an empty host means every interface."""

    host: str
    port: int

    @property
    def from_here(self) -> Address:
        """Where a client on this machine connects to it: to be everywhere is nothing to connect to."""
        return evolve(self, host=_LOOPBACK.get(self.host, self.host))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
_PORT = re.compile(r"[0-9]{1,5}")


def parse_address(text: str) -> Address:
    """
    Split `host:port`, `:port` or `[IPv6]:port`.

    :raises ScalarError: host or port are not there or not possible.
    """
    if "://" in text:
        raise ScalarError("is a URL: write HOST:PORT alone, such as 127.0.0.1:9000")
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ScalarError("is not an address: write HOST:PORT, such as 127.0.0.1:9000, [::1]:9000 or :9000")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host, 6):
            raise ScalarError("has something in brackets that is not an IPv6 address")
    elif ":" in host:
        raise ScalarError("has an IPv6 address without brackets: write [::1]:9000")
    elif host and not _HOST.fullmatch(host):
        raise ScalarError("has a host that is neither a name nor an IP address")
    elif host and re.fullmatch(r"[0-9.]+", host) and not _is_ip(host, 4):
        raise ScalarError("has a host that looks like an IPv4 address and is not one")
    return Address(host, int(port))


def _is_ip(text: str, version: int) -> bool:
    try:
        return ip_address(text).version == version
    except ValueError:
        return False


def _address_text(text: str) -> str:
    """Keep an address as it was written, after looking at it; empty means none."""
    if text:
        parse_address(text)
    return text


def parse_network(text: str) -> IPv4Network | IPv6Network:
    """A network such as `10.0.0.0/8`; host bits are forgiven, a bare address is a network of one."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise ScalarError("is not a network: write it as 10.0.0.0/8 or fd00::/8") from None


UNIX = "unix"


def parse_proxy(text: str) -> IPv4Network | IPv6Network | str:
    """A network as in `parse_network`, or the word `unix`: whoever connects through a Unix socket."""
    return UNIX if text == UNIX else parse_network(text)


_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def parse_domain(text: str) -> str:
    """
    A DNS name, lower-cased.

    :raises ScalarError: it has a port, a wildcard or a scheme, or is an IP address.
    """
    name = text.lower()
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")) or _is_ip(name, 4):
        raise ScalarError("is not a domain name: write it bare, such as s3.example.net")
    return name


def parse_url(text: str) -> str:
    """
    An `http` or `https` URL without credentials, query or fragment; a trailing slash goes.

    :raises ScalarError: it is something else; empty text is left to who requires it.
    """
    if not text:
        return text
    try:
        parts = urlsplit(parse_text(text))
        port = parts.port
    except ValueError:
        raise ScalarError("is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ScalarError("is not a URL: write it with scheme and host, such as https://s3.example.net")
    if "@" in parts.netloc:
        raise ScalarError("must not hold a user name or password: they have keys of their own", show=False)
    if "?" in text or "#" in text or " " in text:
        raise ScalarError("must not have a query, a fragment or a space")
    return text.rstrip("/")


AddressText = Annotated[str, Scalar("host:port", _address_text)]
Url = Annotated[str, Scalar("URL", parse_url)]
Domain = Annotated[str, Scalar("domain name", parse_domain)]
Proxy = Annotated[IPv4Network | IPv6Network | str, Scalar("network, or ``unix``", parse_proxy)]
