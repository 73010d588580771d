"""Answers that take long."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.web.s3.patience import BEGIN_AFTER, Patience
from s3orchestrator.web.s3.response import Response


class IsNeededTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.cancelled: list[object] = []
        self.work: Deferred[Response] = Deferred(self.cancelled.append)
        self.served = start(self.serve())

    async def operate(self) -> Response:
        return await self.work

    async def serve(self) -> Response | None:
        """Serve as `S3Resource` does; None if the client is to be kept waiting."""
        operating = start(self.operate())
        if await Patience(self.clock).is_needed(operating):
            return None
        return await operating

    def test_success(self) -> None:
        """
        What ends in time is answered as it is.
        """
        self.work.callback(response := Response(204))
        self.clock.advance(0)
        self.assertIs(self.successResultOf(self.served), response)

    def test_failure(self) -> None:
        """
        So is what fails in time.
        """
        self.work.errback(S3Error("NoSuchUpload"))
        self.clock.advance(0)
        self.failureResultOf(self.served, S3Error)

    def test_late(self) -> None:
        """
        What takes longer needs patience.
        """
        self.clock.advance(BEGIN_AFTER)
        self.assertIsNone(self.successResultOf(self.served))
        self.work.callback(Response())

    def test_left(self) -> None:
        """
        A client who leaves ends the operation, and nothing is left to happen.
        """
        self.served.cancel()
        self.failureResultOf(self.served, CancelledError)
        self.assertEqual(self.cancelled, [self.work])
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
