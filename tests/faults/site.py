"""A deployment whose daemons start at once, and may be told when to die."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from attrs import define, frozen

from s3orchestrator.testing.faults.client import Client, listed
from tests.forked import FAULTY, PROGRAM, ForkedDaemon, fork_server
from tests.instances import Instances
from tests.ledgers import Choice
from tests.ledgers import ledger as ledger_of
from tests.ports import free_port
from tests.running import Deployment, DirectoryStorage, Process, Storage, wait_until

BUCKET = "photos"
QUIET_MS = 1000


_CONFIGURATION = """\
server: {{listen_addr: "127.0.0.1:${{S3O_PORT}}", log_level: info, backend_timeout: {timeout}}}
{ledger}
routing_strategy: spread
write_path:
  quiet_period: {quiet}ms
  replay_limit: {replay_limit}
  pending_pattern: {{reaper_interval: 1s, min_age: 1s}}
cleanup_queue: {{claim_grace_period: {lease}}}
backends:
{backends}
buckets:
{buckets}
"""


@frozen
class Place:
    """Somewhere for a backend: its lines in the configuration, and the way to look behind it."""

    settings: str
    storage: Storage


def disk(path: Path) -> Place:
    """A directory."""
    return Place(f'type: directory, path: "{path}", quota_bytes: 4GB', DirectoryStorage(path))


@define(eq=False)
class FaultyDaemon(ForkedDaemon):
    """With `points` it dies at one of them, which `kill_at` and `when` tell; without, it is plain `serve`."""

    points: Path | None = None
    kill_at: int = 0
    when: str = "before"
    waits: bool = True

    def _spawn(self) -> Process:
        return super()._spawn() if self.points is None else self._fork(FAULTY, *self._faulty())

    def _faulty(self) -> list[str]:
        wait = ["--wait-for-signal"] if self.waits else []
        return [
            *self.arguments[1:],
            "--points",
            str(self.points),
            "--kill-at",
            str(self.kill_at),
            "--when",
            self.when,
            *wait,
        ]

    def arm(self) -> None:
        """Let crash points count from here."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        wait_until(lambda: self.reached()[:1] == ["armed"], "it was not armed")

    def reached(self) -> list[str]:
        """The points that it has reached."""
        assert self.points is not None
        return self.points.read_text().splitlines() if self.points.exists() else []

    def start_or_die(self) -> None:
        """Start it, and return whether it serves or has died before it could."""
        assert self._process is None
        self._process = self._spawn()
        wait_until(self._is_ready_or_gone, "neither ready nor gone")

    def has_died(self) -> bool:
        """Whether it has ended without being told to."""
        return self._process is not None and self._process.poll() is not None

    def bury(self) -> int:
        """Wait for the end of one that dies; returns its exit status."""
        assert self._process is not None
        process, self._process = self._process, None
        return process.wait(30)


@define(eq=False)
class Site(Deployment):
    """A deployment of any ledger and any backends, in a directory of its own."""

    directory: Path
    members: Sequence[FaultyDaemon]

    def client(self, bucket: str = BUCKET, patience: float = 10.0, member: int = 0) -> Client:
        """A client of one of the daemons, with a connection of its own."""
        return Client(self.members[member].port, bucket, _token_of(bucket), patience)

    def settle(self) -> None:
        """See `Deployment`; what failed is tried again now, and not a minute later."""
        self.daemon.stop()
        self.hasten()
        self.daemon.start()
        super().settle()

    def hasten(self) -> None:
        """
        Let what is doomed be due, and the leases of the dead lapse; nobody may be running.

        Rests take as long as they take: that is what they are for.
        """
        self.ledger.change("UPDATE blobs SET due_ms = doomed_ms WHERE state = 'doomed'")
        self.ledger.lapse()

    def fsck(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Check the ledger, which nobody serves."""
        arguments = ["fsck", "--config", str(self.config_path), *options]
        with tempfile.NamedTemporaryFile(dir=self.directory) as output:
            environment = {"S3O_PORT": "1", **os.environ}  # whose port does not matter
            running = fork_server().run(PROGRAM, arguments, Path(output.name), environment=environment)
            status = running.wait(120)
            lines = output.read().decode().splitlines(keepends=True)
        findings = [line for line in lines if not line.startswith("s3orchestrator: warning:")]
        return subprocess.CompletedProcess(arguments, status, "".join(findings), "")

    def whole(self, contents: Mapping[str, bytes]) -> list[str]:
        """Stop, and tell what is wrong if exactly this should be there, by `bucket/key`."""
        self.settle()
        self.daemon.stop()
        return self.problems({key: sha256(data).hexdigest() for key, data in contents.items()})


def site(
    directory: Path,
    places: Mapping[str, Place],
    *,
    buckets: Sequence[str] = (BUCKET,),
    ledger: Choice | None = None,
    instances: int = 1,
    quiet_ms: int = QUIET_MS,
    replay_limit: int = 1000,
    timeout: str = "2s",
    lease: str = "5m",
) -> Site:
    """Write a configuration into `directory`; nothing is started yet. Without `ledger` it is SQLite's."""
    directory.mkdir(parents=True, exist_ok=True)
    config, chosen = directory / "s3orchestrator.yaml", ledger or ledger_of(directory, "sqlite")
    config.write_text(
        _CONFIGURATION.format(
            ledger=chosen.line,
            quiet=quiet_ms,
            timeout=timeout,
            lease=lease,
            replay_limit=replay_limit,
            backends="\n".join(f"  - {{name: {name}, {place.settings}}}" for name, place in places.items()),
            buckets="\n".join(
                f"  - {{name: {bucket}, credentials: [{{token: {_token_of(bucket)}}}]}}" for bucket in buckets
            ),
        )
    )
    members = [_member(config, number) for number in range(instances)]
    return Site(
        config_path=config,
        daemon=members[0] if instances == 1 else Instances(members, free_port()),
        ledger=chosen.rows,
        storage={name: place.storage for name, place in places.items()},
        directory=directory,
        members=members,
    )


def _member(config: Path, number: int) -> FaultyDaemon:
    port = free_port()
    return FaultyDaemon(
        ["serve", "--config", str(config)],
        port,
        config.parent / f"serve{number or ''}.log",
        {**os.environ, "S3O_PORT": str(port)},
    )


def _token_of(bucket: str) -> str:
    return f"token-of-{bucket}"


def contents(client: Client) -> dict[str, bytes]:
    """What a client sees: all that is listed can be read."""
    found = {}
    page = client.list()
    assert page.status == 200, page
    for key in listed(page):
        reply = client.get(key)
        assert reply.status == 200, reply
        found[key] = reply.body
    return found


def disks(directory: Path, names: Sequence[str] = ("disk1", "disk2")) -> dict[str, Place]:
    """Directories below `directory`."""
    return {name: disk(directory / name) for name in names}
