"""What a request names: bucket, key, version, part; and which names there may be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from s3orchestrator.protocol.encoding import has_bad_escape
from s3orchestrator.protocol.errors import S3Error, invalid_argument

MAX_KEY_BYTES = 1024  # S3's own limit
MAX_PART_NUMBER = 10000  # S3's own limit

RESERVED_NAMES = frozenset({"health", "metrics", "admin", "ui"})  # paths of our own, below the same root

_VALID_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?![.-])){1,61}[a-z0-9]\Z")
_OLDER_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}\Z")
_ADDRESS = re.compile(r"[0-9]+(?:\.[0-9]+){3}\Z")
_AMAZONS_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_AMAZONS_SUFFIXES = ("-s3alias", "--ol-s3", "--x-s3")
_VERSION_ID = re.compile(r"[A-Za-z0-9._~+/=-]{1,1024}\Z")
_PART_NUMBER = re.compile(r"[0-9]{1,9}\Z")


def resolve(host: str, path: bytes, domains: Iterable[str] = ()) -> tuple[str | None, str | None]:
    """
    Return the bucket and the key that a request is about; None for what it does not name.

    `path` is the path as it was sent: it is decoded once and otherwise left alone, so `//`,
    `..` and a trailing slash belong to the key. `domains` are the base names under which
    the bucket may be part of `host`.

    :raises S3Error: `InvalidURI`, `InvalidBucketName` or `KeyTooLongError`.
    """
    if path[:1] != b"/":
        raise S3Error("InvalidURI")
    decoded = _decode(path[1:])
    bucket = bucket_of_host(host, domains) if domains else None
    if bucket is not None:
        return bucket, _key(decoded)
    if not decoded:
        return None, None
    bucket, _, rest = decoded.partition("/")
    if not bucket:
        raise S3Error("InvalidBucketName", BucketName="")
    return bucket, _key(rest)


def bucket_of_host(host: str, domains: Iterable[str]) -> str | None:
    """
    Return the bucket in the `Host` of a virtual-hosted request, None for path style.

    The configured suffix is taken off, not the first label: names may hold dots. A host
    that is itself a base is path style, even below another base.
    """
    name = _without_port(host).lower()
    bucket: str | None = None
    for domain in domains:
        base = domain.lower()
        if name == base:
            return None
        if name.endswith("." + base):
            candidate = name[: -len(base) - 1]
            if bucket is None or len(candidate) < len(bucket):
                bucket = candidate
    return bucket or None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].rstrip(".")


def _decode(path: bytes) -> str:
    if b"%" in path:
        if has_bad_escape(path):
            raise S3Error("InvalidURI")
        path = unquote_to_bytes(path)
    if b"\0" in path:
        # Databases cannot hold it in text, and no client means it.
        raise S3Error("InvalidURI")
    try:
        return path.decode("utf-8")
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None


def _key(text: str) -> str | None:
    if not text:
        return None
    check_key_length(text)
    return text


def check_key_length(key: str) -> None:
    """
    Refuse a key that is too long.

    :raises S3Error: `KeyTooLongError`.
    """
    if len(key) * 4 > MAX_KEY_BYTES:  # below that no encoding can be longer
        size = len(key.encode())
        if size > MAX_KEY_BYTES:
            raise S3Error("KeyTooLongError", Size=size, MaxSizeAllowed=MAX_KEY_BYTES)


def is_reserved_name(name: str) -> bool:
    """Tell whether a bucket of that name would be hidden by paths of our own."""
    return name in RESERVED_NAMES or name.startswith("~")


def is_valid_bucket_name(name: str) -> bool:
    """Tell whether CreateBucket may make a bucket of that name: S3's rules, and ours."""
    return (
        _VALID_NAME.match(name) is not None
        and "-." not in name
        and not name.startswith(_AMAZONS_PREFIXES)
        and not name.endswith(_AMAZONS_SUFFIXES)
        and not _ADDRESS.match(name)
        and not is_reserved_name(name)
    )


def is_servable_bucket_name(name: str) -> bool:
    """
    Tell whether the configuration file may name that bucket.

    Looser than S3's rules, for buckets that are older than these: capitals, underscores,
    one letter, up to 255.
    """
    return _OLDER_NAME.match(name) is not None and not is_reserved_name(name)


def parse_version_id(text: str | None) -> str | None:
    """
    Return the `versionId` of a request, None when it names no version.

    :raises S3Error: `InvalidArgument` for an id that nobody could have given out.
    """
    if text is None or _VERSION_ID.match(text):
        return text
    raise invalid_argument("versionId", text, "Invalid version id specified")


def parse_part_number(text: str | None) -> int:
    """
    Return a part number of a request.

    :raises S3Error: `InvalidArgument` for anything but 1 to 10000.
    """
    if text is not None and _PART_NUMBER.match(text) and 1 <= int(text) <= MAX_PART_NUMBER:
        return int(text)
    raise invalid_argument(
        "partNumber",
        text or "",
        f"Part number must be an integer between 1 and {MAX_PART_NUMBER}, inclusive",
    )
