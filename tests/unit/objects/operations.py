"""Everything clients do that changes something, each with what there is before and after it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from s3orchestrator.domain.records import Bucket
from s3orchestrator.errors import BucketExists, NoSuchBucket, NoSuchUpload
from s3orchestrator.objects.parts import PartSource
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.ranges import ByteRange
from tests.unit.objects.world import LARGE, SMALL, Operation, World

OLD, NEW = b"old bytes", b"new and longer bytes"


def nothing(world: World) -> None:
    """Start with nothing."""


def put(**contents: bytes) -> Any:
    """Start with these objects."""

    def prepare(world: World) -> None:
        for key, data in contents.items():
            world.run(world.putting(key, data))

    return prepare


def multipart_source(world: World) -> None:
    """Start with an object whose ETag is no MD5."""
    world.run(world.completing(*_flat(world.uploaded("k", LARGE, SMALL))))


def _flat(uploaded: tuple[Any, list[Any]]) -> list[Any]:
    return [uploaded[0], *uploaded[1]]


def uploaded(*datas: bytes, over: bytes | None = None, **settings: Any) -> Any:
    """Start with an upload of these parts, to a key that may have an object already."""

    def prepare(world: World) -> Any:
        if over is not None:
            world.run(world.putting("k", over))
        world.run(world.putting("source", LARGE))
        return world.uploaded("k", *datas, **settings)

    return prepare


async def copy_part(world: World, state: Any, wanted: ByteRange | None) -> None:
    source = PartSource(world.bucket, "source", lambda version: wanted)
    await world.core.objects.parts.copy(world.place(state[0], 1), source)


async def delete(world: World, keys: Sequence[str]) -> None:
    """One key, or several at once."""
    deleting = world.core.objects.deleting
    if len(keys) == 1:
        await deleting.delete(world.bucket, keys[0])
    else:
        await deleting.delete_many(world.bucket, [(key, None, None) for key in keys])


def docs(world: World) -> Bucket:
    """Start with a bucket that holds an upload and no object."""
    bucket = world.run(world.core.objects.catalog.create("docs", "someone"))
    world.run(world.core.objects.multipart.create(bucket, "unfinished", ObjectMetadata(), owner="someone"))
    return bucket


async def across(world: World, state: object) -> None:
    """Copy to another bucket, which is made if need be."""
    catalog = world.core.objects.catalog
    with suppress(BucketExists):
        await catalog.create("docs", "someone")
    await world.copying("k", "copied", target_bucket=catalog.get("docs"))


SOURCE = {"source": LARGE}

OPERATIONS = (
    Operation("put", nothing, lambda w, _: w.putting("k", SMALL), {}, {"k": SMALL}),
    Operation("put of a stream", nothing, lambda w, _: w.putting("k", LARGE), {}, {"k": LARGE}),
    Operation("put of nothing", nothing, lambda w, _: w.putting("k", b""), {}, {"k": b""}),
    Operation("overwrite", put(k=OLD), lambda w, _: w.putting("k", NEW), {"k": OLD}, {"k": NEW}),
    Operation("delete", put(k=OLD, l=OLD), lambda w, _: delete(w, ["k"]), {"k": OLD, "l": OLD}, {"l": OLD}),
    Operation(
        "delete of many",
        put(k=OLD, l=OLD, m=LARGE),
        lambda w, _: delete(w, ["k", "nothing", "m"]),
        {"k": OLD, "l": OLD, "m": LARGE},
        {"l": OLD},
    ),
    Operation("copy", put(k=OLD), lambda w, _: w.copying("k", "l"), {"k": OLD}, {"k": OLD, "l": OLD}),
    Operation(
        "copy over another",
        put(k=LARGE, l=OLD),
        lambda w, _: w.copying("k", "l"),
        {"k": LARGE, "l": OLD},
        {"k": LARGE, "l": LARGE},
    ),
    Operation(
        "copy onto itself",
        put(k=LARGE),
        lambda w, _: w.copying("k", "k", metadata=ObjectMetadata(user={"changed": "yes"})),
        {"k": LARGE},
        {"k": LARGE},
    ),
    Operation(
        "copy through us",
        put(k=LARGE, l=OLD),
        lambda w, _: w.copying("k", "l", algorithm="sha256"),
        {"k": LARGE, "l": OLD},
        {"k": LARGE, "l": LARGE},
    ),
    Operation(
        "copy of a multipart object",
        multipart_source,
        lambda w, _: w.copying("k", "l"),
        {"k": LARGE + SMALL},
        {"k": LARGE + SMALL, "l": LARGE + SMALL},
    ),
    Operation("copy across buckets", put(k=LARGE), across, {"k": LARGE}, {"k": LARGE}),
    Operation("create", nothing, lambda w, _: w.creating("k"), {}, {}),
    Operation("part", uploaded(), lambda w, s: w.part(s[0], 1, SMALL), SOURCE, SOURCE),
    Operation("part of a stream", uploaded(), lambda w, s: w.part(s[0], 1, LARGE), SOURCE, SOURCE),
    Operation("part again", uploaded(SMALL), lambda w, s: w.part(s[0], 1, LARGE), SOURCE, SOURCE),
    Operation("part copy", uploaded(), lambda w, s: copy_part(w, s, ByteRange(5, 600)), SOURCE, SOURCE),
    Operation(
        "part copy through us",
        uploaded(algorithm="crc32", kind="FULL_OBJECT"),
        lambda w, s: copy_part(w, s, None),
        SOURCE,
        SOURCE,
    ),
    Operation(
        "complete",
        uploaded(LARGE, SMALL),
        lambda w, s: w.completing(s[0], *s[1]),
        SOURCE,
        {**SOURCE, "k": LARGE + SMALL},
    ),
    Operation(
        "complete over another, leaving a part out",
        uploaded(LARGE, SMALL, OLD, over=OLD),
        lambda w, s: w.completing(s[0], s[1][0], s[1][2]),
        {**SOURCE, "k": OLD},
        {**SOURCE, "k": LARGE + OLD},
    ),
    Operation(
        "abort", uploaded(LARGE, SMALL), lambda w, s: w.aborting(s[0]), SOURCE, SOURCE, (NoSuchUpload,)
    ),
    Operation(
        "delete of a bucket",
        docs,
        lambda w, bucket: w.core.objects.catalog.delete(bucket),
        {},
        {},
        (NoSuchBucket,),
    ),
)
