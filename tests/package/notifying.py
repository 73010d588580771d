"""The other end of NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from attrs import define, field


@define(eq=False)
class Notices:
    """A socket at `path` on which a service says how it stands. `close` it."""

    path: Path
    heard: list[dict[str, str]] = field(init=False, factory=list)
    _socket: socket.socket = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        os.chmod(self.path, 0o666)

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()

    def wait_for(self, name: str, patience: float) -> dict[str, str]:
        """
        Return the next notice with a field of that name.

        :raises TimeoutError: none came.
        """
        deadline = time.monotonic() + patience
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            lines = self._socket.recv(4096).decode().splitlines()
            notice = dict(line.split("=", 1) for line in lines)
            self.heard.append(notice)
            if name in notice:
                return notice
