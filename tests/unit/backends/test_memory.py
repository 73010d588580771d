"""Tests for what a memory backend does wrong when it is told to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.backends.memory import Called, MemoryBackend
from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.concurrency import start
from s3orchestrator.errors import BackendUnavailable, NoSuchBlob
from s3orchestrator.interfaces import Description, Stored
from tests.unit.backends.bodies import HandFed

PLAIN = Description("text/plain")
DATA = bytes(range(256)) * 1000


class FaultTests(SynchronousTestCase):
    """Tests for `Fault`, one by one."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.backend = MemoryBackend("m", self.clock)
        self.faults = self.backend.faults

    def run_now(self, work: Awaitable[Any]) -> Any:
        return self.successResultOf(start(work))  # type: ignore[arg-type]

    def put(self, data: bytes = DATA, name: str = "k") -> Deferred[Stored]:
        return start(self.backend.put(name, BytesBody(data), PLAIN, exclusive=True))

    def read(self) -> bytes:
        return self.run_now(self.fetch())  # type: ignore[no-any-return]

    async def fetch(self) -> bytes:
        return await collect((await self.backend.get("k")).body, 1 << 30)

    def assertUnavailable(self, waiting: Deferred[Any], *, sent: bool = True) -> None:
        self.assertEqual(self.failureResultOf(waiting, BackendUnavailable).value.sent, sent)

    def assertStalls(self, waiting: Deferred[Any]) -> None:
        self.assertNoResult(waiting)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)

    def test_refused(self) -> None:
        """A refused connection has sent nothing, and leaves the body alone."""
        self.faults.next("put", Fault.REFUSED)
        body = HandFed(10)
        self.assertUnavailable(start(self.backend.put("k", body, PLAIN, exclusive=True)), sent=False)
        self.assertFalse(body.started)
        self.assertEqual(self.backend.objects, {})

    def test_failed(self) -> None:
        """A failure is clear: nothing was done."""
        for verb, call in self.every_verb().items():
            self.faults.next(verb, Fault.FAILED)
            self.assertUnavailable(call())
        self.assertEqual(self.backend.objects, {})

    def test_stalled(self) -> None:
        """A call that stalls can be given up."""
        for verb, call in self.every_verb().items():
            self.faults.next(verb, Fault.STALLED)
            self.assertStalls(call())
        self.assertEqual(self.backend.objects, {})

    def every_verb(self) -> dict[str, Callable[[], Deferred[Any]]]:
        backend = self.backend
        return {
            "put": self.put,
            "get": lambda: start(backend.get("k")),
            "head": lambda: start(backend.head("k")),
            "delete": lambda: start(backend.delete("k")),
            "copy": lambda: start(backend.copy("k", "l", PLAIN, exclusive=True)),
            "create_upload": lambda: start(backend.create_upload("k", PLAIN)),
            "put_part": lambda: start(backend.put_part("k", "u", 1, BytesBody(b""))),
            "copy_part": lambda: start(backend.copy_part("k", "u", 1, "l", None)),
            "complete_upload": lambda: start(backend.complete_upload("k", "u", [(1, "e")], exclusive=True)),
            "abort_upload": lambda: start(backend.abort_upload("k", "u")),
            "list_objects": lambda: start(backend.list_objects()),
            "list_uploads": lambda: start(backend.list_uploads()),
            "list_versions": lambda: start(backend.list_versions("k")),
        }

    def test_lost_answer(self) -> None:
        """The work is done although nobody hears of it."""
        self.faults.next("put", Fault.LOST_ANSWER)
        self.assertUnavailable(self.put())
        self.assertEqual(self.read(), DATA)
        self.faults.next("put", Fault.LOST_ANSWER)
        self.assertUnavailable(self.put(b"not even a refusal is heard"))
        self.assertEqual(self.read(), DATA)

    def test_late(self) -> None:
        """The work is done later: a PUT that nobody waits for arrives after a DELETE."""
        self.faults.next("put", Fault.LATE)
        self.assertUnavailable(self.put())
        self.run_now(self.backend.delete("k"))
        self.assertEqual(self.backend.objects, {})
        self.backend.catch_up()
        self.assertEqual(self.read(), DATA)
        self.backend.catch_up()

    def test_late_and_refused(self) -> None:
        """Late work that meets somebody else's object leaves that alone."""
        self.faults.next("put", Fault.LATE)
        self.assertUnavailable(self.put(b"late"))
        self.successResultOf(self.put(b"in time"))
        self.backend.catch_up()
        self.assertEqual(self.read(), b"in time")

    def test_truncated(self) -> None:
        """A body breaks off in its middle, on the way in or out."""
        self.faults.next("put", Fault.TRUNCATED)
        body = HandFed(100)
        putting = start(self.backend.put("k", body, PLAIN, exclusive=True))
        body.feed(b"x" * 49)
        self.assertNoResult(putting)
        body.feed(b"x" * 2)
        self.assertUnavailable(putting)
        self.assertTrue(body.stops)
        self.assertEqual(self.backend.objects, {})
        self.faults.next("put", Fault.TRUNCATED, None)
        self.assertUnavailable(self.put())
        self.successResultOf(self.put())
        self.faults.next("get", Fault.TRUNCATED)
        self.assertUnavailable(start(self.fetch()))

    def test_stalled_body(self) -> None:
        """Nothing moves any more in the middle of a body, until somebody gives up."""
        self.faults.next("put", Fault.STALLED_BODY, Fault.STALLED_BODY)
        body = HandFed(100)
        putting = start(self.backend.put("k", body, PLAIN, exclusive=True))
        body.feed(b"x" * 60)
        self.assertTrue(body.paused)
        self.assertStalls(putting)
        self.assertTrue(body.stops)
        self.assertStalls(self.put())
        self.successResultOf(self.put())
        self.faults.next("get", Fault.STALLED_BODY)
        self.assertStalls(start(self.fetch()))

    def test_wrong_bytes(self) -> None:
        """One bit is another, of what is stored or of what is read."""
        self.faults.next("put", Fault.WRONG_BYTES)
        stored = self.successResultOf(self.put())
        wrong = self.read()
        self.assertNotEqual(wrong, DATA)
        self.assertEqual(len(wrong), len(DATA))
        self.assertEqual(stored.etag, self.backend.objects["k"].etag)
        self.run_now(self.backend.delete("k"))
        self.successResultOf(self.put())
        self.faults.next("get", Fault.WRONG_BYTES)
        self.assertEqual((self.read(), self.read()), (wrong, DATA))
        self.backend.corrupt("k")
        self.assertEqual(self.read(), wrong)

    def test_wrong_etag_and_size(self) -> None:
        """Answers lie about an object."""
        self.faults.next("put", Fault.WRONG_ETAG)
        etag = self.successResultOf(self.put()).etag
        self.faults.next("head", None, Fault.WRONG_ETAG, Fault.WRONG_SIZE)
        true, other, longer = (self.run_now(self.backend.head("k")) for _ in range(3))
        self.assertNotEqual(etag, true.etag)
        self.assertEqual((other.etag, other.size), (etag, len(DATA)))
        self.assertEqual((longer.etag, longer.size), (true.etag, len(DATA) + 1))

    def test_down(self) -> None:
        """It can be down altogether, and come back."""
        self.backend.down()
        self.assertUnavailable(self.put(), sent=False)
        self.assertUnavailable(start(self.backend.list_objects()), sent=False)
        self.faults.clear()
        self.successResultOf(self.put())

    def test_always(self) -> None:
        """One verb can fail all the time; what is to come next goes before."""
        self.faults.always(Fault.FAILED, "head")
        self.successResultOf(self.put())
        self.faults.next("head", None)
        self.run_now(self.backend.head("k"))
        self.assertUnavailable(start(self.backend.head("k")))
        self.assertEqual(self.read(), DATA)

    def test_calls(self) -> None:
        """It remembers what it was asked for, and what happened."""
        self.faults.next("put", Fault.REFUSED)
        self.assertUnavailable(self.put(), sent=False)
        self.failureResultOf(start(self.backend.head("other")), NoSuchBlob)
        self.assertEqual(self.backend.calls, [Called("put", "k", Fault.REFUSED), Called("head", "other")])

    def test_time(self) -> None:
        """Objects are as old as the clock says."""
        self.clock.advance(12.5)
        self.successResultOf(self.put())
        self.assertEqual(self.run_now(self.backend.head("k")).modified_ms, 12_500)
