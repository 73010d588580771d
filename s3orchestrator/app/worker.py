"""One of several processes that serve clients, on behalf of the one that started it."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import attrs
from attrs import define, evolve, field
from prometheus_client import REGISTRY

from s3orchestrator import __version__
from s3orchestrator.app.background import Background, Services
from s3orchestrator.app.closing import close
from s3orchestrator.app.core import Core, build_core
from s3orchestrator.app.doors import Doors
from s3orchestrator.app.ledgers import open_ledger, shared_ledger
from s3orchestrator.app.outpost import Outpost
from s3orchestrator.app.reloading import TakingOver
from s3orchestrator.config.live import InForce
from s3orchestrator.config.sections import Config
from s3orchestrator.config.server import ListenerConfig
from s3orchestrator.config.shares import with_part_of_pool
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.store.operations import ILedger
from s3orchestrator.telemetry.figures import figures_of
from s3orchestrator.telemetry.http import TRAFFIC
from s3orchestrator.telemetry.logging import set_level
from s3orchestrator.telemetry.relay import Relay
from s3orchestrator.telemetry.ring import Line
from s3orchestrator.web.admin.status import named
from s3orchestrator.web.health import Health
from s3orchestrator.web.inherited import Inherited
from s3orchestrator.workers.link import Link
from s3orchestrator.workers.messages import LINES_AT_ONCE, Begin, Report, unpacked

T = TypeVar("T")


@define(eq=False)
class Worker:
    """
    Does what it is told by the process that has the other end of `link`.

    `relay` has the lines of the log that nobody has asked for yet; `begun` is called once it serves, and
    `ended` when all is closed.
    """

    _reactor: Any
    _relay: Relay
    _begun: Callable[[], object]
    _ended: Callable[[], object]
    link: Link = field(init=False)
    _answers: dict[str, Callable[..., object]] = field(init=False)
    _core: Core | None = field(default=None, init=False)
    _doors: Doors | None = field(default=None, init=False)
    _background: Background | None = field(default=None, init=False)
    _taking_over: TakingOver | None = field(default=None, init=False)
    _prepared: Callable[[], object] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._answers = {
            "begin": lambda *told: _in_words(self._begin(Begin(*told))),
            "ready": self._say_ready,
            "report": self._report,
            "figures": self._figures,
            "lines": self._lines,
            "log_level": set_level,
            "prepare": lambda config: _in_words(self._prepare(config)),
            "take_over": self._take_over,
            "flush_usage": self._flush_usage,
            "stop_listening": self._stop_listening,
            "stop": self._stop,
        }

    @property
    def answers(self) -> Mapping[str, Callable[..., object]]:
        """Who answers what the other process asks or tells; there will be more of them."""
        return self._answers

    # --- beginning

    async def _begin(self, begin: Begin) -> tuple[Any, ...]:
        if begin.release != __version__:
            # It would go on as what the others are not, and change a ledger to what they cannot write.
            raise OrchestratorError(
                f"release {__version__} has been installed, and {begin.release} is running: restart it"
            )
        set_level(begin.log_level)
        for descriptor in begin.more:
            os.set_inheritable(descriptor, False)
        in_force = InForce(unpacked(begin.config))
        database = await self._open_ledger(in_force.config, begin.of)
        try:
            core = await build_core(in_force, self._reactor, database)
        except BaseException:
            await database.close()
            raise
        core.usage_flush.leave_showing_to_another()
        try:
            services = Services.of(core)
            await self._get_ready(core, services)
            self._background = services.build(is_one_of_several=True)
            self._doors = self._build_doors(core, begin)
            await self._doors.open()
        except BaseException:
            await close(core)
            raise
        self._core = core
        self._taking_over = TakingOver(
            core, self._doors.prepare_certificates, self._background.take_over_intervals
        )
        self._background.start()
        self._begun()
        return self._report()

    async def _open_ledger(self, config: Config, share: int) -> ILedger:
        if config.database.engine == "postgres":
            return await open_ledger(with_part_of_pool(config, share), self._reactor)
        shared = shared_ledger(config, self._reactor, self.link)
        self._answers.update(shared.answers)
        return await shared.open()

    async def _get_ready(self, core: Core, services: Services) -> None:
        """Learn what one has to know to serve; what concerns all has been seen to."""
        await core.lease.renew()
        await core.usage_flush.run_once()
        core.ledger.database.on_notice(core.objects.catalog.heard)
        await core.objects.catalog.load(bucket.name for bucket in core.config.buckets)
        await core.owners.run_once()  # before anything is written or deleted
        await services.prober.run_once()

    def _build_doors(self, core: Core, begin: Begin) -> Doors:
        database = core.ledger.database
        health = Health(lambda: database.is_away, lambda: database.takes_changes)
        places, inherited = _passed(core.config.server.places, begin.sockets)
        outpost = Outpost(core, self.link)
        return Doors(core, health, outpost, places, inherited, share=begin.of, tells_of_certificates=False)

    # --- while serving

    def _say_ready(self, ready: bool) -> None:
        if self._doors is not None:
            self._doors.say_ready(ready)

    def _report(self) -> tuple[Any, ...]:
        if self._core is None or self._doors is None:
            return attrs.astuple(Report(), recurse=False)
        breakers = {name: named(breaker.state) for name, breaker in self._core.guards.breakers.items()}
        owners = self._core.ledger.database.operations.owners
        report = Report(owners, TRAFFIC.in_flight, self._doors.connections, breakers)
        return attrs.astuple(report, recurse=False)

    async def _figures(self) -> list[tuple[Any, ...]]:
        return [attrs.astuple(family, recurse=False) for family in await figures_of(REGISTRY, self._reactor)]

    def _lines(self) -> list[Line]:
        return self._relay.take(LINES_AT_ONCE)

    async def _flush_usage(self) -> None:
        if self._core is not None:
            await self._core.usage_flush.run_once()

    # --- another configuration

    async def _prepare(self, config: bytes) -> None:
        """Do what may fail; nothing changes for clients. It may never be taken over."""
        assert self._taking_over is not None
        self._prepared = None
        self._prepared = await self._taking_over.prepare(unpacked(config))

    def _take_over(self) -> None:
        if self._prepared is not None:
            prepared, self._prepared = self._prepared, None
            prepared()

    # --- ending

    async def _stop_listening(self) -> None:
        if self._doors is not None:
            await self._doors.stop_listening()

    async def _stop(self) -> list[tuple[Any, ...]]:
        """End in order; returns the last figures."""
        if self._core is not None and self._doors is not None and self._background is not None:
            await self._doors.close()
            await self._background.stop()
            await close(self._core)
        figures = await self._figures()
        self._reactor.callLater(0, self._ended)
        return figures


def _passed(
    places: Sequence[ListenerConfig], sockets: Sequence[Sequence[int]]
) -> tuple[list[ListenerConfig], Inherited]:
    """Return listeners at the sockets that were opened for them, each under its number."""
    numbered = [evolve(place, address=f"systemd:{index}") for index, place in enumerate(places)]
    by_name = {str(index): list(descriptors) for index, descriptors in enumerate(sockets)}
    return numbered, Inherited(by_name, is_shared=True)


async def _in_words(work: Coroutine[Any, Any, T]) -> T:
    """Let an error of ours be one that the other process can be told."""
    try:
        return await work
    except OrchestratorError as error:
        raise OrchestratorError(str(error)) from error
