"""The backend contract, on the providers that need nothing but this machine."""

from __future__ import annotations

import errno
import os
import shutil
from tempfile import mkdtemp
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from s3orchestrator.backends.directory import DirectoryBackend
from s3orchestrator.backends.guard import Guard
from s3orchestrator.backends.guarded import GuardedBackend
from s3orchestrator.backends.leased import LeasedBackend
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.backends.metering import Meter
from s3orchestrator.counters.local import LocalCounters
from s3orchestrator.domain.breaker import Breaker
from s3orchestrator.domain.usage import Limits
from s3orchestrator.interfaces import IBackend, Traits
from tests.contracts.backend_contract import BackendContract


class MemoryContract(BackendContract, TestCase):
    """The backend of dictionaries."""

    async def make_backend(self) -> IBackend:
        from twisted.internet import reactor

        return MemoryBackend("memory", reactor)


class GuardedContract(BackendContract, TestCase):
    """The same behind a gate with a breaker and limits, which is not to be noticed."""

    async def make_backend(self) -> IBackend:
        from twisted.internet import reactor

        counters = LocalCounters(reactor)
        limits = Limits(10**6, 10**12, 10**12)
        meter = Meter("memory", counters, lambda: limits)
        guard = Guard(meter, Breaker(3, 60.0, lambda: 0.0), reactor)
        return GuardedBackend(MemoryBackend("memory", reactor), guard)


class OpaqueMemoryContract(BackendContract, TestCase):
    """The same with ETags that are not MD5, and no exclusive creation."""

    async def make_backend(self) -> IBackend:
        from twisted.internet import reactor

        return MemoryBackend("memory", reactor, traits=Traits(md5_etags=False))


class LeasedContract(BackendContract, TestCase):
    """One that is changed only while a lease runs, which it does."""

    async def make_backend(self) -> IBackend:
        from twisted.internet import reactor

        return LeasedBackend(MemoryBackend("memory", reactor), lambda: True, reactor)


class DirectoryContract(BackendContract, TestCase):
    """Files, with their descriptions in extended attributes."""

    parent: str | None = None

    async def make_backend(self) -> IBackend:
        from twisted.internet import reactor

        path = mkdtemp(dir=self.parent)
        self.addCleanup(shutil.rmtree, path)
        backend = DirectoryBackend("disk", path, reactor)
        self.addCleanup(backend.close)
        return backend


class DirectoryWithoutAttributesContract(DirectoryContract):
    """Files on a file system without extended attributes: descriptions are files of their own."""

    async def make_backend(self) -> IBackend:
        def refuse(*_: object) -> None:
            raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

        for name in ("setxattr", "getxattr", "removexattr"):
            patching = patch.object(os, name, refuse)
            patching.start()
            self.addCleanup(patching.stop)
        return await super().make_backend()
