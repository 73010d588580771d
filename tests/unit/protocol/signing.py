"""Requests to sign and to verify, by ourselves and by botocore."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import patch

from attrs import define, field
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from s3orchestrator.protocol.keys import SigningKeys
from s3orchestrator.protocol.sigv4 import Verified, parse, verify

# The credentials of Amazon's documentation, and the moment of its examples.
ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
REGION = "us-east-1"
NOW = 1369353600.0  # 20130524T000000Z
EMPTY = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@define(eq=False)
class Request:
    """As much of a request as signatures need."""

    method: bytes = b"GET"
    path: bytes = b"/"
    query: bytes = b""
    headers: dict[bytes, list[bytes]] = field(factory=dict)


def request(
    method: bytes = b"GET", path: bytes = b"/", query: bytes = b"", **headers: str | bytes
) -> Request:
    """Build a request; underscores in names of headers are dashes."""
    return Request(
        method,
        path,
        query,
        {
            name.replace("_", "-").encode(): [value if isinstance(value, bytes) else value.encode()]
            for name, value in headers.items()
        },
    )


def authorization(signed_headers: str, signature: str, access_key: str = ACCESS_KEY) -> str:
    return (
        f"AWS4-HMAC-SHA256 Credential={access_key}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={signed_headers},Signature={signature}"
    )


def verified(
    given: Request, secret: str | None = SECRET, now: float = NOW, region: str | None = REGION
) -> Verified:
    """Parse and verify, as the server does."""
    claim = parse(given)
    assert claim is not None
    return verify(claim, given, secret, now=now, region=region, keys=SigningKeys())


@define(eq=False)
class Botocore:
    """Amazon's own library, signing at a moment we choose."""

    access_key: str = ACCESS_KEY
    secret: str = SECRET
    region: str = REGION
    now: float = NOW
    token: str | None = None

    def headers(
        self, method: str, url: str, headers: dict[str, str], data: bytes | None = None
    ) -> dict[str, str]:
        """Sign in the header."""
        made = AWSRequest(method=method, url=url, headers=headers, data=data)
        self._sign(S3SigV4Auth(self._credentials(), "s3", self.region), made)
        return dict(made.headers.items())

    def presigned(self, method: str, url: str, headers: dict[str, str], expires: int = 600) -> str:
        """Sign in the query; return the new URL."""
        made = AWSRequest(method=method, url=url, headers=headers)
        self._sign(S3SigV4QueryAuth(self._credentials(), "s3", self.region, expires=expires), made)
        return str(made.url)

    def _credentials(self) -> Credentials:
        return Credentials(self.access_key, self.secret, self.token)

    def _sign(self, auth: S3SigV4Auth, made: AWSRequest) -> None:
        moment = datetime.fromtimestamp(self.now, UTC)
        with patch("botocore.auth.get_current_datetime", return_value=moment):
            auth.add_auth(made)
