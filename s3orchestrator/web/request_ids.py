"""The id by which client, log and audit trail speak of the same request."""

from __future__ import annotations

import re
from os import urandom

# Hexadecimal only: it is repeated in log lines, headers and documents.
_FROM_CLIENT = re.compile(rb"[0-9A-Fa-f]{1,64}")


def new_request_id() -> str:
    """Return 16 upper-case hexadecimal digits."""
    # The kernel's, since a generator of our own would be the same one in each process after a fork.
    return urandom(8).hex().upper()


def request_id(headers: dict[bytes, list[bytes]]) -> str:
    """Return the client's own `X-Request-Id` if it is one and only one, and harmless; else a new id."""
    found = headers.get(b"x-request-id")
    if found is not None and len(found) == 1 and _FROM_CLIENT.fullmatch(found[0]):
        return found[0].decode("ascii")
    return new_request_id()
