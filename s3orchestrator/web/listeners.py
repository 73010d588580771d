"""Listening: at addresses, on Unix sockets, on sockets that systemd opened; with TLS or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory

from s3orchestrator.bodies.listening import Port, UnixPort, accept_waiting, adopt, listen_tcp, listen_unix
from s3orchestrator.bodies.secure import SecureFactory
from s3orchestrator.bodies.secure_sockets import SecureSocketFactory
from s3orchestrator.config.addresses import Address
from s3orchestrator.config.places import Place, SystemdSocket, UnixSocket
from s3orchestrator.config.server import ListenerConfig
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.web.inherited import Inherited
from s3orchestrator.web.tls import ServerTls

_log = make_logger()


class ListenError(OrchestratorError):
    """Nobody can be served at a place that the configuration names."""


@define(eq=False)
class Listener:
    """One entry of the configuration, listening at one or several sockets."""

    tls: ServerTls | None
    _ports: Sequence[Port | UnixPort]

    @property
    def endpoints(self) -> list[str]:
        """A URL for each socket, as a client on this machine would ask it."""
        return [endpoint(port.getHost(), self.tls is not None) for port in self._ports]  # type: ignore[no-untyped-call]

    @property
    def descriptors(self) -> list[int]:
        """Those of the sockets."""
        return [port.fileno() for port in self._ports]  # type: ignore[no-untyped-call]

    def leave_to_others(self) -> None:
        """Accept nothing here; who is passed the descriptors does. Call it before the reactor's next turn."""
        for port in self._ports:
            port.stopReading()  # type: ignore[no-untyped-call]

    def accept_waiting(self) -> None:
        """Accept those who have connected so far: about to close, for somebody who goes on serving them."""
        for port in self._ports:
            accept_waiting(port)

    async def close(self) -> None:
        """Accept no more connections; may be called again."""
        for port in self._ports:
            await maybeDeferred(port.stopListening)


def open_listener(
    reactor: Any, listener: ListenerConfig, factory: IProtocolFactory, inherited: Inherited
) -> Listener:
    """
    Serve `factory` where `listener` says.

    :raises ListenError: nobody can listen there; what was opened is closed again.
    :raises TlsError: the certificates cannot be used.
    """
    tls = ServerTls.of(listener.tls) if listener.tls.enabled else None
    if tls is not None:
        factory = secured(reactor, tls, factory, on_socket=listener.tls.on_socket)
    try:
        return Listener(tls, _open(reactor, listener, factory, inherited))
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
        raise ListenError(f"cannot listen on {listener.place}: {reason}") from error


def secured(reactor: Any, tls: ServerTls, factory: IProtocolFactory, *, on_socket: bool) -> IProtocolFactory:
    """Add TLS to the connections of `factory`; both ways do the same for clients."""
    if on_socket:
        return SecureSocketFactory(tls, factory)
    return SecureFactory(tls, False, factory, clock=reactor)


def _open(
    reactor: Any, listener: ListenerConfig, factory: IProtocolFactory, inherited: Inherited
) -> Sequence[Port | UnixPort]:
    place: Place = listener.place
    if isinstance(place, UnixSocket):
        return [listen_unix(reactor, place.path, listener.socket_mode, factory)]
    if isinstance(place, SystemdSocket):
        return _adopt(reactor, place, factory, inherited)
    return [listen_tcp(reactor, place.host, place.port, factory)]


def _adopt(
    reactor: Any, place: SystemdSocket, factory: IProtocolFactory, inherited: Inherited
) -> Sequence[Any]:
    descriptors = inherited.take(place.name)
    if not descriptors:
        passed = ", ".join(inherited.names) or "none"
        raise ListenError(
            f"cannot listen on {place}: no socket of that name was passed to this process (passed: {passed});"
            " is it started by a .socket unit with that FileDescriptorName=?"
        )
    ports: list[Port | UnixPort] = []
    try:
        for descriptor in descriptors:
            ports.append(adopt(reactor, descriptor, factory, is_shared=inherited.is_shared))
    except BaseException:
        for port in ports:
            port.stopListening()  # type: ignore[no-untyped-call]
        raise
    return ports


def tell_of_unused(inherited: Inherited) -> None:
    """Warn of sockets that were passed, and that no listener has taken."""
    if inherited.names:
        _log.warn(
            "passed sockets are not used: {names}; no listener is at systemd: and that name",
            names=", ".join(inherited.names),
        )


def endpoint(address: Any, is_secure: bool) -> str:
    """Return the URL of a listening address."""
    scheme = "https" if is_secure else "http"
    if not hasattr(address, "host"):
        name = address.name or b""
        return f"{scheme}+unix:{name.decode(errors='replace')}"
    return f"{scheme}://{Address(address.host, address.port).from_here}"
