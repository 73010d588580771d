"""
The S3 backend on real servers: what the contract of all backends has no word for.

boto3, which knows nothing of us, looks at what is there.
"""

from __future__ import annotations

from hashlib import md5
from typing import Any

from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from s3orchestrator.backends import s3_listings
from s3orchestrator.backends.s3 import S3Backend
from s3orchestrator.bodies.sources import BytesBody, collect
from s3orchestrator.concurrency import start
from s3orchestrator.config.sections import BackendConfig
from s3orchestrator.config.server import ServerConfig
from s3orchestrator.errors import (
    BackendRefused,
    BodyAborted,
    NameTaken,
    NoSuchBlob,
    NoSuchUpload,
)
from s3orchestrator.interfaces import Description
from s3orchestrator.protocol.ranges import ByteRange
from tests import servers
from tests.unit.backends.bodies import Endless, HandFed
from tests.unit.backends.scripted import pause, the_reactor

MIB = 1024 * 1024
SERVER = ServerConfig(listen_addr="127.0.0.1:0")
PART = 5 * MIB
PLAIN = Description("text/plain", {"s3o": "1;x;2", "colour": "bluish  green"})
# What people call their objects, and what makes signatures and listings stumble.
NAMES = [
    "a b+c%20d.txt",
    "über/straße/日本語",
    "quote\"'&<>;=?#[]@!$(),*",
    "~tilde/.hidden/..dots..",
    "tab\tand\x01more",
    "back\\slash",
    "x" * 1000,
]


def etag_of(data: bytes) -> str:
    return md5(data, usedforsecurity=False).hexdigest()


class S3TestCase(TestCase):
    """Makes backends for buckets of a server."""

    timeout = 120
    server: servers.Server
    versioned = False
    settings: dict[str, Any] = {}

    def setUp(self) -> None:
        self.bucket = self.server.make_bucket(versioned=self.versioned)
        self.boto = self.server.client()
        self.backend = self.connect(self.bucket, **self.settings)

    def connect(self, bucket: str, **settings: Any) -> S3Backend:
        config = BackendConfig(
            name="remote",
            endpoint=self.server.endpoint,
            bucket=bucket,
            access_key_id=self.server.access_key_id,
            secret_access_key=self.server.secret_access_key,
            **{"force_path_style": True, **settings},
        )
        backend = S3Backend.of(config, SERVER, the_reactor())
        self.addCleanup(lambda: start(backend.close()))
        return backend

    async def put(self, name: str, data: bytes = b"abc") -> str:
        stored = await self.backend.put(name, BytesBody(data), PLAIN, exclusive=False)
        return stored.etag

    async def get(self, name: str, wanted: ByteRange | None = None, **options: Any) -> bytes:
        found = await self.backend.get(name, wanted, **options)
        return await collect(found.body, 64 * MIB)

    def stored(self, name: str) -> bytes:
        data: bytes = self.boto.get_object(Bucket=self.bucket, Key=name)["Body"].read()
        return data

    def unfinished(self) -> list[str]:
        found = self.boto.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [each["Key"] for each in found]

    async def fails(self, waited: Any, error: type[Exception]) -> Any:
        with self.assertRaises(error) as caught:
            await waited
        return caught.exception


