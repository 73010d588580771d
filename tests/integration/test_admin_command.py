"""`s3orchestrator admin`, run against a daemon."""

from __future__ import annotations

import json
import re

from tests.integration.administering import TOKEN, AdminCase
from tests.integration.disks import BUCKET
from tests.ports import free_port

KILL = (
    "UPDATE blobs SET state = 'doomed', version = NULL, unclear = TRUE, due_ms = 1, doomed_ms = 1,"
    " reason = 'deleted' WHERE key LIKE 'd%'",
    "DELETE FROM versions WHERE key LIKE 'd%'",
    "UPDATE blobs SET state = 'dead', attempts = 10 WHERE key LIKE 'd%'",
)


class CommandCase(AdminCase):
    def json(self, *words: str, status: int = 0) -> dict[str, object]:
        document: dict[str, object] = json.loads(self.told(*words, "--json", status=status))
        return document


class LedgerTests(CommandCase):
    """What looks at the ledger at length, and changes it."""

    def test_cleanup_queue(self) -> None:
        """Dead entries are shown, tried again, written off; the ledger is sound afterwards."""
        self.assertEqual(self.told("cleanup-queue"), "0 doomed, 0 dead\n")
        self.put("d1", "d2", "d3", "k")
        self.change(*KILL)
        self.told("fsck", "--repair")
        told = self.told("cleanup-queue")
        self.assertIn("0 doomed, 3 dead\n", told)
        self.assertEqual(
            len(re.findall(r"(?m)^ *\d+ +dead +disk[12] +photos/d\d +200 +10 +- +deleted$", told)), 3
        )
        told = self.told("cleanup-queue", "list", "-n", "2")
        self.assertIn("there are more", told)
        first, second, _ = [item["id"] for item in self.json("cleanup-queue")["items"]]  # type: ignore[attr-defined]
        self.assertEqual(
            self.told("cleanup-queue", "retry", str(first)), f"{first} will be tried again within a minute\n"
        )
        self.assertEqual(self.told("cleanup-queue", "write-off", str(second)), f"{second} is written off\n")
        self.assertIn(
            "there is no dead entry", self.told("cleanup-queue", "write-off", str(second), status=1)
        )
        retried = [
            self.json("cleanup-queue", "retry", "--backend", name)["retried"] for name in ("disk1", "disk2")
        ]
        self.assertEqual(sum(retried), 1)  # type: ignore[arg-type]
        self.told("run", "cleanup")
        self.assertEqual(self.told("fsck"), "clean\n")

    def test_fsck(self) -> None:
        """Findings are lines and the status says whether any are left, as with the other fsck."""
        self.put("k")
        self.assertIn("nothing has been checked", self.told("fsck", "--last", status=2))
        self.assertEqual(self.told("fsck"), "clean\n")
        self.assertEqual(self.told("fsck", "--last"), "clean\n")
        (self.directory / "disk1" / "stray").write_bytes(b"somebody's")
        self.change("UPDATE byte_counts SET live = live + 7")
        told = self.told("fsck", "--deep", status=1)
        self.assertRegex(told, r"(?m)^L4: disk[12], bucket \d+: the counters differ")
        self.assertIn("stray: disk1: stray: 10 bytes that the ledger does not know\n", told)
        self.assertTrue(told.endswith("finding(s) left, 0 mended\n"))
        told = self.told("fsck", "--repair")
        self.assertRegex(told, r"(?m)^mended: disk[12], bucket")
        self.assertTrue(told.endswith("0 finding(s) left, 1 mended\n"), told)
        result = self.json("fsck", "--deep", status=1)["result"]
        self.assertEqual([found["rule"] for found in result["findings"]], ["stray"])  # type: ignore[index]


class PostgresLedgerTests(LedgerTests):
    """The same on PostgreSQL."""

    driver = "postgres"


