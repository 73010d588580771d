"""Presigned URLs: Amazon's example, botocore's, and what is refused."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.presigned import presign
from s3orchestrator.protocol.sigv4 import parse
from tests.unit.protocol.signing import ACCESS_KEY, NOW, REGION, SECRET, Botocore, Request, request, verified

EXAMPLE = (
    b"X-Amz-Algorithm=AWS4-HMAC-SHA256"
    b"&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
    b"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    b"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)


def example(query: bytes = EXAMPLE, **headers: str) -> Request:
    return request(b"GET", b"/test.txt", query, **{"host": "examplebucket.s3.amazonaws.com", **headers})


def presigned(
    method: bytes = b"GET",
    path: bytes = b"/bucket/key",
    query: bytes = b"",
    expires: int = 600,
    headers: dict[bytes, bytes] | None = None,
) -> Request:
    """A request as somebody sends it who was given a URL."""
    whole = presign(
        method,
        b"localhost:9000",
        path,
        query,
        access_key_id=ACCESS_KEY,
        secret=SECRET,
        region=REGION,
        now=NOW,
        expires=expires,
        headers=headers,
    )
    sent = {name: [value] for name, value in (headers or {}).items()}
    return Request(method, path, whole, {b"host": [b"localhost:9000"], **sent})


class VerifyingTests(SynchronousTestCase):
    """URLs that are good."""

    def test_published_example(self) -> None:
        """The URL of "Authenticating Requests: Using Query Parameters"."""
        found = verified(example())
        self.assertEqual((found.access_key_id, found.payload_hash), (ACCESS_KEY, b"UNSIGNED-PAYLOAD"))

    def test_extra_headers(self) -> None:
        """The user of a URL may add a range, a condition, a content type."""
        verified(example(range="bytes=0-9", if_match="x", content_type="a/b", date="whenever"))

    @given(
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20),
    )
    def test_botocore(self, key: str, value: str) -> None:
        """What botocore presigns is good, with any key and parameter."""
        target = f"/bucket/{quote(key, safe='/~')}?prefix={quote(value, safe='-_.~')}"
        url = urlsplit(Botocore(token="token/+=").presigned("PUT", f"https://localhost{target}", {}))
        verified(request(b"PUT", url.path.encode(), url.query.encode(), host="localhost"))

    @given(
        st.binary(min_size=1, max_size=20).filter(lambda text: b"?" not in text and b"#" not in text),
        st.sampled_from([b"", b"versionId=a%2Fb", b"uploads", b"partNumber=1&uploadId=x"]),
    )
    def test_our_own(self, key: bytes, query: bytes) -> None:
        """What we presign is good."""
        verified(presigned(path=b"/bucket/" + key, query=query))

    def test_signed_headers(self) -> None:
        """Headers that were signed must be sent with the same values."""
        headers = {b"content-type": b"image/png", b"x-amz-acl": b"private"}
        verified(presigned(b"PUT", headers=headers))
        changed = presigned(b"PUT", headers=headers)
        changed.headers[b"content-type"] = [b"text/html"]
        left_out = presigned(b"PUT", headers=headers)
        del left_out.headers[b"x-amz-acl"]
        for given_ in (changed, left_out):
            error = self.assertRaises(S3Error, verified, given_)
            self.assertEqual(error.code, "SignatureDoesNotMatch")

    def test_payload_hash(self) -> None:
        """A hash in the query or in a header is the one that was signed."""
        in_query = presigned(b"PUT", query=b"X-Amz-Content-Sha256=UNSIGNED-PAYLOAD")
        self.assertEqual(verified(in_query).payload_hash, b"UNSIGNED-PAYLOAD")
        in_header = presigned(b"PUT", headers={b"x-amz-content-sha256": b"a" * 64})
        self.assertEqual(verified(in_header).payload_hash, b"a" * 64)
        added = presigned(b"PUT")
        added.headers[b"x-amz-content-sha256"] = [b"UNSIGNED-PAYLOAD"]
        verified(added)
        added.headers[b"x-amz-content-sha256"] = [b"b" * 64]
        error = self.assertRaises(S3Error, verified, added)
        self.assertEqual(error.code, "SignatureDoesNotMatch")

    def test_another_hash_in_the_header(self) -> None:
        """A hash that is not the signed one is an unsigned header like any other."""
        given_ = presigned(b"PUT", query=b"X-Amz-Content-Sha256=UNSIGNED-PAYLOAD")
        given_.headers[b"x-amz-content-sha256"] = [b"b" * 64]
        error = self.assertRaises(S3Error, parse, given_)
        self.assertEqual(error.details, {"HeadersNotSigned": "x-amz-content-sha256"})

    def test_method(self) -> None:
        """HEAD on a URL for GET is another request."""
        given_ = example()
        given_.method = b"HEAD"
        error = self.assertRaises(S3Error, verified, given_)
        self.assertEqual(error.code, "SignatureDoesNotMatch")


class TimeTests(SynchronousTestCase):
    """URLs are good for a while."""

    def test_expired(self) -> None:
        """A URL is good until its very last second; what is said then helps to see why."""
        verified(example(), now=NOW + 86400)
        error = self.assertRaises(S3Error, verified, example(), now=NOW + 86401)
        self.assertEqual((error.code, error.message), ("AccessDenied", "Request has expired"))
        self.assertEqual(
            error.details,
            {
                "X-Amz-Expires": 86400,
                "Expires": "2013-05-25T00:00:00Z",
                "ServerTime": "2013-05-25T00:00:01Z",
            },
        )

    def test_not_yet_valid(self) -> None:
        """A clock that is fifteen minutes fast is forgiven, more is not."""
        verified(example(), now=NOW - 900)
        error = self.assertRaises(S3Error, verified, example(), now=NOW - 901)
        self.assertEqual((error.code, error.message), ("AccessDenied", "Request is not yet valid"))

    def test_a_week(self) -> None:
        """A week is the longest; zero and less are never good."""
        verified(presigned(expires=604800))
        for expires in (604801, 0, -1):
            error = self.assertRaises(S3Error, verified, presigned(expires=expires))
            self.assertEqual(error.code, "AccessDenied")


class ParsingTests(SynchronousTestCase):
    """URLs that cannot be checked at all."""

    def assertMalformed(self, query: bytes, words: str) -> None:
        error = self.assertRaises(S3Error, parse, example(query))
        self.assertEqual(error.code, "AuthorizationQueryParametersError", query)
        self.assertIn(words, error.message or "")

    def test_parameters_are_compulsory(self) -> None:
        """Each of the six must be there."""
        pairs = EXAMPLE.split(b"&")
        for pair in pairs:
            left = b"&".join(other for other in pairs if other != pair)
            self.assertMalformed(left, "requires the X-Amz-Algorithm")

    def test_values(self) -> None:
        """Each must make sense, and come once."""
        for old, new, words in (
            (b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA1", "only supports"),
            (b"%2Fs3%2F", b"%2Fec2%2F", "incorrect service"),
            (b"%2F20130524%2F", b"%2F20130525%2F", "not the same as X-Amz-Date"),
            (b"%2Faws4_request", b"", "mal-formed"),
            (b"20130524T000000Z", b"2013-05-24", "ISO8601"),
            (b"=86400", b"=soon", "should be a number"),
            (b"=86400", b"=", "should be a number"),
            (b"=86400", b"=86400&X-Amz-Expires=604800", "must be given once"),
            (b"SignedHeaders=host", b"SignedHeaders=host%3Bhost", "more than once"),
            (b"%2F20130524%2F", b"k" * 256 + b"%2F20130524%2F", "too long"),
        ):
            self.assertMalformed(EXAMPLE.replace(old, new), words)

    def test_region(self) -> None:
        """Another region is named here too."""
        error = self.assertRaises(S3Error, verified, example(), region="eu-west-1")
        self.assertEqual(error.code, "AuthorizationQueryParametersError")
        self.assertEqual(error.details, {"Region": "eu-west-1"})

    def test_unsigned_headers(self) -> None:
        """An x-amz-* header that was not signed is refused."""
        error = self.assertRaises(S3Error, parse, example(x_amz_acl="public-read"))
        self.assertEqual((error.code, error.details), ("AccessDenied", {"HeadersNotSigned": "x-amz-acl"}))

    def test_version_two(self) -> None:
        """The old kind of URL is told what is missing."""
        error = self.assertRaises(S3Error, parse, example(b"AWSAccessKeyId=a&Expires=1&Signature=b"))
        self.assertEqual(error.code, "InvalidRequest")
        self.assertIn("Please use AWS4-HMAC-SHA256", str(error.message))
