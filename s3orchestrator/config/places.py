"""Where a server may listen: an address, a Unix socket, or sockets that somebody else has opened for it."""

from __future__ import annotations

import re
from typing import Annotated

from attrs import frozen

from s3orchestrator.config.addresses import Address, parse_address
from s3orchestrator.config.scalars import Scalar, ScalarError, parse_text

# What fits into the kernel's structure beside the zero at its end; also for the temporary name.
LONGEST_PATH = 107

_NAME = re.compile(r"[^:\x00-\x1f\x7f]{1,255}")


@frozen
class UnixSocket:
    """A socket in the file system."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@frozen
class SystemdSocket:
    """The sockets that systemd opened and called `name` (`FileDescriptorName=`)."""

    name: str

    def __str__(self) -> str:
        return f"systemd:{self.name}"


Place = Address | UnixSocket | SystemdSocket


def parse_place(text: str) -> Place:
    """
    Read `host:port`, `unix:/path` or `systemd:name`.

    :raises ScalarError: it is none of them.
    """
    kind, _, rest = text.partition(":")
    if kind == "unix":
        return _unix_socket(parse_text(rest))
    if kind == "systemd":
        if not _NAME.fullmatch(rest):
            raise ScalarError(
                "has no name: write systemd: and what FileDescriptorName= says, as in systemd:s3"
            )
        return SystemdSocket(rest)
    return parse_address(text)


def _unix_socket(path: str) -> UnixSocket:
    if not path.startswith("/"):
        raise ScalarError("has no absolute path: write unix:/run/s3orchestrator/s3.sock")
    if len(path.encode()) > LONGEST_PATH:
        raise ScalarError(f"has a path of more than {LONGEST_PATH} bytes, which no Unix socket can have")
    return UnixSocket(path)


def _place_text(text: str) -> str:
    """Keep a place as it was written, after looking at it; empty means none."""
    if text:
        parse_place(text)
    return text


PlaceText = Annotated[str, Scalar("host:port, unix:/path or systemd:name", _place_text)]
