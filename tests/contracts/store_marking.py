"""The contract of `IMarks`: what a ledger knows of the markers on its backends."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from s3orchestrator.domain.owning import Known
from s3orchestrator.interfaces import IMarks
from s3orchestrator.store.marking import Marks
from tests.contracts.store_kit import LedgerCase, built


class MarksContract(LedgerCase):
    """Numbers of markers, and whether the ledger is behind."""

    async def setUp(self) -> None:
        await super().setUp()
        self.marks = built(self.kit.ledger, Marks, "marks")(self.kit.ledger)

    async def known(self, backend: str = "m") -> Known | None:
        return (await self.marks.known()).get(backend)

    async def test_interface(self) -> None:
        """
        It keeps to its interface.
        """
        verifyObject(IMarks, self.marks)

    async def test_raised(self) -> None:
        """
        Of several who have read the same number one raises it.
        """
        self.assertTrue(await self.marks.raise_number("m", 0))
        self.assertFalse(await self.marks.raise_number("m", 0))
        self.assertEqual(await self.known(), Known(1))
        await self.marks.marked("m", 1, 500)
        await self.marks.marked("m", 1, 400)  # one who began earlier, and ended later
        self.assertEqual(await self.known(), Known(1, 500))

    async def test_behind(self) -> None:
        """
        Behind, the number stays until the ledger has caught up.
        """
        await self.marks.raise_number("m", 0)
        await self.marks.declare_behind(["m", "n"])
        self.assertFalse(await self.marks.raise_number("m", 1))
        self.assertEqual(await self.known("n"), Known(0, is_behind=True))
        await self.marks.set_number("m", 7, caught_up=False)
        self.assertEqual(await self.known(), Known(7, is_behind=True))
        await self.marks.set_number("m", 3, caught_up=True)
        self.assertEqual(await self.known(), Known(7))

    async def test_nothing_is_forgotten(self) -> None:
        """
        Where the ledger is behind, neither what is doomed nor what rests is anybody's to go on with.
        """
        await self.kit.put(self.bucket, "one")
        (blob,) = (await self.kit.versions.remove(self.bucket, "one")).doomed
        await self.kit.blobs.retry_later(blob, counted=False)
        self.clock.advance(10**5)
        await self.marks.declare_behind([blob.backend])
        self.assertEqual(await self.kit.blobs.claim_doomed(10), [])
        await self.marks.set_number(blob.backend, 1, caught_up=True)
        (again,) = await self.kit.blobs.claim_doomed(10)
        await self.kit.blobs.forget(again, unclear=False)
        self.clock.advance(10**5)
        await self.marks.declare_behind([blob.backend])
        self.assertEqual(await self.kit.blobs.end_rests(10), 0)

    async def test_signs(self) -> None:
        """
        A database in another server, or in another history of it, is behind all of its backends, once.
        """
        await self.marks.raise_number("m", 0)
        self.assertEqual(await self.marks.find_signs(), "")
        self.assertEqual(await self.marks.find_signs(), "")
        ((origin,),) = await self.kit.ledger.query("SELECT origin FROM ledger")
        if origin is None:
            return  # a file has none
        await self.kit.execute("UPDATE ledger SET origin = '1/00000001'")
        self.assertIn("1/00000001 became ", await self.marks.find_signs())
        self.assertEqual(await self.known(), Known(1, is_behind=True))
        self.assertEqual(await self.marks.find_signs(), "")
