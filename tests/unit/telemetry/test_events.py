"""The guide's tables of events against the code."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import s3orchestrator
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.web.admission import AdmissionRejected, LoadShed
from s3orchestrator.web.rate_limit import RateLimitRejected
from s3orchestrator.web.s3.access import BucketMismatch
from s3orchestrator.web.s3.rejections import ADDRESSING, AUTHENTICATING, rejection

ROOT = Path(s3orchestrator.__file__).parent
GUIDE = ROOT.parent / "docs" / "operating" / "logging.rst"
AUDITED = re.compile(r"""\baudit\(\s*"([\w.]+)""")
RECORDED = re.compile(r"""\b(?:Record|_record|_recorded)\(\s*"(\w+)""")
QUEUED = re.compile(r"""\b_audit\("(\w+)""")


class EventTests(SynchronousTestCase):
    def events(self) -> set[str]:
        found: set[str] = set()
        for path in ROOT.rglob("*.py"):
            text = path.read_text()
            found.update(AUDITED.findall(text))
            found.update(f"storage.{name}" for name in RECORDED.findall(text))
            found.update(f"cleanup_queue.{name}" for name in QUEUED.findall(text))
        named = {kind.__name__ for kind in (RateLimitRejected, LoadShed, AdmissionRejected, BucketMismatch)}
        named |= {ADDRESSING, AUTHENTICATING, rejection(S3Error("MethodNotAllowed"), "")}
        return found | {f"s3.{name}" for name in named}

    def test_documented(self) -> None:
        """
        Every event that the program names is in the guide, and the guide names no other.
        """
        said = set(re.findall(r"``([a-z0-9_]+\.[A-Za-z_]+)``", GUIDE.read_text()))
        said -= {"server.log_level", "s3.GetObject", "admin.Refused", "journald.conf"}
        events = self.events()
        self.assertGreater(len(events), 20)
        self.assertEqual(said, events)
