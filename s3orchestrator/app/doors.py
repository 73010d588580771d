"""Where clients come in: the listener, the resource tree, and what is in front of the engine."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from random import Random
from typing import Any, Protocol

from attrs import define, field
from twisted.web.resource import Resource

from s3orchestrator.app.certificates import Certificates
from s3orchestrator.app.core import Core
from s3orchestrator.app.office import IOffice
from s3orchestrator.app.process import most_connections
from s3orchestrator.app.reloading import TakeOver, nobody_else
from s3orchestrator.config.features import RateLimitConfig
from s3orchestrator.config.live import Live
from s3orchestrator.config.sections import Config
from s3orchestrator.config.server import ListenerConfig
from s3orchestrator.config.shares import part_of, part_of_rate
from s3orchestrator.telemetry.http import TRAFFIC
from s3orchestrator.web.admission import Admission, Pool
from s3orchestrator.web.health import Health
from s3orchestrator.web.inherited import Inherited
from s3orchestrator.web.limits import Limits
from s3orchestrator.web.listeners import Listener, open_listener, tell_of_unused
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


class IDoors(Protocol):
    """Where clients come in, whoever serves them."""

    @property
    def certificates(self) -> Certificates:
        """To be looked at now and then."""

    @property
    def endpoints(self) -> Sequence[str]:
        """The URLs that clients use; once open."""

    async def open(self) -> None:
        """
        Listen everywhere, and return once clients are served.

        :raises OrchestratorError: it cannot be; nobody listens then.
        """

    def prepare_certificates(self) -> Callable[[], None]:
        """Read the files again that are in use; see `Doors`."""

    def prepare_others(self, new: Config) -> Coroutine[Any, Any, TakeOver]:
        """Have other processes do what `TakingOver.prepare` does here."""

    def say_ready(self, ready: bool) -> None:
        """Tell balancers whether to send requests."""

    async def close(self) -> None:
        """Refuse new connections, and let what is in flight finish within a limit."""


@define(eq=False)
class Doors:
    """
    Listens at `places`, from `open` to `close`; `inherited` are sockets that were opened for us.

    `share` is how many processes serve the same clients: each lets in as many of them as are its part.
    `tells_of_certificates`: one process does so for all.
    """

    _core: Core
    _health: Health
    _office: IOffice
    _places: Sequence[ListenerConfig]
    _inherited: Inherited
    _share: int = 1
    _tells_of_certificates: bool = True
    certificates: Certificates = field(init=False)
    _site: StreamingSite = field(init=False)
    _listeners: list[Listener] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.certificates = Certificates(lambda: self._tls, self._core.reactor)
        server = self._config.server
        limits = Limits(
            read_header_timeout=server.read_header_timeout,
            read_timeout=server.read_timeout,
            write_timeout=server.write_timeout,
            idle_timeout=server.idle_timeout,
        )
        s3: Resource = Elsewhere() if self._config.mode == "worker" else self._s3()
        office = self._office
        root = Root(self._health, s3, server.domains, office.admin, office.metrics, self._rate_limit_settings)
        self._site = StreamingSite(
            root, limits, self._core.reactor, most_connections(), TRAFFIC, self._core.splicer
        )

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

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._site.connections)

    async def open(self) -> None:
        """
        Listen everywhere.

        :raises ListenError: an address is somebody else's, or not ours to have; nobody listens then.
        :raises TlsError: a certificate cannot be used; likewise.
        """
        try:
            self._office.open(self._inherited)
            for listener in self._places:
                self._listeners.append(
                    open_listener(self._core.reactor, listener, self._site, self._inherited)
                )
        except BaseException:
            await self._close_listeners()
            await self._office.close()
            raise
        tell_of_unused(self._inherited)
        self._look_at_certificates()

    def prepare_certificates(self) -> Callable[[], None]:
        """
        Read the files again that are in use: their names are as they were at the start.

        :returns: what takes them over, and cannot fail.
        :raises TlsError: they cannot be used; nothing has changed.
        """
        return prepare(self._tls, self._look_at_certificates)

    def prepare_others(self, new: Config) -> Coroutine[Any, Any, TakeOver]:
        """See `Gate`; here nobody else is to be asked."""
        return nobody_else(new)

    def say_ready(self, ready: bool) -> None:
        """Tell balancers whether to send requests."""
        self._health.ready = ready

    async def close(self) -> None:
        """Refuse new connections, and let what is in flight finish within a limit."""
        await self.stop_listening()
        await self._office.stop()
        await self._site.drain(DRAIN_LIMIT)
        await self._office.close()

    async def stop_listening(self) -> None:
        """Refuse new connections, or leave them to others at the same socket; may be called again."""
        for listener in self._listeners:
            listener.accept_waiting()
        await self._close_listeners()

    async def _close_listeners(self) -> None:
        for listener in self._listeners:
            await listener.close()

    def _look_at_certificates(self) -> None:
        if self._tells_of_certificates:
            self.certificates.look()

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
            RateLimit(core.live.derived(self._part_of_rate), core.reactor),
            self._admission(),
            server.domains,
            core.reactor,
            Patience(core.reactor),
        )

    def _admission(self) -> Admission:
        server, clock, chance = self._config.server, self._core.reactor, Random().random

        def pool(limit: int) -> Pool:
            capacity = part_of(limit, self._share)
            return Pool(capacity, server.admission_wait, server.load_shed_threshold, chance, clock)

        if server.limits_apart:
            return Admission(pool(server.max_concurrent_reads), pool(server.max_concurrent_writes))
        both = pool(server.max_concurrent_requests)
        return Admission(both, both)

    def _part_of_rate(self, config: Config) -> RateLimitConfig:
        return part_of_rate(config.rate_limit, self._share)


def prepare(all_of_them: Sequence[ServerTls], look: Callable[[], object]) -> Callable[[], None]:
    """
    Read the files of several again; what is returned takes them over, and then calls `look`.

    :raises TlsError: one cannot be used; nothing has changed.
    """
    prepared = [tls.prepare() for tls in all_of_them]

    def take_over() -> None:
        for each in prepared:
            each()
        look()

    return take_over


def _most_uploads(config: Config) -> Mapping[str, int]:
    """How many multipart uploads may be open in each bucket."""
    return {bucket.name: bucket.max_multipart_uploads for bucket in config.buckets}
