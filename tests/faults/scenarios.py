"""What clients do while the daemon dies, from a state of things to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import shake_128
from typing import Any

from attrs import frozen

from s3orchestrator.testing.faults.client import Client, Reply, upload_id

MIB = 1 << 20


def content(seed: str, size: int) -> bytes:
    """Bytes that are always the same for `seed`."""
    return shake_128(seed.encode()).digest(size)


SMALL, OTHER = content("small", 500), content("other", 700)
LARGE = content("large", 300_000)  # more than is kept for another backend, and than one read of a socket
PARTS = [content("part 1", 5 * MIB), content("part 2", 1000)]
STATE: Mapping[str, bytes] = {"kept": content("kept", 100)}


@frozen
class Scenario:
    """
    One operation. `prepare` makes the state before, and returns what `run` needs.

    Who got no answer may `run` it again; `must_repeat`: otherwise something stays that is not garbage.
    """

    name: str
    prepare: Callable[[Client], Any]
    run: Callable[[Client, Any], Reply]
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    must_repeat: bool = False
    again: tuple[int, ...] = (200, 204)


def _put(client: Client, contents: Mapping[str, bytes]) -> None:
    for key, data in contents.items():
        reply = client.put(key, data)
        assert reply.status == 200, reply


def _putting(name: str, data: bytes, before: Mapping[str, bytes]) -> Scenario:
    return Scenario(
        name,
        lambda client: _put(client, {**STATE, **before}),
        lambda client, _: client.put("k", data),
        {**STATE, **before},
        {**STATE, "k": data},
    )


def _uploaded(client: Client) -> tuple[str, list[str]]:
    _put(client, STATE)
    upload = upload_id(client.create_upload("k"))
    return upload, [client.put_part("k", upload, number, data).etag for number, data in enumerate(PARTS, 1)]


_MANY = {f"many{number}": content(f"{number}", 100) for number in range(5)}
_SOURCE = {**STATE, "source": LARGE}

SCENARIOS = (
    _putting("put", SMALL, {}),
    _putting("put that streams", LARGE, {}),
    _putting("overwrite", SMALL, {"k": OTHER}),
    _putting("overwrite that streams", LARGE, {"k": OTHER}),
    Scenario(
        "delete",
        lambda client: _put(client, {**STATE, "k": SMALL}),
        lambda client, _: client.delete("k"),
        {**STATE, "k": SMALL},
        STATE,
    ),
    Scenario(
        "batch delete",
        lambda client: _put(client, {**STATE, **_MANY}),
        lambda client, _: client.delete_many(list(_MANY)),
        {**STATE, **_MANY},
        STATE,
    ),
    Scenario(
        "copy",
        lambda client: _put(client, _SOURCE),
        lambda client, _: client.copy("source", "k"),
        _SOURCE,
        {**_SOURCE, "k": LARGE},
    ),
    Scenario(
        "complete",
        _uploaded,
        lambda client, upload: client.complete("k", *upload),
        STATE,
        {**STATE, "k": b"".join(PARTS)},
        must_repeat=True,
    ),
    Scenario(
        "abort",
        _uploaded,
        lambda client, upload: client.abort("k", upload[0]),
        STATE,
        STATE,
        must_repeat=True,
        again=(204, 404),
    ),
)
