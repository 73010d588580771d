"""`s3orchestrator validate`."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.cli.validate import ValidateOptions, run
from tests.unit.config.samples import BUCKETS, MINIMAL, SERVER, scratch, two_backends
from tests.unit.web.certificates import Authority


class ValidateTests(SynchronousTestCase):
    """What is printed, where, and the exit status."""

    def validate(self, text: str, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """Status, output and errors for a file with this text."""
        self.path = scratch(self) / "config.yaml"
        self.path.write_text(text, "utf-8")
        return self.run_on(self.path, environ or {})

    def run_on(self, path: Path, environ: Mapping[str, str]) -> tuple[int, str, str]:
        """Status, output and errors for the file of this name."""
        options = ValidateOptions()
        options.parseOptions(["--config", str(path)])
        stdout, stderr = io.StringIO(), io.StringIO()
        return run(options, stdout, stderr, environ=environ), stdout.getvalue(), stderr.getvalue()

    def test_valid(self) -> None:
        """A file that can be used is summed up: who, where, how much."""
        keys = '{access_key_id: A, secret_access_key: "${S}"}'
        users = f"users: [{{name: alice, create_buckets: true, credentials: [{keys}]}}]\n"
        text = SERVER + BUCKETS + users + two_backends("20GB", "0")
        status, stdout, stderr = self.validate(text, {"S": "hunter2"})
        self.assertEqual(status, 0)
        self.assertEqual(
            stdout.splitlines(),
            [
                f"config {self.path}: valid",
                "  endpoint  http://127.0.0.1:9000",
                "  buckets   1: photos",
                "  users     1: alice",
                "  backends  2: backend-0 (s3, 20GiB), backend-1 (s3, unlimited)",
                "  room      20GiB in 1 limited backend and 1 unlimited backend",
                "  routing   pack",
                "  ledger    sqlite, s3-orchestrator.db",
            ],
        )
        self.assertTrue(stderr.startswith("warning: replication.factor"), stderr)

    def test_ledger_in_postgresql(self) -> None:
        """Of a ledger in PostgreSQL it says which database, and on which server."""
        server = "driver: postgres, host: db.example.net, port: 5433, database: ledger, user: me"
        status, stdout, _ = self.validate(MINIMAL + f"database: {{{server}}}\n")
        self.assertEqual(status, 0)
        self.assertEqual(stdout.splitlines()[-1], "  ledger    postgres, ledger at db.example.net, port 5433")

    def test_workers(self) -> None:
        """How many processes serve is said where it is not one."""
        several = MINIMAL.replace(SERVER, SERVER + "  workers: 2\n")
        self.assertIn("  workers   2 processes", self.validate(several)[1].splitlines())
        self.assertNotIn("workers", self.validate("mode: worker\n" + several)[1])

    def test_invalid(self) -> None:
        """Every problem is printed with its path, and the status is 1."""
        status, stdout, stderr = self.validate(MINIMAL + "    quota_bytes: lots\n    typo: x\n")
        self.assertEqual((status, stdout), (1, ""))
        self.assertEqual(
            stderr.splitlines(),
            [
                'error: backends[0].quota_bytes (line 13): "lots" is not a size: write whole bytes, '
                "or a whole number with KB, MB, GB or TB",
                stderr.splitlines()[1],
                f"config {self.path}: not valid (2 problems)",
            ],
        )
        self.assertTrue(
            stderr.splitlines()[1].startswith("error: backends[0].typo (line 14): there is no such key")
        )

    def test_missing(self) -> None:
        """A file that is not there is named, with what to do."""
        status, _, stderr = self.run_on(Path("nowhere.yaml"), {})
        self.assertEqual(status, 1)
        self.assertIn("error: nowhere.yaml: there is no such file", stderr)

    def test_files_it_names(self) -> None:
        """Files and directories that are not here are warned of: here need not be where it will run."""
        text = MINIMAL.replace(SERVER, SERVER + "  tls: {cert_file: /no/cert, key_file: /no/key}\n")
        text = text.replace("backends:\n", "backends:\n  - {name: disk, type: directory, path: /no/disk}\n")
        status, stdout, stderr = self.validate(text)
        self.assertEqual(status, 0)
        self.assertIn("https://127.0.0.1:9000", stdout)
        for path in ("server.tls.cert_file", "server.tls.key_file", "backends[0].path"):
            self.assertIn(f"warning: {path}: ", stderr)

    def test_files_that_do_not_fit(self) -> None:
        """Files for TLS that are here, and with which nobody could be served, are errors."""
        directory, authority = scratch(self), Authority()
        cert_file, key_file = authority.issue("one", directory)
        _, other = authority.issue("other", directory)
        text = MINIMAL.replace(SERVER, SERVER + f"  tls: {{cert_file: {cert_file}, key_file: {key_file}}}\n")
        self.assertEqual(self.validate(text)[0], 0)
        status, stdout, stderr = self.validate(text.replace(key_file, other))
        self.assertEqual((status, stdout), (1, ""))
        self.assertEqual(
            stderr.splitlines(),
            [
                f"error: server.tls: {cert_file} and {other} do not belong together",
                f"config {self.path}: not valid (1 problem)",
            ],
        )

    def test_directory_of_the_ledger(self) -> None:
        """A ledger whose directory is not here is warned of, too."""
        _, _, stderr = self.validate(MINIMAL + "database: {path: /no/place/ledger.db}\n")
        self.assertIn('warning: database.path: there is no directory "/no/place" here', stderr)
