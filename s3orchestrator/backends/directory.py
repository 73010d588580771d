"""A directory as a backend: objects are files that can be read without us."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from s3orchestrator.backends.blocking import BlockingCalls
from s3orchestrator.backends.disk import Disk, Read
from s3orchestrator.backends.filebodies import BLOCK, BlockWriter, FileBody
from s3orchestrator.backends.filenames import place_of
from s3orchestrator.backends.newfiles import Assembly, NewFile, Piece
from s3orchestrator.backends.roots import Root
from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.concurrency import finish
from s3orchestrator.errors import BackendRefused
from s3orchestrator.interfaces import (
    Description,
    Fetched,
    Found,
    IBackend,
    ListedObject,
    ListedUpload,
    Stored,
    Traits,
)
from s3orchestrator.protocol.ranges import ByteRange

T = TypeVar("T")

TRAITS = Traits(exclusive=frozenset({"put", "copy", "complete"}), exact_names=True, md5_etags=False)

# Copying goes in steps, between which others get a thread and a cancellation takes effect.
_COPIED_AT_ONCE = 32 * 1024 * 1024
_MAX_PARTS = 10_000


@implementer(IBackend)
@define(eq=False)
class DirectoryBackend:
    """
    Keeps objects below the directory `path`, which must be one file system with hard links.

    `adopt` tells whether a directory that is missing, or has not been ours before, may be
    made ours. Say False when the ledger expects objects there: then a disk is not mounted.
    The directory is looked at when first needed and again at every operation, so a disk
    may come back without a restart.

    What has been acknowledged survives a power failure, as far as the disk tells the truth.
    """

    name: str
    _path: str
    _reactor: Any  # IReactorTime and IReactorFromThreads
    _adopt: bool = True
    _max_threads: int = 8
    traits: Traits | None = field(init=False, default=TRAITS)
    _threads: BlockingCalls = field(init=False)
    _disk: Disk = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._threads = BlockingCalls(self._reactor, self.name, self._max_threads)
        self._disk = Disk(self.name, Root(self.name, self._path, self._adopt), self._reactor.seconds)

    async def open(self) -> None:
        """
        Look at the directory: make it ours and clean up after a crash, if need be.

        Whatever comes first does that too; but at start an operator wants to be told.

        :raises BackendUnavailable: it cannot be used, and why.
        """
        await self._threads.call(self._disk.look)

    async def put(
        self, name: str, body: IBodyProducer, description: Description, *, exclusive: bool
    ) -> Stored:
        """Write aside while the body comes; then link (exclusive) or rename."""
        self._check_names(name)
        # A body that is not started can still go elsewhere, a small one is kept anyway.
        if _is_large(body):
            await self._threads.call(partial(self._disk.refuse_taken, name) if exclusive else self._disk.look)
        return await self._receive(
            body, partial(self._disk.store, name=name, description=description, exclusive=exclusive)
        )

    async def get(self, name: str, wanted: ByteRange | None = None, *, etag: str | None = None) -> Fetched:
        """Open; what fits a block is read with the same trip."""
        self._check_names(name)
        found = await self._threads.call(partial(self._disk.read, name, wanted, etag, BLOCK), Read.let_go)
        if found.data is not None:
            return Fetched(found.size, found.etag, BytesBody(found.data))
        body = FileBody(found.length, found.fd, found.start, self._threads, self.name)
        return Fetched(found.size, found.etag, body)

    async def head(self, name: str) -> Found:
        """Size and time are the file's, the rest is what was kept with it."""
        self._check_names(name)
        return await self._threads.call(partial(self._disk.head, name))

    async def delete(self, name: str, version_id: str | None = None) -> None:
        """Remove the file, and directories that are empty without it."""
        self._check_names(name)
        await self._threads.call(partial(self._disk.remove, name))

    async def copy(
        self,
        source: str,
        target: str,
        description: Description,
        *,
        exclusive: bool,
        source_etag: str | None = None,
    ) -> Stored:
        """Share the bytes where the file system can, else copy them inside the kernel."""
        self._check_names(source, target)
        if exclusive:
            await self._threads.call(partial(self._disk.refuse_taken, target))
        file = self._disk.new_file()
        return await self._assemble(
            file,
            self._disk.piece_of(source, None, source_etag),
            partial(self._disk.store, file, target, description, exclusive=exclusive),
        )

    async def create_upload(self, name: str, description: Description) -> str:
        """Make a directory for the parts."""
        self._check_names(name)
        return await self._threads.call(partial(self._disk.create_upload, name, description))

    async def put_part(self, name: str, upload_id: str, number: int, body: IBodyProducer) -> Stored:
        """Write aside, then rename over an earlier attempt."""
        self._check_names(name)
        self._check_numbers([number])
        if _is_large(body):
            await self._threads.call(partial(self._disk.find_upload, name, upload_id))
        return await self._receive(
            body, partial(self._disk.store_part, name=name, upload_id=upload_id, number=number)
        )

    async def copy_part(
        self,
        name: str,
        upload_id: str,
        number: int,
        source: str,
        wanted: ByteRange | None,
        *,
        source_etag: str | None = None,
    ) -> Stored:
        """As `copy`, into a part."""
        self._check_names(name, source)
        self._check_numbers([number])
        await self._threads.call(partial(self._disk.find_upload, name, upload_id))
        file = self._disk.new_file()
        return await self._assemble(
            file,
            self._disk.piece_of(source, wanted, source_etag),
            partial(self._disk.store_part, file, name, upload_id, number),
        )

    async def complete_upload(
        self,
        name: str,
        upload_id: str,
        parts: Sequence[tuple[int, str]],
        *,
        exclusive: bool,
        late: Mapping[str, str] | None = None,
    ) -> Stored:
        """
        Assemble the object aside, put it in place, then remove the parts.

        The parts stay until the object is there, and the object tells which upload made it. So a
        Complete that was cut off anywhere can be repeated, and so can one that succeeded.
        """
        self._check_names(name)
        self._check_numbers([number for number, _ in parts])
        done = await self._threads.call(partial(self._disk.completed, name, upload_id))
        if done is not None:
            return done
        if exclusive:
            await self._threads.call(partial(self._disk.refuse_taken, name))
        file = self._disk.new_file()
        keep_time = len(parts) == 1  # a part linked as it is keeps its ETag, to be found when repeated
        return await self._assemble(
            file,
            self._disk.pieces_of_upload(file, name, upload_id, parts),
            partial(
                self._disk.store_upload,
                file,
                name,
                upload_id,
                exclusive=exclusive,
                keep_time=keep_time,
                late=late or {},
            ),
        )

    async def abort_upload(self, name: str, upload_id: str) -> None:
        """Remove the parts."""
        self._check_names(name)
        await self._threads.call(partial(self._disk.remove_upload, name, upload_id))

    async def list_objects(
        self, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[ListedObject]:
        """Read the directories that can have names of the page."""
        return await self._threads.call(partial(self._disk.page, prefix, after, limit))

    async def list_uploads(self, prefix: str = "") -> Sequence[ListedUpload]:
        """Read the names of all uploads."""
        return await self._threads.call(partial(self._disk.uploads, prefix))

    async def list_versions(self, name: str) -> Sequence[tuple[str, bool]]:
        """There are none."""
        return ()

    async def probe(self, scratch: Sequence[str]) -> Traits:
        """Known without asking."""
        return TRAITS

    async def close(self) -> None:
        """Wait for what threads are doing, then let go of the directory."""
        await finish(self._close())

    async def _close(self) -> None:
        await self._threads.close()
        self._disk.close()

    async def _receive(self, body: IBodyProducer, store: Callable[[NewFile], Stored]) -> Stored:
        """Write `body` to a new file, and `store` that."""
        file = self._disk.new_file()

        def write(chunks: Sequence[bytes]) -> None:
            with file.lock:
                self._disk.write(file, chunks)

        def end(chunks: Sequence[bytes]) -> Stored:
            with file.lock:
                self._disk.write(file, chunks)
                return store(file)

        async def work() -> Stored:
            last = await BlockWriter(self._threads, write).take(body)
            return await self._threads.call(partial(end, last))

        return await self._or_discard(file, work, file.discard)

    async def _assemble(self, file: NewFile, pieces: Iterator[Piece], store: Callable[[], Stored]) -> Stored:
        """Fill `file` with `pieces`, then `store` it."""
        assembly = Assembly(file, pieces)

        def step() -> Stored | None:
            with file.lock:
                is_whole = self._disk.assemble(assembly, _COPIED_AT_ONCE)
                return store() if is_whole else None

        def discard() -> None:
            assembly.close()
            file.discard()

        async def work() -> Stored:
            while (stored := await self._threads.call(step)) is None:
                pass
            return stored

        return await self._or_discard(file, work, discard)

    async def _or_discard(
        self, file: NewFile, work: Callable[[], Any], discard: Callable[[], None]
    ) -> Stored:
        def discard_alone() -> None:
            with file.lock:
                discard()

        try:
            stored: Stored = await work()
            return stored
        except Exception as error:
            file.is_discarded = True  # stops a thread that is busy with it
            discarding = self._threads.clean_up(discard_alone)
            if not isinstance(error, CancelledError):
                await discarding
            raise

    def _check_names(self, *names: str) -> None:
        for name in names:
            try:
                place_of(name)
            except ValueError as error:
                raise BackendRefused(f"{self.name}: {error}", status=400) from error

    def _check_numbers(self, numbers: Sequence[int]) -> None:
        in_order = all(before < number for before, number in zip([0, *numbers], numbers, strict=False))
        if not numbers or not in_order or numbers[-1] > _MAX_PARTS:
            message = f"{self.name}: parts are numbered 1 to {_MAX_PARTS}, in ascending order"
            raise BackendRefused(message, status=400)


def _is_large(body: IBodyProducer) -> bool:
    length = body.length
    return bool(length == UNKNOWN_LENGTH or length > BLOCK)
