"""What a service manager would hear."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

from attrs import define, field

from tests.running import wait_until


@define(eq=False)
class Manager:
    """Listens at `path`, which is for `NOTIFY_SOCKET`, until it is closed."""

    path: Path
    messages: list[dict[str, str]] = field(init=False, factory=list)
    _socket: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(self.path))

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def hear(self) -> list[dict[str, str]]:
        """Return all that was said until now, each message by its variables."""
        with contextlib.suppress(BlockingIOError):
            while True:
                lines = self._socket.recv(8192).decode().splitlines()
                self.messages.append(dict(line.split("=", 1) for line in lines))
        return self.messages

    def said(self) -> list[str]:
        """Return the first variable of each message, without signs of life."""
        return [next(iter(message)) for message in self.hear() if "WATCHDOG" not in message]

    def await_(self, *said: str) -> None:
        """Wait until just this has been said."""
        wait_until(lambda: self.said() == list(said), f"heard {self.messages}, not {said}")
