"""The S3 backend, against services that answer what no real one would, or only on a bad day."""

from __future__ import annotations

from base64 import b64encode
from hashlib import md5, sha256
from typing import Any
from zlib import crc32

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from s3orchestrator.backends import s3_listings
from s3orchestrator.backends.credentials import ChainCredentials, Keys
from s3orchestrator.backends.dialling import Address, dial_with
from s3orchestrator.backends.s3_listings import EMPTY_PAGES
from s3orchestrator.backends.s3_requests import ASKS_FROM, S3Requests
from s3orchestrator.backends.s3_uploads import COPIED_AT_ONCE
from s3orchestrator.backends.transport import HttpClient
from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.concurrency import start
from s3orchestrator.errors import (
    BackendRefused,
    BackendUnavailable,
    BlobChanged,
    InvalidPart,
    NameTaken,
    NoSuchBlob,
    NoSuchUpload,
)
from s3orchestrator.interfaces import Description
from s3orchestrator.protocol.ranges import ByteRange
from s3orchestrator.protocol.sigv4 import SigningKeys, parse, verify
from tests.unit.backends.bodies import HandFed
from tests.unit.backends.scripted import Peer, the_reactor
from tests.unit.backends.services import SECRET, Answer, Request, ServiceTestCase, document, error

PLAIN = Description("text/plain", {"s3o": "x"})
ETAG = {"ETag": '"e"'}
RANGE = ByteRange(2, 4)
GIB = 1024**3


def ranged(content_range: str, body: bytes = b"234", etag: str = "e") -> Answer:
    return Answer(206, body, {"ETag": f'"{etag}"', "Content-Range": content_range})


