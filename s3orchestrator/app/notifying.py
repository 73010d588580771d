"""
Telling the service manager how we stand: sd_notify(3), which is one datagram per message.

Without `NOTIFY_SOCKET` in the environment nobody wants to know. Nothing here ever fails the service.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import MutableMapping
from time import CLOCK_MONOTONIC, clock_gettime_ns
from typing import Any

from attrs import define, field
from twisted.internet.task import LoopingCall

from s3orchestrator.concurrency import start
from s3orchestrator.telemetry.logging import make_logger

AGAIN = 0.1  # seconds until a message is sent again that the manager had no room for
MOST_WAITING = 100  # messages; a manager that takes none for so long has given up on us
LONGEST_STATUS = 300  # characters

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


@define(eq=False)
class Notifier:
    """
    Sends to `address`, a path or an abstract name that begins with "@"; nothing if it is empty.

    `watchdog` is how often the manager wants to hear that we live, in seconds; 0 if it does not ask.
    """

    log = make_logger()
    _address: str
    _watchdog: float
    _reactor: Any
    _waiting: deque[bytes] = field(factory=lambda: deque(maxlen=MOST_WAITING), init=False)
    _pinging: LoopingCall | None = field(default=None, init=False)

    @classmethod
    def of(cls, environ: MutableMapping[str, str], reactor: Any) -> Notifier:
        """
        Do what the environment asks for, and take the request out of it.

        It is meant for this process: one that it starts must not speak for it.
        """
        address, microseconds, process = (environ.pop(name, "") for name in _VARIABLES)
        is_for_us = not process or process == str(os.getpid())
        watchdog = int(microseconds) / 1e6 if is_for_us and microseconds.isdecimal() else 0.0
        return cls(address if address[:1] in ("/", "@") else "", watchdog, reactor)

    def ready(self, status: str) -> None:
        """We serve, whether after a start or after a reload."""
        self._send("READY=1", _status(status))
        if self._watchdog and self._pinging is None and self._address:
            self._pinging = LoopingCall(self._send, "WATCHDOG=1")
            self._pinging.clock = self._reactor
            # Half of it, as sd_watchdog_enabled(3) recommends.
            start(self._pinging.start(self._watchdog / 2))

    def reloading(self) -> None:
        """We read the configuration again; `ready` ends it."""
        # The time tells the manager that this answers its request, and not an earlier one.
        now = clock_gettime_ns(CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", _status("reading the configuration again"))

    def stopping(self) -> None:
        """We have begun to stop."""
        self._send("STOPPING=1", _status("finishing what is in flight"))

    def say(self, status: str) -> None:
        """Tell whoever asks the manager how it goes."""
        self._send(_status(status))

    def close(self) -> None:
        """Tell no more that we live."""
        if self._pinging is not None and self._pinging.running:
            self._pinging.stop()

    def _send(self, *assignments: str) -> None:
        if not self._address:
            return
        is_idle = not self._waiting
        self._waiting.append("\n".join(assignments).encode())
        if is_idle:
            self._flush()

    def _flush(self) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sending:
                sending.connect(_socket_address(self._address))
                while self._waiting:
                    sending.send(self._waiting[0])
                    self._waiting.popleft()
        except BlockingIOError:
            self._reactor.callLater(AGAIN, self._flush)
        except (OSError, ValueError) as error:
            # It may have been started anew; what it missed it does not need any more.
            self._waiting.clear()
            self.log.warn("the service manager cannot be told: {error}", error=str(error))


def _socket_address(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address


def _status(text: str) -> str:
    line = " ".join(text.split())
    return f"STATUS={line if len(line) <= LONGEST_STATUS else line[: LONGEST_STATUS - 1] + '…'}"
