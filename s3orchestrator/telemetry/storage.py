"""
What the engine did, as the audit trail tells it: one line for each operation, however it ended.

The doors tell what was asked and answered; this tells what came of it: on which backend, of which size.
"""

from __future__ import annotations

from collections.abc import Coroutine
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError

from s3orchestrator.concurrency import shield
from s3orchestrator.protocol.errors import as_s3_error
from s3orchestrator.telemetry.audit import record
from s3orchestrator.telemetry.operations import ended

T = TypeVar("T")

CLIENT_LEFT = "ClientLeft"


class Record:
    """
    One operation of the engine, from its beginning to its end: `with Record("PutObject", ...) as record:`.

    What becomes known on the way is added by `tell`, and `backend` is who was asked last. An
    exception that leaves the block is recorded as the code that a client is told.
    """

    __slots__ = ("_began", "_fields", "_goes_on", "_has_left", "_has_succeeded", "backend", "operation")

    def __init__(self, operation: str, **fields: object) -> None:
        self.operation = operation
        self.backend = ""
        self._fields = fields
        self._began = monotonic()
        self._goes_on = False
        self._has_left = False
        self._has_succeeded = False

    def tell(self, **fields: object) -> None:
        """Add to what is recorded."""
        self._fields.update(fields)

    def succeeded(self) -> None:
        """What leaves the block now, if anything, is an answer and no failure."""
        self._has_succeeded = True

    async def shielded(self, work: Coroutine[Any, Any, T]) -> T:
        """
        Run `work` to its end even if the caller is cancelled: what is recorded is how that ended.

        Otherwise the trail would say that nothing came of a write that was then committed.
        """
        if self._goes_on:
            return await work
        self._goes_on = True
        return await shield(self._to_its_end(work))

    async def _to_its_end(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            result = await work
        except BaseException as error:
            self._end_alone(error)
            raise
        self._end_alone(None)
        return result

    def _end_alone(self, error: BaseException | None) -> None:
        self._goes_on = False
        if self._has_left:
            self._write(error)

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._goes_on:
            self._has_left = True
        else:
            self._write(None if self._has_succeeded else error)

    def _write(self, error: BaseException | None) -> None:
        """The one place that sees the end of each operation."""
        seconds = monotonic() - self._began
        ended(self.operation, self.backend, seconds, error)
        fields = self._fields
        if self.backend:
            fields["backend"] = self.backend
        fields["duration_ms"] = round(seconds * 1000, 3)
        if error is not None:
            fields["error"] = _code(error)
        record(f"storage.{self.operation}", fields)


def _code(error: BaseException) -> str:
    if isinstance(error, CancelledError):
        return CLIENT_LEFT
    return as_s3_error(error).code if isinstance(error, Exception) else type(error).__name__
