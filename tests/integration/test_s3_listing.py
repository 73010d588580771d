"""Listings over HTTP: every kind, in pages, with odd keys and delimiters, and held against a simple model."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import md5
from random import Random
from typing import ClassVar
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from tests.integration.asking import Answer, Wire
from tests.integration.s3_server import ServerCase

KEYS = sorted(
    [
        "a",
        "a/",
        "a/1",
        "a/2",
        "a/b/1",
        "a/b/2",
        "a0",
        "b//c",
        "b/c",
        "c+d e",
        "c%2Fd",
        "d&<>'\"",
        "e\u0301",
        "é",
        "日本/語",
        "\ue000",
        "😀/1",
        "😀/2",
        "\uffee",
        "f\r\n\tg",
        "x/y/z/1",
        "x/y/z/2",
        "x/y/z/3",
        "~last",
    ],
    key=lambda key: key.encode(),
)
DELIMITERS = ("", "/", "b", "//", " ", "%", "/y/", "😀", "a", "\r")
PREFIXES = ("", "a", "a/", "a/b", "b/", "c", "é", "x/y/", "none", "~last")

# What a listing says: a key, or a common prefix.
Entry = tuple[str, str]


def entries_of(prefix: str, delimiter: str) -> list[Entry]:
    """What S3 documents, done the slow way."""
    entries: list[Entry] = []
    for key in KEYS:
        if key.startswith(prefix):
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            entry = ("key", key) if cut < 0 else ("prefix", key[: cut + len(delimiter)])
            if entry not in entries:
                entries.append(entry)
    return entries


def pages_of(prefix: str, delimiter: str, limit: int) -> list[list[Entry]]:
    """The same in pages; there is always one."""
    entries = entries_of(prefix, delimiter)
    return [entries[at : at + limit] for at in range(0, len(entries) or 1, limit)]


class ListingTests(ServerCase):
    """One bucket, written once, and looked at from all sides."""

    bucket: ClassVar[str] = "listed"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        alice = cls.server.caller()
        with Wire(cls.server.address) as wire:
            assert alice.ask("PUT", "/listed", wire=wire).status == 200
            for key in KEYS:
                answer = alice.ask("PUT", f"/listed/{quote(key, safe='')}", key.encode(), wire=wire)
                assert answer.status == 200, answer.body

    def list(self, **parameters: str | int) -> Answer:
        """Ask for a page; names of parameters have underscores for dashes."""
        query = "&".join(
            f"{name.replace('_', '-')}={quote(str(value), safe='')}" for name, value in parameters.items()
        )
        return self.assertSucceeded(self.alice.ask("GET", f"/listed?{query}"))

    def entries(self, answer: Answer) -> list[Entry]:
        """Keys and common prefixes, merged in order."""
        keys = [("key", unquote(key)) for key in answer.texts("Contents/Key") + answer.texts("Version/Key")]
        prefixes = [("prefix", unquote(prefix)) for prefix in answer.texts("CommonPrefixes/Prefix")]
        for part in (keys, prefixes):
            self.assertEqual(part, sorted(part, key=lambda entry: entry[1].encode()))
        return sorted(keys + prefixes, key=lambda entry: entry[1].encode())

    def test_whole(self) -> None:
        """Every kind of listing has every key, in the order of its bytes."""
        for parameters in ({"list_type": 2}, {}, {"versions": ""}):
            with self.subTest(parameters):
                answer = self.list(encoding_type="url", **parameters)
                self.assertEqual([key for _, key in self.entries(answer)], KEYS)
                self.assertEqual(answer.text("IsTruncated"), "false")
                self.assertEqual((answer.text("Name"), answer.text("MaxKeys")), ("listed", "1000"))
                for text in ("NextMarker", "NextContinuationToken", "NextKeyMarker"):
                    self.assertIsNone(answer.text(text))

    def test_particulars(self) -> None:
        """Size, ETag, time and class of each; the owner in version 1, and in version 2 if asked for."""
        for parameters in ({"list_type": 2, "fetch_owner": "true"}, {}):
            with self.subTest(parameters):
                answer = self.list(encoding_type="url", **parameters)
                tags = [f'"{md5(key.encode()).hexdigest()}"' for key in KEYS]
                self.assertEqual(answer.texts("Contents/ETag"), tags)
                self.assertEqual(answer.texts("Contents/Size"), [str(len(key.encode())) for key in KEYS])
                self.assertEqual(set(answer.texts("Contents/StorageClass")), {"STANDARD"})
                self.assertEqual(len(answer.texts("Contents/Owner/ID")), len(KEYS))
                for time in answer.texts("Contents/LastModified"):
                    self.assertRegex(time, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$")
        for parameters in ({}, {"fetch_owner": "false"}, {"fetch_owner": ""}):
            self.assertEqual(
                self.list(list_type=2, encoding_type="url", **parameters).texts("Contents/Owner"), []
            )

    def _pages(
        self, ask: Callable[[Answer | None], Answer], following: Callable[[Answer], str | None]
    ) -> list[list[Entry]]:
        pages: list[list[Entry]] = []
        answer: Answer | None = None
        while True:
            answer = ask(answer)
            pages.append(self.entries(answer))
            self.assertEqual(answer.text("IsTruncated"), "true" if following(answer) is not None else "false")
            self.assertLess(len(pages), 100)
            if answer.text("IsTruncated") == "false":
                return pages

    def test_version_2_against_a_model(self) -> None:
        """Pages of any size, for any prefix and delimiter, are what the model says."""
        for prefix in PREFIXES:
            for delimiter in DELIMITERS:
                for limit in (1, 3, 1000):
                    with self.subTest(f"{prefix!r} {delimiter!r} {limit}"):
                        self._check_version_2(prefix, delimiter, limit)

    def _check_version_2(self, prefix: str, delimiter: str, limit: int) -> None:
        def ask(before: Answer | None) -> Answer:
            more = {"continuation_token": before.text("NextContinuationToken") or ""} if before else {}
            return self.list(
                list_type=2, prefix=prefix, delimiter=delimiter, max_keys=limit, encoding_type="url", **more
            )

        found = self._pages(ask, lambda answer: answer.text("NextContinuationToken"))
        self.assertEqual(found, pages_of(prefix, delimiter, limit))

    def test_version_1_against_a_model(self) -> None:
        """So are those of version 1, by NextMarker where there is one, else by the last key."""
        for prefix in ("", "a/", "x"):
            for delimiter in DELIMITERS:
                with self.subTest(f"{prefix!r} {delimiter!r}"):
                    self._check_version_1(prefix, delimiter, 2)

    def _check_version_1(self, prefix: str, delimiter: str, limit: int) -> None:
        def following(answer: Answer) -> str | None:
            if answer.text("IsTruncated") == "false":
                self.assertIsNone(answer.text("NextMarker"))
                return None
            if not delimiter:
                self.assertIsNone(answer.text("NextMarker"))
                return unquote(answer.texts("Contents/Key")[-1])
            return unquote(answer.text("NextMarker") or "")

        def ask(before: Answer | None) -> Answer:
            marker = (following(before) or "") if before else ""
            answer = self.list(
                prefix=prefix, delimiter=delimiter, max_keys=limit, encoding_type="url", marker=marker
            )
            self.assertEqual(unquote(answer.text("Marker") or ""), marker)
            self.assertIsNone(answer.text("KeyCount"))
            return answer

        found = self._pages(ask, following)
        self.assertEqual(found, pages_of(prefix, delimiter, limit))

    def test_versions_against_a_model(self) -> None:
        """And those of versions, every one the latest and called null."""
        for delimiter in ("", "/"):
            with self.subTest(delimiter):
                found: list[Entry] = []
                markers: dict[str, str] = {}
                while True:
                    answer = self.list(
                        versions="", max_keys=3, delimiter=delimiter, encoding_type="url", **markers
                    )
                    found += self.entries(answer)
                    self.assertEqual(set(answer.texts("Version/VersionId")) | {"null"}, {"null"})
                    self.assertEqual(set(answer.texts("Version/IsLatest")) | {"true"}, {"true"})
                    if answer.text("IsTruncated") == "false":
                        break
                    markers = {"key_marker": unquote(answer.text("NextKeyMarker") or "")}
                    if answer.text("NextVersionIdMarker"):
                        markers["version_id_marker"] = answer.text("NextVersionIdMarker") or ""
                self.assertEqual(found, entries_of("", delimiter))

    def test_start_after(self) -> None:
        """`start-after` need not exist; with a delimiter, a prefix shows if anything of it is left."""
        for after, delimiter, first in (
            ("", "", ("key", "a")),
            ("a", "", ("key", "a/")),
            ("a/1", "", ("key", "a/2")),
            ("a/15", "", ("key", "a/2")),
            ("a/1", "/", ("prefix", "a/")),
            ("a/b/2", "/", ("key", "a0")),
            ("x/y/z/2", "/", ("prefix", "x/")),
            ("x/y/z/3", "/", ("key", "~last")),
        ):
            with self.subTest(f"{after} {delimiter}"):
                answer = self.list(
                    list_type=2, start_after=after, delimiter=delimiter, max_keys=1, encoding_type="url"
                )
                self.assertEqual(self.entries(answer), [first])
        none = self.list(list_type=2, start_after="\U0010ffff")
        self.assertEqual((none.text("KeyCount"), none.text("IsTruncated")), ("0", "false"))
        self.assertEqual(none.text("StartAfter"), "\U0010ffff")

    def test_marker_inside_a_prefix(self) -> None:
        """What comes after a marker inside of a common prefix still yields the prefix."""
        inside = self.list(marker="a/2", delimiter="/", max_keys=1, encoding_type="url")
        self.assertEqual(self.entries(inside), [("prefix", "a/")])
        given = self.list(marker="a/", delimiter="/", max_keys=1, encoding_type="url")
        self.assertEqual(self.entries(given), [("key", "a0")])

    def test_limits(self) -> None:
        """Zero is an empty page, much is a thousand, nothing is the default."""
        for given, shown, count in (
            ("0", "0", 0),
            ("5000", "1000", len(KEYS)),
            ("", "1000", len(KEYS)),
            ("1", "1", 1),
        ):
            for kind in ({"list_type": 2}, {}, {"versions": ""}):
                with self.subTest(f"{given} {kind}"):
                    answer = self.list(max_keys=given, encoding_type="url", **kind)
                    self.assertEqual(answer.text("MaxKeys"), shown)
                    self.assertEqual(len(self.entries(answer)), count)
                    self.assertEqual(answer.text("IsTruncated"), "true" if count == 1 else "false")

    def test_echoes(self) -> None:
        """The answer repeats what was asked, encoded if that was asked."""
        answer = self.list(
            list_type=2,
            prefix="c+",
            delimiter="é/",
            start_after="c %",
            encoding_type="url",
            continuation_token="",
        )
        self.assertEqual(answer.text("Prefix"), "c%2B")
        self.assertEqual(answer.text("Delimiter"), "%C3%A9/")
        self.assertEqual(answer.text("StartAfter"), "c%20%25")
        self.assertEqual(answer.text("EncodingType"), "url")
        self.assertEqual(answer.text("ContinuationToken"), "")
        self.assertEqual(answer.text("KeyCount"), "1")
        self.assertEqual(answer.texts("Contents/Key"), ["c%2Bd%20e"])
        plain = self.list(list_type=2, delimiter="")
        for name in ("Delimiter", "EncodingType", "StartAfter", "ContinuationToken"):
            self.assertIsNone(plain.text(name))
        self.assertEqual(plain.text("Prefix"), "")

    def test_order_of_elements(self) -> None:
        """Elements come in the order that S3 documents."""
        answer = self.list(
            list_type=2, delimiter="/", max_keys=2, encoding_type="url", start_after="A", fetch_owner="true"
        )
        names = [child.tag.partition("}")[2] for child in answer.document]
        self.assertEqual(
            names,
            [
                "Name",
                "Prefix",
                "StartAfter",
                "NextContinuationToken",
                "KeyCount",
                "MaxKeys",
                "Delimiter",
                "EncodingType",
                "IsTruncated",
                "Contents",
                "CommonPrefixes",
            ],
        )

    def test_without_encoding(self) -> None:
        """Without it keys are written as they are; what XML cannot hold is a reference."""
        answer = self.list(list_type=2)
        self.assertEqual(answer.texts("Contents/Key"), KEYS)
        target = "/listed/control%01key"
        self.assertSucceeded(self.alice.ask("PUT", target, b"x"))
        listed = self.list(list_type=2, prefix="control")
        self.assertIn(b"control&#x1;key", listed.body)
        self.assertRaises(ElementTree.ParseError, lambda: listed.document)
        url = self.list(list_type=2, prefix="control", encoding_type="url")
        self.assertEqual(url.texts("Contents/Key"), ["control%01key"])
        self.assertSucceeded(self.alice.ask("DELETE", target), 204)

    def test_tokens_are_not_memories(self) -> None:
        """A token goes on correctly after keys around it have come and gone."""
        self.assertSucceeded(self.alice.ask("PUT", "/listed/a/1b", b"x"))
        page = self.list(list_type=2, max_keys=4, encoding_type="url")
        self.assertEqual(self.entries(page)[-1], ("key", "a/1b"))
        self.assertSucceeded(self.alice.ask("DELETE", "/listed/a/1b"), 204)
        self.assertSucceeded(self.alice.ask("PUT", "/listed/a/1c", b"x"))
        token = page.text("NextContinuationToken") or ""
        rest = self.list(
            list_type=2, continuation_token=token, max_keys=2, start_after="zzz", encoding_type="url"
        )
        self.assertEqual(self.entries(rest), [("key", "a/1c"), ("key", "a/2")])
        self.assertEqual(rest.text("ContinuationToken"), token)
        self.assertEqual(rest.text("StartAfter"), "zzz")
        self.assertSucceeded(self.alice.ask("DELETE", "/listed/a/1c"), 204)


class LargeListingTests(ServerCase):
    """More keys than a page holds."""

    def test_thousand_and_more(self) -> None:
        """A page has a thousand, and the next goes on where it ended."""
        random = Random(7)
        keys = sorted({f"{random.choice('abc')}/{random.randrange(10**6):06}" for _ in range(1050)})
        self.assertSucceeded(self.alice.ask("PUT", "/large"))
        with Wire(self.server.address) as wire:
            for at in range(0, len(keys), 64):
                some = keys[at : at + 64]
                wire.send(b"".join(self.alice.request("PUT", f"/large/{key}", b"x") + b"x" for key in some))
                self.assertEqual({wire.answer().status for _ in some}, {200})
        first = self.alice.ask("GET", "/large?list-type=2")
        self.assertEqual(first.texts("Contents/Key"), keys[:1000])
        self.assertEqual((first.text("IsTruncated"), first.text("KeyCount")), ("true", "1000"))
        token = quote(first.text("NextContinuationToken") or "", safe="")
        second = self.alice.ask("GET", f"/large?list-type=2&continuation-token={token}")
        self.assertEqual(second.texts("Contents/Key"), keys[1000:])
        rolled = self.alice.ask("GET", "/large?list-type=2&delimiter=/&max-keys=3")
        self.assertEqual(rolled.texts("CommonPrefixes/Prefix"), ["a/", "b/", "c/"])
        self.assertEqual(rolled.text("IsTruncated"), "false")


class UploadListingTests(ServerCase):
    """ListMultipartUploads."""

    def test_pages(self) -> None:
        """Open uploads by key, then by age; in pages; rolled up by a delimiter."""
        begun: list[tuple[str, str]] = []
        for key in ("b", "a/1", "a/2", "b", "c+d", "b"):
            answer = self.alice.ask("POST", f"/photos/{quote(key)}?uploads")
            begun.append((key, answer.text("UploadId") or ""))
        expected = sorted(begun, key=lambda one: one[0])  # a stable sort: equal keys stay in order
        whole = self.alice.ask("GET", "/photos?uploads")
        found = list(zip(whole.texts("Upload/Key"), whole.texts("Upload/UploadId"), strict=True))
        self.assertEqual(found, expected)
        self.assertEqual(len(whole.texts("Upload/Initiated")), 6)
        self.assertEqual((whole.text("IsTruncated"), whole.text("MaxUploads")), ("false", "1000"))
        self.assertEqual(whole.text("Bucket"), "photos")
        for limit in (1, 2, 4):
            with self.subTest(limit):
                self.assertEqual(self._by_pages(limit), expected)
        rolled = self.alice.ask("GET", "/photos?uploads&delimiter=/&encoding-type=url")
        self.assertEqual(rolled.texts("CommonPrefixes/Prefix"), ["a/"])
        self.assertEqual(rolled.texts("Upload/Key"), ["b", "b", "b", "c%2Bd"])
        below = self.alice.ask("GET", "/photos?uploads&prefix=a/")
        self.assertEqual(below.texts("Upload/Key"), ["a/1", "a/2"])
        alone = self.alice.ask("GET", f"/photos?uploads&upload-id-marker={expected[3][1]}")
        self.assertEqual(len(alone.texts("Upload")), 6)

    def _by_pages(self, limit: int) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        markers = ""
        while True:
            page = self.assertSucceeded(
                self.alice.ask("GET", f"/photos?uploads&max-uploads={limit}{markers}")
            )
            found += zip(page.texts("Upload/Key"), page.texts("Upload/UploadId"), strict=True)
            if page.text("IsTruncated") == "false":
                return found
            key, upload = page.text("NextKeyMarker") or "", page.text("NextUploadIdMarker")
            markers = f"&key-marker={quote(key)}&upload-id-marker={upload}"
            self.assertLess(len(found), 10)
