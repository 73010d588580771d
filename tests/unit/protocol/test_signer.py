"""Signing for backends: as botocore does, and as our own verifier wants it."""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.canonical import canonical_path, encoded_query
from s3orchestrator.protocol.signer import Signer
from tests.unit.protocol.signing import ACCESS_KEY, EMPTY, NOW, REGION, SECRET, Botocore, Request, verified

keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
values = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20)


def signer(token: str | None = None, host: bytes = b"backend:9000") -> Signer:
    return Signer(host, REGION, ACCESS_KEY, SECRET, token)


class SignerTests(SynchronousTestCase):
    """Requests to one backend."""

    @given(
        st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD"]),
        keys,
        st.dictionaries(st.sampled_from(["uploadId", "partNumber", "list-type", "prefix"]), keys),
        st.dictionaries(st.sampled_from(["x-amz-meta-s3o", "x-amz-copy-source", "x-amz-acl"]), values),
        st.sampled_from([None, "session/token+="]),
    )
    def test_as_botocore(
        self, method: str, key: str, query: dict[str, str], headers: dict[str, str], token: str | None
    ) -> None:
        """The same request gets the same signature."""
        path = canonical_path(b"/bucket/" + quote(key).encode())
        encoded = encoded_query(query)
        ours = signer(token).sign(
            method.encode(),
            path,
            encoded,
            {name.encode(): value.encode() for name, value in headers.items()},
            EMPTY,
            now=NOW,
        )
        url = f"http://backend:9000{path.decode()}" + (f"?{encoded.decode()}" if query else "")
        theirs = Botocore(token=token).headers(method, url, dict(headers))
        self.assertEqual(ours[b"authorization"].decode(), theirs["Authorization"])
        self.assertEqual(ours.get(b"x-amz-security-token"), token.encode() if token else None)

    def test_least_signed(self) -> None:
        """Only host, hash and time are signed; other headers may change on the way."""
        added = signer().sign(b"GET", b"/b/k", b"", {b"range": b"bytes=0-1", b"accept": b"*"}, now=NOW)
        self.assertIn(b"SignedHeaders=host;x-amz-content-sha256;x-amz-date,", added[b"authorization"])
        self.assertEqual(added[b"x-amz-content-sha256"], b"UNSIGNED-PAYLOAD")
        self.assertEqual(set(added), {b"authorization", b"x-amz-date", b"x-amz-content-sha256"})

    @given(st.dictionaries(st.sampled_from([b"x-amz-meta-a", b"x-amz-meta-b"]), values))
    def test_verified(self, meta: dict[bytes, str]) -> None:
        """Our own server lets our own client in."""
        headers = {name: value.encode() for name, value in meta.items()}
        added = signer().sign(b"PUT", b"/b/k%20k", b"a=&b=%2F", headers, now=NOW)
        sent = {name: [value] for name, value in {**headers, **added, b"host": b"backend:9000"}.items()}
        verified(Request(b"PUT", b"/b/k%20k", b"a=&b=%2F", sent))

    def test_days_pass(self) -> None:
        """A signer that lives for days signs for the day it is."""
        lasting = signer()
        for now in (NOW, NOW + 0.5, NOW + 86399.9, NOW + 86400, NOW):
            added = lasting.sign(b"GET", b"/", b"", {}, now=now)
            self.assertEqual(added, signer().sign(b"GET", b"/", b"", {}, now=now))
            verified(
                Request(b"GET", b"/", b"", {b"host": [b"backend:9000"]} | {n: [v] for n, v in added.items()}),
                now=now,
            )
        self.assertEqual(added[b"x-amz-date"], b"20130524T000000Z")

    def test_secret_is_not_shown(self) -> None:
        """A signer in a log line or traceback does not give itself away."""
        self.assertNotIn(SECRET, repr(signer()))


class BotocoreTests(SynchronousTestCase):
    """A habit of botocore's that is why we sign by ourselves."""

    def test_unsigned_payload_is_replaced(self) -> None:
        """
        botocore overrules a preset UNSIGNED-PAYLOAD: over plain HTTP it hashes the body.
        """
        made = AWSRequest(
            method="PUT",
            url="http://backend:9000/b/k",
            headers={"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"},
            data=b"body",
        )
        S3SigV4Auth(Credentials(ACCESS_KEY, SECRET), "s3", REGION).add_auth(made)
        self.assertEqual(made.headers["X-Amz-Content-SHA256"], sha256(b"body").hexdigest())
