"""
Clients of a benchmark that move large bodies, and look at no byte they need not see.

Bodies go up by `sendfile` and come down with `MSG_TRUNC`: the kernel drops what nobody wants.
Over TLS they must be encrypted and decrypted, which the client pays for and the server does not.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import ssl
from collections.abc import Iterable
from hashlib import sha256

from attrs import frozen

from s3orchestrator.testing.bench.load import PATIENCE, UnexpectedAnswer, answer_size

_READ = 64 << 10
_ENCRYPTED_AT_ONCE = 256 << 10
_DISCARDED = bytearray(1 << 20)  # never looked at


@frozen(eq=False)
class Piece:
    """A file in memory to upload from, over and over; every page of it is really there."""

    descriptor: int
    content: mmap.mmap

    @property
    def size(self) -> int:
        """How much there is before it begins again."""
        return len(self.content)

    @classmethod
    def make(cls, content: bytes) -> Piece:
        """Put `content` where `sendfile` can take it from."""
        descriptor = os.memfd_create("upload")
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        return cls(descriptor, mmap.mmap(descriptor, len(content), access=mmap.ACCESS_READ))

    def digest(self, size: int) -> bytes:
        """Return the SHA-256, in hex, of a body of that size."""
        digest = sha256()
        for _ in range(size // self.size):
            digest.update(self.content)
        digest.update(self.content[: size % self.size])
        return digest.hexdigest().encode()

    def close(self) -> None:
        """Give the memory back."""
        self.content.close()
        os.close(self.descriptor)


Parts = Iterable[tuple[bytes, int]]


def upload(connection: socket.socket, piece: Piece, parts: Parts) -> bytes:
    """
    Send a request, and return the answer, if it is a success.

    Each of `parts` is sent as it is, and so many bytes of `piece` after it.

    :raises UnexpectedAnswer: the server refuses, or leaves.
    """
    for head, count in parts:
        if isinstance(connection, ssl.SSLSocket):
            connection.sendall(head)
            _send_encrypted(connection, piece, count)
        else:
            connection.sendall(head, socket.MSG_MORE if count else 0)
            _send(connection, piece, count)
    return _answer(connection)


def ask(connection: socket.socket, request: bytes) -> bytes:
    """
    Send a whole request, and return the whole answer, if it is a success.

    :raises UnexpectedAnswer: the server refuses, or leaves.
    """
    connection.sendall(request)
    return _answer(connection)


def _answer(connection: socket.socket) -> bytes:
    data = b""
    while (size := answer_size(data, is_head=False)) is None or len(data) < size:
        data += _receive(connection)
    return data


def _send(connection: socket.socket, piece: Piece, count: int) -> None:
    position = 0
    while position < count:
        start = position % piece.size
        # A file's descriptor ignores the socket's timeout, so waiting for room is left to poll.
        _wait(connection, select.POLLOUT)
        try:
            position += os.sendfile(
                connection.fileno(), piece.descriptor, start, min(count - position, piece.size - start)
            )
        except BlockingIOError:
            continue
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses says so before it closes.
            raise UnexpectedAnswer(_receive(connection).decode("utf-8", "replace")) from None


def _send_encrypted(connection: ssl.SSLSocket, piece: Piece, count: int) -> None:
    with memoryview(piece.content) as view:
        position = 0
        while position < count:
            start = position % piece.size
            size = min(count - position, piece.size - start, _ENCRYPTED_AT_ONCE)
            with view[start : start + size] as part:
                connection.sendall(part)
            position += size


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
