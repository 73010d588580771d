"""
Every operation, killed before and after everything that it does.

Then the next process serves the same ledger and backends: what was acknowledged is there, what was not is
there as a whole or not at all, and once the services have run nothing else is anywhere.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import rmtree

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.faults.client import NoAnswer
from tests.faults.relayed import stored_on
from tests.faults.scenarios import SCENARIOS, Scenario
from tests.faults.site import BUCKET, Place, Site, contents, disks, site
from tests.forked import fork_server
from tests.ledgers import ledger
from tests.running import wait_until
from tests.servers import radosgw

AT_ONCE = 16  # they wait most of the time: for names to have had their rest
SIDES = ("before", "after")
FULL = bool(os.environ.get("FULL"))


class Crashing(SynchronousTestCase):
    """Deployments that die; `ledger` is the engine's name."""

    ledger = "sqlite"

    def places(self, directory: Path) -> Mapping[str, Place]:
        """Where objects go."""
        return disks(directory)

    def setUp(self) -> None:
        fork_server()
        self.directory = Path(self.mktemp()).absolute()

    def make(self, name: str) -> Site:
        """A deployment of its own."""
        place = self.directory / name
        place.mkdir(parents=True)
        made = site(place, self.places(place), ledger=ledger(place, self.ledger))
        made.daemon.points = place / "points"
        return made

    def check(self, name: str) -> None:
        """Whenever it dies, nothing is lost and nothing is left."""
        (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == name)
        cases = [(number, side) for number in range(1, self.count(scenario) + 1) for side in SIDES]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            wrong = list(threads.map(lambda case: self.died(scenario, *case), cases))
        self.assertEqual("\n".join(line for lines in wrong for line in lines), "")

    def count(self, scenario: Scenario) -> int:
        """How many points there are, cleaning up included."""
        made = self.make(f"counting {scenario.name}")
        made.daemon.start()
        client = made.client()
        state = scenario.prepare(client)
        made.daemon.arm()
        assert scenario.run(client, state).succeeded
        wait_until(lambda: not made.ledger.doomed(), "it did not clean up")
        made.daemon.stop()
        count = len(made.daemon.reached()) - 1
        assert count > 1, made.daemon.reached()
        return count

    def died(self, scenario: Scenario, number: int, side: str) -> list[str]:
        """Die there; return what is wrong afterwards."""
        made = self.make(f"{scenario.name}, {side} {number}")
        daemon = made.daemon
        daemon.kill_at, daemon.when = number, side
        daemon.start()
        client = made.client()
        state = scenario.prepare(client)
        daemon.arm()
        try:
            acknowledged = scenario.run(client, state).succeeded
        except NoAnswer:
            acknowledged = False
        wait_until(daemon.has_died, "it did not die")
        where = f"{scenario.name}, died {side} {daemon.reached()[-1]}"
        if (status := daemon.bury()) != -signal.SIGKILL:
            return [f"{where}: ended with {status}"]
        repeat = scenario.must_repeat or side == "after"
        try:
            wrong = self.look(made, scenario, state, acknowledged=acknowledged, repeat=repeat)
        finally:
            daemon.kill()
        if not wrong:
            rmtree(made.directory)
        return [f"{where}, acknowledged {acknowledged}: {line}" for line in wrong]

    def look(
        self, made: Site, scenario: Scenario, state: object, *, acknowledged: bool, repeat: bool
    ) -> list[str]:
        """Restart as usual, and compare everything."""
        made.daemon.points = None
        made.daemon.start()
        client = made.client()
        found = contents(client)
        if found != scenario.after and (acknowledged or found != scenario.before):
            return [f"there is {sorted(found)}"]
        if repeat:
            reply = scenario.run(client, state)
            if reply.status not in scenario.again or reply.code not in ("", "NoSuchUpload"):
                return [f"trying again: {reply}"]
            found = contents(client)
            if found != scenario.after:
                return [f"tried again, there is {sorted(found)}"]
        return made.whole({f"{BUCKET}/{key}": data for key, data in found.items()})


class DirectoryTests(Crashing):
    """All operations, on SQLite and two directories."""

    def test_put(self) -> None:
        """A small object, which is kept until it is stored."""
        self.check("put")

    def test_large_put(self) -> None:
        """One that streams, also in its middle."""
        self.check("put that streams")

    def test_overwrite(self) -> None:
        """The old bytes are there until the new ones are."""
        self.check("overwrite")

    def test_large_overwrite(self) -> None:
        """The same with bytes that stream."""
        self.check("overwrite that streams")

    def test_delete(self) -> None:
        """What is gone is gone everywhere."""
        self.check("delete")

    def test_batch_delete(self) -> None:
        """Keys of one request go together."""
        self.check("batch delete")

    def test_copy(self) -> None:
        """The copy is there as a whole or not at all, and the source stays."""
        self.check("copy")

    def test_complete(self) -> None:
        """Who repeats it gets the object, from whatever was there."""
        self.check("complete")

    def test_abort(self) -> None:
        """Who repeats it is rid of the upload."""
        self.check("abort")


class PostgresTests(Crashing):
    """PostgreSQL, whose sessions outlive the process for a moment; all operations only at length."""

    ledger = "postgres"

    def test_overwrite(self) -> None:
        """The old bytes are there until the new ones are."""
        self.check("overwrite")


class S3Tests(Crashing):
    """An S3 service, on which what was sent may go on; all operations only at length."""

    def places(self, directory: Path) -> Mapping[str, Place]:
        """A bucket of its own."""
        return {"store": stored_on(radosgw())}

    def test_complete(self) -> None:
        """Who repeats it gets the object, from whatever was there."""
        self.check("complete")


if FULL:

    class AllPostgresTests(DirectoryTests):
        """Every operation on PostgreSQL."""

        ledger = "postgres"

    class AllS3Tests(DirectoryTests):
        """Every operation on an S3 service."""

        places = S3Tests.places
