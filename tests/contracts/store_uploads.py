"""The contract of `IUploads`: uploads from create to complete, and what they reserve."""

from __future__ import annotations

from s3orchestrator.domain.records import BlobState, Upload, UploadState, Usage
from s3orchestrator.errors import (
    Conflict,
    InsufficientStorage,
    InvalidPart,
    NoSuchBucket,
    NoSuchKey,
    NoSuchUpload,
    PartTooSmall,
    PreconditionFailed,
    TooManyUploads,
)
from s3orchestrator.interfaces import Stored
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.store.buckets import Buckets
from tests.contracts.store_kit import ABSENT, METADATA, MIB, QUIET, FailingLedger, LedgerCase

CRC = Checksum("crc32", "AAAAAA==")


class PartsContract(LedgerCase):
    """Opening uploads, and sending parts once, twice and at the same time."""

    async def numbers(self, upload: Upload) -> list[tuple[int, int, str]]:
        return [(part.number, part.size, part.etag) for part in await self.kit.uploads.parts(upload)]

    async def test_created(self) -> None:
        """
        An upload is found by its id, bucket and key; its blob is pending and reserves nothing yet.
        """
        upload = await self.kit.upload(
            self.bucket, owner="alice", checksum_algorithm="crc32", checksum_kind="COMPOSITE"
        )
        found = await self.kit.uploads.find(self.bucket, "k", upload.id)
        self.assertEqual(found, upload)
        self.assertEqual((found.state, found.owner, found.metadata), (UploadState.OPEN, "alice", METADATA))
        self.assertEqual((found.checksum_algorithm, found.checksum_kind), ("crc32", "COMPOSITE"))
        self.assertEqual(found.backend_upload, f"on-backend-{upload.id}")
        blob = found.blob
        self.assertEqual((blob.state, blob.size, blob.name), (BlobState.PENDING, 0, "photos/k"))
        self.assertEqual((blob.multipart, blob.upload_id), (True, upload.id))
        self.assertEqual(await self.kit.uploads.of_blob(blob), upload)

    async def test_not_found(self) -> None:
        """
        Somebody else's upload, or none at all, is not found.
        """
        upload = await self.kit.upload(self.bucket)
        other = await self.kit.buckets.adopt("documents")
        for bucket, key, upload_id in (
            (other, "k", upload.id),
            (self.bucket, "other", upload.id),
            (self.bucket, "k", "nonsense"),
        ):
            with self.assertRaises(NoSuchUpload):
                await self.kit.uploads.find(bucket, key, upload_id)
            with self.assertRaises(NoSuchUpload):
                await self.kit.uploads.abort(bucket, key, upload_id)
            with self.assertRaises(NoSuchUpload):
                await self.kit.uploads.begin_complete(bucket, key, upload_id, [(1, "e", None)])

    async def test_where(self) -> None:
        """
        An upload goes where there is any room at all, under a name its verb allows.
        """
        await self.kit.blobs.set_limits({"a": 10, "b": None})
        await self.kit.reserve(self.bucket, "other", 10)
        upload = await self.kit.upload(self.bucket, "k", "a", "b")
        self.assertEqual(upload.blob.backend, "b")
        with self.assertRaises(InsufficientStorage):
            await self.kit.upload(self.bucket, "k", "a")
        self.assertFalse((await self.kit.upload(self.bucket, "l", "u")).blob.plain)
        self.assertFalse((await self.kit.upload(self.bucket, "m", "b", avoid_plain=True)).blob.plain)

    async def test_too_many(self) -> None:
        """
        A bucket has at most so many open uploads.
        """
        first = await self.kit.upload(self.bucket, max_open=2)
        await self.kit.upload(self.bucket, max_open=2)
        with self.assertRaises(TooManyUploads):
            await self.kit.upload(self.bucket, max_open=2)
        await self.kit.uploads.abort(self.bucket, "k", first.id)
        await self.kit.upload(self.bucket, max_open=2)

    async def test_deleted_bucket(self) -> None:
        """
        There are no uploads to a bucket that has gone.
        """
        await self.kit.buckets.delete(self.bucket)
        with self.assertRaises(NoSuchBucket):
            await self.kit.upload(self.bucket)

    async def test_opened_too_late(self) -> None:
        """
        If the upload has ended before the backend answered, the backend's id is kept for cleaning up.
        """
        upload = await self.kit.uploads.create(self.bucket, "k", ["a"], METADATA)
        aborted = await self.kit.uploads.abort(self.bucket, "k", upload.id)
        assert aborted is not None
        with self.assertRaises(NoSuchUpload):
            await self.kit.uploads.opened(upload, "late")
        kept = await self.kit.uploads.of_blob(aborted.blob)
        assert kept is not None
        self.assertEqual(kept.backend_upload, "late")

    async def test_parts(self) -> None:
        """
        Parts are listed by number; what is on its way reserves room and is not listed.
        """
        upload = await self.kit.upload(self.bucket)
        await self.kit.part(upload, 3, 30)
        await self.kit.part(upload, 1, 10)
        await self.kit.uploads.begin_part(upload, 2, 20)
        self.assertEqual(await self.numbers(upload), [(1, 10, "e1"), (3, 30, "e3")])
        self.assertEqual(len(await self.kit.uploads.parts(upload, after=1)), 1)
        self.assertEqual(len(await self.kit.uploads.parts(upload, limit=1)), 1)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 60, 0, None))

    async def test_part_remembers(self) -> None:
        """
        A part keeps what the client and the backend said.
        """
        upload = await self.kit.upload(self.bucket)
        begun = await self.kit.uploads.begin_part(upload, 1, 10)
        self.clock.advance(5)
        ended = await self.kit.uploads.end_part(begun, Stored("theirs"), etag="ours", checksum=CRC)
        (part,) = await self.kit.uploads.parts(upload)
        self.assertEqual(part, ended)
        self.assertEqual((part.etag, part.backend_etag, part.checksum), ("ours", "theirs", CRC))
        self.assertEqual(part.modified_ms, 1_700_000_005_000)

    async def test_room(self) -> None:
        """
        A part for which there is no room is refused before it is sent.
        """
        await self.kit.blobs.set_limits({"a": 25})
        upload = await self.kit.upload(self.bucket)
        await self.kit.part(upload, 1, 20)
        with self.assertRaises(InsufficientStorage):
            await self.kit.uploads.begin_part(upload, 2, 6)
        await self.kit.part(upload, 2, 5)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 25, 0, 25))

    async def test_failed(self) -> None:
        """
        A clear failure gives the bytes back; an unclear one keeps them, for they may arrive.
        """
        upload = await self.kit.upload(self.bucket)
        clear = await self.kit.uploads.begin_part(upload, 1, 10)
        unclear = await self.kit.uploads.begin_part(upload, 1, 20)
        await self.kit.uploads.fail_part(clear, unclear=False)
        await self.kit.uploads.fail_part(unclear, unclear=True)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 20, 0, None))
        self.assertEqual(await self.numbers(upload), [])

    async def test_sent_again(self) -> None:
        """
        An attempt is reserved beside its predecessor, until its own answer is clear.
        """
        upload = await self.kit.upload(self.bucket)
        await self.kit.part(upload, 1, 10, "first")
        again = await self.kit.uploads.begin_part(upload, 1, 30)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 40, 0, None))
        self.assertEqual(await self.numbers(upload), [(1, 10, "first")])
        await self.kit.uploads.end_part(again, Stored("b"), etag="second", checksum=None)
        self.assertEqual(await self.numbers(upload), [(1, 30, "second")])
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 30, 0, None))

    async def test_sent_again_in_vain(self) -> None:
        """
        A failed repetition leaves the part that was there.
        """
        upload = await self.kit.upload(self.bucket)
        await self.kit.part(upload, 1, 10, "first")
        again = await self.kit.uploads.begin_part(upload, 1, 30)
        await self.kit.uploads.fail_part(again, unclear=False)
        self.assertEqual(await self.numbers(upload), [(1, 10, "first")])
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 10, 0, None))

    async def test_side_by_side(self) -> None:
        """
        Of two attempts at once nobody knows which the backend kept: the last answer counts, and both
        stay reserved until a later attempt has replaced them.
        """
        upload = await self.kit.upload(self.bucket)
        one = await self.kit.uploads.begin_part(upload, 1, 10)
        other = await self.kit.uploads.begin_part(upload, 1, 30)
        await self.kit.uploads.end_part(other, Stored("b"), etag="other", checksum=None)
        await self.kit.uploads.end_part(one, Stored("b"), etag="one", checksum=None)
        self.assertEqual(await self.numbers(upload), [(1, 10, "one")])
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 40, 0, None))
        await self.kit.part(upload, 1, 5, "third")
        self.assertEqual(await self.numbers(upload), [(1, 5, "third")])
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 5, 0, None))

    async def test_not_open(self) -> None:
        """
        An upload that has ended takes no parts, and no answers for parts on their way.
        """
        upload = await self.kit.upload(self.bucket)
        begun = await self.kit.uploads.begin_part(upload, 1, 10)
        failing = await self.kit.uploads.begin_part(upload, 2, 10)
        await self.kit.uploads.abort(self.bucket, "k", upload.id)
        with self.assertRaises(NoSuchUpload):
            await self.kit.uploads.begin_part(upload, 2, 10)
        with self.assertRaises(NoSuchUpload):
            await self.kit.uploads.end_part(begun, Stored("b"), etag="e", checksum=None)
        await self.kit.uploads.fail_part(failing, unclear=False)
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 20, None))


