"""
The only Deferred plumbing: finishing what must be finished, doing several things at once,
and giving up in time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from s3orchestrator.errors import OrchestratorError
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.telemetry.context import REQUEST_ID, on_behalf_of
from s3orchestrator.telemetry.logging import make_logger

T = TypeVar("T")

_log = make_logger()


def start(work: Coroutine[Any, Any, T] | Deferred[T]) -> Deferred[T]:
    """Run a coroutine until it first waits; where Twisted, not a coroutine, is the caller."""
    return work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)


def shield(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    """
    Run `work` to its end even if the caller is cancelled while it waits.

    The caller's cancellation takes effect at once; `work` goes on by itself, so it must do
    its own cleaning up. Of a failure nobody waits for any more, one that is foreseen is a
    line in the log; others are logged by Twisted.
    """
    running = start(work)
    waiting: Deferred[T] = Deferred()
    request_id = REQUEST_ID.get()

    def deliver(result: T | Failure) -> T | Failure | None:
        if waiting.called:
            if not isinstance(result, Failure) or result.check(CancelledError):
                return None
            if not result.check(OrchestratorError, S3Error):
                return result
            with on_behalf_of(request_id):
                _log.info("nobody waits any more for: {error}", error=str(result.value))
            return None
        waiting.callback(result)
        return None

    running.addBoth(deliver)
    return waiting


def keep(work: Coroutine[Any, Any, T], undo: Callable[[T], object]) -> Deferred[T]:
    """
    Run `work` to its end even if the caller is cancelled; then its result is given to `undo`.

    For steps that set something aside for the caller: nobody else would give it back.
    """
    left = False

    def leave(_: Deferred[T]) -> None:
        nonlocal left
        left = True

    waiting: Deferred[T] = Deferred(leave)

    def deliver(result: T | Failure) -> None:
        if not left:
            waiting.callback(result)
        elif not isinstance(result, Failure):  # what fails leaves nothing to undo
            undo(result)

    start(work).addBoth(deliver)
    return waiting


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """
    Run `work` to its end, and only then let a cancellation of the caller through.

    For clean-up that decides what happens next: the caller must not go on before it is done.
    """
    done: Deferred[None] = Deferred()
    running = start(work)
    outcome: list[T | Failure] = []

    def note(result: T | Failure) -> None:
        outcome.append(result)
        if not done.called:
            done.callback(None)

    running.addBoth(note)
    cancelled = False
    while not outcome:
        try:
            await done
        except CancelledError:
            cancelled = True
            done = Deferred()
    if cancelled:
        raise CancelledError
    result = outcome[0]
    if isinstance(result, Failure):
        result.raiseException()
    return result


async def deadline(
    seconds: float, work: Awaitable[T], clock: IReactorTime, expired: Callable[[], Exception]
) -> T:
    """
    Wait at most `seconds` for `work`; then cancel it and raise what `expired` makes.

    Cancelling the caller cancels `work`. `work` may go on after the deadline for as long as
    it takes to notice; nobody waits for that.
    """
    running: Deferred[T] = work if isinstance(work, Deferred) else start(_awaited(work))
    late = False

    def give_up() -> None:
        nonlocal late
        late = True
        running.cancel()

    timer = clock.callLater(seconds, give_up)
    try:
        return await running
    except Exception:
        if late:
            raise expired() from None
        raise
    finally:
        if timer.active():
            timer.cancel()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


async def concurrently(
    limit: int, work: Callable[[Any], Coroutine[Any, Any, None]], items: Iterable[Any]
) -> None:
    """
    Run `work` on every item, at most `limit` at a time, to the end.

    `work` handles its own failures; one that escapes stops the taking of new items and is
    raised when the others have ended. Cancelling cancels those in progress.
    """
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    workers = [start(worker()) for _ in range(limit)]
    results = DeferredList(workers, consumeErrors=True)
    try:
        outcomes = await results
    except CancelledError:
        for running in workers:
            running.cancel()
        raise
    for success, result in outcomes:
        if not success:
            assert isinstance(result, Failure)
            result.raiseException()
