"""
One of several processes that serve clients. Not a command: `s3orchestrator serve` and twistd start these.

    python -m s3orchestrator.cli.worker DESCRIPTOR NUMBER FORM

The descriptor is one end of a pair of sockets, over which it is told everything else; number and form are for
its log.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import partial

from twisted.internet.interfaces import IReactorCore

from s3orchestrator.app.process import begun, take_descriptors
from s3orchestrator.app.worker import Worker
from s3orchestrator.telemetry.logging import begin_logging, observer, terminal
from s3orchestrator.telemetry.relay import Relay
from s3orchestrator.workers.link import Link, join
from s3orchestrator.workers.process import die_with_parent, leave_signals_to_parent

ORPHANED = 3  # the status of one that nobody tells anything any more


def main(descriptor: str, number: str, form: str) -> None:
    """Serve until told to stop, or until whoever might is gone."""
    leave_signals_to_parent()
    die_with_parent()
    from twisted.internet import reactor  # the choice of reactor is the program's, so not at import

    core, relay = IReactorCore(reactor), Relay()
    take_descriptors()
    begin_logging((terminal if form == "text" else observer)(relay, {"worker": int(number)}))
    is_over = False

    def end() -> None:
        nonlocal is_over
        is_over = True
        link.close()
        core.stop()

    def orphaned() -> None:
        # At once: another may be about to take over what we have, and we would know nothing of it.
        if not is_over:
            os._exit(ORPHANED)

    worker = Worker(reactor, relay, partial(begun, core), end)
    worker.link = link = Link(worker.answers, orphaned, reactor)
    join(link, socket.socket(fileno=int(descriptor)), reactor)
    core.run(installSignalHandlers=False)  # type: ignore[call-arg]


if __name__ == "__main__":
    main(*sys.argv[1:])
