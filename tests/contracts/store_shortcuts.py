"""What shortcuts must not change: lives of objects, in a ledger that has them and in one that has not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.task import Clock

from s3orchestrator.domain.records import Bucket, NewVersion
from s3orchestrator.interfaces import Stored
from s3orchestrator.protocol.metadata import ObjectMetadata
from tests.contracts.store_kit import ABSENT, Kit
from tests.contracts.store_lives import Life

# What is a sign in SQL, in the driver's statements, in ours, in the functions, or in the protocol.
NASTY = (
    "'; DROP TABLE versions; --",
    "\\",
    "\\'",
    "a\\\\'' OR 1=1",
    "\"quoted\" 'twice'",
    "%s %(key)s %% %",
    ":key :bucket_id ::text",
    "$body$ $$ $1 $shard ${shard}",
    "line\r\nbreak\ttab\x01\x7f",
    "NULL",
    "{1,2} (3,4) [5]",
    "\u00e9\U0001f600\ufeff\u202e",
    "E'\\x41'",
    "/* */",
    "x" * 900,
)

TABLES = {
    "versions": "bucket_id, key, version_id, is_latest, is_delete_marker, size, etag, modified_ms, metadata,"
    " storage_class, checksum_algorithm, checksum_value, checksum_kind, parts, sha256",
    "blobs": "backend, name, state, size, created_ms, bucket_id, key, etag,"
    " backend_version, is_plain, was_live, unclear, suspect, attempts, upload_id, multipart,"
    " version IS NOT NULL, owner IS NOT NULL, operation, due_ms, doomed_ms, reason, seen_ms",
    "backend_guards": "backend, taken, bytes_limit",
    "byte_counts": "backend, bucket_id, sum(live), sum(reserved), sum(orphan), sum(objects), sum(held)",
    "backend_counts": "backend, sum(live), sum(reserved), sum(orphan)",
}
GROUPED = {"byte_counts": " GROUP BY backend, bucket_id", "backend_counts": " GROUP BY backend"}


async def everything(kit: Kit) -> dict[str, list[str]]:
    """What is in the ledger, but for numbers given by it and what is drawn by lot."""
    return {
        table: sorted(map(alike, await kit.rows(f"SELECT {columns} FROM {table}{GROUPED.get(table, '')}")))
        for table, columns in TABLES.items()
    }


def alike(answer: object) -> str:
    """An answer without the numbers of rows and what is drawn by lot."""
    return re.sub(r"~\w{26}|\b[a-z2-7]{32}\b", "~", re.sub(r"\bid=\d+", "id=", repr(answer)))


class SameContract:
    """Two ledgers that are told the same; only one of them takes the shortcuts."""

    lives = 30  # drawn by lot, with so many steps,
    steps = 60
    at_once = 1  # each of which is so many things in one turn of the reactor

    async def kits(self) -> Sequence[Kit]:
        """The one with shortcuts, and the one without; their clocks are turned by hand."""
        raise NotImplementedError

    async def one_life(self, kit: Kit) -> list[object]:
        """Write, overwrite and delete in many ways; returns what was answered."""
        kit.traits["b"] = None
        bucket = await kit.buckets.adopt("photos")
        await kit.blobs.set_limits({"a": 1000, "b": None, "u": 50})
        told: list[object] = []

        async def tell(work: Any) -> Any:
            try:
                result = await work
            except Exception as error:
                told.append((type(error), str(error).partition("~")[0]))
                return None
            told.append(result)
            return result

        for key in ("a", "b", "a/b", "a", "c", "a"):
            await tell(kit.put(bucket, key, len(key) * 7, etag=key))
            assert isinstance(kit.clock, Clock)
            kit.clock.advance(0.25 if key == "c" else 0)
        for backends in (("u",), ("u", "a"), ("f",), ("b",), ("u", "u")):
            await tell(kit.put(bucket, "d", 40, *backends))
        await tell(kit.put(bucket, "a", 5, condition=ABSENT))
        await tell(kit.put(bucket, "e", 5, condition=ABSENT))
        await tell(kit.put(bucket, "too large", 2000))
        await tell(kit.blobs.reserve(bucket, "f", 3, ["a"], avoid_plain=True))
        await tell(kit.commit(bucket, await kit.reserve(bucket, "g", 9), size=4))
        pending = await kit.reserve(bucket, "h", 9)
        await kit.blobs.abandon(pending, unclear=False)
        await tell(kit.commit(bucket, pending))
        await tell(self.with_copy(kit, bucket))
        for key in ("copied", "a", "a", "nothing", "a/b"):
            await tell(kit.versions.remove(bucket, key))
        await tell(kit.versions.remove(bucket, "d", None, ABSENT))
        await tell(kit.versions.remove_many(bucket, [("b", None, None), ("c", None, None)]))
        await kit.buckets.delete(await kit.buckets.adopt("gone"))
        return told

    async def with_copy(self, kit: Kit, bucket: Bucket) -> None:
        """Write a key whose version has two blobs, and overwrite it."""
        await kit.put(bucket, "copied", 8, "a")
        (version,) = await kit.rows("SELECT id FROM versions WHERE key = 'copied'")
        spare = await kit.reserve(bucket, "copied", 6, "b")
        await kit.execute(
            "UPDATE blobs SET state = 'live', version = :version, was_live = TRUE WHERE id = :id",
            version=version[0],
            id=spare.id,
        )
        for table, more in (("byte_counts", ", objects = objects + 1"), ("backend_counts", "")):
            await kit.execute(
                f"UPDATE {table} SET live = live + 6, reserved = reserved - 6{more} WHERE backend = 'b'"
            )
        await kit.put(bucket, "copied", 8, "a")

    async def test_same(self) -> None:
        """
        Answers, refusals and rows are the same.
        """
        short, long = await self.kits()
        answers = [await self.one_life(kit) for kit in (short, long)]
        self.assertEqual(*(list(map(alike, told)) for told in answers))
        self.assertEqual(await everything(short), await everything(long))
        self.assertEqual(await short.findings(), [])

    async def test_lives(self) -> None:
        """
        So they are in lives that are drawn by lot.
        """
        for seed in range(self.lives):
            kits = await self.kits()
            lives = [Life(kit, Random(seed)) for kit in kits]
            for life in lives:
                await life.begin()
            for step in range(self.steps):
                short, long = [list(map(alike, await life.step(self.at_once))) for life in lives]
                self.assertEqual(short, long, f"life {seed}, step {step}")
            self.assertEqual(*[await everything(kit) for kit in kits], f"life {seed}")
            for kit in kits:
                self.assertEqual(await kit.findings(), [], f"life {seed}")

    async def test_nasty(self) -> None:
        """
        Whatever a client calls its objects, and says of them, is kept as it is.
        """
        kit, _ = await self.kits()
        bucket = await kit.buckets.adopt("photos")
        for number, nasty in enumerate(NASTY):
            metadata = ObjectMetadata(content_type=nasty, user={"colour": nasty})
            for _ in range(2):
                blob = await kit.reserve(bucket, nasty, number)
                new = NewVersion(number, nasty, metadata)
                stored = Stored(nasty, version_id=nasty)
                committed = await kit.versions.commit(bucket, blob, stored, new)
            found = await kit.versions.find(bucket, nasty)
            self.assertEqual(found, committed.version)
            self.assertEqual((found.key, found.etag, found.metadata), (nasty, nasty, metadata))
            self.assertEqual((found.blobs[0].etag, found.blobs[0].backend_version), (nasty, nasty))
            self.assertEqual([gone.backend_version for gone in committed.displaced], [nasty])
        for nasty in NASTY:
            self.assertEqual((await kit.versions.remove(bucket, nasty)).doomed[0].key, nasty)
        self.assertEqual(await kit.findings(), [])
