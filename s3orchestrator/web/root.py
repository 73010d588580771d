"""The root of the resource tree: our own few paths, and everything else is S3's."""

from __future__ import annotations

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as TwistedRequest

from s3orchestrator.protocol.addressing import bucket_of_host
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
    Sends a request to health or to S3, by its raw path.

    Nothing is normalised on the way: `//` and `..` belong to keys. In a virtual-hosted
    request `/health` is a key like any other.
    """

    isLeaf = True

    def __init__(self, health: Resource, s3: Resource, domains: tuple[str, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._health = health
        self._s3 = s3
        self._domains = domains

    def render(self, request: TwistedRequest) -> int | bytes:
        """Let the one who is meant answer."""
        assert isinstance(request, Request)
        if request.path in HEALTH_PATHS and not self._is_virtual_hosted(request):
            answer: int | bytes = self._health.render(request)
            return answer
        answer = self._s3.render(request)
        return answer

    def _is_virtual_hosted(self, request: Request) -> bool:
        host = request.header_map.get(b"host", [b""])[0].decode("latin-1")
        return bool(self._domains) and bucket_of_host(host, self._domains) is not None
