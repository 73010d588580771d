"""Pages of what there is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.errors import NoSuchUpload
from s3orchestrator.protocol.listqueries import ListQuery, PartsQuery
from tests.unit.objects.world import SMALL, World, small_parts

KEYS = ["a", "b/1", "b/2", "b/3/x", "c", "d/1", "ä"]


class ListingTests(SynchronousTestCase):
    def setUp(self) -> None:
        small_parts(self.patch)
        self.w = World()
        self.listing = self.w.core.objects.listing
        for key in KEYS:
            self.w.run(self.w.putting(key, key.encode()))

    def page(self, **parameters: str) -> tuple[list[str], list[str], str | None]:
        query = ListQuery.objects_v2(
            {"list-type": "2", **{n.replace("_", "-"): v for n, v in parameters.items()}}
        )
        page = self.w.run(self.listing.objects(self.w.bucket, query))
        keys = [row.key for row in page.rows]
        return keys, list(page.prefixes), page.last.token() if page.truncated else None

    def test_everything(self) -> None:
        """In the order of bytes; deleted keys are not there."""
        self.assertEqual(self.page()[0], KEYS)
        self.w.delete("c")
        self.assertNotIn("c", self.page()[0])

    def test_prefix_and_delimiter(self) -> None:
        """What is below a common prefix shows as that."""
        self.assertEqual(self.page(prefix="b/")[0], ["b/1", "b/2", "b/3/x"])
        keys, prefixes, _ = self.page(delimiter="/")
        self.assertEqual((keys, prefixes), (["a", "c", "ä"], ["b/", "d/"]))

    def test_pages(self) -> None:
        """Pages of any size make up the whole, with and without prefixes."""
        for size in (1, 2, 3, 7):
            for delimiter in ("", "/"):
                found: list[str] = []
                more: dict[str, str] = {}
                while True:
                    keys, prefixes, token = self.page(max_keys=str(size), delimiter=delimiter, **more)
                    self.assertLessEqual(len(keys) + len(prefixes), size)
                    found += sorted(keys + prefixes)
                    if token is None:
                        break
                    more = {"continuation_token": token}
                whole = KEYS if not delimiter else ["a", "b/", "c", "d/", "ä"]
                self.assertEqual(found, whole)

    def test_versions(self) -> None:
        """Every object has one."""
        page = self.w.run(self.listing.versions(self.w.bucket, ListQuery.versions({})))
        self.assertEqual([(row.key, row.version_id) for row in page.rows], [(key, "null") for key in KEYS])

    def test_uploads(self) -> None:
        """Those that are open, oldest first within a key, on pages of any size."""
        uploads = [self.w.run(self.w.creating(key)) for key in ("u", "v", "v", "w/1", "w/2")]
        self.w.run(self.w.aborting(uploads[0]))
        found: list[str] = []
        more = {"max-uploads": "1"}
        while True:
            page = self.w.run(self.listing.uploads(self.w.bucket, ListQuery.uploads(more)))
            found += [row.id for row in page.rows]
            if not page.truncated:
                break
            more |= {"key-marker": page.rows[-1].key, "upload-id-marker": page.rows[-1].id}
        self.assertEqual(found, [upload.id for upload in uploads[1:]])

    def test_parts(self) -> None:
        """One more than asked for tells that there are more; a completed upload has none."""
        upload, parts = self.w.uploaded("u", SMALL, SMALL, SMALL)

        def numbers(**parameters: str) -> list[int]:
            query = PartsQuery.of({name.replace("_", "-"): value for name, value in parameters.items()})
            _, found = self.w.run(self.listing.parts(self.w.bucket, "u", upload.id, query))
            return [part.number for part in found]

        self.assertEqual(numbers(), [1, 2, 3])
        self.assertEqual(numbers(max_parts="1"), [1, 2])
        self.assertEqual(numbers(part_number_marker="2"), [3])
        self.w.run(self.w.completing(upload, *parts))
        self.w.expect(NoSuchUpload, self.listing.parts(self.w.bucket, "u", upload.id, PartsQuery.of({})))
