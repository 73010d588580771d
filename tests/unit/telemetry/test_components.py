"""The names by which operators select lines."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import s3orchestrator
from s3orchestrator.telemetry.components import component_of

ROOT = Path(s3orchestrator.__file__).parent
SPEAKS = re.compile(r"make_logger\(\)|\baudit\(|= Logger\(\)")


def speakers() -> set[str]:
    """The modules that log."""
    return {
        "s3orchestrator." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.rglob("*.py")
        if SPEAKS.search(path.read_text()) and "testing" not in path.parts
    }


class ComponentTests(SynchronousTestCase):
    def test_names(self) -> None:
        """
        A module is called as its part of the daemon is, a library as it calls itself.
        """
        for module, component in (
            ("app.certificates", "listeners"),
            ("web.s3.resource", "s3"),
            ("web.site", "http"),
            ("web.admin.resource", "admin"),
            ("objects.writing", "objects"),
            ("objects.cleaning", "cleanup"),
            ("services.pending", "pending_reaper"),
            ("services.usage_flush", "usage_flush"),
            ("services.something_new", "something_new"),
            ("store.postgres", "ledger"),
            ("telemetry.audit", "audit"),
            ("tap", "main"),
        ):
            self.assertEqual(component_of(f"s3orchestrator.{module}"), component)
        self.assertEqual(component_of("twisted.internet.tcp.Port"), "twisted.internet.tcp.Port")
        self.assertEqual(component_of(""), "-")

    def test_few(self) -> None:
        """
        All that speaks does so under one of few names, each a plain word.
        """
        found = {component_of(module) for module in speakers()}
        self.assertLess(len(found), 30)
        for name in found:
            self.assertRegex(name, r"\A[a-z][a-z0-9_]*\Z")

    def test_documented(self) -> None:
        """
        The guide lists them all.
        """
        guide = (ROOT.parent / "docs" / "operating" / "logging.rst").read_text()
        for name in {component_of(module) for module in speakers()}:
            self.assertIn(f"``{name}``", guide)
