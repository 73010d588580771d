"""
Where log lines come from and what they look like.

Components log through `make_logger`, whose disabled levels cost a fifth of a microsecond.
Programs choose one observer: JSON lines for machines, or `terminal` for people.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache, partial
from io import TextIOWrapper
from math import isfinite
from time import time  # noqa: TID251 - a line says when it was written, whatever clock its writer goes by
from typing import Any, Protocol, TextIO, cast

import txaio
from attrs import define, field
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    formatEvent,
    globalLogBeginner,
    globalLogPublisher,
)
from twisted.python.failure import Failure
from zope.interface import implementer

txaio.use_twisted()

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

LEVELS = ("error", "warn", "info", "debug")
_WITH_INFO = frozenset(["info", "debug", "trace"])

_PACKAGE = "s3orchestrator."

# Twisted names its loggers after classes, also those derived from its own.
_SOCKETS = ("twisted.internet.tcp", "s3orchestrator.bodies.sockets")

# A field whose name contains one of these is never printed.
_SECRET_NAMES = re.compile(r"secret|password|passwd|token|authorization|signature|private_key", re.IGNORECASE)

# Presigned addresses and Authorization headers carry these, also in the midst of a message.
_SECRET_TEXT = re.compile(r"((?:ignature|-[Tt]oken)\s*[=:]\s*)[^&\s\"',}\\]+")

_HIDDEN = "***"

# Added by Twisted for the sake of observers older than twisted.logger.
_TWISTED_FIELDS = frozenset(
    ["format", "message", "time", "system", "isError", "failure", "why", "logLevel", "txaio_trace"]
)

# What a line has anyway; a field of such a name is left out.
_OURS = frozenset(["time", "level", "component", "msg", "request_id", "traceback"])

_PRINTED_AS_THEY_ARE = frozenset([str, int, float, bool, type(None)])

# A terminal obeys these, and some readers of lines take one for the end of a line. JSON leaves them.
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_quote_plainly = json.encoder.encode_basestring
_encode_plainly = json.JSONEncoder(ensure_ascii=False, default=str).encode


def _quote(text: str) -> str:
    quoted = _quote_plainly(text)
    return quoted if quoted.isascii() and "\x7f" not in quoted else _UNSEEN.sub(_escape, quoted)


def _encode(value: object) -> str:
    return _UNSEEN.sub(_escape, _encode_plainly(value))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


_JSON: Mapping[type, Callable[[Any], str]] = {
    str: _quote,
    int: repr,
    float: lambda number: repr(number) if isfinite(number) else "null",
    bool: lambda truth: "true" if truth else "false",
}


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


def log_at_once(namespace: str, text: str, fields: dict[str, object]) -> None:
    """
    Log information that comes with every request; `fields` is taken over.

    The same as `info` of a logger of that namespace, without handing the fields on from call to call.
    """
    if txaio.get_global_log_level() in _WITH_INFO:
        _emit(globalLogPublisher, namespace, LogLevel.info, text, fields)


def _emit(
    observer: ILogObserver, namespace: str, level: LogLevel, text: str | None, fields: dict[str, object]
) -> None:
    fields.update(log_level=level, log_namespace=namespace, log_format=text, log_time=time())
    observer(fields)


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


def json_line(event: LogEvent) -> str:
    """Return `event` as one line of JSON."""
    members = [
        f'"time": "{_timestamp(event.get("log_time", 0.0))}", "level": "{_level(event).name}"',
        f'"component": {_quote(_component(event))}, "msg": {_quote(_message(event))}',
    ]
    if request_id := REQUEST_ID.get():
        members.append(f'"request_id": {_quote(request_id)}')
    if failure := event.get("log_failure"):
        members.append(f'"traceback": {_quote(failure.getTraceback())}')
    for name, value in event.items():
        if label := _label(name):
            encode = None if _is_secret(name) else _JSON.get(type(value))
            members.append(label + (encode(value) if encode else _encode(_plain(name, value))))
    return "{" + _without_secrets(", ".join(members)) + "}\n"


@lru_cache(maxsize=1024)  # the program's own names
def _label(name: str) -> str:
    """Return how the member of a field begins, nothing if the line has none for it."""
    return f"{_quote(name)}: " if _is_field(name) and name not in _OURS else ""


def terminal_line(event: LogEvent) -> str:
    """
    Return `event` as a line for people, with a traceback below it.

    Fields that the text leaves out follow it.
    """
    fields = _fields(event)
    text = event.get("log_format") or ""
    line = [
        f"{_time(event).astimezone():%H:%M:%S} {_level(event).name:5} {_component(event)}:",
        _message(event),
        *(f"{name}={value}" for name, value in fields.items() if "{" + name not in text),
    ]
    if request_id := REQUEST_ID.get():
        line.append(f"[{request_id}]")
    shown = _printable(" ".join(line))
    if failure := event.get("log_failure"):
        shown += "\n" + "\n".join(map(_printable, failure.getTraceback().rstrip().splitlines()))
    return _without_secrets(shown) + "\n"


def _printable(text: str) -> str:
    """Escape what would begin a line or tell the terminal to do something: much of it is clients' text."""
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() else each.encode("unicode_escape").decode() for each in text])


