"""What is stored beside the bytes: content type, the headers S3 keeps, user metadata."""

from __future__ import annotations

import json
import re

from attrs import Factory, frozen

from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.errors import S3Error, invalid_argument

DEFAULT_CONTENT_TYPE = "binary/octet-stream"
MAX_USER_METADATA = 2048  # S3's own limit: bytes of all names, without prefix, and values
STANDARD = "STANDARD"

_PREFIX = b"x-amz-meta-"
_KEPT = {
    b"cache-control": "Cache-Control",
    b"content-disposition": "Content-Disposition",
    b"content-encoding": "Content-Encoding",
    b"content-language": "Content-Language",
    b"expires": "Expires",
}
_OVERRIDES = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}
_STORAGE_CLASSES = frozenset(
    {
        STANDARD,
        "DEEP_ARCHIVE",
        "GLACIER",
        "GLACIER_IR",
        "INTELLIGENT_TIERING",
        "ONEZONE_IA",
        "REDUCED_REDUNDANCY",
        "STANDARD_IA",
    }
)
# Would end a header line, or be refused by any proxy on the way back.
_UNFIT_FOR_HEADER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@frozen
class ObjectMetadata:
    """
    Everything a client said about an object, as it will be told again.

    Text is latin-1: each character is one byte of the header, so that the very bytes come
    back. `headers` has the names as they are written in answers; `user` has lower-case
    names without `x-amz-meta-`. There is one storage class; the field says which.
    """

    content_type: str = DEFAULT_CONTENT_TYPE
    headers: dict[str, str] = Factory(dict)
    user: dict[str, str] = Factory(dict)
    storage_class: str = STANDARD

    @classmethod
    def of(cls, call: Call) -> ObjectMetadata:
        """
        Return what the headers of an upload say about the object.

        :raises S3Error: `MetadataTooLarge`, `InvalidStorageClass` or `InvalidArgument`.
        """
        kept = {}
        for name, shown in _KEPT.items():
            if name in call.headers and (value := _fit(name, call.header(name) or "")):
                kept[shown] = value
        if "Content-Encoding" in kept:
            _set_or_drop(kept, "Content-Encoding", without_aws_chunked(kept["Content-Encoding"]))
        return cls(
            content_type=_fit(b"content-type", call.header(b"content-type") or "") or DEFAULT_CONTENT_TYPE,
            headers=kept,
            user=_user_metadata(call),
            storage_class=_storage_class(call.header(b"x-amz-storage-class")),
        )

    def response_headers(self) -> dict[str, str]:
        """Return the headers of a GET or HEAD that come from here."""
        shown = {"Content-Type": self.content_type, **self.headers}
        for name, value in self.user.items():
            shown["x-amz-meta-" + name] = value
        if self.storage_class != STANDARD:
            shown["x-amz-storage-class"] = self.storage_class
        return shown

    def to_json(self) -> str:
        """Return a compact ASCII form for the ledger; equal metadata gives equal text."""
        stored: dict[str, object] = {}
        if self.content_type != DEFAULT_CONTENT_TYPE:
            stored["type"] = self.content_type
        if self.headers:
            stored["headers"] = self.headers
        if self.user:
            stored["user"] = self.user
        if self.storage_class != STANDARD:
            stored["class"] = self.storage_class
        return json.dumps(stored, sort_keys=True, separators=(",", ":")) if stored else "{}"

    @classmethod
    def from_json(cls, text: str) -> ObjectMetadata:
        """Return what `to_json` was given."""
        if text == "{}":
            return cls()
        stored = json.loads(text)
        return cls(
            content_type=stored.get("type", DEFAULT_CONTENT_TYPE),
            headers=stored.get("headers", {}),
            user=stored.get("user", {}),
            storage_class=stored.get("class", STANDARD),
        )


def _fit(name: bytes, value: str) -> str:
    if _UNFIT_FOR_HEADER.search(value):
        raise invalid_argument(name.decode("latin-1"), value)
    return value


def _set_or_drop(headers: dict[str, str], name: str, value: str) -> None:
    if value:
        headers[name] = value
    else:
        del headers[name]


def without_aws_chunked(content_encoding: str) -> str:
    """Return a `Content-Encoding` without the tokens that only described the transfer."""
    tokens = [token.strip() for token in content_encoding.split(",")]
    if all(token.lower() != "aws-chunked" for token in tokens):
        return content_encoding
    return ",".join(token for token in tokens if token and token.lower() != "aws-chunked")


def _user_metadata(call: Call) -> dict[str, str]:
    user = {
        name[len(_PREFIX) :].decode("latin-1"): _fit(name, value)
        for name, value in call.headers_below(_PREFIX).items()
    }
    if user:
        size = sum(len(name) + len(value) for name, value in user.items())
        if size > MAX_USER_METADATA:
            raise S3Error("MetadataTooLarge", Size=size, MaxSizeAllowed=MAX_USER_METADATA)
    return user


def _storage_class(asked: str | None) -> str:
    """
    Return the class an object gets: there is only one, whatever known word was asked for.

    To answer GLACIER for bytes that can be read at once would make clients ask for a
    restore first.
    """
    if asked and asked not in _STORAGE_CLASSES:
        raise S3Error("InvalidStorageClass", StorageClassRequested=asked)
    return STANDARD


def response_overrides(call: Call) -> dict[str, str]:
    """
    Return the headers that the `response-*` parameters of a GET or HEAD put in place of stored ones.

    :raises S3Error: `InvalidArgument` for a value that no header can carry.
    """
    if b"response-" not in call.query:
        return {}
    overrides = {}
    for parameter, header in _OVERRIDES.items():
        value = call.parameters.get(parameter)
        if value is not None:
            if _UNFIT_FOR_HEADER.search(value):
                raise invalid_argument(parameter, value)
            overrides[header] = value.encode("utf-8").decode("latin-1")
    return overrides
