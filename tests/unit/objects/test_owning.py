"""Finding out whose a backend is, on a clock, in memory: everything that may go wrong (L9)."""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.backends.memory import MemoryBackend
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.concurrency import start
from s3orchestrator.domain.owning import MARKER, Marker, Standing, read_marker
from s3orchestrator.domain.records import NewVersion
from s3orchestrator.errors import BackendUnavailable, BackendWithheld, NoSuchBlob, StoreUnavailable
from s3orchestrator.interfaces import Description, Fetched, Stored
from s3orchestrator.objects.owners import Owners
from s3orchestrator.objects.owning import BETWEEN_LOOKS, LOOKS, PATIENCE, Owner
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.store.blobs import Blobs
from s3orchestrator.store.buckets import Buckets
from s3orchestrator.store.marking import Marks
from s3orchestrator.store.versions import Versions
from s3orchestrator.testing.harness import NOW, Harness, LedgerInMemory

T = TypeVar("T")

QUIET = 3600.0


class Forgetful(MemoryBackend):
    """Says for a while of what it has that it is not there; `blind` is how many times."""

    blind = 0

    async def get(self, name: str, wanted: ByteRange | None = None, *, etag: str | None = None) -> Fetched:
        if self.blind:
            self.blind -= 1
            raise NoSuchBlob(name)
        return await super().get(name, wanted, etag=etag)


@define(eq=False)
class Site:
    """A ledger and a backend; `owner` makes a process that looks at it."""

    clock: Clock = field(factory=Clock)
    backend: Forgetful = field(init=False)
    ledger: LedgerInMemory = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(NOW)
        self.backend = Forgetful("disk", self.clock)
        self.ledger = self.opened(None)

    def opened(self, image: bytes | None) -> LedgerInMemory:
        ledger = LedgerInMemory(self.clock, image)
        ledger.open()
        return ledger

    def owner(self, backend: MemoryBackend | None = None, *, forgets: bool = False) -> Owner:
        blobs = Blobs(self.ledger, traits_of=lambda name: None, quiet_period=QUIET)
        return Owner(
            backend or self.backend,
            self.ledger.ledger_id,
            Marks(self.ledger),
            blobs,
            self.ledger.locks,
            self.clock,
            QUIET,
            forgets,
        )

    def run(self, work: Coroutine[Any, Any, T] | Deferred[T], seconds: float = 20.0) -> T:
        outcome: list[Any] = []
        start(work).addBoth(outcome.append)
        for _ in range(int(seconds * 10)):
            if outcome:
                break
            self.clock.advance(0.1)
        assert outcome, "it still waits"
        if isinstance(outcome[0], Failure):
            outcome[0].raiseException()
        result: T = outcome[0]
        return result

    def kept(self) -> Owner:
        """A process that has looked, and raised the number."""
        owner = self.owner()
        self.run(owner.keep())
        return owner

    def marker(self) -> Marker:
        return read_marker(self.backend.objects[MARKER].data)

    def number(self) -> int:
        return self.run(Marks(self.ledger).known())["disk"].number

    def store(self, key: str) -> str:
        """Have the ledger hold an object, and the backend too; returns its name."""
        bucket = self.run(Buckets(self.ledger).adopt("photos"))
        blobs = Blobs(self.ledger, traits_of=lambda name: None, quiet_period=QUIET)
        blob = self.run(blobs.reserve(bucket, key, 1, ["disk"]))
        stored: Stored = self.run(
            self.backend.put(blob.name, BytesBody(b"x"), Description("text/plain"), exclusive=False)
        )
        version = NewVersion(1, "etag", ObjectMetadata())
        self.run(Versions(self.ledger).commit(bucket, blob, stored, version))
        return blob.name


class OwnerCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.site = Site()
        self.run_ = self.site.run

    def assertWrites(self, owner: Owner) -> None:
        self.run_(owner.before(lambda standing: standing.may_write))

    def assertRemoves(self, owner: Owner) -> None:
        self.run_(owner.before(lambda standing: standing.may_remove))

    def assertRefused(self, owner: Owner, *, writing: bool = True) -> str:
        def allowed(standing: Standing) -> bool:
            return standing.may_write if writing else standing.may_remove

        with self.assertRaises(BackendWithheld) as raised:
            self.run_(owner.before(allowed))
        self.assertFalse(raised.exception.sent)
        return str(raised.exception)


class MakingTests(OwnerCase):
    def test_new(self) -> None:
        """A backend that is new gets a marker, whose number is raised at once."""
        owner = self.site.kept()
        self.assertIs(owner.verdict.standing, Standing.OURS)
        self.assertEqual(self.site.marker(), Marker(self.site.ledger.ledger_id, "disk", 1))
        self.assertEqual(self.site.number(), 1)
        self.assertRemoves(owner)

    def test_first_writer_looks(self) -> None:
        """Whoever wants to write first finds out; the others wait for it, and nobody asks again."""
        owner = self.site.owner()
        waiting = [start(owner.before(lambda standing: standing.may_write)) for _ in range(5)]
        for one in waiting:
            self.run_(one)
        self.assertEqual([called.verb for called in self.site.backend.calls], ["get", "put", "get"])
        self.assertWrites(owner)
        self.assertEqual(len(self.site.backend.calls), 3)

    def test_writer_that_leaves(self) -> None:
        """Who gives up waiting takes nothing from the others."""
        self.site.backend.faults.next("get", Fault.LATE)
        owner = self.site.owner()
        leaving = start(owner.before(lambda standing: standing.may_write))
        leaving.addErrback(lambda _: None)
        leaving.cancel()
        self.site.clock.advance(PATIENCE)
        self.assertWrites(owner)

    def test_shown_late(self) -> None:
        """A service that does not show at once what it has taken is waited for."""
        self.site.backend.blind = 3
        owner = self.site.kept()
        self.assertIs(owner.verdict.standing, Standing.OURS)
        self.assertEqual(self.site.marker().number, 1)

    def test_never_shown(self) -> None:
        """One that never shows it is not written to, and tried again; the ledger takes nothing for sure."""
        self.site.backend.blind = 100
        owner = self.site.kept()
        self.assertIn("does not show it", self.assertRefused(owner))
        self.assertEqual(self.run_(Marks(self.site.ledger).known()), {})
        self.site.backend.blind = 0
        self.run_(owner.keep())
        self.assertRemoves(owner)

    def test_at_once(self) -> None:
        """Of several processes that begin at the same time one makes the marker, and all go on."""
        owners = [self.site.owner() for _ in range(4)]
        waiting = [start(owner.keep()) for owner in owners]
        for one in waiting:
            self.run_(one)
        for owner in owners:
            self.assertRemoves(owner)
        self.assertEqual(self.site.marker().ledger, self.site.ledger.ledger_id)
        self.assertLessEqual(self.site.marker().number, self.site.number())

    def test_filled_before_there_were_markers(self) -> None:
        """A backend that has what the ledger says is ours."""
        names = [self.site.store(f"k{number}") for number in range(3)]
        del self.site.backend.objects[names[0]]
        owner = self.site.kept()
        self.assertRemoves(owner)
        self.assertEqual(self.site.marker().number, 1)

    def test_wrong_from_the_start(self) -> None:
        """One that has nothing of what the ledger says is none of ours; no marker is made."""
        for number in range(30):
            self.site.store(f"k{number:02}")
        self.site.backend.objects.clear()
        owner = self.site.kept()
        self.assertIn("of 20 that were looked for none is there", self.assertRefused(owner))
        self.assertEqual(self.site.backend.objects, {})

    def test_memory(self) -> None:
        """What is empty after each start is made ours each time."""
        self.site.kept()
        self.site.backend.objects.clear()
        owner = self.site.owner(forgets=True)
        self.run_(owner.keep())
        self.assertRemoves(owner)


