"""Where clients come in: the listener, the resource tree, and what is in front of the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from attrs import define, field
from twisted.web.resource import Resource

from s3orchestrator.app.administration import Administration
from s3orchestrator.app.background import Background
from s3orchestrator.app.core import Core
from s3orchestrator.app.monitoring import Monitoring
from s3orchestrator.app.process import most_connections
from s3orchestrator.bodies.sockets import Port
from s3orchestrator.concurrency import start
from s3orchestrator.config.features import RateLimitConfig
from s3orchestrator.config.live import Live
from s3orchestrator.config.sections import Config
from s3orchestrator.telemetry.http import TRAFFIC
from s3orchestrator.web.admission import Admission, Pool
from s3orchestrator.web.health import Health
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.rate_limit import RateLimit
from s3orchestrator.web.root import Elsewhere, Root
from s3orchestrator.web.s3.access import AccessControl, Credentials
from s3orchestrator.web.s3.dispatch import dispatch_table
from s3orchestrator.web.s3.multipart import MultipartOperations
from s3orchestrator.web.s3.object import ObjectOperations
from s3orchestrator.web.s3.patience import Patience
from s3orchestrator.web.s3.resource import S3Resource
from s3orchestrator.web.s3.service import BucketOperations
from s3orchestrator.web.site import StreamingSite, listen
from s3orchestrator.web.tls import ServerTls

DRAIN_LIMIT = 30.0  # seconds that requests in flight have to finish once we are told to stop


@define(eq=False)
class Doors:
    """Listens, from `open` to `close`."""

    _core: Core
    _background: Background
    _health: Health = field(init=False)
    _site: StreamingSite = field(init=False)
    _port: Port | None = field(default=None, init=False)
    _tls: ServerTls | None = field(default=None, init=False)
    _administration: Administration = field(init=False)
    _monitoring: Monitoring = field(init=False)

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
        self._site = StreamingSite(root, limits, self._core.reactor, most_connections(), TRAFFIC)

    @property
    def _config(self) -> Config:
        return self._core.config

    @property
    def _rate_limit_settings(self) -> Live[RateLimitConfig]:
        return Live.fixed(self._config).part(lambda config: config.rate_limit)

    @property
    def endpoint(self) -> str:
        """The URL that clients use; once open."""
        assert self._port is not None
        address = self._port.getHost()  # type: ignore[no-untyped-call]
        host = "127.0.0.1" if address.host in ("0.0.0.0", "::") else address.host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self._config.server.tls.enabled else 'http'}://{host}:{address.port}"

    def open(self) -> None:
        """:raises CannotListenError: the address is somebody else's, or not ours to have."""
        self._monitoring.open()
        try:
            self._open()
        except BaseException:
            start(self._monitoring.close())
            raise

    def _open(self) -> None:
        server = self._config.server
        if server.tls.enabled:
            self._tls = ServerTls(
                server.tls.cert_file, server.tls.key_file, server.tls.min_version, server.tls.client_ca_file
            )
        self._port = listen(self._core.reactor, server.listen.host, server.listen.port, self._site, self._tls)

    def say_ready(self, ready: bool) -> None:
        """Tell balancers whether to send requests."""
        self._health.ready = ready

    async def close(self) -> None:
        """Refuse new connections, and let what is in flight finish within a limit."""
        if self._port is not None:
            await self._port.stopListening()  # type: ignore[no-untyped-call]
            await self._administration.stop()
            await self._site.drain(DRAIN_LIMIT)
            await self._monitoring.close()

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

    def prepare_reload(self, new: Config) -> Callable[[], None]:
        """
        Read the certificates again.

        :returns: what takes them over, and cannot fail.
        :raises TlsError: they cannot be used; nothing has changed.
        """
        return self._tls.prepare() if self._tls is not None else _nothing

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


def _nothing() -> None:
    """There are no certificates."""
