"""
Real servers for tests, S3 services and PostgreSQL, started when first asked for and stopped with the process.

Each runs once per process, on a port of its own, in memory, and is reachable from
127.0.0.1 only. A server that cannot be started is a failure, not a skip.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import psycopg2
from attrs import define, field, frozen
from botocore.config import Config

from tests.ports import free_port
from tests.unit.web.certificates import Authority

_PATIENCE = 90.0  # seconds; Ceph takes twelve on a machine that has nothing else to do
_PDEATHSIG = 1
_numbers = count(1)


@frozen
class Server:
    """An S3 service that answers at `endpoint`, with a user who may do everything."""

    kind: str
    endpoint: str
    access_key_id: str
    secret_access_key: str

    def client(self) -> Any:
        """Ask it with boto3, which knows nothing of us."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )

    def make_bucket(self, *, versioned: bool = False) -> str:
        """Make a bucket that nobody else uses."""
        name = f"bucket-{os.getpid()}-{next(_numbers)}"
        client = self.client()
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name


@cache
def moto() -> Server:
    """Start moto: a broad interface, which believes any secret and any checksum."""
    port = free_port()
    running = _Running("moto")
    interpreter = Path(_program("moto_server")).resolve().with_name("python")
    guarded = Path(__file__).with_name("moto_server.py")
    running.start([str(interpreter), str(guarded), "-H", "127.0.0.1", "-p", str(port)])
    endpoint = f"http://127.0.0.1:{port}"
    running.wait_for(lambda: _answers(endpoint), "moto")
    return Server("moto", endpoint, "motokey", "motosecret")


@cache
def radosgw() -> Server:
    """Start Ceph with one monitor, one store in memory and its S3 gateway."""
    running = _Running("ceph")
    ceph = _Ceph(running, free_port(), free_port())
    ceph.start_storage()
    ceph.command("radosgw-admin", "user", "create", "--uid=t", "--display-name=t",
                 "--access-key=rgwkey", "--secret=rgwsecret")  # fmt: skip
    endpoint = f"http://127.0.0.1:{ceph.gateway_port}"
    ceph.start_gateway()
    running.wait_for(lambda: _answers(endpoint), "radosgw")
    return Server("radosgw", endpoint, "rgwkey", "rgwsecret")


@frozen
class Postgres:
    """A PostgreSQL server for `user`, who needs no password and may do everything."""

    host: str
    port: int
    user: str
    process: int  # the postmaster's
    authority: str  # the file with the certificate that its own is signed by

    def database(self, locale: str = "c") -> str:
        """Make an empty database that nobody else uses, which sorts text by `locale`: `c`, or `icu`."""
        name = f"ledger_{os.getpid()}_{next(_numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {locale}")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def backends(self, database: str) -> list[int]:
        """The processes that serve a database's connections."""
        rows = self.execute(f"SELECT pid FROM pg_stat_activity WHERE datname = '{database}'")
        return [pid for (pid,) in rows]

    def execute(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Execute statements, each by itself; returns the rows of the last."""
        with closing(self.connect(database)) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def connect(self, database: str = "postgres") -> Any:
        """Connect with psycopg2 alone."""
        connection = psycopg2.connect(host=self.host, port=self.port, user=self.user, dbname=database)
        connection.autocommit = True
        return connection

    def is_ready(self) -> bool:
        """Tell whether it can be asked."""
        try:
            self.connect().close()
        except psycopg2.OperationalError:
            return False
        return True


@cache
def postgres() -> Postgres:
    """
    Start PostgreSQL, with two databases to make others from.

    It promises durability to nobody: the machine does not go down with the tests.
    """
    # It ends its own processes then; those of one that was killed would go on writing for a while.
    running = _Running("postgres", user=_ordinary_user(), ending=signal.SIGQUIT)
    data, port = str(running.directory / "data"), free_port()
    running.run([_postgres_program("initdb"), "-D", data, "-U", "tester", "-A", "trust",
                 "-E", "UTF8", "--locale=C", "--no-sync"])  # fmt: skip
    authority = Authority()
    certificate, key = authority.issue("postgres", running.directory)
    running.keep_secret(key)
    settings = {
        "ssl": "on",
        "ssl_cert_file": certificate,
        "ssl_key_file": key,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(running.directory),
        "fsync": "off",
        "full_page_writes": "off",
        "max_connections": "200",
        "shared_buffers": "32MB",
        "autovacuum": "off",  # plans and locks are the tests' own
        "deadlock_timeout": "100ms",
    }
    options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
    process = running.start([_postgres_program("postgres"), "-D", data, "-p", str(port), *options])
    trusted = authority.write(running.directory.with_suffix(".authority"))
    atexit.register(os.remove, trusted)
    server = Postgres("127.0.0.1", port, "tester", process, trusted)
    running.wait_for(server.is_ready, "postgres")
    server.execute(
        "CREATE DATABASE c TEMPLATE template0",
        "CREATE DATABASE icu TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'",
    )
    return server


SERVERS: Mapping[str, Callable[[], Server]] = {"moto": moto, "radosgw": radosgw}


def _program(name: str) -> str:
    """Find a program: where `S3O_TEST_TOOLS` says, where `make prerequisites` puts it, or on PATH."""
    prepared = Path(__file__).parent.parent / ".cache" / "bin"
    places = [os.environ.get("S3O_TEST_TOOLS", ""), str(prepared), os.environ.get("PATH", "")]
    found = shutil.which(name, path=os.pathsep.join(filter(None, places)))
    assert found is not None, f"{name} is not installed; `make prerequisites` does it"
    return found


def _postgres_program(name: str) -> str:
    """Find the newest of PostgreSQL's own programs, which Debian keeps off the PATH."""
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda path: int(path.parent.parent.name), default=None)
    return str(newest) if newest is not None else _program(name)


