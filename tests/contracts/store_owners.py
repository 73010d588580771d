"""The contract of several instances on one ledger: leases, taking over, handing back."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, evolve, field
from prometheus_client import REGISTRY
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Blob, BlobState, UploadState, Usage
from s3orchestrator.errors import Conflict, LedgerTooNew, NoSuchUpload
from s3orchestrator.interfaces import ILease
from s3orchestrator.store.migrate import level
from s3orchestrator.store.operations import ILedger, Left, LooseEnd
from s3orchestrator.store.owners import Lease
from tests.contracts.store_kit import METADATA, QUIET, Kit, LedgerCase, lease_on
from tests.contracts.store_races import outcomes

LEASE = 300.0
LAPSED = LEASE + 30  # how long after its last sign of life an instance is gone for the others
OLD = 0  # any age will do


def _recovered(backend: str) -> float:
    name = "s3o_cleanup_queue_stale_claims_recovered_total"
    return REGISTRY.get_sample_value(name, {"backend": backend}) or 0.0


@define(eq=False)
class Instance:
    """One of several processes on a ledger, as far as the ledger is concerned."""

    ledger: ILedger
    clock: Clock
    kit: Kit = field(init=False)
    lease: Lease = field(init=False)
    lapses: int = field(init=False, default=0)
    refusals: list[LedgerTooNew] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.kit = Kit(self.ledger, self.clock)
        told = {"lapsed": self._lapsed, "too_new": self.refusals.append}
        self.lease = lease_on(self.ledger, LEASE, self.clock, **told)

    @property
    def owner(self) -> int:
        """What it is called just now."""
        return self.ledger.operations.owner

    def _lapsed(self) -> None:
        self.lapses += 1


class InstancesCase(LedgerCase):
    """Two instances, `one` and `two`, whose leases have just begun."""

    async def setUp(self) -> None:
        await super().setUp()
        self.one, self.two = await self.instance(), await self.instance()

    async def instance(self) -> Instance:
        instance = Instance(await self.another(), self.clock)
        await instance.lease.renew()
        return instance

    async def lapse(self, *alive: Instance) -> None:
        """Let every lease lapse but those of the living."""
        for _ in range(int(LAPSED // 60) + 1):
            self.clock.advance(60)
            for instance in alive:
                await instance.lease.renew()

    async def state(self, blob: Blob) -> str | None:
        held = await self.kit.blobs.by_name(blob.backend, blob.name)
        return held.state if held is not None else None

    async def owners(self) -> set[int]:
        return {row[0] for row in await self.kit.rows("SELECT id FROM owners")}

    async def doomed(self, instance: Instance, key: str, **how: bool) -> Blob:
        """A doomed blob, claimed by an instance."""
        blob = await instance.kit.reserve(self.bucket, key, **how)
        doomed = await instance.kit.blobs.abandon(blob, unclear=False)
        assert doomed is not None
        return doomed


class LeaseContract(InstancesCase):
    """Taking, keeping and losing a lease."""

    async def test_interface(self) -> None:
        """
        A lease is what it says, and each instance has a name of its own.
        """
        verifyObject(ILease, self.one.lease)
        self.assertNotEqual(self.one.owner, self.two.owner)
        self.assertLessEqual({self.one.owner, self.two.owner}, await self.owners())
        self.assertEqual(self.one.lease.interval, 60)

    async def test_kept(self) -> None:
        """
        Whoever renews keeps its name.
        """
        owner = self.one.owner
        await self.lapse(self.one)
        self.assertEqual((self.one.owner, self.one.lapses), (owner, 0))
        self.assertTrue(self.one.lease.is_held())

    async def test_sends_no_more_before_the_end(self) -> None:
        """
        Nothing is sent any more while there is still time to hear the answer.
        """
        self.clock.advance(LEASE - 31)
        self.assertTrue(self.one.lease.may_send())
        self.clock.advance(1)
        self.assertEqual((self.one.lease.may_send(), self.one.lease.is_held()), (False, True))
        self.clock.advance(30)
        self.assertFalse(self.one.lease.is_held())

    async def test_new_name(self) -> None:
        """
        Whoever comes too late goes on under another name, and is told.
        """
        owner = self.one.owner
        self.clock.advance(LEASE)
        await self.one.lease.renew()
        self.assertNotEqual(self.one.owner, owner)
        self.assertEqual(self.one.lapses, 1)
        self.assertTrue(self.one.lease.may_send())
        self.assertEqual(self.one.ledger.operations.owners[:2], (self.one.owner, owner))

    async def test_given_back(self) -> None:
        """
        On an orderly end all that was held is nobody's at once.
        """
        pending = await self.one.kit.reserve(self.bucket, "pending")
        unopened = await self.one.kit.uploads.create(self.bucket, "unopened", ["a"], METADATA)
        await self.doomed(self.one, "doomed")
        await self.one.lease.give_back()
        self.assertFalse(self.one.lease.may_send())
        self.assertNotIn(self.one.owner, await self.owners())
        self.assertEqual(await self.kit.findings(), [])
        self.assertEqual([blob.key for blob in await self.two.kit.blobs.claim_doomed(10)], ["doomed"])
        self.assertEqual(await self.two.kit.blobs.reap(10, OLD), 2)
        self.assertEqual(await self.state(pending), BlobState.DOOMED)
        self.assertEqual(await self.state(unopened.blob), BlobState.DOOMED)

    async def test_forgotten(self) -> None:
        """
        A lapsed owner's row goes once nothing bears its name.
        """
        await self.one.kit.reserve(self.bucket)
        await self.lapse(self.two)
        await self.two.kit.blobs.reap(10, 10**9)
        self.assertIn(self.one.owner, await self.owners())
        await self.two.kit.blobs.reap(10, OLD)
        self.assertNotIn(self.one.owner, await self.owners())
        self.assertIn(self.two.owner, await self.owners())

    async def test_levels(self) -> None:
        """
        The lowest level of those that live is known; nobody else's counts.
        """
        self.assertEqual(await self.one.lease.lowest_level(), level())
        change = "UPDATE owners SET schema_level = 1 WHERE id = :id"
        await self.kit.execute(change, id=self.two.owner)
        self.assertEqual(await self.one.lease.lowest_level(), 1)
        await self.lapse(self.one)
        self.assertEqual(await self.one.lease.lowest_level(), level())

    async def test_level_renewed(self) -> None:
        """
        A renewal says anew what the instance knows.
        """
        await self.kit.execute("UPDATE owners SET schema_level = 1 WHERE id = :id", id=self.one.owner)
        await self.one.lease.renew()
        self.assertEqual(await self.one.lease.lowest_level(), level())

    async def test_too_old(self) -> None:
        """
        When a newer release has changed the ledger an older one notices, and sends nothing any more.
        """
        await self.kit.execute(
            "INSERT INTO schema_versions (version, name, compatible_with, applied_ms) VALUES (99, 'n', 99, 0)"
        )
        with self.assertRaises(LedgerTooNew):
            await self.one.lease.renew()
        self.assertEqual((len(self.one.refusals), self.one.lease.may_send()), (1, False))

    async def test_clock(self) -> None:
        """
        An instance whose clock is far off says so.
        """
        self.assertTrue(self.one.lease.clock_is_trusted)
        for skew_ms, trusted in ((30_000, True), (-30_000, True), (30_001, False), (-30_001, False)):
            self.one.ledger.clock_skew_ms = skew_ms
            self.assertEqual(self.one.lease.clock_is_trusted, trusted)


class ReapContract(InstancesCase):
    """What the reaper takes, and what it leaves alone."""

    async def test_living(self) -> None:
        """
        What a living instance is writing is left alone, however old it is.
        """
        blob = await self.one.kit.reserve(self.bucket)
        unopened = await self.one.kit.uploads.create(self.bucket, "u", ["a"], METADATA)
        await self.lapse(self.one, self.two)
        self.assertEqual(await self.two.kit.blobs.reap(10, OLD), 0)
        self.assertEqual(await self.state(blob), BlobState.PENDING)
        self.assertEqual(await self.state(unopened.blob), BlobState.PENDING)

    async def test_tolerance(self) -> None:
        """
        A lease is over for others half a minute after it is for its owner, for clocks differ.
        """
        await self.one.kit.reserve(self.bucket)
        self.clock.advance(LEASE + 29)
        await self.two.lease.renew()
        self.assertEqual(await self.two.kit.blobs.reap(10, OLD), 0)
        self.clock.advance(1)
        self.assertEqual(await self.two.kit.blobs.reap(10, OLD), 1)

    async def test_doomed(self) -> None:
        """
        What a lapsed one was writing is doomed, never promoted, and due for whoever cleans up.
        """
        blob = await self.one.kit.reserve(self.bucket)
        await self.lapse(self.two)
        self.assertEqual(await self.two.kit.blobs.reap(10, OLD), 1)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 10, None))
        (due,) = await self.two.kit.blobs.claim_doomed(10)
        self.assertEqual((due.id, due.unclear, due.was_live), (blob.id, True, False))
        self.assertEqual(await self.two.kit.blobs.reap(10, OLD), 0)

    async def test_age(self) -> None:
        """
        What is younger than the least age is left for later, and no more is taken than was asked for.
        """
        for key in "123":
            await self.one.kit.reserve(self.bucket, key)
        await self.lapse(self.two)
        self.assertEqual(await self.two.kit.blobs.reap(10, 10**7), 0)
        self.assertEqual(await self.two.kit.blobs.reap(2, 60_000), 2)
        self.assertEqual(await self.two.kit.blobs.reap(2, 60_000), 1)

    async def test_open_upload(self) -> None:
        """
        An upload outlives whoever began it; one that its backend never confirmed does not.
        """
        opened = await self.one.kit.upload(self.bucket, "opened")
        await self.one.kit.part(opened, 1)
        unopened = await self.one.kit.uploads.create(self.bucket, "unopened", ["a"], METADATA)
        await self.lapse(self.two)
        self.assertEqual(await self.two.kit.blobs.reap(10, OLD), 1)
        self.assertEqual(await self.state(opened.blob), BlobState.PENDING)
        self.assertEqual(await self.state(unopened.blob), BlobState.DOOMED)
        found = await self.two.kit.uploads.of_blob(unopened.blob)
        assert found is not None
        self.assertEqual(found.state, UploadState.ABORTED)
        with self.assertRaises(NoSuchUpload):
            await self.one.kit.uploads.opened(unopened, "too late")
        (due,) = await self.two.kit.blobs.claim_doomed(10)
        late = await self.two.kit.uploads.of_blob(due)
        assert late is not None
        self.assertEqual(late.backend_upload, "too late")

    async def test_without_a_row(self) -> None:
        """
        One that slept may write a last line under a name nobody knows any more: it counts as gone.
        """
        await self.lapse(self.two)
        await self.two.kit.blobs.reap(10, OLD)
        self.assertNotIn(self.one.owner, await self.owners())
        blob = await self.one.kit.reserve(self.bucket)
        self.assertEqual(
            await self.kit.findings(), [f"owners blob {blob.id}: the blob's owner does not exist (pending)"]
        )
        self.assertEqual(await self.two.kit.blobs.reap(10, OLD), 1)

    async def test_late_commit(self) -> None:
        """
        What has been reaped cannot be committed; what has not yet been can.
        """
        early, late = (
            await self.one.kit.reserve(self.bucket, "1"),
            await self.one.kit.reserve(self.bucket, "2"),
        )
        await self.lapse(self.two)
        await self.one.kit.commit(self.bucket, early)
        await self.two.kit.blobs.reap(10, OLD)
        with self.assertRaises(Conflict):
            await self.one.kit.commit(self.bucket, late)
        self.assertEqual(await self.state(early), BlobState.LIVE)
        self.assertEqual(await self.state(late), BlobState.DOOMED)

    async def test_start(self) -> None:
        """
        An instance that starts takes nothing from those that live.
        """
        blob = await self.one.kit.reserve(self.bucket)
        claimed = await self.doomed(self.one, "claimed")
        starting = await self.instance()
        self.assertEqual(await starting.kit.blobs.recover(), 0)
        self.assertEqual(await starting.kit.blobs.claim_doomed(10), [])
        self.assertEqual(await self.state(blob), BlobState.PENDING)
        await self.one.kit.blobs.forget(claimed, unclear=False)
        self.assertEqual(await self.state(claimed), BlobState.RESTING)


class TakingOverContract(InstancesCase):
    """Claims, and who has them."""

    async def test_disjoint(self) -> None:
        """
        Two that claim at the same time claim different blobs, and together all of them.
        """
        for number in range(30):
            await self.kit.blobs.retry_later(await self.doomed(self.one, f"{number}"), counted=False)
            await self.one.kit.blobs.retry_later(await self.kit_blob(f"{number}"), counted=False)
        self.clock.advance(60)
        claiming = [
            start(instance.kit.blobs.claim_doomed(4)) for _ in range(10) for instance in (self.one, self.two)
        ]
        claims: Sequence[Sequence[Blob]] = await outcomes(claiming)
        claimed = [blob.id for claim in claims for blob in claim]
        self.assertEqual((len(claimed), len(set(claimed))), (30, 30))

    async def kit_blob(self, key: str) -> Blob:
        (blob,) = [blob for blob in await self.kit.blobs.names("a") if blob.key == key]
        return blob

    async def test_of_the_living(self) -> None:
        """
        A claim is its owner's for as long as that renews its lease.
        """
        claimed = await self.doomed(self.one, "k")
        await self.lapse(self.one, self.two)
        self.assertEqual(await self.two.kit.blobs.claim_doomed(10), [])
        await self.one.kit.blobs.forget(claimed, unclear=False)
        self.assertEqual(await self.state(claimed), BlobState.RESTING)

    async def test_of_the_lapsed(self) -> None:
        """
        The claims of a lapsed owner are anybody's, once; what it says of them later changes nothing.
        """
        blobs = [await self.doomed(self.one, f"{number}", avoid_plain=True) for number in range(3)]
        await self.lapse(self.two)
        recovered = _recovered("a")
        taken = await self.two.kit.blobs.claim_doomed(10)
        self.assertEqual(_recovered("a") - recovered, 3)
        self.assertEqual({blob.id for blob in taken}, {blob.id for blob in blobs})
        self.assertTrue(all(blob.unclear for blob in taken))  # its deletes may still arrive
        self.assertEqual(await self.two.kit.blobs.claim_doomed(10), [])
        await self.one.kit.blobs.forget(blobs[0], unclear=False)
        await self.one.kit.blobs.retry_later(blobs[1], counted=True)
        await self.one.lease.renew()
        await self.one.kit.blobs.forget(blobs[2], unclear=False)
        self.assertEqual([await self.state(blob) for blob in blobs], [BlobState.DOOMED] * 3)
        self.assertEqual(await self.one.kit.blobs.claim_doomed(10), [])

    async def test_rests(self) -> None:
        """
        So are the unclear names it was to look at once more.
        """
        doomed = await self.doomed(self.one, "k")
        await self.one.kit.blobs.forget(doomed, unclear=True)
        await self.lapse(self.one, self.two)
        self.clock.advance(QUIET - 400)
        await self.one.lease.renew()
        await self.lapse(self.one, self.two)
        (mine,) = await self.one.kit.blobs.claim_unclear_rests(10)
        self.assertEqual(await self.two.kit.blobs.claim_unclear_rests(10), [])
        await self.lapse(self.two)
        (taken,) = await self.two.kit.blobs.claim_unclear_rests(10)
        self.assertEqual(taken.id, doomed.id)
        await self.one.kit.blobs.rested(mine)
        self.assertEqual(await self.state(doomed), BlobState.RESTING)
        await self.two.kit.blobs.rested(taken)
        self.assertIsNone(await self.state(doomed))

    async def test_events(self) -> None:
        """
        Events that a lapsed owner was delivering are nobody's again.
        """
        await self.kit.execute(
            """
            INSERT INTO outbox (event, endpoint, payload, created_ms, due_ms, owner, operation)
            VALUES ('e', 'http', '{}', 0, 0, :owner, 1)
            """,
            owner=self.one.owner,
        )
        await self.two.kit.blobs.reap(10, OLD)
        self.assertEqual(await self.kit.rows("SELECT owner FROM outbox"), [(self.one.owner,)])
        await self.lapse(self.two)
        await self.two.kit.blobs.reap(10, OLD)
        self.assertEqual(await self.kit.rows("SELECT owner FROM outbox"), [(None,)])

    async def test_both_take_over(self) -> None:
        """
        Two that take over from a third at the same time share what it had; nothing is taken twice.
        """
        third = await self.instance()
        for number in range(20):
            await self.doomed(third, f"{number}")
        await self.lapse(self.one, self.two)
        claiming = [
            start(instance.kit.blobs.claim_doomed(3)) for _ in range(10) for instance in (self.one, self.two)
        ]
        claims = await outcomes(claiming)
        while claims[-1] or len(claims) <= len(claiming):  # what one had locked the others left to it
            claims.append(await self.two.kit.blobs.claim_doomed(3))
        claimed = [blob.id for claim in claims for blob in claim]
        self.assertEqual((len(claimed), len(set(claimed))), (20, 20))


class HandingBackContract(InstancesCase):
    """Operations whose outcome nobody heard."""

    async def test_reservation(self) -> None:
        """
        What was reserved for somebody who never heard of it goes, also after the name has changed.
        """
        for lapses in (False, True):
            blob = await self.one.kit.reserve(self.bucket)
            unopened = await self.one.kit.uploads.create(self.bucket, "u", ["a"], METADATA)
            known = await self.one.kit.reserve(self.bucket, "known")
            await self.note(self.one, Left.RESERVATION, blob)
            await self.note(self.one, Left.RESERVATION, unopened.blob)
            if lapses:
                self.clock.advance(LEASE)
                await self.one.lease.renew()
            await self.one.kit.blobs.tie_up()
            self.assertIsNone(await self.state(blob))
            self.assertEqual(await self.state(unopened.blob), BlobState.DOOMED)
            self.assertEqual(await self.state(known), BlobState.PENDING)
            while self.one.ledger.operations.loose_ends:  # others may be busy on the same server
                await self.one.kit.blobs.tie_up()

    async def test_claims(self) -> None:
        """
        What was claimed by an operation nobody heard of is due again; other claims stay.
        """
        for key in "12":
            await self.doomed(self.one, key)
        held = await self.doomed(self.one, "held")
        for blob in await self.kit.blobs.names("a"):
            if blob.id != held.id:
                await self.note(self.one, Left.CLAIM, blob)
        self.clock.advance(LEASE)
        await self.one.lease.renew()
        await self.one.kit.blobs.tie_up()
        self.assertEqual([blob.key for blob in await self.two.kit.blobs.claim_doomed(10)], ["1", "2"])

    async def test_commit(self) -> None:
        """
        After a commit that did not happen the bytes are nobody's.
        """
        blob = await self.one.kit.reserve(self.bucket)
        self.one.ledger.operations.loose_ends.append(LooseEnd(Left.COMMIT, blob.id))
        await self.one.kit.blobs.tie_up()
        (due,) = await self.two.kit.blobs.claim_doomed(10)
        self.assertEqual((due.id, due.unclear), (blob.id, True))

    async def test_once(self) -> None:
        """
        What has been taken over from a lapsed owner is not handed back a second time.
        """
        doomed = await self.doomed(self.one, "k")
        await self.note(self.one, Left.CLAIM, doomed)
        await self.lapse(self.two)
        (taken,) = await self.two.kit.blobs.claim_doomed(10)
        await self.one.lease.renew()
        await self.one.kit.blobs.tie_up()
        self.assertEqual(await self.one.kit.blobs.claim_doomed(10), [])
        await self.two.kit.blobs.forget(taken, unclear=False)
        self.assertEqual(await self.state(doomed), BlobState.RESTING)

    async def note(self, instance: Instance, left: Left, blob: Blob) -> None:
        """Let the outcome of the operation that a blob is of be unknown."""
        ((number,),) = await self.kit.rows("SELECT operation FROM blobs WHERE id = :id", id=blob.id)
        instance.ledger.operations.loose_ends.append(LooseEnd(left, number))


class SuspectContract(LedgerCase):
    """Copies that a reader missed or found wrong."""

    async def found(self) -> Blob:
        (blob,) = (await self.kit.versions.find(self.bucket, "k")).blobs
        return blob

    async def test_marked(self) -> None:
        """
        A copy is suspect until it is found good; it stays live, and it stays the only one.
        """
        (blob,) = (await self.kit.put(self.bucket)).version.blobs
        await self.kit.blobs.suspect(blob)
        self.assertEqual(await self.found(), evolve(blob, suspect=True))
        (finding,) = await self.kit.findings()
        self.assertIn("no live blob that is believed good", finding)
        await self.kit.blobs.trust(blob)
        self.assertEqual(await self.found(), blob)

    async def test_only_live(self) -> None:
        """
        Nothing is said of a copy that is being deleted: of course it may be missing.
        """
        (blob,) = (await self.kit.put(self.bucket)).version.blobs
        await self.kit.put(self.bucket)
        await self.kit.blobs.suspect(blob)
        held = await self.kit.blobs.by_name(blob.backend, blob.name)
        assert held is not None
        self.assertEqual((held.state, held.suspect), (BlobState.DOOMED, False))
