"""
Values as they are written in the file: durations, sizes, numbers, secrets, `${VARIABLES}`.

YAML's own guesses (`yes`, `012`, `1:30`) never get a say: every scalar arrives here as text
and is read by the type its setting declares.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from math import isfinite
from typing import Annotated, Any

from attrs import frozen

MAX_INTEGER = 2**63 - 1  # what both ledger engines can store


class ScalarError(ValueError):
    """
    The text is not what its setting wants; the message reads well after the quoted value.

    `show` is false where the value itself may hold a secret, whatever its type says.
    """

    def __init__(self, message: str, *, show: bool = True) -> None:
        super().__init__(message)
        self.show = show


class Secret(str):
    """
    Text that does not show itself in `repr`, and so not in logs of settings or tracebacks.

    It is still a `str`: signing and comparing need the real thing.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('')" if not self else "Secret('***')"


@frozen
class Scalar:
    """A kind of value: how it is called in the documentation, read, and written again."""

    name: str
    parse: Callable[[str], Any]
    render: Callable[[Any], str] = str
    secret: bool = False


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(r"\$\$|\$\{(?P<inside>[^}]*)(?P<end>\}?)")


def expand(text: str, environ: Mapping[str, str]) -> str:
    """
    Replace `${NAME}` and `${NAME:-default}`, and turn `$$` into one dollar.

    Values are put in as they are and not looked at again. As in a shell, the default also
    serves where the variable is set but empty. Any other dollar stays, so that bcrypt hashes
    survive.

    :raises ScalarError: a variable is not set, a reference is malformed, or the whole text is
        `$NAME`, which other programs would expand and we do not.
    """
    if text.startswith("$") and _VARIABLE.fullmatch(text, 1):
        # A secret may happen to look like this, so the name is said only where it is one for sure.
        name = text[1:] if text[1:] in environ else "NAME"
        raise ScalarError(
            f"is a variable without braces: write ${{{name}}}, or $${name} if the dollar is meant"
        )
    return _REFERENCE.sub(lambda found: _replacement(found, environ), text)


def _replacement(found: re.Match[str], environ: Mapping[str, str]) -> str:
    if found[0] == "$$":
        return "$"
    name, colon, default = found["inside"].partition(":-")
    if not found["end"]:
        raise ScalarError("has a ${ that is never closed: add the }, or write $${ if it is meant")
    if "${" in default:
        raise ScalarError("has a reference inside another one's default, which is not supported")
    if not _VARIABLE.fullmatch(name):
        raise ScalarError("has a ${…} without a proper name: write ${NAME} or ${NAME:-default}")
    if colon:
        return environ.get(name) or default
    if name not in environ:
        raise ScalarError(
            f"needs the environment variable {name}, which is not set: set it, or write ${{{name}:-default}}"
        )
    return environ[name]


def escape(text: str) -> str:
    """Write `text` so that `expand` gives it back."""
    return text.replace("$", "$$")


_UNIT_NANOSECONDS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,  # micro sign
    "μs": 10**3,  # Greek mu
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_DURATION_PART.pattern})+")


