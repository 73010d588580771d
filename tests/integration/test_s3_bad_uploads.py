"""Everything that can be wrong with a multipart upload."""

from __future__ import annotations

from hashlib import md5

from tests.integration.uploading import LEAST, SECOND, UploadCase, base64, document, etag

MISSING = "0" * 32


class BadUploadTests(UploadCase):
    """Each mistake gets its code, and the upload stays open."""

    def setUp(self) -> None:
        super().setUp()
        self.upload = self.uploaded(SECOND, b"two")
        self.tags = (etag(SECOND), etag(b"two"))
        self.before = self.server.settled()

    def tearDown(self) -> None:
        self.assertEqual(self.server.settled(), self.before)
        self.assertSucceeded(self.abort(self.upload), 204)
        super().tearDown()

    def test_completions(self) -> None:
        """In the order of the table."""
        one, two = self.tags
        part = "<Part><PartNumber>1</PartNumber><ETag>x</ETag></Part>"
        huge = document((number, one) for number in range(1, 10002))
        for name, body, headers, code in (
            ("nothing", b"", {}, "MalformedXML"),
            ("no XML", b"one, two", {}, "MalformedXML"),
            ("no parts", document([]), {}, "MalformedXML"),
            ("another root", b"<Complete/>", {}, "MalformedXML"),
            ("no number", document([(1, one)]).replace(b"PartNumber", b"Number"), {}, "MalformedXML"),
            ("no ETag", document([(1, one)]).replace(b"ETag", b"Tag"), {}, "MalformedXML"),
            ("number in words", document([(1, one)]).replace(b">1<", b">one<"), {}, "MalformedXML"),
            ("not closed", document([(1, one)])[:-5], {}, "MalformedXML"),
            ("document type", b"<!DOCTYPE a>" + document([(1, one)]), {}, "MalformedXML"),
            ("too many", huge, {}, "MalformedXML"),
            ("number 0", document([(0, one)]), {}, "InvalidArgument"),
            ("number -1", document([(-1, one)]), {}, "InvalidArgument"),
            ("number 10001", document([(10001, one)]), {}, "InvalidArgument"),
            ("wrong order", document([(2, two), (1, one)]), {}, "InvalidPartOrder"),
            ("twice", document([(1, one), (1, one)]), {}, "InvalidPartOrder"),
            ("never uploaded", document([(1, one), (3, two)]), {}, "InvalidPart"),
            ("another ETag", document([(1, two)]), {}, "InvalidPart"),
            ("ETag that is none", document([(1, "x&y")]), {}, "InvalidPart"),
            ("too small", document([(1, one), (2, two)]), {}, "EntityTooSmall"),
            ("size", document([(1, one)]), {"x-amz-mp-object-size": "5"}, "InvalidRequest"),
            ("size in words", document([(1, one)]), {"x-amz-mp-object-size": "five"}, "InvalidRequest"),
            ("long", document([(1, one)]) + 2200000 * b" ", {}, "MaxMessageLengthExceeded"),
            ("digest", document([(1, one)]), {"content-md5": base64(md5(b"").digest())}, "BadDigest"),
            ("checksum", part.encode() * 2, {}, "MalformedXML"),
        ):
            with self.subTest(name):
                self.assertRefused(self.complete(self.upload, body, headers), 400, code)
        small = self.complete(self.upload, [(1, one), (2, two)])
        self.assertEqual(small.detail("PartNumber"), "1")
        self.assertEqual(small.detail("MinSizeAllowed"), str(LEAST))
        self.assertEqual(small.detail("ProposedSize"), str(len(SECOND)))
        invalid = self.complete(self.upload, [(3, one)])
        self.assertEqual(invalid.detail("PartNumber"), "3")
        self.assertEqual(invalid.detail("UploadId"), self.upload)

    def test_numbers(self) -> None:
        """Parts are numbered from 1 to 10000."""
        for number in ("0", "10001", "-1", "one", "1.5", "", "99999999999999999999", "%D9%A3"):
            for headers in ({}, {"x-amz-copy-source": "photos/none"}):
                with self.subTest(f"{number} {headers}"):
                    target = f"/photos/up?partNumber={number}&uploadId={self.upload}"
                    answer = self.alice.ask("PUT", target, b"" if headers else b"x", headers)
                    self.assertRefused(answer, 400, "InvalidArgument")
                    self.assertEqual(answer.detail("ArgumentName"), "partNumber")
        answer = self.alice.ask("PUT", f"/photos/up?uploadId={self.upload}", b"x")
        self.assertRefused(answer, 400, "InvalidArgument")

    def test_unknown_uploads(self) -> None:
        """Unknown, another's key, another's bucket: all the same."""
        for target, upload in (
            ("/photos/up", "nothing"),
            ("/photos/up", ""),
            ("/photos/up", "x" * 2000),
            ("/photos/up", "%00"),
            ("/photos/other", self.upload),
            ("/documents/up", self.upload),
        ):
            for method, query, body in (
                ("PUT", "partNumber=1&", b"x"),
                ("POST", "", document([(1, MISSING)])),
                ("DELETE", "", b""),
                ("GET", "", b""),
            ):
                with self.subTest(f"{method} {target} {upload}"):
                    answer = self.alice.ask(method, f"{target}?{query}uploadId={upload}", body)
                    if upload == "%00":
                        self.assertRefused(answer, 400, "InvalidURI")
                    else:
                        self.assertRefused(answer, 404, "NoSuchUpload")
                        self.assertEqual(answer.detail("UploadId") or "", upload)

    def test_parts(self) -> None:
        """A bad part leaves the one that was there."""
        for headers, code in (
            ({"content-md5": base64(md5(b"other").digest())}, "BadDigest"),
            ({"content-md5": "x"}, "InvalidDigest"),
            ({"x-amz-checksum-crc32": "AAAAAA=="}, "BadDigest"),
            ({"content-length": str(5 * 1024**3 + 1)}, "EntityTooLarge"),
        ):
            with self.subTest(code):
                self.assertRefused(self.part(self.upload, 1, b"data", headers), 400, code)

    def test_copied_parts(self) -> None:
        """A copy into a part needs a source, and a range inside of it."""
        self.assertSucceeded(self.alice.ask("PUT", "/documents/ten", b"0123456789"))
        self.before = self.server.settled()
        for headers, status, code in (
            ({"x-amz-copy-source": "documents/none"}, 404, "NoSuchKey"),
            ({"x-amz-copy-source": "nowhere/none"}, 404, "NoSuchBucket"),
            ({"x-amz-copy-source": "documents"}, 400, "InvalidArgument"),
            *(
                (
                    {"x-amz-copy-source": "documents/ten", "x-amz-copy-source-range": wanted},
                    400,
                    "InvalidArgument",
                )
                for wanted in (
                    "bytes=0-10",
                    "bytes=10-10",
                    "bytes=5-4",
                    "bytes=5-",
                    "bytes=-5",
                    "0-5",
                    "bytes=0-1,3-4",
                    "bytes=a-b",
                )
            ),
            (
                {"x-amz-copy-source": "documents/ten", "x-amz-copy-source-if-match": "x"},
                412,
                "PreconditionFailed",
            ),
        ):
            with self.subTest(headers):
                self.assertRefused(self.part(self.upload, 1, b"", headers), status, code)

    def test_creating(self) -> None:
        """An upload whose object could not be stored is not begun."""
        for headers, status, code in (
            ({"x-amz-storage-class": "CHEAP"}, 400, "InvalidStorageClass"),
            ({"x-amz-meta-a": "b" * 2048}, 400, "MetadataTooLarge"),
            ({"x-amz-tagging": "a=b"}, 501, "NotImplemented"),
            ({"x-amz-acl": "public-read"}, 400, "AccessControlListNotSupported"),
            ({"x-amz-object-lock-mode": "GOVERNANCE"}, 501, "NotImplemented"),
        ):
            with self.subTest(headers):
                self.assertRefused(
                    self.alice.ask("POST", "/photos/up?uploads", headers=headers), status, code
                )

    def test_too_many(self) -> None:
        """A bucket may limit how many uploads are open at once."""
        first = self.create("/few/up")
        answer = self.alice.ask("POST", "/few/more?uploads")
        self.assertRefused(answer, 503, "SlowDown")
        self.assertSucceeded(self.abort(first, "/few/up"), 204)
        second = self.create("/few/more")
        self.assertSucceeded(self.abort(second, "/few/more"), 204)
        self.before["uploads"] = self.server.settled()["uploads"]
