"""Versions that are looked up in the same turn of the reactor: one round trip, and no shared fate."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, DeferredList, gatherResults

from s3orchestrator.concurrency import start
from s3orchestrator.errors import NoSuchKey, NoSuchVersion, StoreUnavailable
from s3orchestrator.store import finding, together
from s3orchestrator.store.dialing import Patience
from s3orchestrator.store.pool import Limits
from s3orchestrator.store.sql import pyformat
from tests.contracts.store_kit import Kit
from tests.contracts.store_postgres import PostgresCase
from tests.contracts.store_shortcuts import NASTY
from tests.contracts.test_shortcuts import Asked

ONE = Limits(at_least=0, at_most=1)


class TogetherTests(PostgresCase):
    async def kit(self, **how: Any) -> Kit:
        """A ledger with a bucket, in which each key has its own name as ETag."""
        kit = Kit(await self.open(limits=ONE, **how), self.reactor)
        self.bucket = await kit.buckets.adopt("photos")
        return kit

    async def found(self, kit: Kit, *keys: str) -> list[object]:
        """The ETags of keys that are looked up at once, or what was raised instead."""
        asking = [start(kit.versions.find(self.bucket, key)) for key in keys]
        outcomes = await DeferredList(asking, consumeErrors=True)
        return [result.etag if success else result.type for success, result in outcomes]

    async def test_each_its_own(self) -> None:
        """
        Each gets what is its own, with all copies, in one round trip; the same one may be wanted twice.
        """
        kit = await self.kit()
        for key in NASTY:
            await kit.put(self.bucket, key, etag=key)
        asked = Asked(self)
        self.assertEqual(await self.found(kit, *NASTY, "not there", "NULL"), [*NASTY, NoSuchKey, "NULL"])
        self.assertEqual(asked.since(), 1)
        describing = [start(kit.versions.describe(self.bucket, key)) for key in NASTY]
        self.assertEqual([version.etag for version in await gatherResults(describing)], [*NASTY])
        self.assertEqual(asked.since(), 1)

    async def test_versions(self) -> None:
        """
        So it is with versions that are asked for by their ids.
        """
        kit = await self.kit()
        version = (await kit.put(self.bucket, "a")).version
        await kit.put(self.bucket, "b")
        find = kit.versions.find
        asked = Asked(self)
        asking = [start(find(self.bucket, key, version.version_id)) for key in ("a", "b", "a")]
        unknown = start(find(self.bucket, "a", "other"))
        found = await gatherResults(asking)
        self.assertEqual(found[0], version)
        self.assertEqual([one.key for one in found], ["a", "b", "a"])
        with self.assertRaises(NoSuchVersion):
            await unknown
        self.assertEqual(asked.since(), 1)

    async def test_many(self) -> None:
        """
        Very many are asked for in several strings.
        """
        kit = await self.kit()
        await kit.put(self.bucket, "250", etag="here")
        asked = Asked(self)
        found = await self.found(kit, *map(str, range(3 * together.AT_MOST)))
        self.assertEqual(found.index("here"), 250)
        self.assertEqual(asked.since(), 3)

    async def test_what_the_server_refuses(self) -> None:
        """
        A key that the server does not take is nobody else's failure.
        """
        kit = await self.kit()
        await kit.put(self.bucket, "k", etag="here")
        found = await self.found(kit, "k", "nul\0", "k", "half\ud800")
        self.assertEqual(found, ["here", ValueError, "here", UnicodeEncodeError])

    async def test_caller_leaves(self) -> None:
        """
        Whoever leaves hears so at once, and the others hear what they asked for.
        """
        kit = await self.kit()
        for key in ("a", "b"):
            await kit.put(self.bucket, key, etag=key)
        stays = [start(kit.versions.find(self.bucket, key)) for key in ("a", "b")]
        leaves = [start(kit.versions.find(self.bucket, key)) for key in ("a", "c")]
        for leaving in leaves:
            leaving.cancel()
            self.failureResultOf(leaving, CancelledError)
        self.assertEqual([version.etag for version in await gatherResults(stays)], ["a", "b"])

    async def test_killed(self) -> None:
        """
        A connection that has ended meanwhile is replaced, and nobody hears of it.
        """
        kit = await self.kit()
        await kit.put(self.bucket, "a", etag="here")
        self.kill()
        self.assertEqual(await self.found(kit, "a", "b"), ["here", NoSuchKey])

    async def test_frozen(self) -> None:
        """
        Of a server that does not answer everybody hears in time.
        """
        kit = await self.kit(patience=Patience(read=0.2))
        await kit.put(self.bucket, "a")
        self.freeze()
        asking = [start(kit.versions.find(self.bucket, key)) for key in "ab"]
        took, stood_still = await self.took(asking[0], StoreUnavailable)
        with self.assertRaises(StoreUnavailable):
            await asking[1]
        self.assertGreater(took, 0.15)
        self.assertLess(took, 2.0)
        self.assertLess(stood_still, 0.2)

    async def test_closed(self) -> None:
        """
        What is asked for while the ledger is closed is answered, or refused.
        """
        kit = await self.kit()
        asking = start(self.found(kit, "a", "b"))
        await kit.ledger.close()
        self.assertEqual(await asking, [StoreUnavailable] * 2)

    async def test_looked_up(self) -> None:
        """
        Each is looked up by an index, however much the planner would like to turn it over.
        """
        await self.kit()
        with self.server.connect(self.database) as connection, connection.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
            for statement in finding.OF_MANY.values():
                cursor.execute(f"EXPLAIN {pyformat(statement)}", {"asked": "[]"})
                plan = "\n".join(line for (line,) in cursor.fetchall())
                self.assertIn("Nested Loop", plan.splitlines()[0])
                self.assertRegex(plan, r"bucket_id = asked.bucket_id\) AND \(key = asked.key")
                self.assertNotIn("Seq Scan", plan)
        connection.close()
