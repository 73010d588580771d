"""Signatures in the query: URLs that somebody else may use, for a while."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from s3orchestrator.protocol.canonical import (
    ALGORITHM,
    canonical_headers,
    canonical_path,
    canonical_query,
    encoded_query,
    parse_timestamp,
    string_to_sign,
    timestamp,
)
from s3orchestrator.protocol.claims import (
    Claim,
    Kind,
    Signed,
    check_day,
    check_signed,
    joined,
    read_credential,
)
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.forms import UNSIGNED_PAYLOAD, PayloadForm
from s3orchestrator.protocol.keys import SigningKeys

MAX_EXPIRES = 604800  # a week, S3's own

_NEEDED = (
    b"X-Amz-Algorithm",
    b"X-Amz-Credential",
    b"X-Amz-Date",
    b"X-Amz-Expires",
    b"X-Amz-SignedHeaders",
    b"X-Amz-Signature",
)


def is_presigned(query: bytes) -> bool:
    """Say whether a signature is claimed in `query`, complete or not."""
    return b"X-Amz-" in query and not _names(query).isdisjoint(
        (b"X-Amz-Algorithm", b"X-Amz-Credential", b"X-Amz-Signature")
    )


def is_presigned_v2(query: bytes) -> bool:
    """Say whether `query` has a signature of version 2, which nobody here can check."""
    return b"AWSAccessKeyId=" in query and {b"AWSAccessKeyId", b"Signature"} <= _names(query)


def _names(query: bytes) -> set[bytes]:
    return {pair.partition(b"=")[0] for pair in query.split(b"&")}


def from_query(request: Signed) -> Claim:
    """
    Read the claim in the query, which must be presigned.

    :raises S3Error: a parameter is missing or malformed, or headers that must be signed are not.
    """
    parameters = _parameters(request.query)
    missing = [name.decode() for name in _NEEDED if name not in parameters]
    if missing:
        raise _error(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential,"
            " X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if parameters[b"X-Amz-Algorithm"] != ALGORITHM:
        raise _error('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
    credential = read_credential(parameters[b"X-Amz-Credential"], Kind.QUERY)
    stamp = parameters[b"X-Amz-Date"]
    time = parse_timestamp(stamp)
    if time is None:
        raise _error("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    check_day(credential, stamp, Kind.QUERY)
    expires = _expires(parameters[b"X-Amz-Expires"])
    payload_hash, exempt = _payload_hash(request, parameters)
    PayloadForm.of(payload_hash)
    signed_headers = parameters[b"X-Amz-SignedHeaders"]
    check_signed(request, signed_headers, Kind.QUERY, exempt)
    return Claim(
        Kind.QUERY,
        credential,
        stamp,
        time,
        signed_headers,
        parameters[b"X-Amz-Signature"],
        payload_hash,
        expires,
    )


def _error(message: str) -> S3Error:
    return S3Error(Kind.QUERY.value, message)


def _parameters(query: bytes) -> dict[bytes, bytes]:
    parameters: dict[bytes, bytes] = {}
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name.startswith(b"X-Amz-"):
            if name in parameters:
                raise _error(f"{name.decode('latin-1')} must be given once")
            parameters[name] = _decoded(value)
    return parameters


def _decoded(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _expires(text: bytes) -> int:
    digits = text.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 18:
        raise _error("X-Amz-Expires should be a number")
    expires = int(text)
    # Amazon's code is that of a malformed parameter; what tools insist on is 403.
    if expires <= 0:
        raise S3Error("AccessDenied", "X-Amz-Expires must be positive")
    if expires > MAX_EXPIRES:
        raise S3Error(
            "AccessDenied",
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be"
            " less than 604800 seconds",
        )
    return expires


def _payload_hash(request: Signed, parameters: Mapping[bytes, bytes]) -> tuple[bytes, bytes | None]:
    """The hash that was signed, and the header that was signed by being it."""
    in_query = parameters.get(b"X-Amz-Content-Sha256")
    in_header = joined(request.headers, b"x-amz-content-sha256")
    if in_header is None:
        return in_query or UNSIGNED_PAYLOAD, None
    if in_query is None or in_query == in_header:
        return in_header, b"x-amz-content-sha256"
    return in_query, None


def presign(
    method: bytes,
    host: bytes,
    path: bytes,
    query: bytes = b"",
    *,
    access_key_id: str,
    secret: str,
    region: str,
    now: float,
    expires: int,
    headers: Mapping[bytes, bytes] | None = None,
    token: str | None = None,
) -> bytes:
    """
    Return `query` with a signature for `path`, good for `expires` seconds from `now`.

    `headers` are those the user of the URL will have to send as they are.
    """
    stamp = timestamp(now)
    scope = b"%s/%s/s3/aws4_request" % (stamp[:8], region.encode())
    signed = {name.lower(): [value] for name, value in (headers or {}).items()} | {b"host": [host]}
    names = sorted(signed)
    parameters = {
        "X-Amz-Algorithm": ALGORITHM.decode(),
        "X-Amz-Credential": f"{access_key_id}/{scope.decode()}",
        "X-Amz-Date": stamp.decode(),
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": b";".join(names).decode(),
    }
    if token is not None:
        parameters["X-Amz-Security-Token"] = token
    whole = canonical_query(b"&".join(filter(None, (query, encoded_query(parameters)))))
    payload_hash = signed.get(b"x-amz-content-sha256", [UNSIGNED_PAYLOAD])[0]
    request = b"%s\n%s\n%s\n%s\n%s\n%s" % (
        method,
        canonical_path(path),
        whole,
        canonical_headers(signed, names),
        b";".join(names),
        payload_hash,
    )
    key = SigningKeys(1).key(secret, stamp[:8], region)
    signature = key.hexdigest(string_to_sign(stamp, scope, request))
    return b"%s&X-Amz-Signature=%s" % (whole, signature.encode())
