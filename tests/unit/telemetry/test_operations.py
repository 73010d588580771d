"""The engine's operations in numbers."""

from __future__ import annotations

from prometheus_client import REGISTRY
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import (
    BackendUnavailable,
    InsufficientStorage,
    NoSuchKey,
    StoreUnavailable,
    UsageLimitExceeded,
)
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.telemetry.operations import status_of
from s3orchestrator.telemetry.storage import Record


class StatusTests(SynchronousTestCase):
    def test_words(self) -> None:
        """An error is what an operator has to look after; what the client did wrong was answered."""
        for error, word in (
            (None, "success"),
            (NoSuchKey("k"), "success"),
            (S3Error("EntityTooLarge"), "success"),
            (BackendUnavailable("a: away"), "error"),
            (StoreUnavailable("away"), "error"),
            (InsufficientStorage("full"), "error"),
            (UsageLimitExceeded("used up", writing=False), "error"),
            (UsageLimitExceeded("used up", writing=True), "error"),
            (RuntimeError("ours"), "error"),
            (KeyboardInterrupt(), "error"),
            (CancelledError(), "cancelled"),
        ):
            self.assertEqual(status_of(error), word, error)


class CountingTests(SynchronousTestCase):
    def sample(self, name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"s3o_manager_{name}", {"operation": "Tried", **labels}) or 0.0

    def test_counted(self) -> None:
        """Every operation is counted and timed by the backend that was asked last, however it ended."""
        with Record("Tried"):
            pass
        with self.assertRaises(BackendUnavailable), Record("Tried") as record:
            record.backend = "oci"
            raise BackendUnavailable("oci: away")
        self.assertEqual(self.sample("requests_total", backend="", status="success"), 1)
        self.assertEqual(self.sample("requests_total", backend="oci", status="error"), 1)
        self.assertEqual(self.sample("duration_seconds_count", backend="oci"), 1)
