"""
What processes of ours may say to each other, as bytes.

Pickle, because it is the fastest there is; but what is read makes nothing that is not listed
here. The frozen values of the ledger's roles and our errors are, and nothing that could be
called for what it does. Nor does reading change a class: what stands for one takes no state. A
message may still ask for more memory than it is long; nobody but our own can say anything here.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from enum import Enum
from io import BytesIO
from operator import attrgetter
from typing import Any

import attrs
from attrs import frozen

from s3orchestrator import errors
from s3orchestrator.domain import records
from s3orchestrator.domain.usage import Counters
from s3orchestrator.interfaces import Stored
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.protocol.errors import RateLimited, S3Error, SlowDown
from s3orchestrator.protocol.metadata import ObjectMetadata

Error = errors.OrchestratorError | S3Error

VALUES: tuple[type, ...] = (
    records.Backlog,
    records.Blob,
    records.Bucket,
    records.Committed,
    records.Completion,
    records.Inventory,
    records.NewVersion,
    records.Part,
    records.PartInfo,
    records.Removed,
    records.Upload,
    records.Usage,
    records.Version,
    Checksum,
    Counters,
    ObjectMetadata,
    Stored,
    WriteCondition,
)
STATES: tuple[type[Enum], ...] = (records.BlobState, records.UploadState)
ERRORS: tuple[type[Exception], ...] = (
    *[
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.OrchestratorError)
    ],
    S3Error,
    RateLimited,
    SlowDown,
)


@frozen(getstate_setstate=False)
class _Again:
    """Makes an error what it was: some could not be made anew from what they keep."""

    _kind: type[Exception]

    def __call__(self, args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
        error = self._kind.__new__(self._kind)
        error.args = args
        error.__dict__.update(state)
        return error


def _taken_apart(kind: type) -> Callable[[Any], tuple[Any, ...]]:
    """Return what tells a value's fields; it must be made anew from them in their order."""
    names = [field.name for field in attrs.fields(kind)]
    if len(names) == 1:
        return lambda value: (kind, (getattr(value, names[0]),))
    fields = attrgetter(*names)
    return lambda value: (kind, fields(value))


def _version(version: records.Version) -> tuple[Any, ...]:
    """Parts are read from their text only by who asks for them; here somebody does."""
    version = version if type(version.parts) is tuple else attrs.evolve(version, parts=tuple(version.parts))
    return _FIELDS_OF_VERSION(version)


def _state(state: Enum) -> tuple[Any, ...]:
    return type(state), (state.name,)


def _error(error: Exception) -> tuple[Any, ...]:
    return type(error), (error.args, error.__dict__)


_FIELDS_OF_VERSION = _taken_apart(records.Version)
_APART: Mapping[type, Callable[[Any], tuple[Any, ...]]] = {
    **{kind: _taken_apart(kind) for kind in VALUES},
    records.Version: _version,
    **dict.fromkeys(STATES, _state),
    **dict.fromkeys(ERRORS, _error),
}


def _name(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__qualname__


_MADE: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{_name(kind): kind for kind in VALUES},
    **{_name(kind): {state.name: state for state in kind}.__getitem__ for kind in STATES},
    **{_name(kind): _Again(kind) for kind in ERRORS},
}


class _Pickler(pickle.Pickler):
    dispatch_table = _APART


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _MADE[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is nothing that is said here") from None


def dumps(value: object) -> bytes:
    """
    Return `value` as bytes: built-in values, and what is listed above.

    Others are written too, and refused where they are read: :raises Exception: whatever pickle
    says of what it cannot write.
    """
    written = BytesIO()
    _Pickler(written, 5).dump(value)
    return written.getvalue()


def loads(data: bytes) -> Any:
    """
    Return what `dumps` was given.

    :raises Exception: of any kind; that is nothing `dumps` has written.
    """
    return _Unpickler(BytesIO(data)).load()
