"""`s3orchestrator serve` and `twistd s3orchestrator`, as operators start, stop and disturb them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from botocore.exceptions import ClientError
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, MIB, Disks, digest, disks
from tests.running import COMMAND, PATIENCE, Daemon, fetch, wait_until

TWISTD = str(Path(sys.executable).parent / "twistd")


class SlowUpload(threading.Thread):
    """A PUT whose body comes in small pieces; `begun` is set when the first of them are out."""

    def __init__(self, url: str, data: bytes) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.status = 0
        self._url = urlsplit(url)
        self._data = data

    def run(self) -> None:
        with closing(HTTPConnection(self._url.netloc, timeout=PATIENCE)) as connection:
            connection.request("PUT", f"{self._url.path}?{self._url.query}", self._pieces(), self._headers())
            self.status = connection.getresponse().status

    def _headers(self) -> dict[str, str]:
        return {"Content-Length": str(len(self._data))}

    def _pieces(self) -> Iterator[bytes]:
        for first in range(0, len(self._data), 64 * 1024):
            yield self._data[first : first + 64 * 1024]
            if first > 1 * MIB:
                self.begun.set()
                time.sleep(0.02)


class ServeCase(SynchronousTestCase):
    """
    One daemon, which a test starts, signals and finds ended by itself.

    So its ledger is SQLite's whatever `S3O_TEST_LEDGER` says: with PostgreSQL there would be two
    behind one address, a second on a ledger would be right, and no ledger would fill a disk of ours.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.deployment: Disks = disks(self.directory, driver="sqlite", kind=Daemon)
        self.addCleanup(self.deployment.daemon.kill)

    @property
    def daemon(self) -> Daemon:
        return self.deployment.daemon

    def run_to_its_end(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run something that is expected to end by itself."""
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    def serves(self) -> None:
        """Write and read one object."""
        client = self.deployment.client()
        client.put_object(Bucket=BUCKET, Key="k", Body=b"data")
        self.assertEqual(client.get_object(Bucket=BUCKET, Key="k")["Body"].read(), b"data")


class StartTests(ServeCase):
    def test_second_daemon(self) -> None:
        """A ledger has one daemon; the second says so, and the first goes on."""
        self.daemon.start()
        other = disks(self.directory / "other", driver="sqlite", kind=Daemon)
        text = self.deployment.configuration()
        port = text[text.index("127.0.0.1:") :].split('"')[0]
        other_port = other.configuration()
        other_port = other_port[other_port.index("127.0.0.1:") :].split('"')[0]
        other.config_path.write_text(text.replace(port, other_port))
        ended = self.run_to_its_end(COMMAND, "serve", "--config", str(other.config_path))
        self.assertEqual(ended.returncode, 1)
        self.assertIn("s3orchestrator: cannot start: ", ended.stderr)
        self.assertIn("ledger.db", ended.stderr)
        self.assertNotIn("Traceback", ended.stderr + ended.stdout)
        self.serves()

    def test_ledger_among_objects(self) -> None:
        """A ledger that a link has brought among objects is not tidied away with the strays."""
        self.daemon.start()
        self.daemon.stop()
        config, link = self.deployment.config_path, self.directory / "link"
        link.symlink_to(self.directory)
        config.write_text(config.read_text().replace(str(self.directory / "disk1"), str(link)))
        ended = self.run_to_its_end(COMMAND, "fsck", "--config", str(config), "--deep", "--delete-strays")
        self.assertNotEqual(ended.returncode, 0)
        self.assertIn('ledger.db", is inside of backend "disk1"', ended.stderr)
        self.assertNotIn("Traceback", ended.stderr + ended.stdout)
        self.assertTrue((self.directory / "ledger.db").exists())

    def test_port_taken(self) -> None:
        """Somebody else listens there: the message says where, and why not."""
        with closing(socket.create_server(("127.0.0.1", self.daemon.port))):
            ended = self.run_to_its_end(COMMAND, "serve", "--config", str(self.deployment.config_path))
        self.assertEqual(ended.returncode, 1)
        self.assertIn(
            f"cannot start: cannot listen on 127.0.0.1:{self.daemon.port}: Address already in use",
            ended.stderr,
        )
        self.assertNotIn("Traceback", ended.stderr + ended.stdout)

    def test_demonstration_elsewhere(self) -> None:
        """Where the demonstration cannot listen, it says how to have it elsewhere."""
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            place = f"127.0.0.1:{taken.getsockname()[1]}"
            ended = self.run_to_its_end(COMMAND, "demo", "--listen", place, "--data", self.mktemp())
        self.assertEqual(ended.returncode, 1)
        self.assertIn(f"cannot listen on {place}: Address already in use\n", ended.stderr)
        self.assertIn("--listen HOST:PORT", ended.stderr)

    def test_old_spelling(self) -> None:
        """`-config FILE -mode all`, without a command, serves."""
        self.daemon.arguments = ["-config", str(self.deployment.config_path), "-mode", "all"]
        self.daemon.start()
        self.serves()
        self.daemon.stop()

    def test_no_configuration(self) -> None:
        """A file that is not there is named."""
        ended = self.run_to_its_end(COMMAND, "serve", "--config", "/nowhere/at-all.yaml")
        self.assertEqual(ended.returncode, 1)
        self.assertIn("/nowhere/at-all.yaml", ended.stderr)

    def test_stopped_before_it_has_begun(self) -> None:
        """A backend that keeps us waiting at start does not keep us from stopping."""
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            backend = (
                f'  - {{name: away, endpoint: "http://127.0.0.1:{silent.getsockname()[1]}", bucket: b,'
                " access_key_id: a, secret_access_key: s, force_path_style: true}\n"
            )
            path = self.deployment.config_path
            path.write_text(path.read_text().replace("backends:\n", f"backends:\n{backend}"))
            with subprocess.Popen(
                [COMMAND, "serve", "--config", str(path)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
            ) as process:
                silent.settimeout(PATIENCE)
                silent.accept()
                process.terminate()
                _, told = process.communicate(timeout=10)
                self.assertEqual(process.returncode, 0)
                self.assertNotIn(b"cannot start", told)


class StopTests(ServeCase):
    def test_transfers_finish(self) -> None:
        """Told to stop, it finishes what is in flight, takes nothing new, and ends with 0."""
        self.daemon.start()
        client = self.deployment.client()
        data = os.urandom(4 * MIB)
        client.put_object(Bucket=BUCKET, Key="read", Body=data)
        place = {"Bucket": BUCKET, "Key": "written"}
        writing = SlowUpload(client.generate_presigned_url("put_object", place), data)
        writing.start()
        reading = client.get_object(Bucket=BUCKET, Key="read")["Body"]
        read = reading.read(1000)
        writing.begun.wait(PATIENCE)
        os.kill(self.daemon.pid, signal.SIGTERM)
        wait_until(self.is_deaf, "it still takes connections")
        self.assertEqual(read + reading.read(), data)
        writing.join(PATIENCE)
        self.assertEqual(writing.status, 200)
        # Nobody waits for connections that are idle now. No second signal: it might come after the reactor.
        wait_until(self.has_ended, "it does not end", patience=10)
        self.daemon.stop()
        self.daemon.start()
        again = self.deployment.client().get_object(Bucket=BUCKET, Key="written")["Body"].read()
        self.assertEqual(again, data)

    def has_ended(self) -> bool:
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        return "State:\tZ" in status

    def is_deaf(self) -> bool:
        try:
            fetch(f"{self.daemon.endpoint}/health")
        except OSError:
            return True
        return False


class TwistdTests(ServeCase):
    def test_twistd(self) -> None:
        """twistd runs it with our log, on the reactor it would choose and on asyncio's."""
        for chosen in ([], ["--reactor", "asyncio"]):
            started = [TWISTD, *chosen, "-n", "--pidfile=", "--logger"]
            started += ["s3orchestrator.telemetry.logging.observer", "s3orchestrator", "--config"]
            with self.daemon.log.open("wb") as log:
                process = subprocess.Popen(
                    [*started, str(self.deployment.config_path)], stdout=log, stderr=log, cwd=self.directory
                )
            try:
                wait_until(self.is_ready, f"not ready {self.daemon.tail()}")
                self.serves()
                os.kill(process.pid, signal.SIGHUP)
                self.serves()
            finally:
                process.terminate()
                # twistd ends of the signal that it was told to end with, once everything is closed.
                self.assertEqual(process.wait(PATIENCE), -signal.SIGTERM)
            self.assertIn('"serving at http://127.0.0.1:', self.daemon.tail())
            self.assertIn('"stopped"', self.daemon.tail())
            self.assertNotIn("Traceback", self.daemon.tail())

    def is_ready(self) -> bool:
        try:
            return fetch(f"{self.daemon.endpoint}/health/ready").status == 200
        except OSError:
            return False

    def test_unusable_configuration(self) -> None:
        """Every problem is named, and twistd ends with 1."""
        self.deployment.config_path.write_text("backends: []\nnonsense: 1\n")
        ended = self.run_to_its_end(
            TWISTD, "-n", "s3orchestrator", "--config", str(self.deployment.config_path)
        )
        self.assertEqual(ended.returncode, 1)
        self.assertIn("nonsense", ended.stdout + ended.stderr)


class FullDiskTests(ServeCase):
    """A small file system of its own, which takes root."""

    def setUp(self) -> None:
        super().setUp()
        self.small = Path(self.mktemp()).absolute()
        self.small.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(self.small)], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.small)], check=True)
        self.kept: dict[str, bytes] = {}

    def serve(self, deployment: Disks) -> None:
        self.deployment = deployment
        self.addCleanup(self.daemon.kill)
        self.daemon.start()
        self.client = deployment.client()

    def put(self, key: str, size: int) -> int:
        """Return the status; what is acknowledged is noted."""
        data = os.urandom(size)
        try:
            self.client.put_object(Bucket=BUCKET, Key=key, Body=data)
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
        self.kept[key] = data
        return 200

    def check_reads(self) -> None:
        for key, data in self.kept.items():
            self.assertEqual(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read(), data)

    def check_rest(self) -> None:
        self.deployment.settle()
        self.daemon.stop()
        wanted = {f"{BUCKET}/{key}": digest(data) for key, data in self.kept.items()}
        self.assertEqual(self.deployment.problems(wanted), [])

    def test_backends_full(self) -> None:
        """What does not fit is refused, small or large; what is there is read; what goes makes room."""
        self.serve(
            disks(
                self.directory, disk1=self.small / "1", disk2=self.small / "2", driver="sqlite", kind=Daemon
            )
        )
        statuses = [self.put(f"k{number}", MIB) for number in range(27)]
        self.assertGreater(statuses.count(200), 15)
        self.assertLessEqual(set(statuses), {200, 503, 507})
        self.assertNotEqual(statuses[-1], 200)
        self.check_reads()
        self.client.delete_object(Bucket=BUCKET, Key="k0")
        self.client.delete_object(Bucket=BUCKET, Key="k1")
        del self.kept["k0"], self.kept["k1"]
        wait_until(lambda: self.put("again", MIB) == 200, "there is no room again")
        self.check_reads()
        self.check_rest()

    def test_ledger_full_too(self) -> None:
        """With no byte left nothing is lost; with room again everything goes on, without a restart."""
        self.serve(disks(self.small, driver="sqlite", kind=Daemon))
        for number in range(5):
            self.assertEqual(self.put(f"k{number}", 10_000), 200)
        filler = self.small / "filler"
        fill(filler)
        statuses = [self.put(f"k{number % 5}", size) for number, size in enumerate([0, 10, 10_000, MIB] * 10)]
        self.assertLessEqual(set(statuses), {200, 503, 507})
        self.assertNotEqual(statuses[-1], 200)
        filler.unlink()
        wait_until(lambda: self.put("k0", 10) == 200, "it does not write again")
        self.check_reads()
        self.check_rest()


def fill(path: Path) -> None:
    """Leave no byte to anybody else."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
