"""On whose behalf lines are written, where Twisted alone would not know."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.concurrency import shield, start
from s3orchestrator.errors import NoSuchKey, StoreUnavailable
from s3orchestrator.telemetry.context import REQUEST_ID, on_behalf_of
from s3orchestrator.testing.harness import Harness


class SayingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.said: list[tuple[str, str]] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: LogEvent) -> None:
        if str(event.get("log_namespace")).startswith("s3orchestrator.") and not event.get("audit"):
            self.said.append((REQUEST_ID.get(), event["log_format"]))

    def as_request(self, request_id: str, work: Any) -> Any:
        """Run something as the door does: in a coroutine that knows its request."""

        async def serve() -> Any:
            REQUEST_ID.set(request_id)
            return await work()

        return start(serve())


class ContextTests(SayingCase):
    def test_restored(self) -> None:
        """
        What is said on a request's behalf ends with the block.
        """
        with on_behalf_of("A"), on_behalf_of(""):
            self.assertEqual(REQUEST_ID.get(), "")
        self.assertEqual(REQUEST_ID.get(), "")

    def test_interleaved(self) -> None:
        """
        Requests that wait in turn do not take each other's ids, and leave none behind.
        """
        first: Deferred[None] = Deferred()
        second: Deferred[None] = Deferred()
        seen = []

        async def work(waiting: Deferred[None]) -> None:
            await waiting
            seen.append(REQUEST_ID.get())

        self.as_request("A", lambda: work(first))
        self.as_request("B", lambda: work(second))
        second.callback(None)
        first.callback(None)
        self.assertEqual(seen, ["B", "A"])
        self.assertEqual(REQUEST_ID.get(), "")

    def test_left_alone(self) -> None:
        """
        What goes on without its request, and fails, is still said to be that request's.
        """
        committing: Deferred[None] = Deferred()

        async def commit() -> None:
            await committing

        async def work() -> None:
            await shield(commit())

        serving = self.as_request("A", work)
        serving.cancel()
        self.failureResultOf(serving, CancelledError)
        committing.errback(NoSuchKey("k"))
        self.assertEqual(self.said, [("A", "nobody waits any more for: {error}")])


class SlowToDelete(MemoryBackend):
    """Deletes nothing before it is allowed to."""

    waiting: ClassVar[Deferred[None]]

    async def delete(self, name: str, version_id: str | None = None) -> None:
        await self.waiting
        await super().delete(name, version_id)


class CleanerTests(SayingCase):
    def setUp(self) -> None:
        super().setUp()
        SlowToDelete.waiting = Deferred()

    def test_each_of_its_own(self) -> None:
        """
        One worker deletes what several requests have doomed: each line is the doomer's.
        """
        h = Harness(backends=("a",), settings="cleanup_queue: {concurrency: 1}", make_backend=SlowToDelete)
        for key in ("one", "two"):
            h.put(key, b"data")
        h.backend("a").faults.always(Fault.FAILED, "delete")
        for request_id, key in (("A", "one"), ("B", "two")):
            self.as_request(request_id, partial(h.core.objects.deleting.delete, h.bucket, key))
        SlowToDelete.waiting.callback(None)
        said = [who for who, text in self.said if "stays doomed" in text]
        self.assertEqual(said, ["A", "B"])

    def test_told_later(self) -> None:
        """
        What the ledger is told later is still said to be the request's.
        """
        h = Harness(backends=("a",))
        told = []

        async def tell() -> None:
            told.append(REQUEST_ID.get())
            if len(told) == 1:
                raise StoreUnavailable("away")

        async def work() -> None:
            h.core.cleaner.insist(tell)

        self.as_request("A", work)
        h.core.cleaner.tell_again()
        self.assertEqual(told, ["A", "A"])
        self.assertEqual(self.said, [("A", "the ledger will be told later: {error}")])