class CommandTests(CommandCase):
    def test_looks(self) -> None:
        """What only looks: people see a table, programs a document."""
        self.put("a/b")
        told = self.told("status")
        self.assertRegex(told, r"(?m)^ledger: healthy$")
        self.assertRegex(told, r"(?m)^disk1 +\S+ B +1\.0 GiB .* ok$")
        expected = {"version", "mode", "db_healthy", "usage_period", "backends", "processes"}
        self.assertEqual(set(self.json("status")), expected)
        told = self.told("workers")
        self.assertRegex(told, r"(?m)^WORKER +EVERY +RUNNING +LAST RESULT +LAST SUCCESS +FAILURES$")
        self.assertRegex(told, r"(?m)^stale-uploads +1h +no +success +\S+Z +0$")
        told = self.told("object-locations", f"{BUCKET}/a/b")
        self.assertRegex(told, rf"(?m)^disk[12] +{BUCKET}/a/b +300 +\S+Z +no +no +null$")
        (location,) = self.json("--json", "object-locations", f"{BUCKET}/a/b")["locations"]  # type: ignore[misc]
        self.assertEqual(location["object_key"], f"{BUCKET}/a/b")
        self.assertIn("there is no object", self.told("object-locations", f"{BUCKET}/x", status=1))
        self.assertEqual(
            self.json("object-locations", f"{BUCKET}/x", status=1), {"error": "there is no object 'photos/x'"}
        )

    def test_does(self) -> None:
        """What changes something."""
        self.assertEqual(self.told("run", "cleanup"), "cleanup: success\n")
        self.assertEqual(
            self.told("cleanup-queue", "retry", "--backend", "typo"), "no entry of 'typo' is dead\n"
        )
        self.assertIn("there is no worker 'x/y'", self.told("run", "x/y", status=1))
        self.assertEqual(self.told("log-level"), "info\n")
        self.assertEqual(self.told("log-level", "debug"), "debug\n")
        self.assertEqual(self.told("log-level"), "debug\n")
        self.assertIn("level must be one of", self.told("log-level", "loud", status=1))
        self.assertEqual(self.told("usage-flush"), "flushed\n")

    def test_where_and_who(self) -> None:
        """Address and token: options, then the environment, then the file; nothing else of it is needed."""
        both = {"S3O_ADMIN_URL": self.daemon.endpoint, "S3O_ADMIN_TOKEN": TOKEN}
        self.assertEqual(self.admin("log-level", environ=both).stdout, "info\n")
        other = self.directory / "other.yaml"
        other.write_text(self.config.read_text() + "nonsense: ${NOT_SET}\n")
        other.write_text(
            other.read_text().replace("secret_access_key: photossecret", 'secret_access_key: "${NOT_SET}"')
        )
        ended = self.admin("log-level", "--config", "other.yaml")
        self.assertEqual((ended.returncode, ended.stdout), (0, "info\n"))
        other.write_text(self.config.read_text().replace(TOKEN, "${NOT_SET}"))
        ended = self.admin("log-level", "-c", "other.yaml")
        self.assertEqual(ended.returncode, 2)
        self.assertIn("ui.admin_token", ended.stderr)
        self.assertIn("NOT_SET", ended.stderr)
        ended = self.admin("log-level", "-c", "other.yaml", environ={"S3O_ADMIN_TOKEN": TOKEN})
        self.assertEqual((ended.returncode, ended.stdout), (0, "info\n"))

    def test_cannot_ask(self) -> None:
        """Each reason why there is no answer has its own words, and what to do; the status is 2."""
        here, nowhere = self.daemon.endpoint, f"http://127.0.0.1:{free_port()}"
        for words, environ, said in (
            (["-u", nowhere], {}, "nobody listens at"),
            (["-u", here.replace("http:", "https:")], {}, "does not speak TLS"),
            (["-u", "here"], {}, "is no address to ask at"),
            (["-u", f"{here}/photos"], {}, "there is no admin API at"),
            ([], {"S3O_ADMIN_TOKEN": "wrong"}, "the token in S3O_ADMIN_TOKEN is not the daemon's"),
            (["-c", "none.yaml"], {}, "there is no such file"),
            (["--ca-file", "none.pem", "-u", here.replace("http:", "https:")], {}, "No such file"),
        ):
            ended = self.admin(
                "status", *(["-c", str(self.config)] if "-c" not in words else []), *words, environ=environ
            )
            self.assertEqual(ended.returncode, 2, ended.stderr)
            self.assertIn(said, ended.stderr)
            self.assertNotIn("Traceback", ended.stderr)
            self.assertEqual(ended.stdout, "")
        for _ in range(5):
            self.ask("/admin/api/status", token="wrong")
        self.assertIn("too many wrong tokens from this address", self.told("status", status=2))
