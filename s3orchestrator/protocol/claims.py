"""What a signed request claims, before anybody has checked that it is true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import Protocol

from attrs import frozen

from s3orchestrator.protocol.canonical import ALGORITHM, parse_timestamp, timestamp
from s3orchestrator.protocol.encoding import parse_http_date
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.forms import PayloadForm
from s3orchestrator.values import value

# No region's name comes near; longer ones only fill our caches.
MAX_REGION = 64

MAX_CREDENTIAL = 256  # bytes; an access key id has 128 at most

# Longer lists are worked out each time: anybody can send them, and a cache would keep them.
_CACHED = 512


class Signed(Protocol):
    """
    The parts of a request that signatures are made over, undecoded.

    Header names are lower-case, values in the order they came.
    """

    @property
    def method(self) -> bytes: ...

    @property
    def path(self) -> bytes: ...

    @property
    def query(self) -> bytes: ...

    @property
    def headers(self) -> Mapping[bytes, Sequence[bytes]]: ...


class Kind(Enum):
    """Where the signature is, and which error its mistakes get."""

    HEADER = "AuthorizationHeaderMalformed"
    QUERY = "AuthorizationQueryParametersError"

    def malformed(self, reason: str, **details: str) -> S3Error:
        start = (
            "The authorization header is malformed; "
            if self is Kind.HEADER
            else "Error parsing the X-Amz-Credential parameter; "
        )
        return S3Error(self.value, start + reason, **details)


@frozen
class Credential:
    """Who signed, and for what day and region. `scope` is the part that is signed."""

    access_key_id: str
    date: bytes
    region: str
    scope: bytes


@value
class Claim:
    """
    A request's signature and what it is said to cover.

    `time` is `timestamp` as Unix time; `signed_headers` is the list as it was sent;
    `expires` is how many seconds a presigned URL is good for, None in a header.
    """

    kind: Kind
    credential: Credential
    timestamp: bytes
    time: int
    signed_headers: bytes
    signature: bytes
    payload_hash: bytes
    expires: int | None = None

    @property
    def access_key_id(self) -> str:
        return self.credential.access_key_id

    @property
    def date(self) -> bytes:
        return self.credential.date

    @property
    def region(self) -> str:
        return self.credential.region


def from_header(request: Signed) -> Claim:
    """
    Read the claim in the Authorization header, which must be there.

    :raises S3Error: the header, the date or the payload's hash is missing or malformed, or
        headers that must be signed are not.
    """
    headers = request.headers
    text, signed_headers, signature = _parts(headers[b"authorization"])
    credential = read_credential(text, Kind.HEADER)
    stamp, time = _time(headers)
    check_day(credential, stamp, Kind.HEADER)
    payload_hash = joined(headers, b"x-amz-content-sha256")
    if payload_hash is None:
        raise S3Error("InvalidRequest", "Missing required header for this request: x-amz-content-sha256")
    PayloadForm.of(payload_hash)
    check_signed(request, signed_headers, Kind.HEADER, exempt=None)
    return Claim(Kind.HEADER, credential, stamp, time, signed_headers, signature, payload_hash)


def _parts(values: Sequence[bytes]) -> tuple[bytes, bytes, bytes]:
    """
    Return Credential, SignedHeaders and Signature.

    A client says the same every day but for the signature, which nearly all write last.
    """
    if len(values) == 1:
        before, mark, signature = values[0].strip().rpartition(b"Signature=")
        if mark and signature and b"," not in signature and len(before) <= _CACHED:
            known = _before_signature(before)
            if known is not None:
                return *known, signature
    fields = _fields(values)
    return fields[b"Credential"], fields[b"SignedHeaders"], fields[b"Signature"]


@lru_cache(maxsize=256)
def _before_signature(text: bytes) -> tuple[bytes, bytes] | None:
    """Return Credential and SignedHeaders; None if that is not all of what is before a signature."""
    try:
        fields = _fields([text + b"Signature=?"])
    except S3Error:
        return None
    return (fields[b"Credential"], fields[b"SignedHeaders"]) if fields[b"Signature"] == b"?" else None


def _fields(values: Sequence[bytes]) -> dict[bytes, bytes]:
    if len(values) > 1:
        raise only_one_mechanism()
    scheme, space, rest = values[0].strip().partition(b" ")
    if scheme != ALGORITHM or not space:
        raise _scheme_error(values[0].strip())
    fields: dict[bytes, bytes] = {}
    for part in rest.split(b","):
        name, _, value = part.strip().partition(b"=")
        if name in fields or name not in (b"Credential", b"SignedHeaders", b"Signature"):
            raise Kind.HEADER.malformed(
                "expecting exactly one each of Credential, SignedHeaders and Signature."
            )
        fields[name] = value
    for name in (b"Credential", b"SignedHeaders", b"Signature"):
        if not fields.get(name):
            raise Kind.HEADER.malformed(f"{name.decode()} is missing.")
    return fields


def _scheme_error(value: bytes) -> S3Error:
    scheme = value.partition(b" ")[0]
    if scheme.startswith(ALGORITHM):
        return S3Error(
            "InvalidArgument",
            "Authorization header is invalid -- one and only one ' ' (space) required",
            ArgumentName="Authorization",
            ArgumentValue=value.decode("utf-8", "replace"),
        )
    if scheme.startswith(b"AWS"):
        return unsupported_mechanism()
    return S3Error(
        "InvalidArgument",
        "Unsupported Authorization Type",
        ArgumentName="Authorization",
        # Not the value: of other schemes it is a password.
        ArgumentValue=scheme.decode("utf-8", "replace") if b" " in value else "",
    )


def unsupported_mechanism() -> S3Error:
    return S3Error(
        "InvalidRequest",
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )


def only_one_mechanism() -> S3Error:
    return S3Error(
        "InvalidArgument",
        "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string"
        " parameter or the Authorization header should be specified",
        ArgumentName="Authorization",
    )


def read_credential(text: bytes, kind: Kind) -> Credential:
    """
    Read `{access key id}/{day}/{region}/s3/aws4_request`.

    :raises S3Error: with the code of `kind`.
    """
    if len(text) > MAX_CREDENTIAL:
        raise kind.malformed("the Credential is too long.")
    try:
        return _credential(text)
    except ValueError as error:
        raise kind.malformed(str(error)) from None


@lru_cache(maxsize=1024)
def _credential(text: bytes) -> Credential:
    parts = text.decode("utf-8", "replace").split("/")
    if len(parts) != 5 or not parts[0]:
        raise ValueError(
            'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
        )
    access_key_id, date, region, service, terminal = parts
    if parse_timestamp(f"{date}T000000Z".encode()) is None:
        raise ValueError(
            f'incorrect date format "{date}". This date in the credential must be in the format "yyyyMMdd".'
        )
    if not 0 < len(region) <= MAX_REGION:
        raise ValueError("the region is not the name of a region.")
    if service != "s3":
        raise ValueError(f'incorrect service "{service}". This endpoint belongs to "s3".')
    if terminal != "aws4_request":
        raise ValueError(f'incorrect terminal "{terminal}". This endpoint uses "aws4_request".')
    return Credential(access_key_id, date.encode(), region, text.partition(b"/")[2])


def check_day(credential: Credential, stamp: bytes, kind: Kind) -> None:
    """Refuse a credential for another day than that of the request."""
    if not stamp.startswith(credential.date):
        raise kind.malformed(
            f'Invalid credential date "{credential.date.decode()}".'
            f' This date is not the same as X-Amz-Date: "{stamp[:8].decode()}".'
        )


def _time(headers: Mapping[bytes, Sequence[bytes]]) -> tuple[bytes, int]:
    text = joined(headers, b"x-amz-date")
    if text is None:
        text = joined(headers, b"date") or b""
        seconds = parse_http_date(text.decode("latin-1"))
        if seconds is not None:
            return timestamp(seconds), seconds
    time = parse_timestamp(text)
    if time is None:
        raise S3Error("AccessDenied", "AWS authentication requires a valid Date or x-amz-date header")
    return text, time


def check_signed(request: Signed, signed_headers: bytes, kind: Kind, exempt: bytes | None) -> None:
    """
    Refuse a request without its host signed, or with an `x-amz-*` header that is not.

    Unsigned ones could be added by anybody on the way. `exempt` is one that need not be. A header
    named a thousand times would have us write it as often, and is refused.
    """
    signed = signed_set(signed_headers)
    if len(signed) <= signed_headers.count(b";"):
        raise S3Error(kind.value, "SignedHeaders names a header more than once.")
    missing = [name for name in request.headers if name not in signed and name.startswith(b"x-amz-")]
    if exempt in missing:
        missing.remove(exempt)
    if b"host" not in signed:
        missing.append(b"host")
    if missing:
        raise S3Error(
            "AccessDenied",
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(sorted(name.decode("latin-1") for name in missing)),
        )


def signed_names(signed_headers: bytes) -> tuple[bytes, ...]:
    """Return the names in a list of signed headers, in its order."""
    return _names(signed_headers) if len(signed_headers) <= _CACHED else tuple(signed_headers.split(b";"))


def signed_set(signed_headers: bytes) -> frozenset[bytes]:
    """Return the names in a list of signed headers."""
    return _set(signed_headers) if len(signed_headers) <= _CACHED else frozenset(signed_headers.split(b";"))


@lru_cache(maxsize=256)
def _names(signed_headers: bytes) -> tuple[bytes, ...]:
    return tuple(signed_headers.split(b";"))


@lru_cache(maxsize=256)
def _set(signed_headers: bytes) -> frozenset[bytes]:
    return frozenset(signed_headers.split(b";"))


def joined(headers: Mapping[bytes, Sequence[bytes]], name: bytes) -> bytes | None:
    """Return a header as one value, None if there is none."""
    values = headers.get(name)
    if not values:
        return None
    return values[0].strip() if len(values) == 1 else b",".join(value.strip() for value in values)
