"""Conditional requests, and races for the same key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.integration.asking import Wire, etag
from tests.integration.s3_server import ServerCase


class ConditionTests(ServerCase):
    """Conditional requests."""

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(
            self.alice.ask("PUT", "/photos/a", b"data", {"cache-control": "no-cache", "expires": "0"})
        )
        self.etag = etag(b"data")
        self.modified = self.alice.ask("HEAD", "/photos/a").header("last-modified") or ""

    def test_reads(self) -> None:
        """The order of RFC 9110."""
        past, future = "Fri, 01 Jan 2021 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
        hit, miss = self.etag, '"0123"'
        for headers, status in (
            ({"if-match": hit}, 200),
            ({"if-match": "*"}, 200),
            ({"if-match": f'"other", {hit}'}, 200),
            ({"if-match": hit.strip('"')}, 200),
            ({"if-match": f"W/{hit}"}, 200),
            ({"if-match": miss}, 412),
            ({"if-none-match": hit}, 304),
            ({"if-none-match": f"W/{hit}"}, 304),
            ({"if-none-match": "*"}, 304),
            ({"if-none-match": miss}, 200),
            ({"if-modified-since": self.modified}, 304),
            ({"if-modified-since": past}, 200),
            ({"if-modified-since": future}, 200),
            ({"if-modified-since": "yesterday"}, 200),
            ({"if-unmodified-since": self.modified}, 200),
            ({"if-unmodified-since": past}, 412),
            ({"if-unmodified-since": "tomorrow"}, 200),
            ({"if-match": hit, "if-unmodified-since": past}, 200),
            ({"if-match": miss, "if-none-match": miss}, 412),
            ({"if-none-match": hit, "if-modified-since": past}, 304),
            ({"if-none-match": miss, "if-modified-since": self.modified}, 200),
            ({"if-match": hit, "if-none-match": hit}, 304),
            ({"if-none-match": hit, "range": "bytes=90-"}, 304),
            ({"if-match": miss, "range": "bytes=90-"}, 412),
            ({"if-range": miss, "range": "bytes=0-1"}, 206),
        ):
            for method in ("GET", "HEAD"):
                with self.subTest(f"{method} {headers}"):
                    answer = self.alice.ask(method, "/photos/a", headers=headers)
                    self.assertEqual(answer.status, status)

    def test_not_modified(self) -> None:
        """304 has what a cache needs, and neither body nor type nor length."""
        with Wire(self.server.address) as wire:
            answer = self.alice.ask("GET", "/photos/a", headers={"if-none-match": self.etag}, wire=wire)
            self.assertEqual((answer.status, answer.body), (304, b""))
            self.assertEqual(answer.header("etag"), self.etag)
            self.assertEqual(answer.header("last-modified"), self.modified)
            self.assertEqual(answer.header("cache-control"), "no-cache")
            self.assertEqual(answer.header("expires"), "0")
            self.assertIsNone(answer.header("content-type"))
            self.assertIsNone(answer.header("content-length"))
            self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, b"data")

    def test_writes(self) -> None:
        """A write happens only if its condition holds."""
        for headers, status in (
            ({"if-none-match": '"0123"'}, 200),
            ({"if-match": etag(b"new")}, 200),
            ({"if-match": self.etag}, 412),
            ({"if-match": "*"}, 200),
            ({"if-none-match": "*"}, 412),
            ({"if-none-match": etag(b"new")}, 412),
        ):
            with self.subTest(headers):
                self.assertEqual(self.alice.ask("PUT", "/photos/a", b"new", headers).status, status)
        self.assertSucceeded(self.alice.ask("PUT", "/photos/fresh", b"x", {"if-none-match": "*"}))
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/fresh", headers={"if-match": etag(b"x")}), 204)
        self.assertSucceeded(self.alice.ask("PUT", "/photos/fresh", b"x", {"if-none-match": "*"}))
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/fresh", headers={"if-match": "*"}), 204)

    def test_copies(self) -> None:
        """A copy's condition is about its target."""
        source = {"x-amz-copy-source": "photos/a"}
        once = {**source, "if-none-match": "*"}
        self.assertSucceeded(self.alice.ask("PUT", "/photos/once", headers=once))
        self.assertRefused(self.alice.ask("PUT", "/photos/once", headers=once), 412, "PreconditionFailed")
        again = {**source, "if-match": self.etag}
        self.assertSucceeded(self.alice.ask("PUT", "/photos/once", headers=again))
        self.assertSucceeded(self.alice.ask("DELETE", "/photos/once"), 204)
        self.assertRefused(self.alice.ask("PUT", "/photos/once", headers=again), 404, "NoSuchKey")

    def test_one_of_fifty(self) -> None:
        """Of fifty who create the same object at once exactly one succeeds, and it is its bytes that stay."""
        for size in (10, 300_000):
            with self.subTest(size):
                bodies = [bytes([number]) * size for number in range(50)]

                def create(body: bytes) -> int:
                    return self.alice.ask("PUT", "/photos/once", body, {"if-none-match": "*"}).status

                with ThreadPoolExecutor(50) as threads:
                    statuses = list(threads.map(create, bodies))
                self.assertEqual(sorted(statuses), [200, *49 * [412]])
                winner = bodies[statuses.index(200)]
                self.assertEqual(self.alice.ask("GET", "/photos/once").body, winner)
                self.assertSucceeded(self.alice.ask("DELETE", "/photos/once"), 204)
        left = self.server.settled()
        self.assertEqual([version for version in left["versions"] if "once" in version], [])

    def test_swap(self) -> None:
        """Of twenty who replace the same version exactly one succeeds."""

        def replace(number: int) -> int:
            body = b"replacement %d" % number
            return self.alice.ask("PUT", "/photos/a", body, {"if-match": self.etag}).status

        with ThreadPoolExecutor(20) as threads:
            statuses = list(threads.map(replace, range(20)))
        self.assertEqual(sorted(statuses), [200, *19 * [412]])

    def test_last_writer(self) -> None:
        """Of many unconditional writers any may be last, but it is whole."""
        bodies = [bytes([number]) * 10_000 for number in range(20)]
        with ThreadPoolExecutor(20) as threads:
            for answer in threads.map(lambda body: self.alice.ask("PUT", "/photos/a", body), bodies):
                self.assertEqual(answer.status, 200)
        self.assertIn(self.alice.ask("GET", "/photos/a").body, bodies)
        self.assertEqual(len(self.server.settled()["objects on a"]), len(self.server.settled()["blobs"]))
