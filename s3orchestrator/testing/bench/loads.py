"""What clients do to a server, as `trials` wants it: prepared first, then done."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import count, cycle

from s3orchestrator.testing.bench.filling import BODY
from s3orchestrator.testing.bench.load import Replay, connect
from s3orchestrator.testing.bench.moving import Parts, Piece, download, upload
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.stage import each_once, path_of, sdk_for
from s3orchestrator.testing.bench.trials import Act, Done, Load

Requests = Callable[[Sdk], Iterator[bytes]]

# More than requests at a time, so that two of them rarely want the same.
NAMES = [f"small/{number:04}" for number in range(512)]

_WARM_UP = 0.2  # seconds
_new = count()


def replayed(requests: Requests, connections: int, seconds: float, tls: ssl.SSLContext | None = None) -> Load:
    """Small requests over so many connections, until `seconds` have passed or there are no more."""

    @contextmanager
    def load(server: Server) -> Iterator[Act]:
        port = server.port if tls is None else server.secure_port
        replay = Replay(port, requests(sdk_for(server)), connections, tls)
        with closing(replay.open()):
            replay.play(min(_WARM_UP, seconds))
            yield lambda: timed(lambda: replay.play(seconds))

    return load


def timed(act: Callable[[], list[float]], size: int = 0) -> Done:
    """Do it; each of the things that it did moved `size` bytes."""
    began = time.perf_counter()
    took = act()
    return Done(took, time.perf_counter() - began, len(took) * size)


def of_all(method: bytes, names: Iterable[str] = NAMES, body: bytes = b"") -> Requests:
    """The same request of each name, over and over."""
    return lambda sdk: cycle([sdk.request(method, path_of(name), body=body) for name in names])


def new_keys(sdk: Sdk) -> Iterator[bytes]:
    """PUTs of names that nobody has used."""
    while True:
        yield sdk.request(b"PUT", path_of(f"new/{next(_new):08}"), body=BODY)


def store(server: Server, names: Iterable[str] = NAMES) -> None:
    """Put a small object at each name."""
    sdk = sdk_for(server)
    each_once(server, (sdk.request(b"PUT", path_of(name), body=BODY) for name in names))


def deleted(connections: int, amount: int) -> Load:
    """DELETEs of so many objects that are there."""

    @contextmanager
    def load(server: Server) -> Iterator[Act]:
        names = [f"doomed/{next(_new):08}" for _ in range(amount)]
        store(server, names)
        sdk = sdk_for(server)
        requests = [sdk.request(b"DELETE", path_of(name)) for name in names]
        with closing(Replay(server.port, iter(requests), connections).open()) as replay:
            yield lambda: timed(lambda: replay.play(float("inf")))

    return load


def moved(
    move: Callable[[Sdk], Callable[..., object]],
    size: int,
    seconds: float,
    tls: ssl.SSLContext | None = None,
) -> Load:
    """Bodies of `size` over one connection, again and again for `seconds`, and once at least."""

    @contextmanager
    def load(server: Server) -> Iterator[Act]:
        once = move(sdk_for(server))
        with closing(connect(server.port if tls is None else server.secure_port, tls=tls)) as connection:

            def act() -> list[float]:
                took: list[float] = []
                until = time.perf_counter() + seconds
                while not took or time.perf_counter() < until:
                    began = time.perf_counter()
                    once(connection)
                    took.append(time.perf_counter() - began)
                return took

            yield lambda: timed(act, size)

    return load


def getting(name: str) -> Callable[[Sdk], Callable[..., object]]:
    """GETs, for `moved`."""
    return lambda sdk: lambda connection: download(connection, sdk.request(b"GET", path_of(name)))


def putting(piece: Piece, parts: Callable[[Sdk], Parts]) -> Callable[[Sdk], Callable[..., object]]:
    """Uploads, for `moved`."""
    return lambda sdk: lambda connection: upload(connection, piece, parts(sdk))
