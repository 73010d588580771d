"""One S3 request as a value: what came over the wire, and what its parts mean once asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import define, field

from s3orchestrator.protocol.encoding import has_bad_escape
from s3orchestrator.protocol.errors import S3Error

# What the name of a header is made of (RFC 9110, 5.6.2).
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Never moved from a header into a presigned URL: they are the signature.
_SIGNING = frozenset(
    {
        b"x-amz-algorithm",
        b"x-amz-credential",
        b"x-amz-date",
        b"x-amz-expires",
        b"x-amz-signedheaders",
        b"x-amz-signature",
        b"x-amz-security-token",
    }
)


@define(eq=False, repr=False)
class Call:
    """
    One request, cheap to build: nothing is decoded before somebody asks.

    `target` is what the request line said, `path` and `query` are its halves, all undecoded:
    signatures are made over them. `headers` has lower-case names and values in the order
    they came. `body` is an `IBodyProducer`, None when there is none. `now` is Unix time.
    `bucket` and `key` are filled in by whoever resolves the address, once.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, list[bytes]]
    body: Any
    client: str
    secure: bool
    request_id: str
    now: float
    bucket: str | None = None
    key: str | None = None
    _parameters: dict[str, str] | None = field(init=False, default=None)
    _hoisted: dict[bytes, str] | None = field(init=False, default=None)

    def __repr__(self) -> str:
        # Without query and headers: they carry signatures.
        return f"<Call {self.method!r} {self.path!r} {self.request_id}>"

    @property
    def parameters(self) -> Mapping[str, str]:
        """
        The query, decoded: `+` and `%20` are spaces; of a repeated name the first counts.

        :raises S3Error: `InvalidURI`, if it is not UTF-8, badly escaped, or holds U+0000.
        """
        found = self._parameters
        if found is None:
            found = self._parameters = parse_query(self.query) if self.query else {}
        return found

    def header(self, name: bytes) -> str | None:
        """
        Return the value of the header `name` (lower case), several joined with commas.

        The text is latin-1, so that no byte is lost. In a presigned request an `x-amz-*`
        header may have been moved into the query; one that was sent as a header wins.
        """
        values = self.headers.get(name)
        if values is not None:
            return _joined(values)
        if self.query and name.startswith(b"x-amz-"):
            return self._moved().get(name)
        return None

    def names_below(self, prefix: bytes) -> list[bytes]:
        """Return the names that `headers_below` would, without the values."""
        names = [name for name in self.headers if name.startswith(prefix)]
        return names + [name for name in self._moved() if name.startswith(prefix)] if self.query else names

    def headers_below(self, prefix: bytes) -> dict[bytes, str]:
        """Return all headers whose name begins with `prefix` (lower case), by full name."""
        found = {name: _joined(values) for name, values in self.headers.items() if name.startswith(prefix)}
        if self.query:
            for name, value in self._moved().items():
                if name.startswith(prefix):
                    found.setdefault(name, value)
        return found

    def _moved(self) -> dict[bytes, str]:
        """Headers that were signed as part of the query; none unless the query bears the signature."""
        if self._hoisted is None:
            self._hoisted = _hoisted(self.query) if b"X-Amz-Signature=" in self.query else {}
        return self._hoisted


def _joined(values: list[bytes]) -> str:
    if len(values) == 1:
        return values[0].strip(b" \t").decode("latin-1")
    return b",".join(value.strip(b" \t") for value in values).decode("latin-1")


def parse_query(query: bytes) -> dict[str, str]:
    """
    Decode a query string; of a name that comes twice the first value counts.

    :raises S3Error: `InvalidURI`.
    """
    found: dict[str, str] = {}
    try:
        for field_ in query.split(b"&"):
            if field_:
                name, _, value = field_.partition(b"=")
                found.setdefault(_decoded(name).decode("utf-8"), _decoded(value).decode("utf-8"))
    except UnicodeDecodeError:
        raise S3Error("InvalidURI") from None
    return found


def _decoded(text: bytes) -> bytes:
    if b"+" in text:
        text = text.replace(b"+", b" ")
    if b"%" in text:
        if has_bad_escape(text):
            raise S3Error("InvalidURI")
        text = unquote_to_bytes(text)
    if b"\0" in text:
        raise S3Error("InvalidURI")
    return text


def _hoisted(query: bytes) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for field_ in query.split(b"&"):
        name, _, value = field_.partition(b"=")
        name = _decoded(name).lower()
        if name.startswith(b"x-amz-") and name not in _SIGNING:
            decoded = _decoded(value)
            if not _TOKEN.fullmatch(name) or b"\r" in decoded or b"\n" in decoded:
                # Legal in a query, but it would split the header it is going to be.
                raise S3Error("InvalidArgument", ArgumentName=name.decode("latin-1"))
            found.setdefault(name, decoded.strip(b" \t").decode("latin-1"))
    return found
