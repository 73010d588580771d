"""Multipart uploads over HTTP from create to complete."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from zlib import crc32

from attrs import evolve

from tests.integration.asking import UNSIGNED
from tests.integration.s3_server import DIRECTORIES
from tests.integration.uploading import FIRST, LEAST, SECOND, UploadCase, base64, composite, document, etag


class GoodUploadTests(UploadCase):
    """How it is meant."""

    def test_whole_life(self) -> None:
        """Parts in any order become one object, with the metadata the upload was created with."""
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/up"), 204)
        headers = {"content-type": "text/plain", "x-amz-meta-a": "b"}
        created = self.assertSucceeded(self.alice.ask("POST", "/photos/up?uploads", headers=headers))
        self.assertEqual((created.text("Bucket"), created.text("Key")), ("photos", "up"))
        upload = created.text("UploadId") or ""
        self.assertRegex(upload, r"^[A-Za-z0-9._~-]{16,}$")
        self.assertEqual(self.part(upload, 2, SECOND).header("etag"), f'"{etag(SECOND)}"')
        self.assertEqual(self.part(upload, 1, FIRST).header("etag"), f'"{etag(FIRST)}"')
        self.assertRefused(self.alice.ask("GET", "/photos/up"), 404, "NoSuchKey")
        done = self.assertSucceeded(self.complete(upload, [(1, etag(FIRST)), (2, f'"{etag(SECOND)}"')]))
        self.assertEqual(done.text("ETag"), f'"{composite(FIRST, SECOND)}"')
        self.assertEqual((done.text("Bucket"), done.text("Key")), ("photos", "up"))
        self.assertTrue((done.text("Location") or "").endswith("/photos/up"))
        got = self.alice.ask("GET", "/photos/up")
        self.assertEqual(got.body, FIRST + SECOND)
        self.assertEqual(got.header("etag"), f'"{composite(FIRST, SECOND)}"')
        self.assertEqual((got.header("content-type"), got.header("x-amz-meta-a")), ("text/plain", "b"))
        listed = self.alice.ask("GET", "/photos?list-type=2&prefix=up")
        self.assertEqual(listed.texts("Contents/Size"), [str(LEAST + 6000)])

    def test_location(self) -> None:
        """The answer says where the object is, in the way the client addresses it."""
        for host, target in (
            ("localhost:9000", "/photos/a%20b%2F%C3%A9"),
            ("photos.s3.example.net", "/a%20b%2F%C3%A9"),
        ):
            with self.subTest(host):
                caller = evolve(self.alice, host=host)
                upload = caller.ask("POST", f"{target}?uploads").text("UploadId")
                caller.ask("PUT", f"{target}?partNumber=1&uploadId={upload}", b"one")
                done = caller.ask("POST", f"{target}?uploadId={upload}", document([(1, etag(b"one"))]))
                expected = f"http://{host}{target.replace('%2F', '/')}"
                self.assertEqual((done.text("Location"), done.text("Key")), (expected, "a b/é"))

    def test_one_part(self) -> None:
        """One part is enough, small or empty, and any number will do."""
        for number, data in ((1, b""), (10000, b"only"), (7, SECOND)):
            with self.subTest(f"{number} {len(data)}"):
                upload = self.create()
                self.assertSucceeded(self.part(upload, number, data))
                done = self.assertSucceeded(self.complete(upload, [(number, etag(data))]))
                self.assertEqual(done.text("ETag"), f'"{composite(data)}"')
                self.assertEqual(self.alice.ask("GET", "/photos/up").body, data)

    def test_some_of_them(self) -> None:
        """Only listed parts count; the others are discarded; numbers may have gaps."""
        upload = self.create()
        for number, data in ((2, FIRST), (5, b"not wanted"), (9, SECOND)):
            self.assertSucceeded(self.part(upload, number, data))
        self.assertSucceeded(self.complete(upload, [(2, etag(FIRST)), (9, etag(SECOND))]))
        self.assertEqual(self.alice.ask("GET", "/photos/up").body, FIRST + SECOND)
        self.assertEqual(self.server.settled()["uploads on a"], [])

    def test_replaced_part(self) -> None:
        """The last part of a number counts."""
        upload = self.uploaded(b"one")
        self.assertSucceeded(self.part(upload, 1, b"two"))
        self.assertRefused(self.complete(upload, [(1, etag(b"one"))]), 400, "InvalidPart")
        self.assertSucceeded(self.complete(upload, [(1, etag(b"two"))]))
        self.assertEqual(self.alice.ask("GET", "/photos/up").body, b"two")

    def test_lenient_documents(self) -> None:
        """Namespace, quotes, order and white space are as the client likes."""
        for body in (
            b'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Part><ETag>&quot;%b&quot;'
            b"</ETag><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>",
            b'<?xml version="1.0" encoding="UTF-8"?>\n<CompleteMultipartUpload>\n <Part>\n'
            b"  <PartNumber> 1 </PartNumber>"
            b'\n  <ETag>"%b"</ETag>\n <Size>3</Size></Part>\n</CompleteMultipartUpload>\n',
            b"<CompleteMultipartUpload><Part><PartNumber>01</PartNumber><ETag>%b</ETag></Part>"
            b"</CompleteMultipartUpload>",
        ):
            with self.subTest(body):
                upload = self.uploaded(b"one")
                self.assertSucceeded(self.complete(upload, body % etag(b"one").encode()))

    def test_repeated_completion(self) -> None:
        """A client that lost the answer gets it again, as long as it asks for the same."""
        upload = self.uploaded(FIRST, SECOND)
        listed = [(1, etag(FIRST)), (2, etag(SECOND))]
        first = self.assertSucceeded(self.complete(upload, listed))
        again = self.assertSucceeded(self.complete(upload, listed))
        self.assertEqual(again.text("ETag"), first.text("ETag"))
        self.assertRefused(self.complete(upload, listed[:1]), 404, "NoSuchUpload")
        self.assertRefused(self.part(upload, 1, b"late"), 404, "NoSuchUpload")
        self.assertRefused(self.alice.ask("GET", f"/photos/up?uploadId={upload}"), 404, "NoSuchUpload")
        self.assertIn(self.abort(upload).status, (204, 404))
        self.assertEqual(self.alice.ask("GET", "/photos/up").body, FIRST + SECOND)

    def test_at_once(self) -> None:
        """Two who complete it at the same time get one object."""
        upload = self.uploaded(FIRST, SECOND)
        listed = [(1, etag(FIRST)), (2, etag(SECOND))]
        with ThreadPoolExecutor(8) as threads:
            statuses = [
                answer.status for answer in threads.map(lambda _: self.complete(upload, listed), range(8))
            ]
        self.assertIn(200, statuses)
        self.assertTrue(set(statuses) <= {200, 404, 409, 503}, statuses)
        self.assertEqual(self.alice.ask("GET", "/photos/up").body, FIRST + SECOND)

    def test_parts_at_once(self) -> None:
        """Parts may arrive at the same time."""
        upload = self.create()
        parts = [bytes([number]) * LEAST for number in range(4)]
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda number: self.part(upload, number + 1, parts[number]), range(4)))
        self.assertEqual([answer.status for answer in answers], 4 * [200])
        self.assertSucceeded(self.complete(upload, [(n, etag(data)) for n, data in enumerate(parts, 1)]))
        self.assertEqual(self.alice.ask("GET", "/photos/up").body, b"".join(parts))

    def test_reading_parts(self) -> None:
        """A part may be read by its number, on GET and HEAD."""
        upload = self.uploaded(FIRST, SECOND, target="/photos/parted")
        listed = [(1, etag(FIRST)), (2, etag(SECOND))]
        self.assertSucceeded(self.complete(upload, listed, target="/photos/parted"))
        size = LEAST + len(SECOND)
        for number, data, place in ((1, FIRST, f"0-{LEAST - 1}"), (2, SECOND, f"{LEAST}-{size - 1}")):
            for method in ("GET", "HEAD"):
                with self.subTest(f"{method} {number}"):
                    answer = self.alice.ask(method, f"/photos/parted?partNumber={number}")
                    self.assertEqual(answer.status, 206)
                    self.assertEqual(answer.header("content-range"), f"bytes {place}/{size}")
                    self.assertEqual(answer.header("content-length"), str(len(data)))
                    self.assertEqual(answer.header("x-amz-mp-parts-count"), "2")
                    self.assertEqual(answer.header("etag"), f'"{composite(FIRST, SECOND)}"')
                    self.assertEqual(answer.body, data if method == "GET" else b"")
        self.assertRefused(self.alice.ask("GET", "/photos/parted?partNumber=3"), 416, "InvalidPartNumber")
        self.assertIsNone(self.alice.ask("HEAD", "/photos/parted").header("x-amz-mp-parts-count"))

    def test_reading_an_empty_part(self) -> None:
        """An empty last part is nothing, not everything."""
        upload = self.uploaded(FIRST, b"", target="/photos/tail")
        self.assertSucceeded(self.complete(upload, [(1, etag(FIRST)), (2, etag(b""))], target="/photos/tail"))
        answer = self.alice.ask("GET", "/photos/tail?partNumber=2")
        self.assertEqual((answer.status, answer.body), (206, b""))
        self.assertEqual(answer.header("content-length"), "0")
        self.assertEqual(answer.header("x-amz-mp-parts-count"), "2")
        self.assertEqual(self.alice.ask("GET", "/photos/tail?partNumber=1").body, FIRST)

    def test_overwriting(self) -> None:
        """Completing replaces the object that was there, at once."""
        self.assertSucceeded(self.alice.ask("PUT", "/photos/up", b"old", {"x-amz-meta-old": "yes"}))
        upload = self.uploaded(b"new")
        self.assertEqual(self.alice.ask("GET", "/photos/up").body, b"old")
        self.assertSucceeded(self.complete(upload, [(1, etag(b"new"))]))
        got = self.alice.ask("GET", "/photos/up")
        self.assertEqual((got.body, got.header("x-amz-meta-old")), (b"new", None))

    def test_copied_parts(self) -> None:
        """Parts may be copied, whole or in ranges, from any bucket one may read."""
        self.assertSucceeded(
            self.alice.ask("PUT", "/documents/source", FIRST + SECOND, payload_hash=UNSIGNED)
        )
        upload = self.create("/photos/joined")
        tags = []
        for number, wanted, data in (
            (1, f"bytes=0-{LEAST - 1}", FIRST),
            (2, None, FIRST + SECOND),
            (3, f"bytes={LEAST}-{LEAST + 5}", b"second"),
        ):
            headers = {"x-amz-copy-source": "documents/source"}
            if wanted is not None:
                headers["x-amz-copy-source-range"] = wanted
            answer = self.part(upload, number, b"", headers, "/photos/joined")
            self.assertEqual(self.assertSucceeded(answer).text("ETag"), f'"{etag(data)}"')
            self.assertRegex(answer.text("LastModified") or "", r"\.000Z$")
            tags.append((number, etag(data)))
        self.assertSucceeded(self.complete(upload, tags, target="/photos/joined"))
        self.assertEqual(self.alice.ask("GET", "/photos/joined").body, FIRST + FIRST + SECOND + b"second")

    def test_copy_of_parts(self) -> None:
        """The copy of a multipart object is an object with the same bytes."""
        upload = self.uploaded(FIRST, SECOND)
        self.assertSucceeded(self.complete(upload, [(1, etag(FIRST)), (2, etag(SECOND))]))
        copied = self.alice.ask("PUT", "/photos/copied", headers={"x-amz-copy-source": "photos/up"})
        self.assertSucceeded(copied)
        got = self.alice.ask("GET", "/photos/copied")
        self.assertEqual(got.body, FIRST + SECOND)
        self.assertEqual(got.header("etag"), copied.text("ETag"))

    def test_condition(self) -> None:
        """A condition is decided when it is completed; the upload stays open if it fails."""
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/up"), 204)
        upload = self.uploaded(b"one")
        listed = [(1, etag(b"one"))]
        self.assertRefused(self.complete(upload, listed, {"if-match": "*"}), 404, "NoSuchKey")
        self.assertSucceeded(self.alice.ask("PUT", "/photos/up", b"there"))
        refused = self.complete(upload, listed, {"if-none-match": "*"})
        self.assertRefused(refused, 412, "PreconditionFailed")
        self.assertRefused(self.complete(upload, listed, {"if-match": '"0123"'}), 412, "PreconditionFailed")
        self.assertEqual(self.alice.ask("GET", "/photos/up").body, b"there")
        self.assertSucceeded(self.complete(upload, listed, {"if-match": f'"{etag(b"there")}"'}))
        self.assertEqual(self.alice.ask("GET", "/photos/up").body, b"one")

    def test_abort(self) -> None:
        """What is aborted is gone, with all its parts."""
        before = self.server.settled()
        upload = self.uploaded(FIRST, SECOND)
        self.assertSucceeded(self.abort(upload), 204)
        self.assertRefused(self.abort(upload), 404, "NoSuchUpload")
        self.assertRefused(self.part(upload, 3, b"late"), 404, "NoSuchUpload")
        self.assertRefused(self.complete(upload, [(1, etag(FIRST))]), 404, "NoSuchUpload")
        self.assertEqual(self.server.settled(), before)


class UploadsOnDirectoriesTests(GoodUploadTests):
    """The same, with parts in files."""

    backends = DIRECTORIES


class ChecksumTests(UploadCase):
    """Checksums of parts and of the whole."""

    def _parts(self, upload: str, name: str, values: Sequence[str]) -> list[tuple[int, str]]:
        for number, (data, value) in enumerate(zip((FIRST, SECOND), values, strict=True), 1):
            answer = self.part(upload, number, data, {f"x-amz-checksum-{name}": value})
            self.assertEqual(self.assertSucceeded(answer).header(f"x-amz-checksum-{name}"), value)
        return [(1, etag(FIRST)), (2, etag(SECOND))]

    def test_composite(self) -> None:
        """The checksum of the parts' checksums."""
        values = [base64(sha256(data).digest()) for data in (FIRST, SECOND)]
        upload = self.create(headers={"x-amz-checksum-algorithm": "SHA256"})
        listed = self._parts(upload, "sha256", values)
        self.assertRefused(self.complete(upload, listed), 400, "InvalidRequest")
        body = (
            "<CompleteMultipartUpload>"
            + "".join(
                f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag><ChecksumSHA256>{value}</ChecksumSHA256></Part>"
                for (number, tag), value in zip(listed, values, strict=True)
            )
            + "</CompleteMultipartUpload>"
        ).encode()
        wrong = body.replace(values[0].encode(), values[1].encode())
        self.assertRefused(self.complete(upload, wrong), 400, "InvalidPart")
        done = self.assertSucceeded(self.complete(upload, body))
        joined = sha256(sha256(FIRST).digest() + sha256(SECOND).digest()).digest()
        self.assertEqual(done.text("ChecksumSHA256"), f"{base64(joined)}-2")
        self.assertEqual(done.text("ChecksumType"), "COMPOSITE")
        asked = self.alice.ask("HEAD", "/photos/up", headers={"x-amz-checksum-mode": "ENABLED"})
        self.assertEqual(asked.header("x-amz-checksum-sha256"), f"{base64(joined)}-2")
        part = self.alice.ask("HEAD", "/photos/up?partNumber=2", headers={"x-amz-checksum-mode": "ENABLED"})
        self.assertEqual(part.header("x-amz-checksum-sha256"), values[1])
        self._check_attributes(values)

    def _check_attributes(self, values: Sequence[str]) -> None:
        words = {"x-amz-object-attributes": "ObjectParts,Checksum"}
        answer = self.alice.ask("GET", "/photos/up?attributes", headers=words)
        self.assertEqual(answer.text("ObjectParts/PartsCount"), "2")
        self.assertEqual(answer.texts("ObjectParts/Part/PartNumber"), ["1", "2"])
        self.assertEqual(answer.texts("ObjectParts/Part/Size"), [str(LEAST), str(len(SECOND))])
        self.assertEqual(answer.texts("ObjectParts/Part/ChecksumSHA256"), values)
        page = self.alice.ask("GET", "/photos/up?attributes", headers={**words, "x-amz-max-parts": "1"})
        self.assertEqual(page.text("ObjectParts/IsTruncated"), "true")
        self.assertEqual(page.text("ObjectParts/NextPartNumberMarker"), "1")
        rest = self.alice.ask(
            "GET", "/photos/up?attributes", headers={**words, "x-amz-part-number-marker": "1"}
        )
        self.assertEqual(rest.texts("ObjectParts/Part/PartNumber"), ["2"])

    def test_whole(self) -> None:
        """The CRC of the whole follows from the parts', and may be told by the client too."""
        values = [base64(crc32(data).to_bytes(4, "big")) for data in (FIRST, SECOND)]
        whole = base64(crc32(FIRST + SECOND).to_bytes(4, "big"))
        upload = self.create(
            headers={"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"}
        )
        listed = self._parts(upload, "crc32", values)
        wrong = self.complete(upload, listed, {"x-amz-checksum-crc32": values[0]})
        self.assertRefused(wrong, 400, "BadDigest")
        done = self.assertSucceeded(self.complete(upload, listed, {"x-amz-checksum-crc32": whole}))
        self.assertEqual((done.text("ChecksumCRC32"), done.text("ChecksumType")), (whole, "FULL_OBJECT"))
        asked = self.alice.ask("GET", "/photos/up", headers={"x-amz-checksum-mode": "ENABLED"})
        self.assertEqual(asked.header("x-amz-checksum-crc32"), whole)

    def test_refused(self) -> None:
        """What does not go together is refused when the upload is created, or the part sent."""
        for headers in (
            {"x-amz-checksum-algorithm": "CRC16"},
            {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "COMPOSITE"},
            {"x-amz-checksum-algorithm": "SHA1", "x-amz-checksum-type": "FULL_OBJECT"},
            {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "HALF"},
            {"x-amz-checksum-type": "COMPOSITE"},
        ):
            with self.subTest(headers):
                answer = self.alice.ask("POST", "/photos/up?uploads", headers=headers)
                self.assertRefused(answer, 400, "InvalidRequest")
        upload = self.create(headers={"x-amz-checksum-algorithm": "SHA256"})
        before = self.server.settled()
        crc = base64(crc32(SECOND).to_bytes(4, "big"))
        self.assertRefused(self.part(upload, 1, SECOND, {"x-amz-checksum-crc32": crc}), 400, "InvalidRequest")
        wrong = base64(sha256(FIRST).digest())
        self.assertRefused(self.part(upload, 1, SECOND, {"x-amz-checksum-sha256": wrong}), 400, "BadDigest")
        self.assertEqual(self.server.settled(), before)
        self.assertSucceeded(self.abort(upload), 204)


