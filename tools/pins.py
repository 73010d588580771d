"""
Write constraints-package.txt: what the .deb brings along, at the versions of constraints.txt, with hashes.

The hashes are those of all files that a build may take: wheels for the machines and Pythons of the
Debian releases that we build for, and the source of what has no wheel or is compiled by us.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parent.parent
CONSTRAINTS = HERE / "constraints.txt"
PINS = HERE / "constraints-package.txt"

EXTRAS = ("crc",)  # of ours: 32 KB, and CRC32C takes a fiftieth of the time
# Built from source: psycopg2 to use the distribution's libpq, txpostgres since there is nothing else.
FROM_SOURCE = ("psycopg2", "txpostgres")
BUILD_ONLY = ("setuptools",)
PYTHONS = ("3.11", "3.13")  # bookworm's and trixie's
MACHINES = ("x86_64", "aarch64")
# glibc of bookworm is 2.36; pip does not derive the older tags from the newest.
TAGS = ("manylinux2014", "manylinux_2_17", "manylinux_2_28", "manylinux_2_34")

HEADER = """\
# What the .deb brings along, and the build tool that it needs (setuptools).
# Written by tools/pins.py from constraints.txt and setup.cfg: make package-pins
"""


def normal(name: str) -> str:
    """Return the one spelling of a name that indexes compare by."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed() -> set[str]:
    """Return the names of all that the program needs to run, itself left out, as it is packaged."""
    found: dict[str, set[str]] = {}
    _walk("s3orchestrator", EXTRAS, found)
    names = {"psycopg2" if name == "psycopg2-binary" else name for name in found}
    return names | set(BUILD_ONLY)


def _walk(name: str, extras: Iterable[str], found: dict[str, set[str]]) -> None:
    environments = [{"extra": extra} for extra in ("", *extras)]
    for text in requires(name) or ():
        wanted = Requirement(text)
        if wanted.marker and not any(wanted.marker.evaluate(each) for each in environments):
            continue
        key = normal(wanted.name)
        if key not in found or wanted.extras - found[key]:
            found[key] = found.get(key, set()) | wanted.extras
            _walk(wanted.name, wanted.extras, found)


def versions(text: str) -> dict[str, str]:
    """Return the version of each package in a list of `name==version`."""
    lines = (line.partition("#")[0].split() for line in text.splitlines())
    pairs = (words[0].split("==") for words in lines if words and not words[0].startswith("--"))
    return {normal(name): version for name, version in pairs}


def wanted_versions() -> dict[str, str]:
    """Return what constraints-package.txt should list."""
    tested = versions(CONSTRAINTS.read_text())
    tested["psycopg2"] = tested["psycopg2-binary"]
    return {name: tested[name] for name in sorted(needed())}


def hashes(text: str) -> dict[str, list[str]]:
    """Return the hashes of each package of constraints-package.txt."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "==" in line:
            found[name := normal(line.split("==")[0])] = []
        elif line.strip().startswith("--hash="):
            found[name].append(line.strip().removeprefix("--hash=").rstrip(" \\"))
    return found


def _resolve(options: Iterable[str], packages: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the hash of the file that pip would install of each package."""
    environment = {name: value for name, value in os.environ.items() if name != "PIP_FIND_LINKS"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install"]
        command += ["--dry-run", "--ignore-installed", "--no-deps", "--report", str(report), *options]
        command += [f"{name}=={version}" for name, version in packages.items()]
        subprocess.run(command, check=True, env=environment)
        for entry in json.loads(report.read_text())["install"]:
            digest = entry["download_info"]["archive_info"]["hashes"]["sha256"]
            yield normal(entry["metadata"]["name"]), f"sha256:{digest}"


def main() -> None:
    packages = wanted_versions()
    source = {name: packages[name] for name in FROM_SOURCE}
    wheels = {name: version for name, version in packages.items() if name not in source}
    found: dict[str, set[str]] = {name: set() for name in packages}
    for name, digest in _resolve(["--no-binary", ":all:"], source):
        found[name].add(digest)
    for machine in MACHINES:
        for python in PYTHONS:
            options = ["--only-binary", ":all:", "--python-version", python, "--target", "unused"]
            options += [word for tag in TAGS for word in ("--platform", f"{tag}_{machine}")]
            for name, digest in _resolve(options, wheels):
                found[name].add(digest)
    lines = [
        " \\\n".join([f"{name}=={version}", *(f"    --hash={digest}" for digest in sorted(found[name]))])
        for name, version in packages.items()
    ]
    PINS.write_text(HEADER + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
