"""
Objects as files below a root: finding, placing and removing them.

Everything here blocks and may be called from several threads; several processes may share
a root. An object is one of two files (see `filenames`). Who puts an object in place or
removes it decides about its name alone; readers need no lock, because an object moves only
from the first of the two to the second, which is where they look next.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock

from attrs import define, field

from s3orchestrator.backends.attributes import AttributeStore, validator
from s3orchestrator.backends.filenames import Place, name_of, place_of
from s3orchestrator.backends.newfiles import Whole
from s3orchestrator.backends.roots import Opened
from s3orchestrator.errors import BackendRefused, BackendUnavailable, NameTaken, NoSuchBlob

# Never blocking on a pipe, never leaving the root by a link, in case somebody put one there.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
_MODE = 0o750
# Each is another operation removing the directory just made, or moving a file into its way.
_ATTEMPTS = 1000
_REMEMBERED = 10_000


@define(eq=False)
class Directories:
    """
    Makes and removes directories, remembering which would survive a power failure.

    Syncing a file's directory is not enough if somebody else has just made that directory and not synced
    its parent yet. What is not remembered is synced again.
    """

    _durable: dict[bytes, object] = field(init=False, factory=dict)
    _lock: Lock = field(init=False, factory=Lock)

    def make(self, root: Opened, path: bytes) -> None:
        """:raises FileExistsError: there is something of that name."""
        with self._lock:
            with root.at(path) as (fd, leaf):
                os.mkdir(leaf, _MODE, dir_fd=fd)
            self._durable.pop(path, None)

    def remove(self, root: Opened, path: bytes) -> None:
        """:raises OSError: it is not an empty directory."""
        with self._lock:
            with root.at(path) as (fd, leaf):
                os.rmdir(leaf, dir_fd=fd)
            self._durable.pop(path, None)

    def sync(self, root: Opened, paths: Sequence[bytes]) -> None:
        """Make what is in the last of `paths`, each of which is inside the one before, durable."""
        for path in paths:
            mark = object()
            with self._lock:
                if len(self._durable) > _REMEMBERED:
                    self._durable.clear()
                known = self._durable.setdefault(path, mark)
            if known is True:
                continue
            root.sync_directory(os.path.dirname(path) or b".")
            with self._lock:
                # Another mark: it was removed and made again meanwhile.
                if self._durable.get(path) is known:
                    self._durable[path] = True
        root.sync_directory(paths[-1] if paths else b".")


@define(eq=False)
class Tree:
    """The objects of a directory backend called `name`."""

    _name: str
    _attributes: AttributeStore
    _directories: Directories = field(init=False, factory=Directories)

    def open(self, root: Opened, name: str) -> tuple[int, os.stat_result]:
        """
        Open an object for reading.

        :raises NoSuchBlob: there is none.
        """
        where = place_of(name)
        with suppress(FileNotFoundError, NotADirectoryError), root.at(where.plain) as (directory, _):
            for path in (where.plain, where.shadow):
                try:
                    fd = os.open(os.path.basename(path), _READ, dir_fd=directory)
                except OSError as error:
                    if error.errno not in _NO_FILE:
                        raise
                    continue
                found = os.fstat(fd)
                if stat.S_ISREG(found.st_mode):
                    return fd, found
                os.close(fd)
        raise NoSuchBlob(f"{self._name}: no file for {name!r}")

    def is_taken(self, root: Opened, name: str) -> bool:
        """Tell whether there is an object of that name, or something in its place."""
        where = place_of(name)
        return any(_mode(root, path) not in (0, stat.S_IFDIR) for path in (where.plain, where.shadow))

    def place(
        self, root: Opened, whole: Whole, name: str, *, exclusive: bool, upload: str | None = None
    ) -> str:
        """
        Make `whole` the object `name`; returns the ETag of the object.

        One that was made from the same `upload` before stays, and counts as success.

        :raises NameTaken: `exclusive`, and there is an object of that name.
        """
        where = place_of(name)
        for _ in range(_ATTEMPTS):
            try:
                with root.deciding(name):
                    etag = self._decide(root, whole, name, where, exclusive, upload)
            except (FileNotFoundError, NotADirectoryError):
                self._make_way(root, where)
                continue
            with suppress(FileNotFoundError, NotADirectoryError):  # it has been removed already
                self._directories.sync(root, where.directories)
            return etag
        raise BackendUnavailable(f"{self._name}: the directories of {name!r} keep disappearing")

    def remove(self, root: Opened, name: str) -> None:
        """Remove an object, and the directories that are empty without it."""
        where = place_of(name)
        with root.deciding(name):
            for path in (where.plain, where.shadow):
                with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    with root.at(path) as (fd, leaf):
                        os.unlink(leaf, dir_fd=fd)
                    break
            self._attributes.forget(root, name)
        self._prune(root, where)

    def _decide(
        self, root: Opened, whole: Whole, name: str, where: Place, exclusive: bool, upload: str | None
    ) -> str:
        if upload is not None and (before := self.made_from(root, name, upload)):
            return before
        if whole.aside is not None:
            self._attributes.settle(root, name, whole.etag, whole.aside)
        if exclusive:
            try:
                self._link(root, whole.path, name, where)
            except NameTaken:
                self._attributes.unsettle(root, name, whole.etag)
                raise
        else:
            self._rename(root, whole.path, where)
        self._attributes.forget(root, name, except_for=whole.etag)
        return whole.etag

    def made_from(self, root: Opened, name: str, upload: str) -> str | None:
        """Return the ETag of the object `name` if `upload` became it."""
        with suppress(NoSuchBlob):
            fd, found = self.open(root, name)
            try:
                if self._attributes.read(root, fd, name).upload == upload:
                    return validator(found)
            finally:
                os.close(fd)
        return None

    def _link(self, root: Opened, path: bytes, name: str, where: Place) -> None:
        if _mode(root, where.shadow):
            raise NameTaken(f"{self._name}: there is a file for {name!r}")
        target = where.shadow if self._is_in_the_way(root, where.plain) else where.plain
        try:
            with root.at(target) as (fd, leaf):
                os.link(path, leaf, src_dir_fd=root.fd, dst_dir_fd=fd)
        except FileExistsError:
            if _mode(root, target) == stat.S_IFDIR:  # made this very moment
                raise FileNotFoundError from None
            raise NameTaken(f"{self._name}: there is a file for {name!r}") from None
        root.discard(path)

    def _rename(self, root: Opened, path: bytes, where: Place) -> None:
        is_shadow = _mode(root, where.shadow) != 0 or self._is_in_the_way(root, where.plain)
        try:
            target = where.shadow if is_shadow else where.plain
            with root.at(target) as (fd, leaf):
                os.rename(path, leaf, src_dir_fd=root.fd, dst_dir_fd=fd)
        except IsADirectoryError:
            raise FileNotFoundError from None

    def _is_in_the_way(self, root: Opened, path: bytes) -> bool:
        """Tell whether `path` is a directory; an empty one, which somebody left, is removed."""
        if _mode(root, path) != stat.S_IFDIR:
            return False
        with suppress(OSError):
            self._directories.remove(root, path)
            return False
        return True

    def _make_way(self, root: Opened, where: Place) -> None:
        for path in where.directories:
            try:
                self._directories.make(root, path)
            except FileExistsError:
                kind = _mode(root, path)
                if kind == stat.S_IFLNK:
                    raise BackendRefused(
                        f"{self._name}: {os.fsdecode(path)!r} is a symbolic link, which is never followed",
                        status=400,
                    ) from None
                if kind != stat.S_IFDIR:
                    self._move_aside(root, path)
            except (FileNotFoundError, NotADirectoryError):
                return  # the next attempt begins again

    def _move_aside(self, root: Opened, path: bytes) -> None:
        """Let an object whose file has the name of a directory we need be the other file."""
        name = name_of(path)
        if name is None:
            raise BackendRefused(f"{self._name}: a file that is not ours is where a directory must be")
        where = place_of(name)
        with root.deciding(name):
            if _mode(root, where.plain) in (0, stat.S_IFDIR):
                return
            if _mode(root, where.shadow):
                raise BackendRefused(f"{self._name}: there are two files for {name!r}")
            with root.at(where.plain) as (fd, leaf):
                os.rename(leaf, os.path.basename(where.shadow), src_dir_fd=fd, dst_dir_fd=fd)
            root.sync_directory(where.parent)
            with suppress(FileExistsError):
                self._directories.make(root, path)

    def _prune(self, root: Opened, where: Place) -> None:
        for path in reversed(where.directories):
            try:
                self._directories.remove(root, path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError:
                with suppress(FileNotFoundError):
                    root.sync_directory(path)
                    return
        root.sync_directory(b".")


def _mode(root: Opened, path: bytes) -> int:
    """Return what kind of file is there, which may be a link; 0 for none."""
    try:
        with root.at(path) as (fd, leaf):
            return stat.S_IFMT(os.stat(leaf, dir_fd=fd, follow_symlinks=False).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0
