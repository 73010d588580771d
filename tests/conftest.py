"""What all tests share: temporary files away from the checkout, and who may move what has no lock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import current_thread
from typing import Any
from weakref import WeakSet

import pytest
from hypothesis import settings
from twisted.python import threadable
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.telemetry.unlocked import UnlockedCounter, UnlockedHistogram

# Nothing here is about time, and the machine may have other things to do.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

_numbers = itertools.count()


# Threads with a reactor: this one, and those in which a test runs another.
_reactors = WeakSet([current_thread()])


def _of_a_reactor(begin: Callable[[], None]) -> Callable[[], None]:
    @wraps(begin)
    def begun() -> None:
        _reactors.add(current_thread())
        begin()

    return begun


def _of_one_thread(move: Callable[..., None]) -> Callable[..., None]:
    @wraps(move)
    def moved(*args: Any, **kwargs: Any) -> None:
        assert current_thread() in _reactors, "only the reactor's thread may move what has no lock"
        move(*args, **kwargs)

    return moved


threadable.registerAsIOThread = _of_a_reactor(threadable.registerAsIOThread)
# Whatever a test does, and whatever runs in threads meanwhile: what counts without locks is one thread's.
UnlockedCounter.inc = _of_one_thread(UnlockedCounter.inc)  # type: ignore[method-assign]
UnlockedHistogram.observe = _of_one_thread(UnlockedHistogram.observe)  # type: ignore[method-assign]


@pytest.fixture(scope="session", autouse=True)
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give trial's `mktemp` pytest's own place, which is cleaned up; its default is the current directory."""
    base = tmp_path_factory.mktemp("trial")

    def mktemp(case: SynchronousTestCase) -> str:
        path = base / f"{next(_numbers)}" / "temp"
        Path(path).parent.mkdir()
        return str(path)

    SynchronousTestCase.mktemp = mktemp  # type: ignore[method-assign]
