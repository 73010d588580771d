"""The service that is installed, used over HTTPS."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from tests.package.roots import DATA, Root
from tests.package.services import Service
from tests.package.serving import BUCKET, Deployment


@pytest.fixture(scope="module")
def deployment(pristine: Root, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One for all tests here; nothing is running."""
    root = pristine.copy()
    try:
        yield Deployment(root, tmp_path_factory.mktemp("home"))
    finally:
        root.remove()


@pytest.fixture
def service(deployment: Deployment) -> Iterator[Service]:
    """It is running, and ready."""
    service = deployment.service = Service(deployment.root)
    service.start()
    try:
        service.wait_until_ready()
        yield service
        service.stop()
    finally:
        service.kill()


def test_unconfigured(pristine: Root) -> None:
    """As it is installed it does not start, and says what is missing."""
    service = Service(pristine)
    service.start()
    try:
        assert service.ended() != 0
    finally:
        service.kill()
    assert "PHOTOS_SECRET, which is not set" in service.tail()
    assert pristine.run("ls", DATA) == ""


def test_awscli(deployment: Deployment, service: Service) -> None:
    """The AWS CLI stores and fetches over HTTPS, at a port that only root may open."""
    sent, got = deployment.home / "sent", deployment.home / "got"
    sent.write_bytes(bytes(range(256)) * 100_000)
    deployment.aws("s3", "cp", sent, f"s3://{BUCKET}/kept", "--no-progress")
    deployment.aws("s3", "cp", f"s3://{BUCKET}/kept", got, "--no-progress")
    assert got.read_bytes() == sent.read_bytes()
    certificate = ssl.get_server_certificate(("127.0.0.1", deployment.port), ca_certs=str(deployment.bundle))
    assert certificate.startswith("-----BEGIN")


def test_files_are_private(deployment: Deployment, service: Service) -> None:
    """Ledger and objects belong to the service, and nobody else may read them."""
    deployment.aws("s3api", "put-object", "--bucket", BUCKET, "--key", "private")
    found = deployment.root.shell(f"find {DATA} -type f -printf '%u:%g %m\\n' | sort -u").splitlines()
    assert found == ["s3orchestrator:s3orchestrator 600"]
