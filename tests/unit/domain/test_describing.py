"""What a blob says of itself on its backend."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.describing import (
    MAX_META,
    SELF,
    Known,
    afterword,
    describe,
    known_in,
    metadata_in,
)
from s3orchestrator.domain.naming import NAME_LIMIT
from s3orchestrator.domain.records import Blob, BlobState
from s3orchestrator.domain.stamping import Stamp, read_stamp
from s3orchestrator.protocol.checksums import COMPOSITE, Checksum
from s3orchestrator.protocol.metadata import ObjectMetadata

BLOB = Blob(7, "disk", "photos/a", BlobState.PENDING, 3, 1_700_000_000_000, key="a", plain=True)
HASHED = evolve(BLOB, name="~s3o/digest~token", key="a;b é/c", plain=False)
MD5 = "0123456789abcdef0123456789abcdef"
OTHER_MD5 = "f" * 32
CRC = Checksum("crc32", "AAAAAA==")
LATIN = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]), max_size=40)
NAMES = st.text(st.characters(codec="ascii", categories=["Ll", "Nd"], include_characters="-"), min_size=1)


def said(**more: object) -> ObjectMetadata:
    return ObjectMetadata(**more)  # type: ignore[arg-type]


def stamp_of(meta: dict[str, str]) -> Stamp:
    found = read_stamp(meta)
    assert found is not None
    return found


class DescribeTests(SynchronousTestCase):
    def test_clients_cannot_forge_a_stamp(self) -> None:
        """A client's metadata of our names is escaped, and its escaped form too."""
        user = {"s3o": "1;ours;9;9;", "s3o-s3o": "x", "s3o-etag": MD5}
        meta = describe(BLOB, "ours", said(user=user))
        self.assertEqual(stamp_of(meta).blob_id, 7)
        self.assertEqual(known_in("", meta, stamp_of(meta), md5_etags=True).etag, "")
        self.assertEqual(metadata_in("", meta, stamp_of(meta)).user, user)

    def test_hidden_key_is_told(self) -> None:
        """Where the name is a hash, the description has the key; a key of full length fits, too."""
        self.assertEqual(stamp_of(describe(HASHED, "ours", said())).key, HASHED.key)
        longest = evolve(HASHED, key="\u732b" * (NAME_LIMIT // 3))
        meta = describe(longest, "ours", said())
        self.assertEqual(stamp_of(meta).key, longest.key)
        self.assertLessEqual(len(meta[SELF]), MAX_META)

    @given(st.dictionaries(NAMES, LATIN, max_size=5), LATIN, LATIN)
    def test_told_again(self, user: dict[str, str], disposition: str, kind: str) -> None:
        """Whatever a client said, the description gives back to the letter."""
        metadata = said(
            content_type=kind or "text/plain", headers={"Content-Disposition": disposition}, user=user
        )
        meta = describe(BLOB, "ours", metadata)
        self.assertTrue(all(value.isascii() and value.isprintable() for value in meta.values()))
        self.assertEqual(metadata_in(metadata.content_type, meta, stamp_of(meta)), metadata)

    def test_metadata_that_does_not_fit(self) -> None:
        """The stamp stays first, then the standard headers; and it says that something is missing."""
        large = said(user={"big": "x" * MAX_META}, headers={"Cache-Control": "no-store"})
        meta = describe(BLOB, "ours", large)
        self.assertEqual(list(meta), [SELF])
        self.assertFalse(stamp_of(meta).complete)
        self.assertEqual(stamp_of(meta).headers, large.headers)
        huge = said(user={"a": "b"}, headers={"Cache-Control": "x" * MAX_META})
        self.assertFalse(stamp_of(describe(BLOB, "ours", huge)).complete)
        self.assertEqual(stamp_of(describe(BLOB, "ours", huge)).headers, {})

    def test_fits_exactly(self) -> None:
        """The limit is S3's: names and values together."""
        spare = MAX_META - len(SELF) - len(describe(BLOB, "ours", said())[SELF]) - len("k")
        self.assertTrue(stamp_of(describe(BLOB, "ours", said(user={"k": "v" * spare}))).complete)
        self.assertFalse(stamp_of(describe(BLOB, "ours", said(user={"k": "v" * (spare + 1)}))).complete)


class KnownTests(SynchronousTestCase):
    """What clients were told of the bytes, from what the backend says."""

    def etag(self, backends: str, *, known: Known, md5_etags: bool, multipart: bool = False) -> str:
        meta = describe(evolve(BLOB, multipart=multipart), "ours", said(), known)
        return known_in(backends, meta, stamp_of(meta), md5_etags=md5_etags).etag

    def test_the_backends_own(self) -> None:
        """Where its ETags are made as clients expect, they are what clients were told."""
        self.assertEqual(self.etag(MD5, known=Known(), md5_etags=True), MD5)
        self.assertEqual(self.etag(f"{MD5}-3", known=Known(), md5_etags=True, multipart=True), f"{MD5}-3")

    def test_foretold(self) -> None:
        """Else it is what was known as the headers left; and without that, nobody can tell."""
        self.assertEqual(self.etag("odd", known=Known(MD5), md5_etags=True), MD5)
        self.assertEqual(self.etag(OTHER_MD5, known=Known(MD5), md5_etags=False), MD5)
        self.assertEqual(self.etag(OTHER_MD5, known=Known(), md5_etags=False), "")
        self.assertEqual(self.etag("odd", known=Known(), md5_etags=True), "")
        self.assertEqual(self.etag(OTHER_MD5, known=Known(f"{MD5}-3"), md5_etags=True), OTHER_MD5)
        self.assertEqual(self.etag(MD5, known=Known(), md5_etags=True, multipart=True), "")

    def test_other_bytes(self) -> None:
        """Two MD5s that differ cannot both be right: then none is told."""
        self.assertEqual(self.etag(OTHER_MD5, known=Known(MD5), md5_etags=True), "")

    def test_afterword(self) -> None:
        """What was added with the bytes is what clients were told, whatever the backend calls them."""
        late = Known(f"{MD5}-2", Checksum("sha256", "A" * 43 + "=-2", COMPOSITE))
        meta = describe(evolve(BLOB, multipart=True), "ours", said()) | afterword(late)
        self.assertEqual(known_in(OTHER_MD5, meta, stamp_of(meta), md5_etags=True), late)
        self.assertEqual(known_in(late.etag, meta, stamp_of(meta), md5_etags=False), late)
        self.assertEqual(metadata_in("", meta, stamp_of(meta)).user, {})

    def test_checksum(self) -> None:
        """A checksum that was declared up front is told again; one that is no checksum is left out."""
        meta = describe(BLOB, "ours", said(), Known(checksum=CRC))
        self.assertEqual(known_in(MD5, meta, stamp_of(meta), md5_etags=True), Known(MD5, CRC))
        for odd in ("x", "md5:F:x", "crc32:Z:x"):
            found = known_in(MD5, meta | {"s3o-checksum": odd}, stamp_of(meta), md5_etags=True)
            self.assertEqual(found.checksum, CRC)
