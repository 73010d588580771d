"""What is said of certificates, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import REGISTRY
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.certificates import Certificates, warning_of
from s3orchestrator.web.tls import Held, ServerTls
from tests.unit.web.certificates import Authority

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
HELD = Held("/etc/ssl/s3.pem", frozenset(), BEGIN, END)


class WarningTests(SynchronousTestCase):
    def test_good(self) -> None:
        """Of a certificate that is good for more than a day nothing is said."""
        self.assertEqual(warning_of(HELD, BEGIN), "")
        self.assertEqual(warning_of(HELD, END - timedelta(hours=24)), "")

    def test_ends_soon(self) -> None:
        """Of one that ends within a day it is said when."""
        said = warning_of(HELD, END - timedelta(hours=23, minutes=59))
        self.assertIn("/etc/ssl/s3.pem ends within 24 hours, at 2026-04-01 00:00 UTC", said)

    def test_has_ended(self) -> None:
        """Of one that has ended, that clients refuse it."""
        self.assertIn("has ended, at 2026-04-01 00:00 UTC", warning_of(HELD, END))

    def test_not_yet(self) -> None:
        """Of one that is not good yet, since when it will be."""
        self.assertIn("not good before 2026-01-01", warning_of(HELD, BEGIN - timedelta(seconds=1)))


class LookingTests(SynchronousTestCase):
    def expiry(self, file: str) -> float | None:
        """What is shown of a file."""
        return REGISTRY.get_sample_value("s3o_tls_certificate_expiry_timestamp_seconds", {"file": file})

    def test_look(self) -> None:
        """Each file's end is shown as long as it is in use, and renewed ones show the new end."""
        directory = Path(self.mktemp())
        directory.mkdir()
        authority, clock = Authority(), Clock()
        clock.advance((END - timedelta(hours=1)).timestamp())
        cert_file, key_file = authority.issue("short", directory, period=(BEGIN, END))
        in_use = [ServerTls(cert_file, key_file)]
        certificates = Certificates(lambda: in_use, clock)
        with capturedLogs() as said:
            certificates.look()
            certificates.look()
        (in_use_now,) = [each for each in map(formatEvent, said) if "in use" in each]
        self.assertEqual(in_use_now, f"what is in {cert_file} is in use, good until 2026-04-01 00:00 UTC")
        self.assertEqual(self.expiry(cert_file), END.timestamp())
        later = END + timedelta(days=90)
        authority.issue("short", directory, period=(BEGIN, later))
        in_use[0].reload()
        certificates.look()
        self.assertEqual(self.expiry(cert_file), later.timestamp())
        in_use.clear()
        certificates.look()
        self.assertIsNone(self.expiry(cert_file))
