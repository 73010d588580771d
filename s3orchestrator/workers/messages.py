"""What the processes of a daemon tell each other, apart from what concerns the ledger."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import attrs
from attrs import Factory, frozen

from s3orchestrator import __version__
from s3orchestrator.config.sections import Config

LINES_AT_ONCE = 1 << 20  # characters of the log in a message, so that taking it is no long turn

_PACKAGE = "s3orchestrator.config."
_OTHERS = {(kind.__module__, kind.__name__): kind for kind in (IPv4Network, IPv6Network)}


class _Reader(pickle.Unpickler):
    """Makes settings, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (kind := _OTHERS.get((module, name))) is not None:
            return kind
        if module.startswith(_PACKAGE):
            found = super().find_class(module, name)
            if isinstance(found, type) and (attrs.has(found) or issubclass(found, str)):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is no setting")


def packed(config: Config) -> bytes:
    """
    Return settings as bytes, secrets included: for a process of our own.

    It gets what is in force, not what the file says by the time that it starts.
    """
    return pickle.dumps(config, 5)


def unpacked(data: bytes) -> Config:
    """:raises Exception: of any kind; that is nothing `packed` has returned."""
    config = _Reader(io.BytesIO(data)).load()
    if not isinstance(config, Config):
        raise pickle.UnpicklingError("these are no settings")
    return config


@frozen
class Begin:
    """
    The first that a process is told: what it is to do. `config` is packed.

    `sockets` are the descriptors that it inherits, for each listener of the configuration in turn.
    """

    number: int  # 1 and up; the next one in its place has it, too
    of: int  # how many there are
    config: bytes
    log_level: str
    sockets: tuple[tuple[int, ...], ...]
    more: tuple[int, ...] = ()  # descriptors that it is to keep open
    release: str = __version__  # of whoever says so


@frozen
class Report:
    """
    How a process fares.

    `owners` are its names in the ledger; `breakers` has the state of each backend's.
    """

    owners: tuple[int, ...] = ()
    requests: int = 0  # in flight
    connections: int = 0
    breakers: Mapping[str, str] = Factory(dict)
