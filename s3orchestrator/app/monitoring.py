"""What Prometheus is shown, and where: beside the buckets, or at a listener of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.web.resource import Resource

from s3orchestrator.app.core import Core
from s3orchestrator.config.features import MetricsConfig
from s3orchestrator.config.server import ListenerConfig
from s3orchestrator.telemetry import build
from s3orchestrator.telemetry.exposition import Families
from s3orchestrator.telemetry.lag import ReactorLag
from s3orchestrator.web.inherited import Inherited
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.listeners import Listener, open_listener
from s3orchestrator.web.metrics import MetricsPage, Pages, Rendering
from s3orchestrator.web.root import Elsewhere, Root
from s3orchestrator.web.site import StreamingSite

# Scrapers are few, and their requests short.
LIMITS = Limits(read_header_timeout=10.0, read_timeout=10.0, write_timeout=30.0, idle_timeout=120.0)
MOST_CONNECTIONS = 100
DRAIN_LIMIT = 1.0  # seconds for a page that is being sent when we are told to stop


@define(eq=False)
class Monitoring:
    """
    The page of metrics, in all modes; `families` are what it shows.

    From `open` to `close` it is measured how late the reactor is, and the listener is there if it has one.
    """

    _core: Core
    _health: Resource
    _families: Callable[[], Awaitable[Families]]
    pages: Pages = field(init=False)
    _page: MetricsPage = field(init=False)
    _lag: ReactorLag = field(init=False)
    _site: StreamingSite | None = field(default=None, init=False)
    _listener: Listener | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        reactor = self._core.reactor
        build.show()
        self._lag = ReactorLag(reactor)
        self.pages = Pages(Rendering(self._families, reactor).page, reactor)
        self._page = MetricsPage(self.pages)

    @property
    def _settings(self) -> MetricsConfig:
        return self._core.config.telemetry.metrics

    @property
    def _mounted(self) -> tuple[bytes, Resource]:
        return self._settings.path.encode(), self._page

    def beside_buckets(self) -> tuple[bytes, Resource] | None:
        """Return path and page for the listener that clients use; None if it is not to be there."""
        settings = self._settings
        return self._mounted if settings.enabled and not settings.listen else None

    def open(self, inherited: Inherited) -> None:
        """:raises ListenError: the address is somebody else's, or not ours to have."""
        settings, reactor = self._settings, self._core.reactor
        if not settings.enabled:
            return
        self._lag.start()
        if not settings.listen:
            return
        root = Root(self._health, Elsewhere(), (), metrics=self._mounted)
        self._site = StreamingSite(root, LIMITS, reactor, MOST_CONNECTIONS)
        self._listener = open_listener(
            reactor, ListenerConfig(address=settings.listen), self._site, inherited
        )

    async def close(self) -> None:
        """Go last: how a process stops is of interest, too."""
        self._lag.stop()
        if self._listener is not None and self._site is not None:
            await self._listener.close()
            await self._site.drain(DRAIN_LIMIT)
