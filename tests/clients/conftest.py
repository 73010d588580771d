"""One deployment for all clients, and a clean one for each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.deployment import Clients, deploy
from tests.servers import moto, radosgw


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """`serve`, as a user would start it, with a directory, radosgw and moto behind it."""
    deployed = deploy(tmp_path_factory.mktemp("clients"), [radosgw(), moto()])
    deployed.daemon.start()
    yield deployed
    deployed.daemon.stop()


@pytest.fixture(scope="module", autouse=True)
def emptied(deployment: Clients) -> None:
    """No client sees what the one before has left."""
    deployment.empty()


@pytest.fixture(scope="class", autouse=True)
def attached(request: pytest.FixtureRequest, deployment: Clients) -> None:
    """Give it to the test cases, which cannot take arguments."""
    request.cls.deployment = deployment
