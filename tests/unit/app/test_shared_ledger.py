"""Tests for the ledger as it is built in a process that has another one write it."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from s3orchestrator.app.leasing import lease_on
from s3orchestrator.app.ledgers import Ledger, ledger_on, open_ledger, share_ledger, shared_ledger
from s3orchestrator.concurrency import start
from s3orchestrator.config.sections import Config, DatabaseConfig
from s3orchestrator.domain.records import Blob, Bucket, NewVersion
from s3orchestrator.errors import StoreUnavailable, TransactionUnclear
from s3orchestrator.interfaces import Stored, Traits
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.sqlite import SqliteDatabase
from s3orchestrator.workers.link import Handler, Link, join

NEW = NewVersion(10, "etag", ObjectMetadata())


def traits_of(name: str) -> Traits | None:
    """Backend `a` can do everything."""
    return Traits(exclusive=frozenset({"put"})) if name == "a" else None


class SharedLedgerTests(TestCase):
    async def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.config = Config(database=DatabaseConfig(path=self.mktemp()))
        self.database = await open_ledger(self.config, reactor, is_shared=True)
        self.addCleanup(lambda: start(self.database.close()))
        ours, theirs = socket.socketpair()
        self.near, self.far = self.end(), self.end()
        join(self.near[0], theirs, reactor)
        join(self.far[0], ours, reactor)
        assert isinstance(self.database, SqliteDatabase)
        server = share_ledger(self.config, self.database, traits_of)
        self.far[1].update(server.admit(self.far[0].tell).answers)
        self.ledger = await self.shared()

    def end(self) -> tuple[Link, dict[str, Handler], Deferred[None]]:
        """One end of a link, what it answers, and what fires when it has ended."""
        answers: dict[str, Handler] = {}
        lost: Deferred[None] = Deferred()
        link = Link(answers, lambda: lost.callback(None), self.reactor)

        def end() -> Deferred[None]:
            link.close()
            return lost

        self.addCleanup(end)
        return link, answers, lost

    async def shared(self) -> Ledger:
        """What the other process has."""
        link, answers, _ = self.near
        shared = shared_ledger(self.config, self.reactor, link)
        answers.update(shared.answers)
        opened: ILedger = await shared.open()
        self.addCleanup(lambda: start(opened.close()))
        return ledger_on(self.config, opened, self.reactor, lambda name: None)

    async def written(self, bucket: Bucket) -> Blob:
        blob = await self.ledger.blobs.reserve(bucket, "k", 10, ["a"])
        await self.ledger.versions.commit(bucket, blob, Stored("b"), NEW)
        return blob

    async def test_roles(self) -> None:
        """
        What is written there is read here; names are chosen by what is known there of the backends.
        """
        bucket = await self.ledger.buckets.create("photos", "ann")
        self.assertTrue((await self.written(bucket)).plain)
        found = await self.ledger.versions.find(bucket, "k")
        self.assertEqual((found.etag, found.blobs[0].name), ("etag", "photos/k"))
        self.assertEqual(self.ledger.database.ledger_id, self.database.ledger_id)

    async def test_lease(self) -> None:
        """
        Each has a lease of its own, with an end.
        """
        lease = lease_on(self.ledger, lambda: None)
        self.assertFalse(lease.may_send())
        await lease.renew()
        self.assertTrue(lease.may_send())
        self.assertTrue(self.ledger.database.operations.is_shared)
        self.assertTrue(self.database.operations.is_shared)
        rows = await self.database.query("SELECT id FROM owners WHERE lease_until_ms > 0 ORDER BY id")
        ours, theirs = self.database.operations.owner, self.ledger.database.operations.owner
        self.assertEqual([row[0] for row in rows], [ours, theirs])
        await lease.give_back()
        rows = await self.database.query("SELECT id FROM owners WHERE lease_until_ms > 0")
        self.assertEqual([row[0] for row in rows], [ours])

    async def test_away(self) -> None:
        """
        When the other process has gone the breaker opens: reads and writes fail at once.
        """
        bucket = await self.ledger.buckets.create("photos", "ann")
        away: list[None] = []
        self.ledger.database.on_away(lambda: away.append(None))
        writing = start(self.written(bucket))
        self.far[0].close()
        with self.assertRaises(TransactionUnclear):
            await writing
        for _ in range(self.config.circuit_breaker.failure_threshold):
            with self.assertRaises(StoreUnavailable):
                await self.ledger.versions.find(bucket, "k")
        self.assertEqual((len(away), self.ledger.database.is_away), (1, True))
        with self.assertRaises(StoreUnavailable):
            await self.written(bucket)
        await self.ledger.database.close()

    async def test_refused(self) -> None:
        """
        A release that is too old for the ledger has nothing written either.
        """
        bucket = await self.ledger.buckets.create("photos", "ann")
        self.ledger.database.refuse_changes(StoreUnavailable("too new"))
        with self.assertRaises(StoreUnavailable):
            await self.written(bucket)
        self.assertEqual([one.name for one in await self.ledger.buckets.all()], ["photos"])
