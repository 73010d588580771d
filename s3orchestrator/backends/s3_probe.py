"""
Finding out what an S3 service can be relied on for.

Many accept `If-None-Match: *` and replace the object all the same, some only with one verb.
What is not proven here is not relied on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import md5

from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.errors import (
    BackendError,
    BackendRefused,
    InvalidPart,
    NameTaken,
    NoSuchBlob,
    NoSuchUpload,
)
from s3orchestrator.interfaces import Description, IBackend, Traits

_CONTENT = b"What can this backend be relied on for?\n"
_DESCRIPTION = Description("application/octet-stream")


async def find_traits(backend: IBackend, simple: str, odd: str) -> Traits:
    """
    Try everything out on two names; they are the caller's, and objects are left there.

    :raises BackendUnavailable: it cannot be tried out now.
    """
    first = await backend.put(simple, BytesBody(_CONTENT), _DESCRIPTION, exclusive=False)
    exclusive = set()
    verbs: list[tuple[str, Callable[[IBackend, str], Awaitable[None]]]] = [
        ("put", _put_again),
        ("copy", _copy_onto_itself),
        ("complete", _complete_again),
    ]
    for verb, replace in verbs:
        if await _is_refused(replace(backend, simple)):
            exclusive.add(verb)
    exact = await _is_exact(backend, odd, exclusive=bool(exclusive))
    if exact is None:  # it refuses names that are free as well
        exclusive.clear()
    return Traits(
        frozenset(exclusive),
        exact_names=bool(exact),
        md5_etags=first.etag == md5(_CONTENT, usedforsecurity=False).hexdigest(),
    )


async def _is_refused(replacing: Awaitable[None]) -> bool:
    try:
        await replacing
    except NameTaken:
        return True
    except (BackendRefused, NoSuchBlob, NoSuchUpload, InvalidPart):
        return False  # it does not know the verb, or the header
    return False


async def _put_again(backend: IBackend, name: str) -> None:
    await backend.put(name, BytesBody(_CONTENT), _DESCRIPTION, exclusive=True)


async def _copy_onto_itself(backend: IBackend, name: str) -> None:
    await backend.copy(name, name, _DESCRIPTION, exclusive=True)


async def _complete_again(backend: IBackend, name: str) -> None:
    upload_id = await backend.create_upload(name, _DESCRIPTION)
    try:
        part = await backend.put_part(name, upload_id, 1, BytesBody(_CONTENT))
        await backend.complete_upload(name, upload_id, [(1, part.etag)], exclusive=True)
    except (NameTaken, BackendRefused, InvalidPart):
        await backend.abort_upload(name, upload_id)
        raise
    except BackendError:
        with suppress(BackendError):  # who cleans up after a probe that failed looks for uploads, too
            await backend.abort_upload(name, upload_id)
        raise


async def _is_exact(backend: IBackend, odd: str, *, exclusive: bool) -> bool | None:
    """Tell whether an odd name is held and listed as it is; None if it is said to be taken."""
    try:
        stored = await backend.put(odd, BytesBody(_CONTENT), _DESCRIPTION, exclusive=exclusive)
        found = await backend.head(odd)
        listed = await backend.list_objects(odd, "", 2)
    except NameTaken:
        return None
    except (BackendRefused, NoSuchBlob):
        return False
    return found.etag == stored.etag and [each.name for each in listed] == [odd]
