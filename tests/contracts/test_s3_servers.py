"""The backend contract, on the S3 backend with real servers behind it."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from s3orchestrator.backends.s3 import S3Backend
from s3orchestrator.config.sections import BackendConfig
from s3orchestrator.config.server import ServerConfig
from s3orchestrator.errors import InvalidPart
from s3orchestrator.interfaces import IBackend
from tests import servers
from tests.contracts.backend_contract import PLAIN, BackendContract


class S3Contract(BackendContract):
    """A new bucket for each test."""

    part_size = 5 * 1024 * 1024
    describes_late = False
    server: servers.Server

    async def make_backend(self) -> IBackend:
        from twisted.internet import reactor

        bucket = self.server.make_bucket()
        settings = BackendConfig(
            name=self.server.kind,
            endpoint=self.server.endpoint,
            bucket=bucket,
            access_key_id=self.server.access_key_id,
            secret_access_key=self.server.secret_access_key,
            force_path_style=True,
        )
        backend = S3Backend.of(settings, ServerConfig(listen_addr="127.0.0.1:0"), reactor)
        self.addCleanup(backend.close)
        scratch = ("~s3o/probe~a", "~s3o/probe~b/../x//y/")
        await backend.probe(scratch)
        for name in scratch:
            await backend.delete(name)
        return backend


class MotoContract(S3Contract, TestCase):
    """
    moto: a broad interface, with mistakes of its own.

    It does not find its way to names with a line break, and takes parts for an upload under
    any name.
    """

    odd_names = tuple(name for name in BackendContract.odd_names if "\n" not in name)
    test_upload_of_another_name = None  # type: ignore[assignment]

    async def setUp(self) -> None:
        self.server = servers.moto()
        await super().setUp()

    async def test_list_uploads(self) -> None:
        """Uploads are found by prefix; all of them began in 2010."""
        begun = [await self.backend.create_upload(name, PLAIN) for name in ("a/one", "a/one", "b/two")]
        found = await self.backend.list_uploads("a/")
        self.assertEqual([upload.name for upload in found], ["a/one", "a/one"])
        self.assertEqual({upload.upload_id for upload in found}, set(begun[:2]))
        self.assertEqual({upload.initiated_ms for upload in found}, {1289422113000})


class RadosgwContract(S3Contract, TestCase):
    """radosgw, which checks every signature."""

    async def setUp(self) -> None:
        self.server = servers.radosgw()
        await super().setUp()

    async def test_some_parts(self) -> None:
        """It refuses to leave out a part that was sent."""
        upload, contents, parts = await self.begin("k", self.part_size, 10)
        with self.assertRaises(InvalidPart):
            await self.complete("k", upload, parts[:1])
        await self.complete("k", upload, parts)
        self.assertEqual(await self.read("k"), b"".join(contents))
