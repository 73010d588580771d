"""
Run every tier of `make test`, whatever happens to the others, and add up the results.

The last line is `N passed, N failed`. A tier of checks that are not tests counts as one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

TESTS = ("unit", "contracts", "integration", "faults", "clients", "clients-postgres")
CHECKS = ("lint", "types", "docs")
REPORTS = Path(".cache/reports")

# All tiers together take less than 20 minutes; one that takes this long hangs.
LONGEST = 15 * 60.0


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
    tiers = [tier for tier in ("prerequisites", *TESTS, *CHECKS) if not wanted or tier in wanted]
    results = [run(tier) for tier in tiers]
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


def run(tier: str) -> Result:
    print(f"\n=== {tier}", flush=True)
    report = REPORTS / f"{tier}.xml"
    report.unlink(missing_ok=True)
    started = time.monotonic()
    succeeded = make(tier, f"--junitxml={report}" if tier in TESTS else "")
    seconds = time.monotonic() - started
    if tier in TESTS:
        return counted(tier, seconds, report, succeeded)
    return Result(tier, seconds, passed=int(succeeded), failed=int(not succeeded))


def make(tier: str, arguments: str) -> bool:
    """Run one target of the Makefile; end it, and all that it started, if it hangs."""
    process = subprocess.Popen(
        ["make", "--no-print-directory", tier, f"ARGS={arguments}"], start_new_session=True
    )
    try:
        return process.wait(LONGEST) == 0
    except subprocess.TimeoutExpired:
        print(f"{tier}: stopped after {LONGEST:.0f} s", flush=True)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGTERM)
        raise


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
