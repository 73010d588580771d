"""Calls of the admin API that another process answers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen

from s3orchestrator.bodies.sources import BodyTooLong
from s3orchestrator.errors import BodyAborted
from s3orchestrator.web.admin.access import Access
from s3orchestrator.web.admin.api import WITH_BODY, AdminRequest, Read, Reply
from s3orchestrator.web.admin.resource import Answer


@frozen
class Taken:
    """A body that was read before it was known whether somebody wants it, or why it could not be."""

    data: bytes = b""
    is_too_long: bool = False
    aborted: str = ""

    async def read(self) -> bytes:
        """As if it were read only now."""
        if self.is_too_long:
            raise BodyTooLong
        if self.aborted:
            raise BodyAborted(self.aborted)
        return self.data


def passing_on(ask: Callable[[AdminRequest, Taken], Coroutine[Any, Any, Reply]], access: Access) -> Answer:
    """
    Answer with what another process says.

    It has the last word on who may ask. But a body is taken only from those who show the token: others
    could have us hold a megabyte for each connection.
    """

    async def answer(request: AdminRequest, read: Read) -> Reply:
        taken = Taken()
        if request.method in WITH_BODY and access.knows(request.tokens):
            taken = await _take(read)
        return await ask(request, taken)

    return answer


async def _take(read: Read) -> Taken:
    try:
        return Taken(await read())
    except BodyTooLong:
        return Taken(is_too_long=True)
    except BodyAborted as error:
        return Taken(aborted=str(error))