class PuttingTests(ServiceTestCase):
    """Writes."""

    async def put(self, **options: Any) -> Any:
        body = options.pop("body", None) or BytesBody(b"abc")
        return await self.backend.put("k", body, PLAIN, **{"exclusive": False, **options})

    async def test_request(self) -> None:
        """
        A small body is hashed and has a checksum; what describes it is signed.
        """
        self.serve(Answer(200, b"", {**ETAG, "x-amz-version-id": "v1"}))
        stored = await self.put(exclusive=True)
        self.assertEqual((stored.etag, stored.version_id), ("e", "v1"))
        (request,) = self.requests
        self.assertEqual((request.method, request.path, request.body), (b"PUT", b"/bucket/k", b"abc"))
        for name, value in [
            (b"if-none-match", b"*"),
            (b"content-type", b"text/plain"),
            (b"x-amz-meta-s3o", b"x"),
            (b"x-amz-content-sha256", sha256(b"abc").hexdigest().encode()),
            (b"x-amz-checksum-crc32", b64encode(crc32(b"abc").to_bytes(4, "big"))),
        ]:
            self.assertEqual(request.headers[name], [value])
        self.assertVerifies(request)

    def assertVerifies(self, request: Request) -> None:
        claim = parse(request)
        assert claim is not None
        verify(
            claim,
            request,
            SECRET,
            now=the_reactor().seconds(),
            region="us-east-1",
            keys=SigningKeys(),
        )

    async def test_settings(self) -> None:
        """
        What some services object to can be left out; bodies need not be hashed.
        """
        for settings, checksum, payload in [
            ({"disable_checksum": True}, False, sha256(b"abc").hexdigest().encode()),
            ({"strip_sdk_headers": True}, False, sha256(b"abc").hexdigest().encode()),
            ({"unsigned_payload": True}, True, b"UNSIGNED-PAYLOAD"),
        ]:
            self.serve(Answer(200, b"", ETAG), **settings)
            await self.put()
            (request,) = self.requests
            self.assertEqual(request.value(b"x-amz-checksum-crc32") is not None, checksum)
            self.assertEqual(request.value(b"x-amz-content-sha256"), payload)
            self.assertVerifies(request)
            self.assertIsNone(request.value(b"user-agent"))

    async def test_without_etag(self) -> None:
        """
        Success without an ETag is not clear.
        """
        self.serve(Answer(200))
        self.assertTrue((await self.fails(self.put(), BackendUnavailable)).sent)

    async def test_refused(self) -> None:
        """
        A clear refusal is one, with what the service says; everything else may be different later.
        """
        elsewhere = {"Location": "http://127.0.0.1:1/"}
        for answer, kind in [
            (Answer(403, error("AccessDenied")), BackendRefused),
            (Answer(400, error("EntityTooLarge")), BackendRefused),
            (Answer(404, error("NoSuchBucket")), BackendRefused),
            (Answer(501, error("NotImplemented")), BackendRefused),
            (Answer(507, error("XMinioStorageFull")), BackendRefused),
            (Answer(301, error("PermanentRedirect"), elsewhere), BackendRefused),
            (Answer(307, error("TemporaryRedirect"), elsewhere), BackendUnavailable),
            (Answer(400, error("RequestTimeout")), BackendUnavailable),
            (Answer(409, error("OperationAborted")), BackendUnavailable),
            (Answer(409, error("ConditionalRequestConflict")), BackendUnavailable),
            (Answer(429), BackendUnavailable),
            (Answer(500, error("InternalError")), BackendUnavailable),
            (Answer(502, b"<html>bad gateway</html>"), BackendUnavailable),
            (Answer(503, error("SlowDown")), BackendUnavailable),
            (Answer(403, b"x" * 100_000), BackendRefused),
            (Answer(403, b"<Error><Code>" + b"x" * 10), BackendRefused),
            (b"HTTP/1.1 403 No\r\nContent-Length: 10\r\n\r\n<Err", BackendUnavailable),
        ]:
            self.serve(answer)
            failure = await self.fails(self.put(), kind)
            self.assertIn("oci", str(failure))
            self.assertTrue(failure.sent)
            if isinstance(answer, Answer) and isinstance(failure, BackendRefused):
                self.assertEqual(failure.status, answer.status)

    async def test_taken(self) -> None:
        """
        412 says that the name is taken, where that was asked.
        """
        self.serve(Answer(412, error("PreconditionFailed")), Answer(412, error("PreconditionFailed")))
        await self.fails(self.put(exclusive=True), NameTaken)
        await self.fails(self.put(), BackendRefused)

    async def test_taken_after_resend(self) -> None:
        """
        After a resend it may have been the first attempt that took it.
        """

        async def first(peer: Peer) -> None:
            await self.request(peer)
            peer.reply(200, b"", **ETAG)
            await self.request(peer)
            peer.close()

        async def second(peer: Peer) -> None:
            await self.request(peer)
            peer.reply(412, error("PreconditionFailed"))

        self.serve_scripts(first, second)
        await self.put()
        self.assertTrue((await self.fails(self.put(exclusive=True), BackendUnavailable)).sent)

    async def test_refused_before_it_starts(self) -> None:
        """
        A large body that is refused was not started, and can go to another backend.
        """
        self.serve(Answer(507, error("NoSpace")), Answer(412, error("PreconditionFailed")))
        for kind in (BackendRefused, NameTaken):
            body = HandFed(ASKS_FROM)
            await self.fails(self.put(body=body, exclusive=True), kind)
            self.assertFalse(body.started)
        self.assertEqual(self.requests[0].value(b"expect"), b"100-continue")

    async def test_refused_meanwhile(self) -> None:
        """
        One that is refused while it streams is stopped.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.take(3)
            peer.reply(403, error("AccessDenied"))
            await peer.closed

        self.serve_scripts(script)
        body = HandFed(10)
        putting = start(self.put(body=body))
        while not body.started:
            await self.turn()
        body.feed(b"abc")
        self.assertEqual((await self.fails(putting, BackendRefused)).code, "AccessDenied")
        self.assertTrue(body.stops)

    async def turn(self) -> None:
        turned: Deferred[None] = Deferred()
        the_reactor().callLater(0.001, turned.callback, None)
        await turned

    async def test_nobody_there(self) -> None:
        """
        Where nobody listens nothing was sent.
        """
        self.serve()
        await self.server.refuse()
        self.assertFalse((await self.fails(self.put(), BackendUnavailable)).sent)

    async def test_names(self) -> None:
        """
        A name that no service would take is not sent.
        """
        self.serve()
        for name in ("", "x" * 1025):
            for call in (
                self.backend.put(name, BytesBody(b""), PLAIN, exclusive=False),
                self.backend.copy("k", name, PLAIN, exclusive=False),
                self.backend.create_upload(name, PLAIN),
            ):
                await self.fails(call, BackendRefused)


class ReadingTests(ServiceTestCase):
    """Reads prove what they read before anybody sees a byte."""

    async def test_whole(self) -> None:
        """
        All of it, if it is the one.
        """
        self.serve(Answer(200, b"0123456789", ETAG))
        found = await self.backend.get("k", etag="e")
        self.assertEqual((found.size, found.etag), (10, "e"))
        self.assertEqual(await collect(found.body, 10), b"0123456789")
        self.assertEqual(self.requests[0].value(b"if-match"), b'"e"')

    async def test_part(self) -> None:
        """
        A part, if it is the one that was asked for; one past the end is cut by the service.
        """
        self.serve(
            ranged("bytes 2-4/10"),
            ranged("bytes 2-4/5"),
            Answer(200, b"01234", ETAG),
        )
        found = await self.backend.get("k", RANGE, etag="e")
        self.assertEqual((found.size, found.body.length), (10, 3))
        found = await self.backend.get("k", ByteRange(2, 100))
        self.assertEqual((found.size, found.body.length), (5, 3))
        found = await self.backend.get("k", ByteRange(0, 4))
        self.assertEqual((found.size, found.body.length), (5, 5))
        self.assertEqual([each.value(b"range") for each in self.requests][:2], [b"bytes=2-4", b"bytes=2-100"])

    async def test_other_bytes(self) -> None:
        """
        A reply about other bytes, or that does not say about which, is no answer.
        """
        for answer in [
            ranged("bytes 1-3/10"),
            ranged("bytes 2-5/10", b"2345"),
            ranged("bytes 2-4/10", b"23"),
            ranged("bytes */10"),
            ranged("bytes 2-4/*"),
            Answer(206, b"234", ETAG),
            Answer(200, b"0123456789", ETAG),
            b'HTTP/1.1 206 OK\r\nETag: "e"\r\nContent-Range: bytes 2-4/10\r\n\r\n234',
        ]:
            self.serve(answer)
            await self.fails(self.backend.get("k", RANGE, etag="e"), BackendUnavailable)

    async def test_no_range_wanted(self) -> None:
        """
        A part is no answer to who wants everything, nor is a body without a length.
        """
        for answer in [ranged("bytes 2-4/10"), b'HTTP/1.1 200 OK\r\nETag: "e"\r\n\r\n234']:
            self.serve(answer)
            await self.fails(self.backend.get("k", etag="e"), BackendUnavailable)

    async def test_other_object(self) -> None:
        """
        Another object is not given out, whether the service looks at the ETag or not.
        """
        for answer in [
            Answer(412, error("PreconditionFailed")),
            Answer(200, b"0123456789", {"ETag": '"f"'}),
            Answer(200, b"0123456789"),
        ]:
            self.serve(answer)
            await self.fails(self.backend.get("k", etag="e"), BlobChanged)

    async def test_large_reply_refused(self) -> None:
        """
        A large body that is not wanted is not read.
        """

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.send(b'HTTP/1.1 200 OK\r\nETag: "f"\r\nContent-Length: 10000000\r\n\r\n', bytes(100000))
            await peer.closed

        self.serve_scripts(script)
        await self.fails(self.backend.get("k", etag="e"), BlobChanged)

    async def test_breaks_off(self) -> None:
        """
        A body that breaks off fails, and says whose it was.
        """
        self.serve(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 10\r\n\r\n0123')
        found = await self.backend.get("k", etag="e")
        self.assertIn("oci", str(await self.fails(collect(found.body, 10), BackendUnavailable)))

    async def test_missing(self) -> None:
        """
        Only `NoSuchKey` says that the object is missing.
        """
        for body, kind in [
            (error("NoSuchKey"), NoSuchBlob),
            (error("NoSuchBucket"), BackendRefused),
            (b"<html>nginx</html>", BackendRefused),
            (b"", BackendRefused),
        ]:
            self.serve(Answer(404, body))
            await self.fails(self.backend.get("k", etag="e"), kind)

    async def test_head_missing(self) -> None:
        """
        A HEAD does not say what is missing, so it is asked.
        """
        for body, kind in [(error("NoSuchKey"), NoSuchBlob), (error("NoSuchBucket"), BackendRefused)]:
            self.serve(b"HTTP/1.1 404 No\r\nContent-Length: 300\r\n\r\n", Answer(404, body))
            await self.fails(self.backend.head("k"), kind)

    async def test_head_missing_for_a_moment(self) -> None:
        """
        An object that appears meanwhile is neither there nor missing.
        """
        for answer in (ranged("bytes 0-0/10", b"0"), Answer(416, error("InvalidRange"))):
            self.serve(b"HTTP/1.1 404 No\r\n\r\n", answer)
            await self.fails(self.backend.head("k"), BackendUnavailable)

    async def test_head_refused(self) -> None:
        """
        Other refusals are what they are.
        """
        for status, kind in [(403, BackendRefused), (503, BackendUnavailable), (400, BackendRefused)]:
            self.serve(b"HTTP/1.1 %d No\r\n\r\n" % status)
            await self.fails(self.backend.head("k"), kind)

    async def test_head_without_length(self) -> None:
        """
        An object has a size, and not one of any length.
        """
        self.serve(b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: %s\r\n\r\n' % (b"9" * 5000))
        await self.fails(self.backend.head("k"), BackendUnavailable)
        self.serve(b'HTTP/1.1 200 OK\r\nETag: "e"\r\n\r\n')
        await self.fails(self.backend.head("k"), BackendUnavailable)


class DeletingTests(ServiceTestCase):
    """Deletes."""

    async def test_deleted(self) -> None:
        """
        Gone is gone, whether it was there or not.
        """
        for answer in [
            Answer(204),
            Answer(200),
            Answer(404, error("NoSuchKey")),
            Answer(404, error("NoSuchVersion")),
        ]:
            self.serve(answer)
            await self.backend.delete("k", "v 1")
            self.assertEqual(self.requests[0].query, b"versionId=v%201")

    async def test_not_deleted(self) -> None:
        """
        A missing bucket says nothing about the object.
        """
        for answer, kind in [
            (Answer(404, error("NoSuchBucket")), BackendRefused),
            (Answer(404), BackendRefused),
            (Answer(503), BackendUnavailable),
        ]:
            self.serve(answer)
            await self.fails(self.backend.delete("k"), kind)


class CopyingTests(ServiceTestCase):
    """Copies, which may fail with a 200."""

    async def copy(self, **options: Any) -> Any:
        return await self.backend.copy("s k", "t", PLAIN, **{"exclusive": False, **options})

    async def test_request(self) -> None:
        """
        Who copies says what, and describes the copy anew. White space may come before the answer.
        """
        self.serve(Answer(200, b" \n \n" + document("CopyObjectResult", "<ETag>&quot;c&quot;</ETag>")))
        self.assertEqual((await self.copy(exclusive=True)).etag, "c")
        (request,) = self.requests
        self.assertEqual(request.value(b"x-amz-copy-source"), b"/bucket/s%20k")
        self.assertEqual(request.value(b"x-amz-metadata-directive"), b"REPLACE")
        self.assertEqual(request.value(b"if-none-match"), b"*")
        self.assertIsNone(request.value(b"x-amz-copy-source-if-match"))

    async def test_failed_with_200(self) -> None:
        """
        An error in the document is one, and what cannot be read is not clear.
        """
        for body, kind in [
            (error("AccessDenied"), BackendRefused),
            (error("InternalError"), BackendUnavailable),
            (error("SlowDown"), BackendUnavailable),
            (error("NeverHeardOf"), BackendUnavailable),
            (error("NoSuchKey"), NoSuchBlob),
            (document("CopyObjectResult", "<LastModified>x</LastModified>"), BackendUnavailable),
            (document("SomethingElse", ""), BackendUnavailable),
            (b"<CopyObjectResult><ETag>", BackendUnavailable),
            (b"<!DOCTYPE x><CopyObjectResult><ETag>c</ETag></CopyObjectResult>", BackendUnavailable),
            (b"", BackendUnavailable),
            (b" " * 100_000, BackendUnavailable),
        ]:
            self.serve(Answer(200, body))
            self.assertTrue((await self.fails(self.copy(), kind)).sent)

    async def test_source_looked_at(self) -> None:
        """
        Unless the service is known to look at the source's ETag, we do.
        """
        self.serve(Answer(200, b"", {"ETag": '"f"'}))
        await self.fails(self.copy(source_etag="e"), BlobChanged)
        self.assertEqual([each.method for each in self.requests], [b"HEAD"])

    async def test_which_condition(self) -> None:
        """
        A 412 may be about the source or about the target.
        """
        refusal = Answer(412, error("PreconditionFailed"))
        for after, kind in [("e", NameTaken), ("f", BlobChanged)]:
            self.serve(Answer(200, b"", ETAG), refusal, Answer(200, b"", {"ETag": f'"{after}"'}))
            await self.fails(self.copy(exclusive=True, source_etag="e"), kind)
        self.serve(Answer(200, b"", ETAG), refusal)
        await self.fails(self.copy(source_etag="e"), BlobChanged)

    def large(self, size: int, refusal: Answer, *answers: Answer) -> None:
        head = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nConnection: close\r\nContent-Length: %d\r\n\r\n' % size
        self.serve(refusal, head, *answers)

    async def test_large(self) -> None:
        """
        What is too large for one copy is copied in parts.
        """
        size = 5 * GIB + 1
        self.large(
            size,
            Answer(400, error("InvalidRequest", "The specified copy source is larger than ...")),
            Answer(200, document("InitiateMultipartUploadResult", "<UploadId>u</UploadId>")),
            *[Answer(200, document("CopyPartResult", f"<ETag>p{number}</ETag>")) for number in range(1, 7)],
            Answer(200, document("CompleteMultipartUploadResult", "<ETag>whole</ETag>")),
        )
        self.assertEqual((await self.copy(exclusive=True)).etag, "whole")
        parts = self.requests[3:-1]
        ranges = [each.value(b"x-amz-copy-source-range") for each in parts]
        self.assertEqual(ranges[0], b"bytes=0-%d" % (COPIED_AT_ONCE - 1))
        self.assertEqual(ranges[-1], b"bytes=%d-%d" % (size - 1, size - 1))
        self.assertEqual([each.query for each in parts][5], b"partNumber=6&uploadId=u")
        self.assertIn(b"<PartNumber>6</PartNumber><ETag>&quot;p6&quot;</ETag>", self.requests[-1].body)
        self.assertEqual(self.requests[-1].value(b"if-none-match"), b"*")

    async def test_large_fails(self) -> None:
        """
        A large copy that fails leaves no upload behind.
        """
        self.large(
            6 * GIB,
            Answer(400, error("InvalidRequest")),
            Answer(200, document("InitiateMultipartUploadResult", "<UploadId>u</UploadId>")),
            Answer(503, error("SlowDown")),
            Answer(204),
        )
        await self.fails(self.copy(), BackendUnavailable)
        self.assertEqual((self.requests[-1].method, self.requests[-1].query), (b"DELETE", b"uploadId=u"))

    async def test_not_that_large(self) -> None:
        """
        A refusal that has nothing to do with the size is one.
        """
        self.large(100, Answer(400, error("InvalidRequest")))
        await self.fails(self.copy(), BackendRefused)


class UploadTests(ServiceTestCase):
    """Multipart uploads."""

    async def complete(self, *, exclusive: bool = False) -> Any:
        return await self.backend.complete_upload("k", "u", [(1, "aa"), (3, "bb")], exclusive=exclusive)

    async def test_without_id(self) -> None:
        """
        An upload has an id.
        """
        self.serve(Answer(200, document("InitiateMultipartUploadResult", "<Key>k</Key>")))
        await self.fails(self.backend.create_upload("k", PLAIN), BackendUnavailable)

    async def test_create_not_repeated(self) -> None:
        """
        A second upload that nobody knows of would keep its parts for ever.
        """

        async def script(peer: Peer) -> None:
            await self.request(peer)
            peer.reply(204)
            await self.request(peer)
            peer.close()

        self.serve_scripts(script, script)
        await self.backend.delete("k")
        self.assertTrue((await self.fails(self.backend.create_upload("k", PLAIN), BackendUnavailable)).sent)
        self.assertEqual(self.server.accepted, 1)

    async def test_complete(self) -> None:
        """
        Completing names numbers and ETags, and sends nothing else.
        """
        self.serve(Answer(200, document("CompleteMultipartUploadResult", "<ETag>&quot;w-2&quot;</ETag>")))
        self.assertEqual((await self.complete(exclusive=True)).etag, "w-2")
        (request,) = self.requests
        self.assertEqual((request.query, request.value(b"if-none-match")), (b"uploadId=u", b"*"))
        self.assertEqual(
            request.body,
            b'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            b"<Part><PartNumber>1</PartNumber><ETag>&quot;aa&quot;</ETag></Part>"
            b"<Part><PartNumber>3</PartNumber><ETag>&quot;bb&quot;</ETag></Part></CompleteMultipartUpload>",
        )

    async def test_complete_fails(self) -> None:
        """
        Refusals have names; a part that is wrong is told, if the service tells it.
        """
        for answer, kind in [
            (Answer(404, error("NoSuchUpload")), NoSuchUpload),
            (Answer(200, error("NoSuchUpload")), NoSuchUpload),
            (Answer(400, error("InvalidPart", PartNumber="3")), InvalidPart),
            (Answer(400, error("EntityTooSmall")), BackendRefused),
            (Answer(200, error("EntityTooSmall")), BackendRefused),
            (Answer(412, error("PreconditionFailed")), NameTaken),
            (Answer(200, error("InternalError")), BackendUnavailable),
            (Answer(503, error("SlowDown")), BackendUnavailable),
        ]:
            self.serve(answer)
            failure = await self.fails(self.complete(exclusive=True), kind)
            if isinstance(failure, InvalidPart):
                self.assertEqual(failure.number, 3)

    async def test_complete_without_etag(self) -> None:
        """
        Success without an ETag is believed if the object turns out to be made of those parts.
        """
        etag = md5(bytes.fromhex("aabb"), usedforsecurity=False).hexdigest() + "-2"
        for found, fails in [(etag, False), (etag[:-1] + "3", True), ("", True)]:
            self.serve(
                Answer(200, document("CompleteMultipartUploadResult", "<ETag></ETag>")),
                Answer(200, b"", {"ETag": f'"{found}"'}),
            )
            if fails:
                self.assertTrue((await self.fails(self.complete(), BackendUnavailable)).sent)
            else:
                self.assertEqual((await self.complete()).etag, etag)

    async def test_server_error_for_unknown_upload(self) -> None:
        """
        Some fail where they should say that they do not know the upload; so they are asked.
        """
        part = BytesBody(b"x")
        for reply, kind in [
            (Answer(404, error("NoSuchUpload")), NoSuchUpload),
            (Answer(200, document("ListPartsResult", "")), BackendUnavailable),
            (Answer(503), BackendUnavailable),
        ]:
            self.serve(Answer(500), reply)
            await self.fails(self.backend.put_part("k", "u", 1, part), kind)
            self.serve(Answer(500, error("InternalError")), reply)
            await self.fails(self.complete(), kind)

    async def test_abort(self) -> None:
        """
        Gone is gone, but a missing bucket says nothing.
        """
        self.serve(Answer(204), Answer(404, error("NoSuchUpload")), Answer(404, error("NoSuchBucket")))
        await self.backend.abort_upload("k", "u")
        await self.backend.abort_upload("k", "u")
        await self.fails(self.backend.abort_upload("k", "u"), BackendRefused)

    async def test_copied_part_without_reason(self) -> None:
        """
        A 404 that does not say what is missing is looked into.
        """
        self.serve(Answer(404), b"HTTP/1.1 404 No\r\n\r\n", Answer(404, error("NoSuchKey")))
        await self.fails(self.backend.copy_part("k", "u", 1, "s", None), NoSuchBlob)
        self.serve(Answer(404), Answer(200, b"", ETAG))
        await self.fails(self.backend.copy_part("k", "u", 1, "s", None), BackendRefused)


class ListingTests(ServiceTestCase):
    """Listings that cannot be right."""

    @staticmethod
    def page(*names: str, more: str = "") -> Answer:
        entries = "".join(
            f"<Contents><Key>{name}</Key><Size>1</Size><ETag>&quot;e&quot;</ETag>"
            f"<LastModified>2026-11-21T02:15:00.500Z</LastModified></Contents>"
            for name in names
        )
        return Answer(200, document("ListBucketResult", entries + more))

    async def test_plain_and_encoded(self) -> None:
        """
        Names are decoded if the service says that it encoded them.
        """
        self.serve(
            self.page("a+b%20c%2B", more="<EncodingType>url</EncodingType>"),
            self.page("a+b%20c&amp;", "&#x66;"),
        )
        (encoded,) = await self.backend.list_objects()
        self.assertEqual((encoded.name, encoded.modified_ms), ("a b c+", 1795227300500))
        self.assertEqual([each.name for each in await self.backend.list_objects()], ["a+b%20c&", "f"])

    async def test_truncated(self) -> None:
        """
        A page that is not the last is continued as the service says.
        """
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>t/=</NextContinuationToken>"
        self.serve(self.page("a", more=more), self.page("b"))
        self.assertEqual([each.name for each in await self.backend.list_objects("", "0")], ["a", "b"])
        self.assertEqual(
            self.requests[1].query,
            b"continuation-token=t%2F%3D&encoding-type=url&list-type=2&max-keys=999&start-after=0",
        )

    async def test_not_in_order(self) -> None:
        """
        Who relies on byte order is told where there is none.
        """
        for names in (("b", "a"), ("a", "a"), ("\U0001f600", "\uff5e")):
            self.serve(self.page(*names))
            await self.fails(self.backend.list_objects(), BackendRefused)
        self.serve(self.page("a"))
        await self.fails(self.backend.list_objects("", "a"), BackendRefused)

    async def test_nonsense(self) -> None:
        """
        What cannot be read is no listing.
        """
        for inside in [
            "<Contents><Key>a</Key><LastModified>2026-11-21T02:15:00Z</LastModified></Contents>",
            "<Contents><Key>a</Key><Size>1</Size><LastModified>yesterday</LastModified></Contents>",
            f"<Contents><Key>a</Key><Size>{'9' * 5000}</Size></Contents>",
            "<Contents><Key>&#x1;</Key></Contents>",
        ]:
            self.serve(Answer(200, document("ListBucketResult", inside)))
            await self.fails(self.backend.list_objects(), BackendUnavailable)

    async def test_circles(self) -> None:
        """
        A listing that never ends is cut short.
        """
        page = document(
            "ListMultipartUploadsResult",
            "<IsTruncated>true</IsTruncated><NextKeyMarker>k</NextKeyMarker>"
            "<NextUploadIdMarker>u</NextUploadIdMarker>",
        )
        self.serve(Answer(200, page), Answer(200, page), Answer(200, page))
        await self.fails(self.backend.list_uploads(), BackendUnavailable)

    async def test_token_that_came_before(self) -> None:
        """
        A listing that names the same page again, at once or later, goes round in circles.
        """
        for tokens in ("tt", "tut"):
            more = "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>"
            self.serve(
                *(
                    self.page(*names, more=more.format(token))
                    for token, names in zip(tokens, "abc", strict=False)
                )
            )
            error = await self.fails(self.backend.list_objects(), BackendUnavailable)
            self.assertIn("circles", str(error))

    async def test_requests_are_counted(self) -> None:
        """
        Every page is a request, and counted as one.
        """
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>"
        self.serve(self.page("a", more=more.format("t")), self.page("b", more=more.format("u")), self.page())
        await self.backend.list_objects()
        self.assertEqual(self.backend.requests_sent, 3)

    async def test_pages_without_order(self) -> None:
        """
        Names that do not go on from the page before are refused on that page.
        """
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>"
        self.serve(self.page("b", more=more.format("t")), self.page("a", more=more.format("u")))
        await self.fails(self.backend.list_objects(), BackendRefused)
        self.assertEqual(len(self.requests), 2)

    async def test_empty_pages(self) -> None:
        """
        Some pages may be empty, as they are where much was deleted, but not without end.
        """
        more = "<IsTruncated>true</IsTruncated><NextContinuationToken>{}</NextContinuationToken>"
        pages = [self.page(more=more.format(f"t{number}")) for number in range(EMPTY_PAGES + 1)]
        self.serve(*pages[:EMPTY_PAGES], self.page("a"))
        self.assertEqual([each.name for each in await self.backend.list_objects()], ["a"])
        self.serve(*pages)
        await self.fails(self.backend.list_objects(), BackendUnavailable)

    async def test_endless_token(self) -> None:
        """
        What is sent back as part of an address is not of any length.
        """
        more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{'t' * 10_000}</NextContinuationToken>"
        self.serve(self.page("a", more=more))
        await self.fails(self.backend.list_objects(), BackendUnavailable)

    async def test_markers_in_turn(self) -> None:
        """
        Two markers that follow upon each other for ever are found out as well.
        """
        for root, listed in (
            ("ListMultipartUploadsResult", lambda: self.backend.list_uploads()),
            ("ListVersionsResult", lambda: self.backend.list_versions("k")),
        ):
            self.serve(
                *(
                    Answer(
                        200,
                        document(
                            root, f"<IsTruncated>true</IsTruncated><NextKeyMarker>{marker}</NextKeyMarker>"
                        ),
                    )
                    for marker in "aba"
                )
            )
            error = await self.fails(listed(), BackendUnavailable)
            self.assertIn("circles", str(error))

    async def test_more_uploads_than_can_be(self) -> None:
        """
        A listing that goes on for ever, always with something new, is given up.
        """
        self.patch(s3_listings, "MAX_FOUND", 5)
        entry = (
            "<Upload><Key>k</Key><UploadId>u</UploadId><Initiated>2026-11-21T02:15:00Z</Initiated></Upload>"
        )
        self.serve(
            *(
                Answer(
                    200,
                    document(
                        "ListMultipartUploadsResult",
                        f"<IsTruncated>true</IsTruncated><NextKeyMarker>k{number}</NextKeyMarker>{entry * 2}",
                    ),
                )
                for number in range(3)
            )
        )
        await self.fails(self.backend.list_uploads(), BackendUnavailable)
        self.assertEqual(len(self.requests), 3)

    async def test_uploads_with_control_characters(self) -> None:
        """
        Names that XML has no place for are asked for encoded.
        """
        entry = (
            "<Upload><Key>{}</Key><UploadId>u</UploadId><Initiated>2026-11-21T02:15:00Z</Initiated></Upload>"
        )
        self.serve(
            Answer(200, document("ListMultipartUploadsResult", entry.format("a&#x01;"))),
            Answer(200, document("ListMultipartUploadsResult", entry.format("a%01"))),
        )
        self.assertEqual([each.name for each in await self.backend.list_uploads()], ["a\x01"])
        self.assertEqual([b"encoding-type" in each.query for each in self.requests], [False, True])


class ProbeTests(ServiceTestCase):
    """A trait that is not proven is not relied on."""

    async def probe(self, *answers: Answer | bytes) -> Any:
        self.serve(*answers)
        return await self.backend.probe(["a", "a/..//b/"])

    async def test_refuses_everything(self) -> None:
        """
        A service that always says 412 has proven nothing.
        """
        refused = Answer(412, error("PreconditionFailed"))
        upload = Answer(200, document("InitiateMultipartUploadResult", "<UploadId>u</UploadId>"))
        ok = Answer(200, b"", ETAG)
        traits = await self.probe(ok, refused, refused, upload, ok, refused, Answer(204), refused, refused)
        self.assertEqual(
            (traits.exclusive, traits.exact_names, traits.md5_etags), (frozenset(), False, False)
        )

    async def test_knows_nothing(self) -> None:
        """
        Nor has one that says it cannot.
        """
        no = Answer(501, error("NotImplemented"))
        traits = await self.probe(Answer(200, b"", ETAG), no, no, no, no, no)
        self.assertEqual((traits.exclusive, traits.exact_names), (frozenset(), False))

    async def test_not_now(self) -> None:
        """
        A service that cannot be tried out now is tried out later.
        """
        self.serve(Answer(200, b"", ETAG), Answer(503))
        await self.fails(self.backend.probe(["a", "b"]), BackendUnavailable)
        self.assertIsNone(self.backend.traits)


class ExpiringKeysTests(ServiceTestCase):
    """Keys that the service does not accept any more."""

    async def test_renewed(self) -> None:
        """
        They are replaced before the next request, which carries the token that belongs to the new ones.
        """
        self.serve(Answer(403, error("ExpiredToken")), Answer(204))
        found = iter([Keys("AK1", "one", "token-1"), Keys("AK2", "two", "token-2")])
        chain = ChainCredentials("oci", Clock(), lambda load: succeed(load()), lambda: next(found))
        address = Address.of(f"http://127.0.0.1:{self.server.port}")
        client = HttpClient("oci", the_reactor(), address.header, dial_with(the_reactor(), address, 5))
        self.addCleanup(client.close)
        requests = S3Requests("oci", client, b"/bucket", "us-east-1", chain, the_reactor())
        refused = await requests.send(b"DELETE", "k", {})
        self.assertEqual((await self.fails(requests.done(refused), BackendRefused)).code, "ExpiredToken")
        await requests.done(await requests.send(b"DELETE", "k", {}))
        for request, key, token in zip(
            self.requests, [b"AK1", b"AK2"], [b"token-1", b"token-2"], strict=True
        ):
            authorization = request.value(b"authorization") or b""
            self.assertIn(b"Credential=" + key, authorization)
            self.assertIn(b"x-amz-security-token", authorization)
            self.assertEqual(request.value(b"x-amz-security-token"), token)
