"""`twistd s3orchestrator`: options, and the service they make."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.python import usage
from twisted.python.failure import Failure

from s3orchestrator.app.notifying import Notifier
from s3orchestrator.app.orchestrator import Orchestrator, build
from s3orchestrator.app.process import (
    begun,
    exit_with,
    on_hangup,
    stop_once,
    take_descriptors,
    take_sockets,
)
from s3orchestrator.app.reloading import Source
from s3orchestrator.concurrency import start
from s3orchestrator.config.problems import ConfigErrors
from s3orchestrator.telemetry.logging import make_logger, observer, report, set_level


class Options(usage.Options):
    """What may follow `twistd s3orchestrator`."""

    optParameters = [
        ["config", "c", "config.yaml", "The configuration file."],
        ["mode", "m", None, "all, api or worker; replaces the file's."],
    ]


class OrchestratorService(Service):
    """An orchestrator under twistd; one that cannot start stops the reactor."""

    log = make_logger()

    def __init__(self, options: Options) -> None:
        # Absolute, for twistd may leave the directory it was started in.
        self._source = Source(Path(options["config"]).absolute(), options["mode"])
        self._orchestrator: Orchestrator | None = None

    def check(self) -> None:
        """:raises ConfigErrors: the configuration cannot be used."""
        self._source.read()

    def startService(self) -> None:
        """Begin to serve; the reactor is running or about to."""
        from twisted.internet import reactor  # twistd has chosen one by now

        super().startService()  # type: ignore[no-untyped-call]
        loaded = self._source.read()
        config = loaded.config
        set_level(config.server.log_level)
        for warning in loaded.warnings:
            self.log.warn("{warning}", warning=str(warning))
        take_descriptors()
        notifier = Notifier.of(os.environ, reactor)
        orchestrator = build(
            config, reactor, source=self._source, notifier=notifier, inherited=take_sockets()
        )
        self._orchestrator = orchestrator
        orchestrator.failed = self._give_up
        on_hangup(reactor, orchestrator.reload)
        reactor.callWhenRunning(stop_once, reactor)
        start(orchestrator.start()).addCallbacks(lambda _: begun(reactor), self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):  # told to stop before it had begun
            self._give_up(f"cannot start: {failure.value}")

    def _give_up(self, reason: str) -> None:
        from twisted.internet import reactor

        self.log.critical("{reason}", reason=reason)
        exit_with(1)
        reactor.callLater(0, reactor.stop)

    def stopService(self) -> Deferred[None] | None:
        """Stop in order; fires when everything is closed."""
        super().stopService()  # type: ignore[no-untyped-call]
        return start(self._orchestrator.stop()) if self._orchestrator is not None else None


def makeService(options: Options) -> OrchestratorService:
    """
    Return the service that twistd runs.

    :raises SystemExit: the configuration cannot be used; all its problems are named.
    """
    service = OrchestratorService(options)
    try:
        service.check()
    except ConfigErrors as errors:
        log = observer()  # twistd has not begun to log yet
        for problem in errors.problems:
            report(log, "{file} cannot be used: {problem}", file=options["config"], problem=str(problem))
        listed = "\n".join(f"  {problem}" for problem in errors.problems)
        # twistd would print a traceback for anything else.
        raise SystemExit(f"s3orchestrator: {options['config']} cannot be used:\n{listed}") from errors
    return service
