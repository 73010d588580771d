"""
What an S3 service means by a refusal.

Three kinds: a clear no, after which nothing will appear; cannot now; and what has a name
of its own. Where a service is not clear, it counts as "cannot now", for that is looked at
again.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from s3orchestrator.backends.s3_documents import Document, whole_number
from s3orchestrator.errors import (
    BackendError,
    BackendRefused,
    BackendUnavailable,
    InvalidPart,
    NoSuchBlob,
    NoSuchUpload,
)

# Answered with 4xx (or with 200 and this in the document), but trying again is right.
_LATER = frozenset(
    [
        "ConditionalRequestConflict",
        "InternalError",
        "OperationAborted",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "TemporaryRedirect",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
    ]
)
_LATER_STATUS = frozenset([307, 408, 425, 429])

# 5xx that are clear all the same: it cannot do this at all, or has no room.
_CLEAR_STATUS = frozenset([501, 505, 507])

# The keys are the reason, and there may be newer ones.
STALE_KEYS = frozenset(["ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId"])


@frozen
class Refusal:
    """A reply that is not success: its status, and what its document says if it has one."""

    status: int
    code: str = ""
    message: str = ""
    part: int = 0

    @classmethod
    def of(cls, status: int, document: Document | None) -> Refusal:
        """Read the error document that came with `status`; 200 stands for none of its own."""
        if document is None or document.root != "Error":
            return cls(status)
        fields = document.fields
        return cls(
            status,
            fields.get("Code", "")[:100],
            fields.get("Message", "")[:300],
            whole_number(fields.get("PartNumber", "")) or 0,
        )

    @property
    def is_temporary(self) -> bool:
        """Whether it may be different a moment later, or is not clear at all."""
        if self.code in _LATER or self.status in _LATER_STATUS:
            return True
        if self.status >= 500:
            return self.status not in _CLEAR_STATUS
        # Long operations answer 200 and fail in the document; only codes we know are clear then.
        return self.status < 300 and self.code not in _CLEAR_CODES

    def error(self, name: str) -> BackendError | NoSuchUpload | InvalidPart:
        """Return what to raise for it; `name` is the backend's."""
        known = _BY_CODE.get(self.code)
        if known is not None:
            return known(self, f"{name}: {self.code}")
        said = " ".join(filter(None, [str(self.status), self.code, self.message]))
        if self.is_temporary:
            return BackendUnavailable(f"{name}: {said}", replied=True)
        return BackendRefused(f"{name}: {said}", status=self.status, code=self.code)


_BY_CODE: dict[str, Callable[[Refusal, str], BackendError | NoSuchUpload | InvalidPart]] = {
    "NoSuchKey": lambda _, text: NoSuchBlob(text),
    "NoSuchUpload": lambda _, text: NoSuchUpload(text),
    "InvalidPart": lambda refusal, _: InvalidPart(refusal.part),
}

_CLEAR_CODES = frozenset(
    [
        "AccessDenied",
        "EntityTooLarge",
        "EntityTooSmall",
        "InvalidArgument",
        "InvalidPartOrder",
        "InvalidRequest",
        "MalformedXML",
        "NoSuchBucket",
        "PreconditionFailed",
    ]
)
