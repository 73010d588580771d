"""What each endpoint says and does, on a ledger and backends in memory."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.app.examining import MOST, Examination
from s3orchestrator.backends.faults import Fault
from s3orchestrator.concurrency import start
from s3orchestrator.domain.breaker import Breaker
from s3orchestrator.domain.usage import Counters
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.services.jobs import Jobs
from s3orchestrator.services.periodic import Report
from s3orchestrator.store.browse import Browse
from s3orchestrator.telemetry.logging import LEVELS, current_level, set_level
from s3orchestrator.web.admin.calls import Answer, Ask, Operate, Refused
from s3orchestrator.web.admin.cleanup import CleanupQueue
from s3orchestrator.web.admin.ledger import Checks, UsageFlush
from s3orchestrator.web.admin.locations import Locations
from s3orchestrator.web.admin.logs import LogLevel
from s3orchestrator.web.admin.reloads import ReloadStatus
from s3orchestrator.web.admin.status import Gauges, Status
from s3orchestrator.web.admin.workers import WAIT, Workers
from tests.unit.objects.world import SMALL, World


class EndpointCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.w = World(backends=("a", "b"))
        self.blobs = self.w.core.ledger.blobs
        self.browse = Browse(self.w.core.ledger.database)

    def ask(
        self,
        operate: Operate,
        path: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        **query: str,
    ) -> Any:
        """Return the document that is answered."""
        answer: Answer = self.w.run(start(operate(Ask(path or {}, query, body or {}))))  # type: ignore[arg-type]
        self.answer = answer
        return json.loads(json.dumps(answer.document))

    def refusal(self, operate: Operate, *what: Any, **query: str) -> tuple[int, str]:
        """Return the status and the text of a refusal."""
        try:
            self.ask(operate, *what, **query)
        except Refused as refused:
            return refused.status, refused.text
        raise AssertionError("it was not refused")

    def execute(self, statement: str) -> None:
        async def work(tx: ITransaction) -> None:
            await tx.run(statement)

        self.w.run(self.w.core.ledger.database.transact(work))


class StatusTests(EndpointCase):
    def status(self, **breakers: Breaker) -> Any:
        core = self.w.core
        gauges = Gauges(core.counters, lambda: breakers)
        status = Status(
            "all",
            core.backends.all,
            self.blobs,
            core.ledger.usage,
            gauges,
            lambda name: core.owners[name].verdict,
        )
        return self.ask(status.show)

    def test_shape(self) -> None:
        """Every figure has its name."""
        self.w.put("k", SMALL)
        document = self.status()
        self.assertEqual((document["db_healthy"], document["mode"]), (True, "all"))
        self.assertEqual(document["usage_period"], "2025-06")
        first, second = document["backends"]
        used = [first.pop(name) for name in ("api_requests", "egress_bytes", "ingress_bytes")]
        self.assertGreaterEqual(used, [1, 0, len(SMALL)])
        self.assertEqual(
            {name: value for name, value in first.items() if name != "traits"},
            {
                "name": "a",
                "configured": True,
                "bytes_used": len(SMALL),
                "bytes_limit": 0,
                "orphan_bytes": 0,
                "reserved_bytes": 0,
                "object_count": 1,
                "upload_count": 0,
                "breaker": "closed",
                "standing": "ours",
                "standing_reason": "",
            },
        )
        self.assertEqual(set(first["traits"]), {"exclusive", "exact_names", "md5_etags"})
        self.assertEqual((second["name"], second["object_count"]), ("b", 0))

    def test_gauges(self) -> None:
        """What was used this month is the backend's own, and so is the breaker."""
        before = [backend["api_requests"] for backend in self.status()["backends"]]
        self.w.core.counters.add("b", Counters(4, 5, 6))
        breaker = Breaker(1, 60.0, lambda: 0.0)
        made = breaker.admit(0.0)
        assert made is not None
        breaker.failed(made, 0.0)
        first, second = self.status(b=breaker)["backends"]
        self.assertEqual([first["api_requests"], second["api_requests"]], [before[0], before[1] + 4])
        self.assertGreaterEqual(second["egress_bytes"], 5)
        self.assertEqual([first["breaker"], second["breaker"]], ["closed", "open"])
        breaker.admit(100.0)
        self.assertEqual(self.status(b=breaker)["backends"][1]["breaker"], "half-open")

    def test_left_out(self) -> None:
        """A backend that holds something and is not configured is shown as that."""
        self.w.put("k", SMALL)
        for table in ("blobs", "byte_counts", "backend_counts"):
            self.execute(f"UPDATE {table} SET backend = 'gone' WHERE backend = 'a'")
        last = self.status()["backends"][-1]
        self.assertEqual((last["name"], last["configured"], last["bytes_used"]), ("gone", False, len(SMALL)))

    def test_ledger_away(self) -> None:
        """Without the ledger there is an answer, which does not pretend to know."""
        self.w.run(self.w.core.ledger.database.close())
        document = self.status()
        self.assertIs(document["db_healthy"], False)
        self.assertEqual([backend["bytes_used"] for backend in document["backends"]], [None, None])
        self.assertEqual(document["backends"][0]["breaker"], "closed")


