"""
The installed service, started as its unit says, as nearly as that goes without systemd.

Taken from the unit: the commands, user and group, the variables, the working directory, the umask, which
folders may be written to, the capabilities and the filter of system calls.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from signal import SIGTERM

from attrs import define, field

from tests.notified import Manager
from tests.package.roots import DATA, NAME, Root
from tests.package.units import Unit, variables

_PATIENCE = 60.0  # seconds; it starts in two
_HERE = Path(__file__).parent
_NOTICES = Path("/run/notices")
_ALLOWED = Path("/run/allowed-calls")
_RUNTIME = Path("/run") / NAME

# Before the service gets its user: what systemd mounts for ProtectSystem=strict, PrivateTmp= and the like.
_SURROUNDINGS = """\
set -e
for folder in {writable}; do mount --bind $folder $folder; done
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /var/tmp
mount -o remount,bind,ro /
umask {umask}
cd {directory}
exec "$@"
"""


@define(eq=False, slots=False)
class Service:
    """One run of the service in `root`; `before` is put in front of the command of the unit."""

    root: Root
    before: Sequence[str] = ()
    manager: Manager = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start it, and return at once."""
        runtime = self.root.at(_RUNTIME)
        runtime.mkdir(exist_ok=True)
        self.root.shell(f"chown {NAME}:{NAME} {_RUNTIME}; chmod 755 {_RUNTIME}")
        self.manager = Manager(self.root.at(_NOTICES))
        self.root.at("/srv/confine.py").write_text((_HERE / "confine.py").read_text())
        self.root.at(_ALLOWED).write_text("\n".join(sorted(self._allowed())))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                # Whatever happens to us, it does not stay behind, nor what it has mounted.
                ["setpriv", "--pdeathsig", "KILL", *self.root.inside(self._command())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> Path:
        """The file with all it has printed."""
        return self.root.at("/srv/service.log")

    @property
    def pid(self) -> int:
        """The number that its process has for us."""
        (shell,) = _children(self._process.pid)  # of tools/in-root
        (command,) = _children(shell)
        return command

    def workers(self) -> list[int]:
        """The numbers of the processes that it has serve."""
        return _children(self.pid)

    def wait_until_ready(self) -> None:
        """Return once it has said READY=1."""
        try:
            self.manager.wait_for("READY", _PATIENCE)
        except AssertionError as error:
            status = self._process.poll()
            raise AssertionError(f"not ready, status {status}: {error}\n{self.tail()}") from None

    def reload(self) -> None:
        """Run the unit's ExecReload=, and return once it has taken the configuration over, or refused to."""
        words = [word.replace("$MAINPID", str(self.pid)) for word in self._unit.command("ExecReload")]
        subprocess.run(words, check=True)
        self.manager.wait_for("RELOADING", _PATIENCE)
        self.manager.wait_for("READY", _PATIENCE)

    def stop(self) -> None:
        """Ask it to end as systemd does, and wait for that; it must do so within TimeoutStopSec=."""
        if self._process.poll() is None:
            subprocess.run(["kill", "-TERM", str(self.pid)], check=True)
        status = self._process.wait(float(self._unit.one("TimeoutStopSec").removesuffix("s")))
        self.manager.close()
        # Having done everything, twistd lets the signal end it; systemd takes either for success.
        assert status in (0, 128 + SIGTERM), f"ended with {status}\n{self.tail()}"
        assert '"msg": "stopped"' in self.tail()

    def ended(self) -> int:
        """Wait until it has ended by itself; returns its status."""
        status = self._process.wait(_PATIENCE)
        self.manager.close()
        return status

    def kill(self) -> None:
        """End it, and all it has started, if it is still running."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.manager.close()

    def tail(self) -> str:
        """The end of what it has printed."""
        return self.log.read_text(errors="replace")[-6000:]

    @property
    def _unit(self) -> Unit:
        return self.root.unit("service")

    def _command(self) -> list[str]:
        unit = self._unit
        surroundings = _SURROUNDINGS.format(
            writable=" ".join(self._writable()),
            umask=unit.one("UMask"),
            directory=unit.one("WorkingDirectory"),
        )
        capabilities = unit.one("AmbientCapabilities").lower().replace("cap_", "+")
        return [
            *("sh", "-c", surroundings, "sh"),
            *("setpriv", f"--reuid={unit.one('User')}", f"--regid={unit.one('Group')}", "--init-groups"),
            *(f"--inh-caps=-all,{capabilities}", f"--ambient-caps=-all,{capabilities}"),
            *(f"--bounding-set=-all,{capabilities}", "--no-new-privs"),
            *("env", "-i", *(f"{name}={value}" for name, value in self.environment().items())),
            *("/usr/bin/python3", "/srv/confine.py", unit.one("SystemCallErrorNumber"), str(_ALLOWED)),
            *self.before,
            *unit.command("ExecStart"),
        ]

    def _writable(self) -> Iterable[str]:
        assert self._unit.one("StateDirectory") == DATA.name
        assert self._unit.one("RuntimeDirectory") == _RUNTIME.name
        return [str(DATA), str(_RUNTIME), *self._unit.all("ReadWritePaths")]

    def environment(self) -> Mapping[str, str]:
        """The variables it gets."""
        file = self._unit.one("EnvironmentFile").removeprefix("-")
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "LANG": "C.UTF-8",
            "HOME": str(DATA),
            "USER": self._unit.one("User"),
            "NOTIFY_SOCKET": str(_NOTICES),
            **variables(self.root.at(file)),
        }

    def _allowed(self) -> set[str]:
        """What SystemCallFilter= leaves: sets to allow, and with a ~ to refuse again."""
        names: set[str] = set()
        for line in self._unit.all("SystemCallFilter"):
            listed = {name for word in shlex.split(line.lstrip("~")) for name in self._calls(word)}
            names = names - listed if line.startswith("~") else names | listed
        return names

    def _calls(self, name: str) -> set[str]:
        if not name.startswith("@"):
            return {name}
        return {call for member in self._sets[name] for call in self._calls(member)}

    @cached_property
    def _sets(self) -> Mapping[str, list[str]]:
        """The sets of system calls that systemd has names for."""
        listed = self.root.run("systemd-analyze", "syscall-filter").splitlines()
        sets: dict[str, list[str]] = {}
        for line in listed:
            if line.startswith("@"):
                members = sets[line.strip()] = []
            elif line.startswith(" ") and not line.strip().startswith("#"):
                members.append(line.strip())
        return sets


def _children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in listed.split()]
