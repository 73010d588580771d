"""PostgreSQL stands still in the middle of everything: reads go on, nothing else waits, it all comes back."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.faults.client import Client, NoAnswer, Reply
from tests.faults.database import Database
from tests.faults.site import BUCKET, Site, disk, site
from tests.running import wait_until
from tests.workers import CHOSEN

FROZEN = 60.0 if os.environ.get("FULL") else 10.0 * CHOSEN
# Seconds until nobody waits for the database any more; three is what a read may take. Each process
# finds out alone.
DETECTED = 8.0 * CHOSEN
# And until a daemon has stopped without it: its workers say good-bye, all at once, and then itself.
STOPPED = 20.0 if CHOSEN == 1 else 40.0
# What a pause would have to be to come from the database. A loaded machine makes shorter ones: those are
# measured, printed, and told in docs/reliability.rst.
PAUSE = 1.0

# Another time for each answer, and of one request only.
_OF_ONE_ANSWER = ("date", "x-amz-request-id", "x-amz-id-2", "last-modified", "x-s3o-degraded")


@define(eq=False)
class Pulse:
    """Asks for `/health` all the time, and remembers the longest that it had to wait for an answer."""

    port: int
    longest: float = field(default=0.0, init=False)
    answers: int = field(default=0, init=False)

    @contextmanager
    def felt(self) -> Iterator[Pulse]:
        """Feel it for a while."""
        over = threading.Event()
        feeling = threading.Thread(target=self._feel, args=(over,))
        feeling.start()
        try:
            yield self
        finally:
            over.set()
            feeling.join()

    def _feel(self, over: threading.Event) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not over.wait(0.005):
            before = time.monotonic()
            connection.request("GET", "/health")
            connection.getresponse().read()
            self.longest = max(self.longest, time.monotonic() - before)
            self.answers += 1
        connection.close()


class FrozenDatabaseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = Database()
        self.addCleanup(self.database.stop)
        directory = Path(self.mktemp()).absolute()
        places = {name: disk(directory / name) for name in ("one", "two")}
        self.site: Site = site(directory, places, ledger=self.database.ledger())
        self.site.daemon.start()
        self.addCleanup(self.site.daemon.kill)
        self.client = self.site.client(patience=60.0)
        self.contents = {f"k{number}": os.urandom(100 + number) for number in range(20)}
        for key, data in self.contents.items():
            self.assertEqual(
                self.client.put(key, data, cache_control="max-age=60", x_amz_meta_of=key).status, 200
            )

    def health(self) -> str:
        """What `/health` says."""
        connection = HTTPConnection("127.0.0.1", self.client.port, timeout=60)
        connection.request("GET", "/health")
        status: str = json.loads(connection.getresponse().read())["status"]
        connection.close()
        return status

    def read(self) -> dict[str, Reply]:
        """Every object, with its headers; several clients at a time, as there would be."""

        def get(key: str) -> Reply:
            with closing(self.site.client(patience=60.0)) as client:
                return client.get(key)

        with ThreadPoolExecutor(5) as threads:
            return dict(zip(self.contents, threads.map(get, self.contents), strict=True))

    def assert_same(self, before: dict[str, Reply], after: dict[str, Reply]) -> None:
        """Bytes and headers are what they were."""
        for key, data in self.contents.items():
            self.assertEqual((after[key].status, after[key].body), (200, data), key)
            told, now = (
                {name: value for name, value in reply.headers.items() if name not in _OF_ONE_ANSWER}
                for reply in (before[key], after[key])
            )
            self.assertEqual(told, now, key)

    def test_frozen(self) -> None:
        """
        Reads go on without the ledger and say the same; what writes is refused at once; nothing pauses.

        Thawed, everything is as ever, and all is where it belongs.
        """
        before = self.read()
        pulse = Pulse(self.client.port)
        with pulse.felt():
            self.database.freeze()
            thawing = threading.Timer(FROZEN, self.database.thaw)
            thawing.start()
            frozen_at = time.monotonic()
            self.assert_same(before, self.read())
            detected = time.monotonic() - frozen_at
            self.assertLess(detected, DETECTED)
            self.assertEqual(self.health(), "degraded")
            rounds = 0
            while thawing.is_alive():
                asked = time.monotonic()
                self.assert_same(before, self.read())
                self.assertEqual(self.client.get("never-was").status, 404)
                self.assertEqual(
                    {reply.headers.get("x-s3o-degraded") for reply in self.read().values()}, {"true"}
                )
                if thawing.is_alive():
                    self.assertEqual(self.client.put("refused", b"x").status, 503)
                rounds += 1
                self.assertLess(time.monotonic() - asked, DETECTED)
            thawing.join()
            wait_until(lambda: self.health() == "ok", "it does not come back", 60)
        print(
            f"frozen for {FROZEN:g} s: noticed within {detected:.1f} s,"
            f" {rounds * len(self.contents)} reads without the ledger,"
            f" longest pause {pulse.longest * 1000:.0f} ms in {pulse.answers} answers"
        )
        self.assertGreater(rounds, 0)
        self.assertLess(pulse.longest, PAUSE)
        # One of several processes may have been asked how it is, and another one be asked to write.
        wait_until(lambda: self.client.put("after", b"after").status == 200, "it does not write", 60)
        self.contents["after"] = b"after"
        expected = {f"{BUCKET}/{key}": data for key, data in self.contents.items()}
        self.assertEqual(self.site.whole(expected), [])

    def test_stopped_while_frozen(self) -> None:
        """A daemon that is told to stop does so in time, although it cannot say good-bye to its ledger."""
        writing = threading.Thread(target=self.try_to_write)
        self.database.freeze()
        writing.start()
        try:
            asked = time.monotonic()
            self.site.daemon.stop()
            took = time.monotonic() - asked
            writing.join()
        finally:
            self.database.thaw()
        self.assertLess(took, STOPPED)
        self.site.daemon.start()
        expected = {f"{BUCKET}/{key}": data for key, data in self.contents.items()}
        self.assertEqual(self.site.whole(expected), [])

    def try_to_write(self) -> None:
        """Write something that the ledger will not hear of."""
        with contextlib.suppress(NoAnswer):
            Client(self.client.port, BUCKET, self.client.token, 60.0).put("k0", b"other", if_match='"no"')
