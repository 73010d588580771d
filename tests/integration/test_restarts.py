"""Restarts behind a socket that somebody else holds, and reloads, with clients that never stop."""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.clients.deployment import boto3_client
from tests.integration.disks import BUCKET, disks
from tests.integration.test_serve_command import TWISTD
from tests.notified import Manager
from tests.running import PATIENCE, fetch, wait_until
from tests.unit.config.samples import scratch
from tests.unit.web.certificates import Authority
from tests.workers import CHOSEN, with_workers

FIRST = 3  # the number that systemd gives the first socket it passes
KEYS = ("photoskey", "photossecret")


class Clients:
    """Threads that ask on and on; `answers` counts what went well, `failures` says what did not."""

    def __init__(self) -> None:
        self.answers: dict[str, int] = {}
        self.failures: list[str] = []
        self._threads: list[threading.Thread] = []
        self._end = threading.Event()

    def begin(self, name: str, ask: Callable[[int], object]) -> None:
        self.answers[name] = 0
        self._threads.append(threading.Thread(target=self._ask_on, args=(name, ask)))
        self._threads[-1].start()

    def _ask_on(self, name: str, ask: Callable[[int], object]) -> None:
        while not self._end.is_set():
            try:
                ask(self.answers[name])
                self.answers[name] += 1
            except Exception as error:
                self.failures.append(f"{name}, after {self.answers[name]}: {error!r}")
                return

    def go_on(self) -> None:
        """Return when each of them has been answered some more times, or one has failed."""
        before = dict(self.answers)
        wait_until(
            lambda: self.failures or all(self.answers[name] > before[name] + 10 for name in before),
            f"nobody is served any more: {before}",
        )

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