class WorkersTests(EndpointCase):
    def setUp(self) -> None:
        super().setUp()
        self.report = Report("cleanup", 60.0, False, "success", 1_750_000_000.0, 0)
        self.triggered: list[Deferred[None]] = []
        self.workers = Workers(lambda: [self.report], self.trigger, self.w.clock)

    def trigger(self, name: str) -> Deferred[None]:
        self.assertEqual(name, "cleanup")
        self.triggered.append(Deferred())
        return self.triggered[-1]

    def test_list(self) -> None:
        """Each with how it fares."""
        (worker,) = self.ask(self.workers.show)["workers"]
        self.assertEqual(
            worker,
            {
                "name": "cleanup",
                "interval": 60.0,
                "running": False,
                "last_success": "2025-06-15T15:06:40Z",
                "consecutive_failures": 0,
                "last_result": "success",
            },
        )

    def run_worker(self) -> Deferred[Answer]:
        return start(self.workers.run(Ask({"name": "cleanup"})))

    def test_run(self) -> None:
        """The answer waits for the end, and says how it was."""
        running = self.run_worker()
        self.assertNoResult(running)
        self.report = evolve(self.report, last_result="error", consecutive_failures=1)
        self.triggered[0].callback(None)
        answer = self.successResultOf(running)
        self.assertEqual((answer.status, answer.document["last_result"]), (200, "error"))
        self.assertEqual(self.w.clock.getDelayedCalls(), [])

    def test_run_long(self) -> None:
        """It does not wait for ever; the run goes on."""
        running = self.run_worker()
        self.report = evolve(self.report, running=True)
        self.w.clock.advance(WAIT)
        answer = self.successResultOf(running)
        self.assertEqual((answer.status, answer.document["running"]), (202, True))
        self.triggered[0].callback(None)

    def test_caller_leaves(self) -> None:
        """A caller that leaves ends only the waiting."""
        running = self.run_worker()
        running.addErrback(lambda _: None)
        running.cancel()
        self.assertEqual(self.w.clock.getDelayedCalls(), [])
        self.triggered[0].callback(None)

    def test_unknown(self) -> None:
        """Those that there are, are named."""
        status, text = self.refusal(self.workers.run, {"name": "../cleanup"})
        self.assertEqual(status, 404)
        self.assertIn("there are cleanup", text)
        self.assertEqual(self.triggered, [])


class LocationsTests(EndpointCase):
    def setUp(self) -> None:
        super().setUp()
        self.show = Locations(self.browse).show

    def test_found(self) -> None:
        """Where it is, what it is called there; nothing that would help to decrypt it."""
        self.w.put("a/b", SMALL)
        self.execute("UPDATE blobs SET key_id = 'the-key', wrapped_key = 'wrapped'")
        document = self.ask(self.show, key="photos/a/b")
        (location,) = document["locations"]
        self.assertEqual(document["key"], "photos/a/b")
        self.assertEqual((location["object_key"], location["backend_name"]), ("photos/a/b", "a"))
        self.assertEqual((location["backend_key"], location["size_bytes"]), ("photos/a/b", len(SMALL)))
        self.assertEqual((location["encrypted"], location["suspect"]), (True, False))
        self.assertEqual(location["plaintext_size"], len(SMALL))
        self.assertNotIn("the-key", json.dumps(document))
        self.assertNotIn("wrapped", json.dumps(document))

    def test_not_found(self) -> None:
        """404 for what is not there, 400 for what could not be."""
        self.assertEqual(self.refusal(self.show, key="photos/x")[0], 404)
        self.assertEqual(self.refusal(self.show, key="nowhere/x")[0], 404)
        for key in ("", "photos", "photos/", "/x"):
            self.assertEqual(self.refusal(self.show, key=key), (400, "key must be BUCKET/KEY"), key)
        self.assertEqual(self.refusal(self.show)[0], 400)
        status, text = self.refusal(self.show, kye="photos/x")
        self.assertEqual((status, text), (400, "there is no parameter 'kye': the ones here are key"))