@implementer(ILogObserver)
@define
class LineObserver:
    """
    Writes each event that is wanted as text.

    Our own loggers have dropped what is below the level before it gets here; libraries' have not.
    What libraries call information (a port opened, a factory started) is detail to an operator.
    """

    _out: TextIO
    _line: Callable[[LogEvent], str]
    _said: dict[object, float] = field(init=False, factory=dict)

    def __call__(self, event: LogEvent) -> None:
        if _is_wanted(event) and not self._is_repeated(event):
            self._out.write(self._line(event))
            self._out.flush()

    def _is_repeated(self, event: LogEvent) -> bool:
        # Without descriptors left it says so, with a traceback, as often as it could accept.
        if not str(event.get("log_namespace", "")).startswith(_SOCKETS):
            return False
        text, now = event.get("log_format"), event.get("log_time", 0.0)
        if 0 <= now - self._said.get(text, -1.0) < 1:
            return True
        self._said[text] = now
        return False


def observer() -> LineObserver:
    """
    Return the observer of a service: JSON lines on standard output.

    For `twistd --logger s3orchestrator.telemetry.logging.observer`.
    """
    return LineObserver(_in_utf8(sys.stdout), json_line)


def terminal() -> LineObserver:
    """Return the observer of a command: readable lines on standard error."""
    return LineObserver(_in_utf8(sys.stderr), terminal_line)


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


def _is_wanted(event: LogEvent) -> bool:
    if str(event.get("log_namespace", "")).startswith(_PACKAGE):
        return True
    wanted = txaio.get_global_log_level()
    return wanted in ("debug", "trace") or _level(event) >= _LEAST_OF_LIBRARIES[wanted]


_LEAST_OF_LIBRARIES = {"error": LogLevel.error, "warn": LogLevel.warn, "info": LogLevel.warn}


def _level(event: LogEvent) -> LogLevel:
    return cast(LogLevel, event.get("log_level") or LogLevel.info)


def _time(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time", 0.0), UTC)


def _timestamp(when: float) -> str:
    second = int(when)
    return f"{_second(second)}.{int((when - second) * 1000):03}Z"


@lru_cache(maxsize=1)
def _second(when: int) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%dT%H:%M:%S}"


def _component(event: LogEvent) -> str:
    return str(event.get("log_namespace") or "-").removeprefix(_PACKAGE)


def _message(event: LogEvent) -> str:
    text = event.get("log_format")
    if text and "{" not in text and "}" not in text:
        return str(text)
    # With the plain fields in place of the originals, a secret named in the text stays hidden.
    return formatEvent({**event, **_fields(event)})


def _fields(event: LogEvent) -> dict[str, object]:
    """Return what the caller gave beside the text, ready to be printed."""
    return {name: _plain(name, value) for name, value in event.items() if _is_field(name)}


def _is_field(name: str) -> bool:
    return not name.startswith("log_") and name not in _TWISTED_FIELDS


def _plain(name: str, value: object) -> object:
    if _is_secret(name):
        return _HIDDEN
    if type(value) in _PRINTED_AS_THEY_ARE:
        return value
    match value:
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case Mapping():
            return {_text(key): _plain(_text(key), item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(name, item) for item in value]
        case _:
            return str(value)


def _text(name: object) -> str:
    return name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else str(name)


@lru_cache(maxsize=1024)  # the program's own names and a few headers
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def _without_secrets(text: str) -> str:
    # Looking for a word first is ten times as fast as the expression on text without it.
    if "ignature" in text or "oken" in text:
        return _SECRET_TEXT.sub(r"\1" + _HIDDEN, text)
    return text
