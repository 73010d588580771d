"""
Whatever clients do, interrupted at every moment there is: by death, by the client leaving, by every fault.

After each of them: what was acknowledged is there, byte for byte; what was not is there as
a whole or not at all; the client who tries again succeeds; and when names have rested,
neither the ledger nor a backend holds anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.concurrency import start
from s3orchestrator.errors import OrchestratorError, StoreUnavailable, TransactionUnclear
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.testing.harness import Image
from tests.unit.objects.operations import OPERATIONS, nothing
from tests.unit.objects.world import STALE, CountedFaults, Operation, World, small_parts

QUOTA = 100_000
IDLE = Operation("nothing", nothing, lambda w, _: w.putting("k", b""), {}, {})


class Interrupted(SynchronousTestCase):
    def setUp(self) -> None:
        small_parts(self.patch)

    def prepared(self, operation: Operation) -> tuple[World, Any]:
        """A world in which the operation can be run."""
        world = World(quotas={"a": QUOTA, "b": QUOTA})
        return world, operation.prepare(world)

    def check(self, world: World, operation: Operation, state: Any, *, done: bool, where: str) -> None:
        """Compare everything, try again, and compare again; then let what is unfinished go stale."""
        world.quiesce()
        found = world.contents()  # which also shows that a copy is good after all
        self.assertEqual(world.problems(), [], where)
        wholes = [operation.after] if done else [operation.before, operation.after]
        self.assertIn(found, wholes, where)
        try:
            world.run(start(operation.run(world, state)))
        except operation.again:
            pass
        except OrchestratorError as error:
            raise AssertionError(f"{where}: trying again failed: {error!r}") from error
        world.advance(STALE + 1)
        world.quiesce()
        self.assertEqual(world.problems(), [], f"{where}, then again")
        self.assertEqual(world.contents(), operation.after, f"{where}, then again")
        self.assertEqual(
            world.run(world.core.ledger.uploads.page(world.bucket, "", None, 9, inclusive=True)), []
        )


class DeathTests(Interrupted):
    def test_at_every_point(self) -> None:
        """A process that dies leaves nothing that the next one does not find."""
        for operation in OPERATIONS:
            images, state = self.images_of(operation)
            self.assertGreater(len(images), 1)
            for where, done, image in images:
                heir, _ = self.prepared(IDLE)
                heir.restart(image)
                self.check(heir, operation, state, done=done, where=f"{operation.name}, dead at {where}")

    def images_of(self, operation: Operation) -> tuple[list[tuple[str, bool, Image]], Any]:
        """What the next process would find, at every point, and whether the client had its answer."""
        world, state = self.prepared(operation)
        images: list[tuple[str, bool, Image]] = []
        result: list[object] = []

        def remember(number: int, what: str) -> None:
            images.append((f"{number}: {what}", bool(result), world.image()))

        world.points.at = remember
        start(operation.run(world, state)).addBoth(result.append)
        world.settle()
        self.assertFalse(isinstance(result[0], Failure), f"{operation.name}: {result}")
        return images, state


class CancellationTests(Interrupted):
    def test_at_every_point(self) -> None:
        """A client that leaves changes nothing about what holds."""
        for operation in OPERATIONS:
            number = 0
            while self.cancelled_at(operation, number):
                number += 1
            self.assertGreater(number, 1)

    def cancelled_at(self, operation: Operation, number: int) -> bool:
        """Tell whether there is a point of that number."""
        world, state = self.prepared(operation)
        waiting: Deferred[None] = Deferred()
        world.points.at = lambda reached, what: waiting if reached == number else None
        result: list[object] = []
        running = start(operation.run(world, state))
        running.addBoth(result.append)
        world.settle()
        if len(world.points.reached) <= number:
            return False
        where = f"{operation.name}, left at {number}: {world.points.reached[number]}"
        running.cancel()
        world.settle()
        if not waiting.called:
            waiting.callback(None)
        world.settle()
        self.assertTrue(result, f"{where}: still running")
        done = not isinstance(result[0], Failure)
        if isinstance(result[0], Failure) and not result[0].check(CancelledError):
            result[0].raiseException()
        self.check(world, operation, state, done=done, where=where)
        return True


class FaultTests(Interrupted):
    def run_to_its_end(self, world: World, operation: Operation, state: Any, where: str) -> bool:
        """Tell whether it succeeded; what stalls is left by its client."""
        result: list[object] = []
        running = start(operation.run(world, state))
        running.addBoth(result.append)
        world.settle()
        if not result:
            running.cancel()
            world.settle()
        self.assertTrue(result, f"{where}: still running")
        if not isinstance(result[0], Failure):
            return True
        if not result[0].check(OrchestratorError, S3Error, CancelledError):
            raise AssertionError(f"{where}: {result[0]!r}") from result[0].value
        return False

    def test_every_call_meets_every_fault(self) -> None:
        """What a backend does wrong is never lost, never half there, and never forgotten."""
        for operation in OPERATIONS:
            for fault in Fault:
                for number, faults in enumerate(self.calls(fault)):
                    world, state = self.prepared(operation)
                    for name in world.backends:
                        world.backend(name).faults = faults
                    where = f"{operation.name}, {fault.name} at call {number}"
                    done = self.run_to_its_end(world, operation, state, where)
                    if len(faults.calls) <= number:
                        break
                    where += f": {faults.calls[number]}"
                    self.check(world, operation, state, done=done, where=where)

    @staticmethod
    def calls(fault: Fault) -> Iterator[CountedFaults]:
        """Faults for the first call, the second, and so on."""
        number = 0
        while True:
            yield CountedFaults(number, fault)
            number += 1

    def test_every_transaction_fails(self) -> None:
        """A ledger that is away for a moment, or does not tell what it did, loses nothing."""
        failures: list[Any] = [
            StoreUnavailable,
            TransactionUnclear,
            (StoreUnavailable,),
            (TransactionUnclear,),
        ]
        for operation in OPERATIONS:
            for failure in failures[:2] + failures[3:]:
                number = 0
                while self.fails_at(operation, number, failure):
                    number += 1
                self.assertGreater(number, 0)

    def fails_at(self, operation: Operation, number: int, failure: Any) -> bool:
        """Tell whether there is a transaction of that number."""
        world, state = self.prepared(operation)
        first = world.points.transactions
        fail: Callable[[int], Any] = lambda begun: failure if begun == first + number else None  # noqa: E731
        world.points.transacting = fail
        where = f"{operation.name}, {failure} at transaction {number}"
        done = self.run_to_its_end(world, operation, state, where)
        if world.points.transactions <= first + number:
            return False
        self.check(world, operation, state, done=done, where=where)
        return True
