"""Deletes: what the client hears, and what happens behind it."""

from __future__ import annotations

from hashlib import md5

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.domain.records import Removed
from s3orchestrator.errors import BackendUnavailable, NoSuchKey, NoSuchVersion, PreconditionFailed
from s3orchestrator.protocol.conditions import WriteCondition
from tests.unit.objects.world import LARGE, SMALL, World


class DeleteTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.w = World(quotas={"a": 20_000})
        self.a = self.w.backend("a")
        self.deleting = self.w.core.objects.deleting
        for key, data in (("k", SMALL), ("l", LARGE)):
            self.w.run(self.w.putting(key, data))

    def tearDown(self) -> None:
        self.w.quiesce()
        self.assertEqual(self.w.problems(), [])

    def delete(self, key: str, *more: object) -> Removed:
        return self.w.run(self.deleting.delete(self.w.bucket, key, *more))  # type: ignore[arg-type]

    def test_one(self) -> None:
        """The version that went is named; the bytes follow."""
        removed = self.delete("k")
        self.assertEqual((removed.key, removed.version_id), ("k", "null"))
        self.assertEqual(self.w.contents(), {"l": LARGE})
        self.assertEqual(list(self.w.stored()["a"]), ["photos/l"])

    def test_what_is_not_there(self) -> None:
        """That is no error, however often."""
        self.delete("k")
        self.assertIsNone(self.delete("k").version_id)
        self.assertIsNone(self.delete("nothing").version_id)

    def test_by_version(self) -> None:
        """`null` is the version of every object; others there are none."""
        self.assertIsNone(self.delete("k", "other").version_id)
        self.assertEqual(self.w.get("k"), SMALL)
        self.assertEqual(self.delete("k", "null").version_id, "null")
        find = self.w.core.objects.reading.find
        self.w.expect(NoSuchKey, find(self.w.bucket, "k"))
        self.w.expect(NoSuchVersion, find(self.w.bucket, "k", "null"))

    def test_conditions(self) -> None:
        """Only what was read is deleted."""
        wrong, right = (WriteCondition(if_match=(md5(data).hexdigest(),)) for data in (LARGE, SMALL))
        self.w.expect(PreconditionFailed, self.deleting.delete(self.w.bucket, "k", None, wrong))
        self.assertEqual(self.w.get("k"), SMALL)
        self.delete("k", None, right)
        self.w.expect(NoSuchKey, self.deleting.delete(self.w.bucket, "k", None, right))

    def test_many(self) -> None:
        """Each has its own answer, in the order of the request; a refusal stops no other."""
        wrong = WriteCondition(if_match=("0" * 32,))
        outcome = self.w.run(
            self.deleting.delete_many(
                self.w.bucket, [("l", None, wrong), ("nothing", None, None), ("k", "null", None)]
            )
        )
        self.assertEqual([removed.key for removed in outcome], ["l", "nothing", "k"])
        self.assertEqual([removed.version_id for removed in outcome], [None, None, "null"])
        self.assertIsInstance(outcome[0].error, PreconditionFailed)
        self.assertEqual(self.w.contents(), {"l": LARGE})

    def test_a_thousand(self) -> None:
        """As many as one request may name."""
        for number in range(250):
            self.w.run(self.w.putting(f"n{number}", b""))
        entries = [(f"n{number}", None, None) for number in range(1000)]
        outcome = self.w.run(self.deleting.delete_many(self.w.bucket, entries))
        self.assertEqual(sum(removed.version_id is not None for removed in outcome), 250)
        self.assertEqual(list(self.w.stored()["a"]), ["photos/k", "photos/l"])

    def test_backend_away(self) -> None:
        """Success does not wait: the key can be written anew while the old bytes are still there."""
        self.a.down()
        self.delete("k")
        self.a.faults.clear()
        self.assertIn("photos/k", self.w.stored()["a"])
        self.w.clock.advance(11)
        self.w.run(self.w.putting("k", LARGE))
        self.w.advance(60)
        self.w.settle()
        self.assertEqual(self.w.get("k"), LARGE)
        self.assertNotIn("photos/k", self.w.stored()["a"])

    def test_backend_that_refuses(self) -> None:
        """What cannot be deleted for long is left to the operator, and still counted."""
        self.a.faults.always(Fault.FAILED, "delete")
        self.delete("k")
        for _ in range(12):
            self.w.advance(86_401)
        blob = self.w.run(self.w.core.ledger.blobs.by_name("a", "photos/k"))
        assert blob is not None
        self.assertEqual(blob.state, "dead")
        self.assertEqual(self.w.run(self.w.core.ledger.blobs.usage())[0].orphan, len(SMALL))
        self.assertEqual(self.w.findings(), [])
        self.w = World()  # this one cannot come to rest

    def test_backend_that_is_not_configured_any_more(self) -> None:
        """What is there cannot be read, which is not missing; a delete is done when it is back."""
        upload, _ = self.w.uploaded("u", SMALL)
        self.w.backends = ("b",)
        self.w.restart()
        deleting = self.w.core.objects.deleting
        self.w.expect(BackendUnavailable, self.read("l"))
        self.w.expect(BackendUnavailable, self.w.part(upload, 2, SMALL))
        self.w.run(deleting.delete(self.w.bucket, "k"))
        self.w.run(self.w.aborting(upload))
        self.w.run(self.w.putting("l", SMALL))
        for _ in range(12):
            self.w.advance(86_401)
        self.w.backends = ("a", "b")
        self.w.restart()
        self.w.advance(61)
        self.w.settle()
        self.assertEqual(self.w.stored(), {"a": {}, "b": {"photos/l": SMALL}})

    async def read(self, key: str) -> None:
        await self.w.core.objects.reading.open(self.w.bucket, key, lambda version: None)
