"""
Clients for a benchmark: they make requests that were prepared, and look at no byte they need not see.

Heads are sent as they are given, so they can be signed beforehand. Bodies go up by `sendfile`
and come down with `MSG_TRUNC`: the kernel drops what nobody wants. Over TLS they must be
decrypted, which the client pays for and the server does not.
"""

from __future__ import annotations

import os
import re
import select
import socket
import ssl
import time
from collections.abc import Iterator

from attrs import define, field, frozen

PATIENCE = 60.0  # seconds of silence after which a server is taken for stuck

_READ = 64 << 10
_DISCARDED = bytearray(1 << 20)  # never looked at
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class UnexpectedAnswer(Exception):
    """The server refused, left early or fell silent: there is nothing to measure."""


def connect(port: int, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> socket.socket:
    """Open a connection to a server on this machine; a small `receive_buffer` makes a slow reader."""
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", port))
    return tls.wrap_socket(connection, server_hostname="127.0.0.1") if tls is not None else connection


def answer_size(data: bytes, *, is_head: bool) -> int | None:
    """
    Return how long the whole answer is that begins with `data`; None while its head is not complete.

    :raises UnexpectedAnswer: it is not a success.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    if data[9:10] != b"2":
        raise UnexpectedAnswer(data.decode("utf-8", "replace"))
    if is_head:
        return end + 4
    length = _LENGTH.search(data, 0, end)
    return end + 4 + (int(length[1]) if length else 0)


@define(eq=False)
class _Player:
    """One of the connections of a `Replay`: sends a request, waits for the answer, sends the next."""

    socket: socket.socket
    _sent_at: float = 0.0
    _is_head: bool = False
    _received: bytes = b""

    def send(self, request: bytes) -> None:
        self._is_head = request.startswith(b"HEAD ")
        self._received = b""
        self._sent_at = time.perf_counter()
        self.socket.sendall(request)

    def hear(self) -> float | None:
        """Take what has come; returns how long the answer took, once it is complete."""
        data = self.socket.recv(_READ)
        if not data:
            raise UnexpectedAnswer("the server closed the connection")
        self._received += data
        size = answer_size(self._received, is_head=self._is_head)
        if size is None or len(self._received) < size:
            return None
        return time.perf_counter() - self._sent_at


@define(eq=False)
class Replay:
    """
    Small requests over several kept connections, one at a time on each.

    `requests` are complete, bodies included, and must not run out.
    """

    port: int
    requests: Iterator[bytes]
    connections: int = 32
    tls: ssl.SSLContext | None = None
    _players: list[_Player] = field(init=False, factory=list)

    def open(self) -> Replay:
        """Connect: what that costs belongs to no request."""
        self._players = [_Player(connect(self.port, tls=self.tls)) for _ in range(self.connections)]
        return self

    def play(self, seconds: float) -> list[float]:
        """
        Make requests for about that long; returns what each took, in seconds.

        Every request that was made has been answered when this returns.
        """
        took: list[float] = []
        until = time.perf_counter() + seconds
        poll = select.epoll()
        by_number = {player.socket.fileno(): player for player in self._players}
        for number, player in by_number.items():
            poll.register(number, select.EPOLLIN)
            player.send(next(self.requests))
        waiting = len(self._players)
        while waiting:
            events = poll.poll(PATIENCE)
            if not events:
                raise UnexpectedAnswer(f"no answer within {PATIENCE:.0f} s")
            for number, _ in events:
                player = by_number[number]
                elapsed = player.hear()
                if elapsed is None:
                    continue
                took.append(elapsed)
                if time.perf_counter() < until:
                    player.send(next(self.requests))
                else:
                    waiting -= 1
        poll.close()
        return took

    def close(self) -> None:
        """Let go of the connections."""
        for player in self._players:
            player.socket.close()


@frozen(eq=False)
class Piece:
    """A file in memory to upload from, over and over; every page of it is really there."""

    descriptor: int
    size: int

    @classmethod
    def make(cls, content: bytes) -> Piece:
        """Put `content` where `sendfile` can take it from."""
        descriptor = os.memfd_create("upload")
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        return cls(descriptor, len(content))

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.descriptor)


def upload(connection: socket.socket, head: bytes, piece: Piece, size: int) -> None:
    """
    Send `head`, and `size` bytes of `piece`; returns when the server says that it has them.

    :raises UnexpectedAnswer: it says something else.
    """
    connection.sendall(head, socket.MSG_MORE)
    left = size
    while left:
        start = -left % piece.size
        # A file's descriptor ignores the socket's timeout, so waiting for room is left to poll.
        _wait(connection, select.POLLOUT)
        left -= _send_some(connection, piece, start, min(left, piece.size - start))
    data = b""
    while answer_size(data, is_head=False) is None:
        data += _receive(connection)


def _send_some(connection: socket.socket, piece: Piece, start: int, count: int) -> int:
    try:
        return os.sendfile(connection.fileno(), piece.descriptor, start, count)
    except BlockingIOError:
        return 0
    except (BrokenPipeError, ConnectionResetError):
        # A server that refuses says so before it closes.
        raise UnexpectedAnswer(_receive(connection).decode("utf-8", "replace")) from None


def download(connection: socket.socket, head: bytes) -> int:
    """
    Send `head` and drop the answer; returns how many bytes its body had.

    :raises UnexpectedAnswer: it is not a success, or ends early.
    """
    connection.sendall(head)
    data = b""
    while (size := answer_size(data, is_head=False)) is None:
        data += _receive(connection)
    body = size - data.index(b"\r\n\r\n") - 4
    left = size - len(data)
    flags = 0 if isinstance(connection, ssl.SSLSocket) else socket.MSG_TRUNC
    while left:
        dropped = connection.recv_into(_DISCARDED, min(left, len(_DISCARDED)), flags)
        if not dropped:
            raise UnexpectedAnswer(f"{left} bytes are missing")
        left -= dropped
    return body


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(_READ)
    if not data:
        raise UnexpectedAnswer("the server closed the connection")
    return data


def _wait(connection: socket.socket, event: int) -> None:
    poll = select.poll()
    poll.register(connection, event)
    if not poll.poll(PATIENCE * 1000):
        raise UnexpectedAnswer(f"nothing happened for {PATIENCE:.0f} s")