class Objects:
    """Objects come back byte for byte, however they are called."""

    async def test_round_trip(self: Any) -> None:
        """
        What is put is there, described as it was.
        """
        etag = await self.put("dir/name")
        self.assertEqual(etag, etag_of(b"abc"))
        self.assertEqual(await self.get("dir/name", etag=etag), b"abc")
        found = await self.backend.head("dir/name")
        self.assertEqual((found.size, found.etag, found.content_type), (3, etag, "text/plain"))
        self.assertEqual(found.meta["s3o"], "1;x;2")
        self.assertGreater(found.modified_ms, 1_700_000_000_000)
        self.assertEqual(self.stored("dir/name"), b"abc")

    async def test_names(self: Any) -> None:
        """
        Odd names are just names.
        """
        for name in NAMES:
            await self.put(name, name.encode())
        for name in NAMES:
            self.assertEqual(self.stored(name), name.encode())
            self.assertEqual(await self.get(name), name.encode())
        listed = [each.name for each in await self.backend.list_objects()]
        self.assertEqual(listed, sorted(NAMES, key=str.encode))
        for name in NAMES:
            await self.backend.delete(name)
        self.assertEqual(await self.backend.list_objects(), [])

    async def test_streamed(self: Any) -> None:
        """
        A large body streams both ways.
        """
        block = bytes(range(256)) * 256
        body = Endless(the_reactor(), 20 * MIB + 7, block)
        stored = await self.backend.put("large", body, PLAIN, exclusive=False)
        expected = (block * 400)[: 20 * MIB + 7]
        self.assertEqual(stored.etag, etag_of(expected))
        self.assertEqual(await self.get("large"), expected)

    async def test_unfinished_body(self: Any) -> None:
        """
        Nothing appears of a body that fails.
        """
        body = HandFed(10)
        putting = start(self.backend.put("half", body, PLAIN, exclusive=False))
        while not body.started:
            await pause(0.01)
        body.feed(b"abc")
        body.finish(Failure(BodyAborted("the client left")))
        await self.fails(putting, BodyAborted)
        await pause(0.2)
        await self.fails(self.backend.head("half"), NoSuchBlob)

    async def test_no_bucket(self: Any) -> None:
        """
        A missing bucket is never taken for a missing object.
        """
        backend = self.connect("there-is-no-such-bucket")
        for waited in (
            backend.get("x"),
            backend.head("x"),
            backend.delete("x"),
            backend.put("x", BytesBody(b"abc"), PLAIN, exclusive=False),
            backend.create_upload("x", PLAIN),
            backend.list_objects(),
        ):
            self.assertEqual((await self.fails(waited, BackendRefused)).code, "NoSuchBucket")

    async def test_exclusive_put(self: Any) -> None:
        """
        An object that is there is not replaced.
        """
        await self.backend.put("x", BytesBody(b"first"), PLAIN, exclusive=True)
        await self.fails(self.backend.put("x", BytesBody(b"second"), PLAIN, exclusive=True), NameTaken)
        body = Endless(the_reactor(), 3 * MIB)
        await self.fails(self.backend.put("x", body, PLAIN, exclusive=True), NameTaken)
        self.assertEqual(self.stored("x"), b"first")

    async def test_copy(self: Any) -> None:
        """
        A copy has the bytes of its source and a description of its own.
        """
        for number, name in enumerate(NAMES[:4]):
            etag = await self.put(name)
            target = f"copy-{number}"
            stored = await self.backend.copy(
                name, target, Description("text/css", {"s3o": "9"}), exclusive=False, source_etag=etag
            )
            self.assertEqual(stored.etag, etag)
            self.assertEqual(self.stored(target), b"abc")
            found = await self.backend.head(target)
            self.assertEqual((found.content_type, dict(found.meta)), ("text/css", {"s3o": "9"}))


