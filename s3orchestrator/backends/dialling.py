"""How a backend is reached: name lookup, IPv6 and IPv4, TLS with the authorities to be trusted."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from attrs import define, frozen
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificates
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.interfaces import (
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from zope.interface import implementer

from s3orchestrator.bodies.sockets import connect_tcp


@frozen
class Address:
    """Where a service is, as its URL says."""

    host: str
    port: int
    secure: bool
    path: str = ""

    @classmethod
    def of(cls, url: str) -> Address:
        """
        Read an `http` or `https` URL.

        :raises ValueError: it is neither, or has no host.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http or https URL: {url}")
        secure = parts.scheme == "https"
        return cls(parts.hostname, parts.port or (443 if secure else 80), secure, parts.path.rstrip("/"))

    def below(self, label: str) -> Address:
        """The same service by the name `label.host`."""
        return Address(f"{label}.{self.host}", self.port, self.secure, self.path)

    @property
    def header(self) -> bytes:
        """The value of the Host header; international names in the form that DNS has."""
        host = f"[{self.host}]" if ":" in self.host else self.host.encode("idna").decode()
        return (host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}").encode()


def dial_with(reactor: Any, address: Address, timeout: float, ca_file: str = "") -> IStreamClientEndpoint:
    """
    Return what connects to `address`, giving up after `timeout` seconds.

    :param ca_file: trust the authorities in this PEM file instead of the system's.
    """
    kind: Any = HostnameEndpoint
    if isIPAddress(address.host):
        kind = TCP4ClientEndpoint  # no thread that would look the name up
    elif isIPv6Address(address.host):
        kind = TCP6ClientEndpoint
    endpoint: IStreamClientEndpoint = kind(_AtOnce(reactor), address.host, address.port, timeout)
    if not address.secure:
        return endpoint
    options = optionsForClientTLS(
        address.host,
        trustRoot=_authorities(ca_file) if ca_file else platformTrust(),
        acceptableProtocols=[b"http/1.1"],
    )
    wrapped: IStreamClientEndpoint = wrapClientTLS(options, endpoint)
    return wrapped


def _authorities(ca_file: str) -> Any:
    with open(ca_file, "rb") as file:
        found = load_pem_x509_certificates(file.read())
    return trustRootFromCertificates([Certificate.loadPEM(each.public_bytes(Encoding.PEM)) for each in found])


@implementer(IReactorTCP, IReactorTime, IReactorPluggableNameResolver)
@define(eq=False)
class _AtOnce:
    """The reactor, except that the connections it makes send at once."""

    _reactor: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Any:
        """Connect with transports of our own."""
        return connect_tcp(self._reactor, host, port, factory, timeout, bindAddress)
