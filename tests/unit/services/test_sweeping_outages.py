"""What a sweep does about backends that are away, clocks that differ, and services without versions."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.errors import BackendRefused, BackendUnavailable, InsufficientStorage
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.testing.harness import QUIET_PERIOD, Harness


@define(eq=False)
class SlowClock(MemoryBackend):
    """A backend whose clock is some minutes behind."""

    def _now_ms(self) -> int:
        return super()._now_ms() - 10 * 60_000


@define(eq=False)
class WithoutVersions(MemoryBackend):
    """A service that does not know what versions are, or will not tell."""

    status: int = field(default=501, init=False)

    async def list_versions(self, name: str) -> Sequence[tuple[str, bool]]:
        raise BackendRefused("not implemented", status=self.status)


class RestsTests(SynchronousTestCase):
    def leave_unclear(self, h: Harness, key: str, size: int = 5) -> None:
        """Let a PUT fail on all backends without anybody knowing what became of it."""
        for name in h.backends:
            h.backend(name).faults.next("put", Fault.TRUNCATED)
        h.expect(
            BackendUnavailable,
            h.core.objects.writing.put(h.bucket, key, h.incoming(b"x" * size), ObjectMetadata(), None),
        )
        h.clock.advance(20)

    def held(self, h: Harness, backend: str) -> int:
        return len(h.run(h.core.ledger.blobs.names(backend)))

    def test_backend_stalls(self) -> None:
        """
        A backend that does not answer keeps neither the others' names resting nor the sweep waiting.
        """
        h = Harness()
        for number in range(9):
            self.leave_unclear(h, f"k{number}")
        h.backend("a").faults.always(Fault.STALLED, "head")
        h.advance(QUIET_PERIOD)
        self.assertEqual((self.held(h, "a"), self.held(h, "b")), (9, 0))
        h.advance(60)

    def test_backend_down(self) -> None:
        """
        One that is away is not asked for each of its names.
        """
        h = Harness(backends=("a",))
        for number in range(20):
            self.leave_unclear(h, f"k{number}")
        h.backend("a").down()
        h.backend("a").calls.clear()
        h.advance(QUIET_PERIOD)
        self.assertLess(len(h.backend("a").calls), 5)
        h.backend("a").faults.clear()
        h.advance(QUIET_PERIOD)
        self.assertEqual(self.held(h, "a"), 0)

    def test_clock_behind(self) -> None:
        """
        An upload under a name that nobody else can have had is ours, whatever the backend's clock says.
        """
        h = Harness(backends=("a",), make_backend=SlowClock)
        h.put("k", b"there")  # so that the upload gets a unique name
        h.backend("a").faults.next("create_upload", Fault.LOST_ANSWER)
        creating = h.core.objects.multipart.create(h.bucket, "k", ObjectMetadata(), owner="o")
        h.expect(BackendUnavailable, creating)
        for _ in range(3):
            h.advance(QUIET_PERIOD + 1)
        self.assertEqual(h.run(h.backend("a").list_uploads()), [])

    def test_no_versions(self) -> None:
        """
        A service that cannot list versions is taken to keep none: unclear names do not rest for ever.
        """
        for status in (501, 403, 400):
            h = Harness(backends=("a",), quotas={"a": 1000}, make_backend=WithoutVersions)
            h.backend("a").status = status  # type: ignore[attr-defined]
            h.put("k", b"first")
            self.leave_unclear(h, "k", 900)
            h.expect(InsufficientStorage, h.core.ledger.blobs.reserve(h.bucket, "l", 500, ["a"]))
            h.advance(QUIET_PERIOD + 1)
            h.run(h.core.ledger.blobs.reserve(h.bucket, "l", 500, ["a"]))

    def test_clearly_no(self) -> None:
        """
        Any other refusal is no answer to the question what is there.
        """
        h = Harness(backends=("a",), make_backend=WithoutVersions)
        h.backend("a").status = 404  # type: ignore[attr-defined]
        h.put("k", b"first")
        self.leave_unclear(h, "k")
        h.advance(QUIET_PERIOD + 1)
        self.assertEqual(self.held(h, "a"), 2)
