"""`s3orchestrator serve`: run until told to stop."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.python import usage
from twisted.python.failure import Failure

from s3orchestrator.app.core import Wrapping
from s3orchestrator.app.notifying import Notifier
from s3orchestrator.app.orchestrator import Orchestrator, build
from s3orchestrator.app.process import begun, on_hangup, stop_once, take_descriptors, take_sockets
from s3orchestrator.app.reloading import Source
from s3orchestrator.cli.explaining import CommandOptions
from s3orchestrator.cli.validate import missing_files
from s3orchestrator.concurrency import start
from s3orchestrator.config.loader import Loaded, load
from s3orchestrator.config.problems import ConfigErrors
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.telemetry.logging import LineObserver, LogForm, begin_logging, observer, report, terminal


class ServeOptions(CommandOptions):
    """What `serve` may be told."""

    synopsis = "Usage: s3orchestrator serve --config FILE [--mode MODE]"
    description = """\
Serves clients until it is told to stop (SIGTERM or Ctrl-C): then it refuses new
connections, finishes what is in flight, and exits with 0. SIGHUP has it read the
configuration again."""

    optParameters = [
        ["config", "c", "config.yaml", "The configuration file."],
        ["mode", "m", None, "all, api or worker; replaces the file's."],
        ["log-format", None, None, "json or text; text on a terminal, json elsewhere."],
    ]

    def opt_log_format(self, value: str) -> None:
        if value not in ("json", "text"):
            raise usage.UsageError(f"--log-format is json or text, not {value!r}")
        self["log-format"] = value


def run(options: ServeOptions, stdout: TextIO, stderr: TextIO) -> int:
    """Serve; returns 0 after an orderly stop, 1 if it could not start."""
    log = _observer(options["log-format"])
    loaded = load_or_explain(options["config"], options["mode"], stderr, log)
    if loaded is None:
        return 1
    for warning in missing_files(loaded.config):
        stderr.write(f"s3orchestrator: warning: {warning}\n")
    source = Source(Path(options["config"]).absolute(), options["mode"])
    return serve(loaded, log, stderr, source=source)


def load_or_explain(
    path: str, mode: str | None, stderr: TextIO, log: LineObserver | None = None
) -> Loaded | None:
    """Load a file and print its warnings; None, and every problem printed, if it cannot be used."""
    try:
        loaded = load(Path(path), os.environ, mode=mode)
    except ConfigErrors as errors:
        stderr.write(f"s3orchestrator: {path} cannot be used:\n")
        for problem in errors.problems:
            stderr.write(f"  {problem}\n")
            if log is not None and log.is_for_machines:
                report(log, "{file} cannot be used: {problem}", file=path, problem=str(problem))
        return None
    for warning in loaded.warnings:
        stderr.write(f"s3orchestrator: warning: {warning}\n")
    return loaded


def _observer(form: str | None) -> LineObserver:
    if form is None:
        form = "text" if sys.stderr.isatty() else "json"
    return terminal() if form == "text" else observer()


def serve(
    loaded: Loaded,
    log: LineObserver,
    stderr: TextIO,
    announce: str = "",
    wrapping: Wrapping | None = None,
    source: Source | None = None,
) -> int:
    """
    Run the reactor until a signal; `announce` is printed once clients are being served.

    `source` is what SIGHUP has us read again.

    Returns the exit status.
    """
    from twisted.internet import reactor  # the choice of reactor is the program's, so not at import

    core = IReactorCore(reactor)
    begin_logging(log, loaded.config.server.log_level)
    take_descriptors()
    notifier = Notifier.of(os.environ, core)
    form: LogForm = "json" if log.is_for_machines else "text"
    orchestrator = build(loaded.config, core, wrapping, source, notifier, take_sockets(), form)
    status = 0

    def failed(failure: Failure) -> None:
        if not failure.check(CancelledError):  # told to stop before it had begun
            give_up(f"cannot start: {_reason(failure)}")

    def give_up(reason: str) -> None:
        nonlocal status
        status = 1
        stderr.write(f"s3orchestrator: {reason}\n")
        if log.is_for_machines:
            report(log, "{reason}", reason=reason)
        if core.running:
            core.stop()

    def begin() -> None:
        stop_once(core)
        starting = start(orchestrator.start())
        starting.addCallbacks(lambda _: _announce(orchestrator, announce), failed)

    def end() -> Deferred[None]:
        return start(orchestrator.stop())

    orchestrator.failed = give_up
    on_hangup(core, orchestrator.reload)
    core.callWhenRunning(begin)
    core.addSystemEventTrigger("before", "shutdown", end)
    core.run()
    return status


def _announce(orchestrator: Orchestrator, text: str) -> None:
    begun(orchestrator.reactor)
    if text:
        sys.stdout.write(text.replace("{endpoint}", orchestrator.endpoint))
        sys.stdout.flush()


def _reason(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, OrchestratorError | OSError):
        return str(error)
    return f"{type(error).__name__}: {error}"
