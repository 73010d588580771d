"""How much memory large and many bodies take."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

from attrs import frozen

from s3orchestrator.testing.bench.load import Piece, connect, download, upload
from s3orchestrator.testing.bench.measuring import forget_peak, peak, resident
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import MIB, Stage, each_once, path_of, sdk_for
from s3orchestrator.testing.bench.table import Table

SIZE = 64 * MIB
UPLOADS = 64
READERS = 200

_READING = 5.0  # seconds: long enough for every buffer on the way to be full
_PAUSE = 0.1
_RECEIVE_BUFFER = 32 << 10


@frozen
class Case:
    """Something that must not take memory in proportion; `guide` is in MiB."""

    name: str
    guide: int | None
    act: Callable[[Server, Piece], None]


def _put(name: str, size: int) -> Callable[[Server, Piece], None]:
    def put(server: Server, piece: Piece) -> None:
        with closing(connect(server.port)) as connection:
            upload(connection, sdk_for(server).upload(path_of(name), size), piece, size)

    return put


def _get(name: str) -> Callable[[Server, Piece], None]:
    def get(server: Server, piece: Piece) -> None:
        with closing(connect(server.port)) as connection:
            download(connection, sdk_for(server).request(b"GET", path_of(name)))

    return get


def _many_puts(server: Server, piece: Piece) -> None:
    with ThreadPoolExecutor(UPLOADS) as threads:
        puts = [threads.submit(_put(f"many/{number}", SIZE), server, piece) for number in range(UPLOADS)]
        for put in puts:
            put.result()


def _slow_readers(server: Server, piece: Piece) -> None:
    """Each reads a little at a time, and none of them ever finishes."""
    request = sdk_for(server).request(b"GET", path_of("many/0"))
    with ExitStack() as stack:
        readers = [
            stack.enter_context(closing(connect(server.port, _RECEIVE_BUFFER))) for _ in range(READERS)
        ]
        for reader in readers:
            reader.sendall(request)
        until = time.monotonic() + _READING
        while time.monotonic() < until:
            time.sleep(_PAUSE)
            poll = select.poll()
            for reader in readers:
                poll.register(reader, select.POLLIN)
            ready = {number for number, _ in poll.poll(0)}
            for reader in readers:
                if reader.fileno() in ready:
                    reader.recv(_RECEIVE_BUFFER)


def memory(stage: Stage) -> Table:
    """Measure by how much the resident size grows at most, each time from a fresh start."""
    large = stage.effort.large
    name = f"{large >> 30} GiB" if large >= 1 << 30 else f"{large >> 20} MiB"
    cases = (
        Case(f"PUT of {name}", 64, _put("huge", large)),
        Case(f"GET of {name}", 64, _get("huge")),
        Case(f"{UPLOADS} PUTs of 64 MiB at once", 120, _many_puts),
        Case(f"{READERS} slow readers of 64 MiB", None, _slow_readers),
    )
    table = Table("Memory: growth of the resident size, MiB", ["", "guide", "before", "growth"])
    directory = stage.fresh_directory()
    with closing(Piece.make(bytes(range(256)) * (4 * MIB // 256))) as piece:
        for case in cases:
            before, most = _measure(stage, directory, case, piece)
            table.add(
                case.name,
                f"< {case.guide}" if case.guide is not None else "",
                f"{before / MIB:.0f}",
                f"{(most - before) / MIB:.0f}",
            )
    return table


def _measure(stage: Stage, directory: Path, case: Case, piece: Piece) -> tuple[int, int]:
    """Bytes before, and at most."""
    with stage.orchestrator(directory) as server:
        sdk = sdk_for(server)
        # The first request of each kind loads what is needed for it.
        each_once(server, [sdk.request(method, path_of("warm-up"), body=body) for method, body in _WARM_UP])
        forget_peak(server.pid)
        before = resident(server.pid)
        case.act(server, piece)
        return before, peak(server.pid)


_WARM_UP = [(b"PUT", b"warm"), (b"GET", b""), (b"HEAD", b"")]
