"""What a server has used, read from where the kernel keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PROC = Path("/proc")


def processes(pid: int, proc: Path = PROC) -> list[int]:
    """The process and all that descend from it: a server may be several."""
    found = [pid]
    for each in found:  # grows meanwhile
        for path in (proc / f"{each}/task").glob("*/children"):
            found += [int(child) for child in path.read_text().split()]
    return found


def cpu_seconds(pid: int, proc: Path = PROC) -> float:
    """CPU time of all threads of a server's processes, finer than clock ticks."""
    return sum(
        int(path.read_text().split()[0])
        for each in processes(pid, proc)
        for path in (proc / f"{each}/task").glob("*/schedstat")
    ) / 1e9  # fmt: skip


def resident(pid: int, proc: Path = PROC) -> int:
    """Bytes of memory a server's processes have in use; what they share counts for each."""
    return sum(_status(each, "VmRSS", proc) for each in processes(pid, proc))


def forget_peak(pid: int, proc: Path = PROC) -> None:
    """Let `peak` count from now."""
    for each in processes(pid, proc):
        (proc / f"{each}/clear_refs").write_text("5")


def peak(pid: int, proc: Path = PROC) -> int:
    """The most bytes of memory each process had in use at any time since `forget_peak`, all together."""
    return sum(_status(each, "VmHWM", proc) for each in processes(pid, proc))


def _status(pid: int, name: str, proc: Path) -> int:
    lines = (proc / f"{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` (0 to 1) of `values` do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
