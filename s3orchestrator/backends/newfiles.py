"""Files that are being written, aside, until they are whole and can be put in place."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from threading import Lock

from attrs import define, field, frozen

from s3orchestrator.backends.attributes import Attributes, AttributeStore, validator
from s3orchestrator.backends.roots import Opened

_MODE = 0o640
_MAX_VECTOR = 512  # the kernel's limit for one writev is 1024
_NO_RANGES = frozenset({errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM})


class Discarded(Exception):
    """The file was given up while somebody was still writing it."""


@frozen
class Whole:
    """A file that is complete and durable, but not in place. `aside` is its description if that is a file."""

    path: bytes
    etag: str
    aside: bytes | None


@define(eq=False)
class NewFile:
    """
    A temporary file; blocks.

    Whoever uses it holds `lock`. `is_discarded` may be set at any time, by anybody: what is going
    on ends soon, and what comes later raises `Discarded`.
    """

    _find_root: Callable[[], Opened]
    _attributes: AttributeStore
    _now_ns: Callable[[], int]
    root: Opened = field(init=False)
    is_discarded: bool = field(init=False, default=False)
    lock: Lock = field(init=False, factory=Lock)
    _path: bytes = field(init=False, default=b"")
    _fd: int = field(init=False, default=-1)
    _aside: bytes | None = field(init=False, default=None)

    def link(self, existing: bytes) -> str:
        """Begin as another name of an existing file, to which nothing may be written; returns its ETag."""
        self._begin()
        os.link(existing, self._path, src_dir_fd=self.root.fd, dst_dir_fd=self.root.fd)
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.root.fd)
        return validator(os.fstat(self._fd))

    def write(self, chunks: Sequence[bytes]) -> None:
        """Append; without any chunks, just begin."""
        self._create_if_new()
        for index in range(0, len(chunks), _MAX_VECTOR):
            _write_all(self._fd, chunks[index : index + _MAX_VECTOR])

    def append_from(self, source: int, start: int, count: int) -> int:
        """Append bytes of another file, sharing them where the file system can; returns how many."""
        self._create_if_new()
        try:
            return os.copy_file_range(source, self._fd, count, start)
        except OSError as error:
            if error.errno not in _NO_RANGES:
                raise
        return os.sendfile(self._fd, source, start, count)

    def seal(self, attributes: Attributes | None, *, keep_time: bool = False) -> Whole:
        """Make it durable, with a time of its own, and described unless `attributes` is None."""
        self._create_if_new()
        if not keep_time:
            now = self._now_ns()
            os.utime(self._fd, ns=(now, now))
        if attributes is not None:
            self._aside = self._attributes.write(self.root, self._fd, attributes)
        os.fsync(self._fd)
        etag = validator(os.fstat(self._fd))
        self._close()
        self.check()
        return Whole(self._path, etag, self._aside)

    def discard(self) -> None:
        """Remove it, unless it has been put in place; may come twice, and before anything else."""
        self.is_discarded = True
        self._close()
        for path in (self._path, self._aside):
            if path:
                self.root.discard(path)
        self._path, self._aside = b"", None

    def check(self) -> None:
        """:raises Discarded: it has been."""
        if self.is_discarded:
            raise Discarded

    def _create_if_new(self) -> None:
        self.check()
        if self._fd < 0:
            self._begin()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, _MODE, dir_fd=self.root.fd)

    def _begin(self) -> None:
        self.check()
        self.root = self._find_root()
        self._path = self.root.temporary()

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):
                os.close(fd)


def _write_all(fd: int, chunks: Sequence[bytes]) -> None:
    left = sum(map(len, chunks))
    written = os.writev(fd, chunks)
    if written < left:  # a full disk says so only when asked again
        data = memoryview(b"".join(chunks))
        while written < left:
            written += os.write(fd, data[written:])


@frozen
class Piece:
    """Bytes of another file. `open` gives a descriptor, which is closed afterwards."""

    open: Callable[[], int]
    start: int
    length: int


@define(eq=False)
class Assembly:
    """Fills a new file from pieces of others, a limited number of bytes at a time; blocks."""

    _file: NewFile
    _pieces: Iterator[Piece]
    _source: int = field(init=False, default=-1)
    _start: int = field(init=False, default=0)
    _left: int = field(init=False, default=0)

    def step(self, budget: int) -> bool:
        """Copy up to `budget` bytes; tells whether that was the last of them."""
        while budget:
            if not self._left:
                if not self._next():
                    return True
                continue
            copied = self._file.append_from(self._source, self._start, min(budget, self._left))
            if not copied:
                raise OSError(errno.EIO, "a file became shorter while it was copied")
            self._start += copied
            self._left -= copied
            budget -= copied
        return False

    def close(self) -> None:
        """Let go of the file being copied."""
        if self._source >= 0:
            source, self._source = self._source, -1
            os.close(source)

    def _next(self) -> bool:
        self.close()
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._source = piece.open()
        self._start, self._left = piece.start, piece.length
        return True
