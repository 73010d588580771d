"""What a program that serves does to its own process."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from signal import SIGHUP, SIGINT, SIGTERM, getsignal, signal
from typing import Any

from s3orchestrator.bodies.outbox import OUTBOX
from s3orchestrator.bodies.splicing import MOST_PIPES
from s3orchestrator.config.scalars import AUTO
from s3orchestrator.config.sections import Config
from s3orchestrator.telemetry.logging import AT_EXIT, gather, make_logger, write_gathered
from s3orchestrator.web.inherited import Inherited, forget

_log = make_logger()


def on_hangup(reactor: Any, reload: Callable[[], object]) -> None:
    """
    Call `reload` at each SIGHUP, which would end the process otherwise.

    For programs, in the main thread. Twisted's reactors do nothing about this signal.
    """
    signal(SIGHUP, lambda *_: reactor.callFromThread(reload))


def stop_once(reactor: Any) -> None:
    """
    Go on stopping when told to stop again; to be called when the reactor runs.

    A reactor that has been stopped logs a traceback when it is stopped once more, be it in the same turn.
    """
    is_stopping = False

    def note() -> None:
        nonlocal is_stopping
        is_stopping = True

    def tell() -> None:
        _log.info("stopping already")

    def told_to_stop(stop: Callable[[int, Any], object], number: int, frame: Any) -> None:
        if is_stopping:
            reactor.callFromThread(tell)
        else:
            note()
            stop(number, frame)

    reactor.addSystemEventTrigger("before", "shutdown", note)  # for whatever reason
    for number in (SIGTERM, SIGINT):
        stop = getsignal(number)
        if callable(stop):  # else it is ignored, as in a shell's background
            signal(number, partial(told_to_stop, stop))


def exit_with(status: int) -> None:
    """
    Let the process end with `status` once the reactor has stopped.

    twistd always ends with 0 by then, and systemd would take that for success. Nothing is cut short:
    this comes after all that Python and twistd do at the end.
    """

    def end() -> None:
        AT_EXIT.close()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)

    atexit.register(end)


def processes(config: Config) -> int:
    """How many processes serve clients; where nobody is served, in mode `worker`, there is but this one."""
    if config.mode == "worker":
        return 1
    wanted = config.server.workers
    return wanted if wanted != AUTO else len(os.sched_getaffinity(0))


def take_descriptors() -> None:
    """
    Raise the limit of open files and connections as far as we may; for programs, before they start.

    The usual 1024 are for the sake of programs that use select.
    """
    hard = getrlimit(RLIMIT_NOFILE)[1]
    with suppress(OSError, ValueError):  # the kernel may have come to allow less
        setrlimit(RLIMIT_NOFILE, (hard, hard))


def take_sockets() -> Inherited:
    """Take what was opened for us (socket activation), so that nobody we start takes it, too; once."""
    inherited = Inherited.of(os.environ, os.getpid())
    forget(os.environ)
    return inherited


def most_connections() -> int | None:
    """How many clients may be connected: the rest of the descriptors is for files and for backends."""
    soft = getrlimit(RLIMIT_NOFILE)[0]
    return None if soft == RLIM_INFINITY else soft * 3 // 4


def most_pipes() -> int:
    """How many pipes may be between sockets: each takes two descriptors, and an eighth is for them."""
    soft = getrlimit(RLIMIT_NOFILE)[0]
    return MOST_PIPES if soft == RLIM_INFINITY else min(MOST_PIPES, soft // 16)


# Objects that may be new when the garbage collector looks for circles among them. Python's 700 are what the
# requests of one turn are made of, none of which is garbage: looking through them was a tenth of a request.
# Ten times as many would gain nothing, and what circles there are may hold a buffer each.
_YOUNG = 4000


def begun(reactor: Any) -> None:
    """
    Go over to serving; for programs, once they do.

    All that is in memory is exempt from garbage collection: it lives as long as they do, and looking
    through it took 40 ms each time, in which nobody was served. Lines of the audit trail are gathered, and
    small messages leave together, after the lines that were made before them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    later = partial(reactor.callLater, 0)
    gather(later)
    OUTBOX.open(later, write_gathered)
    reactor.addSystemEventTrigger("after", "shutdown", OUTBOX.close)
    reactor.addSystemEventTrigger("after", "shutdown", gather, None)