class WrongTests(OwnerCase):
    def test_other_ledger(self) -> None:
        """Of two ledgers the second is refused, by name; the first goes on."""
        first = self.site.kept()
        ours = self.site.ledger
        self.site.ledger = self.site.opened(None)
        second = self.site.kept()
        self.assertEqual(
            self.assertRefused(second),
            f"disk: it belongs to ledger {ours.ledger_id}, and this is ledger {self.site.ledger.ledger_id}",
        )
        self.assertRefused(second, writing=False)
        self.assertEqual(self.site.marker().ledger, ours.ledger_id)
        self.assertRemoves(first)

    def test_swapped(self) -> None:
        """Two backends of one ledger that are the same place: the second is none."""
        self.site.kept()
        self.site.backend.name = "disk2"
        owner = self.site.kept()
        self.assertIn("disk2: it is backend disk of this ledger", self.assertRefused(owner))

    def test_gone(self) -> None:
        """Where the marker is missing, nothing is changed until it is back; then all goes on by itself."""
        self.site.kept()
        held = self.site.backend.objects.pop(MARKER)
        owner = self.site.kept()
        self.assertIn("it does not hold its marker ~s3o/owner", self.assertRefused(owner))
        self.assertRefused(owner, writing=False)
        self.assertEqual(self.site.backend.objects, {})
        self.site.backend.objects[MARKER] = held
        self.run_(owner.keep())
        self.assertRemoves(owner)

    def test_gone_for_a_moment(self) -> None:
        """A service that says so for a moment is not believed."""
        self.site.kept()
        self.site.backend.blind = LOOKS - 1
        owner = self.site.owner()
        began = self.site.clock.seconds()
        self.assertRemoves(owner)
        self.assertGreaterEqual(self.site.clock.seconds() - began, BETWEEN_LOOKS)

    def test_garbage(self) -> None:
        """Neither is what no marker is; if it stays, nothing is changed."""
        self.site.kept()
        description = Description("text/plain")
        for garbage in (b"", b"hello", bytes(5000), b"\xff" * 20):
            self.run_(self.site.backend.put(MARKER, BytesBody(garbage), description, exclusive=False))
            owner = self.site.kept()
            self.assertIn("none that this release understands", self.assertRefused(owner))

    def test_damaged_on_the_way(self) -> None:
        """A marker that arrives with a bit flipped is read again."""
        self.site.kept()
        self.site.backend.faults.next("get", Fault.WRONG_BYTES, Fault.WRONG_BYTES)
        self.assertRemoves(self.site.owner())

    def test_away(self) -> None:
        """A backend that does not answer is not changed; when it does, whoever comes next finds out."""
        self.site.kept()
        owner = self.site.owner()
        self.site.backend.down()
        self.run_(owner.keep())
        self.assertIn("nobody can tell whose it is now", self.assertRefused(owner))
        self.site.backend.faults.clear()
        self.site.clock.advance(PATIENCE)
        self.assertRemoves(owner)

    def test_another_when_it_is_back(self) -> None:
        """A backend that was away is looked at again before anything is changed there."""
        owner = self.site.kept()
        owner.stale()
        other = Marker("other", "disk", 1)
        self.run_(
            self.site.backend.put(MARKER, BytesBody(other.text()), Description("text/plain"), exclusive=False)
        )
        self.assertIn("it belongs to ledger other", self.assertRefused(owner, writing=False))

    def test_away_while_it_is_looked_at(self) -> None:
        """What was read before a backend went away is not believed of what came back."""
        owner = self.site.owner()
        get = self.site.backend.get

        async def getting(*arguments: Any, **more: Any) -> Fetched:
            fetched = await get(*arguments, **more)
            owner.stale()
            return fetched

        self.site.kept()
        self.site.backend.get = getting  # type: ignore[method-assign]
        self.assertIn("it was away just now", self.assertRefused(owner))
        self.site.backend.get = get  # type: ignore[method-assign]
        self.assertRemoves(owner)


