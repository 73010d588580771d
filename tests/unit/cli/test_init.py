"""`s3orchestrator init`."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.cli.init import InitOptions, run
from s3orchestrator.config.loader import load
from s3orchestrator.config.sections import Config
from tests.unit.config.samples import scratch


class InitTestCase(SynchronousTestCase):
    """Runs `init` in a directory of its own."""

    def setUp(self) -> None:
        self.folder = scratch(self)
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)
        self.path = self.folder / "config.yaml"

    def init(self, *arguments: str, answers: str = "") -> int:
        """Run with these lines as answers; keeps what was printed."""
        options = InitOptions()
        options.parseOptions(arguments)
        self.stdout, self.stderr = io.StringIO(), io.StringIO()
        return run(options, self.stdout, self.stderr, stdin=io.StringIO(answers), environ={})

    def written(self, environ: Mapping[str, str] | None = None) -> Config:
        """What was written, as it will be read."""
        return load(self.path, environ or {}).config


class DefaultsTests(InitTestCase):
    """Without questions."""

    def test_validates(self) -> None:
        """The file can be used as it is, is private, and its directories are there."""
        self.assertEqual(self.init("--defaults"), 0)
        config = self.written()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual([backend.type for backend in config.backends], ["directory"])
        self.assertTrue(Path(config.backends[0].path).is_dir())
        self.assertTrue(Path(config.database.path).parent.is_dir())
        self.assertEqual(config.users[0].buckets, (config.buckets[0].name,))

    def test_credentials_are_random(self) -> None:
        """No two files have the same secrets, and they are not printed."""
        secrets = set()
        for name in ("a.yaml", "b.yaml"):
            self.assertEqual(self.init("--defaults", "--config", name), 0)
            config = load(self.folder / name, {}).config
            pairs = (config.buckets[0].credentials[0], config.users[0].credentials[0])
            for pair in pairs:
                self.assertNotIn(pair.secret_access_key, self.stdout.getvalue())
                self.assertGreaterEqual(len(pair.secret_access_key), 40)
                secrets.add((pair.access_key_id, pair.secret_access_key))
        self.assertEqual(len(secrets), 4)

    def test_never_overwrites(self) -> None:
        """A file that is there stays."""
        self.path.write_text("mine", "utf-8")
        self.assertEqual(self.init("--defaults"), 1)
        self.assertEqual(self.path.read_text("utf-8"), "mine")
        self.assertIn("exists already", self.stderr.getvalue())

    def test_nowhere_to_write(self) -> None:
        """A directory that is not there is said, and leaves nothing behind."""
        self.assertEqual(self.init("--defaults", "--config", "no/where.yaml"), 1)
        self.assertIn("No such file or directory", self.stderr.getvalue())


class InterviewTests(InitTestCase):
    """With questions."""

    def test_all_defaults(self) -> None:
        """Whoever only presses Enter gets a file that works."""
        self.assertEqual(self.init(answers="\n" * 20), 0)
        config = self.written()
        self.assertEqual(config.server.listen_addr, "127.0.0.1:9000")
        self.assertEqual(config.backends[0].path, str(self.folder / "s3o-data" / "backend-1"))
        self.assertEqual((config.buckets[0].name, config.users[0].name), ("storage", "operator"))

    def test_everything_answered(self) -> None:
        """Each answer ends up where it belongs, odd characters and all."""
        answers = [
            ":9100",
            "data",
            *("disk", "directory", "my disk", "20GB", "yes"),
            *("cloud", "s3", "https://s3.example.net/", "eu-1", "b", "AK", '$ec"ret: #\\', "yes", "0", "no"),
            *("photos", "PK", "p$$w", "yes"),
            *("documents", "", "random", "no"),
            "none",
        ]
        self.assertEqual(self.init(answers="\n".join(answers) + "\n"), 0, self.stderr)
        config = self.written()
        self.assertEqual(config.server.listen_addr, ":9100")
        disk, cloud = config.backends
        self.assertEqual((disk.path, disk.quota_bytes), (str(self.folder / "my disk"), 20 << 30))
        self.assertEqual(
            (cloud.endpoint, cloud.region, cloud.bucket), ("https://s3.example.net", "eu-1", "b")
        )
        self.assertEqual((cloud.secret_access_key, cloud.force_path_style), ('$ec"ret: #\\', True))
        self.assertEqual([bucket.name for bucket in config.buckets], ["photos", "documents"])
        self.assertEqual(config.buckets[0].credentials[0].secret_access_key, "p$$w")
        self.assertNotEqual(config.buckets[1].credentials[0].secret_access_key, "random")
        self.assertEqual(config.users, ())

    def test_variables(self) -> None:
        """A secret may stay outside the file; which variable to set is said."""
        answers = ["", "", "cloud", "s3", "http://s3", "", "b", "AK", "${CLOUD_SECRET}"]
        self.assertEqual(self.init(answers="\n".join(answers) + "\n" * 20), 0, self.stderr)
        self.assertIn("set CLOUD_SECRET in the environment", self.stdout.getvalue())
        config = self.written({"CLOUD_SECRET": "hunter2"})
        self.assertEqual(config.backends[0].secret_access_key, "hunter2")

    def test_wrong_answers(self) -> None:
        """An answer that will not do is asked for again, with the reason."""
        answers = [
            *("nowhere", "127.0.0.1:1"),
            "",
            *("disk", "tape", "directory", "", "much", "1GB", "maybe", "yes"),
            *("disk", "other", "", "", "", ""),
            *("ui", "photos", "a/b", "AK", "", ""),
        ]
        self.assertEqual(self.init(answers="\n".join(answers) + "\n" * 20), 0, self.stderr)
        config = self.written()
        self.assertEqual([backend.name for backend in config.backends], ["disk", "other"])
        self.assertEqual(config.buckets[0].credentials[0].access_key_id, "AK")
        for reason in (
            "is not an address",
            "neither directory",
            "not a size",
            "is there already",
            "our own paths",
        ):
            self.assertIn(reason, self.stdout.getvalue())

    def test_ledger_among_objects(self) -> None:
        """The directory of the ledger is no backend's; it is asked for another one."""
        answers = ["", "data", "disk", "directory", "data", ".", "data/disk", *[""] * 12]
        self.assertEqual(self.init(answers="\n".join(answers) + "\n"), 0, self.stderr)
        self.assertEqual(self.stdout.getvalue().count("would have the ledger among the objects"), 2)
        self.assertEqual(self.written().backends[0].path, str(self.folder / "data" / "disk"))

    def test_answers_that_do_not_go_together(self) -> None:
        """What only the whole shows is an error, and nothing is written."""
        answers = ["", "", "one", "", "same", "", "yes", "two", "", "same"]
        self.assertEqual(self.init(answers="\n".join(answers) + "\n" * 20), 1)
        self.assertIn("same place", self.stderr.getvalue())
        self.assertEqual([*self.folder.iterdir()], [])

    def test_end_of_input(self) -> None:
        """Whoever stops half-way gets no file."""
        self.assertEqual(self.init(answers="\n\n"), 1)
        self.assertIn("Aborted.", self.stderr.getvalue())
        self.assertEqual([*self.folder.iterdir()], [])

    def test_overwriting(self) -> None:
        """A file that is there is replaced only on a yes, and is private then."""
        self.path.write_text("mine", "utf-8")
        self.assertEqual(self.init(answers="\n" * 20), 1)
        self.assertEqual(self.path.read_text("utf-8"), "mine")
        self.assertEqual(self.init(answers="yes\n" + "\n" * 20), 0)
        self.assertEqual(self.written().buckets[0].name, "storage")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"config.yaml", "s3o-data"})
