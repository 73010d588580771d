"""restic."""

from __future__ import annotations

import json
import os
import re

from tests.clients.case import LARGE, Aftermath, ClientCase
from tests.clients.deployment import content, digest

REPOSITORY = "laptop"

ODD_FILES = (
    "plain",
    "empty",
    "a b  c",
    "grüße/日本語/😀",
    "new\nline",
    "\"double\" 'single' \\back",
    "k" * 250,
)


class ResticCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.use(REPOSITORY)

    def use(self, repository: str) -> None:
        self.environment = {
            **self.credentials("backups"),
            "RESTIC_REPOSITORY": f"s3:{self.endpoint}/backups/{repository}",
            "RESTIC_PASSWORD": "correct horse battery staple",
        }

    def restic(self, *arguments: str, given: bytes = b"", status: int = 0) -> str:
        return self.run_tool("restic", *arguments, given=given, status=status).stdout.decode()


class RepositoryTests(ResticCase):
    def test_life_of_a_repository(self) -> None:
        """
        What is backed up twice, checked, forgotten once and restored is what it was.

        One test, since each step needs the ones before.
        """
        tree = self.tree("home", ODD_FILES)
        tree["large.bin"] = self.file("home/large.bin", LARGE).read_bytes()
        self.restic("init")
        self.restic("backup", "home")
        self.restic("check", "--read-data")

        tree["plain"] = self.file("home/plain", 7000).read_bytes()
        os.unlink(self.home / "home/a b  c")
        del tree["a b  c"]
        self.restic("backup", "home")
        first, second = json.loads(self.restic("snapshots", "--json"))
        self.assertIn("-    /home/a b  c", re.sub(" +$", "", self.restic("diff", first["id"], second["id"])))

        self.restic("restore", "latest", "--target", "restored")
        self.assertEqual(self.read_tree("restored/home"), tree)
        self.restic("forget", "--keep-last", "1", "--prune")
        self.assertEqual(len(json.loads(self.restic("snapshots", "--json"))), 1)
        self.restic("check", "--read-data")
        self.note_repository(REPOSITORY)

    def note_repository(self, repository: str) -> None:
        """Note what restic has stored: its files, but for one, are named by the hash of what is in them."""
        client = self.deployment.boto3("backups")
        pages = client.get_paginator("list_objects_v2").paginate(Bucket="backups", Prefix=f"{repository}/")
        keys = [entry["Key"] for page in pages for entry in page["Contents"]]
        self.assertGreater(len(keys), 5)
        for key in keys:
            name = key.rpartition("/")[2]
            if name == "config":
                self.wrote("backups", key, self.stored("backups", key))
            else:
                self.deployment.written[f"backups/{key}"] = name

    def test_not_there(self) -> None:
        """
        A repository that is not there is told from one that cannot be reached.
        """
        self.use("nowhere")
        ended = self.run_tool("restic", "snapshots", status=1)
        self.assertIn(b"unable to open config file", ended.stderr)
        self.assertIn(b"key does not exist", ended.stderr)

    def test_from_a_pipe(self) -> None:
        """
        A backup of what is piped in is given back by `dump`.
        """
        self.use("piped")
        data = content("piped", 3_000_000)
        self.restic("init")
        self.restic("backup", "--stdin", "--stdin-filename", "piped.bin", given=data)
        dumped = self.run_tool("restic", "dump", "latest", "/piped.bin").stdout
        self.assertEqual(digest(dumped), digest(data))
        self.note_repository("piped")


class ResticAftermath(Aftermath, ResticCase):
    """After all of the above."""