class BehindTests(OwnerCase):
    def behind(self) -> Owner:
        """A process on a ledger that was restored from a backup."""
        self.site.kept()
        image = self.site.ledger.image()
        self.site.kept()
        self.site.ledger = self.site.opened(image)
        return self.site.kept()

    def test_noticed(self) -> None:
        """It may add, and delete nothing; the ledger remembers it."""
        owner = self.behind()
        self.assertIn("it knows marker 1, and the backend holds 2", str(owner.verdict))
        self.assertWrites(owner)
        self.assertRefused(owner, writing=False)
        self.assertFalse(owner.trusts_plain_names())
        self.assertTrue(self.run_(Marks(self.site.ledger).known())["disk"].is_behind)
        self.assertEqual(self.site.marker().number, 2)

    def test_stays(self) -> None:
        """Neither time nor another start changes that."""
        self.behind()
        self.site.clock.advance(10 * QUIET)
        owner = self.site.kept()
        self.assertIs(owner.verdict.standing, Standing.BEHIND)
        self.assertEqual(self.site.marker().number, 2)

    def test_declared_by_another(self) -> None:
        """What another process has noticed holds for all."""
        owner = self.site.kept()
        self.run_(Marks(self.site.ledger).declare_behind(["disk"]))
        self.run_(owner.keep())
        self.assertRefused(owner, writing=False)

    def test_caught_up(self) -> None:
        """When all has been listed, it is the marker that is older again."""
        owner = self.behind()
        self.run_(owner.catch_up())
        self.assertRemoves(owner)
        self.assertEqual((self.site.marker().number, self.site.number()), (3, 3))

    def test_claimed(self) -> None:
        """An operator may say that it is ours; that does not make a ledger know what it does not know."""
        self.behind()
        self.site.ledger = self.site.opened(None)
        owner = self.site.kept()
        self.assertIs(owner.verdict.standing, Standing.FOREIGN)
        self.run_(owner.claim())
        self.assertRemoves(owner)
        self.assertEqual(self.site.marker().ledger, self.site.ledger.ledger_id)
        behind = BehindTests()
        behind.setUp()
        still = behind.behind()
        behind.run_(still.claim())
        self.assertIs(still.verdict.standing, Standing.BEHIND)

    def test_claimed_before_anybody_noticed(self) -> None:
        """A ledger that was restored, and that nobody has started since, is still behind what it claims."""
        self.site.kept()
        image = self.site.ledger.image()
        self.site.kept()
        self.site.ledger = self.site.opened(image)
        owner = self.site.owner()
        self.run_(owner.claim())
        self.assertIs(owner.verdict.standing, Standing.BEHIND)
        self.assertIs(self.site.kept().verdict.standing, Standing.BEHIND)


class RaisingTests(OwnerCase):
    def test_twice_in_a_quiet_period(self) -> None:
        """The number goes up every half of it, and no sooner."""
        owner = self.site.kept()
        for _ in range(29):
            self.site.clock.advance(60)
            self.run_(owner.keep())
        self.assertEqual(self.site.marker().number, 1)
        self.site.clock.advance(60)
        self.run_(owner.keep())
        self.assertEqual((self.site.marker().number, self.site.number()), (2, 2))

    def test_not_raised(self) -> None:
        """While it cannot be raised no plain name is used: an older ledger would not notice."""
        owner = self.site.kept()
        self.assertTrue(owner.trusts_plain_names())
        self.site.backend.faults.always(Fault.FAILED, "put")
        for _ in range(60):
            self.site.clock.advance(60)
            self.run_(owner.keep())
        self.assertFalse(owner.trusts_plain_names())
        self.assertRemoves(owner)
        self.site.backend.faults.clear()
        self.run_(owner.keep())
        self.assertTrue(owner.trusts_plain_names())

    def test_late(self) -> None:
        """A marker that arrives late and is older than the next is in order."""
        owner = self.site.kept()
        self.site.backend.faults.next("put", Fault.LATE)
        self.site.clock.advance(QUIET)
        self.run_(owner.keep())
        self.run_(owner.keep())
        self.assertEqual(self.site.marker().number, 3)
        self.site.backend.catch_up()
        self.assertEqual(self.site.marker().number, 2)
        self.assertRemoves(self.site.kept())
        self.assertEqual(self.site.marker().number, 4)

    def test_dead_at_any_point(self) -> None:
        """Whatever was done when a process died, the next one finds a backend that is ours."""
        for making in (True, False):
            effects = 1
            while True:
                site = Site()
                if not making:
                    site.kept()
                died = Dying(site, effects).run()
                if not died:
                    break
                heir = site.kept()
                self.assertIs(heir.verdict.standing, Standing.OURS, (making, effects))
                self.assertEqual(site.marker().number, site.number())
                effects += 1
            self.assertGreater(effects, 2)


