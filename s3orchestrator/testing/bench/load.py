"""Clients of a benchmark that make small requests, which were prepared: heads can be signed beforehand."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing

from attrs import define, field

PATIENCE = 60.0  # seconds of silence after which a server is taken for stuck

_READ = 64 << 10
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
    not_modified = data[9:12] == b"304"
    if data[9:10] != b"2" and not not_modified:
        raise UnexpectedAnswer(data.decode("utf-8", "replace"))
    if is_head or not_modified:
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

    `requests` are complete, bodies included.
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

        Every request that was made has been answered when this returns, early if there are no more.
        """
        took: list[float] = []
        until = time.perf_counter() + seconds
        with closing(select.epoll()) as poll:
            busy = {player.socket.fileno(): player for player in self._players if self._send(player)}
            for number in busy:
                poll.register(number, select.EPOLLIN)
            while busy:
                events = poll.poll(PATIENCE)
                if not events:
                    raise UnexpectedAnswer(f"no answer within {PATIENCE:.0f} s")
                for number, _ in events:
                    elapsed = busy[number].hear()
                    if elapsed is None:
                        continue
                    took.append(elapsed)
                    if time.perf_counter() >= until or not self._send(busy[number]):
                        del busy[number]
        return took

    def _send(self, player: _Player) -> bool:
        request = next(self.requests, None)
        if request is not None:
            player.send(request)
        return request is not None

    def close(self) -> None:
        """Let go of the connections."""
        for player in self._players:
            player.socket.close()
