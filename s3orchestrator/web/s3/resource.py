"""
The door to the S3 API: from a request on the wire to an operation, and back.

Operations take values and return values; only this file touches the wire. It is the one
place where every failure becomes an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from s3orchestrator.bodies.filtered import pump, taken
from s3orchestrator.concurrency import start
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.protocol.addressing import resolve
from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.documents import error_document
from s3orchestrator.protocol.errors import S3Error, as_s3_error
from s3orchestrator.protocol.operations import Operation, identify
from s3orchestrator.protocol.refusing import refuse_unsupported
from s3orchestrator.telemetry.context import REQUEST_ID
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.telemetry.storage import CLIENT_LEFT
from s3orchestrator.web.admission import Admission
from s3orchestrator.web.rate_limit import RateLimit
from s3orchestrator.web.request import Request
from s3orchestrator.web.request_ids import request_id
from s3orchestrator.web.s3.access import AccessControl, BucketMismatch
from s3orchestrator.web.s3.chunks import note_chunks, note_refused_chunks
from s3orchestrator.web.s3.patience import PATIENT, Patience
from s3orchestrator.web.s3.rejections import ADDRESSING, AUTHENTICATING, note_early, rejection
from s3orchestrator.web.s3.response import Response
from s3orchestrator.web.s3.task import Operate, Task
from s3orchestrator.web.s3.visit import Visit

DEGRADED_READS = (Operation.GET_OBJECT, Operation.HEAD_OBJECT)  # which do without the ledger
REJECTIONS = Counter(
    "s3o_degraded_write_rejections_total",
    "Requests refused because they need the database, by operation.",
    ["operation"],
)
for _operation in Operation:
    if _operation not in DEGRADED_READS:
        REJECTIONS.labels(_operation.label)


class S3Resource(Resource):
    """The S3 API below the root."""

    isLeaf = True
    log = make_logger()

    def __init__(
        self,
        dispatch: Mapping[Operation, Operate],
        access: AccessControl,
        rate_limit: RateLimit,
        admission: Admission,
        domains: tuple[str, ...],
        clock: IReactorTime,
        patience: Patience,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._dispatch = dispatch
        self._access = access
        self._rate_limit = rate_limit
        self._admission = admission
        self._domains = domains
        self._clock = clock
        self._patience = patience

    def render(self, request: Request) -> int:
        """Serve in a coroutine that is cancelled when the client leaves."""
        serving = start(self._serve(request))
        if not serving.called:
            request.on_left(serving.cancel)
        serving.addErrback(self._abandon, request)
        return NOT_DONE_YET

    async def _serve(self, request: Request) -> None:
        call = _call_of(request, self._clock.seconds())
        REQUEST_ID.set(call.request_id)
        visit = Visit(call, request)
        try:
            try:
                task = await self._let_in(visit)
                if task.operation in PATIENT:
                    operating = start(self._operate(task))
                    if await self._patience.is_needed(operating):
                        await self._patience.answer(
                            request, operating, self._headers(visit), self._refuse, visit
                        )
                        return
                    response = await operating
                else:
                    response = await self._operate(task)
            except CancelledError:
                raise  # nobody is listening any more
            except Exception as error:
                response = self._refuse(visit, error)
            await self._send(request, visit, response)
        except Exception as error:
            self._cut_short(visit, error)
            raise
        finally:
            if visit.pool is not None:
                visit.pool.give_back()
            visit.record(self._clock.seconds())

    async def _let_in(self, visit: Visit) -> Task:
        """Refuse as cheaply as can be: whoever asks too much is not even told what is wrong with it."""
        call = visit.call
        self._rate_limit.check(call.client)
        visit.stage = ADDRESSING
        host = call.header(b"host") or ""
        call.bucket, call.key = resolve(host, call.path, self._domains)
        visit.stage = ""
        visit.operation = operation = identify(call)
        visit.pool = await self._admission.enter(is_write=operation.is_write)
        visit.stage = AUTHENTICATING
        authenticated = self._access.authenticate(call)
        visit.stage = ""
        note_chunks(authenticated.verified)
        visit.identity = authenticated.identity
        if authenticated.verified is not None:
            visit.access_key_id = authenticated.verified.access_key_id
        learning = self._access.learning(operation, call.bucket)
        if learning is not None:
            await learning
        bucket = self._access.authorise(authenticated.identity, operation, call.bucket)
        self._access.check_expected_owner(authenticated.identity, call)
        refuse_unsupported(call, operation)
        return Task(call, operation, authenticated.identity, bucket, authenticated.verified)

    async def _operate(self, task: Task) -> Response:
        return await self._dispatch[task.operation](task)

    def _refuse(self, visit: Visit, error: Exception) -> Response:
        call = visit.call
        if not isinstance(error, S3Error):
            refusal = as_s3_error(
                error,
                bucket=call.bucket or "",
                key=call.key or "",
                version_id=_parameter(call, "versionId"),
                upload_id=_parameter(call, "uploadId"),
            )
            if refusal.code == "InternalError":
                self.log.failure("{call} failed", call=_shown(call), failure=Failure(error))
            elif refusal.status >= 500:
                self.log.warn("{call}: {error}", call=_shown(call), error=str(error))
        else:
            refusal = error
        if isinstance(error, StoreUnavailable) and visit.operation and visit.operation not in DEGRADED_READS:
            REJECTIONS.labels(visit.operation.label).inc()
        visit.error = refusal.code
        visit.rejection = rejection(refusal, visit.stage)
        visit.mismatch = refusal if isinstance(refusal, BucketMismatch) else None
        note_early(call, refusal)
        note_refused_chunks(call, refusal)
        document = error_document(
            refusal,
            resource=call.path.decode("latin-1"),
            request_id=call.request_id,
            host_id=call.request_id,
        )
        return Response(refusal.status, {"Content-Type": "application/xml", **refusal.headers}, document)

    def _headers(self, visit: Visit) -> dict[str, str]:
        request_id = visit.call.request_id
        return {"x-amz-request-id": request_id, "x-amz-id-2": request_id}

    async def _send(self, request: Request, visit: Visit, response: Response) -> None:
        visit.status = response.status
        headers = {**self._headers(visit), **response.headers}
        body = response.body
        if isinstance(body, bytes):
            request.respond(response.status, headers, body, response.length)
            return
        length = body.length
        data = taken(body)
        if data is not None:
            request.respond(response.status, headers, data, length)
            return
        request.start(response.status, headers, length)
        await pump(body, request)
        request.finish()

    def _cut_short(self, visit: Visit, error: Exception) -> None:
        """There is no answer, or the half of one: the log must know of which request."""
        if isinstance(error, CancelledError):
            visit.error = visit.error or CLIENT_LEFT
            return
        visit.error, call = as_s3_error(error).code, _shown(visit.call)
        if visit.error == "InternalError":
            self.log.failure("{call}: the answer was cut short", call=call, failure=Failure(error))
        else:
            self.log.warn("{call}: the answer was cut short: {error}", call=call, error=str(error))

    def _abandon(self, _: Failure, request: Request) -> None:
        """Whatever had begun to be sent must not look whole."""
        request.abort()


def _call_of(request: Any, now: float) -> Call:
    return Call(
        request.method,
        request.uri,
        request.path,
        request.query,
        request.header_map,
        request.body,
        request.client_address,
        request.isSecure(),
        request_id(request.header_map),
        now,
    )


def _shown(call: Call) -> str:
    """A request as an operator reads it; without its query, which may be signed."""
    return f"{call.method.decode('latin-1')} {call.path.decode('latin-1')}"


def _parameter(call: Call, name: str) -> str:
    try:
        return call.parameters.get(name, "")
    except S3Error:
        return ""
