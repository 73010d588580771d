"""What all tests share: temporary files away from the checkout."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import pytest
from hypothesis import settings
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.telemetry.unlocked import UnlockedCounter, UnlockedHistogram

# Nothing here is about time, and the machine may have other things to do.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

_numbers = itertools.count()


def _of_one_thread(move: Callable[..., None]) -> Callable[..., None]:
    @wraps(move)
    def moved(*args: Any, **kwargs: Any) -> None:
        assert current_thread() is main_thread(), "only the reactor's thread may move what has no lock"
        move(*args, **kwargs)

    return moved


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
