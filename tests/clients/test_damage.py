"""Damage behind our back, and who notices: what the end of every client's tests rests on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.clients.boto import BotoCase
from tests.clients.case import Aftermath
from tests.clients.deployment import content
from tests.running import DirectoryStorage, S3Storage, Storage, fsck


class DamageTests(BotoCase):
    """Each test damages every backend while nobody serves, and mends it again."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(9):
            self.put(f"damage/{number}", content(f"whole {number}", 20_000))
        self.storage = self.deployment.storage
        self.deployment.daemon.stop()
        self.addCleanup(self.deployment.daemon.start)
        self.names = {backend: min(storage.digests()) for backend, storage in self.storage.items()}

    def found(self, *options: str) -> tuple[int, set[str]]:
        """The status of `fsck --deep`, and what is wrong without the explanations."""
        ended = fsck(self.deployment.config_path, "--deep", *options)
        return ended.returncode, {line.rpartition(": ")[0] for line in ended.stdout.splitlines()} - {""}

    def test_missing(self) -> None:
        """
        An object that has gone is missed.
        """
        for backend, name in self.names.items():
            self.addCleanup(remove(self.storage[backend], name))
        self.assertEqual(
            self.found(), (1, {f"L3: {backend}: {name}" for backend, name in self.names.items()})
        )
        wrong = self.deployment.problems(self.deployment.written)
        for backend, name in self.names.items():
            self.assertIn(f"{backend}: {name!r} is missing", wrong)

    def test_strays(self) -> None:
        """
        An object that nobody knows is reported, and removed when that is asked for.
        """
        for storage in self.storage.values():
            write(storage, "photos/stray", b"not ours")
        strays = {f"stray: {backend}: photos/stray" for backend in self.storage}
        self.assertEqual(self.found("--repair"), (1, strays))
        wrong = self.deployment.problems(self.deployment.written)
        for backend in self.storage:
            self.assertIn(f"{backend}: 'photos/stray' is nobody's", wrong)
        self.found("--delete-strays")
        self.assertEqual(self.found(), (0, set()))

    def test_other_bytes(self) -> None:
        """
        Bytes that have changed are noticed by those who read them all.
        """
        for backend, name in self.names.items():
            self.addCleanup(remove(self.storage[backend], name))
            write(self.storage[backend], name, bytes(20_000))
        wrong = self.deployment.problems(self.deployment.written)
        for backend, name in self.names.items():
            self.assertIn(f"{backend}: {name!r} has other bytes than were written", wrong)


class DamageAftermath(Aftermath, BotoCase):
    """After all of the above."""


def remove(storage: Storage, name: str) -> Callable[[], object]:
    """Take an object away; returns what puts it back."""
    if isinstance(storage, DirectoryStorage):
        path, aside = storage.root / name, storage.root.parent / "aside"
        path.rename(aside)
        return lambda: aside.rename(path)
    assert isinstance(storage, S3Storage)
    place = {"Bucket": storage.bucket, "Key": name}
    old = storage.client.get_object(**place)
    body = old["Body"].read()
    storage.client.delete_object(**place)
    described = {"Metadata": old["Metadata"], "ContentType": old["ContentType"]}
    return lambda: storage.client.put_object(**place, Body=body, **described)


def write(storage: Storage, name: str, data: bytes) -> None:
    """Put an object there."""
    if isinstance(storage, DirectoryStorage):
        Path(storage.root / name).write_bytes(data)
    else:
        assert isinstance(storage, S3Storage)
        storage.client.put_object(Bucket=storage.bucket, Key=name, Body=data)
