"""Calls as tests write them."""

from __future__ import annotations

from s3orchestrator.protocol.addressing import resolve
from s3orchestrator.protocol.call import Call

NOW = 1_795_227_300.0  # Sat, 21 Nov 2026 02:15:00 GMT


def call(line: str = "GET /b/k", *, raw: bytes = b"", **headers: str | bytes) -> Call:
    """
    Return a call for a request line, its address resolved; `raw` is put behind the line as it is.

    Header names are written with underscores; a text value is sent as UTF-8.
    """
    method, _, target = line.encode().partition(b" ")
    target += raw
    path, _, query = target.partition(b"?")
    sent = {
        name.replace("_", "-").encode(): [value if isinstance(value, bytes) else value.encode()]
        for name, value in headers.items()
    }
    made = Call(method, target, path, query, sent, None, "127.0.0.1", False, "4442587FB7D0A2F9", NOW)
    made.bucket, made.key = resolve("localhost", path)
    return made
