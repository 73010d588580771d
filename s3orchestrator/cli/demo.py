"""`s3orchestrator demo`: everything at once, nothing to configure."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import TextIO

from s3orchestrator.cli.explaining import CommandOptions
from s3orchestrator.cli.serve import serve
from s3orchestrator.config.addresses import Address
from s3orchestrator.config.loader import load
from s3orchestrator.config.problems import ConfigErrors
from s3orchestrator.telemetry.logging import terminal

BUCKETS = (
    ("photos", "photoskey", "photossecret"),
    ("documents", "docskey", "docssecret"),
    ("backups", "backupskey", "backupssecret"),
)
QUOTA = "1GB"

_ANNOUNCEMENT = """\

  s3orchestrator is serving at {endpoint}{everywhere}
  Data: {data} (three directories with {quota} each; remove it to start over)

  bucket      access key   secret key
  photos      photoskey    photossecret
  documents   docskey      docssecret
  backups     backupskey   backupssecret
  (any new)   demokey      demosecret      may create buckets

  Try, in another terminal:

    export AWS_ENDPOINT_URL={endpoint} AWS_DEFAULT_REGION=us-east-1 \\
           AWS_ACCESS_KEY_ID=photoskey AWS_SECRET_ACCESS_KEY=photossecret
    aws s3 cp /etc/hostname s3://photos/hello.txt
    aws s3 ls s3://photos
    aws s3 cp s3://photos/hello.txt -

  Ctrl-C stops it; what is stored stays.

"""

# What is in the way is most often another demonstration, or what else listens on this port.
_ELSEWHERE = (
    "s3orchestrator demo: --listen HOST:PORT has it listen elsewhere, --data DIR keep its files elsewhere\n"
)


class DemoOptions(CommandOptions):
    """What `demo` may be told."""

    synopsis = "Usage: s3orchestrator demo [--listen HOST:PORT] [--data DIR]"
    description = """\
Starts an orchestrator with an embedded ledger, three directories as backends and
the buckets photos, documents and backups. The credentials are well known: keep it
on this machine."""

    optParameters = [
        ["listen", "l", "127.0.0.1:9000", "Where to listen."],
        ["data", "d", "demo-data", "Where to keep the ledger and the objects."],
        ["log-level", None, "warn", "debug, info, warn or error."],
    ]


def run(options: DemoOptions, stdout: TextIO, stderr: TextIO) -> int:
    """Serve the demonstration until told to stop."""
    data = Path(options["data"]).resolve()
    make_directories(data)
    try:
        loaded = load(configuration(data, options["listen"], options["log-level"]), {})
    except ConfigErrors as errors:
        for problem in errors.problems:
            stderr.write(f"s3orchestrator demo: {problem}\n")
        return 2
    place = loaded.config.server.places[0].place
    host = place.host if isinstance(place, Address) else "localhost"
    stderr.write(warning(host))
    status = serve(loaded, terminal(), stderr, announcement(data, host))
    if status:
        stderr.write(_ELSEWHERE)
    return status


def make_directories(data: Path) -> None:
    """Make what is missing of where the demonstration keeps things; for nobody else to look into."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in (1, 2, 3):
        (data / f"disk{number}").mkdir(mode=0o700, exist_ok=True)


def warning(host: str) -> str:
    """Return what to say before listening on `host`; nothing if only this machine can connect."""
    if host == "localhost" or _is(host, "is_loopback"):
        return ""
    return (
        f"s3orchestrator demo: warning: {host or 'every address'} can be reached from other machines, and the"
        " keys are published:\n  whoever can connect may read, overwrite and delete everything.\n"
    )


def announcement(data: Path, host: str) -> str:
    """Return what to print once clients are served; `{endpoint}` is still to be filled in."""
    everywhere = not host or _is(host, "is_unspecified")
    return (
        _ANNOUNCEMENT.replace("{everywhere}", ", and at every other address of this machine" * everywhere)
        .replace("{data}", str(data))
        .replace("{quota}", QUOTA)
    )


def _is(host: str, kind: str) -> bool:
    try:
        return bool(getattr(ip_address(host), kind))
    except ValueError:  # a name, or nothing
        return False


def configuration(data: Path, listen: str, log_level: str = "warn") -> str:
    """Return the demonstration's configuration file."""
    lines = [
        f"server: {{listen_addr: {_quoted(listen)}, log_level: {_quoted(log_level)}}}",
        f"database: {{driver: sqlite, path: {_quoted(str(data / 'ledger.db'))}}}",
        "routing_strategy: spread",
        "backends:",
    ]
    for number in (1, 2, 3):
        path = _quoted(str(data / f"disk{number}"))
        lines.append(f"  - {{name: disk{number}, type: directory, path: {path}, quota_bytes: {QUOTA}}}")
    lines.append("buckets:")
    for name, key, secret in BUCKETS:
        lines.append(f"  - name: {name}")
        lines.append(f"    credentials: [{{access_key_id: {key}, secret_access_key: {secret}}}]")
    lines.append("users:")
    lines.append("  - name: demo")
    lines.append("    credentials: [{access_key_id: demokey, secret_access_key: demosecret}]")
    lines.append("    create_buckets: true")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A YAML scalar; dollars are doubled, since `$` begins a variable."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'
