"""What is generated from the declarations."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path

from docutils.core import publish_doctree
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.loader import load
from s3orchestrator.config.reference import reference_page, reload_table, sample_file
from s3orchestrator.config.sections import Config
from s3orchestrator.config.settings import Setting, settings_of
from tests.unit.config.samples import errors

SAMPLE = Path(__file__).parents[3] / "etc" / "s3orchestrator.yaml"
GUIDE = Path(__file__).parents[3] / "docs" / "operating" / "reload.rst"
SECRETS = {"PHOTOS_SECRET": "p", "ALICE_SECRET": "a"}


def every_setting(cls: type, path: str) -> Iterator[tuple[str, Setting]]:
    """Each leaf with the heading it belongs below."""
    for setting in settings_of(cls):
        if setting.section is None:
            yield path, setting
        else:
            below = f"{path}.{setting.name}" if path else setting.name
            yield from every_setting(setting.section, f"{below}[]" if setting.many else below)


class ReferencePageTests(SynchronousTestCase):
    """The reference page."""

    def test_every_setting(self) -> None:
        """Each setting has an entry below its section's heading."""
        sections = dict(
            re.findall(
                r"^(?:``([^\n]+)``|Top level)\n-+\n(.*?)(?=^``[^\n]+``\n-|\Z)", reference_page(), re.M | re.S
            )
        )
        for path, setting in every_setting(Config, ""):
            self.assertIn(f"\n``{setting.name}``\n", sections[path], f"{path}.{setting.name}")

    def test_markup(self) -> None:
        """The page is proper reStructuredText."""
        said = io.StringIO()
        publish_doctree(reference_page(), settings_overrides={"warning_stream": said})
        self.assertEqual(said.getvalue(), "")

    def test_what_is_missing(self) -> None:
        """Features that are not there are marked."""
        self.assertIn("(Not in this release: replication.)", reference_page())

    def test_documented(self) -> None:
        """No setting is without a sentence."""
        for path, setting in every_setting(Config, ""):
            self.assertRegex(setting.meta.doc, r"[.]$", f"{path}.{setting.name}")


class ReloadTableTests(SynchronousTestCase):
    """What a reload changes, for operators."""

    def test_guide(self) -> None:
        """The operators' guide has the table that the declarations make."""
        self.assertIn(f"\n{reload_table()}\n", GUIDE.read_text("utf-8"))

    def test_rows(self) -> None:
        """A section that changes as a whole says so; of others the settings are named; the rest is not."""
        table = reload_table()
        self.assertIn("   * - ``buckets[]``\n     - everything\n", table)
        self.assertIn("   * - ``server``\n     - ``log_level``, ``shutdown_delay``\n", table)
        self.assertNotIn("database", table)


class SampleFileTests(SynchronousTestCase):
    """The sample file in `etc`."""

    def test_is_the_generated_one(self) -> None:
        """What is in the repository is what the declarations say."""
        self.assertEqual(SAMPLE.read_text("utf-8"), sample_file())

    def test_validates(self) -> None:
        """It works once its secrets are set, without a warning, and says which are not."""
        loaded = load(SAMPLE, SECRETS)
        self.assertEqual(loaded.warnings, ())
        self.assertEqual(loaded.config.backends[0].quota_bytes, 20 << 30)
        self.assertEqual(
            [*errors(SAMPLE.read_text("utf-8"))],
            ["buckets[0].credentials[0].secret_access_key", "users[0].credentials[0].secret_access_key"],
        )

    def test_what_is_commented_out(self) -> None:
        """With every comment mark of a setting taken away, each key is known and each value can be read."""
        text = re.sub(r"^( *)#(?=[a-z-])", r"\1", sample_file(), flags=re.M)
        wrong = errors(text, SECRETS)
        self.assertIn("cannot stand beside listen_addr", wrong.pop("server.listeners"))
        # What is shown of these is an example, and they are not built.
        self.assertEqual([*wrong], ["lifecycle.rules", "redis", "notifications.endpoints"])
        for why in wrong.values():
            self.assertIn("this release does not have", why)

    def test_every_setting(self) -> None:
        """Each setting is there."""
        text = sample_file()
        for path, setting in every_setting(Config, ""):
            self.assertRegex(text, rf"(?m)^ *#?(- )?{setting.name}:", path)
