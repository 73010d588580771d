"""Comparing backends with the ledger, name by name."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.faults import Fault
from s3orchestrator.domain.records import Finding
from s3orchestrator.errors import BackendRefused
from s3orchestrator.interfaces import Description
from s3orchestrator.objects.checking import BackendChecker
from tests.unit.objects.world import SMALL, World, small_parts


class CheckingTests(SynchronousTestCase):
    def setUp(self) -> None:
        small_parts(self.patch)
        self.w = World(backends=("a",))
        self.a = self.w.backend("a")
        for key in ("k", "l", "m"):
            self.w.run(self.w.putting(key, SMALL))
        ledger = self.w.core.ledger
        self.checker = BackendChecker(ledger.blobs, ledger.uploads, self.w.clock)

    def check(self) -> list[Finding]:
        async def look() -> list[Finding]:
            return [found async for found in self.checker.check(self.a)]

        return self.w.run(look())

    def found(self) -> list[tuple[str, str]]:
        return [(finding.rule, finding.subject) for finding in self.check()]

    def test_nothing(self) -> None:
        """All is well, also while something is being written, deleted or uploaded."""
        self.w.uploaded("u", SMALL)
        self.a.faults.next("delete", Fault.FAILED)
        self.w.delete("k")
        blob = self.w.run(self.w.core.ledger.blobs.reserve(self.w.bucket, "n", 5, ["a"]))
        self.a.objects[blob.name] = self.a.objects["photos/l"]
        self.assertEqual(self.check(), [])

    def test_strays(self) -> None:
        """What no row owns is a stray, and can be deleted; what has a row by then is not."""
        for name in ("0", "photos/l0", "zz"):
            self.a.objects[name] = self.a.objects["photos/l"]
        findings = self.check()
        self.assertEqual(
            [(finding.rule, finding.subject) for finding in findings],
            [("stray", "a: 0"), ("stray", "a: photos/l0"), ("stray", "a: zz")],
        )
        self.w.run(self.w.core.ledger.blobs.reserve(self.w.bucket, "l0", 5, ["a"]))
        for finding in findings:
            self.w.run(self.checker.delete_stray(self.a, finding))
        self.assertEqual(sorted(self.w.stored()["a"]), ["photos/k", "photos/l", "photos/l0", "photos/m"])

    def test_missing_and_changed(self) -> None:
        """A live row needs an object of its size and its ETag."""
        del self.a.objects["photos/k"]
        held = self.a.objects["photos/l"]
        self.a.objects["photos/l"] = evolve(held, data=b"longer than before")
        self.a.objects["photos/m"] = evolve(held, etag="0" * 32)
        self.assertEqual(self.found(), [("L3", "a: photos/k"), ("L3", "a: photos/l"), ("L3", "a: photos/m")])

    def test_uploads(self) -> None:
        """An upload that no row expects is a stray; one whose create got no answer is not."""
        self.w.uploaded("u", SMALL)
        self.a.faults.next("create_upload", Fault.LOST_ANSWER)
        with self.assertRaises(Exception):  # noqa: B017 - 503 or another
            self.w.run(self.w.creating("v"))
        self.assertEqual(self.check(), [])
        number = self.w.run(self.a.create_upload("photos/k", Description("")))
        other = self.w.run(self.a.create_upload("nobody's", Description("")))
        findings = self.check()
        self.assertEqual(
            [(finding.rule, finding.subject) for finding in findings],
            [
                ("stray-upload", f"a: nobody's?uploadId={other}"),
                ("stray-upload", f"a: photos/k?uploadId={number}"),
            ],
        )
        for finding in findings:
            self.w.run(self.checker.delete_stray_upload(self.a, finding))
        self.assertEqual(self.check(), [])

    def test_while_serving(self) -> None:
        """What comes and goes between the two lists is no finding."""
        listed, uploads_listed = self.a.list_objects, self.a.list_uploads

        async def list_objects(*where: Any) -> Any:
            if not where[1]:
                await self.w.putting("new", SMALL)
                await self.w.core.objects.deleting.delete(self.w.bucket, "k")
                await self.w.putting("l", b"another")
            return await listed(*where)

        async def list_uploads(prefix: str = "") -> Any:
            found = await uploads_listed(prefix)
            if not prefix:
                await self.w.core.objects.multipart.abort(self.w.bucket, "u", upload)
            return found

        upload = self.w.uploaded("u", SMALL)[0].id
        self.patch(self.a, "list_objects", list_objects)
        self.patch(self.a, "list_uploads", list_uploads)
        self.assertEqual(self.found(), [])
        self.assertIn("photos/new", self.a.objects)

    def test_silent_about_a_stray(self) -> None:
        """A stray that the backend lists, and refuses to say more of, is reported all the same."""
        self.a.objects["0"] = self.a.objects["photos/l"]

        async def head(name: str) -> Any:
            raise BackendRefused("it has a key of its own", status=400)

        self.patch(self.a, "head", head)
        self.assertEqual(self.found(), [("stray", "a: 0")])

    def test_unreachable(self) -> None:
        """A backend that does not answer is a finding, not a crash."""
        self.a.down()
        self.assertEqual(self.found(), [("unreachable", "a")])

    def test_many(self) -> None:
        """Names are compared page by page, on both sides."""
        for number in range(1200):
            self.w.run(self.w.putting(f"n{number:04}", b""))
        self.assertEqual(self.check(), [])
        del self.a.objects["photos/n1100"]
        self.a.objects["photos/n1100x"] = self.a.objects["photos/k"]
        self.assertEqual(self.found(), [("L3", "a: photos/n1100"), ("stray", "a: photos/n1100x")])
