"""Signatures in the Authorization header: Amazon's examples, botocore's, and what is refused."""

from __future__ import annotations

import gc
import hmac
import tracemalloc
from hashlib import sha256
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.keys import SigningKeys
from s3orchestrator.protocol.sigv4 import parse, verify
from tests.unit.protocol.signing import (
    ACCESS_KEY,
    EMPTY,
    NOW,
    REGION,
    SECRET,
    Botocore,
    Request,
    authorization,
    request,
    verified,
)

BUCKET = "examplebucket.s3.amazonaws.com"
STAMP = "20130524T000000Z"
WRONG = "0" * 64


class PublishedExamples(SynchronousTestCase):
    """The requests of "Authenticating Requests: Using the Authorization Header"."""

    def test_get_object(self) -> None:
        """GET of a range."""
        verified(
            request(
                b"GET",
                b"/test.txt",
                host=BUCKET,
                range="bytes=0-9",
                x_amz_content_sha256=EMPTY,
                x_amz_date=STAMP,
                authorization=authorization(
                    "host;range;x-amz-content-sha256;x-amz-date",
                    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
                ),
            )
        )

    def test_put_object(self) -> None:
        """PUT of a key with a dollar sign; a Date header is signed as well."""
        verified(
            request(
                b"PUT",
                b"/test%24file.text",
                host=BUCKET,
                date="Fri, 24 May 2013 00:00:00 GMT",
                x_amz_date=STAMP,
                x_amz_storage_class="REDUCED_REDUNDANCY",
                x_amz_content_sha256=sha256(b"Welcome to Amazon S3.").hexdigest(),
                authorization=authorization(
                    "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
                ),
            )
        )

    def test_lifecycle(self) -> None:
        """A subresource without a value."""
        verified(
            request(
                b"GET",
                b"/",
                b"lifecycle",
                host=BUCKET,
                x_amz_content_sha256=EMPTY,
                x_amz_date=STAMP,
                authorization=authorization(
                    "host;x-amz-content-sha256;x-amz-date",
                    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
                ),
            )
        )

    def test_list(self) -> None:
        """A listing, its parameters out of order."""
        verified(
            request(
                b"GET",
                b"/",
                b"prefix=J&max-keys=2",
                host=BUCKET,
                x_amz_content_sha256=EMPTY,
                x_amz_date=STAMP,
                authorization=authorization(
                    "host;x-amz-content-sha256;x-amz-date",
                    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
                ),
            )
        )


def signed(method: str = "GET", target: str = "/bucket/key", **headers: str) -> Request:
    """A request signed by botocore; underscores in names of headers are dashes."""
    path, _, query = target.partition("?")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made = Botocore().headers(method, f"http://localhost:9000{target}", named)
    made.setdefault("host", "localhost:9000")
    return Request(
        method.encode(),
        path.encode(),
        query.encode(),
        {name.lower().encode(): [value.encode()] for name, value in made.items()},
    )


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
values = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20)
parameters = st.lists(st.tuples(st.sampled_from(["prefix", "a-b", "a", "x-id"]), values), max_size=4)


