"""
Where log lines come from and where they go.

Components log through `make_logger`, whose disabled levels cost a fifth of a microsecond.
Programs choose one observer: JSON lines for machines, or `terminal` for people.
"""

from __future__ import annotations

import atexit
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from io import TextIOWrapper, UnsupportedOperation
from time import time  # noqa: TID251 - a line says when it was written, whatever clock its writer goes by
from types import MappingProxyType
from typing import Literal, Protocol, TextIO, cast

import txaio
from attrs import define, field
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    globalLogBeginner,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from s3orchestrator.telemetry.bridge import take_over
from s3orchestrator.telemetry.context import REQUEST_ID
from s3orchestrator.telemetry.lines import ON_BEHALF_OF, component_in, json_line, level_of, terminal_line
from s3orchestrator.telemetry.ring import Line, Ring
from s3orchestrator.telemetry.stream import Stream

txaio.use_twisted()

LEVELS = ("error", "warn", "info", "debug")

LogForm = Literal["json", "text"]  # for machines, or for people

# The latest lines, for the admin API; filled once a program has chosen its observer.
RING = Ring()

# Closes what still has lines when the process ends, the last first; who ends it in another way does it.
AT_EXIT = ExitStack()
atexit.register(AT_EXIT.close)

_PACKAGE = "s3orchestrator."

# Twisted names its loggers after classes, also those derived from its own.
_SOCKETS = ("twisted.internet.tcp", "s3orchestrator.bodies.listening", "s3orchestrator.bodies.sockets")


class Log(Protocol):
    """What `make_logger` gives: a fixed text with fields, at one of six levels."""

    def trace(self, format: str, **fields: object) -> None: ...
    def debug(self, format: str, **fields: object) -> None: ...
    def info(self, format: str, **fields: object) -> None: ...
    def warn(self, format: str, **fields: object) -> None: ...
    def error(self, format: str, **fields: object) -> None: ...
    def critical(self, format: str, **fields: object) -> None: ...

    def failure(self, format: str, failure: Failure | None = None, **fields: object) -> None:
        """Log `failure`, or the exception being handled, with its traceback."""


def make_logger() -> Log:
    """
    Return a logger for the calling module: `log = make_logger()` in a class or at the top of a file.
    """
    # txaio would look for its own caller, which is this function.
    namespace = sys._getframe(1).f_globals["__name__"]
    return cast(Log, txaio.make_logger(logger=partial(_logger, namespace)))


def _logger(ours: str, namespace: str, observer: ILogObserver | None) -> Logger:
    return _Logger(namespace=ours, observer=observer)


class _Logger(Logger):
    """Emits without looking the level up among all there are, which takes longer than all the rest."""

    def emit(self, level: LogLevel, format: str | None = None, **fields: object) -> None:
        fields.update(log_logger=self, log_source=self.source)
        _emit(self.observer, self.namespace, level, format, fields)


def log_always(namespace: str, text: str, fields: dict[str, object]) -> None:
    """
    Write a line that no level keeps back; `fields` is taken over.

    The same as `info` of a logger of that namespace, without handing the fields on from call to call.
    """
    _emit(globalLogPublisher, namespace, LogLevel.info, text, fields)


def _emit(
    observer: ILogObserver, namespace: str, level: LogLevel, text: str | None, fields: dict[str, object]
) -> None:
    fields.update(log_level=level, log_namespace=namespace, log_format=text, log_time=time())
    observer(fields)


Later = Callable[[Callable[[], object]], object]

_MOST_GATHERED = 64  # lines, which wait for no more than the end of the reactor's turn

# A field of an event that may wait so long, and may be lost with a process that is killed meanwhile.
CAN_WAIT = "log_can_wait"

_later: Later | None = None


def gather(later: Later | None) -> None:
    """
    Write lines that can wait together from now on, when `later` calls back; None: each at once.

    For a program whose reactor runs. Each request makes two lines, and wording and writing those of many
    requests in one go costs half as much. All other lines are written at once, after those that wait.
    """
    global _later
    _later = later


def write_gathered() -> None:
    """Write what waits now: something is about to leave that must not be heard of before."""
    while _with_lines:
        _with_lines.pop().write_gathered()


_with_lines: set[LineObserver] = set()  # at least those that have lines which wait


def set_level(level: str) -> None:
    """
    Log `level` and what is worse from now on; may be called at any time.

    :raises ValueError: it is none of `LEVELS`.
    """
    if level not in LEVELS:
        raise ValueError(f"{level!r} is no log level; there are {', '.join(LEVELS)}")
    txaio.set_global_log_level(level)


def current_level() -> str:
    """Return the level that was set last."""
    return str(txaio.get_global_log_level())


class Lines(Protocol):
    """What takes lines: a text file, or a `Stream`."""

    def write(self, text: str, /) -> object: ...
    def writelines(self, texts: Sequence[str], /) -> object: ...
    def flush(self) -> object: ...


class Keeps(Protocol):
    """What keeps lines for whoever asks the daemon itself: `Ring`, or `Relay`."""

    def add(self, lines: Iterable[Line]) -> None: ...


