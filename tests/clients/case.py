"""What the tests of every client share."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.deployment import MIB, SECRETS, Clients, content, digest, tool_environment

# Not a multiple of anybody's part size.
LARGE = 64 * MIB + 12345
_LONG_AGO = 1_500_000_000
TIMEOUT = 120.0  # seconds, for one command; all but a hanging one take a few


class ClientCase(SynchronousTestCase):
    """
    A test that stores with a client, and says so with `wrote` and `removed`.

    What it said is compared with all backends when the client's tests are over: see `Aftermath`.
    """

    deployment: Clients  # from conftest.py
    over_https = False

    def setUp(self) -> None:
        deployment = self.deployment
        self.endpoint = deployment.secure_endpoint if self.over_https else deployment.daemon.endpoint
        self.host = self.endpoint.partition("://")[2]
        self.home = Path(mkdtemp(dir=self.deployment.directory))
        self.addCleanup(rmtree, self.home)  # last of all: pytest keeps the directories of several runs
        self.environment: dict[str, str] = {}

    def credentials(self, who: str) -> dict[str, str]:
        """Return what the environment of most tools needs to be `who`."""
        key, secret = SECRETS[who]
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_DEFAULT_REGION": "us-east-1"}

    def run_tool(
        self, *command: str | Path, given: bytes = b"", status: int = 0
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a program with this test's home and environment; it must end with `status`."""
        ended = subprocess.run(
            [str(word) for word in command],
            input=given,
            capture_output=True,
            env=tool_environment(self.home, self.environment),
            cwd=self.home,
            timeout=TIMEOUT,
            check=False,
        )
        said = (ended.stdout[-2000:] + ended.stderr[-4000:]).decode(errors="replace")
        self.assertEqual(ended.returncode, status, f"{command}\n{said}")
        return ended

    def wrote(self, bucket: str, key: str, data: bytes | Path) -> None:
        """Note that `data` is stored there now."""
        self.deployment.written[f"{bucket}/{key}"] = digest(data)

    def removed(self, bucket: str, *keys: str) -> None:
        """Note that nothing is stored there any more."""
        for key in keys:
            del self.deployment.written[f"{bucket}/{key}"]

    def file(self, name: str, size: int) -> Path:
        """Make a file in this test's home, with bytes that depend on its name."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content(name, size))
        # Older than any object: tools that compare times must not find it newer than its copy.
        os.utime(path, (_LONG_AGO, _LONG_AGO))
        return path

    def large(self) -> Path:
        """Make a file that every client sends in parts."""
        return self.file("large.bin", LARGE)

    def tree(self, root: str, names: Iterable[str]) -> dict[str, bytes]:
        """Make files below `root`; returns what is in each."""
        made = {}
        for number, name in enumerate(names):
            made[name] = self.file(f"{root}/{name}", 100 + number * 3000).read_bytes()
        return made

    def read_tree(self, root: str) -> dict[str, bytes]:
        """Return what is in each file below `root`."""
        top = self.home / root
        return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}

    def stored(self, bucket: str, key: str) -> bytes:
        """Read an object by another client than the one under test."""
        body: Any = self.deployment.boto3().get_object(Bucket=bucket, Key=key)["Body"]
        data: bytes = body.read()
        return data


class Aftermath:
    """
    Mixed into the last class of a client's tests: what it has left behind.

    One test, since stopping the daemon for each question would take most of the time.
    """

    deployment: Clients

    def test_backends_hold_what_was_written(self: Any) -> None:
        """
        Clients see exactly what was written. So do all backends, read directly, byte for byte,
        once what rests has rested; there is nothing else on them, and `fsck --deep` is clean.
        """
        written = self.deployment.written
        self.assertTrue(written)
        self.assertEqual(self.deployment.listed(), set(written))
        self.deployment.settle()
        places = {place.backend for found in self.deployment.ledger.locations().values() for place in found}
        self.assertGreater(len(places), 1)
        with self.deployment.stopped():
            self.assertEqual(self.deployment.problems(written), [])
