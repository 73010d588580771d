"""
Programs of ours that start at once.

Most of a second goes into importing; a test that starts a thousand daemons cannot wait for
that. One process imports everything, and forks itself for each that is wanted. Each is
watched by a process of its own that tells how it ended: only a parent can know.

`python -m s3orchestrator.testing.faults.forkserver SOCKET` listens on a Unix socket. A
request is one line of JSON, the answers are the process's id and, later, its exit status
(negative for a signal).
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any

_PDEATHSIG = 1
_PRELOADED = (
    "s3orchestrator.cli.main",
    "s3orchestrator.cli.serve",
    "s3orchestrator.cli.fsck",
    "s3orchestrator.backends.s3",
    "s3orchestrator.testing.faults.__main__",
)


def main(path: str) -> None:
    """Serve until killed."""
    for name in _PRELOADED:
        import_module(name)
    assert "twisted.internet.reactor" not in sys.modules, "a reactor cannot be shared among processes"
    gc.freeze()  # what is there stays, and looking at it would copy its pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{path}.new")
        listening.listen(64)
        os.rename(f"{path}.new", path)  # whoever sees it may connect
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _watch(connection.makefile("rwb", buffering=0))
            connection.close()


def _watch(connection: socket.SocketIO) -> None:
    """Start what is asked for, and stay until it has ended."""
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.loads(connection.readline())
    child = os.fork()
    if child == 0:
        connection.close()
        _become(request)
    connection.write(b"%d\n" % child)
    _, status = os.waitpid(child, 0)
    try:
        connection.write(b"%d\n" % os.waitstatus_to_exitcode(status))
    finally:
        os._exit(0)


def _become(request: Mapping[str, Any]) -> None:
    """Run a module's `main` as if it had been started from a shell."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(output, standard)
    os.close(output)
    if request["directory"] is not None:
        os.chdir(request["directory"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = [request["module"], *request["arguments"]]
    status: object = 1
    try:
        status = import_module(request["module"]).main(request["arguments"])
    except SystemExit as ended:
        status = ended.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 0 if status is None else 1)


def die_with_parent() -> None:
    """Do not stay behind, whatever happens to whoever has started us."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1])
