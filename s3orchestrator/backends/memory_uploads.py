"""The multipart uploads that a memory backend has in progress."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5

from attrs import define, evolve, field, frozen

from s3orchestrator.errors import BackendRefused, InvalidPart, NoSuchUpload
from s3orchestrator.interfaces import Description, ListedUpload

_MAX_PARTS = 10_000


@frozen
class Part:
    """A part as it was last sent."""

    data: bytes
    etag: str


@frozen
class _Begun:
    """A multipart upload in progress; `parts` is changed."""

    name: str
    description: Description
    initiated_ms: int
    parts: dict[int, Part]


@frozen
class Joined:
    """What the parts of an upload are together."""

    data: bytes
    etag: str
    description: Description


@define(eq=False)
class Uploads:
    """By id; one that is asked for by the name of another object is not there."""

    _backend: str
    _begun: dict[str, _Begun] = field(factory=dict)
    _next: int = 1

    def copied(self) -> Uploads:
        """Return others that are the same now."""
        begun = {upload_id: evolve(each, parts=dict(each.parts)) for upload_id, each in self._begun.items()}
        return Uploads(self._backend, begun, self._next)

    def begin(self, name: str, description: Description, now_ms: int) -> str:
        """Begin one with no parts; return its id."""
        upload_id = f"upload-{self._next}"
        self._next += 1
        self._begun[upload_id] = _Begun(name, description, now_ms, {})
        return upload_id

    def check(self, name: str, upload_id: str) -> None:
        """
        Pass if it is in progress.

        :raises NoSuchUpload: it is not.
        """
        self._find(name, upload_id)

    def put_part(self, name: str, upload_id: str, number: int, part: Part) -> None:
        """
        Hold a part, in place of an earlier one of that number.

        :raises NoSuchUpload: the upload is not in progress.
        """
        self._find(name, upload_id).parts[number] = part

    def join(self, name: str, upload_id: str, listed: Sequence[tuple[int, str]]) -> Joined:
        """
        Return the parts that are `listed`, as numbers and ETags, as one; the upload stays in progress.

        :raises NoSuchUpload: it is not in progress.
        :raises InvalidPart: one of them is not held, or is another one.
        """
        begun = self._find(name, upload_id)
        for number, etag in listed:
            if number not in begun.parts or begun.parts[number].etag != etag:
                raise InvalidPart(number, etag)
        parts = [begun.parts[number] for number, _ in listed]
        digests = b"".join(md5(part.data, usedforsecurity=False).digest() for part in parts)
        etag = f"{md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"
        return Joined(b"".join(part.data for part in parts), etag, begun.description)

    def forget(self, name: str, upload_id: str) -> None:
        """Let it go with its parts, if it is there."""
        if upload_id in self._begun and self._begun[upload_id].name == name:
            del self._begun[upload_id]

    def listed(self, prefix: str) -> Sequence[ListedUpload]:
        """Return those whose names begin with `prefix`, by name, then in the order in which they began."""
        found = [
            ListedUpload(begun.name, upload_id, begun.initiated_ms)
            for upload_id, begun in self._begun.items()
            if begun.name.startswith(prefix)
        ]
        return sorted(found, key=lambda upload: upload.name)

    def _find(self, name: str, upload_id: str) -> _Begun:
        begun = self._begun.get(upload_id)
        if begun is None or begun.name != name:
            raise NoSuchUpload(f"{self._backend}: no upload {upload_id!r} of {name!r}")
        return begun


def check_numbers(numbers: Sequence[int]) -> None:
    """
    Pass if parts may have these numbers, in this order.

    :raises BackendRefused: they may not.
    """
    in_order = all(before < number for before, number in zip([0, *numbers], numbers, strict=False))
    if not numbers or not in_order or numbers[-1] > _MAX_PARTS:
        raise BackendRefused(f"parts are numbered 1 to {_MAX_PARTS}, in ascending order", status=400)