class ListingPartsTests(UploadCase):
    """ListParts."""

    def test_pages(self) -> None:
        """Parts come in ascending order, in pages."""
        upload = self.create()
        for number in (5, 1, 3, 2):
            self.assertSucceeded(self.part(upload, number, b"x" * number))
        whole = self.assertSucceeded(self.alice.ask("GET", f"/photos/up?uploadId={upload}"))
        self.assertEqual(whole.texts("Part/PartNumber"), ["1", "2", "3", "5"])
        self.assertEqual(whole.texts("Part/Size"), ["1", "2", "3", "5"])
        self.assertEqual(whole.texts("Part/ETag"), [f'"{etag(b"x" * number)}"' for number in (1, 2, 3, 5)])
        self.assertEqual((whole.text("IsTruncated"), whole.text("MaxParts")), ("false", "1000"))
        self.assertEqual((whole.text("UploadId"), whole.text("Key")), (upload, "up"))
        self.assertEqual(whole.text("PartNumberMarker"), "0")
        found, marker = [], "0"
        while True:
            target = f"/photos/up?uploadId={upload}&max-parts=3&part-number-marker={marker}"
            page = self.assertSucceeded(self.alice.ask("GET", target))
            found.append(page.texts("Part/PartNumber"))
            marker = page.text("NextPartNumberMarker") or ""
            if page.text("IsTruncated") == "false":
                break
        self.assertEqual(found, [["1", "2", "3"], ["5"]])
        for query in ("max-parts=-1", "max-parts=x", "part-number-marker=-1", "part-number-marker=x"):
            with self.subTest(query):
                answer = self.alice.ask("GET", f"/photos/up?uploadId={upload}&{query}")
                self.assertRefused(answer, 400, "InvalidArgument")
        self.assertSucceeded(self.abort(upload), 204)

    def test_none(self) -> None:
        """An upload without parts has a list too."""
        upload = self.create()
        answer = self.assertSucceeded(self.alice.ask("GET", f"/photos/up?uploadId={upload}"))
        self.assertEqual(answer.texts("Part"), [])
        self.assertSucceeded(self.abort(upload), 204)
