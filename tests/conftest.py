"""What all tests share: temporary files away from the checkout."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hypothesis import settings
from twisted.trial.unittest import SynchronousTestCase

# Nothing here is about time, and the machine may have other things to do.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

_numbers = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def _scratch(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give trial's `mktemp` pytest's own place, which is cleaned up; its default is the current directory."""
    base = tmp_path_factory.mktemp("trial")

    def mktemp(case: SynchronousTestCase) -> str:
        path = base / f"{next(_numbers)}" / "temp"
        Path(path).parent.mkdir()
        return str(path)

    SynchronousTestCase.mktemp = mktemp  # type: ignore[method-assign]