class HeldSocketCase(SynchronousTestCase):
    """A daemon on a socket of ours, as systemd would start it."""

    ca_file: str | None = None
    driver = "sqlite"
    workers = CHOSEN

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.deployment = disks(self.directory, driver=self.driver)
        self.config = self.deployment.config_path
        self.log = self.directory / "daemon.log"
        self.manager = Manager(scratch(self) / "notify")
        self.addCleanup(self.manager.close)
        self.readies = 0
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.addCleanup(self.socket.close)
        self.port = self.socket.getsockname()[1]
        listeners = f'listeners: [{{address: "systemd:s3"{self.more()}}}]'
        text, number = re.subn('listen_addr: "127.0.0.1:[^"]*"', listeners, self.config.read_text())
        self.assertEqual(number, 1)
        self.config.write_text(with_workers(text, self.workers))

    def more(self) -> str:
        """What else is said of the listener."""
        return ""

    def start(self) -> subprocess.Popen[bytes]:
        """Start one, and return once it serves."""
        # What is passed must say to which process, which only that process knows.
        script = 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=s3; exec "$@"'
        options = ("-n", "--pidfile=", "--logger", "s3orchestrator.telemetry.logging.observer")
        command = (TWISTD, *options, "s3orchestrator", "--config", str(self.config))
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                ["sh", "-c", script, "sh", *command],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**os.environ, "NOTIFY_SOCKET": str(self.manager.path)},
                pass_fds=(FIRST,),
                preexec_fn=self._pass_socket,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.await_ready(process)
        return process

    def await_ready(self, process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait until the service manager has heard once more that all is ready."""
        self.readies += 1
        wait_until(
            lambda: self.manager.said().count("READY") == self.readies or (process and process.poll()),
            "it is not ready",
        )
        self.assertEqual(self.manager.said().count("READY"), self.readies)

    def _pass_socket(self) -> None:
        if self.socket.fileno() != FIRST:
            os.dup2(self.socket.fileno(), FIRST)
        os.set_inheritable(FIRST, True)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGTERM)
        # twistd ends by the signal that stopped it, which service managers take for success.
        self.assertIn(process.wait(PATIENCE), (0, -signal.SIGTERM), self.log.read_text()[-2000:])
        self.assertEqual(json.loads(self.log.read_text().splitlines()[-1])["msg"], "stopped")

    def s3(self) -> Any:
        """A client that asks once, and keeps its connection."""
        scheme = "http" if self.ca_file is None else "https"
        return boto3_client(f"{scheme}://127.0.0.1:{self.port}", *KEYS, verify=self.ca_file)

    def connection(self) -> http.client.HTTPConnection:
        """One for a single request."""
        if self.ca_file is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        context = ssl.create_default_context(cafile=self.ca_file)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=context)


class RestartTests(HeldSocketCase):
    restarts = 4

    def test_no_client_notices(self) -> None:
        """
        Clients with a connection for each request, or one for all of them, that read and that
        write, go through restarts and reloads without one error; what they wrote is there.
        """
        process, clients = self.start(), Clients()
        written: dict[str, str] = {}
        self.s3().put_object(Bucket=BUCKET, Key="read", Body=b"x" * 100_000)
        reader, writer = self.s3(), self.s3()

        def read(_: int) -> None:
            body = reader.get_object(Bucket=BUCKET, Key="read")["Body"].read()
            assert body == b"x" * 100_000

        def write(number: int) -> None:
            body = b"%d " % number * 5000
            writer.put_object(Bucket=BUCKET, Key=f"written {number}", Body=body)
            written[f"written {number}"] = sha256(body).hexdigest()

        def connect(_: int) -> None:
            with closing(self.connection()) as connection:
                connection.request("GET", "/health")
                assert connection.getresponse().read()

        clients.begin("read", read)
        clients.begin("write", write)
        clients.begin("connect", connect)
        self.addCleanup(clients.end)
        for _ in range(self.restarts):
            clients.go_on()
            self.stop(process)
            process = self.start()
            process.send_signal(signal.SIGHUP)
            self.await_ready()
            clients.go_on()
        clients.end()
        self.assertEqual(clients.failures, [])
        for key, digest in written.items():
            body = self.s3().get_object(Bucket=BUCKET, Key=key)["Body"].read()
            self.assertEqual(sha256(body).hexdigest(), digest)
        self.stop(process)

    def test_waits_while_nobody_is_there(self) -> None:
        """Who connects while no daemon runs is served by the next one."""
        self.stop(self.start())
        with ThreadPoolExecutor(1) as threads, closing(self.connection()) as connection:
            asked = threads.submit(connection.request, "GET", "/health")
            wait_until(lambda: _is_waiting(self.socket), "it does not connect")
            process = self.start()
            asked.result(PATIENCE)
            self.assertEqual(connection.getresponse().status, 200)
        self.stop(process)

    def test_name_that_was_not_passed(self) -> None:
        """A listener that wants another name is an error that says which there are."""
        self.config.write_text(self.config.read_text().replace("systemd:s3", "systemd:web"))
        with self.assertRaises(AssertionError):
            self.start()
        self.assertIn("cannot listen on systemd:web: no socket of that name was passed", self.log.read_text())
        self.assertIn("passed: s3", self.log.read_text())


class SecureRestartTests(RestartTests):
    """The same over HTTPS, where a connection is of use only after the daemon has answered a greeting."""

    restarts = 2

    def more(self) -> str:
        authority = Authority()
        self.ca_file = authority.write(self.directory / "ca.pem")
        cert_file, key_file = authority.issue("server", self.directory)
        return f', tls: {{cert_file: "{cert_file}", key_file: "{key_file}"}}'


class WorkersRestartTests(RestartTests):
    """The same of several processes that serve."""

    workers = 2
    restarts = 2


class PostgresWorkersRestartTests(WorkersRestartTests):
    """The same with a database that each process asks by itself."""

    driver = "postgres"


class SecureWorkersRestartTests(SecureRestartTests):
    """The same over HTTPS."""

    workers = 2
    restarts = 1


class ActivationTests(HeldSocketCase):
    def test_by_systemds_own_tool(self) -> None:
        """`systemd-socket-activate` starts us at the first connection, which is served."""
        tool = shutil.which("systemd-socket-activate")
        assert tool is not None, "make prerequisites installs it"
        self.socket.close()
        options = ("-n", "--pidfile=", "--logger", "s3orchestrator.telemetry.logging.observer")
        command = (TWISTD, *options, "s3orchestrator", "--config", str(self.config))
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [tool, "--fdname=s3", f"--listen=127.0.0.1:{self.port}", *command],
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_until(lambda: b"Listening" in self.log.read_bytes(), "it does not listen")
        answer = fetch(f"http://127.0.0.1:{self.port}/health")
        self.assertEqual((answer.status, json.loads(answer.body)["status"]), (200, "ok"))
        # Of several processes one may serve before all do.
        wait_until(lambda: b"serving at" in self.log.read_bytes(), "it does not serve")
        self.stop(process)


def _is_waiting(listening: socket.socket) -> bool:
    """Whether somebody waits to be accepted."""
    return bool(select.select([listening], [], [], 0)[0])