class AbortContract(LedgerCase):
    """Giving uploads up."""

    async def test_abort(self) -> None:
        """
        An aborted upload is gone for clients; its blob, parts and all, is the caller's to delete.
        """
        upload = await self.kit.upload(self.bucket)
        await self.kit.part(upload, 1, 6)
        await self.kit.part(upload, 1, 7)
        await self.kit.part(upload, 2, 3)
        aborted = await self.kit.uploads.abort(self.bucket, "k", upload.id)
        assert aborted is not None
        self.assertEqual(aborted.dropped_parts, 2)
        self.assertEqual((aborted.state, aborted.blob.state), (UploadState.ABORTED, BlobState.DOOMED))
        self.assertEqual((aborted.blob.size, aborted.blob.unclear), (10, False))
        self.assertEqual(await self.kit.usage(), Usage("a", 0, 0, 10, None))
        for gone in (self.kit.uploads.find, self.kit.uploads.abort):
            with self.assertRaises(NoSuchUpload):
                await gone(self.bucket, "k", upload.id)

    async def test_unclear_part(self) -> None:
        """
        A part that may still arrive makes the whole unclear.
        """
        upload = await self.kit.upload(self.bucket)
        await self.kit.uploads.begin_part(upload, 1, 10)
        aborted = await self.kit.uploads.abort(self.bucket, "k", upload.id)
        assert aborted is not None
        self.assertTrue(aborted.blob.unclear)

    async def test_known_until_it_is_gone(self) -> None:
        """
        The backend's id is known until nothing of the upload can be left there.
        """
        upload = await self.kit.upload(self.bucket)
        aborted = await self.kit.uploads.abort(self.bucket, "k", upload.id)
        assert aborted is not None
        self.assertIsNotNone(await self.kit.uploads.of_blob(upload.blob))
        await self.kit.blobs.forget(aborted.blob, unclear=False)
        self.clock.advance(QUIET)
        await self.kit.blobs.end_rests(10)
        self.assertIsNone(await self.kit.uploads.of_blob(upload.blob))

    async def test_abandoned(self) -> None:
        """
        Abandoning the blob of an upload ends the upload with it.
        """
        upload = await self.kit.upload(self.bucket)
        await self.kit.part(upload, 1, 10)
        doomed = await self.kit.blobs.abandon(upload.blob, unclear=False)
        assert doomed is not None
        self.assertEqual(doomed.size, 10)
        with self.assertRaises(NoSuchUpload):
            await self.kit.uploads.find(self.bucket, "k", upload.id)

    async def test_name_refused(self) -> None:
        """
        If the name turns out to be a stranger's the upload ends, and is looked for once more.
        """
        upload = await self.kit.upload(self.bucket)
        await self.kit.part(upload, 1, 10)
        await self.kit.blobs.refused(upload.blob)
        with self.assertRaises(NoSuchUpload):
            await self.kit.uploads.find(self.bucket, "k", upload.id)
        self.clock.advance(QUIET)
        (resting,) = await self.kit.blobs.claim_unclear_rests(10)
        self.assertEqual(resting.id, upload.blob.id)

    async def test_expire(self) -> None:
        """
        Uploads nobody has touched for long are aborted; any part keeps one alive.
        """
        stale = await self.kit.upload(self.bucket, "stale")
        completing = await self.kit.upload(self.bucket, "completing")
        await self.kit.part(completing, 1, 10)
        await self.kit.uploads.begin_complete(self.bucket, "completing", completing.id, [(1, "e1", None)])
        fresh = await self.kit.upload(self.bucket, "fresh")
        self.clock.advance(100)
        await self.kit.part(fresh, 1, 10)
        now_ms = self.kit.ledger.now_ms()
        doomed = await self.kit.uploads.expire(now_ms - 50_000, now_ms - 50_000)
        self.assertEqual({blob.id for blob in doomed}, {stale.blob.id, completing.blob.id})
        self.assertEqual({blob.key: blob.unclear for blob in doomed}, {"stale": False, "completing": True})
        await self.kit.uploads.find(self.bucket, "fresh", fresh.id)
        self.assertEqual(await self.kit.uploads.expire(now_ms - 50_000, now_ms - 50_000), [])

    async def test_never_confirmed(self) -> None:
        """
        At start an upload that its backend never confirmed is given up: no client has heard of it.
        """
        unconfirmed = await self.kit.uploads.create(self.bucket, "k", ["a"], METADATA)
        confirmed = await self.kit.upload(self.bucket, "l")
        self.assertEqual(await self.kit.restarted(), 1)
        with self.assertRaises(NoSuchUpload):
            await self.kit.uploads.find(self.bucket, "k", unconfirmed.id)
        await self.kit.uploads.find(self.bucket, "l", confirmed.id)
        (doomed,) = await self.kit.blobs.claim_doomed(10)
        self.assertEqual((doomed.id, doomed.unclear), (unconfirmed.blob.id, True))

    async def test_expire_many(self) -> None:
        """
        However many there are, each call aborts some: a later one that fails loses no claims.
        """
        for number in range(120):
            await self.kit.upload(self.bucket, f"{number}")
        self.clock.advance(1)
        now_ms = self.kit.ledger.now_ms()
        self.assertEqual([len(await self.kit.uploads.expire(now_ms, 0)) for _ in range(3)], [100, 20, 0])

    async def test_bucket_deleted_in_part(self) -> None:
        """
        Uploads that the delete of their bucket did not end are ended without waiting to be stale.
        """
        for number in range(120):
            await self.kit.upload(self.bucket, f"{number}")
        self.clock.advance(1)
        ledger = FailingLedger(self.kit.ledger, after=2)
        doomed = await Buckets(ledger).delete(self.bucket)
        rest = await self.kit.uploads.expire(0, 0)
        self.assertEqual((len(doomed), len(rest)), (100, 20))


