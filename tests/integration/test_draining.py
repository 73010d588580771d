"""Told to stop, and told again: who is still served, who is not, and what the service manager hears."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, MIB, Disks, disks
from tests.integration.test_serve_command import TWISTD, SlowUpload
from tests.notified import Manager
from tests.running import COMMAND, PATIENCE, fetch, wait_until
from tests.unit.config.samples import scratch
from tests.workers import let_workers_serve

DELAY = 3.0  # seconds; long enough to look around meanwhile on a busy machine


class DaemonCase(SynchronousTestCase):
    """A daemon with a service manager."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.deployment: Disks = disks(self.directory, driver="sqlite")
        self.log = self.directory / "daemon.log"
        self.manager = Manager(scratch(self) / "notify")  # a path of a socket must be short
        self.addCleanup(self.manager.close)

    def configure(self, server: str) -> None:
        path = self.deployment.config_path
        path.write_text(path.read_text().replace("server: {", f"server: {{{server}, "))

    def start(self, *command: str, **environ: str) -> subprocess.Popen[bytes]:
        let_workers_serve(self.deployment.config_path)
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--config", str(self.deployment.config_path)],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, "NOTIFY_SOCKET": str(self.manager.path), **environ},
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def serve(self, **environ: str) -> subprocess.Popen[bytes]:
        process = self.start(COMMAND, "serve", **environ)
        self.manager.await_("READY")
        return process

    def twistd(self, **environ: str) -> subprocess.Popen[bytes]:
        return self.start(
            TWISTD,
            "-n",
            "--pidfile=",
            "--logger",
            "s3orchestrator.telemetry.logging.observer",
            "s3orchestrator",
            **environ,
        )

    def status(self, path: str) -> int:
        """What a new connection is answered."""
        return fetch(f"{self.deployment.daemon.endpoint}{path}").status

    def is_refused(self) -> bool:
        with closing(socket.socket()) as asking:
            return asking.connect_ex(("127.0.0.1", self.deployment.daemon.port)) != 0

    def assertEnds(self, process: subprocess.Popen[bytes], status: int) -> None:
        """In time, like this, and without a traceback."""
        self.assertEqual(process.wait(PATIENCE), status, self.log.read_text())
        self.assertNotIn("Traceback", self.log.read_text())


class DrainTests(DaemonCase):
    def test_delay(self) -> None:
        """
        For a while everybody is served, and balancers hear that it ends; then what is in flight is finished.

        A second signal changes nothing.
        """
        self.configure(f"shutdown_delay: {DELAY}s")
        process = self.serve()
        client = self.deployment.client()
        data = os.urandom(4 * MIB)
        client.put_object(Bucket=BUCKET, Key="read", Body=data)
        idle = HTTPConnection("127.0.0.1", self.deployment.daemon.port, timeout=PATIENCE)
        self.addCleanup(idle.close)
        idle.request("GET", "/health")
        idle.getresponse().read()
        process.terminate()
        wait_until(lambda: self.status("/health/ready") == 503, "it goes on as ready")
        self.manager.await_("READY", "STOPPING")
        # New connections are served; so are old ones.
        self.assertEqual(self.status("/health"), 200)
        idle.request("GET", "/health")
        self.assertEqual(idle.getresponse().read()[:1], b"{")
        place = {"Bucket": BUCKET, "Key": "written"}
        writing = SlowUpload(client.generate_presigned_url("put_object", place), data)
        writing.start()
        reading = self.deployment.client().get_object(Bucket=BUCKET, Key="read")["Body"]
        read = reading.read(1000)
        writing.begun.wait(PATIENCE)
        process.terminate()
        process.send_signal(signal.SIGINT)
        wait_until(self.is_refused, "it still takes connections")
        self.assertIsNone(process.poll())
        self.assertEqual(idle.sock.recv(1), b"")
        self.assertEqual(read + reading.read(), data)
        writing.join(PATIENCE)
        self.assertEqual(writing.status, 200)
        self.assertEnds(process, 0)
        self.assertIn("stopping already", self.log.read_text())

    def test_delay_reloaded(self) -> None:
        """How long it goes on can be said while it runs; a reload that comes too late is left alone."""
        process = self.serve()
        self.configure("shutdown_delay: 1h")
        process.send_signal(signal.SIGHUP)
        self.manager.await_("READY", "RELOADING", "READY")
        process.terminate()
        self.manager.await_("READY", "RELOADING", "READY", "STOPPING")
        process.send_signal(signal.SIGHUP)
        self.assertEqual(self.status("/health/ready"), 503)
        self.assertEqual(self.status("/health"), 200)
        self.assertEqual(self.manager.said()[-1], "STOPPING")
        self.assertIsNone(process.poll())

    def test_slow_clients(self) -> None:
        """A connection on which nothing was ever asked is not waited for."""
        process = self.serve()
        with closing(
            socket.create_connection(("127.0.0.1", self.deployment.daemon.port), PATIENCE)
        ) as silent:
            process.terminate()
            self.assertEqual(silent.recv(1), b"")
            self.assertEnds(process, 0)


class ManagerTests(DaemonCase):
    def test_twistd(self) -> None:
        """twistd's daemon speaks the same, reloads, and ends of the signal that it was told to end with."""
        process = self.twistd(WATCHDOG_USEC="200000")
        self.manager.await_("READY")
        port = self.deployment.daemon.port
        self.assertEqual(self.manager.messages[0]["STATUS"], f"serving at http://127.0.0.1:{port}")
        path = self.deployment.config_path
        path.write_text(path.read_text().replace("photossecret", "${NOT_SET}"))
        process.send_signal(signal.SIGHUP)
        self.manager.await_("READY", "RELOADING", "READY")
        _, reloading, again = [each for each in self.manager.messages if "WATCHDOG" not in each]
        self.assertTrue(reloading["MONOTONIC_USEC"].isdecimal())
        self.assertIn("configuration reload failed: ", again["STATUS"])
        wait_until(lambda: self.signs_of_life() > 3, "it does not tell that it lives")
        process.terminate()
        process.terminate()
        self.assertEnds(process, -signal.SIGTERM)
        self.assertEqual(self.manager.said()[-1], "STOPPING")

    def test_told_twice(self) -> None:
        """Told to stop twice at once it stops once, and has nothing to complain of."""
        for number, end in enumerate((0, -signal.SIGINT)):  # the lower number comes first
            process = self.twistd() if number else self.start(COMMAND, "serve")
            self.manager.await_(*["READY", "STOPPING"] * number, "READY")
            for told in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGCONT):
                process.send_signal(told)
            self.assertEnds(process, end)
            self.assertIn("stopping already", self.log.read_text())

    def signs_of_life(self) -> int:
        return sum("WATCHDOG" in message for message in self.manager.hear())

    def test_cannot_start(self) -> None:
        """Who cannot start ends with 1, so that nobody takes it for success; twistd's daemon as well."""
        with closing(socket.create_server(("127.0.0.1", self.deployment.daemon.port))):
            for process in (self.start(COMMAND, "serve"), self.twistd()):
                self.assertEnds(process, 1)
                self.assertIn("cannot start: ", self.log.read_text())
                self.assertNotIn("READY", self.manager.said())
                self.assertIn("cannot start: ", self.manager.messages[-2]["STATUS"])

    def test_nobody_listens(self) -> None:
        """A manager that is not there keeps nobody from serving."""
        self.manager.close()
        process = self.start(COMMAND, "serve")
        wait_until(lambda: "serving at http" in self.log.read_text(), "it does not serve")
        self.assertEqual(self.status("/health"), 200)
        process.terminate()
        self.assertEnds(process, 0)
