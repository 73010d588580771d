"""What a process has used, read from where the kernel keeps it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field

PROC = Path("/proc")


def cpu_seconds(pid: int, proc: Path = PROC) -> float:
    """CPU time of all threads of a process, finer than clock ticks."""
    return sum(int(path.read_text().split()[0]) for path in (proc / f"{pid}/task").glob("*/schedstat")) / 1e9


def resident(pid: int, proc: Path = PROC) -> int:
    """Bytes of memory a process has in use."""
    return _status(pid, "VmRSS", proc)


def forget_peak(pid: int, proc: Path = PROC) -> None:
    """Let `peak` count from now."""
    (proc / f"{pid}/clear_refs").write_text("5")


def peak(pid: int, proc: Path = PROC) -> int:
    """The most bytes of memory a process had in use at any time since `forget_peak`."""
    return _status(pid, "VmHWM", proc)


def _status(pid: int, name: str, proc: Path) -> int:
    lines = (proc / f"{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


@define
class Series:
    """One figure, measured in several rounds."""

    values: list[float] = field(factory=list)

    def add(self, value: float) -> None:
        """Note what a round gave."""
        self.values.append(value)

    @property
    def least(self) -> float:
        """The undisturbed case: others on the machine only ever add."""
        return min(self.values)

    @property
    def median(self) -> float:
        """The usual case."""
        return statistics.median(self.values)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
