"""
What a directory backend does in its threads: whole operations on objects and uploads.

Everything blocks, and raises what `IBackend` documents.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock

from attrs import define, evolve, field, frozen

from s3orchestrator.backends.attributes import Attributes, AttributeStore, validator
from s3orchestrator.backends.diskerrors import disk_errors
from s3orchestrator.backends.newfiles import Assembly, NewFile, Piece
from s3orchestrator.backends.partfiles import Uploads
from s3orchestrator.backends.roots import Root
from s3orchestrator.backends.tree import Tree
from s3orchestrator.backends.treelisting import page
from s3orchestrator.errors import BackendRefused, BlobChanged, NameTaken
from s3orchestrator.interfaces import Description, Found, ListedObject, ListedUpload, Stored
from s3orchestrator.protocol.ranges import ByteRange


@frozen
class Read:
    """An object's bytes, if they are few; else a descriptor to read `length` bytes from, at `start`."""

    size: int
    etag: str
    start: int
    length: int
    data: bytes | None
    fd: int = -1

    def let_go(self) -> None:
        """Nobody is going to read it."""
        if self.fd >= 0:
            os.close(self.fd)


@define(eq=False)
class Disk:
    """
    The objects and uploads below a root.

    Whatever is done before an object is put in place leaves it untouched when it fails, so these failures
    count as not sent.
    """

    _name: str
    _root: Root
    _seconds: Callable[[], float]
    _attributes: AttributeStore = field(init=False, factory=AttributeStore)
    _tree: Tree = field(init=False)
    _uploads: Uploads = field(init=False)
    _last_ns: int = field(init=False, default=0)
    _lock: Lock = field(init=False, factory=Lock)

    def __attrs_post_init__(self) -> None:
        self._tree = Tree(self._name, self._attributes)
        self._uploads = Uploads(self._name)

    def look(self) -> None:
        """:raises BackendUnavailable: the root cannot be used."""
        self._root.get()

    def close(self) -> None:
        """Let go of the root; nothing may be in progress."""
        self._root.close()

    def read(self, name: str, wanted: ByteRange | None, etag: str | None, at_once: int) -> Read:
        """Open an object; up to `at_once` bytes are read and the file closed."""
        with disk_errors(self._name, sent=False):
            fd, found = self._open(name, etag)
            read: Read | None = None
            try:
                start, length = self._range(wanted, found.st_size)
                if length <= at_once:
                    data = os.pread(fd, length, start)
                    if len(data) < length:
                        raise BlobChanged(f"{self._name}: {name!r} became shorter while it was read")
                    return Read(found.st_size, validator(found), start, length, data)
                read = Read(found.st_size, validator(found), start, length, None, fd)
                return read
            finally:
                if read is None:
                    os.close(fd)

    def head(self, name: str) -> Found:
        """Size and times are the file's, the rest is what was kept with it."""
        with disk_errors(self._name, sent=False):
            root = self._root.get()
            fd, found = self._tree.open(root, name)
            try:
                kept = self._attributes.read(root, fd, name)
            finally:
                os.close(fd)
        modified_ms = found.st_mtime_ns // 1_000_000
        return Found(found.st_size, validator(found), modified_ms, kept.content_type, kept.meta)

    def remove(self, name: str) -> None:
        """Remove an object, durably, even if it was not there."""
        with disk_errors(self._name, sent=True):
            self._tree.remove(self._root.get(), name)

    def page(self, prefix: str, after: str, limit: int) -> list[ListedObject]:
        """Return up to `limit` objects, in the order of their names."""
        with disk_errors(self._name, sent=False):
            return page(self._root.get(), prefix, after, limit)

    def refuse_taken(self, name: str) -> None:
        """:raises NameTaken: there is an object of that name; found out before its body is here."""
        with disk_errors(self._name, sent=False):
            if self._tree.is_taken(self._root.get(), name):
                raise NameTaken(f"{self._name}: there is a file for {name!r}", sent=False)

    # New files, whose user holds their lock.

    def new_file(self) -> NewFile:
        """Return a file to write; this does not block."""
        return NewFile(self._root.get, self._attributes, self._time_ns)

    def write(self, file: NewFile, chunks: Sequence[bytes]) -> None:
        """Append."""
        with disk_errors(self._name, sent=False):
            file.write(chunks)

    def assemble(self, assembly: Assembly, budget: int) -> bool:
        """Copy up to `budget` bytes; tells whether that was the last of them."""
        with disk_errors(self._name, sent=False):
            return assembly.step(budget)

    def store(self, file: NewFile, name: str, description: Description, *, exclusive: bool) -> Stored:
        """Make a file the object `name`."""
        with disk_errors(self._name, sent=False):
            whole = file.seal(Attributes.of(description.whole()))
        with disk_errors(self._name, sent=True):
            return Stored(self._tree.place(file.root, whole, name, exclusive=exclusive))

    def piece_of(self, name: str, wanted: ByteRange | None, etag: str | None) -> Iterator[Piece]:
        """Give (a part of) an object to assemble another from; opened when asked for."""
        fd, found = self._open(name, etag)
        try:
            start, length = self._range(wanted, found.st_size)
        except BackendRefused:
            os.close(fd)
            raise
        yield Piece(lambda: fd, start, length)

    # Uploads.

    def create_upload(self, name: str, description: Description) -> str:
        """Begin an upload; returns its id."""
        with disk_errors(self._name, sent=True):
            now_ms = self._time_ns() // 1_000_000
            return self._uploads.create(self._root.get(), name, Attributes.of(description), now_ms)

    def find_upload(self, name: str, upload_id: str) -> None:
        """:raises NoSuchUpload: there is none."""
        with disk_errors(self._name, sent=False):
            self._uploads.attributes(self._root.get(), name, upload_id)

    def store_part(self, file: NewFile, name: str, upload_id: str, number: int) -> Stored:
        """Make a file the part of that number."""
        with disk_errors(self._name, sent=False):
            whole = file.seal(None)
        with disk_errors(self._name, sent=True):
            self._uploads.place_part(file.root, name, upload_id, number, whole)
        return Stored(whole.etag)

    def completed(self, name: str, upload_id: str) -> Stored | None:
        """
        Return the object if this upload has become one before, and remove what is left of the upload.

        :raises NoSuchUpload: neither is there.
        """
        with disk_errors(self._name, sent=True):
            root = self._root.get()
            etag = self._tree.made_from(root, name, upload_id)
            if etag is None:
                self._uploads.attributes(root, name, upload_id)
                return None
            self._uploads.remove(root, name, upload_id)
            return Stored(etag)

    def pieces_of_upload(
        self, file: NewFile, name: str, upload_id: str, parts: Sequence[tuple[int, str]]
    ) -> Iterator[Piece]:
        """Give what `file` is to be assembled from; nothing if it could be linked."""
        if len(parts) == 1:
            self._uploads.link_only(file, name, upload_id, *parts[0])
        else:
            yield from self._uploads.pieces(self._root.get(), name, upload_id, parts)

    def store_upload(
        self,
        file: NewFile,
        name: str,
        upload_id: str,
        *,
        exclusive: bool,
        keep_time: bool,
        late: Mapping[str, str],
    ) -> Stored:
        """Make an assembled file the object `name`; `keep_time` if it is a part that goes on being one."""
        with disk_errors(self._name, sent=False):
            begun = self._uploads.attributes(file.root, name, upload_id)
            whole = file.seal(evolve(begun, meta={**begun.meta, **late}), keep_time=keep_time)
        with disk_errors(self._name, sent=True):
            etag = self._tree.place(file.root, whole, name, exclusive=exclusive, upload=upload_id)
            self._uploads.remove(file.root, name, upload_id)
        return Stored(etag)

    def remove_upload(self, name: str, upload_id: str) -> None:
        """Remove an upload and its parts, if it is there."""
        with disk_errors(self._name, sent=True):
            self._uploads.remove(self._root.get(), name, upload_id)

    def uploads(self, prefix: str) -> list[ListedUpload]:
        """Return the uploads of names with that prefix."""
        with disk_errors(self._name, sent=False):
            return self._uploads.all(self._root.get(), prefix)

    def _open(self, name: str, etag: str | None) -> tuple[int, os.stat_result]:
        fd, found = self._tree.open(self._root.get(), name)
        if etag is not None and validator(found) != etag:
            os.close(fd)
            raise BlobChanged(f"{self._name}: {name!r} has ETag {validator(found)}, not {etag}")
        return fd, found

    def _range(self, wanted: ByteRange | None, size: int) -> tuple[int, int]:
        if wanted is None:
            return 0, size
        if wanted.start >= size:
            message = f"{self._name}: no byte of the range is in the object's {size}"
            raise BackendRefused(message, status=416, code="InvalidRange")
        return wanted.start, min(wanted.end, size - 1) - wanted.start + 1

    def _time_ns(self) -> int:
        """Return the time, but never twice the same: it makes ETags."""
        with self._lock:
            self._last_ns = max(self._last_ns + 1, int(self._seconds() * 1_000_000_000))
            return self._last_ns
