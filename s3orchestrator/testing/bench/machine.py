"""What a run ran on, and what was run: figures mean little without it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import ssl
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import s3orchestrator

PROGRAMS = "/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"  # where Debian has servers


def described() -> dict[str, str]:
    """Return what the machine is and which versions are in use, ready to be shown."""
    about = {
        "machine": f"{os.cpu_count()} × {_processor()}, {_memory_gib():.0f} GiB",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f}",
        "s3orchestrator": s3orchestrator.__version__,
        "revision": _revision(),
        "Python": platform.python_version(),
        "Twisted": version("twisted"),
        "OpenSSL": " ".join(ssl.OPENSSL_VERSION.split()[1:2]),
        "SQLite": sqlite3.sqlite_version,
        "nginx": _told_version("nginx", "-v"),
        "PostgreSQL": _told_version("psql", "--version"),
    }
    return {name: value for name, value in about.items() if value}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)


def _revision() -> str:
    """The commit in a checkout, with a plus if files differ from it; nothing where there is no git."""
    here = Path(__file__).parent
    commit = _output(["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"])
    changed = _output(["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no"])
    return f"{commit}+" if commit and changed else commit


def _told_version(program: str, option: str) -> str:
    found = shutil.which(program, path=PROGRAMS)
    number = re.search(r"\d+\.[\d.]*\d", _output([found, option])) if found is not None else None
    return number[0] if number is not None else ""


def _output(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return (done.stdout or done.stderr).strip()
