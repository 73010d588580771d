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
_MAX_PARTS = 10_000


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


@frozen
class _Begun:
    """A multipart upload in progress; `parts` is changed."""

    name: str
    description: Description
    initiated_ms: int
    parts: dict[int, Held]


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
    _uploads: dict[str, _Begun] = field(init=False, factory=dict)
    _late: list[Callable[[], object]] = field(init=False, factory=list)
    _next_upload: int = field(init=False, default=1)
    _etags: int = field(init=False, default=0)

    def catch_up(self) -> None:
        """Do all the work that was late, now; what it cannot do any more is left out."""
        late, self._late = self._late, []
        for work in late:
            with suppress(*_REFUSALS):  # there is nobody to tell
                work()

    def copied(self, clock: IReactorTime) -> MemoryBackend:
        """Return another that holds the same now, and to which nothing goes wrong."""
        other = type(self)(self.name, clock, self.traits, objects=dict(self.objects))
        other._uploads = {
            number: evolve(begun, parts=dict(begun.parts)) for number, begun in self._uploads.items()
        }
        other._next_upload, other._etags = self._next_upload, self._etags
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

        def create() -> str:
            upload_id = f"upload-{self._next_upload}"
            self._next_upload += 1
            self._uploads[upload_id] = _Begun(name, description, self._now_ms(), {})
            return upload_id

        return await self._answer(fault, create)

    async def put_part(self, name: str, upload_id: str, number: int, body: IBodyProducer) -> Stored:
        """Gather the body, then replace the part at once."""
        _check_numbers([number])
        fault = await self._meet("put_part", name)
        self._upload(name, upload_id)
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
        _check_numbers([number])
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
        _check_numbers([number for number, _ in parts])
        fault = await self._meet("complete_upload", name)
        return await self._answer(
            fault, lambda: self._complete(name, upload_id, parts, exclusive, late or {})
        )

    async def abort_upload(self, name: str, upload_id: str) -> None:
        """Forget the parts."""
        fault = await self._meet("abort_upload", name)

        def abort() -> None:
            if upload_id in self._uploads and self._uploads[upload_id].name == name:
                del self._uploads[upload_id]

        await self._answer(fault, abort)

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

        def list_uploads() -> list[ListedUpload]:
            found = [
                ListedUpload(begun.name, upload_id, begun.initiated_ms)
                for upload_id, begun in self._uploads.items()
                if begun.name.startswith(prefix)
            ]
            return sorted(found, key=lambda upload: upload.name)

        return await self._answer(fault, list_uploads)

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

    def _upload(self, name: str, upload_id: str) -> _Begun:
        begun = self._uploads.get(upload_id)
        if begun is None or begun.name != name:
            raise NoSuchUpload(f"{self.name}: no upload {upload_id!r} of {name!r}")
        return begun

    def _hold_part(self, name: str, upload_id: str, number: int, data: bytes) -> Stored:
        begun = self._upload(name, upload_id)
        held = Held(data, self._etag_of(data), self._now_ms(), begun.description)
        begun.parts[number] = held
        return Stored(held.etag)

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
        begun = self._upload(name, upload_id)
        for number, etag in parts:
            if number not in begun.parts or begun.parts[number].etag != etag:
                raise InvalidPart(number, etag)
        self._refuse_taken("complete", name, exclusive)
        joined = [begun.parts[number] for number, _ in parts]
        digests = b"".join(md5(part.data, usedforsecurity=False).digest() for part in joined)
        etag = f"{md5(digests, usedforsecurity=False).hexdigest()}-{len(joined)}"
        data = b"".join(part.data for part in joined)
        description = evolve(begun.description, meta={**begun.description.meta, **late})
        self.objects[name] = Held(data, etag, self._now_ms(), description, upload_id)
        del self._uploads[upload_id]
        return Stored(etag)

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


def _check_numbers(numbers: Sequence[int]) -> None:
    in_order = all(before < number for before, number in zip([0, *numbers], numbers, strict=False))
    if not numbers or not in_order or numbers[-1] > _MAX_PARTS:
        raise BackendRefused(f"parts are numbered 1 to {_MAX_PARTS}, in ascending order", status=400)
