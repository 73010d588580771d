"""A Debian root of its own for a test, and what is done in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from tests.package.units import Unit

CHECKOUT = Path(__file__).parent.parent.parent
NAME = "s3orchestrator"
DATA = Path("/var/lib/s3orchestrator")
CONFIGURATION = Path("/etc/s3orchestrator/config.yaml")
VARIABLES = Path("/etc/default/s3orchestrator")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
_LONGEST = 300.0  # seconds, for one command; installing takes ten


@frozen
class Root:
    """A folder with a Debian system in it. Nothing of it is running, systemd neither."""

    path: Path

    @classmethod
    def make(cls) -> Root:
        """Make a new one; whoever asks for it removes it."""
        made = cls(_folder())
        subprocess.run([CHECKOUT / "tools/clean-root", made.path], check=True, timeout=_LONGEST)
        return made

    def copy(self) -> Root:
        """Make another one that is like it."""
        copied = Root(_folder())
        # ext4 and tmpfs copy, others share until one of them is changed.
        command = ["cp", "-a", "--reflink=auto", f"{self.path}/.", copied.path]
        subprocess.run(command, check=True, timeout=_LONGEST)
        return copied

    def remove(self) -> None:
        """Remove it, and everything in it."""
        shutil.rmtree(self.path)

    def at(self, place: Path | str) -> Path:
        """Where the host has what is at `place` inside."""
        return self.path / str(place).lstrip("/")

    def inside(self, command: Sequence[str | Path]) -> list[str]:
        """Return the command that runs `command` inside, with nothing of our environment."""
        variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        words = [CHECKOUT / "tools/in-root", self.path, "env", "-i", *variables, *command]
        return [str(word) for word in words]

    def run(self, *command: str | Path, status: int = 0) -> str:
        """Run a command inside to its end; it must end with `status`. Returns all it printed."""
        ended = subprocess.run(
            self.inside(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_LONGEST,
            check=False,
        )
        assert ended.returncode == status, f"{command}: {ended.returncode}\n{ended.stdout[-6000:]}"
        return ended.stdout

    def shell(self, line: str, status: int = 0) -> str:
        """Run a line as somebody would type it as root."""
        return self.run("bash", "-e", "-o", "pipefail", "-c", line, status=status)

    def install(self, *packages: str | Path) -> str:
        """Install packages as apt finds them, or from files inside."""
        options = ["-y", "-q", "-o", "Dpkg::Use-Pty=0", "-o", "Dpkg::Options::=--force-confdef"]
        return self.run("apt-get", *options, "install", "--no-install-recommends", *packages)

    def bring(self, file: Path) -> Path:
        """Copy a file of the host into it; returns where it is inside."""
        shutil.copy(file, self.at("/srv"))
        return Path("/srv") / file.name

    def unit(self, kind: str) -> Unit:
        """Our unit that is installed, `service` or `socket`, and what drop-ins add to it."""
        drop_ins = sorted(self.at(f"/etc/systemd/system/{NAME}.{kind}.d").glob("*.conf"))
        return Unit.read(self.at(f"/lib/systemd/system/{NAME}.{kind}"), *drop_ins)

    def described(self, place: Path | str) -> str:
        """Owner, group and mode of what is at a place inside."""
        return self.run("stat", "-c", "%U:%G %a", place).strip()


def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="root-", dir=os.environ.get("S3O_TEST_ROOTS", "/var/tmp")))
    folder.chmod(0o755)
    return folder


def package() -> Path:
    """Return the package that `make deb` has built."""
    found = CHECKOUT / "dist" / f"{NAME}_{version()}_{_architecture()}.deb"
    assert found.exists(), "build the package first: make deb"
    return found


def version() -> str:
    """Return the version that debian/changelog says."""
    return _changelog("Version")


def newer(original: Path, folder: Path) -> Path:
    """Return a package like `original`, of a higher version and with another sample configuration."""
    tree = folder / "newer"
    subprocess.run(["dpkg-deb", "-R", original, tree], check=True)
    control = tree / "DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {version()}", f"Version: {version()}+next"))
    for place in (CONFIGURATION, VARIABLES):
        shipped = tree / str(place).lstrip("/")
        shipped.write_text(f"# Of the next version.\n{shipped.read_text()}")
    made = folder / original.name.replace(version(), f"{version()}+next")
    # Packed quickly: it is unpacked once.
    subprocess.run(["dpkg-deb", "-b", "-Zgzip", "-z1", tree, made], check=True, stdout=subprocess.DEVNULL)
    return made


def _changelog(field: str) -> str:
    command = ["dpkg-parsechangelog", "-l", CHECKOUT / "debian/changelog", "-S", field]
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()


def _architecture() -> str:
    command = ["dpkg", "--print-architecture"]
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip()


def needs_root() -> None:
    """:raises AssertionError: these tests cannot run."""
    assert os.geteuid() == 0, "run these as root: make package"
