"""
A client of S3 for machines under stress: cheap, impatient, and exact about what it knows.

It tells an answer from none, and asks nothing twice. Requests show a token instead of a
signature, because what is tried here is not who may do what.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import md5
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

from attrs import define, field, frozen

_UPLOAD_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>")
_UPLOADS = re.compile(rb"<Key>([^<]+)</Key>\s*<UploadId>([^<]+)</UploadId>")
_LISTED = re.compile(rb"<Key>([^<]+)</Key>.*?<ETag>&quot;([^&]+)&quot;</ETag>", re.DOTALL)
_DELETED = re.compile(rb"<Deleted>\s*<Key>([^<]+)</Key>")
_CODE = re.compile(rb"<Code>([^<]+)</Code>")


class NoAnswer(Exception):
    """What was asked may have been done, or may yet be, or not."""

    def __init__(self, reason: str, *, sent: bool = True) -> None:
        super().__init__(reason)
        self.sent = sent  # False: nobody can have heard of it


@frozen
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def succeeded(self) -> bool:
        """Whether the server says that it did what it was asked, also in the body of a long answer."""
        return self.status < 300 and not self.code

    @property
    def etag(self) -> str:
        """The ETag, without its quotes."""
        return self.headers.get("etag", "").strip('"')

    @property
    def code(self) -> str:
        """S3's name for what was wrong."""
        found = _CODE.search(self.body) if b"<Error>" in self.body[:300] else None
        return found[1].decode() if found else ""


@define(eq=False)
class Client:
    """
    One client on one kept connection, working in one bucket.

    Every method raises `NoAnswer` if there is none, and returns the `Reply` otherwise, whatever it says.
    """

    port: int
    bucket: str
    token: str
    patience: float = 10.0
    _connection: HTTPConnection | None = field(init=False, default=None)

    def put(self, key: str, data: bytes, **headers: str) -> Reply:
        """Store an object; keyword arguments are headers, with underscores: `if_match="…"`."""
        return self._ask("PUT", key, data, headers)

    def get(self, key: str) -> Reply:
        """Read an object."""
        return self._ask("GET", key)

    def head(self, key: str) -> Reply:
        """Look at an object."""
        return self._ask("HEAD", key)

    def delete(self, key: str) -> Reply:
        """Remove an object."""
        return self._ask("DELETE", key)

    def delete_many(self, keys: Sequence[str]) -> Reply:
        """Remove several; see `deleted`."""
        entries = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        document = f"<Delete>{entries}</Delete>".encode()
        headers = {"content-md5": b64encode(md5(document).digest()).decode()}
        return self._ask("POST", "?delete", document, headers)

    def copy(self, source: str, target: str) -> Reply:
        """Copy an object within the bucket."""
        return self._ask("PUT", target, b"", {"x-amz-copy-source": quote(f"{self.bucket}/{source}")})

    def create_upload(self, key: str) -> Reply:
        """Begin a multipart upload; see `upload_id`."""
        return self._ask("POST", f"{key}?uploads")

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> Reply:
        """Store a part."""
        return self._ask("PUT", f"{key}?partNumber={number}&uploadId={quote(upload_id)}", data)

    def complete(self, key: str, upload_id: str, etags: Sequence[str]) -> Reply:
        """Make the object from parts 1, 2, …"""
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
            for number, etag in enumerate(etags, 1)
        )
        document = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        return self._ask("POST", f"{key}?uploadId={quote(upload_id)}", document)

    def abort(self, key: str, upload_id: str) -> Reply:
        """Give an upload up."""
        return self._ask("DELETE", f"{key}?uploadId={quote(upload_id)}")

    def list(self, prefix: str = "") -> Reply:
        """The first page of what there is; see `listed`."""
        return self._ask("GET", f"?{urlencode({'list-type': '2', 'prefix': prefix})}")

    def list_uploads(self) -> Reply:
        """The first page of open uploads; see `uploads`."""
        return self._ask("GET", "?uploads")

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        sent = False
        named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        try:
            if self._connection is None:
                self._connection = HTTPConnection("127.0.0.1", self.port, timeout=self.patience)
                self._connection.connect()
            sent = True
            self._connection.request(
                method, f"/{self.bucket}/{path}", body, {"x-proxy-token": self.token, **named}
            )
            answer = self._connection.getresponse()
            reply = Reply(
                answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
            )
        except (OSError, HTTPException) as error:
            self.close()
            raise NoAnswer(f"{method} {path}: {error!r}", sent=sent) from error
        if answer.will_close:
            self.close()
        return reply


def upload_id(reply: Reply) -> str:
    """Return the id of an upload that was begun."""
    found = _UPLOAD_ID.search(reply.body)
    assert found is not None, reply
    return found[1].decode()


def uploads(reply: Reply) -> list[tuple[str, str]]:
    """Return the keys and ids of the uploads that are open."""
    return [(key.decode(), upload.decode()) for key, upload in _UPLOADS.findall(reply.body)]


def listed(reply: Reply) -> dict[str, str]:
    """Return the ETag of each key of a listing."""
    return {key.decode(): etag.decode() for key, etag in _LISTED.findall(reply.body)}


def deleted(reply: Reply) -> list[str]:
    """Return the keys that a reply to `delete_many` says are gone."""
    return [key.decode() for key in _DELETED.findall(reply.body)]
