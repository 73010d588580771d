"""
TLS towards clients: certificates that can be replaced while serving, and clients that must show theirs.

A context is frozen by the first connection it serves, so reloading means building a complete
new one and swapping it in: connections made afterwards get the new certificate, those that
exist live on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from s3orchestrator.errors import OrchestratorError

MinVersion = Literal["1.2", "1.3"]

_VERSIONS = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}


class TlsError(OrchestratorError):
    """The files do not make a server; what runs goes on with those it has."""


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """
    Makes the TLS side of accepted connections from the files as they were when last loaded.

    `cert_file` is a chain, our own certificate first. With `client_ca_file`, every client
    must show a certificate that one of its authorities signed.

    :raises TlsError: as `reload` does.
    """

    def __init__(
        self, cert_file: str, key_file: str, min_version: MinVersion = "1.2", client_ca_file: str = ""
    ) -> None:
        self._cert_file = Path(cert_file)
        self._key_file = Path(key_file)
        self._client_ca_file = Path(client_ca_file) if client_ca_file else None
        self._min_version = min_version
        self._context = self._load()

    def reload(self) -> None:
        """
        Read the files again, for connections made from now on.

        :raises TlsError: a file cannot be read, is not what it should be, or key and
            certificate do not belong together. Then nothing has changed.
        """
        self.prepare()()

    def prepare(self) -> Callable[[], None]:
        """
        Read the files again; what is returned takes them over, for connections made from then on.

        :raises TlsError: as `reload`.
        """
        context = self._load()

        def take_over() -> None:
            self._context = context

        return take_over

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Begin the TLS side of one connection; for Twisted."""
        return SSL.Connection(self._context)

    def _load(self) -> SSL.Context:
        chain = _certificates(self._cert_file)
        options = CertificateOptions(
            privateKey=_private_key(self._key_file),
            certificate=chain[0],
            extraCertChain=chain[1:],
            raiseMinimumTo=_VERSIONS[self._min_version],
        )
        try:
            context: SSL.Context = options.getContext()
        except SSL.Error as error:
            raise TlsError(f"{self._cert_file} and {self._key_file} do not belong together") from error
        if self._client_ca_file is not None:
            _demand_certificates(context, self._client_ca_file)
        return context


def _demand_certificates(context: SSL.Context, authorities: Path) -> None:
    # By hand, for Twisted's `trustRoot` takes only certificates of pyOpenSSL's own, deprecated kind.
    for authority in _certificates(authorities):
        context.add_client_ca(authority)  # tells clients which of their certificates to show
    context.load_verify_locations(str(authorities))
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


def _certificates(path: Path) -> list[Any]:
    try:
        return list(x509.load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise TlsError(f"{path}: {error}") from error


def _private_key(path: Path) -> Any:
    try:
        return load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise TlsError(f"{path}: {error}") from error
