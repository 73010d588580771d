"""Asking a fork server for processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from json import dumps
from pathlib import Path
from shutil import rmtree
from subprocess import TimeoutExpired

from attrs import define, field

from s3orchestrator.testing.faults.forkserver import die_with_parent

_PATIENCE = 30.0  # seconds; importing takes one or two


@define(eq=False)
class Forked:
    """A process that a fork server has started, with what `subprocess.Popen` would offer."""

    args: Sequence[str]
    pid: int
    _connection: socket.socket
    returncode: int | None = field(init=False, default=None)

    def poll(self) -> int | None:
        """Return its exit status if it has ended."""
        try:
            return self.wait(0)
        except TimeoutExpired:
            return None

    def wait(self, timeout: float | None = None) -> int:
        """
        Return its exit status once it has ended.

        :raises TimeoutExpired: that takes longer than `timeout` seconds.
        """
        if self.returncode is None:
            self._connection.settimeout(timeout)
            try:
                said = self._connection.recv(16)
            except (TimeoutError, BlockingIOError):
                raise TimeoutExpired(list(self.args), timeout or 0) from None
            # Nothing is said if its watcher was killed, which takes it along.
            self.returncode = int(said or -signal.SIGKILL)
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal to a process that has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


@define(eq=False)
class ForkServer:
    """One process that has imported everything, and forks itself on demand."""

    _directory: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def start(self) -> ForkServer:
        """Start it, and wait until it can be asked."""
        self._directory = Path(tempfile.mkdtemp(prefix="s3o-fork-"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "s3orchestrator.testing.faults.forkserver", self._address],
            stdin=subprocess.DEVNULL,
            preexec_fn=die_with_parent,
        )
        deadline = time.monotonic() + _PATIENCE
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the fork server did not start")
            time.sleep(0.02)
        return self

    def run(
        self,
        module: str,
        arguments: Sequence[str],
        output: Path,
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> Forked:
        """Start `module`'s `main`; what it prints is added to `output`."""
        output.touch()
        connection = self._connect()
        request = {
            "module": module,
            "arguments": list(arguments),
            "output": str(output),
            "environment": dict(os.environ if environment is None else environment),
            "directory": str(directory) if directory is not None else None,
        }
        connection.sendall(dumps(request).encode() + b"\n")
        connection.settimeout(_PATIENCE)
        said = b""
        while not said.endswith(b"\n"):
            more = connection.recv(1)  # no more: what follows is the exit status
            if not more:
                raise RuntimeError(f"{module} was not started")
            said += more
        return Forked([module, *arguments], int(said), connection)

    def stop(self) -> None:
        """End it, and with it all that it has started."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            rmtree(self._directory, ignore_errors=True)

    @property
    def _address(self) -> str:
        return str(self._directory / "socket")

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._address)
        except OSError:
            connection.close()
            raise
        return connection

    def _listens(self) -> bool:
        return os.path.exists(self._address)