class BotocoreTests(SynchronousTestCase):
    """What botocore signs is what we verify."""

    @given(st.sampled_from(["GET", "PUT", "DELETE", "HEAD", "POST"]), keys, parameters)
    def test_keys_and_queries(self, method: str, key: str, query: list[tuple[str, str]]) -> None:
        """Any key and any parameters, escaped as botocore does."""
        target = f"/bucket/{quote(key, safe='/~')}"
        if query:
            target += "?" + "&".join(f"{name}={quote(value, safe='-_.~')}" for name, value in query)
        self.assertEqual(verified(signed(method, target)).access_key_id, ACCESS_KEY)

    @given(values, values)
    def test_headers(self, meta: str, other: str) -> None:
        """Any values of headers, spaces at their ends and inside included."""
        verified(signed(x_amz_meta_note=meta, x_amz_acl=other, content_type=other))

    def test_spaces(self) -> None:
        """Runs of spaces in a value count as one."""
        verified(signed(x_amz_meta_note="  a   b  c "))

    @given(st.binary(max_size=60).filter(lambda path: b"?" not in path))
    def test_paths_as_sent(self, path: bytes) -> None:
        """
        A client that signs the path as it writes it is understood, whatever it escapes.
        """
        given_ = signed()
        given_.path = b"/" + path
        # botocore signs the URL's path untouched, if it gets one.
        given_.headers = signed_untouched(given_.path)
        verified(given_)

    def test_plus_and_space(self) -> None:
        """A plus in a query is a space, and signed as %20."""
        given_ = signed(target="/bucket?prefix=a%20b")
        given_.query = b"prefix=a+b"
        verified(given_)

    def test_plain_and_escaped(self) -> None:
        """Characters a client leaves plain count as if they were escaped, and the other way round."""
        given_ = signed(target="/bucket/a%40%28b%29")
        given_.path = b"/bucket/%61@(b)"
        verified(given_)

    def test_several_of_one_name(self) -> None:
        """Headers of one name are joined with a comma."""
        given_ = signed(x_amz_meta_a="one,two")
        given_.headers[b"x-amz-meta-a"] = [b"one", b" two "]
        verified(given_)

    def test_any_change_is_noticed(self) -> None:
        """Another method, path, query, header or time is another request."""

        def change(name: str, value: object) -> Request:
            given_ = signed(target="/bucket/key?versions", x_amz_meta_a="1")
            setattr(given_, name, value)
            return given_

        headers = signed(target="/bucket/key?versions", x_amz_meta_a="1").headers
        for changed in (
            change("method", b"PUT"),
            change("path", b"/bucket/key2"),
            change("path", b"/bucket//key"),
            change("query", b"versions=1"),
            change("query", b""),
            change("headers", headers | {b"x-amz-meta-a": [b"2"]}),
            change("headers", headers | {b"host": [b"localhost"]}),
            change("headers", headers | {b"x-amz-date": [b"20130524T000001Z"]}),
            change("headers", headers | {b"x-amz-content-sha256": [b"UNSIGNED-PAYLOAD"]}),
            change("headers", {name: value for name, value in headers.items() if name != b"x-amz-meta-a"}),
        ):
            error = self.assertRaises(S3Error, verified, changed)
            self.assertEqual(error.code, "SignatureDoesNotMatch", changed)


def signed_untouched(path: bytes) -> dict[bytes, list[bytes]]:
    """Sign `path` as it is, by the rules written out."""
    canonical = b"GET\n%s\n\nhost:h\nx-amz-content-sha256:%s\nx-amz-date:%s\n\n%s\n%s" % (
        path,
        EMPTY,
        STAMP.encode(),
        b"host;x-amz-content-sha256;x-amz-date",
        EMPTY,
    )
    key = b"AWS4" + SECRET.encode()
    for step in (b"20130524", REGION.encode(), b"s3", b"aws4_request"):
        key = hmac.digest(key, step, "sha256")
    to_sign = f"AWS4-HMAC-SHA256\n{STAMP}\n20130524/{REGION}/s3/aws4_request\n{sha256(canonical).hexdigest()}"
    return request(
        host="h",
        x_amz_content_sha256=EMPTY,
        x_amz_date=STAMP,
        authorization=authorization(
            "host;x-amz-content-sha256;x-amz-date", hmac.digest(key, to_sign.encode(), "sha256").hex()
        ),
    ).headers


