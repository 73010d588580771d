"""Bringing a restored ledger forward, one backend after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence

from attrs import define, field

from s3orchestrator.domain.owning import Standing
from s3orchestrator.domain.records import Finding
from s3orchestrator.errors import BackendError, BackendWithheld
from s3orchestrator.interfaces import IBackend
from s3orchestrator.objects.owners import Owners
from s3orchestrator.objects.restoring import Restorer


@define(eq=False)
class BringForward:
    """`left` are the backends that the ledger is still behind when all findings have been given."""

    backends: Sequence[IBackend]
    _owners: Owners
    _restorer: Restorer
    left: list[str] = field(factory=list, init=False)

    @property
    def tally(self) -> Counter[str]:
        """How many names there were, by what became of them."""
        return self._restorer.tally

    async def run(self) -> AsyncIterator[Finding]:
        """
        Give what an operator should know of. What is `repairable` has been done.

        A backend that cannot be listed to its end is a finding, and the others are gone through.
        """
        for backend in self.backends:
            try:
                async for finding in self._one(backend):
                    yield finding
            except BackendError as error:
                self.left.append(backend.name)
                yield Finding(
                    "behind", backend.name, f"nothing is deleted there until this was done: {error}"
                )
        # Not before: what is missing on one may have been written to another instead.
        for backend in self.backends:
            async for finding in self._restorer.suspects(backend.name):
                yield finding

    async def _one(self, backend: IBackend) -> AsyncIterator[Finding]:
        owner = self._owners[backend.name]
        owner.declared_behind()
        await owner.before(lambda standing: standing is Standing.BEHIND)
        async for finding in self._restorer.bring_forward(backend):
            yield finding
        await owner.catch_up()
        if owner.verdict.standing is not Standing.OURS:
            raise BackendWithheld(str(owner.verdict))
