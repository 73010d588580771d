"""
Run every tier of `make test`, whatever happens to the others, and add up the results.

The lanes of one stage run side by side, each its tiers in turn: all of them wait for their servers
much of the time. What a tier prints is shown when it ends. The last line is `N passed, N failed`; a
tier of checks that are not tests counts as one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

Lane = tuple[str, ...]

STAGES: tuple[tuple[Lane, ...], ...] = (
    (("prerequisites", "unit", "contracts"),),
    (("integration", "package"), ("faults", "clients", "clients-postgres")),
    (("lint", "types", "docs"),),
)
TESTS = ("unit", "contracts", "integration", "faults", "clients", "clients-postgres", "package")
REPORTS = Path(".cache/reports")

# All tiers together take less than half an hour; one that takes this long hangs.
LONGEST = 25 * 60.0

_begun: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Result:
    """What became of one tier."""

    tier: str
    seconds: float
    passed: int
    failed: int
    skipped: int = 0


def main(wanted: list[str]) -> int:
    started = time.monotonic()
    REPORTS.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    results: list[Result] = []
    for stage in STAGES:
        lanes = [[tier for tier in lane if not wanted or tier in wanted] for lane in stage]
        results += run_stage([lane for lane in lanes if lane])
    print(f"\n{'tier':18}{'passed':>8}{'failed':>8}{'skipped':>8}{'time':>9}")
    for result in results:
        print(
            f"{result.tier:18}{result.passed:8}{result.failed:8}{result.skipped:8}{result.seconds:8.1f}s"
            + ("  FAILED" if result.failed else "")
        )
    print(f"{'all':42}{time.monotonic() - started:8.1f}s\n")
    failed = sum(result.failed for result in results)
    print(f"{sum(result.passed for result in results)} passed, {failed} failed", flush=True)
    return 1 if failed else 0


def interrupt(number: int, frame: object) -> None:
    """End what runs, which has sessions of its own and hears nothing of a terminal; then ourselves."""
    for process in _begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    sys.exit(128 + number)


def run_stage(lanes: list[list[str]]) -> list[Result]:
    """Run lanes side by side; one that is alone shows what it does while it does it."""
    if len(lanes) < 2:
        return [run_shown(tier) for lane in lanes for tier in lane]
    print(f"\n=== {' and '.join(', '.join(lane) for lane in lanes)}, side by side", flush=True)
    with ThreadPoolExecutor(len(lanes)) as pool:
        done = pool.map(lambda lane: [run_aside(tier) for tier in lane], lanes)
        return [result for results in done for result in results]


def run_shown(tier: str) -> Result:
    print(f"\n=== {tier}", flush=True)
    return run(tier, None)


def run_aside(tier: str) -> Result:
    log = REPORTS / f"{tier}.log"
    with log.open("wb") as output:
        result = run(tier, output)
    print(f"\n=== {tier}\n{log.read_text(errors='replace')}", end="", flush=True)
    return result


def run(tier: str, output: IO[bytes] | None) -> Result:
    report = REPORTS / f"{tier}.xml"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    succeeded = make(tier, f"--junitxml={report}" if tier in TESTS else "", output)
    seconds = time.monotonic() - started
    if tier in TESTS:
        return counted(tier, seconds, report, succeeded)
    return Result(tier, seconds, passed=int(succeeded), failed=int(not succeeded))


def make(tier: str, arguments: str, output: IO[bytes] | None) -> bool:
    """Run one target of the Makefile; end it, and all that it started, if it hangs."""
    command = ["make", "--no-print-directory", tier, f"ARGS={arguments}"]
    process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    _begun.append(process)
    try:
        return process.wait(LONGEST) == 0
    except subprocess.TimeoutExpired:
        print(f"{tier}: stopped after {LONGEST:.0f} s", flush=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def counted(tier: str, seconds: float, report: Path, succeeded: bool) -> Result:
    """
    Read pytest's report.

    A tier that left none, or that failed without a failing test, has failed once.
    """
    try:
        suites = ElementTree.parse(report).getroot().iter("testsuite")
        totals = [
            [int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")]
            for suite in suites
        ]
    except (OSError, ElementTree.ParseError):
        totals = []
    tests, failures, errors, skipped = (
        (sum(column) for column in zip(*totals, strict=True)) if totals else (0, 0, 0, 0)
    )
    failed = failures + errors
    return Result(
        tier,
        seconds,
        passed=max(0, tests - failed - skipped),
        failed=failed or int(not succeeded),
        skipped=skipped,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