class CompleteContract(LedgerCase):
    """Completing uploads, once, twice, and not at all."""

    LISTED = ((1, "e1", None), (3, "e3", None))

    async def filled(self, key: str = "k") -> Upload:
        upload = await self.kit.upload(self.bucket, key)
        for number in (1, 2, 3):
            await self.kit.part(upload, number, 5 * MIB + number)
        return upload

    async def complete(self, upload: Upload, etag: str = "whole") -> None:
        completion = await self.begin(upload)
        self.committed = await self.kit.commit(
            self.bucket, completion.upload.blob, size=completion.size, etag=etag
        )

    async def begin(self, upload: Upload, listed: object = LISTED, condition: WriteCondition | None = None):
        return await self.kit.uploads.begin_complete(self.bucket, upload.key, upload.id, listed, condition)

    async def test_complete(self) -> None:
        """
        The listed parts become the object; what was left out is given back.
        """
        await self.kit.blobs.set_limits({"a": 100 * MIB})
        upload = await self.filled()
        completion = await self.begin(upload)
        self.assertEqual(completion.size, 10 * MIB + 4)
        self.assertEqual(
            [(part.number, part.backend_etag) for part in completion.parts], [(1, "b1"), (3, "b3")]
        )
        self.assertEqual((completion.done, completion.upload.state), (None, UploadState.COMPLETING))
        await self.kit.commit(self.bucket, completion.upload.blob, size=completion.size)
        found = await self.kit.versions.find(self.bucket, "k")
        self.assertEqual((found.size, found.blobs[0].id), (10 * MIB + 4, upload.blob.id))
        self.assertEqual(await self.kit.usage(), Usage("a", 10 * MIB + 4, 0, 0, 100 * MIB))
        with self.assertRaises(NoSuchUpload):
            await self.kit.uploads.find(self.bucket, "k", upload.id)

    async def test_repeated(self) -> None:
        """
        The same Complete goes on where the first was, and gets the same answer when it is done,
        whatever has become of the object since.
        """
        upload = await self.filled()
        first = await self.begin(upload)
        self.assertEqual(await self.begin(upload), first)
        await self.complete(upload)
        for step in (self.nothing, self.overwrite, self.remove):
            await step()
            again = await self.begin(upload)
            assert again.done is not None
            self.assertEqual(
                (again.done.etag, again.done.size, again.done.id, again.done.modified_ms),
                ("whole", 10 * MIB + 4, self.committed.version.id, self.committed.version.modified_ms),
            )
        self.assertIsNone(await self.kit.uploads.abort(self.bucket, "k", upload.id))

    async def nothing(self) -> None:
        """The object is as it was."""

    async def overwrite(self) -> None:
        await self.kit.put(self.bucket, "k", 10, "u")

    async def remove(self) -> None:
        await self.kit.versions.remove(self.bucket, "k")
        for blob in await self.recovered():
            await self.kit.blobs.forget(blob, unclear=False)
        self.clock.advance(QUIET)
        for blob in await self.kit.blobs.claim_unclear_rests(10):
            await self.kit.blobs.rested(blob)

    async def recovered(self):
        await self.kit.restarted()
        return await self.kit.blobs.claim_doomed(10)

    async def test_forgotten(self) -> None:
        """
        After a day nobody knows the upload any more.
        """
        upload = await self.filled()
        await self.complete(upload)
        self.clock.advance(1)
        await self.kit.uploads.expire(0, self.kit.ledger.now_ms())
        with self.assertRaises(NoSuchUpload):
            await self.begin(upload)

    async def test_another_list(self) -> None:
        """
        While one Complete is under way another list is a conflict, afterwards there is no such upload.
        """
        upload = await self.filled()
        other = [(1, "e1", None)]
        await self.begin(upload)
        with self.assertRaises(Conflict):
            await self.begin(upload, other)
        await self.complete(upload)
        with self.assertRaises(NoSuchUpload):
            await self.begin(upload, other)

    async def test_wrong_lists(self) -> None:
        """
        A list that cannot be met is refused and the upload stays open.
        """
        upload = await self.filled()
        for listed in (
            [(4, "e4", None)],
            [(1, "e2", None)],
            [(1, "e1", CRC)],
        ):
            with self.assertRaises(InvalidPart) as refused:
                await self.begin(upload, listed)
            self.assertEqual(refused.exception.number, listed[0][0])
        await self.kit.part(upload, 4, 1)
        with self.assertRaises(InvalidPart):
            await self.begin(upload, [(4, "e4", None), (5, "e5", None)])
        await self.kit.part(upload, 5, 1)
        with self.assertRaises(PartTooSmall) as small:
            await self.begin(upload, [(1, "e1", None), (4, "e4", None), (5, "e5", None)])
        self.assertEqual((small.exception.number, small.exception.size), (4, 1))
        found = await self.kit.uploads.find(self.bucket, "k", upload.id)
        self.assertEqual(found.state, UploadState.OPEN)
        await self.begin(upload, [(1, "e1", None), (5, "e5", None)])

    async def test_checksums(self) -> None:
        """
        A listed checksum must be the part's.
        """
        upload = await self.kit.upload(self.bucket)
        part = await self.kit.uploads.begin_part(upload, 1, 10)
        await self.kit.uploads.end_part(part, Stored("b"), etag="e1", checksum=CRC)
        with self.assertRaises(InvalidPart):
            await self.begin(upload, [(1, "e1", Checksum("crc32", "BBBBBB=="))])
        completion = await self.begin(upload, [(1, "e1", CRC)])
        self.assertEqual(completion.parts[0].checksum, CRC)
        self.assertEqual(await self.begin(upload, [(1, "e1", CRC)]), completion)

    async def test_condition(self) -> None:
        """
        A condition is looked at before the backend is asked, and again by the commit.
        """
        upload = await self.filled()
        with self.assertRaises(NoSuchKey):
            await self.begin(upload, condition=WriteCondition(if_match=("x",)))
        completion = await self.begin(upload, condition=ABSENT)
        await self.kit.put(self.bucket, "k", 1, "u")
        with self.assertRaises(PreconditionFailed):
            await self.kit.commit(self.bucket, completion.upload.blob, size=completion.size, condition=ABSENT)
        await self.kit.uploads.reopen(completion.upload)
        with self.assertRaises(PreconditionFailed):
            await self.begin(upload, condition=ABSENT)

    async def test_completing_refuses(self) -> None:
        """
        While it completes, an upload takes no parts and is not aborted; reopened, it does and is.
        """
        upload = await self.filled()
        on_its_way = await self.kit.uploads.begin_part(upload, 1, 10)
        completion = await self.begin(upload)
        with self.assertRaises(NoSuchUpload):
            await self.kit.uploads.begin_part(upload, 4, 10)
        with self.assertRaises(Conflict):
            await self.kit.uploads.abort(self.bucket, "k", upload.id)
        await self.kit.uploads.end_part(on_its_way, Stored("b"), etag="late", checksum=None)
        self.assertEqual((await self.begin(upload)).parts, completion.parts)
        await self.kit.uploads.reopen(upload)
        self.assertEqual((await self.kit.uploads.parts(upload))[0].etag, "late")
        self.assertIsNotNone(await self.kit.uploads.abort(self.bucket, "k", upload.id))

    async def test_completed_although_a_part_came_late(self) -> None:
        """
        A part that arrives while the list is fixed changes neither the list nor what is reserved for it.
        """
        upload = await self.filled()
        on_its_way = await self.kit.uploads.begin_part(upload, 1, 10)
        completion = await self.begin(upload)
        await self.kit.uploads.end_part(on_its_way, Stored("b"), etag="late", checksum=None)
        await self.kit.commit(self.bucket, completion.upload.blob, size=completion.size)
        self.assertEqual(await self.kit.usage(), Usage("a", 10 * MIB + 4, 0, 0, None))

    async def test_overlapping_attempts_may_be_listed(self) -> None:
        """
        Of attempts at once the client may have seen either answer: the backend decides.
        """
        upload = await self.kit.upload(self.bucket)
        one = await self.kit.uploads.begin_part(upload, 1, 10)
        other = await self.kit.uploads.begin_part(upload, 1, 30)
        for part, etag in ((one, "one"), (other, "other")):
            await self.kit.uploads.end_part(part, Stored(f"b-{etag}"), etag=etag, checksum=None)
        completion = await self.begin(upload, [(1, "one", None)])
        self.assertEqual((completion.size, completion.parts[0].backend_etag), (10, "b-one"))

    async def test_not_completing(self) -> None:
        """
        The blob of an upload is committed by completing it, not otherwise.
        """
        upload = await self.filled()
        found = await self.kit.uploads.find(self.bucket, "k", upload.id)
        with self.assertRaises(Conflict):
            await self.kit.commit(self.bucket, found.blob, size=10)

    async def test_ten_thousand_parts(self) -> None:
        """
        An upload of as many parts as there may be is completed and remembered.
        """
        upload = await self.kit.upload(self.bucket)
        await self.kit.execute(
            "INSERT INTO parts (upload_id, number, attempt, state, counts, ended, size, etag)"
            " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            " SELECT :id, i, 1, 'stored', TRUE, 2, 5242880, 'e' || i FROM n",
            id=upload.id,
        )
        await self.kit.execute("UPDATE blobs SET size = 52428800000")
        await self.kit.execute("UPDATE byte_counts SET reserved = 52428800000")
        await self.kit.execute("UPDATE backend_counts SET reserved = 52428800000")
        listed = [(number, f"e{number}", None) for number in range(1, 10001)]
        completion = await self.begin(upload, listed)
        self.assertEqual((len(completion.parts), completion.size), (10000, 52428800000))
        await self.kit.commit(self.bucket, completion.upload.blob, size=completion.size)
        self.assertIsNotNone((await self.begin(upload, listed)).done)


