"""
A backend that costs next to nothing, so that a benchmark sees what stands in front of it.

It answers as S3 does, for one process that talks to it over plain HTTP. What it is sent
it throws away in the kernel, and what it sends comes out of the kernel: only names,
sizes, ETags and descriptions are kept. So a GET has as many bytes as were put, but others.
Nobody's signature is checked.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from contextlib import suppress
from itertools import count

from attrs import define, field

from s3orchestrator.testing.bench.shelf import Request, Shelf

PIECE = 64 << 20  # what GETs are made of, over and over
# Bodies up to here are read, so that their ETags can be MD5s as S3's are: we keep such a body until it is
# stored, and compare.
READ = 1 << 20

_READ = 256 << 10
_TURNS = 8  # until others are looked at
_COPIED = 64 << 10  # as much is cheaper to copy than to send by itself
_DISCARDED = bytearray(1 << 20)  # never written to: MSG_TRUNC copies nothing


@define(eq=False)
class Connection:
    """
    One client: reading a head, throwing a body away, or sending.

    `_request` is set while its body is read. `_out` and then `_left` bytes of the piece are to be sent.
    """

    _socket: socket.socket
    _shelf: Shelf
    _piece: int
    _buffer: bytes = field(init=False, default=b"")
    _request: Request | None = field(init=False, default=None)
    _discard: int = field(init=False, default=0)
    _out: bytes = field(init=False, default=b"")
    _left: int = field(init=False, default=0)

    @property
    def is_sending(self) -> bool:
        """Whether the client has to take something before it is heard again."""
        return bool(self._out or self._left)

    def move(self) -> bool:
        """Go on without waiting, but not for ever; False when the client has left."""
        try:
            for turn in count():
                if turn > _TURNS and (self.is_sending or self._discard):
                    return True  # it is not only this client's bytes that arrive fast
                if self.is_sending:
                    self._send()
                elif self._discard:
                    if not self._throw_away():
                        return False
                elif not self._advance():
                    data = self._socket.recv(_READ)
                    if not data:
                        return False
                    self._buffer += data
        except BlockingIOError:
            return True
        except OSError:
            return False
        raise AssertionError("unreachable")

    def _send(self) -> None:
        if self._out:
            more = socket.MSG_MORE if self._left else 0
            self._out = self._out[self._socket.send(self._out, more) :]
        elif self._left:
            start = -self._left % PIECE
            sent = os.sendfile(self._socket.fileno(), self._piece, start, min(self._left, PIECE - start))
            self._left -= sent

    def _throw_away(self) -> bool:
        wanted = min(self._discard, len(_DISCARDED))
        gone = self._socket.recv_into(_DISCARDED, wanted, socket.MSG_TRUNC)
        self._discard -= gone
        if not self._discard and self._request is not None:
            self._reply(self._request, None)
        return gone > 0

    def _advance(self) -> bool:
        """Do what the bytes that are here allow; False if more are needed."""
        if self._request is None:
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return False
            self._request, self._buffer = Request.parse(head), rest
            if b"expect" in self._request.headers:
                self._out = b"HTTP/1.1 100 Continue\r\n\r\n"
        length = self._request.length
        if length > READ:
            # A client sends nothing after a body before it has heard of it.
            self._discard, self._buffer = length - len(self._buffer), b""
            if not self._discard:
                self._reply(self._request, None)
            return True
        if len(self._buffer) < length:
            return self.is_sending
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        self._reply(self._request, body)
        return True

    def _reply(self, request: Request, body: bytes | None) -> None:
        answer = self._shelf.answer(request, body)
        self._request = None
        self._out += answer.head()
        if request.method == b"HEAD":
            return
        self._out += answer.body
        left = answer.length or 0
        if left <= _COPIED:
            self._out += bytes(left)
        else:
            self._left = left


@define(eq=False)
class Sink:
    """The event loop: `serve` runs until the process is told to stop."""

    _listening: socket.socket
    _shelf: Shelf = field(factory=Shelf)

    def serve(self) -> None:
        """Accept and answer, for ever."""
        piece = _piece()
        epoll, connections = select.epoll(), {}
        self._listening.setblocking(False)
        epoll.register(self._listening, select.EPOLLIN)
        while True:
            for number, _ in epoll.poll():
                if number == self._listening.fileno():
                    with suppress(BlockingIOError):
                        accepted = self._accept()
                        connections[accepted.fileno()] = (accepted, Connection(accepted, self._shelf, piece))
                        epoll.register(accepted, select.EPOLLIN)
                    continue
                accepted, connection = connections[number]
                waited_to_send = connection.is_sending
                if not connection.move():
                    del connections[number]
                    accepted.close()
                elif waited_to_send != connection.is_sending:
                    epoll.modify(number, select.EPOLLOUT if connection.is_sending else select.EPOLLIN)

    def _accept(self) -> socket.socket:
        accepted, _ = self._listening.accept()
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return accepted


def _piece() -> int:
    """A file in memory, of which every page is there: a hole would be cheaper to send than any object."""
    descriptor = os.memfd_create("piece")
    block = bytes(range(256)) * 4096
    for _ in range(PIECE // len(block)):
        os.write(descriptor, block)
    return descriptor


def main() -> None:
    """Serve on a port of the loopback interface, the only argument."""
    Sink(socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1024)).serve()


if __name__ == "__main__":
    main()
