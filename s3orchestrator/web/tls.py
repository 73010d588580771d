"""
TLS towards clients: certificates that can be replaced while serving, and clients that must show theirs.

A context is frozen by the first connection it serves, so reloading means building a complete
new one and swapping it in: connections made afterwards get the new certificate, those that
exist live on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from errno import EFBIG
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from s3orchestrator.bodies.secure import encrypt_whole_pieces
from s3orchestrator.config.files import open_file
from s3orchestrator.config.server import TlsConfig
from s3orchestrator.errors import OrchestratorError

MinVersion = Literal["1.2", "1.3"]

T = TypeVar("T")

HTTP1 = b"http/1.1"

# Of the handshake, a few dozen, and of each change of keys, seven. Clients change them after some ten
# million records, if at all.
MOST_STEPS = 1000

MOST_BYTES = 1 << 20  # of a file: four times what all the authorities of a system come to

_VERSIONS = {"1.2": TLSVersion.TLSv1_2, "1.3": TLSVersion.TLSv1_3}


class TlsError(OrchestratorError):
    """The files do not make a server; what runs goes on with those it has."""


@frozen
class Held:
    """A certificate of ours, or an authority for clients, and how long it is good."""

    file: str
    names: frozenset[str]  # of hosts, in lower case; one may begin with `*.`
    not_before: datetime
    not_after: datetime


@frozen
class _Loaded:
    """What the files gave: the context of connections that name no other, and the others by name."""

    default: SSL.Context
    by_name: Mapping[str, SSL.Context]
    held: tuple[Held, ...]


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """
    Makes the TLS side of accepted connections from the files as they were when last loaded.

    `cert_file` is a chain, our own certificate first; `more` are further pairs of such files, for
    clients that ask for a name they are for. With `client_ca_file`, every client must show a
    certificate that one of its authorities signed.

    :raises TlsError: as `reload` does.
    """

    def __init__(
        self,
        cert_file: str,
        key_file: str,
        min_version: MinVersion = "1.2",
        client_ca_file: str = "",
        more: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._pairs = [(Path(cert), Path(key)) for cert, key in ((cert_file, key_file), *more)]
        self._client_ca_file = Path(client_ca_file) if client_ca_file else None
        self._min_version = min_version
        self._loaded = self._load()

    @classmethod
    def of(cls, settings: TlsConfig) -> ServerTls:
        """Load the files that the configuration names."""
        more = [(each.cert_file, each.key_file) for each in settings.certificates]
        return cls(settings.cert_file, settings.key_file, settings.min_version, settings.client_ca_file, more)

    @property
    def held(self) -> tuple[Held, ...]:
        """The certificates in use."""
        return self._loaded.held

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
        loaded = self._load()

        def take_over() -> None:
            self._loaded = loaded

        return take_over

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Begin the TLS side of one connection; for Twisted."""
        return _Connection(self._loaded.default, tlsProtocol)

    def connection_on(self, transport: Any, socket: Any) -> SSL.Connection:
        """Begin the TLS side of one connection on its socket; for `SecureConnection`."""
        connection = _Connection(self._loaded.default, transport, socket)
        connection.set_accept_state()
        return connection

    def _load(self) -> _Loaded:
        held: list[Held] = []
        by_name: dict[str, SSL.Context] = {}
        contexts = []
        for cert_file, key_file in self._pairs:
            chain = _certificates(cert_file)
            contexts.append(self._context(cert_file, key_file, chain))
            held.append(_held(cert_file, chain[0]))
            for name in held[-1].names:
                by_name.setdefault(name, contexts[-1])
        if self._client_ca_file is not None:
            held += [_held(self._client_ca_file, each) for each in _certificates(self._client_ca_file)]
        default = contexts[0]
        if len(contexts) > 1:
            # Before its first connection, which freezes it.
            default.set_tlsext_servername_callback(partial(_choose, by_name))
        return _Loaded(default, by_name, tuple(held))

    def _context(self, cert_file: Path, key_file: Path, chain: list[Any]) -> SSL.Context:
        options = CertificateOptions(
            privateKey=_private_key(key_file),
            certificate=chain[0],
            extraCertChain=chain[1:],
            raiseMinimumTo=_VERSIONS[self._min_version],
        )
        try:
            context: SSL.Context = options.getContext()
        except (SSL.Error, TypeError) as error:  # the latter for kinds of keys that nobody signs with
            raise TlsError(f"{cert_file} and {key_file} {_misfit(error)}") from error
        encrypt_whole_pieces(context)
        context.set_alpn_select_callback(_select_protocol)
        context.set_info_callback(_notice)
        if self._client_ca_file is not None:
            _demand_certificates(context, self._client_ca_file)
        return context


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    return HTTP1 if HTTP1 in offered else SSL.NO_OVERLAPPING_PROTOCOLS


