"""What balancers are told."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator import __version__
from s3orchestrator.web.health import Health
from tests.unit.web.serving import Served


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.degraded = False
        self.fit = True
        self.health = Health(lambda: self.degraded, lambda: self.fit)
        self.served = Served(self.health)

    def get(self, path: bytes, method: bytes = b"GET") -> tuple[bytes, bytes]:
        """Status line and body."""
        self.served.send(method + b" " + path + b" HTTP/1.1\r\nHost: h\r\n\r\n")
        head, _, body = self.served.received().partition(b"\r\n\r\n")
        return head.split(b"\r\n")[0], body

    def test_alive(self) -> None:
        """A process that answers is well, ready or not, and says which version it is."""
        line, body = self.get(b"/health")
        self.assertEqual(line, b"HTTP/1.1 200 OK")
        self.assertEqual(json.loads(body), {"status": "ok", "version": __version__})

    def test_degraded(self) -> None:
        """Without its ledger it is still alive."""
        self.degraded = True
        line, body = self.get(b"/health")
        self.assertEqual(line, b"HTTP/1.1 200 OK")
        self.assertEqual(json.loads(body)["status"], "degraded")

    def test_ready(self) -> None:
        """It is ready between start-up and shutdown."""
        self.assertEqual(
            self.get(b"/health/ready"), (b"HTTP/1.1 503 Service Unavailable", b'{"status": "not ready"}')
        )
        self.health.ready = True
        self.assertEqual(self.get(b"/health/ready"), (b"HTTP/1.1 200 OK", b'{"status": "ready"}'))

    def test_unfit(self) -> None:
        """One that may not do all of its work is sent no requests, and goes on living."""
        self.health.ready, self.fit = True, False
        self.assertEqual(self.get(b"/health/ready")[0], b"HTTP/1.1 503 Service Unavailable")
        self.assertEqual(self.get(b"/health")[0], b"HTTP/1.1 200 OK")

    def test_other_methods(self) -> None:
        """HEAD works as well, others are refused."""
        self.assertEqual(self.get(b"/health", b"HEAD"), (b"HTTP/1.1 200 OK", b""))
        self.assertEqual(self.get(b"/health", b"DELETE")[0], b"HTTP/1.1 405 Method Not Allowed")
