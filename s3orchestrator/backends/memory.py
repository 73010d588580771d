"""
A backend of dictionaries, for tests and trials: does what S3 does, or the wrong thing if told to.

It passes the contract suite of `IBackend`, so what works with it works with the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import md5
from typing import TypeVar

from attrs import Factory, define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from s3orchestrator.backends.faults import Fault, Faults, faulty_body, flipped, gather
from s3orchestrator.backends.memory_uploads import Part, Uploads, check_numbers
from s3orchestrator.errors import (
    BackendRefused,
    BackendUnavailable,
    BlobChanged,
    InvalidPart,
    NameTaken,
    NoSuchBlob,
    NoSuchUpload,
)
from s3orchestrator.interfaces import (
    Description,
    Fetched,
    Found,
    IBackend,
    ListedObject,
    ListedUpload,
    Stored,
    Traits,
)
from s3orchestrator.protocol.ranges import ByteRange

T = TypeVar("T")

_MAX_NAME = 1024


@frozen
class Called:
    """A call that was made: the method, the name of the object, and what was met."""

    verb: str
    name: str
    fault: Fault | None = None


@frozen
class Held:
    """An object."""

    data: bytes
    etag: str
    modified_ms: int
    description: Description
    upload: str | None = None


_REFUSALS = (NameTaken, NoSuchBlob, NoSuchUpload, InvalidPart, BlobChanged)
_WRONG_ETAG = "0" * 32
_TRAITS = Traits(exclusive=frozenset({"put", "copy", "complete"}))


@implementer(IBackend)
@define(eq=False)
class MemoryBackend:
    """
    Holds objects in `objects`, by name, for as long as the process lives.

    `faults` says what goes wrong, `calls` what has been asked for. Work that a fault made
    late waits in order until `catch_up`.
    """

    name: str
    _clock: IReactorTime
    traits: Traits | None = _TRAITS
    faults: Faults = Factory(Faults)
    objects: dict[str, Held] = Factory(dict)
    calls: list[Called] = Factory(list)
    _uploads: Uploads = field(init=False)
    _late: list[Callable[[], object]] = field(init=False, factory=list)
    _etags: int = field(init=False, default=0)

    @_uploads.default
    def _no_uploads(self) -> Uploads:
        return Uploads(self.name)

    def catch_up(self) -> None:
        """Do all the work that was late, now; what it cannot do any more is left out."""
        late, self._late = self._late, []
        for work in late:
            with suppress(*_REFUSALS):  # there is nobody to tell
                work()

    def copied(self, clock: IReactorTime) -> MemoryBackend:
        """Return another that holds the same now, and to which nothing goes wrong."""
        other = type(self)(self.name, clock, self.traits, objects=dict(self.objects))
        other._uploads, other._etags = self._uploads.copied(), self._etags
        return other

    def corrupt(self, name: str) -> None:
        """Let one bit of an object rot; its ETag stays."""
        held = self.objects[name]
        self.objects[name] = evolve(held, data=flipped(held.data))

    def down(self) -> None:
        """Refuse connections until `faults.clear()`."""
        self.faults.always(Fault.REFUSED)

    async def put(
        self, name: str, body: IBodyProducer, description: Description, *, exclusive: bool
    ) -> Stored:
        """Gather the body, then store it at once."""
        _check_names(name)
        fault = await self._meet("put", name)
        data = await gather(body, fault, self._lost)

        def store() -> Stored:
            self._refuse_taken("put", name, exclusive)
            return self._hold(name, data, description.whole())

        return await self._answer(fault, store)

    async def get(self, name: str, wanted: ByteRange | None = None, *, etag: str | None = None) -> Fetched:
        """Take the bytes as they are now; the body delivers them whatever becomes of the object."""
        _check_names(name)
        fault = await self._meet("get", name)

        def fetch() -> Fetched:
            held = self._find(name, etag)
            data = _part_of(held.data, wanted)
            size, tag = _lie(fault, held)
            return Fetched(size, tag, faulty_body(data, fault, self._lost))

        return await self._answer(fault, fetch)

    async def head(self, name: str) -> Found:
        """Tell of an object."""
        _check_names(name)
        fault = await self._meet("head", name)

        def find() -> Found:
            held = self._find(name)
            size, tag = _lie(fault, held)
            return Found(size, tag, held.modified_ms, held.description.content_type, held.description.meta)

        return await self._answer(fault, find)

    async def delete(self, name: str, version_id: str | None = None) -> None:
        """Forget an object."""
        _check_names(name)
        fault = await self._meet("delete", name)
        await self._answer(fault, lambda: self.objects.pop(name, None))

    async def copy(
        self,
        source: str,
        target: str,
        description: Description,
        *,
        exclusive: bool,
        source_etag: str | None = None,
    ) -> Stored:
        """Hold the same bytes twice."""
        _check_names(source, target)
        fault = await self._meet("copy", target)

        def copy() -> Stored:
            held = self._find(source, source_etag)
            self._refuse_taken("copy", target, exclusive)
            return self._hold(target, held.data, description)

        return await self._answer(fault, copy)

    async def create_upload(self, name: str, description: Description) -> str:
        """Begin with no parts."""
        _check_names(name)
        fault = await self._meet("create_upload", name)
        return await self._answer(fault, lambda: self._uploads.begin(name, description, self._now_ms()))

    async def put_part(self, name: str, upload_id: str, number: int, body: IBodyProducer) -> Stored:
        """Gather the body, then replace the part at once."""
        check_numbers([number])
        fault = await self._meet("put_part", name)
        self._uploads.check(name, upload_id)
        data = await gather(body, fault, self._lost)
        return await self._answer(fault, lambda: self._hold_part(name, upload_id, number, data))

    async def copy_part(
        self,
        name: str,
        upload_id: str,
        number: int,
        source: str,
        wanted: ByteRange | None,
        *,
        source_etag: str | None = None,
    ) -> Stored:
        """Hold the bytes as a part, too."""
        check_numbers([number])
        fault = await self._meet("copy_part", name)

        def copy() -> Stored:
            data = _part_of(self._find(source, source_etag).data, wanted)
            return self._hold_part(name, upload_id, number, data)

        return await self._answer(fault, copy)

    async def complete_upload(
        self,
        name: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        exclusive: bool,
        late: Mapping[str, str] | None = None,
    ) -> Stored:
        """Join the parts."""
        check_numbers([number for number, _ in parts])
        fault = await self._meet("complete_upload", name)
        return await self._answer(
            fault, lambda: self._complete(name, upload_id, parts, exclusive, late or {})
        )

    async def abort_upload(self, name: str, upload_id: str) -> None:
        """Forget the parts."""
        fault = await self._meet("abort_upload", name)
        await self._answer(fault, lambda: self._uploads.forget(name, upload_id))

    async def list_objects(
        self, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[ListedObject]:
        """Sort the names; Python orders strings as UTF-8 orders bytes."""
        fault = await self._meet("list_objects", prefix)

        def list_objects() -> list[ListedObject]:
            names = sorted(name for name in self.objects if name.startswith(prefix) and name > after)
            return [self._listed(name, fault) for name in names[:limit]]

        return await self._answer(fault, list_objects)

    async def list_uploads(self, prefix: str = "") -> Sequence[ListedUpload]:
        """Tell of all uploads, by name, then in the order in which they began."""
        fault = await self._meet("list_uploads", prefix)
        return await self._answer(fault, lambda: self._uploads.listed(prefix))

    async def list_versions(self, name: str) -> Sequence[tuple[str, bool]]:
        """There are none."""
        fault = await self._meet("list_versions", name)
        return await self._answer(fault, lambda: ())

    async def probe(self, scratch: Sequence[str]) -> Traits:
        """Known without asking."""
        assert self.traits is not None
        return self.traits

    async def close(self) -> None:
        """Nothing is held open."""

    async def _meet(self, verb: str, name: str) -> Fault | None:
        fault = self.faults.take(verb)
        self.calls.append(Called(verb, name, fault))
        if fault is Fault.REFUSED:
            raise BackendUnavailable(f"{self.name}: connection refused", sent=False)
        if fault is Fault.FAILED:
            raise BackendUnavailable(f"{self.name}: answered 500", replied=True)
        if fault is Fault.STALLED:
            await Deferred()
        return fault

    async def _answer(self, fault: Fault | None, work: Callable[[], T]) -> T:
        if fault is Fault.LATE:
            self._late.append(work)
            raise self._lost()
        if fault is Fault.LOST_ANSWER:
            with suppress(*_REFUSALS):
                work()
            raise self._lost()
        result = work()
        if fault is Fault.WRONG_ETAG and isinstance(result, Stored):
            return evolve(result, etag=_WRONG_ETAG)
        return result

    def _lost(self) -> BackendUnavailable:
        return BackendUnavailable(f"{self.name}: connection lost")

    def _find(self, name: str, etag: str | None = None) -> Held:
        held = self.objects.get(name)
        if held is None:
            raise NoSuchBlob(f"{self.name}: no object {name!r}")
        if etag is not None and held.etag != etag:
            raise BlobChanged(f"{self.name}: {name!r} has ETag {held.etag}, not {etag}")
        return held

    def _refuse_taken(self, verb: str, name: str, exclusive: bool) -> None:
        if exclusive and self.traits is not None and verb in self.traits.exclusive and name in self.objects:
            raise NameTaken(f"{self.name}: there is an object {name!r}")

    def _hold(self, name: str, data: bytes, description: Description) -> Stored:
        held = Held(data, self._etag_of(data), self._now_ms(), description)
        self.objects[name] = held
        return Stored(held.etag)

    def _hold_part(self, name: str, upload_id: str, number: int, data: bytes) -> Stored:
        part = Part(data, self._etag_of(data))
        self._uploads.put_part(name, upload_id, number, part)
        return Stored(part.etag)

    def _complete(
        self,
        name: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        exclusive: bool,
        late: Mapping[str, str],
    ) -> Stored:
        before = self.objects.get(name)
        if before is not None and before.upload == upload_id:
            return Stored(before.etag)
        joined = self._uploads.join(name, upload_id, parts)
        self._refuse_taken("complete", name, exclusive)
        description = evolve(joined.description, meta={**joined.description.meta, **late})
        self.objects[name] = Held(joined.data, joined.etag, self._now_ms(), description, upload_id)
        self._uploads.forget(name, upload_id)
        return Stored(joined.etag)

    def _listed(self, name: str, fault: Fault | None) -> ListedObject:
        held = self.objects[name]
        size, etag = _lie(fault, held)
        return ListedObject(name, size, etag, held.modified_ms)

    def _etag_of(self, data: bytes) -> str:
        if self.traits is None or self.traits.md5_etags:
            return md5(data, usedforsecurity=False).hexdigest()
        self._etags += 1
        return f"etag-{self._etags}"

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)


def _lie(fault: Fault | None, held: Held) -> tuple[int, str]:
    size = len(held.data) + (fault is Fault.WRONG_SIZE)
    return size, _WRONG_ETAG if fault is Fault.WRONG_ETAG else held.etag


def _part_of(data: bytes, wanted: ByteRange | None) -> bytes:
    if wanted is None:
        return data
    if wanted.start >= len(data):
        raise BackendRefused("no byte of the range is in the object", status=416, code="InvalidRange")
    return data[wanted.start : wanted.end + 1]


def _check_names(*names: str) -> None:
    for name in names:
        if not 0 < len(name.encode()) <= _MAX_NAME:
            raise BackendRefused(f"a name has 1 to {_MAX_NAME} bytes", status=400)
