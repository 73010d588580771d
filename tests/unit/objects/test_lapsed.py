"""Writing when the lease it was begun under has lapsed, and others have tidied up meanwhile."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.payload import Payload
from s3orchestrator.testing.harness import QUIET_PERIOD, Harness


@implementer(IBodyProducer)
@define(eq=False)
class LateBody:
    """Four bytes that take their time."""

    length: int = 4
    started: bool = False
    done: Deferred[None] = field(factory=Deferred)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.started, self._consumer = True, consumer
        return self.done

    def come(self) -> None:
        self._consumer.write(b"late")
        self.done.callback(None)

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None: ...

    _consumer: Any = None


class LapsedTests(SynchronousTestCase):
    def test_body_that_comes_late(self) -> None:
        """Nothing is sent to a name that was reserved under another lease: it may be nobody's by now."""
        h = Harness(backends=("a",))
        body = LateBody()
        incoming = Incoming(body, Payload.of({}, None, 4))
        putting = start(h.core.objects.writing.put(h.bucket, "k", incoming, ObjectMetadata()))
        h.run(h.core.ledger.blobs.recover())  # what others do about an owner that is gone
        for seconds in (60, QUIET_PERIOD + 1, QUIET_PERIOD + 1):
            h.advance(seconds)
        self.assertEqual(h.run(h.core.ledger.blobs.names("a")), [])
        h.run(h.core.ledger.database.transact(lapse))
        h.run(h.core.lease.renew())
        body.come()
        self.failureResultOf(putting, StoreUnavailable)
        self.assertEqual(h.stored(), {"a": {}})
        h.put("k", b"data")
        self.assertEqual(h.get("k"), b"data")


async def lapse(tx: ITransaction) -> None:
    await tx.run("UPDATE owners SET lease_until_ms = 0")