class UploadsListingContract(LedgerCase):
    """Pages of open uploads."""

    async def page(self, lower: str = "", upper: str | None = None, limit: int = 100, **how: object):
        how = {"inclusive": True, **how}
        listed = await self.kit.uploads.page(self.bucket, lower, upper, limit, **how)
        return [upload.id for upload in listed]

    async def test_order(self) -> None:
        """
        By key, then by when they were begun; ended ones are not listed.
        """
        ids = {}
        for name, key in (("b1", "b"), ("a", "a"), ("b2", "b"), ("gone", "a"), ("c", "c"), ("b3", "b")):
            self.clock.advance(1)
            ids[name] = (await self.kit.upload(self.bucket, key)).id
        await self.kit.uploads.abort(self.bucket, "a", ids["gone"])
        expected = [ids[name] for name in ("a", "b1", "b2", "b3", "c")]
        self.assertEqual(await self.page(), expected)
        self.assertEqual(await self.page("b", inclusive=False), expected[4:])
        self.assertEqual(await self.page("b", "c"), expected[1:4])
        self.assertEqual(await self.page("b", after_upload=ids["b1"]), expected[2:])
        self.assertEqual(await self.page("b", after_upload=ids["b1"], limit=1), expected[2:3])
        self.assertEqual(await self.page("b", after_upload=ids["b3"]), expected[4:])

    async def test_aborted_while_listing(self) -> None:
        """
        A client that aborts each page before it asks for the next misses none.
        """
        for _ in range(5):
            await self.kit.upload(self.bucket)
        seen, key, after = 0, "", None
        while page := await self.kit.uploads.page(
            self.bucket, key, None, 2, inclusive=False, after_upload=after
        ):
            for upload in page:
                await self.kit.uploads.abort(self.bucket, upload.key, upload.id)
            seen += len(page)
            key, after = page[-1].key, page[-1].id
        self.assertEqual(seen, 5)
