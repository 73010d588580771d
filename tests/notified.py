"""What a service manager would hear: the other end of NOTIFY_SOCKET."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from attrs import define, field

from tests.running import PATIENCE, wait_until


@define(eq=False)
class Manager:
    """Listens at `path`, which is for `NOTIFY_SOCKET`, until it is closed; any user may speak."""

    path: Path
    messages: list[dict[str, str]] = field(init=False, factory=list)
    _seen: int = field(init=False, default=0)  # of the messages, by `wait_for`
    _socket: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(self.path))
        os.chmod(self.path, 0o666)

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

    def wait_for(self, name: str, patience: float = PATIENCE) -> None:
        """Wait for a message with that variable, after those that were waited for before."""
        wait_until(lambda: self._comes(name), f"no {name} among {self.messages}", patience)

    def _comes(self, name: str) -> bool:
        messages = self.hear()
        while self._seen < len(messages):
            self._seen += 1
            if name in messages[self._seen - 1]:
                return True
        return False