class CleanupQueueTests(EndpointCase):
    def setUp(self) -> None:
        super().setUp()
        self.queue = CleanupQueue(self.browse, self.blobs)
        keys = ("k0", "k1", "k2")
        for key in keys:
            self.w.put(key, SMALL)
        self.w.backend("a").faults.always(Fault.FAILED, "delete")
        for key in keys:
            self.w.delete(key)
        self.execute("UPDATE blobs SET state = 'dead', attempts = 10, owner = NULL WHERE key <> 'k0'")

    def items(self, **query: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.ask(self.queue.show, **query)["items"]
        return items

    def test_list(self) -> None:
        """How much there is, and each with its state; pages go on where they ended."""
        document = self.ask(self.queue.show, limit="2")
        self.assertEqual((document["depth"], document["dead"]), (1, 2))
        self.assertEqual([item["state"] for item in document["items"]], ["dead", "dead"])
        (last,) = self.items(after=document["next"])
        self.assertEqual((last["state"], last["backend"], last["key"]), ("doomed", "a", "photos/k0"))
        self.assertEqual((last["size"], last["attempts"], last["claimed"]), (len(SMALL), 1, False))
        self.assertRegex(last["next_retry"], "^2025-06-15T.*Z$")
        self.assertIsNone(self.answer.document["next"])
        self.assertEqual(len(self.items(state="dead")), 2)

    def test_bad_parameters(self) -> None:
        """What makes no sense is named."""
        for query, named in (
            ({"limit": "0"}, "limit"),
            ({"limit": "1001"}, "limit"),
            ({"limit": "-1"}, "limit"),
            ({"limit": "٣"}, "limit"),
            ({"state": "live"}, "state"),
            ({"after": "x"}, "after"),
            ({"page": "2"}, "page"),
        ):
            status, text = self.refusal(self.queue.show, **query)
            self.assertEqual(status, 400)
            self.assertIn(named, text)

    def test_retry(self) -> None:
        """A dead one is deleted after all."""
        dead = self.items(state="dead")[0]
        self.w.backend("a").faults.clear()
        answered = self.ask(self.queue.retry, {"id": str(dead["id"])})
        self.assertEqual(answered, {"id": dead["id"], "state": "doomed"})
        self.assertEqual(self.answer.noted, {"blob": dead["id"]})
        self.w.run(self.w.sweeper.run_once())
        self.assertNotIn(dead["key"], self.w.backend("a").objects)

    def test_retry_all(self) -> None:
        """All dead ones of a backend."""
        self.assertEqual(self.ask(self.queue.retry_all, backend="b"), {"backend": "b", "retried": 0})
        self.assertEqual(self.ask(self.queue.retry_all, backend="a"), {"backend": "a", "retried": 2})
        self.assertEqual(self.items(state="dead"), [])
        self.assertEqual(self.refusal(self.queue.retry_all)[0], 400)

    def test_write_off(self) -> None:
        """A dead one counts no more."""
        dead = self.items(state="dead")[0]
        answered = self.ask(self.queue.write_off, {"id": str(dead["id"])})
        self.assertEqual(answered, {"id": dead["id"], "state": "resting"})
        self.assertEqual(len(self.items(state="dead")), 1)

    def test_not_dead(self) -> None:
        """Nothing else is touched."""
        (doomed,) = self.items(state="doomed")
        for blob_id in (str(doomed["id"]), "4711", "0"):
            for operate in (self.queue.retry, self.queue.write_off):
                self.assertEqual(self.refusal(operate, {"id": blob_id})[0], 404)
        for blob_id in ("", "x", "-1", "1" * 30, "1.0"):
            self.assertEqual(self.refusal(self.queue.retry, {"id": blob_id})[0], 400)


class ChecksTests(EndpointCase):
    def setUp(self) -> None:
        super().setUp()
        self.w.put("k", SMALL)
        self.jobs = Jobs(self.w.clock)
        self.checks = Checks(self.begin, lambda: self.jobs.latest("fsck"), self.jobs.find)

    def begin(self, deep: bool, repair: bool) -> Any:
        core = self.w.core
        return self.jobs.begin("fsck", lambda tell: Examination(core, deep, repair, tell).run())

    def check(self, **options: bool) -> Any:
        """Run a check to its end; returns the result."""
        job = self.ask(self.checks.begin, {}, dict(options))
        self.assertEqual(self.answer.status, 202)
        job = self.ask(self.checks.find, {"id": job["job"]})
        self.assertEqual((job["state"], job["error"]), ("done", None))
        self.assertEqual(self.ask(self.checks.latest), job)
        return job["result"]

    def test_idle(self) -> None:
        """Before the first there is none."""
        self.assertEqual(self.ask(self.checks.latest), {"job": None, "state": "idle"})
        self.assertEqual(self.refusal(self.checks.find, {"id": "fsck-1"})[0], 404)

    def test_clean(self) -> None:
        """Nothing is wrong."""
        result = self.check(deep=True)
        self.assertEqual((result["total"], result["left"], result["findings"]), (0, 0, []))
        self.assertEqual(result["compared"], 1)

    def test_counters(self) -> None:
        """Counters are mended when asked for, and only then."""
        self.execute("UPDATE byte_counts SET live = live + 7")
        result = self.check()
        self.assertEqual((result["total"], result["mended"], result["left"]), (1, 0, 1))
        (found,) = result["findings"]
        self.assertEqual((found["rule"], found["repairable"], found["mended"]), ("L4", True, False))
        result = self.check(repair=True)
        self.assertEqual((result["total"], result["mended"], result["left"]), (1, 1, 0))
        self.assertTrue(result["findings"][0]["mended"])
        self.assertEqual(self.check()["total"], 0)

    def test_deep(self) -> None:
        """Backends are compared, also those that are not configured any more; strays stay."""
        a = self.w.backend("a")
        a.objects["stray"] = a.objects.pop("photos/k")
        result = self.check(deep=True, repair=True)
        self.assertEqual({found["rule"] for found in result["findings"]}, {"L3", "stray"})
        self.assertEqual(result["left"], 2)
        self.assertIn("stray", a.objects)

    def test_many(self) -> None:
        """Of many findings a thousand are kept, and all are counted."""
        a = self.w.backend("a")
        for number in range(MOST + 5):
            a.objects[f"stray{number}"] = a.objects["photos/k"]
        result = self.check(deep=True)
        self.assertEqual((len(result["findings"]), result["total"]), (MOST, MOST + 5))

    def test_twice(self) -> None:
        """One at a time; which one is told."""
        self.w.backend("a").faults.always(Fault.STALLED, "list_objects")
        job = self.ask(self.checks.begin, {}, {"deep": True})
        self.assertEqual(job["state"], "running")
        self.assertEqual(self.ask(self.checks.find, {"id": job["job"]})["progress"]["looking_at"], "a")
        with self.assertRaises(Refused) as caught:
            self.ask(self.checks.begin)
        self.assertEqual((caught.exception.status, caught.exception.more), (409, {"job": job["job"]}))
        self.w.run(start(self.jobs.stop()))

    def test_other_instance(self) -> None:
        """A check that another instance runs keeps ours away."""

        async def beside() -> Any:
            async with self.w.core.ledger.locks.hold("fsck") as held:
                self.assertTrue(held)
                return await self.checks.begin(Ask())

        job = self.w.run(beside()).document["job"]
        document = self.ask(self.checks.find, {"id": job})
        self.assertEqual(
            (document["state"], document["error"]), ("failed", "another instance is checking this ledger")
        )

    def test_bad_options(self) -> None:
        """Options are truths, and known."""
        self.assertEqual(
            self.refusal(self.checks.begin, {}, {"deep": 1}), (400, "deep must be true or false")
        )
        self.assertEqual(self.refusal(self.checks.begin, {}, {"dep": True})[0], 400)


class OthersTests(EndpointCase):
    def test_usage(self) -> None:
        """What was counted is in the ledger afterwards."""
        core = self.w.core
        core.counters.add("a", Counters(7))
        self.assertEqual(self.ask(UsageFlush(core.usage_flush.run_once).flush), {"status": "flushed"})
        recorded = self.w.run(core.ledger.usage.totals(core.counters.period))
        self.assertGreaterEqual(recorded["a"].api_requests, 7)

    def test_log_level(self) -> None:
        """It is shown and set; what is unknown changes nothing."""
        self.addCleanup(set_level, current_level())
        logs = LogLevel()
        for level in LEVELS:
            self.assertEqual(self.ask(logs.change, {}, {"level": level}), {"level": level})
            self.assertEqual(self.ask(logs.show), {"level": level})
        for body in ({"level": "loud"}, {"level": None}, {}, {"level": ["info"]}, {"loudness": "info"}):
            self.assertEqual(self.refusal(logs.change, {}, body)[0], 400)
        self.assertEqual(self.ask(logs.show), {"level": LEVELS[-1]})

    def test_reload_status(self) -> None:
        """What became of the last file, and how many there have been."""
        in_force = self.w.core.in_force
        status = ReloadStatus(in_force)
        shown = {"generation": 1, "status": "never", "at": None, "error": None, "changed": [], "ignored": []}
        self.assertEqual(self.ask(status.show), shown)
        config = in_force.config
        other = evolve(
            config,
            routing_strategy="spread",
            rate_limit=evolve(config.rate_limit, burst=7),
        )
        in_force.reload(other, at=1_750_000_000.0)
        shown.update(generation=2, status="success", at="2025-06-15T15:06:40Z")
        shown.update(changed=["rate_limit.burst"], ignored=["routing_strategy"])
        self.assertEqual(self.ask(status.show), shown)
        in_force.keep(["buckets: is wrong", "users: too"], at=1_750_000_001.0)
        shown.update(status="failed", at="2025-06-15T15:06:41Z", error="buckets: is wrong; users: too")
        self.assertEqual(self.ask(status.show), {**shown, "changed": [], "ignored": []})
        self.assertEqual(self.refusal(status.show, more="x")[0], 400)
