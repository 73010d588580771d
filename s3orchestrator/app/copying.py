"""Two ledgers at once, for the command that carries one into the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from s3orchestrator.app.ledgers import open_ledger
from s3orchestrator.config.sections import Config
from s3orchestrator.store.carrying import Carried, Progress, carry


async def copy_ledger(source: Config, target: Config, reactor: Any, progress: Progress) -> Sequence[Carried]:
    """
    Copy the ledger of one configuration into that of another; see `carry`.

    :raises LedgerInUse: a daemon has one of them, or both are the same.
    :raises StoreUnavailable: one of them cannot be opened.
    """
    of_old = await open_ledger(source, reactor)
    try:
        of_new = await open_ledger(target, reactor)
        try:
            return await carry(of_old, of_new, progress)
        finally:
            await of_new.close()
    finally:
        await of_old.close()