class VerifyingTests(SynchronousTestCase):
    """Deciding whether a well-formed claim is true."""

    def test_result(self) -> None:
        """A verified request gives what its chunks are chained to."""
        given_ = signed()
        found = verified(given_)
        self.assertEqual(
            (found.access_key_id, found.timestamp, found.scope, found.payload_hash),
            (ACCESS_KEY, STAMP.encode(), b"20130524/us-east-1/s3/aws4_request", EMPTY),
        )
        self.assertTrue(given_.headers[b"authorization"][0].endswith(found.signature))

    def test_unknown_key(self) -> None:
        """An unknown access key is told so, whatever the time."""
        for now in (NOW, NOW + 10_000):
            error = self.assertRaises(S3Error, verified, signed(), None, now)
            self.assertEqual(error.code, "InvalidAccessKeyId")
            self.assertEqual(error.details, {"AWSAccessKeyId": ACCESS_KEY})

    def test_unknown_key_is_as_dear(self) -> None:
        """An unknown access key makes us derive a key, as a wrong secret does."""
        derived = SigningKeys()
        given_ = signed()
        claim = parse(given_)
        assert claim is not None
        self.assertRaises(S3Error, verify, claim, given_, None, now=NOW, region=None, keys=derived)
        self.assertEqual(len(derived), 1)

    def test_wrong_secret(self) -> None:
        """A wrong secret gets all it takes to find the mistake, but no secret."""
        error = self.assertRaises(S3Error, verified, signed(), "another")
        self.assertEqual(error.code, "SignatureDoesNotMatch")
        self.assertEqual(
            list(error.details),
            [
                "AWSAccessKeyId",
                "StringToSign",
                "SignatureProvided",
                "StringToSignBytes",
                "CanonicalRequest",
                "CanonicalRequestBytes",
            ],
        )
        self.assertIn("GET\n/bucket/key\n\nhost:localhost:9000\n", str(error.details["CanonicalRequest"]))
        self.assertEqual(
            bytes.fromhex(str(error.details["StringToSignBytes"])).decode(), error.details["StringToSign"]
        )
        self.assertNotIn("another", repr(error.details))

    def test_shown_without_tokens(self) -> None:
        """A token among what was signed is not repeated, in a header or in the query."""
        names = "host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-proxy-token"
        given_ = claiming(
            authorization=authorization(names, WRONG),
            x_amz_security_token="hunter2 hunter3",
            x_proxy_token="hunter4&hunter5",
        )
        given_.query = b"X-Amz-Security-Token=hunter6&a=1"
        error = self.assertRaises(S3Error, verified, given_)
        self.assertEqual(error.code, "SignatureDoesNotMatch")
        shown = str(error.details["CanonicalRequest"])
        self.assertIn("X-Amz-Security-Token=***&a=1\n", shown)
        self.assertIn("x-amz-security-token:***\nx-proxy-token:***\n", shown)
        self.assertNotIn("hunter", shown)
        self.assertEqual(bytes.fromhex(str(error.details["CanonicalRequestBytes"])).decode(), shown)

    def test_long_requests_are_not_shown(self) -> None:
        """What is too long to be looked at is not sent back four times as long."""
        error = self.assertRaises(S3Error, verified, claiming(range="x" * 8200))
        self.assertIn("CanonicalRequest", error.details)
        names = "host;range;x-amz-content-sha256;x-amz-date"
        error = self.assertRaises(
            S3Error, verified, claiming(range="x" * 8200, authorization=authorization(names, WRONG))
        )
        self.assertEqual(
            list(error.details), ["AWSAccessKeyId", "StringToSign", "SignatureProvided", "StringToSignBytes"]
        )

    def test_rotated_secret(self) -> None:
        """A new secret under the same id counts at once, and the old one no longer."""
        derived = SigningKeys()
        given_ = signed()
        claim = parse(given_)
        assert claim is not None
        verify(claim, given_, SECRET, now=NOW, region=None, keys=derived)
        error = self.assertRaises(S3Error, verify, claim, given_, "new", now=NOW, region=None, keys=derived)
        self.assertEqual(error.code, "SignatureDoesNotMatch")

    def test_skew(self) -> None:
        """Clocks may differ by fifteen minutes."""
        verified(signed(), now=NOW + 900)
        verified(signed(), now=NOW - 900)
        for now in (NOW + 901, NOW - 901):
            error = self.assertRaises(S3Error, verified, signed(), now=now)
            self.assertEqual(error.code, "RequestTimeTooSkewed")
            self.assertEqual(error.details["RequestTime"], STAMP)
            self.assertEqual(error.details["MaxAllowedSkewMilliseconds"], 900_000)
        self.assertEqual(error.details["ServerTime"], "2013-05-23T23:44:59Z")

    def test_skew_before_signature(self) -> None:
        """A wrong clock is the more helpful answer when the signature is wrong too."""
        error = self.assertRaises(S3Error, verified, signed(), "another", NOW + 901)
        self.assertEqual(error.code, "RequestTimeTooSkewed")

    def test_region(self) -> None:
        """Another region is named, so that SDKs can try again; without a rule any will do."""
        error = self.assertRaises(S3Error, verified, signed(), region="eu-west-1")
        self.assertEqual(
            (error.code, error.details), ("AuthorizationHeaderMalformed", {"Region": "eu-west-1"})
        )
        verified(signed(), region=None)

    def test_keys_are_bounded(self) -> None:
        """Who makes up regions does not fill our memory."""
        derived = SigningKeys(limit=4)
        for number in range(20):
            derived.key("secret", b"20130524", f"region-{number}")
        self.assertEqual(len(derived), 4)


