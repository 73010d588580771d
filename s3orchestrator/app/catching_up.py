"""Another configuration for the processes that serve: all of them take it over, or none does."""

from __future__ import annotations

from attrs import define, field

from s3orchestrator.app.core import Core
from s3orchestrator.app.reloading import TakeOver
from s3orchestrator.concurrency import start
from s3orchestrator.config.sections import Config
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.telemetry.logging import make_logger
from s3orchestrator.workers.link import FailedElsewhere
from s3orchestrator.workers.messages import packed
from s3orchestrator.workers.pool import GONE, Member, WorkerPool, failures

PATIENCE = 20.0  # seconds; it takes reading files, and perhaps the ledger


@define(eq=False)
class CatchingUp:
    """
    Knows which configuration each of `pool` has, counted in generations.

    A process that begins has the one in force when it was started; one may come into force until it serves.
    """

    log = make_logger()
    _core: Core
    _pool: WorkerPool
    _generation: int = field(default=0, init=False)
    _generations: dict[Member, int] = field(factory=dict, init=False)
    _behind: set[Member] = field(factory=set, init=False)  # those that are just catching up

    def begins(self, member: Member) -> None:
        """A process is started, with what is in force."""
        self._generations[member] = self._generation

    def is_gone(self, member: Member) -> None:
        """Nothing is left of a process."""
        self._generations.pop(member, None)

    async def prepare(self, new: Config) -> TakeOver:
        """
        Have each of them do what may fail, as `TakingOver.prepare` does.

        One that is still catching up is left to that: it prepares one configuration at a time.

        :raises OrchestratorError: one of them cannot take it over; then none does.
        """
        answers = await self._pool.ask("prepare", packed(new), seconds=PATIENCE, but=tuple(self._behind))
        for member, failure in failures(answers):
            if not failure.check(*GONE):
                raise OrchestratorError(f"worker {member.number}: {failure.getErrorMessage()}")
        gone = dict(failures(answers))
        prepared = [member for member in answers if member not in gone]

        def take_over() -> None:
            self._generation += 1
            for member in prepared:
                self._generations[member] = self._generation
                member.link.tell("take_over")
            for member in self._pool.serving:
                start(self.catch_up(member))

        return take_over

    async def catch_up(self, member: Member) -> None:
        """
        Have one take over what has come into force since it began, or was last asked to.

        Whoever is at it already goes on until there is nothing newer: what is asked for at the same time
        may be ready in any order, and it would take over the older one last.
        """
        if member in self._behind:
            return
        self._behind.add(member)
        try:
            while self._generations.get(member, self._generation) != self._generation:
                self._generations[member] = self._generation
                await member.link.ask("prepare", packed(self._core.config))
                member.link.tell("take_over")
        except GONE:
            return
        except (OrchestratorError, FailedElsewhere) as error:
            self.log.error(
                "worker {number} cannot take over the configuration, and is replaced: {error}",
                number=member.number,
                error=str(error),
            )
            member.process.kill()
        finally:
            self._behind.discard(member)
