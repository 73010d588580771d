"""`python -m s3orchestrator.testing.faults`: serve as `serve` does, and die where one is told to."""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence

from s3orchestrator.cli.serve import load_or_explain, serve
from s3orchestrator.telemetry.logging import observer
from s3orchestrator.testing.faults.crashpoints import CrashPoints, When, wrapping


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve; returns the exit status of one that was not killed."""
    options = _parsed(arguments)
    loaded = load_or_explain(options.config, options.mode, sys.stderr)
    if loaded is None:
        return 1
    points = CrashPoints(
        options.kill_at, When(options.when), _telling(options.points), armed=not options.wait_for_signal
    )
    if options.wait_for_signal:
        signal.signal(signal.SIGUSR1, lambda *_: points.arm())
    return serve(loaded, observer(), sys.stderr, wrapping=wrapping(points))


def _parsed(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m s3orchestrator.testing.faults", description=__doc__)
    parser.add_argument("--config", required=True, metavar="FILE", help="as for `s3orchestrator serve`")
    parser.add_argument("--mode", help="as for `s3orchestrator serve`")
    parser.add_argument("--kill-at", type=int, default=0, metavar="N", help="at which side effect to die")
    parser.add_argument("--when", choices=[when.value for when in When], default=When.BEFORE.value)
    parser.add_argument(
        "--points", metavar="FILE", help="write a line there for each side effect as it is reached"
    )
    parser.add_argument(
        "--wait-for-signal", action="store_true", help="count from SIGUSR1 on, instead of from the start"
    )
    return parser.parse_args(arguments)


def _telling(path: str | None) -> Callable[[str], None]:
    """What has been told is in the file, whatever happens to the process next."""
    if path is None:
        return lambda line: None
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return lambda line: _write(descriptor, f"{line}\n")


def _write(descriptor: int, line: str) -> None:
    os.write(descriptor, line.encode())


if __name__ == "__main__":
    sys.exit(main())
