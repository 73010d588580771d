"""What a blob says of itself on its backend."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.describing import MAX_META, SELF, Stamp, describe, read_stamp, write_stamp
from s3orchestrator.domain.records import Blob, BlobState

BLOB = Blob(7, "disk", "photos/a", BlobState.PENDING, 3, 1_700_000_000_000, key="a;b é/c")


class StampTests(SynchronousTestCase):
    @given(
        st.integers(0, 2**62),
        st.integers(0, 2**45),
        st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        st.booleans(),
    )
    def test_round_trip(self, blob_id: int, created_ms: int, key: str | None, encoded: bool) -> None:
        """What is written is read again, whatever the key."""
        stamp = Stamp("ledger", blob_id, created_ms, key, encoded)
        text = write_stamp(stamp)
        self.assertTrue(text.isascii() and text.isprintable() and " " not in text)
        self.assertEqual(read_stamp({SELF: text}), stamp)

    @given(st.text())
    def test_anything_else_is_no_stamp(self, text: str) -> None:
        """Metadata that looks odd is somebody else's; it never raises."""
        if not text.startswith("1;"):
            self.assertIsNone(read_stamp({SELF: text}))
        read_stamp({SELF: "1;" + text})

    def test_belongs_to_one_blob_of_one_ledger(self) -> None:
        """Neither another blob nor another ledger with the same numbers is taken for ours."""
        stamp = Stamp("ours", 7, BLOB.created_ms)
        self.assertTrue(stamp.is_of(BLOB, "ours"))
        self.assertFalse(stamp.is_of(BLOB, "theirs"))
        self.assertFalse(Stamp("ours", 8, BLOB.created_ms).is_of(BLOB, "ours"))
        self.assertFalse(Stamp("ours", 7, 0).is_of(BLOB, "ours"))


class DescribeTests(SynchronousTestCase):
    def test_clients_cannot_forge_a_stamp(self) -> None:
        """A client's metadata of our name is escaped, and its escaped form too."""
        meta = describe(BLOB, "ours", {"s3o": "1;ours;9;9;", "s3o-s3o": "x"}, shows_key=True)
        stamp = read_stamp(meta)
        assert stamp is not None
        self.assertEqual(stamp.blob_id, 7)
        self.assertEqual(meta["s3o-s3o"], "1;ours;9;9;")
        self.assertEqual(meta["s3o-s3o-s3o"], "x")

    def test_hidden_key_is_told(self) -> None:
        """Where the name is a hash, the description has the key."""
        stamp = read_stamp(describe(BLOB, "ours", {}, shows_key=False))
        assert stamp is not None
        self.assertEqual(stamp.key, BLOB.key)

    def test_values_no_header_can_carry_are_encoded(self) -> None:
        """Bytes outside ASCII travel percent-encoded, and the stamp says so."""
        meta = describe(BLOB, "ours", {"name": "caf\xe9"}, shows_key=True)
        self.assertEqual(meta["name"], "caf%E9")
        stamp = read_stamp(meta)
        assert stamp is not None
        self.assertTrue(stamp.encoded)

    def test_stamp_wins_over_metadata(self) -> None:
        """If both do not fit, the stamp stays; the ledger has the rest."""
        meta = describe(BLOB, "ours", {"big": "x" * MAX_META}, shows_key=True)
        self.assertEqual(list(meta), [SELF])
