"""Listing a page out of very many keys; nginx passes one on that the sink has."""

from __future__ import annotations

from itertools import cycle, repeat

from s3orchestrator.protocol.canonical import encoded_query
from s3orchestrator.testing.bench.filling import key_of
from s3orchestrator.testing.bench.loads import Requests, replayed, store
from s3orchestrator.testing.bench.report import NGINX, OURS, Figure
from s3orchestrator.testing.bench.stage import BUCKET, FULL_BUCKET, Stage
from s3orchestrator.testing.bench.trials import Case, interleaved

TITLE = "pages of listings"
PAGE = 1000

_PLACES = 40  # where pages begin


def page_requests(keys: int) -> Requests:
    """Pages of 1000 keys, in forty places one after the other."""
    starts = [key_of(number * keys // _PLACES) for number in range(_PLACES)]
    queries = [_query({"max-keys": str(PAGE), "start-after": start}) for start in starts]
    return lambda sdk: cycle([sdk.request(b"GET", f"/{FULL_BUCKET}".encode(), query) for query in queries])


def pages(stage: Stage) -> list[Figure]:
    """Measure pages of 1000 keys, and of all common prefixes, one at a time."""
    keys, seconds = stage.effort.keys, stage.effort.seconds
    of_prefixes = _query({"delimiter": "/", "max-keys": str(PAGE)})
    of_the_sink = _query({"max-keys": str(PAGE), "prefix": "listed/"})
    asked: list[tuple[str, str, Requests]] = [
        ("page of 1000 keys", OURS, page_requests(keys)),
        ("page of 1000 keys", NGINX, _same(BUCKET, of_the_sink)),
        ("page of 10 common prefixes", OURS, _same(FULL_BUCKET, of_prefixes)),
    ]
    cases = [
        Case(what, replayed(requests, 1, seconds), "operation", at_servers=[who])
        for what, who, requests in asked
    ]
    with stage.orchestrator(stage.filled_directory(keys)) as ours, stage.nginx() as theirs:
        store(theirs, [f"listed/object-{number:08}" for number in range(PAGE)])
        return interleaved("pages", cases, {OURS: ours, NGINX: theirs}, stage.effort.rounds)


def _query(parameters: dict[str, str]) -> bytes:
    """In the order and the spelling that is signed."""
    return encoded_query({"list-type": "2"} | parameters)


def _same(bucket: str, query: bytes) -> Requests:
    return lambda sdk: repeat(sdk.request(b"GET", f"/{bucket}".encode(), query))