@define(eq=False)
class Dying:
    """A process that dies after its n-th effect on the backend or the ledger."""

    _site: Site
    _left: int

    def run(self) -> bool:
        """Tell whether it did."""
        site = self._site
        backend, ledger = Forgetful("disk", site.clock), site.ledger
        backend.objects = site.backend.objects
        put, transact = backend.put, ledger.transact

        async def putting(*arguments: Any, **more: Any) -> Stored:
            stored = await put(*arguments, **more)
            self._count()
            return stored

        async def transacting(work: Any) -> Any:
            result = await transact(work)
            self._count()
            return result

        backend.put, ledger.transact = putting, transacting  # type: ignore[method-assign]
        with contextlib.suppress(StoreUnavailable, BackendUnavailable):
            site.run(site.owner(backend).keep())
        ledger.transact = transact  # type: ignore[method-assign]
        return self._left <= 0

    def _count(self) -> None:
        self._left -= 1
        if self._left <= 0:
            raise StoreUnavailable("dead")


class ManyTests(SynchronousTestCase):
    def test_breaker(self) -> None:
        """A backend that was left alone for its failures is looked at before it is written to again."""
        h = Harness(backends=("a",))
        h.put("k", b"old")
        h.backend("a").down()
        for _ in range(10):
            h.expect(
                BackendUnavailable,
                h.core.objects.writing.put(h.bucket, "k", h.incoming(b"x"), ObjectMetadata()),
            )
        h.backend("a").faults.clear()
        h.clock.advance(3600)
        h.backend("a").calls.clear()
        h.put("k", b"new")
        calls = [(called.verb, called.name) for called in h.backend("a").calls]
        self.assertEqual(calls[0], ("get", MARKER))
        self.assertEqual(h.get("k"), b"new")

    def test_deletes_wait(self) -> None:
        """On a backend that is another ledger's now nothing is deleted, and nothing forgotten."""
        h = Harness(backends=("a",))
        h.put("k", b"data")
        ours = h.backend("a").objects[MARKER]
        other = Marker("other", "a", 1)
        put = h.backend("a").put(MARKER, BytesBody(other.text()), Description("text/plain"), exclusive=False)
        h.run(put)
        h.core.owners.stale("a")
        h.delete("k")
        h.advance(10_000)
        self.assertEqual(h.stored(), {"a": {"photos/k": b"data"}})
        h.expect(
            BackendUnavailable, h.core.objects.writing.put(h.bucket, "l", h.incoming(b"x"), ObjectMetadata())
        )
        h.backend("a").objects[MARKER] = ours
        h.advance(120)
        h.advance(120)
        self.assertEqual(h.stored(), {"a": {}})

    def test_nobody_asked(self) -> None:
        """Backends that nobody looks after may be changed."""
        owners = Owners({})
        self.assertEqual((owners.is_shut("x"), owners.interval), (False, 60.0))
        self.successResultOf(start(owners.before_writing("x")))
        self.successResultOf(start(owners.before_removing("x")))
        self.assertIsNone(owners.traits_of("x", None))
