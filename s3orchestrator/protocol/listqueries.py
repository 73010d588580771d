"""What the parameters of a listing ask for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from attrs import frozen

from s3orchestrator.protocol.errors import S3Error, invalid_argument
from s3orchestrator.protocol.listing import MAX_KEYS, START, Pager, Position, R

MAX_BUCKETS = 10000  # S3's own limit

_ATTRIBUTES = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})
_INTEGER = re.compile(r"-?[0-9]{1,10}\Z")
_MOST = 2**31 - 1  # S3 reads these numbers as 32-bit integers

Parameters = Mapping[str, str]


def parse_limit(parameters: Parameters, name: str, *, most: int = MAX_KEYS) -> int:
    """
    Return how many entries are wanted: `most` if nothing was said or more than that.

    :raises S3Error: `InvalidArgument`.
    """
    return min(_integer(parameters, name, default=most), most)


def _integer(parameters: Parameters, name: str, *, default: int) -> int:
    text = parameters.get(name)
    if not text:
        return default
    if not _INTEGER.match(text) or int(text) > _MOST:
        raise invalid_argument(name, text, f"Provided {name} not an integer or within integer range")
    if int(text) < 0:
        raise invalid_argument(name, text, f"{name} cannot be negative")
    return int(text)


def _wants_url(parameters: Parameters) -> bool:
    text = parameters.get("encoding-type")
    if not text:
        return False
    if text != "url":
        raise invalid_argument("encoding-type", text, "Invalid Encoding Method specified in Request")
    return True


@frozen
class ListQuery:
    """
    A listing of objects, versions or uploads, as asked for.

    `position` is where it begins, `url` that names are to be percent-encoded. The rest is
    what the answer repeats: `marker` and `id_marker` as they came, `start_after` and
    `token` None if they did not.
    """

    prefix: str = ""
    delimiter: str = ""
    limit: int = MAX_KEYS
    url: bool = False
    position: Position = START
    marker: str = ""
    id_marker: str = ""
    start_after: str | None = None
    token: str | None = None
    fetch_owner: bool = False

    @classmethod
    def objects(cls, parameters: Parameters) -> ListQuery:
        """
        Read the parameters of ListObjects.

        :raises S3Error: `InvalidArgument`.
        """
        return cls._marked(parameters, "marker", "", "max-keys")

    @classmethod
    def versions(cls, parameters: Parameters) -> ListQuery:
        """
        Read the parameters of ListObjectVersions.

        :raises S3Error: `InvalidArgument`.
        """
        query = cls._marked(parameters, "key-marker", "version-id-marker", "max-keys")
        if query.id_marker and not query.marker:
            raise invalid_argument(
                "version-id-marker",
                query.id_marker,
                "A version-id marker cannot be specified without a key marker.",
            )
        return query

    @classmethod
    def uploads(cls, parameters: Parameters) -> ListQuery:
        """
        Read the parameters of ListMultipartUploads.

        :raises S3Error: `InvalidArgument`.
        """
        return cls._marked(parameters, "key-marker", "upload-id-marker", "max-uploads")

    @classmethod
    def _marked(cls, parameters: Parameters, marker: str, id_marker: str, limit: str) -> ListQuery:
        prefix, delimiter = parameters.get("prefix", ""), parameters.get("delimiter", "")
        name, row_id = parameters.get(marker, ""), parameters.get(id_marker, "")
        return cls(
            prefix=prefix,
            delimiter=delimiter,
            limit=parse_limit(parameters, limit),
            url=_wants_url(parameters),
            position=Position.of_marker(name, prefix, delimiter, row_id or None) if name else START,
            marker=name,
            id_marker=row_id,
        )

    @classmethod
    def objects_v2(cls, parameters: Parameters) -> ListQuery:
        """
        Read the parameters of ListObjectsV2.

        :raises S3Error: `InvalidArgument`.
        """
        start_after, token = parameters.get("start-after"), parameters.get("continuation-token")
        return cls(
            prefix=parameters.get("prefix", ""),
            delimiter=parameters.get("delimiter", ""),
            limit=parse_limit(parameters, "max-keys"),
            url=_wants_url(parameters),
            position=Position.of_token(token) if token else Position(start_after or ""),
            start_after=start_after,
            token=token,
            fetch_owner=parameters.get("fetch-owner") == "true",
        )

    def pager(self, row_id: Callable[[R], str] | None = None) -> Pager[R]:
        """Return the pager for this listing; `row_id` where one key may have several rows."""
        return Pager(
            prefix=self.prefix,
            delimiter=self.delimiter,
            limit=self.limit,
            position=self.position,
            row_id=row_id,
        )


@frozen
class PartsQuery:
    """A listing of parts: at most `limit`, with numbers greater than `marker`."""

    limit: int = MAX_KEYS
    marker: int = 0
    url: bool = False

    @classmethod
    def of(cls, parameters: Parameters) -> PartsQuery:
        """
        Read the parameters of ListParts.

        :raises S3Error: `InvalidArgument`.
        """
        return cls(
            limit=parse_limit(parameters, "max-parts"),
            marker=_integer(parameters, "part-number-marker", default=0),
            url=_wants_url(parameters),
        )


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=Named)


@frozen
class BucketsQuery:
    """A listing of buckets. `paged` tells that a limit was given; without one all come at once."""

    prefix: str = ""
    limit: int = MAX_BUCKETS
    after: str = ""
    paged: bool = False

    @classmethod
    def of(cls, parameters: Parameters) -> BucketsQuery:
        """
        Read the parameters of ListBuckets.

        :raises S3Error: `InvalidArgument`.
        """
        asked = parameters.get("max-buckets")
        limit = _integer(parameters, "max-buckets", default=MAX_BUCKETS)
        if not 1 <= limit <= MAX_BUCKETS:
            raise invalid_argument("max-buckets", asked or "", f"max-buckets must be 1 to {MAX_BUCKETS}")
        return cls(
            prefix=parameters.get("prefix", ""),
            limit=limit,
            after=Position.of_token(parameters.get("continuation-token", "")).name,
            paged=bool(asked),
        )

    def select(self, buckets: Sequence[N]) -> tuple[list[N], str | None]:
        """Return this page of `buckets`, by name, and the token of the next one if there is one."""
        found = sorted(
            (b for b in buckets if b.name.startswith(self.prefix) and b.name > self.after),
            key=lambda bucket: bucket.name,
        )
        if not self.paged or len(found) <= self.limit:
            return found, None
        page = found[: self.limit]
        return page, Position(page[-1].name).token()


@frozen
class AttributesQuery:
    """What GetObjectAttributes is to tell."""

    wanted: frozenset[str]
    max_parts: int = MAX_KEYS
    part_marker: int = 0

    @classmethod
    def of(cls, attributes: str | None, max_parts: str | None, part_marker: str | None) -> AttributesQuery:
        """
        Read the headers `x-amz-object-attributes`, `x-amz-max-parts`, `x-amz-part-number-marker`.

        :raises S3Error: `InvalidRequest` if nothing is asked for, else `InvalidArgument`.
        """
        words = [word.strip() for word in (attributes or "").split(",") if word.strip()]
        if not words:
            raise S3Error("InvalidRequest", "The x-amz-object-attributes header is required.")
        for word in words:
            if word not in _ATTRIBUTES:
                raise invalid_argument("x-amz-object-attributes", word, "Invalid attribute name specified.")
        numbers = {"x-amz-max-parts": max_parts or "", "x-amz-part-number-marker": part_marker or ""}
        return cls(
            wanted=frozenset(words),
            max_parts=parse_limit(numbers, "x-amz-max-parts"),
            part_marker=_integer(numbers, "x-amz-part-number-marker", default=0),
        )
