"""Bringing a restored ledger forward: what is taken in, what is set aside, and that nothing is deleted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.restoring import BringForward
from s3orchestrator.backends.faults import Fault
from s3orchestrator.backends.memory import Held, MemoryBackend
from s3orchestrator.domain.owning import Standing
from s3orchestrator.domain.records import BlobState
from s3orchestrator.errors import BackendUnavailable, NoSuchKey, StoreUnavailable
from s3orchestrator.interfaces import Description, Stored
from s3orchestrator.objects.restoring import Restorer
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.restoring import Restoring
from s3orchestrator.testing.harness import QUIET_PERIOD, Harness, Image

OLD, NEW, NEWER = b"old", b"new bytes", b"newer bytes still"
LONG = "n" * 1100  # its name is a hash


class RestoringCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.h = Harness(quotas={"a": 100_000})

    def now(self) -> Image:
        return self.h.image()

    def restore(self, backup: Image) -> None:
        """The ledger of then before the backends of now."""
        self.h.restart(Image(backup.ledger, self.h.image().held))

    def work(self) -> BringForward:
        core = self.h.core
        self.h.run(core.ledger.marks.declare_behind(self.h.backends))
        buckets = {bucket.name: bucket for bucket in self.h.run(core.ledger.buckets.all())}
        restorer = Restorer(
            core.ledger_id, core.ledger.blobs, Restoring(core.ledger.database), buckets, QUIET_PERIOD
        )
        return BringForward(core.backends.all(), core.owners, restorer)

    def bring_forward(self) -> list[tuple[str, str]]:
        """Returns what was found: the rule, and where."""
        work = self.work()

        async def run() -> list[tuple[str, str]]:
            return [(finding.rule, finding.subject) async for finding in work.run()]

        before = self.h.stored()
        found = self.h.run(run())
        after = self.h.stored()
        self.assertEqual(after, before)
        self.left = work.left
        return found

    def states(self, name: str) -> list[BlobState]:
        blobs = self.h.core.ledger.blobs
        rows = [self.h.run(blobs.by_name(backend, name)) for backend in ("a", "b")]
        return [row.state for row in rows if row is not None]


class TakenInTests(RestoringCase):
    def test_new(self) -> None:
        """What the ledger does not know is back as it was, under each kind of name."""
        self.h.put("kept", OLD)
        backup = self.now()
        self.h.put("k", NEW, user={"colour": "blue"})
        self.h.put("kept", NEW)  # gets a unique name
        self.h.put(LONG, NEWER)
        told = self.h.run(self.h.core.ledger.versions.find(self.h.bucket, "k"))
        self.restore(backup)
        found = self.bring_forward()
        self.assertEqual([rule for rule, _ in found], ["taken-in"] * 3)
        self.assertEqual([self.h.get(key) for key in ("k", "kept", LONG)], [NEW, NEW, NEWER])
        now = self.h.run(self.h.core.ledger.versions.find(self.h.bucket, "k"))
        for name in ("etag", "size", "metadata", "checksum"):
            self.assertEqual(getattr(now, name), getattr(told, name))
        self.assertEqual(now.modified_ms // 1000, told.modified_ms // 1000)
        self.assertEqual(self.bring_forward(), [])
        self.assertEqual(self.h.findings(), [])
        self.assertIs(self.h.core.owners["a"].verdict.standing, Standing.OURS)

    def test_name_used_again(self) -> None:
        """Under a plain name that has another owner since, the new object is found; the old one is gone."""
        self.h.put("k", OLD)
        backup = self.now()
        self.h.delete("k")
        self.h.advance(QUIET_PERIOD + 1)
        self.h.advance(QUIET_PERIOD + 1)
        self.h.put("k", NEW)
        self.assertEqual(self.states("photos/k"), [BlobState.LIVE])
        self.restore(backup)
        # Before it is brought forward, what clients delete is not deleted.
        self.assertIs(self.h.core.owners["a"].verdict.standing, Standing.BEHIND)
        self.h.delete("k")
        self.h.advance(10 * QUIET_PERIOD)
        self.assertEqual(self.bring_forward(), [("taken-in", "a: photos/k")])
        self.assertEqual(self.h.get("k"), NEW)
        self.assertEqual(self.h.findings(), [])

    def test_same_bytes_again(self) -> None:
        """An object of the same bytes is another one all the same: what was said about it may differ."""
        self.h.put("k", OLD, user={"colour": "red"})
        backup = self.now()
        self.h.delete("k")
        self.h.advance(2 * QUIET_PERIOD)
        self.h.advance(2 * QUIET_PERIOD)
        self.h.put("k", OLD, user={"colour": "blue"})
        self.restore(backup)
        self.assertEqual(self.bring_forward(), [("taken-in", "a: photos/k")])
        found = self.h.run(self.h.core.ledger.versions.find(self.h.bucket, "k"))
        self.assertEqual(found.metadata.user, {"colour": "blue"})

    def test_being_written(self) -> None:
        """What was on its way when the backup was made, and was acknowledged later, is not lost."""
        backups: list[bytes] = []

        class Watched(MemoryBackend):
            async def put(watched, *arguments: Any, **more: Any) -> Stored:
                backups.append(self.h.ledger.image())
                return await super().put(*arguments, **more)

        self.h = Harness(backends=("a",), make_backend=Watched)
        del backups[:]
        self.h.put("k", NEW)
        begun = backups[0]
        self.h.advance(QUIET_PERIOD)
        self.h.restart(Image(begun, self.h.image().held))
        self.h.advance(10 * QUIET_PERIOD)  # a daemon was started without a word: it dooms what was left
        self.assertEqual(self.bring_forward(), [("taken-in", "a: photos/k")])
        self.assertEqual(self.h.get("k"), NEW)
        self.assertEqual(self.h.findings(), [])

    def test_written_while_behind(self) -> None:
        """What is written while the ledger is behind is newer than what it does not know."""
        backup = self.now()
        self.h.put("k", NEW)
        self.restore(backup)
        self.bring_forward()
        self.restore(backup)
        self.h.clock.advance(10)
        self.h.put("k", NEWER)
        self.assertEqual(self.bring_forward(), [("set-aside", "a: photos/k")])
        self.assertEqual(self.h.get("k"), NEWER)
        self.assertEqual(self.states("photos/k"), [BlobState.DEAD])
        self.h.advance(10 * QUIET_PERIOD)
        self.assertIn(NEW, self.h.stored()["a"].values())
        self.assertEqual(self.h.findings(), [])

    def test_two_unknown(self) -> None:
        """Of two that the ledger does not know the newer one is current; nobody deletes the other."""
        backup = self.now()
        self.h.put("k", NEW)
        self.h.backend("a").faults.always(Fault.FAILED, "delete")
        self.h.clock.advance(1)
        self.h.put("k", NEWER)
        self.restore(backup)
        self.h.backend("a").faults.clear()
        self.bring_forward()
        self.h.advance(10 * QUIET_PERIOD)
        self.assertEqual(self.h.get("k"), NEWER)
        self.assertEqual(sorted(self.h.stored()["a"].values()), sorted([NEW, NEWER]))
        self.assertEqual(self.h.findings(), [])

    def test_over_the_quota(self) -> None:
        """What is there is counted, whatever the limit is."""
        backup = self.now()
        for number in range(9):
            self.h.put(f"k{number}", bytes(10_000))
        self.restore(backup)
        self.h.run(self.h.core.ledger.blobs.set_limits({"a": 50_000, "b": None}))
        self.bring_forward()
        (usage,) = [known for known in self.h.run(self.h.core.ledger.blobs.usage()) if known.backend == "a"]
        self.assertEqual((usage.live, usage.limit), (90_000, 50_000))
        self.assertEqual(self.h.findings(), [])


class LeftTests(RestoringCase):
    def test_deleted_since(self) -> None:
        """What has no bytes any more is suspect; to delete it again ends that."""
        self.h.put("k", OLD)
        backup = self.now()
        self.h.delete("k")
        self.restore(backup)
        self.assertEqual(self.bring_forward(), [("suspect", "a: photos/k")])
        self.h.delete("k")
        self.assertEqual(self.bring_forward(), [])
        with self.assertRaises(NoSuchKey):
            self.h.get("k")

    def test_moved_since(self) -> None:
        """What is missing on one backend and newer on another is not suspect."""
        self.h.put("k", OLD)
        backup = self.now()
        self.h.backend("a").faults.always(Fault.REFUSED, "put")
        self.h.put("k", NEW)
        self.h.backend("a").faults.clear()
        self.restore(backup)
        self.assertEqual(self.bring_forward(), [("taken-in", "b: photos/k")])
        self.assertEqual(self.h.get("k"), NEW)

    def test_strangers(self) -> None:
        """Objects without our stamp are left alone; one under a name of ours makes that suspect."""
        self.h.put("k", OLD)
        self.h.put("l", NEW)
        backup = self.now()
        objects = self.h.backend("a").objects
        self.h.core.cleaner.let_go()
        objects["photos/k"] = objects["theirs"] = Held(b"x", "e", 2**50, Description("text/plain"))
        self.restore(backup)
        self.assertEqual(self.bring_forward(), [("suspect", "a: photos/k")])

    def test_bucket_that_is_not_known(self) -> None:
        """An object of a bucket that was made since waits until that is made again."""
        backup = self.now()
        bucket = self.h.run(self.h.core.ledger.buckets.create("later", "alice"))
        incoming = self.h.incoming(NEW)
        self.h.run(self.h.core.objects.writing.put(bucket, "k", incoming, ObjectMetadata()))
        self.restore(backup)
        self.assertEqual(self.bring_forward(), [("no-bucket", "a: later/k")])
        bucket = self.h.run(self.h.core.ledger.buckets.create("later", "alice"))
        self.assertEqual(self.bring_forward(), [("taken-in", "a: later/k")])
        self.assertEqual(self.h.get("k", bucket), NEW)

    def test_away(self) -> None:
        """A backend that does not answer stays behind, the others do not."""
        backup = self.now()
        self.h.put("k", NEW)
        self.restore(backup)
        self.h.backend("b").down()
        self.assertEqual(self.bring_forward(), [("taken-in", "a: photos/k"), ("behind", "b")])
        self.assertEqual(self.left, ["b"])
        known = self.h.run(self.h.core.ledger.marks.known())
        self.assertEqual((known["a"].is_behind, known["b"].is_behind), (False, True))


class BrokenOffTests(RestoringCase):
    def test_at_every_transaction(self) -> None:
        """Broken off anywhere and begun again, it ends as if it had not been."""
        self.h.put("k", OLD)
        self.h.put("kept", OLD)
        backup = self.now()
        self.h.put("k", NEW)
        self.h.put("l", NEWER)
        held = self.h.image().held
        effects = 1
        while self.dies_at(effects, lambda: self.h.restart(Image(backup.ledger, held))):
            self.h.restart(self.h.image())
            self.bring_forward()
            self.assertEqual([self.h.get(key) for key in ("k", "l", "kept")], [NEW, NEWER, OLD])
            self.assertEqual(self.h.findings(), [])
            effects += 1
        self.assertGreater(effects, 4)

    def dies_at(self, number: int, begin: Callable[[], None]) -> bool:
        """Tell whether it was broken off after its n-th transaction."""
        begin()
        ledger, transact, left = self.h.ledger, self.h.ledger.transact, [number]

        async def transacting(work: Any) -> Any:
            if not left[0]:
                raise StoreUnavailable("dead")
            left[0] -= 1
            return await transact(work)

        ledger.transact = transacting  # type: ignore[method-assign]
        try:
            self.bring_forward()
        except (StoreUnavailable, BackendUnavailable):
            return True
        finally:
            ledger.transact = transact  # type: ignore[method-assign]
        return bool(self.left)
