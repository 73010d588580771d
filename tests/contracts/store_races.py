"""What must hold however many want the same thing at the same time."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Usage
from s3orchestrator.errors import InsufficientStorage, PreconditionFailed
from tests.contracts.store_kit import ABSENT, LedgerCase


async def outcomes(working: list[Deferred[object]]) -> list[object]:
    """What each of them ended with, failures included."""
    ended: list[object] = []
    for one in working:
        try:
            ended.append(await one)
        except Exception as error:
            ended.append(error)
    return ended


class RacesContract(LedgerCase):
    """Many at once."""

    async def test_one_winner(self) -> None:
        """
        Of many writers that want to be the first, exactly one is.
        """
        for attempt in range(5):
            key = f"key {attempt}"
            writers = [
                start(self.kit.put(self.bucket, key, 1, etag=f"{number}", condition=ABSENT))
                for number in range(40)
            ]
            ended = await outcomes(writers)
            refused = [one for one in ended if isinstance(one, PreconditionFailed)]
            self.assertEqual(len(refused), 39)
            (winner,) = [one for one in ended if not isinstance(one, Exception)]
            found = await self.kit.versions.find(self.bucket, key)
            self.assertEqual(found.etag, winner.version.etag)

    async def test_overwriting(self) -> None:
        """
        Of writers that all overwrite, each dooms exactly what it found; one version is left.
        """
        written = await outcomes([start(self.kit.put(self.bucket, "k", 1)) for _ in range(50)])
        displaced = [blob.id for committed in written for blob in committed.displaced]
        self.assertEqual((len(displaced), len(set(displaced))), (49, 49))
        times = [committed.version.modified_ms for committed in written]
        self.assertEqual(len(set(times)), 50)
        self.assertEqual(await self.kit.usage(), Usage("a", 1, 0, 49, None))

    async def test_quota(self) -> None:
        """
        A limit holds to the byte, however many reserve at once.
        """
        await self.kit.blobs.set_limits({"a": 100, "b": 55})
        reserving = [start(self.kit.reserve(self.bucket, f"{number}", 7, "a", "b")) for number in range(64)]
        ended = await outcomes(reserving)
        fitted = [one for one in ended if not isinstance(one, InsufficientStorage)]
        self.assertEqual(len(fitted), 100 // 7 + 55 // 7)
        self.assertEqual((await self.kit.usage("a")).reserved, 98)
        self.assertEqual((await self.kit.usage("b")).reserved, 49)
        await self.kit.reserve(self.bucket, "rest", 2, "a")

    async def test_one_plain_name(self) -> None:
        """
        Of many writers of one key one gets the plain name (L1).
        """
        blobs = await outcomes([start(self.kit.reserve(self.bucket)) for _ in range(64)])
        self.assertEqual(sum(blob.plain for blob in blobs), 1)
        self.assertEqual(len({blob.name for blob in blobs}), 64)

    async def test_claims(self) -> None:
        """
        What is due is given to one only.
        """
        for number in range(30):
            await self.kit.reserve(self.bucket, f"{number}")
        await self.kit.restarted()
        claims = await outcomes([start(self.kit.blobs.claim_doomed(4)) for _ in range(20)])
        claimed = [blob.id for claim in claims for blob in claim]
        self.assertEqual((len(claimed), len(set(claimed))), (30, 30))
