"""Who asks whose a backend is before it is changed, and who finds out."""

from __future__ import annotations

from typing import Any

from attrs import define, evolve, field

from s3orchestrator.app.leasing import under_lease
from s3orchestrator.app.ledgers import Ledger
from s3orchestrator.backends.guarded import GuardedBackend
from s3orchestrator.config.sections import Config
from s3orchestrator.interfaces import IBackend
from s3orchestrator.objects.owners import Owners
from s3orchestrator.objects.owning import Owner
from s3orchestrator.store.owners import Lease


@define(eq=False)
class Claims:
    """Builds `owners` while backends are built: each needs the other."""

    _config: Config
    _ledger: Ledger
    _lease: Lease
    _reactor: Any
    _by_name: dict[str, Owner] = field(factory=dict, init=False)
    owners: Owners = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = Owners(self._by_name, self._ledger.marks)

    def around(self, guarded: GuardedBackend, *, forgets: bool) -> IBackend:
        """
        Return a backend that is changed only if it is ours, and while our lease runs.

        `forgets`: it holds nothing after a restart by its nature.
        """
        ledger = self._ledger
        self._by_name[guarded.name] = Owner(
            self._under_lease(evolve(guarded, is_limited=False)),
            ledger.database.ledger_id,
            ledger.marks,
            ledger.blobs,
            ledger.locks,
            self._reactor,
            self._config.write_path.quiet_period,
            forgets,
        )
        return self._under_lease(evolve(guarded, ownership=self.owners))

    def _under_lease(self, backend: IBackend) -> IBackend:
        # Outermost: that we may not send says nothing of the backend.
        return under_lease(backend, self._lease, self._ledger.database, self._reactor)
