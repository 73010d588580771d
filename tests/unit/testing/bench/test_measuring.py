"""Reading what the kernel knows of a process, and summing it up."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.measuring import (
    cpu_seconds,
    forget_peak,
    peak,
    percentile,
    processes,
    resident,
)


class ProcessTests(SynchronousTestCase):
    def test_cpu_of_all_threads(self) -> None:
        """The first figure of every thread counts, in nanoseconds."""
        proc = Path(self.mktemp())
        for thread, spent in (("7", 1_500_000_000), ("8", 250_000_000)):
            folder = proc / "7/task" / thread
            folder.mkdir(parents=True)
            (folder / "schedstat").write_text(f"{spent} 99 3\n")
        self.assertEqual(cpu_seconds(7, proc), 1.75)

    def test_descendants(self) -> None:
        """A server is its process and all that descend from it; what any of them has used counts."""
        proc = Path(self.mktemp())
        for pid, children, kilobytes in ((7, "8 9 ", 10), (8, "", 20), (9, "11", 30), (11, "", 40)):
            folder = proc / f"{pid}/task/{pid}"
            folder.mkdir(parents=True)
            (folder / "schedstat").write_text("1000000000 0 0\n")
            (folder / "children").write_text(children)
            (proc / f"{pid}/status").write_text(f"VmHWM: 1 kB\nVmRSS: {kilobytes} kB\n")
        self.assertEqual(processes(7, proc), [7, 8, 9, 11])
        self.assertEqual(cpu_seconds(7, proc), 4.0)
        self.assertEqual(resident(7, proc), 100 * 1024)

    def test_memory(self) -> None:
        """The resident size and its peak are told in bytes."""
        status = Path(self.mktemp()) / "7/status"
        status.parent.mkdir(parents=True)
        status.write_text("Name:\tx\nVmHWM:\t   20 kB\nVmRSS:\t   10 kB\n")
        self.assertEqual(resident(7, status.parent.parent), 10240)
        self.assertEqual(peak(7, status.parent.parent), 20480)

    def test_peak_is_forgotten(self) -> None:
        """What was in use and given back before does not count."""
        mine = os.getpid()
        taken = bytearray(b"x") * (128 << 20)
        with_it = resident(mine)
        del taken
        forget_peak(mine)
        self.assertLess(peak(mine), with_it - (64 << 20))


class PercentileTests(SynchronousTestCase):
    def test_percentile(self) -> None:
        """A share of the values is not above it; the whole share is the most there was."""
        values = [float(value) for value in range(100, 0, -1)]
        self.assertEqual([percentile(values, share) for share in (0.5, 0.99, 1.0)], [51.0, 100.0, 100.0])
