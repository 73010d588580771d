"""
Answers that take long: the connection is kept alive until the document is there.

CompleteMultipartUpload and copies may take minutes. S3 then sends 200 at once, white
space while it works, and the document at the end, which may be an error under status 200;
every SDK looks for that. Below a few seconds the real status is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from s3orchestrator.protocol.operations import Operation
from s3orchestrator.web.s3.response import XML, Response

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
PATIENT = frozenset({Operation.COMPLETE_MULTIPART_UPLOAD, Operation.COPY_OBJECT, Operation.UPLOAD_PART_COPY})
BEGIN_AFTER = 5.0  # seconds: well below the shortest time-out a client or balancer is known to have
EVERY = 5.0


@define(eq=False)
class Patience:
    """Keeps clients waiting politely."""

    _clock: IReactorTime
    _begin_after: float = BEGIN_AFTER
    _every: float = EVERY

    async def is_needed(self, operating: Deferred[Response]) -> bool:
        """
        Wait a while for an operation that may take long; tell whether it is still working.

        If this is cancelled, so is `operating`.
        """
        if operating.called:
            return False
        waiting: Deferred[None] = Deferred()
        timer = self._clock.callLater(self._begin_after, waiting.callback, None)

        def ended(result: Any) -> Any:
            # Not before it is over: a failure cannot be awaited from within its own callbacks.
            if timer.active():
                timer.reset(0)
            return result

        operating.addBoth(ended)
        try:
            await waiting
        except CancelledError:
            operating.addErrback(lambda failure: failure.trap(CancelledError))
            operating.cancel()
            raise
        finally:
            if timer.active():
                timer.cancel()
        return not operating.called

    async def answer(
        self,
        request: Any,
        operating: Deferred[Response],
        headers: Mapping[str, str],
        refuse: Callable[[Any, Exception], Response],
        visit: Any,
    ) -> None:
        """Send 200 and white space until `operating` has its document, then that."""
        visit.status = 200
        request.start(200, {**headers, "Content-Type": XML})
        request.write(DECLARATION)
        beat = LoopingCall(request.write, b" ")
        beat.clock = self._clock
        beat.start(self._every)
        try:
            response = await operating
        except CancelledError:
            raise
        except Exception as error:
            response = refuse(visit, error)
        finally:
            beat.stop()
        assert isinstance(response.body, bytes)
        request.write(response.body.removeprefix(DECLARATION.strip()).removeprefix(b"\n"))
        request.finish()
