"""Listening sockets whose connections send at once: our own, and those that somebody else has bound."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress
from select import POLLIN, poll
from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory

from s3orchestrator.bodies.sockets import Server, UnixServer

BACKLOG = 1024  # connections the kernel may hold for us; Twisted's 50 are soon gone when many arrive at once
KEPT_BACKLOG = 4096  # of a socket that is not ours: as systemd has it; the kernel knows a limit of its own
_ABSTRACT = b"\0"  # what the name of a Unix socket without a file begins with


class Port(tcp.Port):
    """A listening socket whose connections send at once; its factory may want them of a kind of its own."""

    def startListening(self) -> None:
        self.transport = getattr(self.factory, "tcp_transport", Server)
        super().startListening()


class UnixPort(unix.Port):
    """
    A listening Unix socket whose connections send at once.

    When it closes it removes its file, unless that is another one's by then. Its factory may want
    connections of a kind of its own.
    """

    _file: tuple[int, int] | None = None

    def startListening(self) -> None:
        self.transport = getattr(self.factory, "unix_transport", UnixServer)
        super().startListening()  # type: ignore[no-untyped-call]
        if self._bindPath[:1] != _ABSTRACT:
            self._file = _identity(self._bindPath)

    def connectionLost(self, reason: Any) -> None:
        with suppress(OSError):
            if self._file is not None and _identity(self._bindPath) == self._file:
                os.unlink(self._bindPath)
        tcp.Port.connectionLost(self, reason)


class _TakesTurns:
    """
    Accepts one connection whenever there are any, where Twisted would take all that wait.

    All of them, when many arrive at once, would be the load of the first process to wake up, while the
    others that listen at the same socket had none.
    """

    @property
    def numberAccepts(self) -> int:
        return 1

    @numberAccepts.setter
    def numberAccepts(self, wanted: int) -> None:
        """Twisted would adapt it to what comes."""


class SharedPort(_TakesTurns, Port):
    """A listening socket that other processes accept from, too."""


class SharedUnixPort(_TakesTurns, UnixPort):
    """A listening Unix socket that other processes accept from, too."""


def accept_waiting(listening: Port | UnixPort) -> None:
    """
    Accept everybody who has connected already; there is nobody once it is closed.

    The kernel has told them that they are connected, and would reset them: they may have sent a request, and
    could not tell whether it was carried out.
    """
    if not listening.connected:
        return
    waiting = poll()
    waiting.register(listening.fileno(), POLLIN)  # type: ignore[no-untyped-call]
    for _ in range(KEPT_BACKLOG):
        if not waiting.poll(0):
            return
        listening.doRead()  # type: ignore[no-untyped-call]


def listen_tcp(reactor: Any, host: str, port: int, factory: IProtocolFactory, backlog: int = BACKLOG) -> Port:
    """
    Listen on `host` (an address, or empty for all of IPv4) and `port` (0: any free one).

    :raises CannotListenError: the port is taken, or the address is not ours.
    """
    listening = Port(port, factory, backlog, host, reactor)
    listening.startListening()
    return listening


def listen_unix(
    reactor: Any, path: str, mode: int, factory: IProtocolFactory, backlog: int = BACKLOG
) -> UnixPort:
    """
    Listen on a Unix socket; one that a dead process has left behind is replaced.

    :raises CannotListenError: somebody listens there, or no socket can be made there.
    """
    _remove_leftover(path)
    listening = UnixPort(path.encode(), factory, backlog, mode, reactor)
    listening.startListening()
    return listening


def adopt(
    reactor: Any, descriptor: int, factory: IProtocolFactory, *, is_shared: bool = False
) -> Port | UnixPort:
    """
    Listen on a socket that somebody else has bound, and that may be used again after us.

    Neither is it shut down when we close it, nor is the file of a Unix socket touched. `is_shared`:
    other processes listen there at the same time.

    :raises CannotListenError: the descriptor is no socket that connections can be accepted from.
    """
    family = _listening_family(descriptor)
    os.set_blocking(descriptor, False)
    os.set_inheritable(descriptor, False)
    if family != socket.AF_UNIX:
        kind = SharedPort if is_shared else Port
        listening: Port = kind._fromListeningDescriptor(  # type: ignore[no-untyped-call]
            reactor, descriptor, family, factory
        )
        listening.startListening()
        return listening
    unix_kind = SharedUnixPort if is_shared else UnixPort
    adopted: UnixPort = unix_kind._fromListeningDescriptor(  # type: ignore[no-untyped-call]
        reactor, descriptor, factory
    )
    # Twisted would change the file's mode, which is not ours, shut the socket down and shorten its queue.
    adopted._bindPath = _ABSTRACT + adopted._bindPath
    adopted._shouldShutdown = False
    adopted.backlog = KEPT_BACKLOG
    adopted.startListening()
    return adopted


def _listening_family(descriptor: int) -> int:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as looked_at:
            kind = looked_at.type
            if kind == socket.SOCK_STREAM and looked_at.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return looked_at.family
    except OSError as error:
        raise CannotListenError(None, f"descriptor {descriptor}", error) from error
    raise CannotListenError(None, f"descriptor {descriptor}", OSError("it is no listening stream socket"))


def _remove_leftover(path: str) -> None:
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise CannotListenError(None, path, OSError("there is a file of that name, and it is no socket"))
        with socket.socket(socket.AF_UNIX) as probe:
            probe.setblocking(False)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
                return
            except BlockingIOError:
                pass  # whoever listens there has a full queue
            except OSError as error:
                raise CannotListenError(None, path, error) from error
            raise CannotListenError(None, path, OSError("somebody else listens there"))


def _identity(path: bytes) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino
