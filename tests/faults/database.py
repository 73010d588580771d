"""A PostgreSQL server of one's own, to be killed, restarted and frozen, behind a relay."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import define, evolve, field

from s3orchestrator.testing.faults.forkserver import die_with_parent
from s3orchestrator.testing.faults.relay import Relay
from tests.ledgers import Choice
from tests.running import LedgerDatabase, wait_until
from tests.servers import Postgres, postgres


@define(eq=False)
class Database:
    """Started when made; `relay` is the way to it."""

    server: Postgres = field(init=False)
    relay: Relay = field(init=False)
    _command: list[str] = field(init=False)
    _directory: str = field(init=False)
    _user: int = field(init=False)
    _again: subprocess.Popen[bytes] | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.server = postgres.__wrapped__()  # not the one that all tests share
        self.relay = Relay(self.server.port).start()
        place = Path(f"/proc/{self.server.process}")
        self._command = (place / "cmdline").read_text().rstrip("\0").split("\0")
        self._directory = os.readlink(place / "cwd")
        self._user = place.stat().st_uid

    def ledger(self) -> Choice:
        """Return an empty ledger, which daemons reach through the relay, and tests directly."""
        server, name = self.server, self.server.database("icu")
        settings = f"host: {server.host}, port: {self.relay.port}, database: {name}, user: {server.user}"
        line = f"database: {{driver: postgres, {settings}, ssl_mode: disable, min_conns: 1, max_conns: 10}}"
        return Choice(line, LedgerDatabase(partial(server.connect, name)))

    def kill(self) -> None:
        """End it at once: what it has in memory is lost."""
        os.kill(self.server.process, signal.SIGQUIT)
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        if self._again is not None:
            self._again.wait()
        wait_until(lambda: not self.server.is_ready(), "the database goes on")
        wait_until(lambda: not _is_running(self.server.process), "the database does not end")

    def start(self) -> None:
        """Start it again, on what is on its disk."""
        self._again = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._directory,
            user=self._user,
            preexec_fn=die_with_parent,
        )
        self.server = evolve(self.server, process=self._again.pid)
        wait_until(self.server.is_ready, "the database does not start")

    def keep_copy(self) -> None:
        """Remember what it holds now, as a standby does that hears nothing more."""
        os.kill(self.server.process, signal.SIGINT)
        self._wait_for_end()
        subprocess.run(["cp", "-a", self._data, f"{self._data}.copy"], check=True)
        self.start()

    def fail_over(self) -> None:
        """Die, and have what `keep_copy` remembers take over: the same server, in another history."""
        self.kill()
        subprocess.run(["rm", "-r", self._data], check=True)
        Path(f"{self._data}.copy").rename(self._data)
        (Path(self._data) / "standby.signal").touch()
        self.start()
        self.server.execute("SELECT pg_promote()")

    @property
    def _data(self) -> str:
        return self._command[self._command.index("-D") + 1]

    def freeze(self) -> None:
        """Let nothing of it go on, and nobody notice."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def hang_up(self) -> None:
        """End every session but one's own."""
        self.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )

    def stop(self) -> None:
        """Let go of it."""
        self.relay.stop()
        self._signal(signal.SIGCONT)
        os.kill(self.server.process, signal.SIGQUIT)
        if self._again is not None:
            self._again.wait()

    def _signal(self, number: int) -> None:
        os.kill(self.server.process, number)
        for session in _children(self.server.process):
            with suppress(ProcessLookupError):  # it has ended since it was listed
                os.kill(session, number)


def _children(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(child) for child in listed.split()]


def _is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
