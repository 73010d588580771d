"""
The page that Prometheus reads.

Rendering takes as long as there are series, on the reactor: it is done a little at a time, once for all who
ask within a second.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from time import perf_counter
from typing import Any

from attrs import define, field
from prometheus_client import CollectorRegistry
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from s3orchestrator.bodies.filtered import pump
from s3orchestrator.bodies.paced import PacedBody
from s3orchestrator.concurrency import start
from s3orchestrator.telemetry.exposition import Families, Format, families_of, negotiate, pieces
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.web.request import Request

MOST_ANSWERS = 16  # being sent at a time
FRESH = 1.0  # seconds for which a page is given out
TURN = 0.002  # seconds of rendering after which others have their turn

_TOO_MANY = b"Too many are reading the metrics just now.\n"


@define(eq=False)
class _Shared:
    """A page, or those who wait for it. `begun` is when its rendering was."""

    begun: float
    page: bytes | None = field(default=None, init=False)
    _waiting: list[Deferred[bytes]] = field(factory=list, init=False)

    def get(self) -> Deferred[bytes]:
        """Fires with the page; who gives up waiting is not in the way of others."""
        waiting: Deferred[bytes] = Deferred()
        if self.page is not None:
            waiting.callback(self.page)
        else:
            self._waiting.append(waiting)
        return waiting

    def deliver(self, result: bytes | Failure) -> None:
        """Give it to all who wait."""
        if isinstance(result, bytes):
            self.page = result
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            if not one.called:
                one.callback(result)


@define(eq=False)
class Rendering:
    """
    Makes pages of what `families` returns, a little at a time.

    `seconds` measures work.
    """

    _families: Callable[[], Awaitable[Families]]
    _clock: IReactorTime
    _seconds: Callable[[], float] = perf_counter

    @classmethod
    def of(
        cls, registry: CollectorRegistry, clock: IReactorTime, seconds: Callable[[], float] = perf_counter
    ) -> Rendering:
        """Make pages of a registry."""

        async def families() -> Families:
            return families_of(registry)

        return cls(families, clock, seconds)

    async def page(self, form: Format) -> bytes:
        """Return a page of what is so now."""
        page: list[bytes] = []
        rendering = pieces(await self._families(), form)
        while self._is_unfinished(rendering, page):
            await self._turn_of_others()
        return b"".join(page)

    def _is_unfinished(self, rendering: Iterator[bytes], page: list[bytes]) -> bool:
        """Render for one turn; tells whether there may be more."""
        until = self._seconds() + TURN
        for piece in rendering:
            page.append(piece)
            if self._seconds() >= until:
                return True
        return False

    def _turn_of_others(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred()
        self._clock.callLater(0, turn.callback, None)
        return turn


@define(eq=False)
class Pages:
    """The page in each format, made by `make` when somebody asks and the last one is old."""

    _make: Callable[[Format], Coroutine[Any, Any, bytes]]
    _clock: IReactorTime
    _shared: dict[Format, _Shared] = field(factory=dict, init=False)

    def get(self, form: Format) -> Deferred[bytes]:
        """Return a page that was begun less than a second ago."""
        now = self._clock.seconds()
        shared = self._shared.get(form)
        if shared is not None and 0 <= now - shared.begun < FRESH:
            return shared.get()
        shared = self._shared[form] = _Shared(now)
        page = shared.get()  # before it may be there, or have failed
        start(self._fill(form, shared))
        return page

    async def _fill(self, form: Format, shared: _Shared) -> None:
        try:
            page = await self._make(form)
        except Exception:
            self._shared.pop(form, None)
            shared.deliver(Failure())
        else:
            shared.deliver(page)


class MetricsPage(Resource):
    """
    Answers GET and HEAD; asks for no credentials, and counts against no limit but its own.

    A page may have a megabyte, and each second makes another: those who read slowly would hold them all.
    """

    isLeaf = True
    log = make_logger()

    def __init__(self, pages: Pages) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pages = pages
        self._answering = 0

    def render_GET(self, request: Request) -> int:
        """Answer once the page is there; HEAD comes here too."""
        if self._answering >= MOST_ANSWERS:
            request.respond(503, [(b"Retry-After", b"1"), (b"Content-Type", b"text/plain")], _TOO_MANY)
            return NOT_DONE_YET
        self._answering += 1
        answering = start(self._answer(request))
        if not answering.called:
            request.on_left(answering.cancel)
        answering.addBoth(self._answered)
        answering.addErrback(self._abandon, request)
        return NOT_DONE_YET

    async def _answer(self, request: Request) -> None:
        form = negotiate(b",".join(request.header_map.get(b"accept", [])).decode("latin-1"))
        page = await self._pages.get(form)
        headers = [(b"Content-Type", form.content_type), (b"Cache-Control", b"no-store")]
        if request.method == b"HEAD":
            request.respond(200, headers, page)
            return
        request.start(200, [*headers, (b"Content-Length", b"%d" % len(page))])
        await pump(PacedBody(page), request)
        request.finish()

    def _answered(self, result: Failure | None) -> Failure | None:
        self._answering -= 1
        return result

    def _abandon(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            request.abort()
        else:
            request.processingFailed(failure)
