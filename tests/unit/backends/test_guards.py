"""Gates made from the settings, and what they tell of their backends."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from s3orchestrator.backends.guarded import GuardedBackend
from s3orchestrator.backends.guards import Guards
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.concurrency import start
from s3orchestrator.config.live import InForce
from s3orchestrator.config.loader import load
from s3orchestrator.counters.local import LocalCounters
from s3orchestrator.domain.usage import Counters
from s3orchestrator.errors import BackendError
from s3orchestrator.interfaces import IStanding
from tests.unit.backends.gate import sample

CONFIG = """
server: {listen_addr: '127.0.0.1:0'}
buckets: [{name: photos, credentials: [{access_key_id: k, secret_access_key: s}]}]
backends: [{name: %s, type: memory, ingress_byte_limit: %d}]
backend_circuit_breaker: {enabled: %s, failure_threshold: 2, open_timeout: 40s}
"""


class GuardsTests(SynchronousTestCase):
    def build(self, *, breakers: bool) -> GuardedBackend:
        self.name = self.id().rpartition(".")[2]
        self.breakers = breakers
        self.clock = Clock()
        self.clock.advance(1_750_000_000)
        self.counters = LocalCounters(self.clock)
        self.in_force = InForce(load(self.configuration(1000), {}).config)
        self.guards = Guards(self.in_force.live, self.counters, self.clock, lambda: 1.0)
        self.memory = MemoryBackend(self.name, self.clock)
        return self.guards.around(self.memory)

    def configuration(self, limit: int) -> str:
        return CONFIG % (self.name, limit, str(self.breakers).lower())

    def fail(self, backend: GuardedBackend, times: int) -> None:
        self.memory.down()
        for _ in range(times):
            self.failureResultOf(start(backend.head("k")), BackendError)
        self.memory.faults.clear()

    def test_standing(self) -> None:
        """They know how backends stand, and let through what they do not know."""
        self.build(breakers=True)
        verifyObject(IStanding, self.guards)
        self.assertTrue(self.guards.may_write(self.name, 1000))
        self.assertFalse(self.guards.may_write(self.name, 1001))
        self.assertTrue(self.guards.may_read(self.name, 10**9))
        self.assertTrue(self.guards.may_write("unknown", 10**9))
        self.assertFalse(self.guards.is_failing("unknown"))

    def test_told_of_limits(self) -> None:
        """That a backend is passed over is said once an hour, with the figures."""
        self.build(breakers=False)
        self.counters.add(self.name, Counters(7, 0, 900))
        said: list[str] = []

        def hear(event: LogEvent) -> None:
            if "passed over" in (event["log_format"] or ""):
                said.append(f"{event['used']} of {event['limits']}")

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        for minutes in (0, 30, 29, 1, 30):
            self.clock.advance(60 * minutes)
            self.assertFalse(self.guards.may_write(self.name, 200))
        line = "7 requests, 0 bytes read, 900 written of 0 requests, 0 bytes read, 1000 written"
        self.assertEqual(said, [line, line])

    def test_limits_of_a_reload(self) -> None:
        """Other limits hold from the moment they are in force."""
        self.build(breakers=False)
        self.counters.add(self.name, Counters(1, 0, 900))
        self.assertFalse(self.guards.may_write(self.name, 200))
        self.in_force.reload(load(self.configuration(1100), {}).config, 0.0)
        self.assertTrue(self.guards.may_write(self.name, 200))
        self.in_force.reload(load(self.configuration(0), {}).config, 0.0)
        self.assertTrue(self.guards.may_write(self.name, 10**12))

    def test_without_breakers(self) -> None:
        """Unless they are switched on no backend is ever left alone."""
        backend = self.build(breakers=False)
        self.fail(backend, 50)
        self.assertFalse(self.guards.is_failing(self.name))
        self.assertEqual(self.guards.breakers, {})

    def test_failing(self) -> None:
        """It is failing until it is time for somebody to try it, which chance may put off by a quarter."""
        backend = self.build(breakers=True)
        self.fail(backend, 2)
        self.assertTrue(self.guards.is_failing(self.name))
        self.clock.advance(49)
        self.assertTrue(self.guards.is_failing(self.name))
        self.clock.advance(1)
        self.assertFalse(self.guards.is_failing(self.name))

    def test_told(self) -> None:
        """Each change is a line in the log and a metric."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        backend = self.build(breakers=True)
        self.assertEqual(sample("s3o_circuit_breaker_state", name=self.name), 0)
        self.fail(backend, 2)
        self.assertEqual(sample("s3o_circuit_breaker_state", name=self.name), 1)
        self.clock.advance(50)
        self.successResultOf(start(backend.list_objects()))
        self.assertEqual(sample("s3o_circuit_breaker_state", name=self.name), 0)
        for before, after in (("closed", "open"), ("open", "half_open"), ("half_open", "closed")):
            labels = {"name": self.name, "from": before, "to": after}
            self.assertEqual(sample("s3o_circuit_breaker_transitions_total", **labels), 1)
        told = [event for event in events if event.get("backend") == self.name]
        self.assertEqual(len(told), 3)
        self.assertEqual((told[0]["failures"], told[0]["threshold"]), (2, 2))
