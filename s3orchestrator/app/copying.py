"""Two ledgers at once, for the command that carries one into the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from s3orchestrator.app.ledgers import open_ledger
from s3orchestrator.config.sections import Config
from s3orchestrator.store.carrying import Carried, Progress, carry
from s3orchestrator.store.operations import ILedger
from s3orchestrator.store.owners import have_alone, leave


async def copy_ledger(source: Config, target: Config, reactor: Any, progress: Progress) -> Sequence[Carried]:
    """
    Copy the ledger of one configuration into that of another; see `carry`.

    :raises LedgerInUse: a daemon has one of them, or both are the same.
    :raises StoreUnavailable: one of them cannot be opened.
    """
    async with _alone(source, reactor, make=False) as of_old, _alone(target, reactor) as of_new:
        return await carry(of_old, of_new, progress)


@asynccontextmanager
async def _alone(config: Config, reactor: Any, *, make: bool = True) -> AsyncIterator[ILedger]:
    """Have a ledger to ourselves."""
    ledger = await open_ledger(config, reactor, make=make)
    try:
        await have_alone(ledger)
        yield ledger
    finally:
        try:
            await leave(ledger)
        finally:
            await ledger.close()
