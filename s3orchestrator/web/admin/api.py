"""
Who answers the calls of the admin API: token first, then route, then body; every call audited.

Like the S3 API's door, the one place where every failure becomes an answer. A call is plain values here, for
it may have come to another process, which passes it on.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from s3orchestrator.bodies.sources import BodyTooLong
from s3orchestrator.errors import BodyAborted, StoreUnavailable
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.context import REQUEST_ID
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.web.admin.access import Access
from s3orchestrator.web.admin.calls import Answer, Ask, Refused
from s3orchestrator.web.admin.routing import Route, find

MAX_BODY = 1 << 20
WITH_BODY = frozenset({b"POST", b"PUT"})

Read = Callable[[], Awaitable[bytes]]


@frozen
class AdminRequest:
    """A call as it came, apart from its body. `tokens` are the values of `X-Admin-Token`."""

    method: bytes
    path: bytes
    query: bytes
    tokens: tuple[bytes, ...]
    address: str
    identity: str  # of the request


@frozen
class Reply:
    """What is answered, ready to be sent."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@define(eq=False)
class _Visit:
    """What is known of a call while it is served; the audit line is made of it."""

    began: float
    verb: str = "Refused"
    status: int = 499  # until there is an answer: the client has left
    error: str = ""
    noted: Mapping[str, object] = field(factory=dict)


@define(eq=False)
class AdminApi:
    """Answers operators, whichever process they have come to."""

    log = make_logger()
    _routes: Sequence[Route]
    _access: Access
    _clock: IReactorTime

    async def answer(self, request: AdminRequest, read: Read) -> Reply:
        """
        Return what is to be sent.

        `read` gives the body, of at most `MAX_BODY` bytes; it is called for those who may ask, if at all.

        :raises CancelledError: nobody is listening any more; that is in the audit trail as well.
        """
        REQUEST_ID.set(request.identity)
        visit = _Visit(self._clock.seconds())
        headers: Mapping[str, str] = {}
        try:
            try:
                answer = await self._answer(request, read, visit)
            except CancelledError:
                raise
            except Exception as error:
                refusal = self._refusal(visit, error)
                answer = Answer({"error": refusal.text, **refusal.more}, refusal.status)
                headers, visit.error = refusal.headers, refusal.text
            visit.status, visit.noted = answer.status, answer.noted
            return _reply(answer, {**headers, "x-request-id": request.identity})
        finally:
            self._record(request, visit)

    async def _answer(self, request: AdminRequest, read: Read, visit: _Visit) -> Answer:
        self._access.check(request.tokens, request.address)
        route, names = find(self._routes, request.method.decode("latin-1"), request.path)
        visit.verb = route.verb
        body = await _document(read) if request.method in WITH_BODY else {}
        return await route.operate(Ask(names, _query(request.query), body))

    def _refusal(self, visit: _Visit, error: Exception) -> Refused:
        if isinstance(error, Refused):
            return error
        if isinstance(error, StoreUnavailable):
            self.log.warn("admin.{verb}: {error}", verb=visit.verb, error=str(error))
            return Refused(503, f"the ledger cannot be asked at the moment: {error}", {"Retry-After": "5"})
        self.log.failure("admin.{verb} failed", verb=visit.verb, failure=Failure(error))
        return Refused(500, "something went wrong here; the log has it under this request's id")

    def _record(self, request: AdminRequest, visit: _Visit) -> None:
        audit(
            f"admin.{visit.verb}",
            method=request.method.decode("latin-1"),
            path=request.path.decode("latin-1"),
            remote=request.address,
            status=visit.status,
            **({"error": visit.error} if visit.error else {}),
            duration_ms=round((self._clock.seconds() - visit.began) * 1000, 3),
            **visit.noted,
        )


def _reply(answer: Answer, headers: Mapping[str, str]) -> Reply:
    described = {"Content-Type": "application/json", "Cache-Control": "no-store", **headers}
    return Reply(
        answer.status,
        tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in described.items()),
        json.dumps(answer.document).encode() + b"\n",
    )


async def _document(read: Read) -> Mapping[str, Any]:
    try:
        data = await read()
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
