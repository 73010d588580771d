"""What an operation answers, as a value."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import Factory
from twisted.web.iweb import IBodyProducer

from s3orchestrator.values import value

XML = "application/xml"


@value
class Response:
    """
    Status, headers and body; header text is latin-1, one character a byte.

    `length` is what `Content-Length` says where there is no body to count (HEAD).
    """

    status: int = 200
    headers: Mapping[str, str] = Factory(dict)
    body: bytes | IBodyProducer = b""
    length: int | None = None


def xml(document: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer that is a document."""
    return Response(status, {"Content-Type": XML, **(headers or {})}, document)