def claiming(credential: str = f"{ACCESS_KEY}/20130524/us-east-1/s3/aws4_request", **headers: str) -> Request:
    """A request that gets as far as having a wrong signature."""
    return request(
        **{
            "host": "localhost",
            "x_amz_date": STAMP,
            "x_amz_content_sha256": EMPTY.decode(),
            "authorization": f"AWS4-HMAC-SHA256 Credential={credential},"
            f" SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={WRONG}",
        }
        | headers
    )


def without(given_: Request, name: bytes) -> Request:
    del given_.headers[name]
    return given_


class ParsingTests(SynchronousTestCase):
    """Claims that cannot be checked at all."""

    def assertRefused(self, given_: Request, code: str, words: str = "", **details: str) -> None:
        error = self.assertRaises(S3Error, parse, given_)
        self.assertEqual(error.code, code)
        self.assertIn(words, error.message or "")
        for name, value in details.items():
            self.assertEqual(error.details[name], value)

    def test_well_formed(self) -> None:
        """The request the others differ from only has a wrong signature."""
        error = self.assertRaises(S3Error, verified, claiming())
        self.assertEqual(error.code, "SignatureDoesNotMatch")

    def test_anonymous(self) -> None:
        """Neither header nor query signature: nobody in particular."""
        self.assertIs(parse(request(query=b"versions&x-id=X-Amz-")), None)

    def test_layout_is_free(self) -> None:
        """Separators may have a space or not, and the order of the parts is free."""
        fields = [
            f"Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request",
            "SignedHeaders=host;x-amz-content-sha256;x-amz-date",
            f"Signature={WRONG}",
        ]
        for text in (",".join(fields), ", ".join(reversed(fields)), " , ".join(fields)):
            claim = parse(claiming(authorization=f"AWS4-HMAC-SHA256 {text}"))
            assert claim is not None
            self.assertEqual((claim.access_key_id, claim.signature), (ACCESS_KEY, WRONG.encode()))

    def test_signature_of_any_form(self) -> None:
        """What is compared is all there is behind the sign, whatever it looks like; a comma ends it."""
        whole = claiming().headers[b"authorization"][0].decode()
        for signature in ("a=b", "Signature", "x Signature", "Signature=a", "a;Signature=b", "0" * 1000):
            claim = parse(claiming(authorization=whole.replace(WRONG, signature)))
            assert claim is not None
            self.assertEqual(claim.signature, signature.encode())
            self.assertEqual(claim.signed_headers, b"host;x-amz-content-sha256;x-amz-date")
        for signature in ("a,b", " , "):
            self.assertRefused(
                claiming(authorization=whole.replace(WRONG, signature)), "AuthorizationHeaderMalformed"
            )

    def test_schemes(self) -> None:
        """Other ways to authenticate are told apart."""
        for scheme, code, words in (
            ("AWS AKID:c2lnbmF0dXJl", "InvalidRequest", "Please use AWS4-HMAC-SHA256"),
            ("AWS4-ECDSA-P256-SHA256 Credential=", "InvalidRequest", "Please use AWS4-HMAC-SHA256"),
            ("Basic dTpw", "InvalidArgument", "Unsupported Authorization Type"),
            ("Bearer token", "InvalidArgument", "Unsupported Authorization Type"),
            ("", "InvalidArgument", "Unsupported Authorization Type"),
            ("AWS4-HMAC-SHA256", "InvalidArgument", "space"),
            ("AWS4-HMAC-SHA256Credential=a/b/c/d/e, Signature=f", "InvalidArgument", "space"),
        ):
            self.assertRefused(claiming(authorization=scheme), code, words)

    def test_passwords_are_not_repeated(self) -> None:
        """The answer to another scheme does not show what it carried."""
        error = self.assertRaises(S3Error, parse, claiming(authorization="Basic c2VjcmV0"))
        self.assertNotIn("c2VjcmV0", repr(error.details))

    def test_parts(self) -> None:
        """Each part is there once, with a value."""
        whole = claiming().headers[b"authorization"][0].decode()
        for text in (
            whole.partition(", Signature")[0],
            whole.replace(f"Signature={WRONG}", "Signature="),
            whole.replace("SignedHeaders=host;x-amz-content-sha256;x-amz-date, ", ""),
            whole + f", Signature={WRONG}",
            whole + ", More=1",
            whole + ",",
            "AWS4-HMAC-SHA256 ",
        ):
            code = "InvalidArgument" if text == "AWS4-HMAC-SHA256 " else "AuthorizationHeaderMalformed"
            self.assertRefused(claiming(authorization=text), code)

    def test_credentials(self) -> None:
        """The credential has five fields that make sense."""
        for credential, words in (
            (ACCESS_KEY, "mal-formed"),
            (f"{ACCESS_KEY}/20130524/us-east-1/s3", "mal-formed"),
            (f"{ACCESS_KEY}/x/20130524/us-east-1/s3/aws4_request", "mal-formed"),
            ("/20130524/us-east-1/s3/aws4_request", "mal-formed"),
            (f"{ACCESS_KEY}/2013-05-24/us-east-1/s3/aws4_request", "yyyyMMdd"),
            (f"{ACCESS_KEY}/20131324/us-east-1/s3/aws4_request", "yyyyMMdd"),
            (f"{ACCESS_KEY}/20130525/us-east-1/s3/aws4_request", "not the same as X-Amz-Date"),
            (f"{ACCESS_KEY}/20130524//s3/aws4_request", "region"),
            (f"{ACCESS_KEY}/20130524/{'r' * 65}/s3/aws4_request", "region"),
            (f"{ACCESS_KEY}/20130524/us-east-1/ec2/aws4_request", 'incorrect service "ec2"'),
            (f"{ACCESS_KEY}/20130524/us-east-1/s3/aws2_request", "incorrect terminal"),
        ):
            self.assertRefused(claiming(credential), "AuthorizationHeaderMalformed", words)

    def test_times(self) -> None:
        """A time must be given, and be one."""
        words = "valid Date or x-amz-date header"
        self.assertRefused(without(claiming(), b"x-amz-date"), "AccessDenied", words)
        for text in ("", "2013-05-24T00:00:00Z", "20130524T000000", "20130524T250000Z", "20130231T000000Z"):
            self.assertRefused(claiming(x_amz_date=text), "AccessDenied", words)
        self.assertRefused(without(claiming(date="yesterday"), b"x-amz-date"), "AccessDenied", words)

    def test_date_header(self) -> None:
        """The Date header will do, in either form; what is signed is always the short one."""
        for text in ("Fri, 24 May 2013 00:00:00 GMT", STAMP):
            given_ = without(
                claiming(date=text, authorization=authorization("host;x-amz-content-sha256", WRONG)),
                b"x-amz-date",
            )
            claim = parse(given_)
            assert claim is not None
            self.assertEqual((claim.timestamp, claim.time), (STAMP.encode(), int(NOW)))

    def test_payload_hashes(self) -> None:
        """The hash of the payload is compulsory, and one of the forms there are."""
        self.assertRefused(
            without(claiming(), b"x-amz-content-sha256"), "InvalidRequest", "x-amz-content-sha256"
        )
        for text in ("", "x" * 64, EMPTY.decode()[:-1], "STREAMING-PAYLOAD", "unsigned-payload"):
            self.assertRefused(
                claiming(x_amz_content_sha256=text),
                "InvalidArgument",
                ArgumentName="x-amz-content-sha256",
                ArgumentValue=text,
            )
        for text in ("", "-TRAILER"):
            self.assertRefused(
                claiming(x_amz_content_sha256="STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD" + text),
                "NotImplemented",
            )

    def test_unsigned_headers(self) -> None:
        """What anybody on the way could have added is refused, and named."""
        self.assertRefused(
            claiming(x_amz_acl="public-read", x_amz_meta_a="1"),
            "AccessDenied",
            "not signed",
            HeadersNotSigned="x-amz-acl, x-amz-meta-a",
        )
        self.assertRefused(
            claiming(authorization=authorization("x-amz-content-sha256;x-amz-date", WRONG)),
            "AccessDenied",
            HeadersNotSigned="host",
        )
        self.assertRefused(
            claiming(authorization=authorization("host;x-amz-date", WRONG)),
            "AccessDenied",
            HeadersNotSigned="x-amz-content-sha256",
        )
        parse(claiming(content_type="text/plain", content_md5="x", range="bytes=0-1"))

    def test_signed_once(self) -> None:
        """
        A header is named once: each time would be another line of what we hash.
        """
        for names in (
            "host;host;x-amz-content-sha256;x-amz-date",
            "a;host;x-amz-content-sha256;x-amz-date;a",
        ):
            self.assertRefused(
                claiming(authorization=authorization(names, WRONG)), "AuthorizationHeaderMalformed", "once"
            )

    def test_nothing_long_is_kept(self) -> None:
        """
        What anybody may send at any length does not stay in memory.
        """

        def ask(number: int) -> None:
            names = f"{'n' * 10_000}{number};host;x-amz-content-sha256;x-amz-date"
            self.assertRaises(S3Error, verified, claiming(authorization=authorization(names, WRONG)))
            key = f"{'k' * 10_000}{number}/20130524/us-east-1/s3/aws4_request"
            self.assertRefused(claiming(key), "AuthorizationHeaderMalformed", "too long")
            stamp = f"{'2' * 10_000}{number}"
            self.assertRefused(claiming(x_amz_date=stamp), "AccessDenied")

        ask(0)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(1, 50):
            ask(number)
        gc.collect()  # exceptions and their frames
        self.assertLess(tracemalloc.get_traced_memory()[0], 100_000)

    def test_two_mechanisms(self) -> None:
        """One signature per request."""
        twice = claiming()
        twice.headers[b"authorization"] *= 2
        for given_ in (
            twice,
            Request(b"GET", b"/", b"X-Amz-Signature=1", claiming().headers),
            Request(b"GET", b"/", b"AWSAccessKeyId=a&Expires=1&Signature=1", claiming().headers),
        ):
            self.assertRefused(given_, "InvalidArgument", "Only one auth mechanism allowed")
