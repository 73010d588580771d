"""One root with the package installed for all who only look at it or serve from it; copies for the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.package.pages import commands
from tests.package.roots import Root, needs_root, package


@pytest.fixture(scope="session")
def pristine() -> Iterator[Root]:
    """The package in a clean root, installed as the page says; whoever changes it takes a copy."""
    needs_root()
    root = Root.make()
    try:
        root.run("apt-get", "-q", "update")
        # Debian's own: `systemd-analyze verify` looks for manual pages with it.
        root.install("man-db")
        root.bring(package())
        for line in commands("deploy", "Installing"):
            root.shell(f"cd /srv; {line.replace('apt-get', 'apt-get -y -q')}")
        yield root
    finally:
        root.remove()


@pytest.fixture
def root(pristine: Root) -> Iterator[Root]:
    """A copy of it."""
    copied = pristine.copy()
    try:
        yield copied
    finally:
        copied.remove()
