"""Where clients come in: the listener, the resource tree, and what is in front of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random

from attrs import define, field
from twisted.web.resource import Resource

from s3orchestrator.app.administration import Administration
from s3orchestrator.app.background import HOUR, Background
from s3orchestrator.app.certificates import Certificates
from s3orchestrator.app.core import Core
from s3orchestrator.app.monitoring import Monitoring
from s3orchestrator.app.process import most_connections
from s3orchestrator.config.features import RateLimitConfig
from s3orchestrator.config.live import Live
from s3orchestrator.config.sections import Config
from s3orchestrator.services.periodic import Periodic
from s3orchestrator.telemetry.http import TRAFFIC
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.web.admission import Admission, Pool
from s3orchestrator.web.health import Health
from s3orchestrator.web.inherited import Inherited
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.listeners import Listener, open_listener
from s3orchestrator.web.rate_limit import RateLimit
from s3orchestrator.web.root import Elsewhere, Root
from s3orchestrator.web.s3.access import AccessControl, Credentials
from s3orchestrator.web.s3.dispatch import dispatch_table
from s3orchestrator.web.s3.multipart import MultipartOperations
from s3orchestrator.web.s3.object import ObjectOperations
from s3orchestrator.web.s3.patience import Patience
from s3orchestrator.web.s3.resource import S3Resource
from s3orchestrator.web.s3.service import BucketOperations
from s3orchestrator.web.site import StreamingSite
from s3orchestrator.web.tls import ServerTls

DRAIN_LIMIT = 30.0  # seconds that requests in flight have to finish once we are told to stop


@define(eq=False)
class Doors:
    """Listens, from `open` to `close`; `inherited` are sockets that were opened for us."""

    log = make_logger()
    _core: Core
    _background: Background
    _inherited: Inherited = field(factory=Inherited)
    _health: Health = field(init=False)
    _site: StreamingSite = field(init=False)
    _listeners: list[Listener] = field(factory=list, init=False)
    _administration: Administration = field(init=False)
    _monitoring: Monitoring = field(init=False)
    _certificates: Certificates = field(init=False)

    def __attrs_post_init__(self) -> None:
        server = self._config.server
        limits = Limits(
            read_header_timeout=server.read_header_timeout,
            read_timeout=server.read_timeout,
            write_timeout=server.write_timeout,
            idle_timeout=server.idle_timeout,
        )
        database = self._core.ledger.database
        self._health = Health(lambda: database.is_away, lambda: database.takes_changes)
        s3: Resource = Elsewhere() if self._config.mode == "worker" else self._s3()
        self._administration = Administration(self._core, self._background)
        self._monitoring = Monitoring(self._core, self._health)
        root = Root(
            self._health,
            s3,
            server.domains,
            self._administration.resource(),
            self._monitoring.beside_buckets(),
            self._rate_limit_settings,
        )
        self._certificates = Certificates(lambda: self._tls, self._core.reactor)
        if any(listener.tls.enabled for listener in server.places):
            looking = Periodic("certificates", HOUR, self._certificates.run_once, self._core.reactor)
            self._background.add(looking)
        self._site = StreamingSite(root, limits, self._core.reactor, most_connections(), TRAFFIC)

    @property
    def _config(self) -> Config:
        return self._core.config

    @property
    def _tls(self) -> Sequence[ServerTls]:
        return [listener.tls for listener in self._listeners if listener.tls is not None]

    @property
    def _rate_limit_settings(self) -> Live[RateLimitConfig]:
        return self._core.live.part(lambda config: config.rate_limit)

    @property
    def endpoints(self) -> Sequence[str]:
        """The URLs that clients use; once open."""
        return [endpoint for listener in self._listeners for endpoint in listener.endpoints]

    async def open(self) -> None:
        """
        Listen everywhere.

        :raises ListenError: an address is somebody else's, or not ours to have; nobody listens then.
        :raises TlsError: a certificate cannot be used; likewise.
        """
        try:
            self._monitoring.open(self._inherited)
            for listener in self._config.server.places:
                self._listeners.append(
                    open_listener(self._core.reactor, listener, self._site, self._inherited)
                )
        except BaseException:
            await self._stop_listening()
            await self._monitoring.close()
            raise
        if self._inherited.names:
            self.log.warn(
                "passed sockets are not used: {names}; no listener is at systemd: and that name",
                names=", ".join(self._inherited.names),
            )
        self._certificates.look()

    def prepare_certificates(self) -> Callable[[], None]:
        """
        Read the files again that are in use: their names are as they were at the start.

        :returns: what takes them over, and cannot fail.
        :raises TlsError: they cannot be used; nothing has changed.
        """
        prepared = [tls.prepare() for tls in self._tls]

        def take_over() -> None:
            for each in prepared:
                each()
            self._certificates.look()

        return take_over

    def say_ready(self, ready: bool) -> None:
        """Tell balancers whether to send requests."""
        self._health.ready = ready

    async def close(self) -> None:
        """Refuse new connections, and let what is in flight finish within a limit."""
        await self._stop_listening()
        await self._administration.stop()
        await self._site.drain(DRAIN_LIMIT)
        await self._monitoring.close()

    async def _stop_listening(self) -> None:
        for listener in self._listeners:
            await listener.close()

    def _s3(self) -> S3Resource:
        core, server = self._core, self._config.server
        access = AccessControl(core.live.derived(Credentials.of), core.objects.catalog)
        dispatch = dispatch_table(
            BucketOperations(core.objects, access),
            ObjectOperations(core.objects, access, server.max_object_size),
            MultipartOperations(
                core.objects,
                access,
                server.max_object_size,
                core.live.derived(_most_uploads),
            ),
        )
        return S3Resource(
            dispatch,
            access,
            RateLimit(self._rate_limit_settings, core.reactor),
            self._admission(),
            server.domains,
            core.reactor,
            Patience(core.reactor),
        )

    def _admission(self) -> Admission:
        server, clock, chance = self._config.server, self._core.reactor, Random().random

        def pool(capacity: int) -> Pool:
            return Pool(capacity, server.admission_wait, server.load_shed_threshold, chance, clock)

        if server.limits_apart:
            return Admission(pool(server.max_concurrent_reads), pool(server.max_concurrent_writes))
        both = pool(server.max_concurrent_requests)
        return Admission(both, both)


def _most_uploads(config: Config) -> Mapping[str, int]:
    """How many multipart uploads may be open in each bucket."""
    return {bucket.name: bucket.max_multipart_uploads for bucket in config.buckets}
