"""A ledger that no daemon holds, for commands that look at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define

from s3orchestrator.app.core import Core, build_core
from s3orchestrator.app.ledgers import open_ledger
from s3orchestrator.app.restoring import BringForward
from s3orchestrator.config.live import InForce
from s3orchestrator.config.sections import Config
from s3orchestrator.domain.owning import Verdict
from s3orchestrator.domain.records import Finding
from s3orchestrator.interfaces import IBackend
from s3orchestrator.objects.checking import BackendChecker
from s3orchestrator.objects.restoring import Restorer
from s3orchestrator.services.periodic import Periodic
from s3orchestrator.store.fsck import check, repair
from s3orchestrator.store.owners import have_alone
from s3orchestrator.store.restoring import Restoring


@define(eq=False)
class Offline:
    """Nothing is served and nothing tidied up."""

    _core: Core
    checker: BackendChecker
    _leasing: Periodic

    @property
    def backends(self) -> Sequence[IBackend]:
        """Every configured backend."""
        return self._core.backends.all()

    async def check(self) -> list[Finding]:
        """Return what is wrong within the ledger."""
        return await check(self._core.ledger.database)

    async def left_out(self) -> list[Finding]:
        """Return the backends that cannot be compared, because nothing is known of them."""
        message = "holds {} bytes, and is not in the configuration"
        left_out = await self._core.left_out()
        return [Finding("unreachable", known.backend, message.format(known.taken)) for known in left_out]

    async def repair(self, findings: Sequence[Finding]) -> None:
        """Mend what can be mended without losing data."""
        await repair(self._core.ledger.database, findings)

    async def claim(self, name: str) -> Verdict:
        """
        Make a backend this ledger's, whatever its marker says, and return how it stands then.

        :raises BackendUnavailable: there is none of that name, or it does not answer.
        """
        self._core.backends[name]
        owner = self._core.owners[name]
        await owner.claim()
        return owner.verdict

    async def bring_forward(self) -> BringForward:
        """
        Declare that the ledger was restored from a backup; return what brings it forward.

        From now on, and until a backend has been listed whole, nothing is deleted there.
        """
        core = self._core
        for settings in core.config.buckets:
            await core.ledger.buckets.adopt(settings.name)
        known = await core.ledger.marks.known()
        await core.ledger.marks.declare_behind({*known, *(backend.name for backend in self.backends)})
        restorer = Restorer(
            core.ledger_id,
            core.ledger.blobs,
            Restoring(core.ledger.database),
            {bucket.name: bucket for bucket in await core.ledger.buckets.all()},
            core.config.write_path.quiet_period,
        )
        return BringForward(self.backends, core.owners, restorer)

    async def close(self) -> None:
        """Let go of the ledger and the backends."""
        await self._leasing.stopService()
        await self._core.close()


async def open_offline(config: Config, reactor: Any) -> Offline:
    """
    Open a ledger and its backends without serving and without tidying up.

    :raises LedgerInUse: a daemon has it.
    """
    core = await build_core(InForce(config), reactor, await open_ledger(config, reactor, make=False))
    try:
        await have_alone(core.ledger.database)
        await core.lease.renew()  # or nothing may be changed on the backends
    except BaseException:
        await core.close()
        raise
    leasing = Periodic("lease", core.lease.interval, core.lease.renew, reactor)
    leasing.startService()
    return Offline(core, BackendChecker(core.ledger.blobs, core.ledger.uploads, reactor), leasing)
