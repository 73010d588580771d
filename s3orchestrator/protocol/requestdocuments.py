"""The documents that clients send, read as they arrive."""

from __future__ import annotations

import re
from itertools import pairwise

from attrs import define, field, frozen

from s3orchestrator.protocol.addressing import MAX_PART_NUMBER
from s3orchestrator.protocol.checksums import BY_ELEMENT, Checksum
from s3orchestrator.protocol.errors import S3Error, invalid_argument, not_implemented
from s3orchestrator.protocol.xml import Reader, malformed

MAX_DELETE_KEYS = 1000  # S3's own limit for one DeleteObjects request
MAX_CONFIGURATION = 1024 * 1024
MAX_LIST = 2 * 1024 * 1024  # 10000 parts with all their checksums come near that

_PART_NUMBER = re.compile(r"-?[0-9]{1,18}\Z")


@frozen
class DeleteEntry:
    """One object to delete; `etag` is None or what it must have, without quotes, or `*`."""

    key: str
    version_id: str | None = None
    etag: str | None = None


@frozen
class DeleteRequest:
    """The objects of a DeleteObjects, in the order they were listed."""

    entries: tuple[DeleteEntry, ...]
    quiet: bool = False


class DeleteReader(Reader):
    """Reads the document of DeleteObjects."""

    root = "Delete"
    max_bytes = MAX_LIST

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[DeleteEntry] = []
        self._fields: dict[str, str] = {}
        self._quiet = False

    def opened(self, depth: int, name: str) -> None:
        if depth == 2 and name == "Object":
            if len(self._entries) == MAX_DELETE_KEYS:
                raise malformed()
            self._fields = {}

    def closed(self, depth: int, name: str, text: str) -> None:
        if depth == 3:
            _take_field(self._fields, name, text)
        elif depth == 2 and name == "Object":
            self._entries.append(_delete_entry(self._fields))
        elif depth == 2 and name == "Quiet":
            self._quiet = _truth(text)

    def finish(self) -> DeleteRequest:
        """
        Return what the document says.

        :raises S3Error: `MissingRequestBodyError` or `MalformedXML`.
        """
        if not self.size:
            raise S3Error("MissingRequestBodyError")
        self.close()
        if not self._entries:
            raise malformed()
        return DeleteRequest(tuple(self._entries), self._quiet)


def _take_field(fields: dict[str, str], name: str, text: str) -> None:
    if name in fields:
        raise malformed()
    fields[name] = text


def _truth(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("true", "false", "1", "0"):
        raise malformed()
    return word in ("true", "1")


def _delete_entry(fields: dict[str, str]) -> DeleteEntry:
    key = fields.get("Key")
    if not key:
        raise malformed()
    if "LastModifiedTime" in fields or "Size" in fields:
        raise not_implemented()  # conditions of directory buckets
    etag = fields.get("ETag")
    return DeleteEntry(key, fields.get("VersionId") or None, None if etag is None else _bare(etag))


def _bare(etag: str) -> str:
    return etag.strip().removeprefix('"').removesuffix('"')


@frozen
class CompletedPart:
    """A part as the client lists it: the ETag without quotes, and the checksums it gave."""

    number: int
    etag: str
    checksums: tuple[Checksum, ...] = ()

    @property
    def checksum(self) -> Checksum | None:
        """The checksum, for an upload has only one algorithm."""
        return self.checksums[0] if self.checksums else None


@define
class _OpenPart:
    fields: dict[str, str] = field(factory=dict)
    checksums: list[Checksum] = field(factory=list)

    def take(self, name: str, text: str) -> None:
        algorithm = BY_ELEMENT.get(name)
        if algorithm is not None:
            self.checksums.append(Checksum.parse(algorithm.name, text.strip()))
        else:
            _take_field(self.fields, name, text)

    def finish(self) -> CompletedPart:
        number, etag = self.fields.get("PartNumber", "").strip(), _bare(self.fields.get("ETag", ""))
        if not _PART_NUMBER.match(number) or not etag:
            raise malformed()
        return CompletedPart(int(number), etag, tuple(self.checksums))


class CompleteReader(Reader):
    """Reads the document of CompleteMultipartUpload."""

    root = "CompleteMultipartUpload"
    max_bytes = MAX_LIST

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[CompletedPart] = []
        self._part = _OpenPart()

    def opened(self, depth: int, name: str) -> None:
        if depth == 2 and name == "Part":
            if len(self._parts) == MAX_PART_NUMBER:
                raise malformed()
            self._part = _OpenPart()

    def closed(self, depth: int, name: str, text: str) -> None:
        if depth == 3:
            self._part.take(name, text)
        elif depth == 2 and name == "Part":
            self._parts.append(self._part.finish())

    def finish(self) -> tuple[CompletedPart, ...]:
        """
        Return the parts, ascending by number.

        :raises S3Error: in this order, `MalformedXML`, `InvalidArgument`, `InvalidPartOrder`.
        """
        self.close()
        if not self._parts:
            raise malformed()
        _check_numbers(self._parts)
        return tuple(self._parts)


def _check_numbers(parts: list[CompletedPart]) -> None:
    for part in parts:
        if not 1 <= part.number <= MAX_PART_NUMBER:
            raise invalid_argument(
                "PartNumber",
                str(part.number),
                f"Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive",
            )
    for before, part in pairwise(parts):
        if part.number <= before.number:
            raise S3Error("InvalidPartOrder")


class CreateBucketReader(Reader):
    """Reads the document of CreateBucket, which may be left out."""

    root = "CreateBucketConfiguration"
    max_bytes = MAX_CONFIGURATION

    def __init__(self) -> None:
        super().__init__()
        self._constraint: str | None = None

    def opened(self, depth: int, name: str) -> None:
        if depth == 2 and name in ("Location", "Bucket", "Tags"):
            raise not_implemented()  # directory buckets; tags we would not keep

    def closed(self, depth: int, name: str, text: str) -> None:
        if depth == 2 and name == "LocationConstraint":
            self._constraint = text.strip()

    def finish(self, region: str) -> None:
        """
        Check that the bucket is wanted here.

        :raises S3Error: `MalformedXML`, or `InvalidLocationConstraint` for another region.
        """
        if self.size:
            self.close()
        if self._constraint and self._constraint != region:
            raise S3Error("InvalidLocationConstraint", LocationConstraint=self._constraint)
