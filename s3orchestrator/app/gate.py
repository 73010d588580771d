"""Where clients come in when others serve them: listeners are opened and held here, and used elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.protocol import Factory

from s3orchestrator.app.certificates import Certificates
from s3orchestrator.app.closing import CLEAN_LIMIT
from s3orchestrator.app.core import FAREWELL, Core
from s3orchestrator.app.doors import DRAIN_LIMIT, prepare
from s3orchestrator.app.office import Office
from s3orchestrator.app.reloading import TakeOver
from s3orchestrator.app.supervisor import Supervisor
from s3orchestrator.config.sections import Config
from s3orchestrator.web.health import Health
from s3orchestrator.web.inherited import Inherited
from s3orchestrator.web.listeners import Listener, open_listener, tell_of_unused
from s3orchestrator.web.tls import ServerTls

# What a process may need to end in order, and a few seconds for what lies between.
END_LIMIT = DRAIN_LIMIT + CLEAN_LIMIT + FAREWELL + 5.0


@define(eq=False)
class Gate:
    """
    Listens, from `open` to `close`, and has `supervisor` see to those who connect.

    A socket is one and the same in all processes. So who has connected, and was not accepted yet when a
    process died, is accepted by another; and while none is there they wait.
    """

    _core: Core
    _health: Health
    _office: Office
    _supervisor: Supervisor
    _inherited: Inherited
    _listeners: list[Listener] = field(factory=list, init=False)
    certificates: Certificates = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.certificates = Certificates(lambda: self._tls, self._core.reactor)
        self._supervisor.front = self._office

    @property
    def _tls(self) -> Sequence[ServerTls]:
        return [listener.tls for listener in self._listeners if listener.tls is not None]

    @property
    def endpoints(self) -> Sequence[str]:
        """The URLs that clients use; once open."""
        return [endpoint for listener in self._listeners for endpoint in listener.endpoints]

    async def open(self) -> None:
        """
        Listen everywhere, and return once all serve.

        :raises ListenError: an address is somebody else's, or not ours to have; nobody listens then.
        :raises TlsError: a certificate cannot be used; likewise.
        :raises WorkersError: a process cannot be started; likewise.
        """
        try:
            self._office.open(self._inherited)
            for place in self._core.config.server.places:
                listener = open_listener(self._core.reactor, place, Factory(), self._inherited)
                listener.leave_to_others()
                self._listeners.append(listener)
            tell_of_unused(self._inherited)
            self.certificates.look()
            self._supervisor.sockets = [listener.descriptors for listener in self._listeners]
            await self._supervisor.open()
        except BaseException:
            await self._stop_listening()
            await self._office.close()
            raise

    def prepare_certificates(self) -> Callable[[], None]:
        """As `Doors.prepare_certificates`: to know of what cannot be used, and of what ends soon."""
        return prepare(self._tls, self.certificates.look)

    def prepare_others(self, new: Config) -> Coroutine[Any, Any, TakeOver]:
        """As `Supervisor.prepare`."""
        return self._supervisor.prepare(new)

    def say_ready(self, ready: bool) -> None:
        """Tell balancers whether to send requests, whoever they ask."""
        self._health.ready = ready
        self._supervisor.say_ready(ready)

    async def close(self) -> None:
        """Refuse new connections, and let what is in flight finish within a limit."""
        await self._supervisor.stop_listening()
        await self._stop_listening()
        await self._office.stop()
        await self._supervisor.stop(END_LIMIT)
        await self._office.close()

    async def _stop_listening(self) -> None:
        for listener in self._listeners:
            await listener.close()
