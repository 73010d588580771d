"""Which part of the daemon speaks: the few names by which operators select lines."""

from __future__ import annotations

from functools import lru_cache

_PACKAGE = "s3orchestrator."

# Modules whose part has another name than they have; what lies below them is meant, too.
_NAMES = {
    "app": "main",
    "app.certificates": "listeners",
    "app.doors": "listeners",
    "app.leasing": "lease",
    "app.reloading": "reload",
    "cli": "main",
    "concurrency": "objects",
    "objects.cleaning": "cleanup",
    "objects.deletions": "cleanup",
    "services.leasing": "lease",
    "services.pending": "pending_reaper",
    "services.periodic": "services",
    "store": "ledger",
    "store.owners": "lease",
    "tap": "main",
    "telemetry.audit": "audit",
    "telemetry": "logging",
    "web": "http",
    "web.admin": "admin",
    "web.listeners": "listeners",
    "web.s3": "s3",
    "web.tls": "listeners",
}


@lru_cache(maxsize=512)  # the program's own modules and a few of its libraries
def component_of(namespace: str) -> str:
    """
    Return the component that a logger's namespace belongs to.

    Ours are called after their package, services after themselves, libraries as they call themselves.
    """
    if not namespace.startswith(_PACKAGE):
        return namespace or "-"
    module = namespace.removeprefix(_PACKAGE)
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = _NAMES.get(".".join(parts[:length]))
        if name is not None:
            return name
    return parts[1] if parts[0] == "services" and len(parts) > 1 else parts[0]
