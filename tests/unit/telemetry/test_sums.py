"""The metrics of several processes, as one."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

import s3orchestrator
from s3orchestrator.concurrency import start
from s3orchestrator.telemetry.exposition import TEXT, families_of, pieces
from s3orchestrator.telemetry.figures import figures_of
from s3orchestrator.telemetry.sums import GAUGES, Families, Family, Sums, as_metrics, summed

# Those of which the first process's counts: it knows what they tell of all, or they are of itself.
OF_THE_FIRST = {
    "s3o_active_multipart_uploads",
    "s3o_build_info",
    "s3o_cleanup_dlq_depth",
    "s3o_cleanup_queue_depth",
    "s3o_config_generation",
    "s3o_config_last_reload_successful",
    "s3o_objects_count",
    "s3o_pending_intents_depth",
    "s3o_quota_bytes_available",
    "s3o_quota_bytes_limit",
    "s3o_quota_bytes_used",
    "s3o_quota_orphan_bytes",
    "s3o_tls_certificate_expiry_timestamp_seconds",
    "s3o_usage_api_requests",
    "s3o_usage_api_requests_limit",
    "s3o_usage_egress_bytes",
    "s3o_usage_egress_bytes_limit",
    "s3o_usage_ingress_bytes",
    "s3o_usage_ingress_bytes_limit",
}


class Turns(Clock):
    """Counts how often somebody lets others have their turn."""

    turns = 0

    def callLater(self, delay: float, *call: Any, **more: Any) -> Any:
        self.turns += 1
        return super().callLater(delay, *call, **more)


def counter(value: float, **labels: str) -> Family:
    return Family("puts", "counter", "Of objects.", {("puts_total", tuple(labels.items())): value})


def gauge(name: str, value: float) -> Family:
    return Family(name, "gauge", "Of something.", {(name, ()): value})


def value(families: Families, name: str, **labels: str) -> float | None:
    """The value of a sample, if there is one."""
    for family in families:
        if (name, tuple(labels.items())) in family.values:
            return family.values[name, tuple(labels.items())]
    return None


class SummedTests(SynchronousTestCase):
    def test_counters(self) -> None:
        """Series of the same labels are added up; those of one process only are there, too."""
        found = summed([[counter(1, a="x")], [counter(2, a="x")], [counter(4, a="y")]])
        self.assertEqual(len(found), 1)
        self.assertEqual(value(found, "puts_total", a="x"), 3)
        self.assertEqual(value(found, "puts_total", a="y"), 4)

    def test_gauges(self) -> None:
        """Of gauges it depends on what they mean."""
        for name, together in (
            ("s3o_connections", 7),
            ("s3o_circuit_breaker_state", 5),
            ("s3o_worker_last_success_timestamp_seconds", 2),
            ("s3o_quota_bytes_used", 2),
        ):
            found = summed([[gauge(name, 2)], [gauge(name, 5)]])
            self.assertEqual(value(found, name), together, name)

    def test_every_gauge(self) -> None:
        """For each gauge that there is somebody has thought about what it is of several processes."""
        for module in pkgutil.walk_packages(s3orchestrator.__path__, "s3orchestrator."):
            if not module.name.endswith("__main__") and ".testing" not in module.name:
                import_module(module.name)
        known = {
            metric.name
            for collector in tuple(REGISTRY._collector_to_names)
            for metric in collector.collect()
            if metric.type == "gauge" and metric.name.startswith("s3o_")
        }
        ours = {name for name in GAUGES if name.startswith("s3o_")}
        self.assertEqual(known, ours | OF_THE_FIRST)
        self.assertEqual(ours & OF_THE_FIRST, set())


class SumsTests(SynchronousTestCase):
    def test_ended(self) -> None:
        """Of a process that has ended its counters count on, its gauges do not."""
        sums = Sums()
        sums.note(1, [counter(5), gauge("s3o_connections", 3)])
        sums.end(1)
        sums.note(1, [counter(2), gauge("s3o_connections", 1)])
        found = sums.all([counter(10)])
        self.assertEqual((value(found, "puts_total"), value(found, "s3o_connections")), (17, 1))

    def test_unheard_of(self) -> None:
        """A process that ends before it was heard of has counted nothing."""
        sums = Sums()
        sums.end(1)
        self.assertEqual(value(sums.all([counter(1)]), "puts_total"), 1)

    @given(st.lists(st.tuples(st.sampled_from("ced"), st.integers(1, 3), st.integers(0, 9))))
    def test_never_back(self, steps: list[tuple[str, int, int]]) -> None:
        """Whoever counts, ends and begins anew, the sum of a counter never goes back."""
        sums, counts, total, before = Sums(), dict[int, int](), 0, 0.0
        for what, who, number in steps:
            if what == "c":
                counts[who] = counts.get(who, 0) + number
                total += number
                sums.note(who, [counter(counts[who])])
            else:
                counts.pop(who, None)
                sums.end(who)
            now = value(sums.all([counter(0)]), "puts_total")
            assert now is not None
            self.assertGreaterEqual(now, before)
            self.assertEqual(now, total)
            before = now


class FiguresTests(SynchronousTestCase):
    def figures(self, registry: CollectorRegistry) -> Families:
        """What is told of a registry, looked at in one turn."""
        return self.successResultOf(start(figures_of(registry, Clock(), lambda: 0.0)))

    def test_page(self) -> None:
        """A page of two processes' figures looks as if one had counted everything."""
        registries = [CollectorRegistry() for _ in range(3)]
        for registry, numbers in zip(registries, ([1, 2], [3], [1, 2, 3]), strict=True):
            counter = Counter("things_total", "Things.", ["kind"], registry=registry)
            histogram = Histogram("seconds", "Of things.", registry=registry, buckets=(1, 2, 5))
            gauge = Gauge("s3o_connections", "Of clients.", registry=registry)
            for number in numbers:
                counter.labels("a").inc(number)
                histogram.observe(number)
                gauge.inc()
        together = as_metrics(summed([self.figures(registries[0]), self.figures(registries[1])]))
        self.assertEqual(b"".join(pieces(together, TEXT)), b"".join(pieces(families_of(registries[2]), TEXT)))

    def test_turns(self) -> None:
        """Looking at much takes several turns."""
        registry, clock, ticks = CollectorRegistry(), Turns(), iter(range(10**6))
        counter = Counter("things_total", "Things.", ["kind"], registry=registry)
        for number in range(10):
            counter.labels(str(number)).inc()
        looking = start(figures_of(registry, clock, lambda: next(ticks) / 1000))
        clock.advance(0)
        (family,) = self.successResultOf(looking)
        self.assertEqual(len(family.values), 10)
        self.assertGreater(clock.turns, 3)
