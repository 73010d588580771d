"""The programs that a benchmark starts: the sink, nginx in front of it, and ourselves."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from socket import create_server
from typing import Any

import yaml
from attrs import define, field

from s3orchestrator.testing.bench.certificate import Certificate
from s3orchestrator.testing.bench.machine import PROGRAMS

BUCKETS = ("bench", "million")
ACCESS_KEY_ID, SECRET = "benchkey", "benchsecret"

PATIENCE = 30.0  # seconds to start or to stop in

# As one would set it up for large objects: connections kept on both sides, nothing spooled to
# disk, uploads passed on as they arrive.
_NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    scgi_temp_path {directory}/scgi;
    uwsgi_temp_path {directory}/uwsgi;
    upstream sink {{
        server 127.0.0.1:{sink};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{secure_port} ssl;
        ssl_certificate {tls.cert_file};
        ssl_certificate_key {tls.key_file};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass http://sink;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            {buffers}
        }}
    }}
}}
"""

# It has 8 of 4 KiB by default. As many bytes at a time as we move make it a harder rival.
_LARGE_BUFFERS = """\
proxy_buffer_size 64k;
            proxy_buffers 8 256k;
            proxy_busy_buffers_size 512k;
            client_body_buffer_size 256k;"""


class CannotStart(Exception):
    """A program did not begin to serve."""


@define(eq=False)
class Server:
    """A program that serves on `port`, and over TLS on `secure_port`; its output is in the file `log`."""

    command: Sequence[str]
    port: int
    log: Path
    secure_port: int = 0
    _process: subprocess.Popen[bytes] | None = field(init=False, default=None)

    @property
    def pid(self) -> int:
        """The process's id, while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self, ready: str = "/") -> Server:
        """Start it, and return once it answers a GET of `ready` without a server error."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until = time.monotonic() + PATIENCE
        while not self._answers(ready):
            if time.monotonic() > until or self._process.poll() is not None:
                self.stop()
                raise CannotStart(f"{self.command[0]}: {self.log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.05)
        return self

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self, path: str) -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=1.0)) as connection:
            try:
                connection.request("GET", path)
                return connection.getresponse().status < 500
            except OSError:
                return False


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with closing(create_server(("127.0.0.1", 0))) as listening:
        port: int = listening.getsockname()[1]
        return port


def sink(directory: Path) -> Server:
    """The backend; not started."""
    port = free_port()
    command = [sys.executable, "-m", "s3orchestrator.testing.bench.sink", str(port)]
    return Server(command, port, directory / "sink.log")


def nginx(directory: Path, backend: Server, tls: Certificate, *, large_buffers: bool = False) -> Server:
    """`nginx proxy_pass` in one process, with the buffers it has unless told otherwise; not started."""
    port, secure_port = free_port(), free_port()
    configuration = directory / "nginx.conf"
    buffers = _LARGE_BUFFERS if large_buffers else ""
    configuration.write_text(
        _NGINX.format(
            directory=directory,
            port=port,
            secure_port=secure_port,
            tls=tls,
            sink=backend.port,
            buffers=buffers,
        )
    )
    program = shutil.which("nginx", path=PROGRAMS)
    if program is None:
        raise CannotStart("nginx is not installed: make prerequisites")
    command = [program, "-p", str(directory), "-c", str(configuration)]
    return Server(command, port, directory / "nginx.out", secure_port)


def orchestrator(
    directory: Path,
    backend: Server,
    tls: Certificate,
    *,
    database: Mapping[str, Any] | None = None,
    workers: int | None = None,
) -> Server:
    """
    Ourselves, with the settings that a new user has; not started.

    `database` are settings of the ledger, which is a file in `directory` unless they say otherwise.
    """
    port, secure_port = free_port(), free_port()
    listeners: list[dict[str, Any]] = [
        {"address": f"127.0.0.1:{port}"},
        {
            "address": f"127.0.0.1:{secure_port}",
            "tls": {"cert_file": str(tls.cert_file), "key_file": str(tls.key_file)},
        },
    ]
    settings = {
        "server": {"listeners": listeners} | ({"workers": workers} if workers is not None else {}),
        "database": dict(database or {"path": str(ledger_path(directory))}),
        **_storage(backend.port, backend_bucket(directory)),
    }
    configuration = directory / "config.yaml"
    configuration.write_text(yaml.safe_dump(settings, sort_keys=False))
    program = str(Path(sys.executable).with_name("s3orchestrator"))
    command = [program, "serve", "--config", str(configuration)]
    return Server(command, port, directory / "orchestrator.log", secure_port)


def ledger_path(directory: Path) -> Path:
    """Where the orchestrator of that directory keeps its ledger."""
    return directory / "ledger.db"


def backend_bucket(directory: Path) -> str:
    """The bucket that the orchestrator of that directory has to itself in the sink."""
    return f"sink-{directory.name}"


def _storage(sink_port: int, bucket: str) -> dict[str, Any]:
    return {
        "backends": [
            {
                "name": "sink",
                "endpoint": f"http://127.0.0.1:{sink_port}",
                "bucket": bucket,
                "force_path_style": True,
                "unsigned_payload": True,
                "access_key_id": "sinkkey",
                "secret_access_key": "sinksecret",
                "quota_bytes": "1000TB",
            }
        ],
        "buckets": [{"name": name} for name in BUCKETS],
        "users": [
            {
                "name": "bench",
                "credentials": [{"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET}],
                "buckets": list(BUCKETS),
            }
        ],
    }
