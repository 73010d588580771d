"""
The door to the admin API: token first, then route, then body; JSON both ways; every call audited.

Like the S3 API's door, the one place where every failure becomes an answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from s3orchestrator.bodies.sources import BodyTooLong, collect
from s3orchestrator.concurrency import start
from s3orchestrator.errors import BodyAborted, StoreUnavailable
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.context import REQUEST_ID
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.web.admin.access import Access
from s3orchestrator.web.admin.calls import Answer, Ask, Refused
from s3orchestrator.web.admin.routing import Route, find
from s3orchestrator.web.request import Request
from s3orchestrator.web.request_ids import request_id

MAX_BODY = 1 << 20
_WITH_BODY = frozenset({"POST", "PUT"})


@define(eq=False)
class _Visit:
    """What is known of a call while it is served; the audit line is made of it."""

    began: float
    verb: str = "Refused"
    status: int = 499  # until there is an answer: the client has left
    error: str = ""
    noted: Mapping[str, object] = field(factory=dict)


class AdminResource(Resource):
    """The admin API."""

    isLeaf = True
    log = make_logger()

    def __init__(self, routes: Sequence[Route], access: Access, clock: IReactorTime) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._routes = routes
        self._access = access
        self._clock = clock

    def render(self, request: Request) -> int:
        """Serve in a coroutine that is cancelled when the client leaves."""
        serving = start(self._serve(request))
        if not serving.called:
            request.notifyFinish().addErrback(lambda _: serving.cancel())
        serving.addErrback(self._abandon, request)
        return NOT_DONE_YET

    async def _serve(self, request: Request) -> None:
        identity = request_id(request.header_map)
        REQUEST_ID.set(identity)
        visit = _Visit(self._clock.seconds())
        headers: Mapping[str, str] = {}
        try:
            try:
                answer = await self._answer(request, visit)
            except CancelledError:
                raise  # nobody is listening any more
            except Exception as error:
                refusal = self._refusal(visit, error)
                answer = Answer({"error": refusal.text, **refusal.more}, refusal.status)
                headers, visit.error = refusal.headers, refusal.text
            visit.status, visit.noted = answer.status, answer.noted
            _send(request, answer, {**headers, "x-request-id": identity})
        finally:
            self._record(request, visit)

    async def _answer(self, request: Request, visit: _Visit) -> Answer:
        self._access.check(request.header_map.get(b"x-admin-token", []), request.client_address)
        method = request.method.decode("latin-1")
        route, names = find(self._routes, method, request.path)
        visit.verb = route.verb
        body = await _body(request) if method in _WITH_BODY else {}
        return await route.operate(Ask(names, _query(request.query), body))

    def _refusal(self, visit: _Visit, error: Exception) -> Refused:
        if isinstance(error, Refused):
            return error
        if isinstance(error, StoreUnavailable):
            self.log.warn("admin.{verb}: {error}", verb=visit.verb, error=str(error))
            return Refused(503, f"the ledger cannot be asked at the moment: {error}", {"Retry-After": "5"})
        self.log.failure("admin.{verb} failed", verb=visit.verb, failure=Failure(error))
        return Refused(500, "something went wrong here; the log has it under this request's id")

    def _abandon(self, failure: Failure, request: Request) -> None:
        """Nobody waits for the answer any more, or it could not be sent."""
        if not failure.check(CancelledError):
            self.log.failure("an answer could not be sent", failure=failure)
        request.abort()

    def _record(self, request: Request, visit: _Visit) -> None:
        audit(
            f"admin.{visit.verb}",
            method=request.method.decode("latin-1"),
            path=request.path.decode("latin-1"),
            remote=request.client_address,
            status=visit.status,
            **({"error": visit.error} if visit.error else {}),
            duration_ms=round((self._clock.seconds() - visit.began) * 1000, 3),
            **visit.noted,
        )


def _send(request: Request, answer: Answer, headers: Mapping[str, str]) -> None:
    described = {"Content-Type": "application/json", "Cache-Control": "no-store", **headers}
    request.respond(
        answer.status,
        [(name.encode("latin-1"), value.encode("latin-1")) for name, value in described.items()],
        json.dumps(answer.document).encode() + b"\n",
    )


async def _body(request: Request) -> Mapping[str, Any]:
    try:
        data = await collect(request.body, MAX_BODY)
    except BodyTooLong:
        raise Refused(413, f"the body is longer than {MAX_BODY} bytes") from None
    except BodyAborted as error:
        raise Refused(400, f"the body did not come: {error}") from None
    if not data:
        return {}
    try:
        found = json.loads(data)
    except json.JSONDecodeError as error:
        raise Refused(400, f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except (ValueError, RecursionError):  # not UTF-8, a number of a thousand digits, a thousand brackets
        raise Refused(400, "the body is not JSON that can be read") from None
    if not isinstance(found, dict):
        raise Refused(400, "the body must be a JSON object")
    return found


def _query(query: bytes) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except (ValueError, UnicodeDecodeError):
        raise Refused(400, "the query is not UTF-8, percent-encoded, with at most 20 parameters") from None
    if any("\0" in value for _, value in pairs):
        raise Refused(400, "the query holds a NUL, which nothing here has in its name")
    return dict(pairs)
