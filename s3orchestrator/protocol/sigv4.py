"""Signature version 4 on its way in: who signed a request, and whether it is what was signed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from hmac import compare_digest

from s3orchestrator.protocol.canonical import (
    canonical_headers,
    canonical_path,
    canonical_query,
    string_to_sign,
    timestamp,
)
from s3orchestrator.protocol.claims import (
    Claim,
    Credential,
    Kind,
    Signed,
    from_header,
    only_one_mechanism,
    signed_names,
    unsupported_mechanism,
)
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.keys import PreparedHmac, SigningKeys
from s3orchestrator.protocol.presigned import from_query, is_presigned, is_presigned_v2
from s3orchestrator.values import value

MAX_SKEW = 900  # seconds, S3's own

# What an honest client signs is far smaller; the error would show it twice, once four times as long.
MAX_SHOWN = 8 * 1024

# Somebody may read the error who did not see the request: of a proxy, or in a log.
_SECRETS = re.compile(
    rb"^(x-proxy-token:|x-amz-security-token:).*|(X-Amz-Security-Token=)[^&\n]*", re.MULTILINE
)

# Signs for those we don't know, so that they wait as long as those we do.
_NOBODYS_SECRET = "no secret, only as long as one is usual"


@value
class Verified:
    """
    A claim that turned out to be true; what follows in the body is chained to it.

    `signature` seeds the signatures of chunks, made with `key` for `timestamp` and `scope`.
    """

    credential: Credential
    kind: Kind
    timestamp: bytes
    signature: bytes
    payload_hash: bytes
    key: PreparedHmac

    @property
    def access_key_id(self) -> str:
        return self.credential.access_key_id

    @property
    def scope(self) -> bytes:
        return self.credential.scope


def parse(request: Signed) -> Claim | None:
    """
    Return what `request` claims, None if it is anonymous.

    :raises S3Error: it claims something, but not in a way that can be checked.
    """
    query = request.query
    if b"authorization" in request.headers:
        if query and (is_presigned(query) or is_presigned_v2(query)):
            raise only_one_mechanism()
        return from_header(request)
    if not query:
        return None
    if is_presigned(query):
        return from_query(request)
    if is_presigned_v2(query):
        raise unsupported_mechanism()
    return None


def verify(
    claim: Claim,
    request: Signed,
    secret: str | None,
    *,
    now: float,
    region: str | None,
    keys: SigningKeys,
) -> Verified:
    """
    Check that the owner of `secret` signed `request`, lately and for `region`.

    A `secret` of None says that nobody has this access key id: that takes as long as a
    wrong signature. A `region` of None accepts any.

    :raises S3Error: `AuthorizationHeaderMalformed` (`…QueryParametersError`) for another
        region, `InvalidAccessKeyId`, `RequestTimeTooSkewed` (presigned: `AccessDenied`),
        `SignatureDoesNotMatch`.
    """
    credential = claim.credential
    if region is not None and credential.region != region:
        raise claim.kind.malformed(
            f"the region '{credential.region}' is wrong; expecting '{region}'", Region=region
        )
    if secret is None:
        _matches(claim, request, keys.key(_NOBODYS_SECRET, credential.date, credential.region))
        raise S3Error("InvalidAccessKeyId", AWSAccessKeyId=credential.access_key_id)
    _check_time(claim, now)
    key = keys.key(secret, credential.date, credential.region)
    if not _matches(claim, request, key):
        raise _mismatch(claim, request)
    return Verified(credential, claim.kind, claim.timestamp, claim.signature, claim.payload_hash, key)


def _matches(claim: Claim, request: Signed, key: PreparedHmac) -> bool:
    for signed in _canonical_requests(claim, request):
        signature = key.hexdigest(string_to_sign(claim.timestamp, claim.credential.scope, signed))
        if compare_digest(signature.encode(), claim.signature):
            return True
    return False


def _canonical_requests(claim: Claim, request: Signed) -> Iterator[bytes]:
    """
    Give what the client may have signed, the likely one first.

    Some sign the path as they write it, whatever they leave plain or escape there.
    """
    query = canonical_query(request.query, None if claim.kind is Kind.HEADER else b"X-Amz-Signature")
    rest = b"%s\n%s\n%s\n%s" % (
        query,
        canonical_headers(request.headers, signed_names(claim.signed_headers)),
        claim.signed_headers,
        claim.payload_hash,
    )
    path = canonical_path(request.path)
    yield b"%s\n%s\n%s" % (request.method, path, rest)
    if path != request.path:
        yield b"%s\n%s\n%s" % (request.method, request.path, rest)


def _check_time(claim: Claim, now: float) -> None:
    if claim.expires is not None:
        _check_expiry(claim, claim.expires, now)
    elif abs(now - claim.time) > MAX_SKEW:
        raise S3Error(
            "RequestTimeTooSkewed",
            RequestTime=claim.timestamp.decode(),
            ServerTime=_iso(now),
            MaxAllowedSkewMilliseconds=MAX_SKEW * 1000,
        )


def _check_expiry(claim: Claim, expires: int, now: float) -> None:
    if claim.time - now > MAX_SKEW:
        raise S3Error("AccessDenied", "Request is not yet valid")
    if claim.time + expires < now:
        details: dict[str, str | int] = {
            "X-Amz-Expires": expires,
            "Expires": _iso(claim.time + expires),
            "ServerTime": _iso(now),
        }
        raise S3Error("AccessDenied", "Request has expired", **details)


def _iso(time: float) -> str:
    text = timestamp(time).decode()
    return f"{text[:4]}-{text[4:6]}-{text[6:11]}:{text[11:13]}:{text[13:]}"


def _mismatch(claim: Claim, request: Signed) -> S3Error:
    canonical = next(_canonical_requests(claim, request))
    signed = string_to_sign(claim.timestamp, claim.credential.scope, canonical)
    details = {
        "AWSAccessKeyId": claim.access_key_id,
        "StringToSign": signed.decode("utf-8", "replace"),
        "SignatureProvided": claim.signature.decode("utf-8", "replace"),
        "StringToSignBytes": signed.hex(" "),
    }
    if len(canonical) <= MAX_SHOWN:
        shown = _SECRETS.sub(rb"\1\2***", canonical)
        details["CanonicalRequest"] = shown.decode("utf-8", "replace")
        details["CanonicalRequestBytes"] = shown.hex(" ")
    return S3Error("SignatureDoesNotMatch", **details)
