"""Tests for who carries out what of the ledger."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.interface import InterfaceClass

from s3orchestrator.interfaces import IBlobs, IBuckets, IMarks, IUploads, IUsageLedger, IVersions
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.workers.duties import DUTIES, sharing

INTERFACES: dict[str, InterfaceClass] = {
    "blobs": IBlobs,
    "buckets": IBuckets,
    "marks": IMarks,
    "uploads": IUploads,
    "usage": IUsageLedger,
    "versions": IVersions,
}


class DutiesTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """
        Each method of each role is done either here or elsewhere, and nothing else is.
        """
        for role, interface in INTERFACES.items():
            duties = DUTIES[role]
            self.assertEqual(duties.here | duties.elsewhere, set(interface.names(all=True)), role)
            self.assertEqual(duties.here & duties.elsewhere, set(), role)
        self.assertEqual(DUTIES.keys() - INTERFACES.keys(), {"registration"})

    def test_asked(self) -> None:
        """
        What writes is asked for, as it was called; what reads is the class's own.
        """
        asked: list[tuple[Any, ...]] = []

        async def elsewhere(*what: Any) -> str:
            asked.append(what)
            return "done"

        kind = sharing(Blobs, "blobs", elsewhere)
        blobs = kind(None, traits_of=lambda name: None, quiet_period=1.0)  # type: ignore[call-arg]
        self.assertEqual(self.successResultOf(blobs.abandon("blob", unclear=True)), "done")  # type: ignore[arg-type]
        self.assertEqual(asked, [("blobs", "abandon", ("blob",), {"unclear": True})])
        self.assertIs(kind.names, Blobs.names)
