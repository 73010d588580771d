"""The door to the admin API: HTTP on one side, whoever answers on the other."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from s3orchestrator.bodies.sources import collect
from s3orchestrator.concurrency import start
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.web.admin.api import MAX_BODY, AdminRequest, Read, Reply
from s3orchestrator.web.request import Request
from s3orchestrator.web.request_ids import request_id

Answer = Callable[[AdminRequest, Read], Coroutine[Any, Any, Reply]]


class AdminResource(Resource):
    """The admin API; `answer` is `AdminApi.answer`, or has another process asked."""

    isLeaf = True
    log = make_logger()

    def __init__(self, answer: Answer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._answer = answer

    def render(self, request: Request) -> int:
        """Serve in a coroutine that is cancelled when the client leaves."""
        serving = start(self._serve(request))
        if not serving.called:
            request.on_left(serving.cancel)
        serving.addErrback(self._abandon, request)
        return NOT_DONE_YET

    async def _serve(self, request: Request) -> None:
        asked = AdminRequest(
            request.method,
            request.path,
            request.query,
            tuple(request.header_map.get(b"x-admin-token", ())),
            request.client_address,
            request_id(request.header_map),
        )
        reply = await self._answer(asked, lambda: collect(request.body, MAX_BODY))
        request.respond(reply.status, reply.headers, reply.body)

    def _abandon(self, failure: Failure, request: Request) -> None:
        """Nobody waits for the answer any more, or it could not be sent."""
        if not failure.check(CancelledError):
            self.log.failure("an answer could not be sent", failure=failure)
        request.abort()
