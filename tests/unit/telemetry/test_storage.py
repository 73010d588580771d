"""Lines of the audit trail about what the engine did."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.errors import BackendUnavailable, NoSuchKey
from s3orchestrator.telemetry.storage import Record


class RecordTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines: list[LogEvent] = []
        globalLogPublisher.addObserver(self.observe)
        self.addCleanup(globalLogPublisher.removeObserver, self.observe)

    def observe(self, event: LogEvent) -> None:
        if event.get("audit"):
            self.lines.append(event)

    def line(self) -> Any:
        (line,) = self.lines
        return line

    def test_success(self) -> None:
        """
        What was known before and what became known is one line, without an error.
        """
        with Record("GetObject", bucket="b", key="k") as record:
            record.backend = "oci"
            record.tell(size=3)
        line = self.line()
        self.assertEqual(
            [line[name] for name in ("event", "bucket", "key", "backend", "size")],
            ["storage.GetObject", "b", "k", "oci", 3],
        )
        self.assertGreaterEqual(line["duration_ms"], 0)
        self.assertNotIn("error", line)

    def test_failure(self) -> None:
        """
        A failure is told as a client hears of it: as a code, not in the words of a backend.
        """
        for error, code in (
            (NoSuchKey("k"), "NoSuchKey"),
            (BackendUnavailable("oci: https://internal:9000 refused"), "ServiceUnavailable"),
            (RuntimeError("hush"), "InternalError"),
        ):
            with self.assertRaises(type(error)), Record("GetObject"):
                raise error
            self.assertEqual(self.line()["error"], code)
            self.assertNotIn("backend", self.line())
            self.lines.clear()

    def test_answer(self) -> None:
        """
        An exception that is an answer is recorded as a success.
        """
        with self.assertRaises(KeyError), Record("GetObject") as record:
            record.succeeded()
            raise KeyError
        self.assertNotIn("error", self.line())

    def test_client_leaves(self) -> None:
        """
        Of what ends with its client it is said that the client left.
        """
        waiting: Deferred[None] = Deferred()

        async def work() -> None:
            with Record("PutObject"):
                await waiting

        working = start(work())
        working.cancel()
        self.failureResultOf(working, CancelledError)
        self.assertEqual(self.line()["error"], "ClientLeft")

    def test_goes_on(self) -> None:
        """
        Of what goes on without its client it is said how it ended, and not before.
        """
        for outcome, error in ((None, None), (NoSuchKey("k"), "NoSuchKey")):
            committing: Deferred[None] = Deferred()

            async def work(committing: Deferred[None] = committing) -> None:
                async def commit() -> None:
                    await committing

                async def nested(record: Record) -> None:
                    await record.shielded(commit())

                with Record("PutObject", key="k") as record:
                    await record.shielded(nested(record))

            working = start(work())
            working.cancel()
            self.failureResultOf(working, CancelledError)
            self.assertEqual(self.lines, [])
            committing.callback(None) if outcome is None else committing.errback(outcome)
            self.assertEqual(self.line().get("error"), error)
            self.lines.clear()

    def test_shielded_to_its_end(self) -> None:
        """
        With a client that stays it is one line too.
        """

        async def commit() -> int:
            return 7

        async def work() -> int:
            with Record("PutObject") as record:
                return await record.shielded(commit())

        self.assertEqual(self.successResultOf(start(work())), 7)
        self.line()
