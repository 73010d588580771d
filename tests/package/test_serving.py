"""The service that is installed, used over HTTPS."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.package.pages import blocks, commands
from tests.package.roots import DATA, NAME, Root
from tests.package.services import Service
from tests.package.serving import BUCKET, KEY, Deployment
from tests.package.transfers import MIB, Paused
from tests.running import wait_until

SIZE = 1 << 30


@pytest.fixture(scope="module")
def deployment(pristine: Root, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One for all tests here; nothing is running."""
    root = pristine.copy()
    try:
        yield Deployment(root, tmp_path_factory.mktemp("home"))
    finally:
        root.remove()


@contextmanager
def running(deployment: Deployment) -> Iterator[Service]:
    """Run the service while the block does, and stop it."""
    service = deployment.service = Service(deployment.root)
    service.start()
    try:
        service.wait_until_ready()
        yield service
        service.stop()
    finally:
        service.kill()


@pytest.fixture
def service(deployment: Deployment) -> Iterator[Service]:
    """It is running, and ready."""
    with running(deployment) as service:
        yield service


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


def test_files_are_private(deployment: Deployment, service: Service) -> None:
    """Ledger and objects belong to the service, and nobody else may read them."""
    deployment.aws("s3api", "put-object", "--bucket", BUCKET, "--key", "private")
    found = deployment.root.shell(f"find {DATA} -type f -printf '%u:%g %m\\n' | sort -u").splitlines()
    assert found == ["s3orchestrator:s3orchestrator 600"]


def test_confined(deployment: Deployment, service: Service) -> None:
    """These tests do what the unit says: a filter of system calls, one capability, no way to more."""
    lines = Path(f"/proc/{service.pid}/status").read_text().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    bind_service = f"{1 << 10:016x}"
    assert {status[name] for name in ("CapBnd", "CapEff", "CapAmb")} == {bind_service}


def test_directory_elsewhere(deployment: Deployment) -> None:
    """A backend outside of the service's own folder works with the page's drop-in, and not without."""
    root, before = deployment.root, deployment.configuration.read_text()
    for line in commands("deploy", "Directories elsewhere"):
        root.shell(line)
    other = before.replace("name: disk", "name: elsewhere").replace(f"{DATA}/objects", "/srv/objects")
    deployment.configuration.write_text(other)
    put = ("s3api", "put-object", "--bucket", BUCKET, "--key", "elsewhere")
    try:
        with running(deployment) as service:
            with pytest.raises(AssertionError, match="ServiceUnavailable"):
                deployment.aws(*put)
            assert "Read-only file system" in service.tail()
        (drop_in,) = blocks("deploy", "Directories elsewhere", "ini")
        place = root.at(f"/etc/systemd/system/{NAME}.service.d/override.conf")
        place.parent.mkdir()
        place.write_text(drop_in)
        with running(deployment):
            deployment.aws(*put)
        assert "elsewhere" in root.run("find", "/srv/objects")
    finally:
        deployment.configuration.write_text(before)


def test_reload(deployment: Deployment, service: Service) -> None:
    """A reload swaps certificate and credentials, and drops neither an upload nor a download of 1 GiB."""
    client, sending = deployment.client(), Paused(SIZE)
    with ThreadPoolExecutor(1) as uploads:
        upload = uploads.submit(
            client.put_object, Bucket=BUCKET, Key="large", Body=sending, ContentLength=SIZE
        )
        sending.wait_until_paused()
        first, certificate = deployment.shown(), deployment.renew()
        service.reload()
        assert certificate == deployment.shown() != first
        sending.go_on()
        upload.result()

    got = client.get_object(Bucket=BUCKET, Key="large")["Body"]
    digest = sha256(got.read(SIZE // 2))
    pair = deployment.configuration.read_text()
    deployment.configuration.write_text(
        pair.replace(KEY, "NEWKEY").replace('"${PHOTOS_SECRET}"', "new-secret")
    )
    service.reload()
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        deployment.client().list_objects_v2(Bucket=BUCKET)
    new = deployment.client("NEWKEY", "new-secret")
    assert new.list_objects_v2(Bucket=BUCKET, Prefix="large")["Contents"][0]["Size"] == SIZE
    while piece := got.read(MIB):
        digest.update(piece)
    assert digest.hexdigest() == sending.digest()

    deployment.configuration.write_text(pair)
    service.reload()
    client.delete_object(Bucket=BUCKET, Key="large")


def test_workers(deployment: Deployment) -> None:
    """Several processes serve under the same confinement; one that is killed is replaced."""
    before = deployment.configuration.read_text()
    deployment.configure(
        f"server:\n  workers: 2\n  listen_addr: 127.0.0.1:{deployment.port}\n{deployment.tls}"
    )
    client = deployment.client()
    try:
        with running(deployment) as service:
            first = service.workers()
            assert len(first) == 2
            for number in range(20):
                deployment.client().put_object(Bucket=BUCKET, Key=f"workers/{number}", Body=b"data")
            os.kill(first[0], signal.SIGKILL)
            wait_until(lambda: len(set(service.workers()) - {first[0]}) == 2, "nobody takes its place")
            service.reload()
            listed = client.list_objects_v2(Bucket=BUCKET, Prefix="workers/")
            assert listed["KeyCount"] == 20
    finally:
        deployment.configuration.write_text(before)


def test_socket_activation(deployment: Deployment) -> None:
    """systemd listens, starts the service for the first client, and hands the port over to it."""
    before = deployment.configuration.read_text()
    name = deployment.root.unit("socket").one("FileDescriptorName")
    passed = [word for each in deployment.service.environment() for word in ("-E", each)]
    service = deployment.service = Service(
        deployment.root,
        before=["/usr/bin/systemd-socket-activate", f"--listen=127.0.0.1:{deployment.port}",
                f"--fdname={name}", *passed],
    )  # fmt: skip
    (place,) = blocks("deploy", "Socket activation", "yaml")
    deployment.configure(place + deployment.tls)
    service.start()
    try:
        deployment.wait_for_port()
        deployment.aws("s3api", "put-object", "--bucket", BUCKET, "--key", "activated")
        service.wait_until_ready()
        service.stop()
    finally:
        service.kill()
        deployment.configuration.write_text(before)
