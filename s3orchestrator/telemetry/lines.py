"""
What lines of the log look like: JSON for machines, or text for people.

One event is one line, whatever a client's data has in it, and no secret gets through.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any

from twisted.logger import LogEvent, LogLevel, formatEvent

from s3orchestrator.telemetry.components import component_of
from s3orchestrator.telemetry.context import REQUEST_ID

# A field whose name contains one of these is never printed.
_SECRET_NAMES = re.compile(r"secret|password|passwd|token|authorization|signature|private_key", re.IGNORECASE)

# Presigned addresses and Authorization headers carry these, also in the midst of a message. Some clients
# encode the whole of an address as a path.
_SECRET_TEXT = re.compile(r"((?:ignature|-[Tt]oken)\s*(?:[=:]|(?i:%3[ad]))\s*)[^&\s\"',}\\]+")

_HIDDEN = "***"

# Added by Twisted for the sake of observers older than twisted.logger.
_TWISTED_FIELDS = frozenset(
    ["format", "message", "time", "system", "isError", "failure", "why", "logLevel", "txaio_trace"]
)

TRAIL = "audit"  # the text of all lines of the audit trail, which are most of those there are

# What a line has anyway; a field of such a name is left out.
_OURS = frozenset(["time", "level", "component", "msg", "request_id", "traceback"])

_PRINTED_AS_THEY_ARE = frozenset([str, int, bool, type(None)])

# A terminal obeys these, and some readers of lines take one for the end of a line. JSON leaves them.
_UNSEEN = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_quote = json.encoder.encode_basestring
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=str).encode


def _number(value: float) -> str:
    return repr(value) if isfinite(value) else "null"  # JSON knows no others


# What most values are, and how they are written. Calling the encoder takes longer than all that it writes.
_IN_JSON: Mapping[type, Callable[[Any], str]] = {
    str: _quote,
    int: repr,
    float: _number,
    bool: {True: "true", False: "false"}.__getitem__,
    type(None): {None: "null"}.__getitem__,
}


def _visible(line: str) -> str:
    """Escape what cannot be seen: in JSON it can only be within a text."""
    return line if line.isascii() and "\x7f" not in line else _UNSEEN.sub(_escape, line)


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


# The name under which an event carries the request it belongs to, if it is worded elsewhere.
ON_BEHALF_OF = "log_request_id"


def _request_of(event: LogEvent) -> str:
    known: str | None = event.get(ON_BEHALF_OF)
    return REQUEST_ID.get() if known is None else known


def json_line(event: LogEvent) -> str:
    """Return `event` as one line of JSON."""
    level, namespace = level_of(event).name, str(event.get("log_namespace") or "")
    if event.get("log_format") == TRAIL:
        said = _said_alike(level, namespace, TRAIL)
    else:
        said = _said(level, namespace, _message(event))
    line = f'{{"time": "{_timestamp(event.get("log_time", 0.0))}", {said}'
    if request_id := _request_of(event):
        line += f', "request_id": {_quote(request_id)}'
    if failure := event.get("log_failure"):
        line += f', "traceback": {_quote(failure.getTraceback())}'
    names, form = _members_of(tuple(event))
    if names:
        line += _as_they_are(event, names, form) or _plainly(event, names)
    return _without_secrets(_visible(line)) + "}\n"


def _said(level: str, namespace: str, message: str) -> str:
    return f'"level": "{level}", "component": {_quote(component_of(namespace))}, "msg": {_quote(message)}'


_said_alike = lru_cache(maxsize=16)(_said)


@lru_cache(maxsize=1024)  # kinds of events: the names in them are the program's own
def _members_of(names: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return which fields are members of the line, and what it has for them unless one is a secret."""
    members = tuple(name for name in names if _is_field(name) and name not in _OURS)
    if any(map(_is_secret, members)):
        return members, ""
    return members, "".join([f", {_quote(name).replace('%', '%%')}: %s" for name in members])


def _plainly(event: LogEvent, names: Sequence[str]) -> str:
    return f", {_encode({name: _plain(name, event[name]) for name in names})[1:-1]}"


def _as_they_are(event: LogEvent, names: Sequence[str], form: str) -> str:
    """Return what `_plainly` does, faster; nothing if not all values are such as JSON has."""
    try:
        return form and form % tuple([_IN_JSON[type(value := event[name])](value) for name in names])
    except KeyError:
        return ""


def terminal_line(event: LogEvent) -> str:
    """
    Return `event` as a line for people, with a traceback below it.

    Fields that the text leaves out follow it. Lines of the audit trail begin with the name of what they
    record.
    """
    fields = _fields(event)
    text = event.get("log_format") or ""
    message = _message(event)
    if fields.pop("audit", False):
        message = str(fields.pop("event", message))
    line = [
        f"{_time(event).astimezone():%H:%M:%S} {level_of(event).name:5} {component_in(event)}:",
        message,
        *(f"{name}={value}" for name, value in fields.items() if "{" + name not in text),
    ]
    if request_id := _request_of(event):
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


def level_of(event: LogEvent) -> LogLevel:
    """Return an event's level, which some libraries leave out."""
    level: LogLevel | None = event.get("log_level")
    return level or LogLevel.info


def _time(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time", 0.0), UTC)


def _timestamp(when: float) -> str:
    second = int(when)
    return f"{_second(second)}.{int((when - second) * 1000):03}Z"


@lru_cache(maxsize=1)
def _second(when: int) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%dT%H:%M:%S}"


def component_in(event: LogEvent) -> str:
    """Return which part of the daemon speaks."""
    return component_of(str(event.get("log_namespace") or ""))


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
        case float():
            return value if isfinite(value) else None  # JSON knows no others
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
