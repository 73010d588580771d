"""
What can go wrong inside, by name.

Adapters translate foreign failures into these at their own door; the engine raises and
catches them; `protocol.errors.as_s3_error` is the only place that turns them into an
answer for a client. Messages never hold a secret and read well after "because".
"""

from __future__ import annotations


class OrchestratorError(Exception):
    """The common root, so that nothing else is mistaken for one of ours."""


class NoSuchBucket(OrchestratorError):
    """No bucket of that name is being served."""


class BucketExists(OrchestratorError):
    """The name is taken; `owned` tells whether by the caller."""

    def __init__(self, bucket: str, *, owned: bool) -> None:
        super().__init__(bucket)
        self.owned = owned


class BucketNotEmpty(OrchestratorError):
    """The bucket still holds an object, a version or a delete marker."""


class NoSuchKey(OrchestratorError):
    """The key has no version that a plain read would see."""


class NotSeen(NoSuchKey):
    """No backend has the key; the ledger, which would know for sure, is away."""


class NoSuchVersion(OrchestratorError):
    """The key has no version of that id."""


class NoSuchUpload(OrchestratorError):
    """No open multipart upload of that id belongs to that bucket and key."""


class InvalidPart(OrchestratorError):
    """A listed part was never uploaded, or its ETag is another one."""

    def __init__(self, number: int, etag: str = "") -> None:
        super().__init__(f"part {number}")
        self.number = number
        self.etag = etag


class PartTooSmall(OrchestratorError):
    """A part other than the last is under S3's 5 MiB."""

    def __init__(self, number: int, size: int, etag: str = "") -> None:
        super().__init__(f"part {number} has {size} bytes")
        self.number = number
        self.size = size
        self.etag = etag


class Conflict(OrchestratorError):
    """Another operation on the same thing is under way; trying again is right."""


class PreconditionFailed(OrchestratorError):
    """A condition of the request does not hold; the argument is the header's name."""


class InsufficientStorage(OrchestratorError):
    """No backend that may take the bytes has room for them."""


class TooManyUploads(OrchestratorError):
    """The bucket already has as many open multipart uploads as it may."""


class BackendError(OrchestratorError):
    """
    A backend could not do what it was asked.

    `sent` says whether any of the request may have reached the backend: if not, nothing
    can appear there later; if so, the outcome is unclear until somebody has looked.
    """

    answered = False  # by a clear no, after which nothing will appear
    replied = False  # by anything at all, be it unclear

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent

    @property
    def is_unclear(self) -> bool:
        """Tell whether what was asked for may have happened, or happen later."""
        return self.sent and not self.answered


class BackendUnavailable(BackendError):
    """
    It did not answer, or answered that it cannot answer now (5xx, throttled, stalled).

    `replied` tells the latter from the former: it is there, and is having trouble.
    """

    def __init__(self, message: str, *, sent: bool = True, replied: bool = False) -> None:
        super().__init__(message, sent=sent)
        self.replied = replied


class BackendWithheld(BackendUnavailable):
    """We do not change it: it may not be this ledger's, or hold what the ledger does not know (L9)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, sent=False)


class BackendRefused(BackendError):
    """It answered clearly that it will not (4xx other than the ones with names of their own)."""

    answered = True
    replied = True

    def __init__(self, message: str, *, status: int = 0, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class UsageLimitExceeded(BackendError):
    """
    The operator lets the backend do no more this month; nothing was sent.

    `writing` tells what it was to do: a client may read this as "full" or as "later".
    """

    answered = True  # by ourselves

    def __init__(self, message: str, *, writing: bool) -> None:
        super().__init__(message, sent=False)
        self.writing = writing


class NameTaken(BackendError):
    """The backend holds an object of that name and was asked not to replace one."""

    answered = True
    replied = True


class NoSuchBlob(BackendError):
    """The backend has no object of that name (and does have the bucket it was asked in)."""

    answered = True
    replied = True


class BlobChanged(BackendError):
    """The object of that name does not have the ETag the ledger knows."""

    answered = True
    replied = True


class IntegrityError(OrchestratorError):
    """Bytes are not what the ledger says they are."""


class StoreUnavailable(OrchestratorError):
    """The ledger cannot be asked at the moment."""


class TransactionUnclear(StoreUnavailable):
    """
    A COMMIT got no answer: the change may or may not have happened.

    `occasion` is the same for all who shared it, 0 where nobody did.
    """

    occasion: int = 0


class LedgerInUse(OrchestratorError):
    """Another process holds this ledger."""


class LedgerMisplaced(OrchestratorError):
    """The ledger is where a backend keeps objects; it was not opened."""


class LedgerTooNew(OrchestratorError):
    """A newer release has changed the ledger in a way that this one would damage."""


class LedgerIncomplete(OrchestratorError):
    """A copy into this ledger was broken off; it must not be served from."""


class LedgerNotEmpty(OrchestratorError):
    """A ledger that was to be written as a whole holds something already."""


class LedgersDiffer(OrchestratorError):
    """Two ledgers that should be the same are not."""


class BodyAborted(OrchestratorError):
    """The client left, or stalled, before the whole body had come."""


class BodyStalled(BodyAborted):
    """The client was silent for too long in the middle of its body."""
