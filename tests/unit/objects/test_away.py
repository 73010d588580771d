"""Writing while a backend is away: it is passed over, comes back, and nothing is left behind."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.concurrency import start
from s3orchestrator.domain.breaker import State
from s3orchestrator.errors import BackendUnavailable, InsufficientStorage
from s3orchestrator.protocol.errors import as_s3_error
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.testing.harness import Harness
from tests.unit.backends.gate import sample

BREAKER = "backend_circuit_breaker: {enabled: true, failure_threshold: 3, open_timeout: 60s}"
DATA = b"data"


class AwayTests(SynchronousTestCase):
    def harness(self, **how: object) -> Harness:
        self.h = Harness(settings=BREAKER, **how)  # type: ignore[arg-type]
        return self.h

    def open_breaker(self, name: str) -> None:
        self.h.backend(name).down()
        for _ in range(3):
            self.h.expect(BackendUnavailable, self.h.core.backends[name].head("k"))
        self.assertIs(self.h.guards.breakers[name].state, State.OPEN)
        self.h.backend(name).calls.clear()

    def come_back(self, *names: str) -> None:
        for name in names:
            self.h.backend(name).faults.clear()
        self.h.clock.advance(76)  # the time-out and all that chance may add to it

    def places(self) -> list[str]:
        return [name for name, held in self.h.stored().items() if held]

    def assertTidy(self) -> None:
        self.come_back(*self.h.backends)
        for _ in range(3):
            self.h.advance(3601)
        self.assertEqual(self.h.findings(), [])

    def test_passed_over(self) -> None:
        """Writes go elsewhere without asking it, whatever their number."""
        self.harness()
        self.open_breaker("a")
        for number in range(5):
            self.h.put(f"k{number}", DATA)
        self.assertEqual(self.places(), ["b"])
        self.assertEqual(self.h.backend("a").calls, [])
        self.assertTidy()

    def test_comes_back(self) -> None:
        """When its time has come an ordinary write tries it, in its ordinary place."""
        self.harness()
        self.open_breaker("a")
        self.come_back("a")
        self.h.put("k", DATA)
        self.assertEqual(self.places(), ["a"])
        self.assertIs(self.h.guards.breakers["a"].state, State.CLOSED)

    def test_trial_fails(self) -> None:
        """If it is still away the write that tried it goes to another one."""
        self.harness()
        self.open_breaker("a")
        self.h.clock.advance(76)
        failovers = {"operation": "PutObject", "failed_backend": "a", "success_backend": "b"}
        before = sample("s3o_write_failover_total", **failovers)
        self.h.put("k", DATA)
        self.assertEqual(self.h.get("k"), DATA)
        self.assertEqual(self.places(), ["b"])
        self.assertIs(self.h.guards.breakers["a"].state, State.OPEN)
        self.assertEqual(sample("s3o_write_failover_total", **failovers) - before, 1)
        self.come_back("a")
        self.assertTidy()

    def test_all_away(self) -> None:
        """With all of them left alone a write is refused with 503, and leaves no row; then they recover."""
        self.harness()
        for name in ("a", "b"):
            self.open_breaker(name)
        for number in range(20):
            error = self.h.expect(
                BackendUnavailable,
                self.h.core.objects.writing.put(
                    self.h.bucket, f"k{number}", self.h.incoming(DATA), ObjectMetadata()
                ),
            )
        self.assertEqual(as_s3_error(error).status, 503)
        for name in ("a", "b"):
            self.assertEqual(self.h.run(self.h.core.ledger.blobs.names(name)), [])
        self.come_back("a", "b")
        self.h.put("k", DATA)
        self.assertEqual(self.h.get("k"), DATA)
        self.assertTidy()

    def test_others_full(self) -> None:
        """Storage is not said to be full while somebody who may have room is away."""
        self.harness(quotas={"b": 3})
        self.open_breaker("a")
        self.h.expect(
            BackendUnavailable,
            self.h.core.objects.writing.put(self.h.bucket, "k", self.h.incoming(DATA), ObjectMetadata()),
        )
        self.assertTidy()
        self.harness(quotas={"a": 3, "b": 3})
        self.h.expect(
            InsufficientStorage,
            self.h.core.objects.writing.put(self.h.bucket, "k", self.h.incoming(DATA), ObjectMetadata()),
        )

    def test_upload_elsewhere(self) -> None:
        """A multipart upload begins on a backend that is there."""
        self.harness()
        self.open_breaker("a")
        upload = self.h.run(
            self.h.core.objects.multipart.create(self.h.bucket, "k", ObjectMetadata(), owner="")
        )
        self.assertEqual(upload.blob.backend, "b")
        self.assertEqual(self.h.backend("a").calls, [])

    def test_deletes_wait(self) -> None:
        """What is to be deleted on it waits, does not count as an attempt, and is deleted when it is back."""
        self.harness()
        self.h.put("k", DATA)
        self.open_breaker("a")
        self.h.delete("k")
        self.assertEqual(self.h.backend("a").calls, [])
        self.come_back("a")
        self.assertTidy()
        self.assertEqual(self.h.stored(), {"a": {}, "b": {}})

    def test_stalled_probe_elsewhere(self) -> None:
        """While somebody is trying it, others go elsewhere."""
        self.harness()
        self.open_breaker("a")
        self.come_back("a")
        self.h.backend("a").faults.next("head", Fault.STALLED)
        probing = self.h.core.backends["a"].head("k")
        waiting = start(probing)
        waiting.addErrback(lambda _: None)
        self.h.put("k", DATA)
        self.assertEqual(self.places(), ["b"])
        waiting.cancel()
