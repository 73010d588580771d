"""The steps of a multipart upload, for tests."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import md5
from xml.sax.saxutils import escape

from tests.integration.asking import UNSIGNED, Answer, Headers
from tests.integration.s3_server import ServerCase

LEAST = 5 * 1024 * 1024
FIRST = bytes(range(256)) * (LEAST // 256)


SECOND = b"second" * 1000
Listed = Iterable[tuple[int, str]]


def etag(data: bytes) -> str:
    return md5(data).hexdigest()


def composite(*parts: bytes) -> str:
    """The ETag of an object made of these parts."""
    return f"{md5(b''.join(md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"


def base64(data: bytes) -> str:
    return b64encode(data).decode()


def document(listed: Listed, more: str = "") -> bytes:
    """A list of parts."""
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag>{more}</Part>"
        for number, tag in listed
    )
    return f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()


class UploadCase(ServerCase):
    """Steps of an upload."""

    def create(self, target: str = "/photos/up", headers: Headers | None = None) -> str:
        answer = self.assertSucceeded(self.alice.ask("POST", f"{target}?uploads", headers=headers))
        return answer.text("UploadId") or ""

    def part(
        self,
        upload: str,
        number: int,
        data: bytes,
        headers: Headers | None = None,
        target: str = "/photos/up",
    ) -> Answer:
        return self.alice.ask(
            "PUT", f"{target}?partNumber={number}&uploadId={upload}", data, headers, payload_hash=UNSIGNED
        )

    def complete(
        self, upload: str, listed: Listed | bytes, headers: Headers | None = None, target: str = "/photos/up"
    ) -> Answer:
        body = listed if isinstance(listed, bytes) else document(listed)
        return self.alice.ask("POST", f"{target}?uploadId={upload}", body, headers)

    def abort(self, upload: str, target: str = "/photos/up") -> Answer:
        return self.alice.ask("DELETE", f"{target}?uploadId={upload}")

    def uploaded(self, *parts: bytes, target: str = "/photos/up") -> str:
        """An upload with these parts, numbered from 1."""
        upload = self.create(target)
        for number, data in enumerate(parts, 1):
            self.assertSucceeded(self.part(upload, number, data, target=target))
        return upload
