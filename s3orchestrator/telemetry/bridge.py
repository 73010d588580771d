"""What libraries say by the standard library's logging, on its way into our log."""

from __future__ import annotations

import logging

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

_LEVELS = ((logging.CRITICAL, LogLevel.critical), (logging.ERROR, LogLevel.error))


class Bridge(logging.Handler):
    """
    Hands over warnings and worse: botocore, for one, warns when it gets no credentials.

    Without it they would be text on standard error, among lines that are JSON.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Log what a library said, under its own name; from any thread."""
        level = next((ours for theirs, ours in _LEVELS if record.levelno >= theirs), LogLevel.warn)
        error = record.exc_info[1] if record.exc_info else None
        more = {} if error is None else {"log_failure": Failure(error)}
        Logger(namespace=record.name).emit(level, "{text}", text=record.getMessage(), **more)


def take_over() -> None:
    """Let libraries' warnings be ours from now on; for programs, once."""
    root = logging.getLogger()
    if not any(isinstance(handler, Bridge) for handler in root.handlers):
        root.addHandler(Bridge())
