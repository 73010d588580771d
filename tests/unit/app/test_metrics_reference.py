"""The page of all metrics."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import s3orchestrator
from s3orchestrator.app.metrics_reference import declared, metrics_page

PACKAGE = Path(s3orchestrator.__file__).parent
_DECLARATION = re.compile(r'\b(?:Counter|Gauge|Histogram|Summary)\(\s*"(s3o_[a-z_]+)"')


class MetricsReferenceTests(SynchronousTestCase):
    def test_complete(self) -> None:
        """Every metric that the source declares is there; none is in a module that the page does not see."""
        sources = [path.read_text("utf-8") for path in PACKAGE.glob("**/*.py")]
        written = {name for source in sources for name in _DECLARATION.findall(source)}
        self.assertGreater(len(written), 20)
        self.assertLessEqual(written, {metric.name for metric in declared()})

    def test_page(self) -> None:
        """A row has the name as it is scraped, the type, the labels, the meaning and the buckets."""
        page = metrics_page()
        self.assertIn(
            "   * - ``s3o_cleanup_dlq_enqueued_total``\n     - counter\n     - ``backend``\n"
            "     - What a backend has refused to delete ten times.\n",
            page,
        )
        self.assertRegex(
            page, r"``s3o_backend_duration_seconds``\n     - histogram\n.*\n.* Up to 0\.01, 0\.025,"
        )

    def test_said_well(self) -> None:
        """What is told of each is a sentence; there is more to say than its name."""
        for metric in declared():
            self.assertTrue(metric.meaning.endswith("."), metric)
            self.assertNotIn("``", metric.meaning)
