"""The end of a core: what it was doing, and then itself."""

from __future__ import annotations

from s3orchestrator.app.core import Core
from s3orchestrator.concurrency import deadline
from s3orchestrator.errors import StoreUnavailable
from s3orchestrator.telemetry.logging import make_logger

CLEAN_LIMIT = 3.0  # seconds that cleaning up has once we are told to stop; the next start goes on with it

_log = make_logger()


async def close(core: Core) -> None:
    """Let what is being cleaned up end within a limit, and close everything, the ledger last."""
    try:
        await deadline(CLEAN_LIMIT, core.cleaner.drained(), core.reactor, _too_slow)
    except StoreUnavailable as error:
        # What is left is in the ledger, and is found at the next start.
        _log.warn("cleaning up is left to the next start: {error}", error=str(error))
    await core.close()


def _too_slow() -> Exception:
    return StoreUnavailable("it takes too long")
