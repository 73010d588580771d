"""Tests for an SQLite ledger beside backends that links lead to."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from s3orchestrator.app.ledgers import open_ledger
from s3orchestrator.config.sections import BackendConfig, Config, DatabaseConfig
from s3orchestrator.errors import LedgerMisplaced
from s3orchestrator.store.operations import ILedger


class MisplacedTests(TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.link = self.directory / "link"

    async def opened(self, path: str, *, make: bool = False) -> ILedger:
        """Open a ledger beside a backend that is at the link: to serve from it, or to check it."""
        from twisted.internet import reactor

        config = Config(
            database=DatabaseConfig(path=str(self.directory / path)),
            backends=(BackendConfig(name="disk", type="directory", path=str(self.link)),),
        )
        return await open_ledger(config, reactor, make=make)

    async def test_among_objects(self) -> None:
        """
        It is not checked where a link makes it one of the objects: it would be deleted as a stray.
        """
        (self.directory / "objects").mkdir()
        self.link.symlink_to("objects")
        await (await self.opened("objects/ledger.db", make=True)).close()
        with self.assertRaisesRegex(LedgerMisplaced, 'is inside of backend "disk"'):
            await self.opened("objects/ledger.db")

    async def test_circle(self) -> None:
        """
        A link that leads nowhere is the backend's trouble, not the ledger's.
        """
        self.link.symlink_to(self.link.name)
        for make in (True, False):
            await (await self.opened("ledger.db", make=make)).close()
