"""Whether this process lives, and whether it should be sent requests: for balancers, not for people."""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from s3orchestrator import __version__
from s3orchestrator.web.request import Request


class Health(Resource):
    """
    `/health` says that the process is alive, `/health/ready` whether it takes requests.

    Neither asks for credentials or counts against any limit. `ready` is set once start-up
    is complete, and taken back before shutdown. `is_degraded` tells whether reads must do
    without the ledger at the moment, `is_fit` whether this process may do all of its work.
    """

    isLeaf = True

    def __init__(
        self, is_degraded: Callable[[], bool] = lambda: False, is_fit: Callable[[], bool] = lambda: True
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._is_fit = is_fit
        self._is_degraded = is_degraded
        self.ready = False

    def render_GET(self, request: Request) -> int:
        """Answer at once; HEAD comes here too."""
        if request.path.startswith(b"/health/ready"):
            status, word = (200, "ready") if self.ready and self._is_fit() else (503, "not ready")
            answer = {"status": word}
        else:
            status, word = 200, "degraded" if self._is_degraded() else "ok"
            answer = {"status": word, "version": __version__}
        headers = [(b"Content-Type", b"application/json"), (b"Cache-Control", b"no-store")]
        request.respond(status, headers, json.dumps(answer).encode())
        return NOT_DONE_YET
