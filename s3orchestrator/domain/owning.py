"""
Whose a backend is, and whether the ledger knows all that was done there (L9).

Each backend holds one small object, the marker, that names its ledger and bears a number. The number
is raised in the ledger first and then in the marker, so that a ledger which knows a smaller one than
the marker bears is behind: it was restored from a backup, or a clone of it is at work.
"""

from __future__ import annotations

from enum import Enum
from hashlib import sha256

from attrs import frozen

from s3orchestrator.domain.naming import HIDDEN

MARKER = f"{HIDDEN}owner"  # no client's key, no blob's name: those end in "~" and a token
LONGEST = 1024  # bytes of a marker that we read; ours are much shorter
CONTENT_TYPE = "text/plain; charset=utf-8"

_FIRST_LINE = "s3orchestrator owner 1"
_FIELDS = ("ledger", "backend", "number")
_MOST_DIGITS = 18
_CHECK = "check: "


class Unreadable(ValueError):
    """Something is called as the marker is, and is none that this release understands."""


@frozen
class Marker:
    """What the marker says."""

    ledger: str
    backend: str
    number: int

    def text(self) -> bytes:
        """Return the object's bytes: people look into buckets, too."""
        values = (self.ledger, self.backend, str(self.number))
        lines = [_FIRST_LINE, *(f"{name}: {value}" for name, value in zip(_FIELDS, values, strict=True))]
        text = "".join(f"{line}\n" for line in lines)
        return f"{text}{_CHECK}{_digest(text)}\n".encode()


def read_marker(text: bytes) -> Marker:
    """
    Return what was written by `Marker.text`. Later releases may add lines.

    :raises Unreadable: it was not, or by a release that means something else by it, or has been altered.
    """
    try:
        said, check, digest = text.decode().rpartition(_CHECK)
    except UnicodeDecodeError:
        raise Unreadable from None
    first, *lines = said.split("\n")
    # A flipped bit must not make a ledger one that is behind.
    if first != _FIRST_LINE or not check or digest != f"{_digest(said)}\n":
        raise Unreadable
    values = dict(line.split(": ", 1) for line in lines if ": " in line)
    number = values.get("number", "")
    if not all(values.get(name) for name in _FIELDS):
        raise Unreadable
    if not (number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS):
        raise Unreadable
    return Marker(values["ledger"], values["backend"], int(number))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]


@frozen
class Known:
    """
    What the ledger knows of a backend's marker.

    `number` is 0 until the marker is surely there. `marked_ms` is when the number that was written
    last began to be written. `is_behind`: the backend may hold what the ledger does not know.
    """

    number: int = 0
    marked_ms: int = 0
    is_behind: bool = False


class Standing(Enum):
    """How a backend stands to the ledger."""

    UNKNOWN = "not-checked"  # its marker has not been read since it was away
    OURS = "ours"
    BEHIND = "ledger-behind"  # nothing is deleted there, and no plain name is used
    ABSENT = "no-marker"  # from here on: nothing is written and nothing deleted there
    FOREIGN = "other-ledger"
    SWAPPED = "other-backend"
    UNREADABLE = "marker-unreadable"
    NEW = "new"  # there is no marker, and there never was one: ours to make

    @property
    def may_write(self) -> bool:
        """Tell whether objects may be added."""
        return self in (Standing.OURS, Standing.BEHIND)

    @property
    def may_remove(self) -> bool:
        """Tell whether something may be deleted."""
        return self is Standing.OURS

    @property
    def is_shut(self) -> bool:
        """Tell whether nobody need ask to write before an operator has done something about it."""
        return self in (Standing.ABSENT, Standing.FOREIGN, Standing.SWAPPED, Standing.UNREADABLE)


@frozen
class Verdict:
    """How a backend stands, and in a sentence why; `next_step` says what an operator can do."""

    standing: Standing
    reason: str = ""
    next_step: str = ""

    def __str__(self) -> str:
        return "; ".join(filter(None, (self.reason, self.next_step)))


_RESTORE = "stop the daemon and run s3orchestrator fsck --restored"
_OURS = Verdict(Standing.OURS)
_NEW = Verdict(Standing.NEW)
UNKNOWN = Verdict(Standing.UNKNOWN, "whose it is has not been found out yet")


def _claim(name: str) -> str:
    return (
        "if that is a mistake in the configuration, correct it; if the backend is this ledger's,"
        f" stop the daemon and run s3orchestrator fsck --claim {name}"
    )


def judge(ledger: str, name: str, known: Known, marker: Marker | None) -> Verdict:
    """Say how backend `name` stands, from the marker that was read there; None for none."""
    if marker is None:
        if not known.number:
            return _NEW
        reason = f"it does not hold its marker {MARKER}: another bucket, or an empty one?"
        return Verdict(Standing.ABSENT, reason, _claim(name))
    if marker.ledger != ledger:
        reason = f"it belongs to ledger {marker.ledger}, and this is ledger {ledger}"
        return Verdict(Standing.FOREIGN, reason, _claim(name))
    if marker.backend != name:
        reason = f"it is backend {marker.backend} of this ledger"
        return Verdict(Standing.SWAPPED, reason, _claim(name))
    if marker.number > known.number:
        reason = (
            f"the ledger is behind: it knows marker {known.number}, and the backend holds {marker.number}."
            " It was restored from a backup, or a copy of it is in use"
        )
        return Verdict(Standing.BEHIND, reason, _RESTORE)
    if known.is_behind:
        return Verdict(Standing.BEHIND, "the ledger may be behind", _RESTORE)
    return _OURS


def unreadable(name: str) -> Verdict:
    """Say that the marker is none we understand."""
    return Verdict(
        Standing.UNREADABLE, f"its marker {MARKER} is none that this release understands", _claim(name)
    )


def unfamiliar(name: str, looked_for: int) -> Verdict:
    """Say that a backend has neither a marker nor anything of what the ledger has there."""
    reason = f"the ledger has objects there, and of {looked_for} that were looked for none is there"
    return Verdict(Standing.ABSENT, reason, _claim(name))
