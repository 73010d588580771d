"""Lines of the log on their way to the process that is asked for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from threading import Lock

from attrs import define, field

from s3orchestrator.telemetry.ring import MOST_BYTES, MOST_LINES, Line


@define(eq=False)
class Relay:
    """Stands where others have a `Ring`: keeps what has not been taken, the latest if it is too much."""

    _lines: deque[Line] = field(factory=lambda: deque(maxlen=MOST_LINES), init=False)
    _size: int = field(default=0, init=False)
    _lock: Lock = field(factory=Lock, init=False)

    def add(self, lines: Iterable[Line]) -> None:
        """Keep lines; from any thread."""
        with self._lock:
            for line in lines:
                if len(self._lines) == MOST_LINES:
                    self._drop()
                self._lines.append(line)
                self._size += len(line[-1])
            while self._size > MOST_BYTES:
                self._drop()

    def _drop(self) -> None:
        self._size -= len(self._lines.popleft()[-1])

    def take(self, most_bytes: int) -> list[Line]:
        """Return the first lines, of so many characters together or just one; they are kept no more."""
        taken: list[Line] = []
        with self._lock:
            while self._lines and (not taken or len(self._lines[0][-1]) <= most_bytes):
                most_bytes -= len(self._lines[0][-1])
                taken.append(self._lines[0])
                self._drop()
        return taken
