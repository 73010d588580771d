"""Tests for finding, and mending, what breaks the ledger's rules."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.records import Finding, NewVersion, Upload
from s3orchestrator.interfaces import ITransaction, Stored, Traits
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.fsck import RULES, check, repair
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase
from s3orchestrator.store.uploads import Uploads
from s3orchestrator.store.versions import Versions

TRAITS = Traits(exclusive=frozenset({"put", "complete"}))

# What breaks exactly which rules: (rule, message) of `RULES`, by statement.
BROKEN = {
    "UPDATE blobs SET state = 'lost' WHERE key = 'dead'": [
        "in a state nobody knows",
        "the counters",
        "the totals",
        "guard of the backend",
        "guard of the bucket",
    ],
    "UPDATE blobs SET version = NULL WHERE key = 'live'": ["belongs to no version", "believed good"],
    "UPDATE blobs SET suspect = TRUE WHERE key = 'live'": ["believed good"],
    "UPDATE blobs SET version = 4711 WHERE key = 'doomed'": ["is not live and belongs"],
    "UPDATE blobs SET key = 'other' WHERE key = 'live'": ["of different keys"],
    "UPDATE blobs SET bucket_id = 99 WHERE key = 'doomed'": [
        "is not in the ledger",
        "the counters",
        "the counters",
        "guard of the bucket",
    ],
    "UPDATE blobs SET size = 11 WHERE key = 'live'": [
        "the counters",
        "the totals",
        "guard of the backend",
        "guard of the bucket",
    ],
    "UPDATE byte_counts SET live = live + 1": ["the counters"],
    "UPDATE byte_counts SET held = held + 1": ["the counters"],
    "DELETE FROM byte_counts": ["the counters"],
    "UPDATE backend_counts SET orphan = orphan + 1": ["the totals"],
    "DELETE FROM backend_counts": ["the totals"],
    "UPDATE backend_guards SET taken = 0": ["guard of the backend"],
    "UPDATE bucket_guards SET taken = taken + 1": ["guard of the bucket"],
    "UPDATE versions SET is_latest = FALSE": ["not exactly one latest"],
    "INSERT INTO versions (bucket_id, key, version_id, is_latest, is_delete_marker, size, etag, modified_ms,"
    " metadata, storage_class) SELECT bucket_id, key, 'newer', FALSE, TRUE, 0, '', modified_ms, '{}', ''"
    " FROM versions": ["newer than it"],
    "UPDATE buckets SET deleted_ms = 1": ["a bucket that does not exist"],
    "UPDATE blobs SET unclear = FALSE WHERE key = 'pending'": ["taken for clear"],
    "UPDATE blobs SET unclear = FALSE WHERE key = 'doomed'": ["taken for clear"],
    "UPDATE blobs SET unclear = TRUE WHERE key = 'live'": ["taken for unclear"],
    "UPDATE blobs SET due_ms = NULL WHERE key = 'doomed'": ["ever come back"],
    "UPDATE blobs SET owner = 4711 WHERE key = 'pending'": ["owner does not exist"],
    "DELETE FROM owners": ["owner does not exist"] * 3,
    "UPDATE blobs SET owner = (SELECT max(id) FROM owners) WHERE key = 'live'": ["nothing to do"],
    "UPDATE uploads SET backend_upload = 'id'": ["nothing to do"],
    "UPDATE uploads SET blob_id = 4711": ["without a pending blob"],
    "DELETE FROM uploads": ["is not in progress", "is not in progress"],
    "UPDATE uploads SET state = 'aborted'": ["is not in progress", "is not in progress"],
    "UPDATE parts SET size = size + 1": ["the sum of its parts"],
    "UPDATE parts SET counts = TRUE": ["two attempts at one part"],
}


class FsckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.ledger = SqliteDatabase(IN_MEMORY, Clock(), threaded=False).open()
        self.fill()

    def fill(self) -> None:
        """A live, a pending, a doomed and a dead blob, and an upload with two attempts at a part."""
        blobs = Blobs(self.ledger, traits_of=lambda _: TRAITS, quiet_period=1)
        bucket = self.successResultOf(Buckets(self.ledger).adopt("photos"))
        self.execute("INSERT INTO bucket_guards (bucket_id, taken, bytes_limit) VALUES (1, 0, 1000)")
        self.successResultOf(blobs.set_limits({"a": 1000}))
        made = {
            key: self.successResultOf(blobs.reserve(bucket, key, 10, ["a"]))
            for key in ("live", "pending", "doomed", "dead")
        }
        new = NewVersion(10, "e", ObjectMetadata())
        self.successResultOf(Versions(self.ledger).commit(bucket, made["live"], Stored("e"), new))
        self.successResultOf(blobs.abandon(made["doomed"], unclear=False))
        self.successResultOf(blobs.abandon(made["dead"], unclear=False))
        self.execute("UPDATE blobs SET state = 'dead', owner = NULL WHERE key = 'dead'")
        uploads = Uploads(self.ledger, traits_of=lambda _: TRAITS)
        upload: Upload = self.successResultOf(uploads.create(bucket, "k", ["a"], ObjectMetadata()))
        for etag in ("1", "2"):
            part = self.successResultOf(uploads.begin_part(upload, 1, 7))
            if etag == "1":
                self.successResultOf(uploads.end_part(part, Stored(etag), etag=etag, checksum=None))

    def execute(self, statement: str) -> None:
        async def work(tx: ITransaction) -> None:
            await tx.run(statement)

        self.successResultOf(self.ledger.transact(work))

    def findings(self) -> list[Finding]:
        return self.successResultOf(check(self.ledger))

    def test_clean(self) -> None:
        """
        A ledger that keeps its rules has no findings.
        """
        self.assertEqual(self.findings(), [])

    def test_broken(self) -> None:
        """
        Each way to break a rule is found, and not taken for another.
        """
        for statement, expected in BROKEN.items():
            with self.subTest(statement):
                self.ledger = SqliteDatabase(IN_MEMORY, Clock(), threaded=False).open()
                self.fill()
                self.execute(statement)
                messages = [finding.message for finding in self.findings()]
                self.assertEqual(len(messages), len(expected), messages)
                for message, part in zip(messages, expected, strict=True):
                    self.assertIn(part, message)

    def test_every_rule(self) -> None:
        """
        No rule is without a way to break it, but for the one the schema itself enforces.
        """
        parts = {part for expected in BROKEN.values() for part in expected}
        untested = [rule.message for rule in RULES if not any(part in rule.message for part in parts)]
        self.assertEqual(untested, ["the name is held by more than one blob"])

    def test_repair(self) -> None:
        """
        Counters and guards are computed anew; nothing else is touched.
        """
        self.execute("UPDATE byte_counts SET live = 5, orphan = 0, objects = 7")
        self.execute("UPDATE backend_counts SET live = 5")
        self.execute("UPDATE backend_guards SET taken = 1")
        self.execute("UPDATE bucket_guards SET taken = 1")
        self.execute("UPDATE blobs SET suspect = TRUE WHERE key = 'live'")
        findings = self.findings()
        self.assertEqual([finding.repairable for finding in findings], [False, True, True, True, True])
        self.assertEqual(self.successResultOf(repair(self.ledger, findings)), 4)
        (left,) = self.findings()
        self.assertEqual((left.rule, left.subject), ("L3", "photos/live"))

    def test_nothing_to_repair(self) -> None:
        """
        Where nothing is repairable nothing is written.
        """
        before = self.successResultOf(self.ledger.query("SELECT commits FROM ledger"))[0][0]
        self.assertEqual(self.successResultOf(repair(self.ledger, [Finding("L3", "k", "gone")])), 0)
        after = self.successResultOf(self.ledger.query("SELECT commits FROM ledger"))[0][0]
        self.assertEqual(after, before)
