"""What the Debian package promises, as far as that shows without building it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import s3orchestrator
from s3orchestrator.app.closing import CLEAN_LIMIT
from s3orchestrator.app.doors import DRAIN_LIMIT
from s3orchestrator.config.loader import load
from s3orchestrator.config.problems import ConfigErrors
from tools import completion, manual, pins
from tools.commandline import program

ROOT = Path(s3orchestrator.__file__).parent.parent
DEBIAN = ROOT / "debian"


class PinsTests(SynchronousTestCase):
    """constraints-package.txt"""

    def test_fresh(self) -> None:
        """It has what the program needs, in the versions that are tested: else run `make package-pins`."""
        self.assertEqual(pins.versions(pins.PINS.read_text()), pins.wanted_versions())

    def test_hashes(self) -> None:
        """Nothing is taken without a hash."""
        hashes = pins.hashes(pins.PINS.read_text())
        self.assertEqual(hashes.keys(), pins.wanted_versions().keys())
        for name, known in hashes.items():
            self.assertTrue(known, name)
            for digest in known:
                self.assertRegex(digest, "^sha256:[0-9a-f]{64}$")

    def test_sources(self) -> None:
        """What is built from source is listed once, wherever it is asked about."""
        names = "|".join(pins.FROM_SOURCE)
        for script in ("tools/wheelhouse", "debian/bundle/wheels"):
            self.assertIn(names, (ROOT / script).read_text())


class VersionTests(SynchronousTestCase):
    def test_changelog(self) -> None:
        """The package's version is the program's."""
        first = (DEBIAN / "changelog").read_text().splitlines()[0]
        self.assertEqual(first.split()[1], f"({s3orchestrator.__version__})")


class ConfigurationTests(SynchronousTestCase):
    """The configuration that is installed."""

    def test_incomplete(self) -> None:
        """As it is, it is not accepted: nothing starts with secrets that everybody knows."""
        with self.assertRaises(ConfigErrors) as refused:
            load(DEBIAN / "config.yaml", {})
        self.assertIn("PHOTOS_SECRET", str(refused.exception.problems))

    def test_complete(self) -> None:
        """It is valid once its variables are set, and /etc/default names all of them."""
        text = (DEBIAN / "config.yaml").read_text()
        settings = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
        named = set(re.findall(r"\$\{(\w+)\}", settings))
        offered = set(re.findall(r"^#(\w+)=", (DEBIAN / "s3orchestrator.default").read_text(), re.MULTILINE))
        self.assertEqual(named, offered)
        loaded = load(DEBIAN / "config.yaml", dict.fromkeys(named, "secret"))
        self.assertEqual(loaded.warnings, ())


class UnitTests(SynchronousTestCase):
    """The unit."""

    def test_stopping(self) -> None:
        """systemd waits longer for the service to end than that takes, as long as the unit says."""
        text = (DEBIAN / "s3orchestrator.service").read_text()
        patience = re.search(r"^TimeoutStopSec=(\d+)s$", text, re.MULTILINE)
        delay = re.search(r"shutdown_delay of more\n# than (\d+) s", text)
        assert patience and delay
        self.assertGreaterEqual(int(patience[1]), int(delay[1]) + DRAIN_LIMIT + CLEAN_LIMIT)

    def test_callbacks(self) -> None:
        """Memory that is written may be executed: TLS calls back through such, and would fail."""
        text = (DEBIAN / "s3orchestrator.service").read_text()
        self.assertNotRegex(text, re.compile("^MemoryDenyWriteExecute=", re.MULTILINE))


class ManualTests(SynchronousTestCase):
    """The manual page, and what bash completes."""

    def test_everything(self) -> None:
        """The page has every command, and every option with what it does."""
        page = manual.page().replace(r"\-", "-")
        for command in program().everyone():
            if command.words:
                self.assertIn(f".SS {' '.join(command.words)}\n{command.summary}\n", page)
            for option in command.options:
                self.assertRegex(page, rf"\n\.B (-\w, )?--{option.name}(=\w+)?\n")

    def test_completion(self) -> None:
        """bash offers the commands, the commands below them, and their options."""
        self.assertEqual(self.completed("s3orchestrator", "val"), ["validate"])
        self.assertEqual(self.completed("s3orchestrator", "admin", "wor"), ["workers"])
        self.assertEqual(self.completed("s3orchestrator", "admin", "fsck", "--re"), ["--repair"])
        self.assertEqual(self.completed("s3orchestrator", "help", "val"), ["validate"])
        self.assertEqual(self.completed("s3orchestrator", "serve", "--mode", "w"), [])

    def completed(self, *words: str) -> list[str]:
        """Return what bash would offer for the last of the words."""
        script = completion.script() + (
            'COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))\n_s3orchestrator\nprintf "%s\\n" "${COMPREPLY[@]}"'
        )
        ended = subprocess.run(
            ["bash", "-c", script, "bash", *words], text=True, capture_output=True, check=True
        )
        return ended.stdout.split()
