"""
What every backend must do, as tests: mix `BackendContract` into a trial `TestCase`.

`make_backend` returns an empty backend, whose traits are known.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from s3orchestrator.bodies.filtered import pump
from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.concurrency import start
from s3orchestrator.errors import (
    BackendError,
    BackendRefused,
    BlobChanged,
    BodyAborted,
    InvalidPart,
    NameTaken,
    NoSuchBlob,
    NoSuchUpload,
)
from s3orchestrator.interfaces import Description, IBackend, ListedObject, Stored, Traits
from s3orchestrator.protocol.ranges import ByteRange
from tests.contracts.bodies import PausingConsumer, PiecesBody, swallow
from tests.contracts.marker_contract import MarkerContract

if TYPE_CHECKING:
    from twisted.trial.unittest import TestCase as _Base
else:
    _Base = object

PLAIN = Description("text/plain", {"s3o": "1;ledger;7;1700000000000;", "colour": "blue"})
LIMIT = 256 * 1024 * 1024

# What clients really use, and what tempts file systems, URLs, XML and SQL.
ODD_NAMES = (
    "photos/2024/a.jpg",
    "photos/2024/a.jpg~01HZXW5N4T3S0ABCDEFGHJKMNP",
    "~s3o/abcdefgh~01HZXW5N4T3S0ABCDEFGHJKMNP",
    "a b/c+d",
    "q?x=1&y=2#z",
    "quote\"'<>&;",
    "back\\slash",
    "100%",
    "%2E%2e/%",
    "name%file",
    "name%more",
    "%e",
    "ümläut/日本語/😀",
    "e\u0301 is not é",
    "-rf *",
    "~",
    "UPPER/upper",
    "upper/UPPER",
    ".hidden",
    "...",
    ".s3o/identity",
    ".s3o/tmp/x",
    ".s3o",
    "lost+found",
    "lost+found/x",
    "x" * 255,
    "x" * 256,
    "x" * 1024,
    "é" * 512,
    "x/" * 100 + "end",
)

# Not every S3 service holds these; `Traits.exact_names` tells.
INEXACT_NAMES = (
    "/",
    "//",
    "/leading",
    "trailing/",
    "a//b",
    "a///b",
    ".",
    "..",
    "./a",
    "../../../../etc/passwd",
    "a/./b",
    "a/../b",
    "a/..",
    "beside",
    "beside/",
    "beside/below",
    "beside/below/deeper",
)

# XML 1.0 has no place for most of these, so services differ.
CONTROL_NAMES = ("line\nbreak", "tab\there", "carriage\rreturn", "bell\x07", "\x7f", "\x01/\x02")


class BackendContract(MarkerContract, _Base):
    """Tests of `IBackend`."""

    part_size = 1024  # S3 wants 5 MiB of every part but the last
    describes_late = True  # a service takes the description with the headers
    odd_names: Sequence[str] = ODD_NAMES + INEXACT_NAMES + CONTROL_NAMES
    reactor: Any

    async def make_backend(self) -> IBackend:
        """Return an empty backend that has been probed; clean up after it yourself."""
        raise NotImplementedError

    async def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.backend: Any = await self.make_backend()
        self.random = random.Random(self.id())

    # What they build with.

    @property
    def traits(self) -> Traits:
        assert self.backend.traits is not None
        return self.backend.traits  # type: ignore[no-any-return]

    def needs_exclusive(self, verb: str) -> None:
        if verb not in self.traits.exclusive:
            self.skipTest(f"{self.backend.name} does not refuse to replace with {verb}")

    def data(self, size: int) -> bytes:
        return self.random.randbytes(size)

    async def put(self, name: str, data: bytes, *, exclusive: bool = False) -> Stored:
        stored: Stored = await self.backend.put(name, BytesBody(data), PLAIN, exclusive=exclusive)
        return stored

    async def read(self, name: str, wanted: ByteRange | None = None, etag: str | None = None) -> bytes:
        fetched = await self.backend.get(name, wanted, etag=etag)
        return await collect(fetched.body, LIMIT)

    async def listed(self, **options: Any) -> list[str]:
        return [found.name for found in await self.backend.list_objects(**options)]

    async def begin(self, name: str, *sizes: int) -> tuple[str, list[bytes], list[tuple[int, str]]]:
        """Begin an upload with parts of these sizes."""
        upload = await self.backend.create_upload(name, PLAIN)
        contents = [self.data(size) for size in sizes]
        parts = []
        for number, content in enumerate(contents, 1):
            stored = await self.backend.put_part(name, upload, number, BytesBody(content))
            parts.append((number, stored.etag))
        return upload, contents, parts

    async def complete(self, name: str, upload: str, parts: Any, *, exclusive: bool = False) -> Stored:
        stored: Stored = await self.backend.complete_upload(name, upload, parts, exclusive=exclusive)
        return stored

    async def turns(self, count: int = 20) -> None:
        """Let the reactor, and threads, do what they still want to."""
        for _ in range(count):
            await deferLater(self.reactor, 0.001)

    async def assertAbsent(self, name: str) -> None:
        with self.assertRaises(NoSuchBlob):
            await self.backend.head(name)
        self.assertEqual(await self.listed(), [])

    # The interface.

    def test_interface(self) -> None:
        """It is a backend."""
        self.assertTrue(verifyObject(IBackend, self.backend))

    async def test_probe_again(self) -> None:
        """Probing tells the traits it already has."""
        self.assertEqual(await self.backend.probe(["one", "two//../three/"]), self.traits)

    # Putting and reading.

    async def test_round_trip(self) -> None:
        """What was put is read, by GET, HEAD and listing."""
        data = self.data(100_000)
        stored = await self.put("photos/a.jpg", data)
        self.assertEqual(await self.read("photos/a.jpg"), data)
        found = await self.backend.head("photos/a.jpg")
        self.assertEqual((found.size, found.etag), (len(data), stored.etag))
        (listed,) = await self.backend.list_objects()
        self.assertEqual((listed.name, listed.size, listed.etag), ("photos/a.jpg", len(data), stored.etag))
        # S3 lists milliseconds but tells whole seconds in a HEAD.
        self.assertLess(abs(listed.modified_ms - found.modified_ms), 1000)
        self.assertLess(abs(self.reactor.seconds() * 1000 - found.modified_ms), 60_000)

    async def test_fetched(self) -> None:
        """A reply tells the size of the object and of the body, and the ETag."""
        stored = await self.put("k", b"0123456789")
        fetched = await self.backend.get("k", ByteRange(2, 4))
        self.assertEqual((fetched.size, fetched.etag, fetched.body.length), (10, stored.etag, 3))
        self.assertEqual(await collect(fetched.body, 10), b"234")

    async def test_empty(self) -> None:
        """An object may be empty."""
        stored = await self.put("k", b"")
        self.assertEqual(await self.read("k"), b"")
        found = await self.backend.head("k")
        self.assertEqual((found.size, found.etag), (0, stored.etag))

    async def test_large(self) -> None:
        """A body of many pieces comes back as it was."""
        data = self.data(3_000_000)
        pieces = [data[start : start + 70_000] for start in range(0, len(data), 70_000)]
        body = PiecesBody(pieces, self.reactor, length=len(data))
        await self.backend.put("k", body, PLAIN, exclusive=False)
        self.assertEqual(await self.read("k"), data)

    async def test_description(self) -> None:
        """An object keeps what it says of itself, and nothing is added."""
        meta = {"s3o": "x;" * 500, "a": "1", "with-dash": 'v, w; x="y" % ~'}
        await self.backend.put(
            "k", BytesBody(b"x"), Description("application/x-é".replace("é", "e"), meta), exclusive=False
        )
        found = await self.backend.head("k")
        self.assertEqual((found.content_type, dict(found.meta)), ("application/x-e", meta))

    async def test_full_description(self) -> None:
        """All the metadata that S3 allows is kept, too."""
        meta = {"s3o": "y" * 900, "m": "z" * 1100}
        await self.backend.put("k", BytesBody(b"x"), Description("text/plain", meta), exclusive=False)
        self.assertEqual(dict((await self.backend.head("k")).meta), meta)

    async def test_late_description(self) -> None:
        """What is known only after the body is kept where that can be, and does no harm elsewhere."""
        asked_after: list[bool] = []
        body = PiecesBody([b"x", b"y"], self.reactor, length=2)

        def late() -> dict[str, str]:
            asked_after.append(body.written == 2)
            return {"s3o-etag": "late"}

        await self.backend.put("k", body, evolve(PLAIN, late=late), exclusive=False)
        added = {"s3o-etag": "late"} if self.describes_late else {}
        self.assertEqual(dict((await self.backend.head("k")).meta), {**PLAIN.meta, **added})
        self.assertEqual(asked_after, [True] if self.describes_late else [])
        upload, _, parts = await self.begin("u", 1)
        await self.backend.complete_upload("u", upload, parts, exclusive=False, late={"s3o-etag": "late"})
        self.assertEqual(dict((await self.backend.head("u")).meta), {**PLAIN.meta, **added})

    async def test_replace(self) -> None:
        """A put that is not exclusive replaces bytes, ETag and description."""
        first = await self.put("k", b"first")
        stored = await self.backend.put("k", BytesBody(b"other"), Description("a/b"), exclusive=False)
        found = await self.backend.head("k")
        self.assertEqual(await self.read("k"), b"other")
        self.assertEqual((found.etag, found.content_type, dict(found.meta)), (stored.etag, "a/b", {}))
        self.assertNotEqual(first.etag, stored.etag)

    async def test_ranges(self) -> None:
        """Any range can be read, of small and of larger objects."""
        for size in (10, 1_000_000):
            data = self.data(size)
            await self.put("k", data)
            for first, last in (
                (0, 0),
                (0, size - 1),
                (size - 1, size - 1),
                (3, 7),
                (size // 3, size // 3 * 2),
            ):
                self.assertEqual(await self.read("k", ByteRange(first, last)), data[first : last + 1])

    async def test_range_outside(self) -> None:
        """A range without a byte of the object is refused."""
        await self.put("k", b"0123456789")
        with self.assertRaises(BackendRefused) as caught:
            await self.read("k", ByteRange(10, 20))
        self.assertEqual(caught.exception.status, 416)

    async def test_etag_of_get(self) -> None:
        """A GET proves what it reads: with another ETag there is no body."""
        old = await self.put("k", b"old")
        self.assertEqual(await self.read("k", etag=old.etag), b"old")
        new = await self.put("k", b"new")
        with self.assertRaises(BlobChanged):
            await self.backend.get("k", etag=old.etag)
        self.assertEqual(await self.read("k", ByteRange(0, 1), etag=new.etag), b"ne")

    async def test_md5_etags(self) -> None:
        """Where ETags are said to be MD5, they are."""
        if not self.traits.md5_etags:
            self.skipTest("ETags are something else here")
        stored = await self.put("k", b"hello")
        self.assertEqual(stored.etag, "5d41402abc4b2a76b9719d911017c592")

    async def test_absent(self) -> None:
        """What is not there can be neither read nor copied, and that is not unavailability."""
        with self.assertRaises(NoSuchBlob):
            await self.backend.get("k")
        with self.assertRaises(NoSuchBlob):
            await self.backend.head("k")
        with self.assertRaises(NoSuchBlob):
            await self.backend.head("a/k")
        with self.assertRaises(NoSuchBlob):
            await self.backend.copy("k", "l", PLAIN, exclusive=False)
        self.assertEqual(await self.listed(), [])

    async def test_delete(self) -> None:
        """What is deleted is gone; deleting what is not there is no mistake."""
        await self.put("a/b/c", b"x")
        await self.put("a/d", b"y")
        await self.backend.delete("a/b/c")
        with self.assertRaises(NoSuchBlob):
            await self.backend.head("a/b/c")
        await self.backend.delete("a/b/c")
        await self.backend.delete("a/b")
        self.assertEqual(await self.listed(), ["a/d"])

    async def test_impossible_names(self) -> None:
        """A name that is empty or too long is refused."""
        for name in ("", "x" * 1025, "é" * 513):
            with self.assertRaises(BackendRefused):
                await self.put(name, b"x")

    # Exclusive creation.

    async def test_exclusive(self) -> None:
        """An exclusive put creates, but does not replace."""
        self.needs_exclusive("put")
        stored = await self.put("k", b"mine", exclusive=True)
        with self.assertRaises(NameTaken):
            await self.put("k", b"theirs", exclusive=True)
        with self.assertRaises(NameTaken):
            await self.put("k", self.data(1_000_000), exclusive=True)
        self.assertEqual(await self.read("k", etag=stored.etag), b"mine")

    async def test_exclusive_race(self) -> None:
        """Of many exclusive puts at once, exactly one wins, and it is its bytes that stay."""
        self.needs_exclusive("put")
        racers = [f"{number:02}".encode() * 1000 for number in range(20)]
        results = await DeferredList(
            [start(self.put("race/k", data, exclusive=True)) for data in racers], consumeErrors=True
        )
        won = [data for data, (success, _) in zip(racers, results, strict=True) if success]
        self.assertEqual(len(won), 1)
        for success, result in results:
            if not success:
                result.trap(NameTaken)
        self.assertEqual(await self.read("race/k"), won[0])

    async def test_exclusive_after_delete(self) -> None:
        """A name is free again when its object has been deleted."""
        self.needs_exclusive("put")
        for data in (b"one", b"two", b"three"):
            await self.put("a/k", data, exclusive=True)
            self.assertEqual(await self.read("a/k"), data)
            await self.backend.delete("a/k")

    # Bodies that fail.

    async def test_failing_body(self) -> None:
        """Nothing of a body that fails appears."""
        for size in (10, 600_000):
            body = PiecesBody([b"x" * size, BodyAborted("the client left")], self.reactor, length=size * 2)
            with self.assertRaises(BodyAborted):
                await self.backend.put("k", body, PLAIN, exclusive=False)
            await self.assertAbsent("k")

    async def test_failing_body_of_replacement(self) -> None:
        """The old object stays when the body of a new one fails."""
        stored = await self.put("k", b"old")
        body = PiecesBody([b"x" * 300_000, BodyAborted("the client left")], self.reactor, length=900_000)
        with self.assertRaises(BodyAborted):
            await self.backend.put("k", body, PLAIN, exclusive=False)
        self.assertEqual(await self.read("k", etag=stored.etag), b"old")

    async def test_cancelled_put(self) -> None:
        """Cancelling a put takes effect at once and stops the body; nothing appears."""
        for size in (10, 600_000):
            body = PiecesBody([b"x" * size, None], self.reactor, length=size * 2)
            putting = ensureDeferred(self.backend.put("k", body, PLAIN, exclusive=False))
            await body.at_hang
            putting.cancel()
            self.assertTrue(putting.called)
            await swallow(putting)
            self.assertTrue(body.stopped)
            await self.turns()
            await self.assertAbsent("k")

    async def test_cancelled_at_any_time(self) -> None:
        """A put cancelled at any moment leaves all or nothing."""
        data = self.data(300_000)
        for turn in range(8):
            putting = ensureDeferred(self.put(f"k{turn}", data))
            await self.turns(turn)
            putting.cancel()
            await DeferredList([putting], consumeErrors=True)
        await self.turns()
        for name in await self.listed():
            self.assertEqual(await self.read(name), data)

    # Pace.

    async def test_paused_read(self) -> None:
        """A consumer that pauses is sent no more until it resumes, and gets everything in the end."""
        data = self.data(2_000_000)
        await self.put("k", data)
        fetched = await self.backend.get("k")
        consumer = PausingConsumer()
        reading = start(pump(fetched.body, consumer))
        while not reading.called:
            await self.turns(2)
            before = consumer.size
            await self.turns(3)
            self.assertEqual(consumer.size, before)
            self.assertLess(max(map(len, consumer.received), default=0), 1_100_000)
            consumer.go_on()
        await reading
        self.assertEqual(b"".join(consumer.received), data)

    async def test_stopped_read(self) -> None:
        """A body may be stopped before it is started, while it moves, and twice."""
        await self.put("k", self.data(2_000_000))
        unread = await self.backend.get("k")
        unread.body.stopProducing()
        unread.body.stopProducing()
        fetched = await self.backend.get("k")
        consumer = PausingConsumer()
        reading = start(pump(fetched.body, consumer))
        await self.turns()
        reading.cancel()
        await swallow(reading)
        received = consumer.size
        await self.turns()
        self.assertEqual(consumer.size, received)

    async def test_many_at_once(self) -> None:
        """Reads and writes of many objects do not get into each other's way."""
        contents = {f"d{number % 5}/k{number}": self.data(1000 * number) for number in range(40)}
        await DeferredList([start(self.put(name, data)) for name, data in contents.items()])
        found = await DeferredList([start(self.read(name)) for name in contents])
        self.assertEqual([data for _, data in found], list(contents.values()))

    async def test_replaced_while_read(self) -> None:
        """A reader never gets a mixture of an object and the one that replaces it."""
        old, new = self.data(2_000_000), self.data(2_000_000)
        await self.put("k", old)
        fetched = await self.backend.get("k")
        consumer = PausingConsumer()
        reading = start(pump(fetched.body, consumer))
        await self.turns(3)
        await self.put("k", new)
        while not reading.called:
            consumer.go_on()
            await self.turns(1)
        ((success, _),) = await DeferredList([reading], consumeErrors=True)
        if success:
            self.assertEqual(b"".join(consumer.received), old)

    # Copying.

    async def test_copy(self) -> None:
        """A copy has the bytes of the source and a description of its own."""
        source = await self.put("a/source", self.data(400_000))
        description = Description("x/y", {"s3o": "other"})
        stored = await self.backend.copy(
            "a/source", "b/target", description, exclusive=False, source_etag=source.etag
        )
        found = await self.backend.head("b/target")
        self.assertEqual((found.etag, found.content_type), (stored.etag, "x/y"))
        self.assertEqual(dict(found.meta), {"s3o": "other"})
        self.assertEqual(await self.read("b/target"), await self.read("a/source"))
        self.assertEqual(dict((await self.backend.head("a/source")).meta), dict(PLAIN.meta))

    async def test_copy_of_nothing(self) -> None:
        """An empty object can be copied."""
        await self.put("k", b"")
        await self.backend.copy("k", "l", PLAIN, exclusive=False)
        self.assertEqual(await self.read("l"), b"")

    async def test_copy_survives_its_source(self) -> None:
        """A copy does not share the fate of its source."""
        await self.put("k", b"old")
        await self.backend.copy("k", "l", PLAIN, exclusive=False)
        await self.put("k", b"new")
        self.assertEqual(await self.read("l"), b"old")
        await self.backend.delete("k")
        self.assertEqual(await self.read("l"), b"old")

    async def test_copy_of_something_else(self) -> None:
        """A source with another ETag is not copied."""
        old = await self.put("k", b"old")
        await self.put("k", b"new")
        with self.assertRaises(BlobChanged):
            await self.backend.copy("k", "l", PLAIN, exclusive=False, source_etag=old.etag)
        self.assertEqual(await self.listed(), ["k"])

    async def test_exclusive_copy(self) -> None:
        """An exclusive copy does not replace."""
        self.needs_exclusive("copy")
        await self.put("k", b"source")
        await self.backend.copy("k", "l", PLAIN, exclusive=True)
        await self.put("k", b"changed")
        with self.assertRaises(NameTaken):
            await self.backend.copy("k", "l", PLAIN, exclusive=True)
        self.assertEqual(await self.read("l"), b"source")

    # Multipart uploads.

    async def test_multipart(self) -> None:
        """Parts become an object with the description of the upload; until then nothing is to be seen."""
        upload, contents, parts = await self.begin("a/k", self.part_size, self.part_size, 100)
        self.assertEqual(await self.listed(), [])
        stored = await self.complete("a/k", upload, parts)
        found = await self.backend.head("a/k")
        self.assertEqual((found.etag, found.content_type), (stored.etag, PLAIN.content_type))
        self.assertEqual(dict(found.meta), dict(PLAIN.meta))
        self.assertEqual(await self.read("a/k", etag=stored.etag), b"".join(contents))
        self.assertEqual(list(await self.backend.list_uploads()), [])

    async def test_single_part(self) -> None:
        """One part is enough, and may be empty."""
        for size in (100, 0):
            upload, contents, parts = await self.begin("k", size)
            stored = await self.complete("k", upload, parts)
            self.assertEqual(await self.read("k", etag=stored.etag), contents[0])

    async def test_replaced_part(self) -> None:
        """A part that is sent again replaces the first attempt, also with another size."""
        upload, contents, parts = await self.begin("k", self.part_size, 10)
        again = await self.backend.put_part("k", upload, 2, BytesBody(b"again, and longer"))
        self.assertNotEqual(again.etag, parts[1][1])
        with self.assertRaises(InvalidPart):
            await self.complete("k", upload, parts)
        await self.complete("k", upload, [parts[0], (2, again.etag)])
        self.assertEqual(await self.read("k"), contents[0] + b"again, and longer")

    async def test_some_parts(self) -> None:
        """Only the listed parts are used, whatever their numbers are."""
        upload = await self.backend.create_upload("k", PLAIN)
        contents = {3: self.data(self.part_size), 7: b"left out", 10_000: b"last"}
        etags = {}
        for number, content in contents.items():
            etags[number] = (await self.backend.put_part("k", upload, number, BytesBody(content))).etag
        await self.complete("k", upload, [(3, etags[3]), (10_000, etags[10_000])])
        self.assertEqual(await self.read("k"), contents[3] + b"last")

    async def test_invalid_parts(self) -> None:
        """A Complete that names parts which are not there fails, and can be corrected."""
        upload, contents, parts = await self.begin("k", self.part_size, 10)
        with self.assertRaises(InvalidPart):
            await self.complete("k", upload, [*parts, (3, parts[0][1])])
        with self.assertRaises(InvalidPart):
            await self.complete("k", upload, [parts[0], (2, parts[0][1])])
        with self.assertRaises(NoSuchBlob):
            await self.backend.head("k")
        await self.complete("k", upload, parts)
        self.assertEqual(await self.read("k"), b"".join(contents))

    async def test_failing_part(self) -> None:
        """A part whose body fails does not replace the one before it."""
        upload, contents, parts = await self.begin("k", 1000)
        body = PiecesBody([b"x" * 500_000, BodyAborted("the client left")], self.reactor, length=900_000)
        with self.assertRaises(BodyAborted):
            await self.backend.put_part("k", upload, 1, body)
        await self.complete("k", upload, parts)
        self.assertEqual(await self.read("k"), contents[0])

    async def test_cancelled_part(self) -> None:
        """Cancelling a part stops its body."""
        upload, _, _ = await self.begin("k")
        body = PiecesBody([b"x" * 500_000, None], self.reactor, length=900_000)
        putting = ensureDeferred(self.backend.put_part("k", upload, 1, body))
        await body.at_hang
        putting.cancel()
        await swallow(putting)
        self.assertTrue(body.stopped)
        await self.backend.abort_upload("k", upload)

    async def test_no_such_upload(self) -> None:
        """What was never begun, or was aborted, is not known."""
        aborted, _, parts = await self.begin("k", 10)
        await self.backend.abort_upload("k", aborted)
        for upload in (aborted, "0" * 32, "../../etc", "nonsense"):
            with self.assertRaises(NoSuchUpload):
                await self.backend.put_part("k", upload, 1, BytesBody(b"x"))
            with self.assertRaises(NoSuchUpload):
                await self.complete("k", upload, parts)
            await self.backend.abort_upload("k", upload)
        await self.assertAbsent("k")

    async def test_upload_of_another_name(self) -> None:
        """An upload is known under its own name only."""
        upload, _, _ = await self.begin("k")
        with self.assertRaises(NoSuchUpload):
            await self.backend.put_part("l", upload, 1, BytesBody(b"x"))
        await self.backend.abort_upload("k", upload)

    async def test_repeated_complete(self) -> None:
        """The same Complete again either gives the same answer or knows no upload; the object stays."""
        upload, contents, parts = await self.begin("k", self.part_size, 10)
        stored = await self.complete("k", upload, parts)
        try:
            again = await self.complete("k", upload, parts)
        except NoSuchUpload:
            pass
        else:
            self.assertEqual(again.etag, stored.etag)
        self.assertEqual(await self.read("k", etag=stored.etag), b"".join(contents))

    async def test_completed_twice_at_once(self) -> None:
        """Two of the same Complete at once make one object."""
        upload, contents, parts = await self.begin("k", self.part_size, 10)
        results = await DeferredList(
            [start(self.complete("k", upload, parts)) for _ in range(2)], consumeErrors=True
        )
        self.assertIn(True, [success for success, _ in results])
        found = await self.backend.head("k")
        for success, result in results:
            if success:
                self.assertEqual(result.etag, found.etag)
            else:
                result.trap(BackendError, NoSuchUpload, InvalidPart)
        self.assertEqual(await self.read("k"), b"".join(contents))

    async def test_exclusive_complete(self) -> None:
        """An exclusive Complete does not replace."""
        self.needs_exclusive("complete")
        upload, contents, parts = await self.begin("k", 10)
        await self.put("k", b"there before")
        with self.assertRaises(NameTaken):
            await self.complete("k", upload, parts, exclusive=True)
        self.assertEqual(await self.read("k"), b"there before")
        await self.backend.delete("k")
        await self.complete("k", upload, parts, exclusive=True)
        self.assertEqual(await self.read("k"), contents[0])

    async def test_list_uploads(self) -> None:
        """Uploads are found by prefix, several for one name, until they are over."""
        begun = {}
        for name in ("a/one", "a/one", "a/two", "b/three", "a//odd/"):
            if name == "a//odd/" and not self.traits.exact_names:
                continue
            begun[await self.backend.create_upload(name, PLAIN)] = name
        found = await self.backend.list_uploads()
        self.assertEqual({upload.upload_id: upload.name for upload in found}, begun)
        self.assertLess(abs(self.reactor.seconds() * 1000 - found[0].initiated_ms), 60_000)
        of_one = [upload.name for upload in await self.backend.list_uploads("a/one")]
        self.assertEqual(of_one, ["a/one", "a/one"])
        for upload, name in begun.items():
            await self.backend.abort_upload(name, upload)
        self.assertEqual(list(await self.backend.list_uploads()), [])

    async def test_copied_parts(self) -> None:
        """Parts can be made of objects and of ranges of them."""
        data = self.data(self.part_size * 2)
        source = await self.put("source", data)
        upload = await self.backend.create_upload("k", PLAIN)
        wanted = ByteRange(100, 99 + self.part_size)
        first = await self.backend.copy_part("k", upload, 1, "source", wanted, source_etag=source.etag)
        second = await self.backend.copy_part("k", upload, 2, "source", None)
        await self.complete("k", upload, [(1, first.etag), (2, second.etag)])
        self.assertEqual(await self.read("k"), data[100 : 100 + self.part_size] + data)

    async def test_copied_part_without_source(self) -> None:
        """A part is made of what it should be made of, or not at all."""
        await self.put("source", b"x" * 100)
        upload = await self.backend.create_upload("k", PLAIN)
        with self.assertRaises(NoSuchBlob):
            await self.backend.copy_part("k", upload, 1, "nothing", None)
        with self.assertRaises(BlobChanged):
            await self.backend.copy_part("k", upload, 1, "source", None, source_etag="0" * 32)
        with self.assertRaises(NoSuchUpload):
            await self.backend.copy_part("k", "0" * 32, 1, "source", None)
        await self.backend.abort_upload("k", upload)

    # Names and listings.

    async def test_odd_names(self) -> None:
        """Any name can be put, read, listed and deleted, and is told from all others."""
        for name in self.odd_names:
            await self.put(name, name.encode(), exclusive="put" in self.traits.exclusive)
        for name in self.odd_names:
            self.assertEqual(await self.read(name), name.encode())
        self.assertEqual(await self.listed(), sorted(self.odd_names, key=str.encode))
        for name in self.odd_names:
            await self.backend.delete(name)
        self.assertEqual(await self.listed(), [])

    async def test_odd_names_of_uploads(self) -> None:
        """Any name can be that of an upload, and of a copy."""
        await self.put("source", b"copied")
        for name in self.odd_names:
            upload, contents, parts = await self.begin(name, 10)
            await self.complete(name, upload, parts)
            self.assertEqual(await self.read(name), contents[0])
            await self.backend.copy("source", name, PLAIN, exclusive=False)
            self.assertEqual(await self.read(name), b"copied")

    async def test_beside(self) -> None:
        """`a` and `a/b` exist beside each other, whichever comes first and whichever goes first."""
        if not self.traits.exact_names:
            self.skipTest(f"{self.backend.name} does not hold every name exactly")
        names = ["a", "a/", "a/b", "a/b/c"]
        for attempt in range(10):
            order, goes = self.random.sample(names, 4), self.random.sample(names, 4)
            for name in order:
                await self.put(name, f"{attempt} {name}".encode(), exclusive="put" in self.traits.exclusive)
            for name in names:
                self.assertEqual(await self.read(name), f"{attempt} {name}".encode())
                await self.put(name, b"replaced")
            self.assertEqual(await self.listed(), names)
            for name in goes:
                self.assertEqual(await self.read(name), b"replaced")
                await self.backend.delete(name)
                with self.assertRaises(NoSuchBlob):
                    await self.backend.get(name)
            self.assertEqual(await self.listed(), [])

    async def test_listing_order(self) -> None:
        """Names are listed in byte order, which is neither that of files nor that of UTF-16."""
        names = [
            "a",
            "a!",
            "a-b",
            "a.b",
            "a/b",
            "a/b/c",
            "a0",
            "aa",
            "A",
            "é",
            "日",
            "\uff5e",
            "😀",
            "b/",
            "b",
        ]
        if not self.traits.exact_names:
            names = [name for name in names if name not in ("a", "a/b", "b", "b/")]
        for name in names:
            await self.put(name, b"")
        self.assertEqual(await self.listed(), sorted(names, key=str.encode))

    async def test_pages(self) -> None:
        """Pages of any size, one after the other, give every name once; a prefix narrows them."""
        names = sorted(
            {f"{self.random.choice('abc')}/{self.random.choice('xyz')}{n % 7}/{n}" for n in range(60)},
            key=str.encode,
        )
        for name in names:
            await self.put(name, b"x")
        for prefix in ("", "a", "a/", "b/x", "b/x3", "b/x3/", "c/y2/1", "nothing"):
            for limit in (1, 7, 1000):
                self.assertEqual(
                    await self._paged(prefix, limit), [name for name in names if name.startswith(prefix)]
                )

    async def _paged(self, prefix: str, limit: int) -> list[str]:
        found: list[str] = []
        while True:
            page: Sequence[ListedObject] = await self.backend.list_objects(
                prefix=prefix, after=found[-1] if found else "", limit=limit
            )
            self.assertLessEqual(len(page), limit)
            if not page:
                return found
            found += [one.name for one in page]

    async def test_after(self) -> None:
        """A page may begin after a name that does not exist, before or behind the prefix."""
        for name in ("a/1", "a/3", "b/1"):
            await self.put(name, b"")
        self.assertEqual(await self.listed(after="a/2"), ["a/3", "b/1"])
        self.assertEqual(await self.listed(after="a"), ["a/1", "a/3", "b/1"])
        self.assertEqual(await self.listed(prefix="b", after="a/2"), ["b/1"])
        self.assertEqual(await self.listed(prefix="a", after="b"), [])
        self.assertEqual(await self.listed(prefix="a/", after="a/3"), [])
