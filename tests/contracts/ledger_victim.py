"""A process that writes to a ledger and says so, until somebody kills it."""

from __future__ import annotations

import sys

from twisted.internet.defer import gatherResults
from twisted.internet.task import react

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Bucket
from s3orchestrator.store.sqlite import SqliteDatabase
from tests.contracts.store_kit import MIB, Kit

KEYS = 20
WRITERS = 8


def say(*words: object) -> None:
    """One line, at once: what has been said was true before."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def write(kit: Kit, bucket: Bucket, writer: int, run: str) -> None:
    """Overwrite, remove, upload and clean up some keys of its own, for ever."""
    number = 0
    while True:
        number += 1
        key, etag = f"{writer}/{number % KEYS}", f"{run}.{number}"
        if number % 11 == 0:
            upload = await kit.upload(bucket, key)
            await kit.part(upload, 1, 5 * MIB)
            await kit.part(upload, 1, 6 * MIB)
            completion = await kit.uploads.begin_complete(bucket, key, upload.id, [(1, "e1", None)])
            blob = completion.upload.blob
            committed = await kit.commit(bucket, blob, size=completion.size, etag=etag)
        else:
            committed = await kit.put(bucket, key, number, etag=etag)
        say("put", key, etag)
        for displaced in committed.displaced:
            await kit.blobs.forget(displaced, unclear=number % 3 == 0)
        if number % 7 == 0:
            say("removing", key)
            removed = await kit.versions.remove(bucket, key)
            say("removed", key)
            await kit.blobs.forget_many([(gone, False) for gone in removed.doomed])


async def main(reactor: object, path: str, run: str) -> None:
    kit = Kit(SqliteDatabase(path, reactor).open(), reactor)
    bucket = await kit.buckets.adopt("photos")
    await kit.blobs.set_limits({"a": 1 << 40})
    await kit.blobs.recover()
    say("ready")
    await gatherResults([start(write(kit, bucket, writer, run)) for writer in range(WRITERS)])


if __name__ == "__main__":
    react(main, sys.argv[1:])