def parse_duration(text: str) -> float:
    """
    Seconds in `300ms`, `30s`, `5m` or `1h30m`; a bare `0` needs no unit.

    :raises ScalarError: it is something else, among others a number without a unit.
    """
    if text == "0":
        return 0.0
    if text.startswith("-"):
        raise ScalarError("must not be negative")
    if not _DURATION.fullmatch(text):
        raise ScalarError("is not a duration: write a number and a unit, such as 300ms, 30s, 5m or 1h30m")
    total = sum(Decimal(number) * _UNIT_NANOSECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    if total > MAX_INTEGER:
        raise ScalarError("is too long a time")
    return int(total) / 10**9


def format_duration(seconds: float) -> str:
    """Write seconds so that `parse_duration` gives them back, exact to the nanosecond."""
    left = int(Decimal(repr(seconds)) * 10**9)
    parts = []
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        count, left = divmod(left, _UNIT_NANOSECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


_SIZE = re.compile(r"([0-9]+(?:_[0-9]+)*) ?(?:B|([KMGT])I?B)?", re.IGNORECASE)
_SIZE_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_size(text: str) -> int:
    """
    Bytes in `1048576`, `1024KB`, `1MB` or `1MiB`; all units are powers of 1024.

    :raises ScalarError: it is something else, a fraction for instance, or too large to store.
    """
    if text.startswith("-"):
        raise ScalarError("must not be negative")
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ScalarError("is not a size: write whole bytes, or a whole number with KB, MB, GB or TB")
    size = _whole(found[1]) * _SIZE_UNITS[(found[2] or "").upper()]
    if size > MAX_INTEGER:
        raise ScalarError("is too large a size")
    return size


def format_size(size: int) -> str:
    """Write bytes in the largest unit that divides them; `parse_size` gives them back."""
    for unit in "TGMK":
        if size and size % _SIZE_UNITS[unit] == 0:
            return f"{size // _SIZE_UNITS[unit]}{unit}iB"
    return str(size)


_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*(?:_[0-9]+)*)")


def parse_integer(text: str) -> int:
    """A decimal number. Leading zeros are refused: YAML would have read them as octal."""
    if not _INTEGER.fullmatch(text):
        raise ScalarError("is not a whole number")
    number = _whole(text)
    if abs(number) > MAX_INTEGER:
        raise ScalarError("is too large a number")
    return number


def _whole(digits: str) -> int:
    """The number; one beyond all limits where Python would refuse to read that many digits."""
    return int(digits) if len(digits) < 100 else MAX_INTEGER + 1


AUTO = 0  # processes: as many as there are cores
MOST_PROCESSES = 256  # more cores than that are several machines' worth


def parse_processes(text: str) -> int:
    """How many processes: a number, or `auto`."""
    if text == "auto":
        return AUTO
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else AUTO
    if not 1 <= number <= MOST_PROCESSES:
        raise ScalarError(f"is neither auto nor a number from 1 to {MOST_PROCESSES}")
    return number


_MODE = re.compile(r"0?[0-7]{3}")


def parse_mode(text: str) -> int:
    """Permissions of a file, in octal as for `chmod`."""
    if not _MODE.fullmatch(text):
        raise ScalarError("is not a mode: write three octal digits, such as 0660")
    return int(text, 8)


_NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?")


def parse_number(text: str) -> float:
    """A decimal number, perhaps with a fraction or an exponent."""
    if not _NUMBER.fullmatch(text):
        raise ScalarError("is not a number")
    number = float(text)
    if not isfinite(number):
        raise ScalarError("is too large a number")
    return number


_TRUTHS = {
    "true": True,
    "yes": True,
    "on": True,
    "y": True,
    "false": False,
    "no": False,
    "off": False,
    "n": False,
}


def parse_boolean(text: str) -> bool:
    """`true` or `false`; the words of older YAML (`yes`, `off`, …) count as well."""
    try:
        return _TRUTHS[text.lower()]
    except KeyError:
        raise ScalarError("is neither true nor false") from None


def parse_text(text: str) -> str:
    """Any text of one line."""
    if not text.isprintable() and any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ScalarError("holds a line end or another control character")
    return text


def parse_secret(text: str) -> Secret:
    """Any text of one line that must not be shown."""
    try:
        return Secret(parse_text(text))
    except ScalarError:
        raise ScalarError(
            "holds a line end or another control character (perhaps the last byte of an environment variable)"
        ) from None


TEXT = Scalar("text", parse_text)
BOOLEAN = Scalar("true or false", parse_boolean, lambda value: "true" if value else "false")
INTEGER = Scalar("whole number", parse_integer)
NUMBER = Scalar("number", parse_number, lambda value: repr(value).removesuffix(".0"))
SECRET = Scalar("secret text", parse_secret, lambda _: "***", secret=True)

FileMode = Annotated[int, Scalar("octal permissions", parse_mode, lambda mode: f'"{mode:04o}"')]
"""Permission bits."""

Processes = Annotated[
    int,
    Scalar("number, or ``auto``", parse_processes, lambda number: "auto" if number == AUTO else str(number)),
]
"""A number of processes, `AUTO` for as many as there are cores."""

Duration = Annotated[float, Scalar("duration", parse_duration, format_duration)]
"""Seconds, written with units in the file."""

Size = Annotated[int, Scalar("size", parse_size, format_size)]
"""Bytes, written plain or with a suffix in the file."""
