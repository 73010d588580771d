"""
Where a backend's keys come from: the configuration, or wherever AWS tools look for them.

The latter asks the network (instance metadata, STS, SSO) and blocks while it does, so it
runs in a thread; requests use the keys that are there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from typing import Protocol as Typed

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from s3orchestrator.errors import BackendUnavailable
from s3orchestrator.telemetry.logging import make_logger

# botocore's refreshing credentials are good for at least ten minutes whenever it hands them
# out: it renews those that are not. So these ages are safe, and no expiry need be known.
RENEW_AFTER = 300.0
GOOD_FOR = 540.0


@frozen
class Keys:
    """What requests are signed with."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str | None = field(repr=False, default=None)


class Credentials(Typed):
    """A source of keys."""

    def current(self) -> Keys | None:
        """The keys to use now, if they are at hand."""

    async def fetch(self) -> Keys:
        """
        Get them.

        :raises BackendUnavailable: there are none.
        """

    def rejected(self, keys: Keys) -> None:
        """The service does not accept these any more."""


@frozen
class StaticCredentials:
    """Keys of the configuration."""

    keys: Keys

    def current(self) -> Keys:
        """Always at hand."""
        return self.keys

    async def fetch(self) -> Keys:
        """Never needed."""
        return self.keys

    def rejected(self, keys: Keys) -> None:
        """There are no others."""


@define(eq=False)
class ChainCredentials:
    """
    Keys from `load`, which may block and is called in a thread.

    Fetched when first needed, renewed in the background from then on, and waited for only
    when the ones at hand may have expired because nobody used them for long.
    """

    log = make_logger()
    name: str
    _clock: IReactorTime
    _in_thread: Callable[[Callable[[], Keys]], Deferred[Keys]]
    _load: Callable[[], Keys]
    _keys: Keys | None = field(init=False, default=None)
    _fetched_at: float = field(init=False, default=0.0)
    _waiting: list[Deferred[Keys]] = field(init=False, factory=list)
    _fetching: bool = field(init=False, default=False)

    def current(self) -> Keys | None:
        """Return the keys at hand unless they may have expired; look for newer ones in time."""
        age = self._clock.seconds() - self._fetched_at
        if self._keys is None or age > GOOD_FOR:
            return None
        if age > RENEW_AFTER:
            self._renew()
        return self._keys

    async def fetch(self) -> Keys:
        """Wait for new keys; however many wait, the chain is asked once."""
        waiting: Deferred[Keys] = Deferred()
        self._waiting.append(waiting)
        self._renew()
        return await waiting

    def rejected(self, keys: Keys) -> None:
        """Have the next request wait for others."""
        if keys is self._keys:
            self._keys = None

    def _renew(self) -> None:
        if not self._fetching:
            self._fetching = True
            self._in_thread(self._load).addCallbacks(self._fetched, self._failed)

    def _fetched(self, keys: Keys) -> None:
        self._fetching = False
        # Keys that did not change are the same object, for which signing keys are prepared.
        self._keys = self._keys if keys == self._keys else keys
        self._fetched_at = self._clock.seconds()
        for waiting in self._take_waiting():
            waiting.callback(self._keys)

    def _failed(self, failure: Failure) -> None:
        self._fetching = False
        self.log.error("{name}: no credentials: {reason}", name=self.name, reason=failure.getErrorMessage())
        for waiting in self._take_waiting():
            waiting.errback(BackendUnavailable(f"{self.name}: no credentials were found", sent=False))

    def _take_waiting(self) -> list[Deferred[Keys]]:
        waiting, self._waiting = self._waiting, []
        return [each for each in waiting if not each.called]


def default_chain(name: str, reactor: Any) -> ChainCredentials:
    """Find keys as AWS tools do: environment, shared files, SSO, roles of the machine."""
    found = _Chain()
    return ChainCredentials(
        name, reactor, lambda load: deferToThreadPool(reactor, reactor.getThreadPool(), load), found.load
    )


@define(eq=False)
class _Chain:
    """botocore's chain; looked up once, for what it finds renews itself."""

    _credentials: Any = None

    def load(self) -> Keys:
        """Block until there are keys that are good for ten minutes."""
        if self._credentials is None:
            # A third of a second to import, and not everybody needs it.
            from botocore.session import Session

            self._credentials = Session().get_credentials()
            if self._credentials is None:
                raise LookupError("nothing in the environment, the shared files or the machine's role")
        frozen_keys = self._credentials.get_frozen_credentials()
        return Keys(frozen_keys.access_key, frozen_keys.secret_key, frozen_keys.token)
