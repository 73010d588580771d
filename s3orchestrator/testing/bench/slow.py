"""Readers who take large objects, slowly, for as long as one is inside."""

from __future__ import annotations

import select
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from socket import socket
from threading import Event, Thread

from s3orchestrator.testing.bench.load import connect
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import path_of, sdk_for

READERS = 200

_PAUSE = 0.25  # seconds
_RECEIVE_BUFFER = 32 << 10


@contextmanager
def slow_readers(server: Server, name: str, readers: int = READERS) -> Iterator[None]:
    """Have readers of an object, each of whom takes 128 KiB in a second at most, and never finishes."""
    request = sdk_for(server).request(b"GET", path_of(name))
    enough = Event()
    with ExitStack() as stack:
        connections = [
            stack.enter_context(closing(connect(server.port, _RECEIVE_BUFFER))) for _ in range(readers)
        ]
        for connection in connections:
            connection.sendall(request)
        reading = Thread(target=_read, args=(connections, enough))
        reading.start()
        try:
            yield
        finally:
            enough.set()
            reading.join()


def _read(connections: Sequence[socket], enough: Event) -> None:
    """Wait for nobody: who has nothing to read is looked at again after the pause."""
    poll = select.poll()
    by_number = {connection.fileno(): connection for connection in connections}
    for number in by_number:
        poll.register(number, select.POLLIN)
    while not enough.wait(_PAUSE):
        for number, _ in poll.poll(0):
            by_number[number].recv(_RECEIVE_BUFFER)
