"""From a backend's settings to the backend."""

from __future__ import annotations

from typing import Any

from s3orchestrator.backends.directory import DirectoryBackend
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.bodies.splicing import Splicer
from s3orchestrator.concurrency import deadline
from s3orchestrator.config.sections import BackendConfig
from s3orchestrator.config.server import ServerConfig
from s3orchestrator.errors import BackendUnavailable
from s3orchestrator.interfaces import IBackend
from s3orchestrator.telemetry.logging import make_logger

_log = make_logger()


def backend_of(
    settings: BackendConfig,
    server: ServerConfig,
    reactor: Any,
    *,
    holds_data: bool,
    splicer: Splicer | None = None,
) -> IBackend:
    """
    Build a backend; nothing is opened or sent before it is used.

    `holds_data`: the ledger expects something there, so an empty directory is a disk that
    is not mounted rather than a new one.
    """
    if settings.type == "memory":
        return MemoryBackend(settings.name, reactor)
    if settings.type == "directory":
        return DirectoryBackend(settings.name, settings.path, reactor, adopt=not holds_data)
    from s3orchestrator.backends.s3 import S3Backend  # brings TLS and more, which not everybody needs

    return S3Backend.of(settings, server, reactor, splicer)


async def make_ready(backend: IBackend, seconds: float, reactor: Any) -> None:
    """
    Make a new directory ours before the ledger counts anything there; other backends need nothing.

    Afterwards it could not be told from the mount point of a disk that is away: not even what was only
    reserved when we died could be cleaned up.
    """
    if not isinstance(backend, DirectoryBackend):
        return
    try:
        await deadline(seconds, backend.open(), reactor, lambda: BackendUnavailable("no answer", sent=False))
    except BackendUnavailable as error:
        _log.warn("{backend} cannot be used yet: {error}", backend=backend.name, error=str(error))
