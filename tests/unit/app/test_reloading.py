"""Taking over another configuration, or staying with what there is."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from attrs import evolve, frozen
from prometheus_client import REGISTRY
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.background import Services
from s3orchestrator.app.reloading import MOST_SHOWN, Reloader, Source, TakingOver, quotas_of, told
from s3orchestrator.concurrency import start
from s3orchestrator.config.live import Attempt, Changes
from s3orchestrator.config.loader import Loaded, load
from s3orchestrator.config.sections import Config
from s3orchestrator.errors import NoSuchBucket, OrchestratorError
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.telemetry.logging import current_level, set_level
from s3orchestrator.testing.harness import Harness
from s3orchestrator.web.s3.access import Credentials
from tests.unit.config.samples import MINIMAL
from tests.unit.objects.away import SwitchedLedger

T = TypeVar("T")

SECRET = "access_key_id: k, secret_access_key: s"


class GatedLedger(SwitchedLedger):
    """Changes nothing while there is a gate, and then waits until that is opened."""

    gate: Deferred[None] | None = None

    async def transact(self, work: Callable[[ITransaction], Awaitable[T]]) -> T:
        if self.gate is not None:
            await self.gate
        return await super().transact(work)


@frozen(kw_only=True)
class Given(Source):
    """Stands in for a file that no file can be in this release."""

    config: Config

    def read(self) -> Loaded:
        return Loaded(self.config)


class ReloadCase(SynchronousTestCase):
    """A harness, and a reloader for its file."""

    def setUp(self) -> None:
        self.h = Harness(quotas={"a": 1 << 30, "b": 1 << 30}, open_ledger=self.open_ledger)
        self.path = Path(self.mktemp())
        self.text = self.h.configuration()
        self.path.write_text(self.text)
        self.certificates: list[str] = []
        self.certificate_fails = False
        self.heard: list[str] = []
        self.background = Services.of(self.h.core).build()
        self.reloader = Reloader(
            Source(self.path, environ={}),
            self.h.core,
            TakingOver(self.h.core, self.prepare_certificates, self.background.take_over_intervals),
            lambda: self.heard.append("began"),
            self.heard.append,
        )
        self.addCleanup(set_level, current_level())

    def open_ledger(self, clock: Clock, image: bytes | None) -> GatedLedger:
        self.ledger = GatedLedger(clock, image)
        return self.ledger

    def prepare_certificates(self) -> Callable[[], None]:
        if self.certificate_fails:
            raise OrchestratorError("cert.pem: not to be found")
        return lambda: self.certificates.append("taken over")

    @property
    def last(self) -> Attempt:
        last = self.h.core.in_force.last
        assert last is not None
        return last

    def reload(self, old: str = "", new: str = "") -> None:
        """Replace something in the file, and have it read again."""
        self.assertIn(old, self.text)
        self.text = self.text.replace(old, new)
        self.path.write_text(self.text)
        self.reloader.ask()
        self.h.settle()

    def credentials(self) -> Credentials:
        return self.h.core.live.derived(Credentials.of).now

    def assertKept(self, reason: str) -> None:
        """Nothing has changed, for this reason."""
        self.assertEqual(len(self.last.errors), 1)
        self.assertIn(reason, self.last.errors[0])
        self.assertEqual((self.h.core.in_force.generation, self.certificates), (1, []))
        self.assertEqual(self.credentials().secret_of("k")[0], "s")
        self.assertEqual([bucket.name for bucket in self.h.core.objects.catalog.all()], ["photos"])


class TakingOverTests(ReloadCase):
    def test_everything(self) -> None:
        """Credentials, buckets, quotas, limits, intervals and the level follow the file, and it says so."""
        core = self.h.core
        self.reload("buckets: [", "buckets: [{name: more, credentials: [{token: t}]}, ")
        self.reload(SECRET, "access_key_id: k, secret_access_key: other")
        self.reload("quota_bytes: 1073741824", "quota_bytes: 1000, api_request_limit: 7")
        self.reload("backends:", "usage_flush: {interval: 4s, fast_interval: 2s}\nbackends:")
        self.reload("server: {", "server: {log_level: error, ")
        self.assertEqual(self.credentials().secret_of("k")[0], "other")
        self.assertEqual([bucket.name for bucket in core.objects.catalog.all()], ["more", "photos"])
        usage = self.h.run(core.ledger.blobs.usage())
        self.assertEqual({known.backend: known.limit for known in usage}, {"a": 1000, "b": 1000})
        self.assertEqual(core.guards.limits.of("a").api_requests, 7)
        self.assertEqual(self.background["usage-flush"].interval, 2)
        self.assertEqual(current_level(), "error")
        self.assertEqual(len(self.certificates), 5)
        self.assertEqual((core.in_force.generation, self.last.errors), (6, ()))
        self.assertEqual(self.heard[-2:], ["began", "configuration 6"])

    def test_removed_bucket(self) -> None:
        """What the file does not list any more is served no longer; its objects come back with it."""
        self.reload("buckets: [", "buckets: [{name: more, credentials: [{token: t}]}, ")
        self.h.put("k", b"data")
        self.reload(f"{{name: photos, credentials: [{{{SECRET}}}]}}", "")
        with self.assertRaises(NoSuchBucket):
            self.h.core.objects.catalog.get("photos")
        self.assertEqual(self.credentials().secret_of("k"), (None, None))
        self.reload("buckets: [", f"buckets: [{{name: photos, credentials: [{{{SECRET}}}]}}, ")
        self.assertEqual(self.h.get("k"), b"data")

    def test_old_keys_are_forgotten(self) -> None:
        """Signing keys go with the secrets they were made of."""
        held = self.h.core.live.derived(Credentials.of)
        held.now.keys.key("s", b"20260101", "us-east-1")
        self.assertEqual(len(held.now.keys), 1)
        self.reload(SECRET, "access_key_id: k, secret_access_key: other")
        self.assertEqual(len(held.now.keys), 0)

    def test_needs_a_restart(self) -> None:
        """What only a restart gives is named and left alone; the rest is taken over."""
        self.reload("routing_strategy: pack", "routing_strategy: spread\nrate_limit: {burst: 7}")
        self.assertEqual(self.last.changes, Changes(("rate_limit.burst",), ("routing_strategy",)))
        self.assertEqual(self.h.core.config.routing_strategy, "pack")
        self.assertEqual(self.h.core.config.rate_limit.burst, 7)
        self.assertIn("needs a restart", self.heard[-1])

    def test_level_set_by_an_operator(self) -> None:
        """A file that says of the level what it said before leaves the one that was set meanwhile."""
        set_level("debug")
        self.reload("backends:", "rate_limit: {burst: 7}\nbackends:")
        self.assertEqual(current_level(), "debug")

    def test_backend_to_come(self) -> None:
        """A backend that needs a restart to be there is not made known to the ledger."""
        self.reload("backends:", "backends:\n  - {name: c, type: memory, quota_bytes: 5}")
        self.assertEqual(
            {known.backend for known in self.h.run(self.h.core.ledger.blobs.usage())}, {"a", "b"}
        )
        self.assertEqual(self.last.changes.needs_restart, ("backends[0]",))


class KeepingTests(ReloadCase):
    def test_invalid(self) -> None:
        """A file with problems changes nothing, and all of them are told, but no secret."""
        self.reload(SECRET, "access_key_id: k, secret_access_key: '${NOT_SET}'\n, nonsense: 1")
        self.assertEqual(len(self.last.errors), 2)
        self.assertEqual(self.credentials().secret_of("k")[0], "s")
        self.assertTrue(self.heard[-1].startswith("configuration reload failed: "))
        self.assertEqual(REGISTRY.get_sample_value("s3o_config_last_reload_successful"), 0)
        self.reload("\n, nonsense: 1", "")
        self.reload("${NOT_SET}", "new")
        self.assertEqual(self.credentials().secret_of("k")[0], "new")
        self.assertEqual(REGISTRY.get_sample_value("s3o_config_last_reload_successful"), 1)

    def test_gone(self) -> None:
        """A file that is not there changes nothing."""
        self.path.unlink()
        self.reloader.ask()
        self.h.settle()
        self.assertKept("there is no such file")

    def test_pipe(self) -> None:
        """Nor does a pipe in its place, and nobody waits for somebody to write to it."""
        self.path.unlink()
        os.mkfifo(self.path)
        self.reloader.ask()
        self.h.settle()
        self.assertKept("is no regular file")

    def test_certificates(self) -> None:
        """Certificates that cannot be used keep everything else as it is, too."""
        self.certificate_fails = True
        self.reload(SECRET, "access_key_id: k, secret_access_key: other")
        self.assertKept("cert.pem: not to be found")

    def test_does_not_fit(self) -> None:
        """What is right in the new file alone may not fit to what stays as it is."""
        new = load(self.text, {}).config
        third = evolve(new.backends[0], name="c", path="/c")
        replication = evolve(new.replication, factor=3)
        self.reloader = evolve(
            self.reloader,
            source=Given(
                path=self.path, config=evolve(new, backends=(*new.backends, third), replication=replication)
            ),
        )
        self.reload()
        self.assertKept("replication.factor: is 3, but there are only 2 backends")
        self.assertKept("as long as what needs a restart is as it was")

    def test_ledger_away(self) -> None:
        """While the ledger is away, what it must hear of is refused; the rest is taken over."""
        self.ledger.is_off = True
        self.reload("buckets: [", "buckets: [{name: more, credentials: [{token: t}]}, ")
        self.assertKept("switched off")
        self.reload("{name: more, credentials: [{token: t}]}, ", "")
        self.assertEqual(self.last.errors, ())
        self.reload(SECRET, "access_key_id: k, secret_access_key: other")
        self.assertEqual(self.credentials().secret_of("k")[0], "other")

    def test_unclear_quota(self) -> None:
        """A quota whose writing was not answered is written again, even if it is the old one."""
        self.ledger.is_off = True
        self.reload("quota_bytes: 1073741824", "quota_bytes: 1000")
        self.assertKept("switched off")
        self.ledger.is_off = False
        self.h.run(self.h.core.ledger.blobs.set_limits({"a": 1000, "b": 1000}))
        self.reload("quota_bytes: 1000", "quota_bytes: 1073741824")
        self.h.advance(60)
        self.reload()
        usage = self.h.run(self.h.core.ledger.blobs.usage())
        self.assertEqual({known.backend: known.limit for known in usage}, {"a": 1 << 30, "b": 1 << 30})


class SerialisedTests(ReloadCase):
    def setUp(self) -> None:
        super().setUp()
        self.gate = self.ledger.gate = Deferred()
        self.reload("quota_bytes: 1073741824", "quota_bytes: 1000")

    def open_gate(self) -> None:
        self.ledger.gate = None
        self.gate.callback(None)
        self.h.settle()

    def test_asked_meanwhile(self) -> None:
        """However often it is asked for during a reload, there is one more afterwards."""
        self.reload(SECRET, "access_key_id: k, secret_access_key: other")
        self.reload("", "")
        self.assertEqual(self.heard, ["began"])
        self.assertEqual(self.credentials().secret_of("k")[0], "s")
        self.open_gate()
        self.assertEqual(self.heard, ["began", "configuration 2", "began", "configuration 3"])
        self.assertEqual(self.credentials().secret_of("k")[0], "other")

    def test_asked_at_once(self) -> None:
        """What is asked for many times in one turn is done once, after that turn."""
        self.open_gate()
        self.heard.clear()
        for _ in range(100):
            self.reloader.ask()
        self.assertEqual(self.heard, [])
        self.h.settle()
        self.assertEqual(self.heard, ["began", "configuration 3"])

    def test_stopped_meanwhile(self) -> None:
        """Stopping does not wait for the ledger, and nothing is taken over any more."""
        stopped = start(self.reloader.stop())
        self.successResultOf(stopped)
        self.open_gate()
        self.assertEqual(self.h.core.in_force.generation, 1)
        self.assertEqual(self.heard, ["began"])


class ToldTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Each kind of setting is a line, in a fixed order, and what is of no kind is listed."""
        config = load(MINIMAL, {}).config
        changed = (
            "server.log_level",
            "buckets[0].name",
            "usage_flush.interval",
            "backends[0].quota_bytes",
            "users",
            "rate_limit.burst",
            "backends[1].egress_byte_limit",
        )
        self.assertEqual(
            told(Changes(changed), config),
            [
                "buckets and credentials (1 buckets, 0 users)",
                "rate limits (100 requests per second, burst 200)",
                "backend quota limits",
                "backend usage limits",
                "server.log_level, usage_flush.interval",
            ],
        )
        self.assertEqual(told(Changes(), config), [])

    def test_many(self) -> None:
        """A line has an end."""
        (line,) = told(
            Changes(tuple(f"x{number}" for number in range(MOST_SHOWN + 3))), load(MINIMAL, {}).config
        )
        self.assertTrue(line.endswith(f"x{MOST_SHOWN - 1} and 3 more"))

    def test_quotas(self) -> None:
        """No quota is none, not one of nothing."""
        self.assertEqual(quotas_of(load(MINIMAL, {}).config), {"backend-0": None})
