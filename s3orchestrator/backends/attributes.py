"""
What an object in a directory says of itself, kept with its file.

It is an extended attribute of the file where the file system has room for one. Elsewhere it
is a file of its own, written before the object appears and bound to its very bytes by their
validator, so that a crash in between leaves the old object with the old description.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from threading import Lock

from attrs import define, field, frozen

from s3orchestrator.backends.roots import ATTRIBUTES, Opened
from s3orchestrator.interfaces import Description

_ATTRIBUTE = "user.s3o"
# Not supported, switched off, or too long for it; ENOSPC is how ext4 says the latter.
_NO_ROOM = frozenset({errno.ENOTSUP, errno.EPERM, errno.E2BIG, errno.ERANGE, errno.ENOSPC, errno.EINVAL})
_NOTHING = "{}"
_MAX_DESCRIPTION = 1 << 20


@frozen
class Attributes:
    """A description, and the multipart upload an object was made from."""

    content_type: str = ""
    meta: Mapping[str, str] = field(factory=dict)
    upload: str | None = None

    @classmethod
    def of(cls, description: Description, upload: str | None = None) -> Attributes:
        """Return what to keep of an object described so."""
        return cls(description.content_type, description.meta, upload)


def encode(attributes: Attributes) -> bytes:
    """Return attributes as they are stored."""
    fields = {"type": attributes.content_type, "meta": dict(attributes.meta), "upload": attributes.upload}
    return json.dumps(
        {name: value for name, value in fields.items() if value}, separators=(",", ":")
    ).encode()


def decode(stored: bytes) -> Attributes:
    """Return stored attributes; none where somebody else wrote them."""
    try:
        fields = json.loads(stored)
        meta = {str(name): str(value) for name, value in fields.get("meta", {}).items()}
        return Attributes(str(fields.get("type", "")), meta, fields.get("upload"))
    except (ValueError, AttributeError):
        return Attributes()


def validator(found: os.stat_result) -> str:
    """
    Return the ETag of a file.

    Every file of ours has a time of its own, to the nanosecond; an edit in place changes
    it, a backup restored with its times does not.
    """
    return f"{found.st_mtime_ns:x}-{found.st_size:x}"


@define(eq=False)
class AttributeStore:
    """
    Reads and writes the attributes of files. Blocks; may be used from several threads.

    `settle`, `unsettle` and `forget` are for whoever is deciding about the name.
    """

    _uses_files: bool | None = field(init=False, default=None)
    _lock: Lock = field(init=False, factory=Lock)

    def write(self, root: Opened, fd: int, attributes: Attributes) -> bytes | None:
        """
        Describe a file that is complete but not yet in place.

        None if the file system took the description; else a file that `settle` wants.
        """
        stored = encode(attributes)
        try:
            os.setxattr(fd, _ATTRIBUTE, stored)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            with suppress(OSError):  # what a part may have had before
                os.removexattr(fd, _ATTRIBUTE)
            return self._write_aside(root, stored)
        return None

    def read(self, root: Opened, fd: int, name: str) -> Attributes:
        """Return the attributes of an open object; none if it has none."""
        try:
            return decode(os.getxattr(fd, _ATTRIBUTE))
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP, errno.EPERM):
                raise
        if not self._has_files(root):
            return Attributes()
        with suppress(FileNotFoundError):
            path = _path(name, validator(os.fstat(fd)))
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=root.fd)
            with open(file, "rb") as stored:
                return decode(stored.read(_MAX_DESCRIPTION))
        return Attributes()

    def settle(self, root: Opened, name: str, etag: str, aside: bytes) -> None:
        """Let the object of `name` with that ETag, which is about to appear, find its description."""
        with self._lock:
            self._uses_files = True
        path = _path(name, etag)
        directory = os.path.dirname(path)
        for parent in (os.path.dirname(directory), directory):
            with suppress(FileExistsError):
                os.mkdir(parent, 0o700, dir_fd=root.fd)
        with suppress(FileExistsError):  # an earlier attempt
            os.link(aside, path, src_dir_fd=root.fd, dst_dir_fd=root.fd)
        for parent in (directory, os.path.dirname(directory), ATTRIBUTES):
            root.sync_directory(parent)

    def unsettle(self, root: Opened, name: str, etag: str) -> None:
        """Take back `settle`: the object did not appear."""
        with suppress(OSError):
            os.unlink(_path(name, etag), dir_fd=root.fd)

    def forget(self, root: Opened, name: str, *, except_for: str | None = None) -> None:
        """
        Remove what was settled for other files of `name` than the one with that ETag.

        What cannot be removed does no harm: nothing will find it.
        """
        if not self._has_files(root):
            return
        directory = os.path.dirname(_path(name, ""))
        with suppress(OSError):
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root.fd)
            try:
                for left in os.listdir(fd):
                    if left != except_for:
                        os.unlink(left, dir_fd=fd)
            finally:
                os.close(fd)
            os.rmdir(directory, dir_fd=root.fd)

    def _write_aside(self, root: Opened, stored: bytes) -> bytes:
        aside = root.temporary()
        file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=root.fd)
        try:
            with open(file, "wb", buffering=0) as target:
                target.write(stored)
                os.fsync(target.fileno())
        except OSError:
            root.discard(aside)
            raise
        return aside

    def _has_files(self, root: Opened) -> bool:
        if self._uses_files is None:
            fd = os.open(ATTRIBUTES, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root.fd)
            try:
                has_some = bool(os.listdir(fd))
            finally:
                os.close(fd)
            with self._lock:
                if self._uses_files is None:  # nobody has settled one meanwhile
                    self._uses_files = has_some
        return bool(self._uses_files)


def _path(name: str, etag: str) -> bytes:
    digest = sha256(name.encode()).hexdigest()
    return f"{ATTRIBUTES.decode()}/{digest[:2]}/{digest[2:]}/{etag}".encode()
