"""
The directory that a backend may write to, found to be the right one at every operation.

Everything is done relative to a descriptor of the root, so what was begun on one disk
never ends on another. Beside the objects there is `.s3o`:

========== ==========================================================================
identity   a random id, by which a disk is told from an empty mount point
lock       locked while names are decided, in stripes
tmp        a locked directory for each process; what a dead process left is removed
uploads    multipart uploads
attributes descriptions of objects that do not fit the file system's own
========== ==========================================================================
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from secrets import token_hex
from threading import Lock
from zlib import crc32

from attrs import Factory, define, field, frozen

from s3orchestrator.backends.filenames import OURS
from s3orchestrator.errors import BackendUnavailable

AREA = OURS.encode()
UPLOADS = AREA + b"/uploads"
ATTRIBUTES = AREA + b"/attributes"
_TMP = AREA + b"/tmp"
_IDENTITY = AREA + b"/identity"
_LOCKS = AREA + b"/locks"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FIRST_LINE = "s3orchestrator directory 1"
_IDENTITY_FORM = re.compile(rf"{_FIRST_LINE}\n([0-9a-f]{{32}})\n\Z")
# Few files to keep open, and few enough clashes: a stripe is held for two or three system calls.
_STRIPES = 16


class LinkInTheWay(OSError):
    """A path leads through a symbolic link, which may lead anywhere."""


@frozen(eq=False)
class Opened:
    """
    A root on the disk that has it now.

    Its descriptors stay open when another takes its place: a thread may still be using them.
    """

    fd: int
    device: int
    inode: int
    identity: str
    session: bytes
    held: tuple[int, ...]
    _stripes: tuple[tuple[Lock, int], ...]
    _numbers: Iterator[int] = field(factory=lambda: count(1))

    def temporary(self) -> bytes:
        """Return a path nobody uses, on the same file system as the objects."""
        return b"%s/%d" % (self.session, next(self._numbers))

    @contextmanager
    def deciding(self, name: str) -> Iterator[None]:
        """Be the only one, in any thread or process, who decides which file an object is."""
        lock, fd = self._stripes[crc32(name.encode()) % _STRIPES]
        with lock:
            fcntl.flock(fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(fd, fcntl.LOCK_UN)

    @contextmanager
    def at(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        """
        Give a descriptor of the directory that `path` is in, and the name it has there.

        Asked not to follow links, the kernel minds only the last name of a path. So we go step by step;
        what has the name that is given may be a link itself.

        :raises LinkInTheWay: one of the directories is a symbolic link.
        :raises OSError: there is no such directory.
        """
        *directories, leaf = path.split(b"/")
        fd = self.fd
        try:
            for directory in directories:
                below = _step(fd, directory, path)
                if fd != self.fd:
                    os.close(fd)
                fd = below
            yield fd, leaf
        finally:
            if fd != self.fd:
                os.close(fd)

    def open(self, path: bytes, flags: int) -> int:
        """
        Open what is at `path`, never following a link.

        :raises OSError: as `at` does, or `ELOOP` if it is a link itself.
        """
        with self.at(path) as (fd, leaf):
            return os.open(leaf, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)

    def sync_directory(self, path: bytes) -> None:
        """Make the entries of a directory survive a power failure."""
        fd = self.open(path, _DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def discard(self, temporary: bytes) -> None:
        """Remove a temporary file; should that fail, the next start does it."""
        with suppress(OSError):
            os.unlink(temporary, dir_fd=self.fd)

    def remove_tree(self, path: bytes) -> None:
        """Remove a directory of ours and what is in it, as far as possible."""
        with suppress(OSError):
            _remove_tree(self.fd, path)

    def close(self) -> None:
        """Let go; nobody may be using it."""
        self.remove_tree(self.session)
        for fd in self.held:
            os.close(fd)


@define(eq=False)
class Root:
    """
    Finds the root, at first and whenever something else has taken its place.

    `adopt` is whether a directory without identity may be made ours. It must be False when
    objects are expected there: then it is an unmounted disk's mount point.
    """

    _backend: str
    _path: str
    _adopt: bool
    _current: Opened | None = field(init=False, default=None)
    _replaced: list[Opened] = field(init=False, factory=list)
    _lock: Lock = field(init=False, default=Factory(Lock))

    def get(self) -> Opened:
        """
        Return the root as it is now. Blocks.

        :raises BackendUnavailable: it is not there, or is another one than before.
        """
        current = self._current
        if current is not None:
            with suppress(OSError):
                found = os.stat(self._path)
                if (found.st_ino, found.st_dev) == (current.inode, current.device):
                    return current
        with self._lock:
            if self._current is not current and self._current is not None:
                return self._current
            return self._open_again()

    def close(self) -> None:
        """Let go of all descriptors; no operation may be in progress."""
        with self._lock:
            for opened in [*self._replaced, *([self._current] if self._current else [])]:
                opened.close()
            self._replaced, self._current = [], None

    def _open_again(self) -> Opened:
        expected = self._current.identity if self._current else None
        opened = self._open(adopt=self._adopt and expected is None, expected=expected)
        if self._current is not None:
            self._replaced.append(self._current)
        self._current = opened
        return opened

    def _open(self, *, adopt: bool, expected: str | None) -> Opened:
        try:
            if adopt:
                os.makedirs(self._path, exist_ok=True)
            fd = os.open(self._path, _DIRECTORY)
        except OSError as error:
            raise self._unavailable(f"cannot be opened: {error.strerror}") from error
        held = [fd]
        try:
            self._refuse_link(fd)
            identity = self._identify(fd, adopt)
            if expected is not None and identity != expected:
                raise self._unavailable("is another directory than before: is the disk mounted?")
            return self._take(fd, identity, held)
        except OSError as error:
            self._release(held)
            raise self._unavailable(f"cannot be used: {error.strerror}") from error
        except BackendUnavailable:
            self._release(held)
            raise

    def _refuse_link(self, fd: int) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(AREA, dir_fd=fd, follow_symlinks=False).st_mode):
                raise self._unavailable(f"cannot be used: {OURS} in it is a symbolic link")

    def _identify(self, fd: int, adopt: bool) -> str:
        with suppress(FileNotFoundError):
            found = _IDENTITY_FORM.match(_read(fd, _IDENTITY))
            if found is None:
                raise self._unavailable("has an identity this version does not understand")
            return found[1]
        if not adopt:
            raise self._unavailable("holds nothing of this backend: is the disk mounted?")
        _make_directory(fd, AREA)
        _create(fd, _IDENTITY, f"{_FIRST_LINE}\n{token_hex(16)}\n".encode())
        return self._identify(fd, adopt=False)

    def _take(self, fd: int, identity: str, held: list[int]) -> Opened:
        for path in (_TMP, UPLOADS, ATTRIBUTES, _LOCKS):
            _make_directory(fd, path)
        # Nobody sweeps while a directory is made but not yet locked.
        with _locked_directory(fd, _TMP):
            _sweep(fd)
            session = b"%s/%s" % (_TMP, token_hex(8).encode())
            os.mkdir(session, 0o700, dir_fd=fd)
            held.append(os.open(session, _DIRECTORY, dir_fd=fd))
            fcntl.flock(held[-1], fcntl.LOCK_EX)
        self._check_links(fd, session)
        stripes = []
        for number in range(_STRIPES):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            held.append(os.open(b"%s/%d" % (_LOCKS, number), flags, 0o600, dir_fd=fd))
            stripes.append((Lock(), held[-1]))
        os.fsync(fd)
        found = os.fstat(fd)
        return Opened(fd, found.st_dev, found.st_ino, identity, session, tuple(held), tuple(stripes))

    def _check_links(self, fd: int, session: bytes) -> None:
        """Exclusive creation rests on hard links, which some file systems do not have."""
        one, two = session + b"/one", session + b"/two"
        os.close(os.open(one, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=fd))
        try:
            os.link(one, two, src_dir_fd=fd, dst_dir_fd=fd)
            os.unlink(two, dir_fd=fd)
        except OSError as error:
            raise self._unavailable("is on a file system without hard links") from error
        finally:
            os.unlink(one, dir_fd=fd)

    def _release(self, held: list[int]) -> None:
        for fd in held:
            os.close(fd)

    def _unavailable(self, reason: str) -> BackendUnavailable:
        return BackendUnavailable(f"{self._backend}: {self._path} {reason}", sent=False)


def _step(fd: int, directory: bytes, path: bytes) -> int:
    try:
        return os.open(directory, _STEP, dir_fd=fd)
    except NotADirectoryError:
        if stat.S_ISLNK(os.stat(directory, dir_fd=fd, follow_symlinks=False).st_mode):
            message = f"{os.fsdecode(directory)!r} in the path {os.fsdecode(path)!r} is a symbolic link"
            raise LinkInTheWay(errno.ELOOP, message) from None
        raise


def _make_directory(fd: int, path: bytes) -> None:
    with suppress(FileExistsError):
        os.mkdir(path, 0o700, dir_fd=fd)


def _read(fd: int, path: bytes) -> str:
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=fd), "rb") as file:
        return file.read(1024).decode("ascii", "replace")


def _create(fd: int, path: bytes, data: bytes) -> None:
    """Create a file durably, whole or not at all; keep one that is there."""
    aside = path + token_hex(8).encode()
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd)
    try:
        os.write(file, data)
        os.fsync(file)
        with suppress(FileExistsError):
            os.link(aside, path, src_dir_fd=fd, dst_dir_fd=fd)
    finally:
        os.close(file)
        os.unlink(aside, dir_fd=fd)
    _on_directory(fd, os.path.dirname(path), os.fsync)


def _on_directory(fd: int, path: bytes, act: Callable[[int], object]) -> None:
    directory = os.open(path, _DIRECTORY, dir_fd=fd)
    try:
        act(directory)
    finally:
        os.close(directory)


@contextmanager
def _locked_directory(fd: int, path: bytes) -> Iterator[None]:
    directory = os.open(path, _DIRECTORY, dir_fd=fd)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _sweep(fd: int) -> None:
    """Remove what processes that are gone have left."""

    def sweep(directory: int) -> None:
        for left in os.listdir(directory):
            path = b"%s/%s" % (_TMP, os.fsencode(left))
            with suppress(OSError):  # locked: its process lives
                _on_directory(fd, path, lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB))
                _remove_tree(fd, path)

    _on_directory(fd, _TMP, sweep)


def _remove_tree(fd: int, path: bytes) -> None:
    directory = os.open(path, _DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
    try:
        with os.scandir(directory) as entries:
            found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in found:
            if is_directory:
                _remove_tree(directory, name)
            else:
                os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)
    os.rmdir(path, dir_fd=fd)
