"""Recording usage: when, how often, and what a failure costs."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field
from prometheus_client import REGISTRY
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from s3orchestrator.concurrency import start
from s3orchestrator.config.live import Live
from s3orchestrator.config.upkeep import UsageFlushConfig
from s3orchestrator.counters.local import LocalCounters
from s3orchestrator.domain.records import Backlog, Inventory, Usage
from s3orchestrator.domain.usage import Counters, Limits
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import IUsageLedger
from s3orchestrator.services.periodic import Periodic
from s3orchestrator.services.showing import Showing
from s3orchestrator.services.usage_flush import UsageFlush
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.sqlite import IN_MEMORY, SqliteDatabase
from s3orchestrator.store.usage import UsageLedger
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.testing.harness import Harness
from tests.unit.backends.gate import sample


@implementer(IUsageLedger)
@define(eq=False)
class Stubborn:
    """A ledger that can be away, or take its time; it counts how often it was written."""

    _ledger: UsageLedger
    away: bool = False
    waiting: Deferred[None] | None = None
    recorded: list[float] = field(factory=list)
    clock: Clock = field(factory=Clock)

    async def record(self, used: Mapping[tuple[str, str], Counters]) -> None:
        if self.waiting is not None:
            await self.waiting
        if self.away:
            raise StoreUnavailable("away")
        self.recorded.append(self.clock.seconds())
        await self._ledger.record(used)

    async def totals(self, period: str) -> Mapping[str, Counters]:
        return await self._ledger.totals(period)

    async def inventory(self) -> Mapping[str, Inventory]:
        return await self._ledger.inventory()

    async def backlog(self, most: int) -> Backlog:
        return await self._ledger.backlog(most)


class UsageFlushTests(SynchronousTestCase):
    log = make_logger()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_750_000_000)
        database = SqliteDatabase(IN_MEMORY, self.clock, threaded=False).open()
        self.addCleanup(lambda: self.successResultOf(start(database.close())))
        self.ledger = Stubborn(UsageLedger(database), clock=self.clock)
        self.counters = LocalCounters(self.clock)
        self.settings = UsageFlushConfig()
        self.limits = {"a": Limits(api_requests=100)}
        self.flush = UsageFlush(
            self.counters,
            self.ledger,
            Blobs(database, traits_of=lambda name: None, quiet_period=60.0),
            Live(lambda: self.settings),
            lambda: self.limits,
            self.clock,
        )
        self.started = self.clock.seconds()

    def run_once(self) -> None:
        self.successResultOf(start(self.flush.run_once()))

    def totals(self) -> Mapping[str, Counters]:
        return self.successResultOf(start(self.ledger.totals(self.counters.period)))

    def pass_time(self, seconds: int) -> list[float]:
        """Let it tick for so long while something is always used; returns when it was recorded."""
        service = Periodic("usage-flush", self.flush.tick, self.flush.run_if_due, self.clock)
        service.startService()
        for _ in range(seconds):
            self.counters.add("a", Counters(0, 1))
            self.clock.advance(1)
        self.successResultOf(service.stopService())
        return [at - self.started for at in self.ledger.recorded]

    def test_recorded(self) -> None:
        """What was counted is in the ledger, once."""
        self.counters.add("a", Counters(1, 2, 3))
        self.run_once()
        self.run_once()
        self.assertEqual(self.totals(), {"a": Counters(1, 2, 3)})
        self.assertEqual(self.counters.used("a"), Counters(1, 2, 3))

    def test_others(self) -> None:
        """What others have recorded is known after a flush, also if there was nothing to record."""
        record = self.ledger.record({("a", self.counters.period): Counters(40)})
        self.successResultOf(start(record))
        self.run_once()
        self.assertEqual(self.counters.used("a"), Counters(40))

    def test_away(self) -> None:
        """While the ledger is away nothing is lost, and the limits keep counting."""
        self.ledger.away = True
        for number in range(3):
            self.counters.add("a", Counters(1))
            self.failureResultOf(start(self.flush.run_once()), StoreUnavailable)
            self.assertEqual(self.counters.used("a"), Counters(number + 1))
        self.ledger.away = False
        self.run_once()
        self.assertEqual(self.totals(), {"a": Counters(3)})

    def test_stopped_in_the_middle(self) -> None:
        """A flush that is cancelled goes on until it is known what became of it."""
        self.ledger.waiting = Deferred()
        self.counters.add("a", Counters(1))
        flushing = start(self.flush.run_once())
        flushing.cancel()
        self.assertNoResult(flushing)
        waiting, self.ledger.waiting = self.ledger.waiting, None
        waiting.callback(None)
        self.failureResultOf(flushing, CancelledError)
        self.run_once()
        self.assertEqual(self.totals(), {"a": Counters(1)})

    def test_interval(self) -> None:
        """It is recorded every interval, with the first tick at once."""
        self.assertEqual(self.pass_time(70), [5, 35, 65])

    def test_adaptive(self) -> None:
        """Close to a limit it is recorded more often, if that is wanted."""
        self.counters.add("a", Counters(80))
        self.settings = UsageFlushConfig(adaptive_enabled=True)
        self.assertEqual(self.pass_time(21), [5, 10, 15, 20])
        self.limits = {"a": Limits(api_requests=1000)}
        self.ledger.recorded.clear()
        self.started = self.clock.seconds() - 1  # one second after the last time
        self.assertEqual(self.pass_time(35), [31])

    def test_interval_changed(self) -> None:
        """Another interval is taken over without a restart."""
        self.run_once()
        self.settings = UsageFlushConfig(interval=10.0)
        self.assertEqual(self.pass_time(21), [10, 20])


class GaugesTests(SynchronousTestCase):
    def test_room_and_use(self) -> None:
        """What is stored, left, in progress and used is shown by backend."""
        h = Harness(backends=("ga", "gb"), quotas={"ga": 1000})
        h.put("k", bytes(300))
        h.put("k", bytes(200))
        h.get("k")
        h.clock.advance(60)
        h.run(h.usage_flush.run_once())

        def shown(*names: str) -> list[float]:
            return [sample(f"s3o_{name}", backend="ga") for name in names]

        room = ("quota_bytes_used", "quota_bytes_limit", "quota_orphan_bytes", "quota_bytes_available")
        self.assertEqual(shown(*room), [200, 1000, 0, 800])
        self.assertEqual(shown("objects_count", "active_multipart_uploads"), [1, 0])
        unlimited = [REGISTRY.get_sample_value(f"s3o_{name}", {"backend": "gb"}) for name in room]
        self.assertEqual(unlimited, [0, None, 0, None])
        usage = [sample("s3o_usage_egress_bytes", backend=name) for name in ("ga", "gb")]
        self.assertEqual(usage, [200, 0])
        self.assertEqual(shown("usage_ingress_bytes"), [500])

    def test_limits_and_leaving(self) -> None:
        """A limit is shown while there is one, a backend while it is there."""
        showing = Showing()
        showing.only(["leaving", "staying"])
        for name in ("leaving", "staying"):
            showing.room(Usage(name, 5, 1, 1, 10))
            showing.usage(name, Counters(1, 2, 3), Limits(10, 0, 30))
        showing.inventory({"leaving": Inventory(1, 2)})
        names = ("api_requests", "egress_bytes", "ingress_bytes")

        def shown(backend: str) -> list[float | None]:
            labels = {"backend": backend}
            return [REGISTRY.get_sample_value(f"s3o_usage_{name}_limit", labels) for name in names]

        self.assertEqual(shown("leaving"), [10, None, 30])
        showing.usage("leaving", Counters(1, 2, 3), Limits(0, 20, 0))
        self.assertEqual(shown("leaving"), [None, 20, None])
        showing.room(Usage("leaving", 5, 1, 1, None))
        self.assertIsNone(REGISTRY.get_sample_value("s3o_quota_bytes_limit", {"backend": "leaving"}))
        showing.only(["staying"])
        left = [one.labels for family in REGISTRY.collect() for one in family.samples]
        self.assertNotIn({"backend": "leaving"}, left)
        self.assertEqual(sample("s3o_quota_bytes_limit", backend="staying"), 10)
        showing.only([])

    def test_backlog(self) -> None:
        """So is what waits to be deleted."""
        h = Harness()
        h.put("k", b"x")
        h.backend("a").down()
        h.delete("k")
        h.clock.advance(60)
        h.run(h.usage_flush.run_once())
        depths = ("s3o_pending_intents_depth", "s3o_cleanup_queue_depth", "s3o_cleanup_dlq_depth")
        self.assertEqual([sample(depth) for depth in depths], [0, 1, 0])

    def test_nearly_full(self) -> None:
        """A backend that is nearly full is told of once an hour."""
        h = Harness(quotas={"a": 1000})
        warned: list[str] = []
        self.patch(UsageFlush, "log", Told(warned))
        for size, hours, expected in ((799, 0, 0), (1, 0, 1), (100, 0, 1), (1, 1, 2)):
            h.put(f"k{size}-{hours}", bytes(size))
            h.clock.advance(hours * 3600)
            h.run(h.usage_flush.run_once())
            self.assertEqual(len(warned), expected)
        self.assertEqual(warned[0], "a is 80 % full: 800 of 1000 bytes")

    def test_left_to_another(self) -> None:
        """What another process of this daemon shows, and warns of, this one does not."""
        h = Harness(backends=("left",), quotas={"left": 1000})
        warned: list[str] = []
        self.patch(UsageFlush, "log", Told(warned))
        h.usage_flush.leave_showing_to_another()
        h.put("k", bytes(900))
        h.run(h.usage_flush.run_once())
        self.assertEqual(warned, [])
        self.assertEqual(sample("s3o_quota_bytes_used", backend="left"), 0)  # as it was at the start
        self.assertEqual(h.counters.used("left").ingress_bytes, 900)


@define
class Told:
    """A logger that only listens to warnings."""

    warned: list[str]

    def warn(self, text: str, **fields: object) -> None:
        self.warned.append(text.format(**fields))

    def info(self, text: str, **fields: object) -> None:
        """Ignored."""