class _Connection(SSL.Connection):
    """
    Cuts off a client that goes on with handshakes.

    OpenSSL answers whatever a client says between its data: a wish for new keys with new ones (TLS
    1.3), the wish to renegotiate with a no (1.2). A channel does not hear of that and cannot slow it
    down, so whoever never ends to ask and reads none of it would fill our memory with answers.
    """

    def __init__(self, context: SSL.Context, transport: Any, socket: Any = None) -> None:
        super().__init__(context, socket)
        self._transport = transport
        self._steps = 0

    def another_step(self) -> None:
        """Count what OpenSSL has done, apart from data."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            self._transport.abortConnection()
            # Or OpenSSL, reading from the socket, would go on answering all that has arrived.
            self.set_shutdown(SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN)


def _notice(connection: Any, where: int, value: int) -> None:
    if where == SSL.SSL_CB_ACCEPT_LOOP:
        connection.another_step()


def _choose(by_name: Mapping[str, SSL.Context], connection: SSL.Connection) -> None:
    """Let a connection go on with the certificate for the name that its client asked for."""
    asked = connection.get_servername()
    if asked is not None:
        context = find(by_name, asked.decode("ascii", "replace"))
        if context is not None:
            connection.set_context(context)


def find(by_name: Mapping[str, T], host: str) -> T | None:
    """Return what is for `host`: under its own name, or under `*.` and all but its first label (RFC 9525)."""
    name = host.lower().rstrip(".")
    found = by_name.get(name)
    if found is None:
        found = by_name.get(f"*.{name.partition('.')[2]}")
    return found


def _held(file: Path, certificate: x509.Certificate) -> Held:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = []
    return Held(
        str(file),
        frozenset(name.lower() for name in names),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def _demand_certificates(context: SSL.Context, authorities: Path) -> None:
    # By hand, for Twisted's `trustRoot` takes only certificates of pyOpenSSL's own, deprecated kind.
    for authority in _certificates(authorities):
        context.add_client_ca(authority)  # tells clients which of their certificates to show
    try:
        context.load_verify_locations(str(authorities))
    except SSL.Error as error:
        raise TlsError(f"{authorities}: OpenSSL cannot read it: {_said(error)}") from error
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


def _read(path: Path) -> bytes:
    # Clients are being served meanwhile: they must not wait for a pipe, nor for gigabytes.
    with open_file(path) as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise OSError(EFBIG, f"is larger than {MOST_BYTES >> 20} MiB")
    return data


def _certificates(path: Path) -> list[Any]:
    try:
        data = _read(path)
    except OSError as error:
        raise TlsError(f"{path}: {_reason(error)}") from error
    if data.count(b"-----BEGIN ") != data.count(b"-----END "):
        raise TlsError(f"{path}: is cut off")  # the last of several would be left out without a word
    try:
        return list(x509.load_pem_x509_certificates(data))  # at least one, or ValueError
    except ValueError as error:
        raise TlsError(f"{path}: there is no certificate in it that can be read (PEM)") from error


def _private_key(path: Path) -> Any:
    try:
        return load_pem_private_key(_read(path), password=None)
    except OSError as error:
        raise TlsError(f"{path}: {_reason(error)}") from error
    except TypeError as error:
        raise TlsError(f"{path}: the key has a passphrase: write one without") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TlsError(f"{path}: there is no private key in it that can be read (PEM)") from error


def _misfit(error: Exception) -> str:
    reason = _said(error)
    # The second is what it says of a key of another kind than the certificate's.
    if "mismatch" in reason or reason == "no certificate assigned":
        return "do not belong together"
    return f"cannot be used: {reason}"


def _said(error: Exception) -> str:
    """Return why OpenSSL refuses something: the first of what it says, or whatever else was raised."""
    first = error.args[0] if error.args else None
    return str(first[0][-1]) if isinstance(first, list) and first else str(error)


def _reason(error: OSError) -> str:
    return error.strerror or str(error)
