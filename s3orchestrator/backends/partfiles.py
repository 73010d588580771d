"""
Multipart uploads as directories: a description, and a file for each part.

An upload is one directory that appears and disappears by a rename, so there is never half
of one. Its place is computed from name and id; nothing else refers to it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex

from attrs import define

from s3orchestrator.backends.attributes import Attributes, decode, encode, validator
from s3orchestrator.backends.newfiles import NewFile, Piece, Whole
from s3orchestrator.backends.roots import UPLOADS, Opened
from s3orchestrator.errors import InvalidPart, NoSuchUpload
from s3orchestrator.interfaces import ListedUpload

_ID = re.compile(r"[0-9a-f]{32}\Z")
_DESCRIPTION = b"description"
_NAME = b"name"
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


@define(eq=False)
class Uploads:
    """The multipart uploads of a directory backend; blocks."""

    _name: str

    def create(self, root: Opened, name: str, attributes: Attributes, now_ms: int) -> str:
        """Begin an upload; returns its id."""
        upload_id = f"{now_ms:012x}{token_hex(10)}"
        aside = root.temporary()
        os.mkdir(aside, 0o700, dir_fd=root.fd)
        try:
            _write(root, b"%s/%s" % (aside, _DESCRIPTION), encode(attributes))
            _write(root, b"%s/%s" % (aside, _NAME), json.dumps([name, now_ms]).encode())
            root.sync_directory(aside)
            os.rename(aside, self._path(name, upload_id), src_dir_fd=root.fd, dst_dir_fd=root.fd)
        except OSError:
            root.remove_tree(aside)
            raise
        root.sync_directory(UPLOADS)
        return upload_id

    def attributes(self, root: Opened, name: str, upload_id: str) -> Attributes:
        """
        Return what the object will say of itself.

        :raises NoSuchUpload: there is no such upload.
        """
        try:
            stored = _read(root, b"%s/%s" % (self._path(name, upload_id), _DESCRIPTION))
        except FileNotFoundError as error:
            raise self._unknown(name, upload_id) from error
        attributes = decode(stored)
        return Attributes(attributes.content_type, attributes.meta, upload_id)

    def place_part(self, root: Opened, name: str, upload_id: str, number: int, whole: Whole) -> None:
        """
        Make `whole` the part of that number.

        :raises NoSuchUpload: there is no such upload, any more.
        """
        path = self._path(name, upload_id)
        try:
            os.rename(whole.path, _part(path, number), src_dir_fd=root.fd, dst_dir_fd=root.fd)
            root.sync_directory(path)
        except FileNotFoundError as error:
            raise self._unknown(name, upload_id) from error

    def pieces(
        self, root: Opened, name: str, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> Iterator[Piece]:
        """
        Return the pieces to assemble, having seen that all of them are there.

        :raises InvalidPart: one is not, or is another.
        """
        path = self._path(name, upload_id)
        for number, etag in parts:
            try:
                _check(os.stat(_part(path, number), dir_fd=root.fd), number, etag)
            except FileNotFoundError as error:
                raise InvalidPart(number, etag) from error
        return (_piece(root, _part(path, number), number, etag) for number, etag in parts)

    def link_only(self, file: NewFile, name: str, upload_id: str, number: int, etag: str) -> None:
        """
        Let `file` be the only part: no byte is copied.

        :raises InvalidPart: it is not there, or is another.
        """
        try:
            found = file.link(_part(self._path(name, upload_id), number))
        except FileNotFoundError as error:
            raise InvalidPart(number, etag) from error
        if found != etag:
            raise InvalidPart(number, etag)

    def remove(self, root: Opened, name: str, upload_id: str) -> None:
        """Remove an upload and its parts; one that is not there counts as removed."""
        aside = root.temporary()
        with suppress(NoSuchUpload, FileNotFoundError):
            os.rename(self._path(name, upload_id), aside, src_dir_fd=root.fd, dst_dir_fd=root.fd)
            root.sync_directory(UPLOADS)
            root.remove_tree(aside)

    def all(self, root: Opened, prefix: str) -> list[ListedUpload]:
        """Return the uploads of names with that prefix, by name, then id."""
        fd = os.open(UPLOADS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=root.fd)
        try:
            directories = os.listdir(fd)
        finally:
            os.close(fd)
        listed = []
        for directory in directories:
            with suppress(FileNotFoundError, NotADirectoryError, ValueError):
                found = _read(root, b"%s/%s/%s" % (UPLOADS, os.fsencode(directory), _NAME))
                name, initiated_ms = json.loads(found)
                if name.startswith(prefix):
                    listed.append(ListedUpload(name, directory[-32:], initiated_ms))
        return sorted(listed, key=lambda upload: (upload.name, upload.upload_id))

    def _path(self, name: str, upload_id: str) -> bytes:
        if not _ID.match(upload_id):
            raise self._unknown(name, upload_id)
        return f"{UPLOADS.decode()}/{sha256(name.encode()).hexdigest()[:32]}-{upload_id}".encode()

    def _unknown(self, name: str, upload_id: str) -> NoSuchUpload:
        return NoSuchUpload(f"{self._name}: no upload {upload_id!r} of {name!r}")


def _part(path: bytes, number: int) -> bytes:
    return b"%s/%05d" % (path, number)


def _piece(root: Opened, path: bytes, number: int, etag: str) -> Piece:
    """A part may be replaced while others are copied, so it is looked at again when it is opened."""

    def open_part() -> int:
        try:
            fd = os.open(path, _READ, dir_fd=root.fd)
        except FileNotFoundError as error:
            raise InvalidPart(number, etag) from error
        try:
            _check(os.fstat(fd), number, etag)
        except InvalidPart:
            os.close(fd)
            raise
        return fd

    return Piece(open_part, 0, int(etag.rpartition("-")[2], 16))


def _check(found: os.stat_result, number: int, etag: str) -> None:
    if validator(found) != etag:
        raise InvalidPart(number, etag)


def _write(root: Opened, path: bytes, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600, dir_fd=root.fd), "wb", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())


def _read(root: Opened, path: bytes) -> bytes:
    with open(os.open(path, _READ, dir_fd=root.fd), "rb") as file:
        return file.read()
