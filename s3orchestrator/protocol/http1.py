"""
The head of an HTTP/1 request, and only in the one reading that nobody disputes.

Whatever two programs could read differently is refused, for behind a proxy that is how a
request is smuggled: bare CR or LF, folded headers, a space before the colon, two lengths, a
length beside chunking, codings piled up. See RFC 9112, sections 2 to 6 and 11.
"""

from __future__ import annotations

import re

from attrs import define

from s3orchestrator.protocol.errors import S3Error

MAX_HEAD = 16 * 1024  # bytes, from the request line to the empty line; Amazon's own limit is 8 KiB

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_AUTHORITY = re.compile(rb"[A-Za-z0-9.\-_~%!$&'()*+,;=:\[\]]*")
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)([/?].*)?")
_LENGTH = re.compile(rb"[0-9]{1,18}")
# All but tab, CR and LF, which have rules of their own.
_CONTROLS = bytes(code for code in range(32) if code not in b"\t\r\n") + b"\x7f"
_METHODS = frozenset({b"GET", b"PUT", b"HEAD", b"DELETE", b"POST", b"OPTIONS"})

# Names that were found to be tokens, and their lower case: clients send the same few over and over.
_names: dict[bytes, bytes] = {}
_MAX_NAMES = 512


@define(eq=False)
class Head:
    """
    What a request says about itself before its body.

    `target` is in origin form, undecoded; `headers` has lower-case names and values without
    surrounding blanks, in the order they came. `length` is the body's, None when it comes in
    chunks. `is_current` means HTTP/1.1, `is_persistent` that the client can take another
    answer on this connection.
    """

    method: bytes
    target: bytes
    headers: dict[bytes, list[bytes]]
    length: int | None
    is_current: bool
    is_persistent: bool
    expects_continue: bool


def bad_request(why: str) -> S3Error:
    """A request that cannot be understood; the connection ends with its answer."""
    return S3Error("BadRequest", f"An error occurred when parsing the HTTP request: {why}.")


def find_head(received: bytes) -> int:
    """
    Return where the head at the beginning of `received` ends: the index of its last CRLF CRLF.

    -1 means that more must be received first.

    :raises S3Error: it is longer than `MAX_HEAD`, or can no longer become a good one.
    """
    end = received.find(b"\r\n\r\n", 0, MAX_HEAD)
    if end >= 0:
        return end
    if len(received) >= MAX_HEAD:
        raise S3Error("RequestHeaderSectionTooLarge", MaxSizeAllowed=MAX_HEAD)
    # Somebody who ends lines with a bare LF would wait for an answer until the time limit.
    if received.count(b"\n") != received.count(b"\r\n"):
        raise bad_request("bare line feed")
    return -1


def parse_head(text: bytes) -> Head:
    """
    Parse `text`, a head without its last CRLF CRLF.

    :raises S3Error: `BadRequest`, or `NotImplemented` for a transfer coding.
    """
    breaks = text.count(b"\r\n")
    if text.count(b"\n") != breaks or text.count(b"\r") != breaks:
        raise bad_request("bare carriage return or line feed")
    if len(text.translate(None, _CONTROLS)) != len(text):
        raise bad_request("control character")
    lines = iter(text.split(b"\r\n"))
    method, target, is_current = _request_line(next(lines))
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        lower = _names.get(name)
        if lower is None:
            lower = _checked_name(name)
        if not colon:
            raise bad_request("header without a colon")
        if lower in headers:
            headers[lower].append(value.strip(b" \t"))
        else:
            headers[lower] = [value.strip(b" \t")]
    if not target.startswith(b"/"):
        target = _origin_form(target, headers)
    _check_host(headers, is_required=is_current)
    return Head(
        method,
        target,
        headers,
        _length(headers, is_current),
        is_current,
        is_current and not (b"connection" in headers and b"close" in _words(headers[b"connection"])),
        is_current and b"expect" in headers and b"100-continue" in _words(headers[b"expect"]),
    )


def _request_line(line: bytes) -> tuple[bytes, bytes, bool]:
    try:
        method, target, version = line.split(b" ")
    except ValueError:
        raise bad_request("malformed request line") from None
    if method not in _METHODS and not _TOKEN.fullmatch(method):
        raise bad_request("malformed method")
    if not target or b"\t" in target:
        raise bad_request("malformed request target")
    if version == b"HTTP/1.1":
        return method, target, True
    if version == b"HTTP/1.0":
        return method, target, False
    raise bad_request("HTTP/1.1 is spoken here")


def _checked_name(name: bytes) -> bytes:
    # Also what refuses folded lines and blanks before the colon.
    if not _TOKEN.fullmatch(name):
        raise bad_request("malformed header name")
    lower = name.lower()
    if len(_names) < _MAX_NAMES and len(name) <= 64:
        _names[name] = lower
    return lower


def _origin_form(target: bytes, headers: dict[bytes, list[bytes]]) -> bytes:
    """Take an absolute target apart, as a client sends it to a proxy; its host counts, not the header's."""
    found = _ABSOLUTE.fullmatch(target)
    if found is None:
        raise bad_request("malformed request target")
    if b"host" in headers:
        headers[b"host"] = [found[1], *headers[b"host"][1:]]
    rest = found[2] or b"/"
    return rest if rest.startswith(b"/") else b"/" + rest


def _check_host(headers: dict[bytes, list[bytes]], *, is_required: bool) -> None:
    hosts = headers.get(b"host")
    if hosts is None:
        if is_required:
            raise bad_request("no Host header")
    elif len(hosts) > 1:
        raise bad_request("more than one Host header")
    elif not _AUTHORITY.fullmatch(hosts[0]):
        raise bad_request("malformed Host header")


def _length(headers: dict[bytes, list[bytes]], is_current: bool) -> int | None:
    lengths = headers.get(b"content-length")
    if b"transfer-encoding" in headers:
        if lengths is not None:
            raise bad_request("Content-Length beside Transfer-Encoding")
        if not is_current:
            raise bad_request("Transfer-Encoding in HTTP/1.0")
        codings = headers[b"transfer-encoding"]
        if len(codings) > 1 or codings[0].lower() != b"chunked":
            raise S3Error(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
                Header="Transfer-Encoding",
            )
        return None
    if lengths is None:
        return 0
    # Two that agree are refused as well: no honest client repeats itself here.
    if len(lengths) > 1:
        raise bad_request("more than one Content-Length")
    if not _LENGTH.fullmatch(lengths[0]):
        raise bad_request("malformed Content-Length")
    return int(lengths[0])


def _words(values: list[bytes]) -> list[bytes]:
    return [word.strip(b" \t") for value in values for word in value.lower().split(b",")]