def _ordinary_user() -> str | None:
    """Return whom to be instead of root, who may not run PostgreSQL; None if we are not root."""
    return "nobody" if os.geteuid() == 0 else None


def _answers(endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(endpoint, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def _die_with_parent() -> None:
    """Between fork and exec: whatever happens to the tests, the server does not stay behind."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


@define(eq=False)
class _Running:
    """The processes of a server and its directory."""

    name: str
    user: str | None = None  # who runs them, if not us
    ending: signal.Signals = signal.SIGKILL
    directory: Path = field(init=False)
    _processes: list[subprocess.Popen[bytes]] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"s3o-{self.name}-"))
        if self.user is not None:
            shutil.chown(self.directory, self.user)
        atexit.register(self.stop)

    def keep_secret(self, path: str) -> None:
        """Let only the processes read a file."""
        os.chmod(path, 0o600)
        if self.user is not None:
            shutil.chown(path, self.user)

    def run(self, command: Sequence[str]) -> None:
        """Run a command to its end."""
        ended = subprocess.run(
            command, capture_output=True, timeout=_PATIENCE, check=False, text=True, user=self.user
        )
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"

    def start(self, command: Sequence[str]) -> int:
        """Start a process that stays in the foreground; returns its number."""
        with (self.directory / "output").open("ab") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                user=self.user,
                preexec_fn=_die_with_parent,
            )
        self._processes.append(process)
        return process.pid

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """:raises AssertionError: a process ended, or it took too long; with what they printed."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            ended = [process.args for process in self._processes if process.poll() is not None]
            assert not ended, f"{what}: {ended} ended\n{self._tail()}"
            assert time.monotonic() < deadline, f"{what} did not start\n{self._tail()}"
            time.sleep(0.1)

    def stop(self) -> None:
        """End everything; there is nothing to keep."""
        for process in reversed(self._processes):
            process.send_signal(self.ending)
        for process in self._processes:
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _tail(self) -> str:
        return (self.directory / "output").read_text(errors="replace")[-4000:]


@define(eq=False)
class _Ceph:
    """Ceph on one machine, without its manager."""

    _running: _Running
    _monitor_port: int
    gateway_port: int
    # Daemons of another cluster on this machine must not take ours for one of theirs.
    _fsid: str = field(init=False, factory=lambda: str(uuid4()))

    @property
    def _directory(self) -> Path:
        return self._running.directory

    def start_storage(self) -> None:
        """Start a monitor and the store."""
        for name in ("mon", "osd", "run", "log"):
            (self._directory / name).mkdir()
        self._conf.write_text(
            _CEPH_CONF.format(dir=self._directory, port=self._monitor_port, fsid=self._fsid)
        )
        monmap = str(self._directory / "monmap")
        address = f"[v1:127.0.0.1:{self._monitor_port}]"
        self._run(_program("monmaptool"), "--create", "--addv", "a", address, "--fsid", self._fsid, monmap)
        monitor = ["-i", "a", "--mon-data", str(self._directory / "mon")]
        self.command("ceph-mon", *monitor, "--mkfs", "--monmap", monmap)
        self._running.start([_program("ceph-mon"), "-c", str(self._conf), "-f", *monitor])
        # A monitor that has just started may refuse what it does not know yet; both may be said again.
        store_id = str(uuid4())
        self._persuade("ceph", "osd", "create", store_id)
        self._persuade("ceph", "osd", "crush", "add", "osd.0", "1", "host=here", "root=default")
        store = ["-i", "0", "--osd-data", str(self._directory / "osd")]
        self.command("ceph-osd", *store, "--mkfs", "--osd-uuid", store_id)
        # Asking a monitor for its configuration it would not know the fsid yet, and may end over that.
        osd = [_program("ceph-osd"), "--no-mon-config", "-c", str(self._conf), "-f"]
        self._running.start([*osd, *store])

    def start_gateway(self) -> None:
        """Start what speaks S3."""
        frontend = f"beast endpoint=127.0.0.1:{self.gateway_port}"
        self._running.start(
            [_program("radosgw"), "-c", str(self._conf), "-f", "-n", "client.rgw.a",
             f"--rgw-frontends={frontend}", f"--rgw-data={self._directory}"]
        )  # fmt: skip

    def command(self, program: str, *arguments: str) -> None:
        """Run one of Ceph's commands to its end."""
        self._run(_program(program), "-c", str(self._conf), *arguments)

    @property
    def _conf(self) -> Path:
        return self._directory / "ceph.conf"

    def _persuade(self, program: str, *arguments: str) -> None:
        """Run a command that changes nothing the second time, until it succeeds."""
        refusals: list[str] = []

        def succeeds() -> bool:
            try:
                self.command(program, *arguments)
            except AssertionError as refusal:
                refusals.append(str(refusal))
                return False
            return True

        try:
            self._running.wait_for(succeeds, " ".join(arguments))
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *refusals[-1:]])) from error

    def _run(self, *command: str) -> None:
        ended = subprocess.run(command, capture_output=True, timeout=_PATIENCE, check=False, text=True)
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"


# The store would place itself in the map when it starts, and sometimes asks before it knows which
# cluster it belongs to; then it ends. So that is done for it.
_CEPH_CONF = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd objectstore = memstore
memstore device bytes = 2147483648
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
mon allow pool size one = true
mon_max_pg_per_osd = 2000
run dir = {dir}/run
log file = {dir}/log/$name.log
admin socket = {dir}/run/$name.asok
pid file = {dir}/run/$name.pid
"""