@implementer(ILogObserver)
@define(eq=False)
class LineObserver:
    """
    Writes each event that is wanted as text, and keeps it in the ring if there is one.

    Our own loggers have dropped what is below the level before it gets here; libraries' have not.
    What libraries call information (a port opened, a factory started) is detail to an operator.
    """

    _out: Lines
    _line: Callable[[LogEvent], str]
    _ring: Keeps | None = None
    _bound: Mapping[str, object] = MappingProxyType({})
    _said: dict[object, float] = field(init=False, factory=dict)
    _gathered: deque[LogEvent] = field(init=False, factory=deque)
    _is_called: bool = field(init=False, default=False)

    @property
    def is_for_machines(self) -> bool:
        """Whether what it writes is JSON."""
        return self._line is json_line

    def __call__(self, event: LogEvent) -> None:
        if CAN_WAIT in event and _later is not None:
            self._gather(event, _later)
        elif _is_wanted(event) and not self._is_repeated(event):
            self._write([*self._all_gathered(), event])

    def _gather(self, event: LogEvent, later: Later) -> None:
        event[ON_BEHALF_OF] = REQUEST_ID.get()
        if not self._gathered:
            _with_lines.add(self)
        self._gathered.append(event)
        if not self._is_called:
            self._is_called = True
            later(self._called_back)
        if len(self._gathered) >= _MOST_GATHERED:
            self._write(self._all_gathered())

    def close(self) -> None:
        """Write what waits; there is no later when a program ends."""
        self.write_gathered()

    def _called_back(self) -> None:
        self._is_called = False
        self.write_gathered()

    def write_gathered(self) -> None:
        """Write what waits."""
        if gathered := self._all_gathered():
            self._write(gathered)

    def _all_gathered(self) -> list[LogEvent]:
        # One by one, for another thread may be at it, too.
        gathered: list[LogEvent] = []
        with suppress(IndexError):
            while self._gathered:
                gathered.append(self._gathered.popleft())
        return gathered

    def _write(self, events: Sequence[LogEvent]) -> None:
        if self._bound:
            events = [{**event, **self._bound} for event in events]
        lines = [_worded(event, self._line) for event in events]
        self._out.writelines(lines)
        self._out.flush()
        if self._ring is not None:
            texts = lines if self.is_for_machines else [_worded(event, json_line) for event in events]
            self._ring.add(
                (event.get("log_time", 0.0), level_of(event).name, component_in(event), text)
                for event, text in zip(events, texts, strict=True)
            )

    def _is_repeated(self, event: LogEvent) -> bool:
        # Without descriptors left it says so, with a traceback, as often as it could accept.
        if not str(event.get("log_namespace", "")).startswith(_SOCKETS):
            return False
        text, now = event.get("log_format"), event.get("log_time", 0.0)
        if 0 <= now - self._said.get(text, -1.0) < 1:
            return True
        self._said[text] = now
        return False


def _worded(event: LogEvent, line: Callable[[LogEvent], str]) -> str:
    """Return a line, of an event that has no words too: others are waiting to be written with it."""
    try:
        return line(event)
    except Exception as error:
        of = event.get("log_namespace")
        return line(_own("a line of {of} cannot be worded: {error}", of=str(of), error=type(error).__name__))


def observer(keeps: Keeps = RING, bound: Mapping[str, object] = MappingProxyType({})) -> LineObserver:
    """
    Return the observer of a service: JSON lines on standard output.

    For `twistd --logger s3orchestrator.telemetry.logging.observer`. `bound` are fields of every line.
    """
    take_over()
    try:
        stream = Stream(sys.stdout.fileno(), _loss)
    except UnsupportedOperation:  # a file in memory
        return _closed_at_exit(LineObserver(_in_utf8(sys.stdout), json_line, keeps, bound))
    AT_EXIT.callback(stream.close)
    return _closed_at_exit(LineObserver(stream, json_line, keeps, bound))


def _loss(lines: int) -> str:
    return json_line(_own("{lines} lines were lost: nobody read the log for too long", lines=lines))


def _own(text: str, **fields: object) -> LogEvent:
    """An error of the log itself."""
    fields.update(log_namespace=__name__, log_level=LogLevel.error, log_time=time(), log_format=text)
    return fields


def terminal(keeps: Keeps = RING, bound: Mapping[str, object] = MappingProxyType({})) -> LineObserver:
    """Return the observer of a command: readable lines on standard error."""
    take_over()
    return _closed_at_exit(LineObserver(_in_utf8(sys.stderr), terminal_line, keeps, bound))


def _closed_at_exit(observer: LineObserver) -> LineObserver:
    AT_EXIT.callback(observer.close)
    return observer


def _in_utf8(out: TextIO) -> TextIO:
    """Have `out` take any text: a line it cannot encode would be lost, and with it what it records."""
    if isinstance(out, TextIOWrapper):
        out.reconfigure(encoding="utf-8", errors="backslashreplace")
    return out


def begin_logging(observer: LineObserver, level: str = "info") -> None:
    """
    Send the log to `observer`; to be called once, by programs that twistd does not start.
    """
    set_level(level)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)


def report(log: LineObserver, format: str, **fields: object) -> None:
    """Write a critical line before the log has begun: who cannot begin says why where its log would be."""
    fields.update(log_level=LogLevel.critical, log_format=format, log_time=time())
    log({**fields, "log_namespace": f"{_PACKAGE}app"})


def _is_wanted(event: LogEvent) -> bool:
    if str(event.get("log_namespace", "")).startswith(_PACKAGE):
        return True
    wanted = txaio.get_global_log_level()
    return wanted in ("debug", "trace") or level_of(event) >= _LEAST_OF_LIBRARIES[wanted]


_LEAST_OF_LIBRARIES = {"error": LogLevel.error, "warn": LogLevel.warn, "info": LogLevel.warn}
