"""What the repository promises outside of the package: the sample in the docs, the plugin, the version."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import s3orchestrator
from s3orchestrator.config.loader import load

ROOT = Path(s3orchestrator.__file__).parent.parent


class DocumentationTests(SynchronousTestCase):
    def test_quickstart(self) -> None:
        """
        The configuration shown in the quickstart is valid once its variables are set.
        """
        names = ["STORE_KEY", "STORE_SECRET", "PHOTOS_SECRET", "ALICE_SECRET"]
        loaded = load(ROOT / "docs" / "quickstart.yaml", {name: f"value of {name}" for name in names})
        self.assertEqual([backend.name for backend in loaded.config.backends], ["store", "disk"])


class PluginTests(SynchronousTestCase):
    def test_listed(self) -> None:
        """
        twistd finds us.
        """
        self.assertIn("s3orchestrator", [plugin.tapname for plugin in getPlugins(IServiceMaker)])

    def test_light(self) -> None:
        """
        A twistd that runs something else loads nothing of ours but the plugin.
        """
        script = (
            "import sys, twisted.plugins.s3orchestrator_plugin\n"
            "print([name for name in sys.modules if name.partition('.')[0] == 's3orchestrator'])"
        )
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(ended.stdout.strip(), "[]")

    def test_namespace(self) -> None:
        """
        Our `twisted` folder does not hide the real package.
        """
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])
