"""Where a copy comes from: `x-amz-copy-source` and the headers that go with it."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from attrs import frozen

from s3orchestrator.protocol.addressing import (
    MAX_KEY_BYTES,
    is_servable_bucket_name,
    parse_version_id,
)
from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.encoding import has_bad_escape
from s3orchestrator.protocol.errors import S3Error, invalid_argument
from s3orchestrator.protocol.ranges import ByteRange

_SOURCE = "x-amz-copy-source"
_RANGE = "x-amz-copy-source-range"
_DIRECTIVES = {None: False, "": False, "COPY": False, "REPLACE": True}
_CLOSED_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{1,18})\Z")


@frozen
class CopySource:
    """The object to copy; `version_id` is None for the latest version."""

    bucket: str
    key: str
    version_id: str | None = None

    @classmethod
    def of(cls, call: Call) -> CopySource:
        """
        Return what `call` wants copied.

        :raises S3Error: `InvalidArgument`.
        """
        return parse_copy_source(call.header(b"x-amz-copy-source") or "")


def parse_copy_source(value: str) -> CopySource:
    """
    Parse `[/]{bucket}/{key}[?versionId={id}]`, percent-encoded; latin-1 text, as headers are.

    The version is split off before decoding, so an encoded question mark stays in the key,
    and the rest is decoded as a whole: one SDK encodes the slash after the bucket too.

    :raises S3Error: `InvalidArgument`.
    """
    name, mark, version = value.rpartition("?versionId=")
    if not mark:
        name = value
    bucket, _, key = _decode(name, value).removeprefix("/").partition("/")
    if not is_servable_bucket_name(bucket) or not key or len(key.encode()) > MAX_KEY_BYTES:
        raise _malformed(value)
    return CopySource(bucket, key, parse_version_id(version) if mark else None)


def _decode(text: str, value: str) -> str:
    raw = text.encode("latin-1", "replace").replace(b"+", b" ")
    decoded = unquote_to_bytes(raw)
    if has_bad_escape(raw) or b"\0" in decoded:
        raise _malformed(value)
    try:
        return decoded.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed(value) from None


def _malformed(value: str) -> S3Error:
    return invalid_argument(
        _SOURCE,
        value,
        "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
    )


def replaces_metadata(call: Call) -> bool:
    """
    Tell whether the copy takes its metadata from the request rather than from the source.

    :raises S3Error: `InvalidArgument` for a directive that is neither COPY nor REPLACE.
    """
    return _replaces(call, "x-amz-metadata-directive", "Unknown metadata directive.")


def check_tagging_directive(call: Call) -> None:
    """
    Refuse an unknown `x-amz-tagging-directive`; no object has tags, so both known ones agree.

    :raises S3Error: `InvalidArgument`.
    """
    _replaces(call, "x-amz-tagging-directive", "Unknown tagging directive.")


def _replaces(call: Call, name: str, message: str) -> bool:
    value = call.header(name.encode())
    if value not in _DIRECTIVES:
        raise invalid_argument(name, value or "", message)
    return _DIRECTIVES[value]


def parse_copy_range(header: str | None, size: int) -> ByteRange | None:
    """
    Return the range of a part copy from a source of `size` bytes; None means all of it.

    Unlike `Range`, it must be closed and lie inside the source.

    :raises S3Error: `InvalidArgument`.
    """
    if header is None:
        return None
    found = _CLOSED_RANGE.match(header)
    if found is None:
        raise invalid_argument(
            _RANGE,
            header,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are"
            " the zero-based offsets of the first and last bytes to copy",
        )
    start, end = int(found[1]), int(found[2])
    if start > end or end >= size:
        raise invalid_argument(
            _RANGE, header, f"Range specified is not valid for source object of size: {size}"
        )
    return ByteRange(start, end)
