"""Who may use the admin API: whoever shows the token, and has not guessed at it before."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from math import ceil

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from s3orchestrator.config.scalars import Secret
from s3orchestrator.domain.throttling import Throttle
from s3orchestrator.web.admin.calls import Refused


@define(eq=False)
class Access:
    """
    Checks the header `X-Admin-Token`.

    Digests are compared, so that neither the time it takes nor anything else depends on how much of
    a guess, or whether its length, is right.
    """

    _digest: bytes
    _clock: IReactorTime
    _throttle: Throttle = field(factory=Throttle)

    @classmethod
    def of(cls, token: Secret, clock: IReactorTime) -> Access:
        """Let in whoever shows `token`, which must not be empty."""
        assert token
        return cls(sha256(token.encode()).digest(), clock)

    def check(self, shown: Sequence[bytes], address: str) -> None:
        """
        Take a look at the values of the header, as they were sent from `address`.

        :raises Refused: 401, and counted; or 429 without having looked.
        """
        now = self._clock.seconds()
        locked = self._throttle.locked(address, now)
        if locked:
            seconds = ceil(locked)
            raise Refused(
                429,
                f"too many wrong tokens from this address: try again in {seconds} seconds",
                {"Retry-After": str(seconds)},
            )
        if not self.knows(shown):
            self._throttle.failed(address, now)
            raise Refused(401, "unauthorized")
        self._throttle.succeeded(address)

    def knows(self, shown: Sequence[bytes]) -> bool:
        """Tell whether this is the token. Whoever asks again and again must go by `check`."""
        given = shown[0] if len(shown) == 1 else b""
        return compare_digest(sha256(given).digest(), self._digest)
