"""
Conditional requests: the If-Match family as values that give a verdict.

All conditions are falsy when the request made none, so that callers can skip what the
check would need.
"""

from __future__ import annotations

import re
from typing import Literal

from attrs import frozen

from s3orchestrator.errors import NoSuchKey, PreconditionFailed
from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.encoding import parse_http_date

# A tag with or without quotes, strong or weak; what stands between two is a comma.
_ETAG = re.compile(r'(?:W/)?"([^"]*)"|([^\s,"]+)')

ETags = tuple[str, ...]
Verdict = Literal["serve", "not_modified"]


def parse_etags(header: str | None) -> ETags | None:
    """Return the tags of an `If-Match` or `If-None-Match` without quotes; `*` stays as it is."""
    if header is None:
        return None
    return tuple(quoted or bare for quoted, bare in _ETAG.findall(header))


def _matches(tags: ETags, etag: str) -> bool:
    return etag in tags or "*" in tags


@frozen
class ReadCondition:
    """
    The conditions of a GET or HEAD, or of the source of a copy (`source`).

    The order of the checks is that of RFC 9110 section 13.2.2. Times are whole seconds,
    for that is what `Last-Modified` said. Where a read is answered 304 a copy fails: it
    has nothing it could have cached.
    """

    if_match: ETags | None = None
    if_none_match: ETags | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None
    source: bool = False

    @classmethod
    def of(cls, call: Call) -> ReadCondition:
        """Return the conditions of a GET or HEAD."""
        headers = call.headers
        if not (
            b"if-none-match" in headers
            or b"if-match" in headers
            or b"if-modified-since" in headers
            or b"if-unmodified-since" in headers
        ):
            return UNCONDITIONAL_READ
        return cls._below(call, b"")

    @classmethod
    def of_copy_source(cls, call: Call) -> ReadCondition:
        """Return the conditions that a copy makes on its source."""
        return cls._below(call, b"x-amz-copy-source-")

    @classmethod
    def _below(cls, call: Call, prefix: bytes) -> ReadCondition:
        since = _date(call, prefix + b"if-modified-since")
        if since is not None and since > call.now:
            since = None  # RFC 9110 section 13.1.3: a date in the future is no date
        return cls(
            if_match=parse_etags(call.header(prefix + b"if-match")),
            if_none_match=parse_etags(call.header(prefix + b"if-none-match")),
            if_modified_since=since,
            if_unmodified_since=_date(call, prefix + b"if-unmodified-since"),
            source=bool(prefix),
        )

    def __bool__(self) -> bool:
        return not (
            self.if_match is None
            and self.if_none_match is None
            and self.if_modified_since is None
            and self.if_unmodified_since is None
        )

    def check(self, etag: str, modified_ms: int) -> Verdict:
        """
        Say whether an object with that ETag and time is to be served.

        :raises PreconditionFailed: with the name of the header that said no.
        """
        modified = modified_ms // 1000
        if self.if_match is not None:
            if not _matches(self.if_match, etag):
                raise self._failed("If-Match")
        elif self.if_unmodified_since is not None and modified > self.if_unmodified_since:
            raise self._failed("If-Unmodified-Since")
        if self.if_none_match is not None:
            if _matches(self.if_none_match, etag):
                return self._not_modified("If-None-Match")
        elif self.if_modified_since is not None and modified <= self.if_modified_since:
            return self._not_modified("If-Modified-Since")
        return "serve"

    def _not_modified(self, header: str) -> Verdict:
        if self.source:
            raise self._failed(header)
        return "not_modified"

    def _failed(self, header: str) -> PreconditionFailed:
        return PreconditionFailed(f"x-amz-copy-source-{header}" if self.source else header)


def _date(call: Call, name: bytes) -> int | None:
    value = call.header(name)
    return None if value is None else parse_http_date(value)


@frozen
class WriteCondition:
    """What a write or delete demands of the object that is there now."""

    if_match: ETags | None = None
    if_none_match: ETags | None = None

    @classmethod
    def of(cls, call: Call) -> WriteCondition:
        """Return the conditions of a request that writes or deletes."""
        headers = call.headers
        if b"if-match" not in headers and b"if-none-match" not in headers:
            return UNCONDITIONAL_WRITE
        return cls(
            if_match=parse_etags(call.header(b"if-match")),
            if_none_match=parse_etags(call.header(b"if-none-match")),
        )

    def __bool__(self) -> bool:
        return self.if_match is not None or self.if_none_match is not None

    def check(self, current_etag: str | None) -> None:
        """
        Decide about the latest version; `current_etag` is None if there is none to be read.

        :raises PreconditionFailed: with the name of the header that said no.
        :raises NoSuchKey: `If-Match` was given and there is nothing to match.
        """
        if self.if_match is not None:
            if current_etag is None:
                raise NoSuchKey("If-Match")
            if not _matches(self.if_match, current_etag):
                raise PreconditionFailed("If-Match")
        if current_etag is None or self.if_none_match is None:
            return
        if _matches(self.if_none_match, current_etag):
            raise PreconditionFailed("If-None-Match")


UNCONDITIONAL_READ = ReadCondition()
UNCONDITIONAL_WRITE = WriteCondition()
