"""The stamp: whose an object is, and for which key."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.naming import ENTROPY, hashed_name, other_name, plain_name, token
from s3orchestrator.domain.records import Blob, BlobState
from s3orchestrator.domain.stamping import SELF, Stamp, bound_of, read_stamp, write_stamp
from s3orchestrator.protocol.checksums import COMPOSITE, FULL_OBJECT, Checksum

BLOB = Blob(7, "disk", "photos/a", BlobState.PENDING, 3, 1_700_000_000_000, key="a")
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
VALUES = st.text(st.characters(max_codepoint=255))
TOKEN = token(BLOB.created_ms, bytes(ENTROPY))


def stamps() -> st.SearchStrategy[Stamp]:
    return st.builds(
        Stamp,
        st.just("ledger"),
        st.integers(0, 2**62),
        st.integers(0, 2**45),
        key=st.none() | KEYS,
        encoded=st.booleans(),
        multipart=st.booleans(),
        complete=st.booleans(),
        etag=st.sampled_from(["", "0123456789abcdef-3", 'odd;"=']),
        checksum=st.sampled_from(
            [None, Checksum("crc32", "AAAAAA==", FULL_OBJECT), Checksum("sha1", "AAA=-2", COMPOSITE)]
        ),
        headers=st.dictionaries(st.sampled_from(["Cache-Control", "Expires", "Content-Encoding"]), VALUES),
        storage_class=st.sampled_from(["STANDARD", "GLACIER"]),
    )


class StampTests(SynchronousTestCase):
    @given(stamps(), st.booleans())
    def test_round_trip(self, stamp: Stamp, is_bound: bool) -> None:
        """What is written is read again, whatever the key and the headers."""
        if is_bound:
            stamp = Stamp(stamp.ledger, stamp.blob_id, stamp.created_ms, bound=bound_of(stamp.key or ""))
        text = write_stamp(stamp)
        self.assertTrue(text.isascii() and text.isprintable() and " " not in text)
        self.assertEqual(read_stamp({SELF: text}), stamp)

    @given(st.text())
    def test_anything_else_is_no_stamp(self, text: str) -> None:
        """Metadata that looks odd is somebody else's; it never raises."""
        if text[:2] not in ("1;", "2;"):
            self.assertIsNone(read_stamp({SELF: text}))
        for beginning in ("1;", "2;", "2;ours;1;2;", "2;ours;1;2;;b", "2;ours;1;2;;;;", "2;ours;1;2;;;;;"):
            read_stamp({SELF: beginning + text})

    def test_first_format(self) -> None:
        """Stamps of the first format are read; they did not tell the standard headers."""
        stamp = read_stamp({SELF: "1;ours;7;1700000000000;e;a%3Bb"})
        self.assertEqual(stamp, Stamp("ours", 7, BLOB.created_ms, "a;b", encoded=True, complete=False))
        assert stamp is not None
        self.assertTrue(stamp.is_of(BLOB, "ours"))
        plain = read_stamp({SELF: "1;ours;7;1700000000000;"})
        assert plain is not None
        self.assertTrue(plain.is_for("photos", "a", "photos/a"))

    def test_belongs_to_one_blob_of_one_ledger(self) -> None:
        """Neither another blob nor another ledger with the same numbers is taken for ours."""
        stamp = Stamp("ours", 7, BLOB.created_ms)
        self.assertTrue(stamp.is_of(BLOB, "ours"))
        self.assertFalse(stamp.is_of(BLOB, "theirs"))
        self.assertFalse(Stamp("ours", 8, BLOB.created_ms).is_of(BLOB, "ours"))
        self.assertFalse(Stamp("ours", 7, 0).is_of(BLOB, "ours"))

    def test_belongs_to_one_key(self) -> None:
        """A key that looks like another's unique name is just a key; so is one held under another's name."""
        look_alike = other_name("photos", "a", TOKEN)
        of_a = Stamp("ours", 7, 0, bound=bound_of(plain_name("photos", "a")))
        of_look_alike = Stamp("ours", 8, 0, bound=bound_of(look_alike))
        self.assertTrue(of_a.is_for("photos", "a", look_alike))
        self.assertFalse(of_look_alike.is_for("photos", "a", look_alike))
        self.assertTrue(of_look_alike.is_for("photos", look_alike.removeprefix("photos/"), look_alike))
        self.assertFalse(of_a.is_for("photos", "a/", "photos/a/"))
        self.assertFalse(of_a.is_for("photo", "s/a", "photos/a~"))

    def test_a_hashed_name_tells_the_key(self) -> None:
        """Under a hash, the key itself is compared."""
        name = hashed_name("photos", "a", TOKEN)
        self.assertTrue(Stamp("ours", 7, 0, key="a").is_for("photos", "a", name))
        self.assertFalse(Stamp("ours", 7, 0, key="b").is_for("photos", "a", name))
