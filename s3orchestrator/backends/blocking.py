"""
Blocking calls in a few threads of one's own.

Twisted's thread pool costs more than the file operations it would carry; this one is a queue, and
wakes the reactor once for all results that are waiting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from s3orchestrator.errors import BackendUnavailable

T = TypeVar("T")


@define(eq=False)
class _Call:
    work: Callable[[], Any]
    undo: Callable[[Any], object] | None
    done: Deferred[Any]
    outcome: Any = None


@define(eq=False)
class BlockingCalls:
    """
    Runs blocking calls in at most `limit` threads, in the order in which they were asked for.

    All methods belong to the reactor's thread. Threads are started when there is work for
    them, and do not keep the process alive.
    """

    _reactor: IReactorFromThreads
    _name: str
    _limit: int
    _calls: SimpleQueue[_Call | None] = field(init=False, factory=SimpleQueue)
    _finished: deque[_Call] = field(init=False, factory=deque)
    _is_woken: bool = field(init=False, default=False)
    _threads: list[Thread] = field(init=False, factory=list)
    _unfinished: int = field(init=False, default=0)
    _closing: Deferred[None] | None = field(init=False, default=None)

    def call(self, work: Callable[[], T], undo: Callable[[T], object] | None = None) -> Deferred[T]:
        """
        Return what `work` returns, or fail with what it raises.

        Cancelling takes effect at once. A call nobody has begun by then is left out; the result of one
        that has begun is handed to `undo`, in a thread, so that what it holds can be let go.
        """
        if self._closing is not None:
            raise BackendUnavailable(f"{self._name}: closed", sent=False)
        done: Deferred[T] = Deferred()
        self._put(_Call(work, undo, done))
        return done

    def clean_up(self, work: Callable[[], object]) -> Deferred[object]:
        """As `call`, but also after `close`: what is held must be let go."""
        done: Deferred[object] = Deferred()
        if self._closing is not None and self._closing.called:
            work()
            done.callback(None)
        else:
            self._put(_Call(work, None, done))
        return done

    def close(self) -> Deferred[None]:
        """Take no more calls; fires when those that were taken have ended."""
        waiting: Deferred[None] = Deferred()
        if self._closing is None:
            self._closing = Deferred()
        self._closing.addCallback(lambda _: None if waiting.called else waiting.callback(None))
        self._leave_if_idle()
        return waiting

    def _put(self, call: _Call) -> None:
        self._unfinished += 1
        if self._unfinished > len(self._threads) < self._limit:
            self._start_thread()
        self._calls.put(call)

    def _start_thread(self) -> None:
        thread = Thread(target=self._run, name=f"{self._name}-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            if not call.done.called:
                try:
                    call.outcome = call.work()
                except Exception:
                    call.outcome = Failure()
            self._finished.append(call)
            if not self._is_woken:
                self._is_woken = True
                self._reactor.callFromThread(self._deliver)

    def _deliver(self) -> None:
        # Before looking: a thread that sees it still set has added its call in time to be seen here.
        self._is_woken = False
        while self._finished:
            call = self._finished.popleft()
            self._unfinished -= 1
            if not call.done.called:
                call.done.callback(call.outcome)
            elif call.undo is not None and call.outcome is not None and not isinstance(call.outcome, Failure):
                self.clean_up(partial(call.undo, call.outcome))
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        if self._closing is None or self._closing.called or self._unfinished:
            return
        for _ in self._threads:
            self._calls.put(None)
        self._closing.callback(None)
