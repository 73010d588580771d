"""The alert rules: promtool understands them, they fire when they should, and they ask for what is there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import yaml
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.metrics_reference import Declared, declared
from tests.integration.scraping import Scraped, promtool, scrapees, traffic
from tests.running import wait_until

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RULES = ROOT / "etc" / "prometheus" / "s3orchestrator-alerts.yml"
GUIDE = ROOT / "docs" / "operating" / "monitoring.rst"

OF_PROMETHEUS = {"job", "instance"}  # what it adds to each series it scrapes

_NAME = re.compile(r"\b(?:s3o|process|python)_[a-z0-9_]+\b")
_SELECTOR = re.compile(r"\b([a-z0-9_]+)\{([^}]*)\}")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_BY = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


def rules() -> list[dict[str, Any]]:
    """Every rule of the file."""
    document = yaml.safe_load(RULES.read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def names_in(expression: str) -> set[str]:
    """The metrics that an expression names."""
    without_strings = re.sub(r'"[^"]*"', '""', expression)
    return set(_NAME.findall(without_strings))


def labels_in(expression: str) -> set[str]:
    """The labels that an expression selects or groups by."""
    selected = {label for _, inside in _SELECTOR.findall(expression) for label in _MATCHER.findall(inside)}
    grouped = {label.strip() for inside in _BY.findall(expression) for label in inside.split(",")}
    return (selected | grouped) - {""}


class ToolTests(SynchronousTestCase):
    def test_rules(self) -> None:
        """promtool understands every rule."""
        checked = promtool("check", "rules", str(RULES))
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertIn(f"{len(rules())} rules found", checked.stdout)

    def test_situations(self) -> None:
        """In each situation of the files the right alerts fire, and no others."""
        with TemporaryDirectory() as folder:
            for file in (RULES, HERE / "alerts.yml", HERE / "alerts-month.yml"):
                shutil.copy(file, folder)
            tested = promtool("test", "rules", "alerts.yml", "alerts-month.yml", directory=Path(folder))
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)

    def test_all_are_tried(self) -> None:
        """There is a situation for each alert."""
        situations = "".join((HERE / name).read_text("utf-8") for name in ("alerts.yml", "alerts-month.yml"))
        for rule in rules():
            self.assertIn(rule["alert"], situations)

    def test_told(self) -> None:
        """Each alert says how bad it is and what to do, and the guide has more under its name."""
        guide = GUIDE.read_text("utf-8")
        for rule in rules():
            self.assertIn(rule["labels"]["severity"], ("critical", "warning", "info"))
            self.assertGreater(len(rule["annotations"]["description"]), 60)
            self.assertEqual(rule["annotations"]["runbook"], f"Monitoring, {rule['alert']}")
            self.assertIn(f"``{rule['alert']}``", guide)
        told = set(re.findall(r"``(S3Orchestrator[A-Za-z]+)``", guide))
        self.assertEqual(told, {rule["alert"] for rule in rules()})


class ExpressionTests(SynchronousTestCase):
    def test_taken_apart(self) -> None:
        """The test's own eyes: it sees the names and labels of an expression, and no more."""
        expression = (
            'label_replace(max by (job, backend) (s3o_a_total{x="s3o_no", y=~"5.."}) / s3o_b,'
            ' "l", "c", "", "") unless on (job) rate(s3o_c_bucket[5m]) and on () hour() > 3 or up == 0'
        )
        self.assertEqual(names_in(expression), {"s3o_a_total", "s3o_b", "s3o_c_bucket"})
        self.assertEqual(labels_in(expression), {"job", "backend", "x", "y"})


class ScrapedTests(SynchronousTestCase):
    """Rules and guide against the page of a daemon."""

    page: ClassVar[Scraped]

    @classmethod
    def setUpClass(cls) -> None:
        with TemporaryDirectory() as folder:
            (scrapee,) = scrapees(Path(folder), own_listener=True)
            scrapee.daemon.start()
            try:
                traffic(scrapee)
                wait_until(lambda: scrapee.scrape().total("s3o_quota_bytes_used"), "nothing is shown")
                cls.page = scrapee.scrape()
            finally:
                scrapee.daemon.kill()

    def labels_of(self, name: str) -> set[str]:
        """Every label of any series of that name."""
        return {label for known, has, _ in self.page.samples if known == name for label in has}

    def check_expression(self, where: str, expression: str, others: Sequence[Declared] = ()) -> None:
        """All names are those of series on the page, or of `others`, and all labels those of such series."""
        names = names_in(expression)
        known = {name for name, _, _ in self.page.samples} | {other.name for other in others}
        self.assertEqual(names - known, set(), where)
        labels = set().union(*(self.labels_of(name) for name in names)) | OF_PROMETHEUS
        labels |= {label for other in others if other.name in names for label in other.labels}
        self.assertEqual(labels_in(expression) - labels, set(), where)

    def test_rules(self) -> None:
        """No alert asks for a metric or a label that no daemon has: it would never fire."""
        for rule in rules():
            self.check_expression(rule["alert"], rule["expr"])

    def test_guide(self) -> None:
        """Nor does a query of the guide, though some series begin later; promtool understands them."""
        queries = re.findall(r"^     - ``(.+)``$", GUIDE.read_text("utf-8"), re.M)
        self.assertGreater(len(queries), 15)
        for query in queries:
            self.check_expression(query, query, declared())
        document = {"groups": [{"name": "g", "rules": [{"record": "r", "expr": one} for one in queries]}]}
        with TemporaryDirectory() as folder:
            (Path(folder) / "queries.yml").write_text(yaml.safe_dump(document))
            checked = promtool("check", "rules", "--lint=none", "queries.yml", directory=Path(folder))
        self.assertEqual(checked.returncode, 0, checked.stderr)
