"""Which path of the admin API means what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.web.admin.calls import Answer, Ask, Refused
from s3orchestrator.web.admin.routing import BASE, Route, find


async def _nothing(ask: Ask) -> Answer:
    return Answer({})


ROUTES = (
    Route("Status", "GET", "status", _nothing),
    Route("RunWorker", "POST", "workers/{name}/run", _nothing),
    Route("LogLevel", "GET", "log-level", _nothing),
    Route("SetLogLevel", "PUT", "log-level", _nothing),
    Route("RetryAll", "POST", "queue/retry", _nothing),
    Route("Retry", "POST", "queue/{id}/retry", _nothing),
)


class RoutingTests(SynchronousTestCase):
    def found(self, method: str, path: bytes) -> tuple[str, dict[str, str]]:
        route, names = find(ROUTES, method, BASE + path)
        return route.verb, names

    def refused(self, method: str, path: bytes) -> Refused:
        return self.assertRaises(Refused, find, ROUTES, method, BASE + path)

    def test_found(self) -> None:
        """By path and method; names in the path are handed on, decoded."""
        self.assertEqual(self.found("GET", b"status"), ("Status", {}))
        self.assertEqual(self.found("PUT", b"log-level"), ("SetLogLevel", {}))
        self.assertEqual(self.found("POST", b"queue/retry"), ("RetryAll", {}))
        self.assertEqual(self.found("POST", b"queue/7/retry"), ("Retry", {"id": "7"}))
        self.assertEqual(self.found("POST", b"workers/a%20%C3%BC/run"), ("RunWorker", {"name": "a ü"}))

    def test_encoded_slash(self) -> None:
        """An encoded slash belongs to a name, and takes no path apart."""
        self.assertEqual(self.found("POST", b"workers/a%2Fb/run"), ("RunWorker", {"name": "a/b"}))
        self.assertEqual(self.refused("POST", b"workers%2Fa/run").status, 404)

    def test_not_found(self) -> None:
        """Nothing is made of paths that are almost right."""
        for path in (b"", b"/", b"status/", b"/status", b"status//", b"./status", b"x/../status"):
            self.assertEqual(self.refused("GET", path).status, 404, path)

    def test_other_method(self) -> None:
        """The answer to the wrong method names the right ones."""
        for method in ("DELETE", "HEAD", "get", "OPTIONS"):
            refused = self.refused(method, b"log-level")
            self.assertEqual((refused.status, refused.headers), (405, {"Allow": "GET, PUT"}))

    def test_not_utf8(self) -> None:
        """Bytes that are no text are refused."""
        self.assertEqual(self.refused("POST", b"workers/%FF/run").status, 400)

    @given(st.binary(max_size=60), st.sampled_from(["GET", "PUT", "POST", "TRACE"]))
    def test_anything(self, path: bytes, method: str) -> None:
        """Whatever the path, it is found or refused."""
        try:
            self.found(method, path)
        except Refused as refused:
            self.assertIn(refused.status, (400, 404, 405))
