"""The page of metrics, as it is asked for."""

from __future__ import annotations

from itertools import count
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.bodies.paced import PIECE
from s3orchestrator.telemetry.exposition import OPENMETRICS, TEXT
from s3orchestrator.web.health import Health
from s3orchestrator.web.metrics import FRESH, MOST_ANSWERS, TURN, MetricsPage, Pages, Rendering
from s3orchestrator.web.root import Root
from tests.unit.web.serving import Answers, Served, path_as_body

REQUEST = b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n"


class Turns(Clock):
    """Counts how often somebody lets others have their turn."""

    turns = 0

    def callLater(self, delay: float, *call: Any, **more: Any) -> Any:
        self.turns += 1
        return super().callLater(delay, *call, **more)


class Broken:
    """Something that cannot be looked at."""

    def collect(self) -> list[Metric]:
        raise RuntimeError("broken")


def pages_of(registry: CollectorRegistry, clock: Clock) -> Pages:
    """Pages for whose making no time passes."""
    return Pages(Rendering.of(registry, clock, lambda: 0.0).page, clock)


class PageCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Turns()
        self.registry = CollectorRegistry()
        self.depth = Gauge("depth", "Of something.", registry=self.registry)
        self.depth.set_function(self.look)
        self.looks = 0

    def look(self) -> int:
        """Once for each page that is rendered."""
        self.looks += 1
        return self.looks

    def served(self) -> Served:
        """A site of everything that may be beside the metrics."""
        pages = pages_of(self.registry, self.clock)
        domains, metrics = ("s3.example.net",), (b"/metrics", MetricsPage(pages))
        return Served(Root(Health(), Answers(path_as_body), domains, metrics=metrics))

    def ask(
        self, served: Served, path: bytes = b"/metrics", method: bytes = b"GET", host: bytes = b"h"
    ) -> tuple[bytes, bytes]:
        """Head and body of an answer."""
        served.send(REQUEST % (method, path, host))
        head, _, body = served.received().partition(b"\r\n\r\n")
        return head, body


