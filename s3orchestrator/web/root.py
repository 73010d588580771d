"""The root of the resource tree: our own few paths, and everything else is S3's."""

from __future__ import annotations

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as TwistedRequest

from s3orchestrator.config.features import RateLimitConfig
from s3orchestrator.config.live import Live
from s3orchestrator.protocol.addressing import bucket_of_host
from s3orchestrator.web.admin.routing import BASE
from s3orchestrator.web.client_address import HEADER, client_address
from s3orchestrator.web.request import Request

HEALTH_PATHS = frozenset({b"/health", b"/health/", b"/health/ready"})


class Elsewhere(Resource):
    """Stands where the S3 API is in other processes: this one works in the background only."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def render(self, request: TwistedRequest) -> int:
        """Say that there is nothing to be had here."""
        assert isinstance(request, Request)
        request.respond(404, [(b"Content-Type", b"text/plain")], b"This instance serves no objects.\n")
        return NOT_DONE_YET


class Root(Resource):
    """
    Sends a request to health, to the metrics or the admin API if they are here, or to S3, by its raw path.

    Nothing is normalised on the way: `//` and `..` belong to keys. In a virtual-hosted
    request `/health`, `/admin/api/` and the path of the metrics are keys like any other. In others they
    are nobody's: no bucket may have these names.

    What balancers and Prometheus ask again and again is not counted among what clients ask. `settings`
    name the proxies that are believed when they say for whom they ask.
    """

    isLeaf = True

    def __init__(
        self,
        health: Resource,
        s3: Resource,
        domains: tuple[str, ...],
        admin: Resource | None = None,
        metrics: tuple[bytes, Resource] | None = None,
        settings: Live[RateLimitConfig] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._health = health
        self._s3 = s3
        self._domains = domains
        self._admin = admin
        self._metrics_path, self._metrics = metrics or (b"", s3)
        self._settings = settings

    def render(self, request: TwistedRequest) -> int | bytes:
        """Let the one who is meant answer."""
        assert isinstance(request, Request)
        whom = self._whom(request)
        request.is_counted = whom is self._s3 or whom is self._admin
        forwarded = request.header_map.get(HEADER)
        if forwarded is not None and self._settings is not None:
            trusted = self._settings.now.trusted_proxies
            request.client_address = client_address(request.client_address, forwarded, trusted)
        answer: int | bytes = whom.render(request)
        return answer

    def _whom(self, request: Request) -> Resource:
        if request.path in HEALTH_PATHS and not self._is_virtual_hosted(request):
            return self._health
        if request.path == self._metrics_path and not self._is_virtual_hosted(request):
            return self._metrics
        if request.path.startswith(BASE) and self._admin is not None:
            return self._s3 if self._is_virtual_hosted(request) else self._admin
        return self._s3

    def _is_virtual_hosted(self, request: Request) -> bool:
        host = request.header_map.get(b"host", [b""])[0].decode("latin-1")
        return bool(self._domains) and bucket_of_host(host, self._domains) is not None
