"""Staying an owner: the lease is renewed, and what fell between two stools is handed back."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext

from attrs import define, field
from zope.interface import implementer

from s3orchestrator.errors import LedgerTooNew, StoreUnavailable
from s3orchestrator.interfaces import IBlobs, ILease, ILocks
from s3orchestrator.telemetry.audit import audit
from s3orchestrator.telemetry.logging import make_logger


@implementer(ILocks)
@define(eq=False)
class TimelyLocks:
    """Locks for work that goes by time: nobody gets one whose clock is far off."""

    _locks: ILocks
    _lease: ILease

    def hold(self, name: str) -> AbstractAsyncContextManager[bool]:
        """See `ILocks`."""
        return self._locks.hold(name) if self._lease.clock_is_trusted else nullcontext(False)


@define(eq=False)
class LeaseKeeper:
    """
    Renews the lease of this process; to be run every `lease.interval` seconds, by each process.

    It says once when something is wrong, and once when it is right again.
    """

    log = make_logger()
    _lease: ILease
    _blobs: IBlobs
    _said_clock: bool = field(default=False, init=False)
    _said_over: bool = field(default=False, init=False)

    async def run_once(self) -> None:
        """
        Renew, and hand back what nobody heard the outcome of.

        :raises StoreUnavailable: the lease was not renewed; that has been said.
        """
        try:
            await self._lease.renew()
        except LedgerTooNew as error:
            self.log.critical("nothing is written any more: {error}", error=str(error))
            return
        except StoreUnavailable as error:
            self.log.warn("the lease was not renewed: {error}", error=str(error))
            self._say_whether_over()
            raise
        self._say_whether_over()
        self._say_what_the_clock_does()
        await self._blobs.tie_up()

    def _say_whether_over(self) -> None:
        is_over = not self._lease.may_send()
        if is_over and not self._said_over:
            self.log.error("the lease is running out: nothing is sent to the backends any more")
            audit("lease.lost")
        elif self._said_over and not is_over:
            self.log.info("the lease is held again")
            audit("lease.regained")
        self._said_over = is_over

    def _say_what_the_clock_does(self) -> None:
        is_off = not self._lease.clock_is_trusted
        if is_off and not self._said_clock:
            self.log.error(
                "the database's clock is {skew_ms} ms ahead of ours: nothing that goes by time is done here",
                skew_ms=self._lease.clock_skew_ms,
            )
        elif self._said_clock and not is_off:
            self.log.info("our clock agrees with the database's again")
        self._said_clock = is_off