class PageTests(PageCase):
    def test_get(self) -> None:
        """It is what the registry has now, and is not to be kept by caches."""
        head, body = self.ask(self.served())
        self.assertTrue(head.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertIn(b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n", head)
        self.assertIn(b"\r\nCache-Control: no-store\r\n", head)
        self.assertEqual(body, b"# HELP depth Of something.\n# TYPE depth gauge\ndepth 1.0\n")

    def test_openmetrics(self) -> None:
        """Who accepts OpenMetrics gets it."""
        served = self.served()
        served.send(b"GET /metrics HTTP/1.1\r\nHost: h\r\nAccept: application/openmetrics-text\r\n\r\n")
        head, _, body = served.received().partition(b"\r\n\r\n")
        self.assertIn(b"Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n", head)
        self.assertTrue(body.endswith(b"depth 1.0\n# EOF\n"))

    def test_head(self) -> None:
        """HEAD tells of the length."""
        served = self.served()
        head, body = self.ask(served, method=b"HEAD")
        self.assertIn(b"Content-Length: 56", head)
        self.assertEqual(body, b"")

    def test_other_methods(self) -> None:
        """Nothing can be done with it."""
        for method in (b"POST", b"PUT", b"DELETE"):
            head, _ = self.ask(self.served(), method=method)
            self.assertTrue(head.startswith(b"HTTP/1.1 405 "), head)
            self.assertIn(b"\r\nAllow: ", head)

    def test_other_paths(self) -> None:
        """Just that path is taken away from the buckets; with a bucket in the host it is a key."""
        for path in (b"/metrics/", b"/metrics/x", b"/metricsx", b"//metrics", b"/%6detrics"):
            self.assertEqual(self.ask(self.served(), path)[1], path)
        self.assertEqual(self.ask(self.served(), host=b"photos.s3.example.net")[1], b"/metrics")

    def test_cached(self) -> None:
        """For a second it is given out again; each format has its own."""
        served = self.served()
        first = self.ask(served)[1]
        self.clock.advance(FRESH * 0.9)
        self.assertEqual(self.ask(served)[1], first)
        self.assertEqual(self.looks, 1)
        self.clock.advance(FRESH * 0.2)
        self.assertNotEqual(self.ask(served)[1], first)
        self.assertEqual(self.looks, 2)


class TurnTests(PageCase):
    """A page that takes many turns."""

    def setUp(self) -> None:
        super().setUp()
        self.seconds = Histogram("seconds", "Of something.", ["who"], registry=self.registry)
        for number in range(100):
            self.seconds.labels(str(number))
        ticks = (number * TURN for number in count())  # each look at a clock is a turn
        self.pages = Pages(Rendering.of(self.registry, self.clock, ticks.__next__).page, self.clock)

    def turn(self) -> None:
        """Let it be rendered."""
        self.clock.advance(0)

    def test_others_have_their_turn(self) -> None:
        """Between pieces the reactor goes round."""
        page = self.pages.get(TEXT)
        self.assertNoResult(page)
        self.turn()
        self.assertEqual(self.successResultOf(page).count(b"seconds_bucket"), 100 * 15)
        self.assertGreater(self.clock.turns, 20)

    def test_shared(self) -> None:
        """Who asks meanwhile gets the same page, also when the one who asked first has left."""
        first, second = self.pages.get(TEXT), self.pages.get(TEXT)
        first.cancel()
        self.failureResultOf(first)
        self.turn()
        third = self.pages.get(TEXT)
        self.assertIs(self.successResultOf(third), self.successResultOf(second))
        self.assertEqual(self.looks, 1)

    def test_failing(self) -> None:
        """A metric that cannot be had is an error for all who wait, and tried again for the next."""
        broken = Broken()
        self.registry.register(broken)  # type: ignore[arg-type]
        asked = [self.pages.get(OPENMETRICS), self.pages.get(OPENMETRICS)]
        self.turn()
        for page in asked:
            self.failureResultOf(page, RuntimeError)
        self.registry.unregister(broken)  # type: ignore[arg-type]
        again = self.pages.get(OPENMETRICS)
        self.turn()
        self.successResultOf(again)

    def test_failing_answer(self) -> None:
        """Whoever asked hears of it by a status."""

        self.registry.register(Broken())  # type: ignore[arg-type]
        served = Served(MetricsPage(pages_of(self.registry, self.clock)))
        self.assertTrue(self.ask(served)[0].startswith(b"HTTP/1.1 500 "))
        self.flushLoggedErrors(RuntimeError)


class PaceTests(PageCase):
    """A page that is longer than what a client has taken."""

    def setUp(self) -> None:
        super().setUp()
        many = Gauge("many", "Of something.", ["who"], registry=self.registry)
        for number in range(10_000):
            many.labels(f"somebody with the number {number}")
        self.resource = MetricsPage(pages_of(self.registry, self.clock))

    def reader(self) -> Served:
        """Somebody who has asked, and takes one piece at a time."""
        served = Served(self.resource)
        take = served.wire.write

        def write(data: bytes) -> None:
            take(data)
            served.channel.pauseProducing()

        self.patch(served.wire, "write", write)
        served.send(REQUEST % (b"GET", b"/metrics", b"h"))
        return served

    def test_at_the_readers_pace(self) -> None:
        """No more is copied for a slow reader than it takes; in the end it has all of it."""
        served = self.reader()
        answer = b""
        while piece := served.received():
            self.assertLess(len(piece), 2 * PIECE)
            answer += piece
            served.channel.resumeProducing()
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertIn(b"Content-Length: %d" % len(body), head)
        self.assertEqual(body.count(b"\nmany{"), 10_000)

    def test_too_many(self) -> None:
        """Only so many may be reading at a time; when one has left there is room for another."""
        readers = [self.reader() for _ in range(MOST_ANSWERS)]
        self.assertTrue(self.reader().received().startswith(b"HTTP/1.1 503 "))
        readers[0].leave()
        self.assertTrue(self.reader().received().startswith(b"HTTP/1.1 200 "))
