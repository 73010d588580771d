"""
What the end of a call says about the backend.

Whoever says no is there: a missing object, a name that is taken, even a refusal are
answers. A failure is no answer, or one that it cannot answer now. A call that its caller
gave up, or whose body broke off on our side, says nothing at all.
"""

from __future__ import annotations

from enum import Enum

from s3orchestrator.errors import BackendError, BackendRefused, InvalidPart, NoSuchUpload


class Outcome(Enum):
    """The three ways a call can end, as far as its backend is concerned."""

    ANSWERED = "answered"
    FAILED = "failed"
    ABANDONED = "abandoned"


def outcome_of(error: BaseException) -> Outcome:
    """
    Classify what a backend's method raised.

    What is no backend's error is the caller's: a cancellation, a client's body that ended
    early or was not what it declared.
    """
    if isinstance(error, NoSuchUpload | InvalidPart):
        return Outcome.ANSWERED
    if isinstance(error, BackendError):
        return Outcome.ANSWERED if error.answered else Outcome.FAILED
    return Outcome.ABANDONED


def status_of(error: BaseException) -> str:
    """Return the metric's word for a call that ended in `error`; a refusal that has a name is success."""
    outcome = outcome_of(error)
    if outcome is Outcome.ABANDONED:
        return "cancelled"
    return "error" if outcome is Outcome.FAILED or isinstance(error, BackendRefused) else "success"
