"""Several daemons on one ledger, behind one address: each connection goes to the next of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import cycle
from pathlib import Path
from typing import Any
from weakref import WeakSet

from attrs import define, field

from tests.running import Daemon

_PIECE = 1 << 18


@define(eq=False)
class Balancer:
    """
    Passes bytes between clients and whoever of `ports` answers, in turn.

    It runs in a thread of its own, so that a test may wait for something meanwhile.
    """

    port: int
    ports: Sequence[int]
    _loop: asyncio.AbstractEventLoop = field(init=False, factory=asyncio.new_event_loop)
    _next: Any = field(init=False)
    _ready: threading.Event = field(init=False, factory=threading.Event)

    def start(self) -> None:
        """Return once it listens."""
        self._next = cycle(self.ports)
        threading.Thread(target=self._run, daemon=True).start()
        assert self._ready.wait(10), "the balancer does not start"

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._ready.set()
        self._loop.run_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            for _ in self.ports:
                with suppress(OSError):
                    there, back = await asyncio.open_connection("127.0.0.1", next(self._next))
                    break
            else:
                return  # nobody is there: the client sees its connection closed
            with closing(back):
                await asyncio.gather(_pass(reader, back), _pass(there, writer))


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(_PIECE):
            target.write(data)
            await target.drain()
    with suppress(OSError, RuntimeError):
        target.write_eof()


@define(eq=False)
class Instances:
    """Daemons that are started and stopped together; to a client they are one, at `port`."""

    members: Sequence[Daemon]
    port: int
    clients: WeakSet[Any] = field(init=False, factory=WeakSet)  # see `Daemon`
    _balancer: Balancer | None = field(init=False, default=None)

    @property
    def endpoint(self) -> str:
        """The URL clients use."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The first one's log; `tail` has all of them."""
        return self.members[0].log

    def add_arguments(self, *arguments: str) -> None:
        """Start them with these, too, from now on."""
        for member in self.members:
            member.add_arguments(*arguments)

    def start(self) -> None:
        """Start all of them; from the second time on, clients are let in again by the same door."""
        for member in self.members:
            member.begin()
        for member in self.members:
            member.await_ready()
        if self._balancer is None:
            self._balancer = Balancer(self.port, [member.port for member in self.members])
            self._balancer.start()

    def stop(self) -> None:
        """Stop all of them in order."""
        for client in self.clients:
            client.close()
        for member in self.members:
            member.stop()

    def kill(self) -> None:
        """End all of them at once."""
        for member in self.members:
            member.kill()

    def tail(self) -> str:
        """The ends of their logs."""
        return "\n".join(member.tail() for member in self.members)