class Uploads:
    """Multipart uploads."""

    async def test_upload(self: Any) -> None:
        """
        Parts, in any order, one of them twice, become one object.
        """
        upload_id = await self.backend.create_upload("big", PLAIN)
        second = await self.backend.put_part("big", upload_id, 7, BytesBody(b"end"))
        await self.backend.put_part("big", upload_id, 2, BytesBody(b"wrong"))
        first = await self.backend.put_part("big", upload_id, 2, Endless(the_reactor(), PART))
        self.assertEqual([each.name for each in await self.backend.list_uploads()], ["big"])
        stored = await self.backend.complete_upload(
            "big", upload_id, [(2, first.etag), (7, second.etag)], exclusive=False
        )
        self.assertTrue(stored.etag.endswith("-2"))
        self.assertEqual(await self.get("big", etag=stored.etag), bytes(PART) + b"end")
        found = await self.backend.head("big")
        self.assertEqual((found.size, found.content_type), (PART + 3, "text/plain"))
        self.assertEqual(await self.backend.list_uploads(), [])

    async def test_copied_parts(self: Any) -> None:
        """
        Parts may be copied from objects, and from ranges of them.
        """
        source = bytes(range(256)) * (PART // 256) + b"tail"
        await self.put("s p+c", source)
        upload_id = await self.backend.create_upload("c", PLAIN)
        first = await self.backend.copy_part("c", upload_id, 1, "s p+c", ByteRange(0, PART - 1))
        second = await self.backend.copy_part("c", upload_id, 2, "s p+c", None)
        stored = await self.backend.complete_upload(
            "c", upload_id, [(1, first.etag), (2, second.etag)], exclusive=False
        )
        self.assertEqual(await self.get("c", etag=stored.etag), source[:PART] + source)

    async def test_too_small(self: Any) -> None:
        """
        A small part that is not the last is refused clearly.
        """
        upload_id = await self.backend.create_upload("u", PLAIN)
        parts = [
            (number, (await self.backend.put_part("u", upload_id, number, BytesBody(b"abc"))).etag)
            for number in (1, 2)
        ]
        error = await self.fails(
            self.backend.complete_upload("u", upload_id, parts, exclusive=False), BackendRefused
        )
        self.assertEqual(error.code, "EntityTooSmall")
        await self.backend.abort_upload("u", upload_id)

    async def test_abort(self: Any) -> None:
        """
        An aborted upload is gone; aborting it again is no failure.
        """
        upload_id = await self.backend.create_upload("u", PLAIN)
        await self.backend.put_part("u", upload_id, 1, BytesBody(b"abc"))
        await self.backend.abort_upload("u", upload_id)
        await self.backend.abort_upload("u", upload_id)
        self.assertEqual(self.unfinished(), [])
        await self.fails(self.backend.put_part("u", upload_id, 1, BytesBody(b"abc")), NoSuchUpload)
        await self.fails(
            self.backend.complete_upload("u", upload_id, [(1, etag_of(b"abc"))], exclusive=False),
            NoSuchUpload,
        )


class Listings:
    """Listings, page by page."""

    async def test_pages(self: Any) -> None:
        """
        More than one page is asked for when it is needed.
        """
        self.patch(s3_listings, "PAGE", 7)
        names = [f"n {number:02}" for number in range(30)]
        for name in names:
            await self.put(name)
        self.assertEqual([each.name for each in await self.backend.list_objects()], names)
        listed = await self.backend.list_objects("", names[3], 20)
        self.assertEqual([each.name for each in listed], names[4:24])
        uploads = [await self.backend.create_upload("u p", PLAIN) for _ in range(10)]
        uploads += [await self.backend.create_upload("v", PLAIN) for _ in range(10)]
        found = await self.backend.list_uploads()
        self.assertEqual(sorted(each.upload_id for each in found), sorted(uploads))
        self.assertEqual({each.name for each in await self.backend.list_uploads("u")}, {"u p"})
        for each in found:
            await self.backend.abort_upload(each.name, each.upload_id)


class Everything(Objects, Uploads, Listings):
    """All of it."""


class MotoTests(Everything, S3TestCase):
    """moto believes every signature, so it only shows that we speak the same language."""

    def setUp(self) -> None:
        self.server = servers.moto()
        super().setUp()

    async def test_probe(self) -> None:
        """
        What moto can be relied on for.
        """
        traits = await self.backend.probe(["~s3o/probe~a", "~s3o/probe~a/../x//y/"])
        self.assertIs(self.backend.traits, traits)
        self.assertTrue(traits.md5_etags)
        self.assertEqual(self.unfinished(), [])


class RadosgwTests(Everything, S3TestCase):
    """radosgw checks signatures."""

    def setUp(self) -> None:
        self.server = servers.radosgw()
        super().setUp()

    async def test_probe(self) -> None:
        """
        radosgw 16 refuses to replace by put, and by nothing else; names are exact.
        """
        traits = await self.backend.probe(["~s3o/probe~a", "~s3o/probe~a/../x//y/"])
        self.assertEqual(traits.exclusive, {"put"})
        self.assertTrue(traits.md5_etags)
        self.assertTrue(traits.exact_names)
        self.assertEqual(self.unfinished(), [])

    async def test_wrong_secret(self) -> None:
        """
        A wrong secret is a clear refusal, and not retried.
        """
        self.server = servers.Server("radosgw", self.server.endpoint, self.server.access_key_id, "wrong")
        backend = self.connect(self.bucket)
        error = await self.fails(backend.get("x"), BackendRefused)
        self.assertEqual((error.status, error.code), (403, "SignatureDoesNotMatch"))


class RadosgwSignedTests(Objects, S3TestCase):
    """The same with every body signed, those that stream chunk by chunk."""

    settings = {"unsigned_payload": False}

    def setUp(self) -> None:
        self.server = servers.radosgw()
        super().setUp()


class RadosgwVersionedTests(S3TestCase):
    """A bucket with versioning switched on."""

    versioned = True

    def setUp(self) -> None:
        self.server = servers.radosgw()
        super().setUp()

    async def test_versions(self) -> None:
        """
        Versions of exactly one name, and markers, can be listed and deleted.
        """
        stored = await self.backend.put("v", BytesBody(b"one"), PLAIN, exclusive=False)
        self.assertTrue(stored.version_id)
        await self.put("v", b"two")
        await self.put("v2", b"other")
        await self.backend.delete("v")
        versions = await self.backend.list_versions("v")
        self.assertEqual(sorted(marker for _, marker in versions), [False, False, True])
        self.assertIn((stored.version_id, False), versions)
        for version_id, _ in versions:
            await self.backend.delete("v", version_id)
        self.assertEqual(await self.backend.list_versions("v"), [])
        self.assertEqual(len(await self.backend.list_versions("v2")), 1)
