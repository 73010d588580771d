"""Measuring in rounds, at servers that are this process itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.report import CPU, P50, P99, RATE, RSS
from s3orchestrator.testing.bench.servers import Server
from s3orchestrator.testing.bench.trials import Act, Case, Done, interleaved


@define(eq=False)
class Ourselves(Server):
    """What is measured is what these tests use."""

    @property
    def pid(self) -> int:
        return os.getpid()


class InterleavedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.did: list[str] = []
        self.servers = {name: Ourselves([name], 0, log=None) for name in ("a", "b")}  # type: ignore[arg-type]

    def case(self, name: str, done: Done, **more: object) -> Case:
        @contextmanager
        def load(server: Server) -> Iterator[Act]:
            def act() -> Done:
                self.did.append(f"{name} at {server.command[0]}")
                return done

            yield act

        return Case(name, load, **more)  # type: ignore[arg-type]

    def test_in_turn(self) -> None:
        """In every round each case is done at each server, or at those that it is for."""
        done = Done([1.0], 1.0)
        cases = [self.case("get", done), self.case("put", done, at_servers=["b"])]
        interleaved("x", cases, self.servers, 2)
        self.assertEqual(self.did, ["get at a", "get at b", "put at b"] * 2)

    def test_requests(self) -> None:
        """Rates and latencies are those of requests, in milliseconds."""
        done = Done([0.001, 0.002, 0.003, 0.004], 2.0)
        (found, *_), by_measure = self.measured(self.case("get", done, at={"connections": 4}))
        self.assertEqual((found.case, found.what, found.who), ("x", "get", "a"))
        self.assertEqual(found.at, {"connections": 4})
        self.assertEqual(by_measure[CPU][0], "µs")
        self.assertEqual(by_measure[RATE], ("/s", [2.0]))
        self.assertEqual(by_measure[P50], ("ms", [3.0]))
        self.assertEqual(by_measure[P99], ("ms", [4.0]))
        self.assertEqual(by_measure[RSS][0], "MiB")

    def test_bytes(self) -> None:
        """What moves bytes is measured by them."""
        _, by_measure = self.measured(self.case("get", Done([1.0], 0.5, 10**9), per="GB"))
        self.assertEqual(by_measure[CPU][0], "s/GB")
        self.assertEqual(by_measure[RATE], ("MB/s", [2000.0]))

    def measured(self, case: Case):  # type: ignore[no-untyped-def]
        found = interleaved("x", [case], {"a": self.servers["a"]}, 1)
        return found, {each.measure: (each.unit, list(each.values)) for each in found}
