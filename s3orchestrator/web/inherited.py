"""Sockets that systemd, or whoever speaks like it, has opened for this process (sd_listen_fds)."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping

from attrs import define, field

FIRST = 3  # after standard input, output and error
MOST = 1024  # more than anybody passes
UNNAMED = "unknown"  # what systemd calls a socket that was given no name

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


@define(eq=False)
class Inherited:
    """
    The descriptors by name; a name may stand for several. Each is handed out once.

    `is_shared`: other processes accept connections from them at the same time.
    """

    _by_name: dict[str, list[int]] = field(factory=dict)
    is_shared: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str], process: int) -> Inherited:
        """Read what `environ` says, if it says it to this process."""
        number = _number(environ.get("LISTEN_FDS", ""))
        if _number(environ.get("LISTEN_PID", "")) != process or not 0 < number <= MOST:
            return cls()
        names = environ.get("LISTEN_FDNAMES", "").split(":")
        by_name: dict[str, list[int]] = {}
        for index in range(number):
            name = names[index] if index < len(names) and names[index] else UNNAMED
            by_name.setdefault(name, []).append(FIRST + index)
        return cls(by_name)

    def take(self, name: str) -> list[int]:
        """Return the descriptors of that name, if there are any left."""
        return self._by_name.pop(name, [])

    @property
    def names(self) -> list[str]:
        """What nobody has taken."""
        return sorted(self._by_name)


def forget(environ: MutableMapping[str, str]) -> None:
    """Let no program that we start think that the sockets were for it."""
    for variable in _VARIABLES:
        environ.pop(variable, None)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
