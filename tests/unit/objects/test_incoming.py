"""Bytes on their way in."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import UNKNOWN_LENGTH

from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.payload import Payload

FRAMED = {
    b"x-amz-content-sha256": [b"STREAMING-UNSIGNED-PAYLOAD-TRAILER"],
    b"x-amz-decoded-content-length": [b"5"],
    b"x-amz-trailer": [b"x-amz-checksum-crc32"],
}
BODY = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"


class Chunked(BytesBody):
    """A body in HTTP's own chunks."""

    length: Any = UNKNOWN_LENGTH


def incoming(body: bytes) -> Incoming:
    """An upload as SDKs send it over HTTPS."""
    return Incoming(Chunked(body), Payload.of(FRAMED, None, None))


class IncomingTests(SynchronousTestCase):
    def test_length_of_chunks(self) -> None:
        """
        A body whose end nobody knows is as long as was declared, which backends must be told.
        """
        for want_md5 in (False, True):
            body, _ = incoming(BODY).open(want_md5=want_md5)
            self.assertEqual(body.length, 5)
            self.assertEqual(self.successResultOf(Deferred.fromCoroutine(collect(body, 100))), b"hello")

    def test_other_length(self) -> None:
        """
        If it is not, it fails, and its last bytes are not delivered.
        """
        for framed in (
            BODY.replace(b"5\r\nhello", b"4\r\nhell"),
            BODY.replace(b"5\r\nhello", b"6\r\nhello!"),
        ):
            body, _ = incoming(framed).open(want_md5=False)
            self.failureResultOf(Deferred.fromCoroutine(collect(body, 100)), S3Error)
