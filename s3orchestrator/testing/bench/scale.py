"""The same operation in a small ledger and in a large one: it should not matter how much there is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import count, cycle
from pathlib import Path

from s3orchestrator.testing.bench.filling import BODY, key_of
from s3orchestrator.testing.bench.load import Replay
from s3orchestrator.testing.bench.loads import Requests, replayed, timed
from s3orchestrator.testing.bench.pages import page_requests
from s3orchestrator.testing.bench.report import Figure
from s3orchestrator.testing.bench.sdk import Sdk
from s3orchestrator.testing.bench.servers import Server, backend_bucket
from s3orchestrator.testing.bench.small import DOOMED
from s3orchestrator.testing.bench.stage import FULL_BUCKET, Stage, each_once, path_of, sdk_for
from s3orchestrator.testing.bench.trials import Act, Case, Load, interleaved

TITLE = "one operation, by the number of objects, 32 connections"
FEW = 10_000

_CONNECTIONS = 32
_USED = 512  # keys that are really in the sink
_new = count()


def scale(stage: Stage) -> list[Figure]:
    """Measure operations on keys that lie all over the ledger."""
    found: list[Case] = []
    with ExitStack() as running:
        servers = {}
        for keys in (FEW, stage.effort.keys):
            directory = stage.filled_directory(keys)
            _fill_sink(stage.backend, directory, keys)
            who = f"ours, {keys:_} objects".replace("_", " ")
            servers[who] = running.enter_context(stage.orchestrator(directory))
            found += _cases(stage, keys, who)
        # The two that do the same follow on each other.
        cases = sorted(found, key=lambda case: [each.what for each in found].index(case.what))
        return interleaved("scale", cases, servers, stage.effort.rounds)


def _cases(stage: Stage, keys: int, who: str) -> list[Case]:
    seconds = stage.effort.seconds
    used = _used(keys)
    kinds = {
        "GET": replayed(_all(b"GET", used), _CONNECTIONS, seconds),
        "HEAD": replayed(_all(b"HEAD", used), _CONNECTIONS, seconds),
        "PUT, new keys": replayed(lambda sdk: _new_keys(sdk, used), _CONNECTIONS, seconds),
        "PUT, overwriting": replayed(_all(b"PUT", used, BODY), _CONNECTIONS, seconds),
        "DELETE": _deleted(used, int(DOOMED * seconds)),
        "page of 1000 keys": replayed(page_requests(keys), 1, seconds),
    }
    return [Case(what, load, at={"keys": keys}, at_servers=[who]) for what, load in kinds.items()]


def _used(keys: int) -> list[str]:
    return [key_of(number * keys // _USED) for number in range(_USED)]


def _fill_sink(sink: Server, directory: Path, keys: int) -> None:
    """What the ledger says is stored must be there to be read."""
    sdk = sdk_for(sink)
    bucket = backend_bucket(directory)
    each_once(
        sink,
        [sdk.request(b"PUT", path_of(f"{FULL_BUCKET}/{key}", bucket), body=BODY) for key in _used(keys)],
    )


def _all(method: bytes, keys: list[str], body: bytes = b"") -> Requests:
    return lambda sdk: cycle([sdk.request(method, path_of(key, FULL_BUCKET), body=body) for key in keys])


def _new_keys(sdk: Sdk, used: list[str]) -> Iterator[bytes]:
    """PUTs of names that nobody has used, next to ones that are there."""
    for key in cycle(used):
        yield sdk.request(b"PUT", path_of(f"{key}-{next(_new)}", FULL_BUCKET), body=BODY)


def _deleted(used: list[str], amount: int) -> Load:
    @contextmanager
    def load(server: Server) -> Iterator[Act]:
        sdk = sdk_for(server)
        names = [f"{key}-{next(_new)}" for key, _ in zip(cycle(used), range(amount), strict=False)]
        paths = [path_of(name, FULL_BUCKET) for name in names]
        each_once(server, (sdk.request(b"PUT", path, body=BODY) for path in paths))
        requests = [sdk.request(b"DELETE", path) for path in paths]
        with closing(Replay(server.port, iter(requests), _CONNECTIONS).open()) as replay:
            yield lambda: timed(lambda: replay.play(float("inf")))

    return load
