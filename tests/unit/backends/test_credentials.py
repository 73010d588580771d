"""Keys that expire, and where they come from."""

from __future__ import annotations

import os
from collections.abc import Callable
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from s3orchestrator.backends.credentials import (
    GOOD_FOR,
    RENEW_AFTER,
    ChainCredentials,
    Keys,
    StaticCredentials,
    default_chain,
)
from s3orchestrator.concurrency import start
from s3orchestrator.errors import BackendUnavailable
from tests.unit.backends.scripted import the_reactor

FIRST = Keys("AK1", "one", "token")
SECOND = Keys("AK2", "two")


class ChainTests(SynchronousTestCase):
    """The thread is the test's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.running: list[Deferred[Keys]] = []
        self.chain = ChainCredentials("aws", self.clock, self._in_thread, lambda: FIRST)

    def _in_thread(self, load: Callable[[], Keys]) -> Deferred[Keys]:
        self.running.append(Deferred())
        return self.running[-1]

    def fetch(self, keys: Keys) -> None:
        fetching = start(self.chain.fetch())
        self.running.pop().callback(keys)
        self.assertEqual(self.successResultOf(fetching), keys)

    def test_first(self) -> None:
        """
        At first nothing is at hand; however many ask, the chain is asked once.
        """
        self.assertIsNone(self.chain.current())
        asking = [start(self.chain.fetch()) for _ in range(3)]
        self.assertEqual(len(self.running), 1)
        self.running.pop().callback(FIRST)
        for each in asking:
            self.assertEqual(self.successResultOf(each), FIRST)
        self.assertEqual(self.chain.current(), FIRST)

    def test_renewed_in_the_background(self) -> None:
        """
        Keys are renewed in time while they are used, and nobody waits.
        """
        self.fetch(FIRST)
        self.clock.advance(RENEW_AFTER)
        self.assertEqual((self.chain.current(), len(self.running)), (FIRST, 0))
        self.clock.advance(1)
        for _ in range(2):
            self.assertEqual((self.chain.current(), len(self.running)), (FIRST, 1))
        self.running.pop().callback(SECOND)
        self.assertEqual(self.chain.current(), SECOND)

    def test_unused_for_long(self) -> None:
        """
        Keys that may have expired are not used.
        """
        self.fetch(FIRST)
        self.clock.advance(GOOD_FOR + 1)
        self.assertIsNone(self.chain.current())

    def test_same_keys(self) -> None:
        """
        Keys that did not change are the same, so that what was prepared for them is too.
        """
        self.fetch(FIRST)
        before = self.chain.current()
        self.fetch(Keys("AK1", "one", "token"))
        self.assertIs(self.chain.current(), before)

    def test_renewal_fails(self) -> None:
        """
        A renewal that fails is tried again, and the old keys serve as long as they may.
        """
        self.fetch(FIRST)
        self.clock.advance(RENEW_AFTER + 1)
        self.chain.current()
        self.running.pop().errback(Failure(OSError("no route")))
        self.assertEqual((self.chain.current(), len(self.running)), (FIRST, 1))

    def test_nothing_found(self) -> None:
        """
        Without keys nothing can have been sent.
        """
        fetching = start(self.chain.fetch())
        self.running.pop().errback(Failure(LookupError("nothing")))
        self.assertFalse(self.failureResultOf(fetching, BackendUnavailable).value.sent)

    def test_rejected(self) -> None:
        """
        Keys that the service rejects are not used again; others stay.
        """
        self.fetch(FIRST)
        self.chain.rejected(SECOND)
        self.assertEqual(self.chain.current(), FIRST)
        self.chain.rejected(FIRST)
        self.assertIsNone(self.chain.current())

    def test_cancelled(self) -> None:
        """
        Who stops waiting does not disturb the others.
        """
        first, second = start(self.chain.fetch()), start(self.chain.fetch())
        first.cancel()
        self.failureResultOf(first)
        self.running.pop().callback(FIRST)
        self.assertEqual(self.successResultOf(second), FIRST)

    def test_static(self) -> None:
        """
        Keys of the configuration are always at hand, and never shown.
        """
        credentials = StaticCredentials(FIRST)
        credentials.rejected(FIRST)
        self.assertEqual(credentials.current(), FIRST)
        self.assertEqual(self.successResultOf(start(credentials.fetch())), FIRST)
        self.assertNotIn("one", repr(credentials))
        self.assertNotIn("token", repr(credentials))


class DefaultChainTests(TestCase):
    """botocore's own chain, in a real thread."""

    timeout = 30

    async def test_environment(self) -> None:
        """
        What AWS tools find in the environment is found.
        """
        keys = {
            "AWS_ACCESS_KEY_ID": "AKENV",
            "AWS_SECRET_ACCESS_KEY": "from the environment",
            "AWS_SESSION_TOKEN": "a token",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        with patch.dict(os.environ, keys):
            found = await default_chain("aws", the_reactor()).fetch()
        self.assertEqual(found, Keys("AKENV", "from the environment", "a token"))

    async def test_nowhere(self) -> None:
        """
        Where there is nothing to be found, the backend is unavailable.
        """
        nothing = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": self.mktemp(), "PATH": ""}
        with patch.dict(os.environ, nothing, clear=True), self.assertRaises(BackendUnavailable):
            await default_chain("aws", the_reactor()).fetch()
