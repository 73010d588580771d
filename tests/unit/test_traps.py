"""Facts about the libraries that the code relies on, and that would hurt if they changed unnoticed."""

from __future__ import annotations

from contextvars import ContextVar, copy_context

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from s3orchestrator.concurrency import start

WHO: ContextVar[str] = ContextVar("who", default="nobody")


class CancellationTests(SynchronousTestCase):
    def test_cancelled_error_is_an_exception(self) -> None:
        """So `except Exception` swallows a departed client: it must be caught by name before that."""
        self.assertTrue(issubclass(CancelledError, Exception))

    def test_cancelling_reaches_what_is_awaited(self) -> None:
        """A request's one Deferred is enough to stop whatever it is waiting for."""
        cancelled = []
        inner: Deferred[None] = Deferred(lambda _: cancelled.append(True))

        async def outer() -> None:
            await inner

        waiting = start(outer())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(cancelled, [True])


class ContextTests(TestCase):
    def test_coroutines_keep_context_variables(self) -> None:
        """Two requests interleaved each keep their own request id."""
        seen = []

        async def request(name: str, gate: Deferred[None]) -> None:
            WHO.set(name)
            await gate
            seen.append((name, WHO.get()))

        gates: list[Deferred[None]] = [Deferred(), Deferred()]
        running = [
            copy_context().run(start, request(name, gate)) for name, gate in zip("ab", gates, strict=True)
        ]
        for gate in reversed(gates):
            gate.callback(None)
        for done in running:
            self.successResultOf(done)
        self.assertEqual(seen, [("b", "b"), ("a", "a")])

    def test_plain_callbacks_do_not(self) -> None:
        """A callback runs in the context of whoever fires it: pass it what it needs."""
        seen = []
        gate: Deferred[None] = Deferred()

        def register() -> None:
            WHO.set("a")
            gate.addCallback(lambda _: seen.append(WHO.get()))

        copy_context().run(register)
        gate.callback(None)
        self.assertEqual(seen, ["nobody"])

    async def test_threads_do_not(self) -> None:
        """Neither does a function given to a thread."""
        token = WHO.set("a")
        try:
            self.assertEqual(await deferToThread(WHO.get), "nobody")
        finally:
            WHO.reset(token)
