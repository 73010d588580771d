"""Whose a backend is, from what its marker says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.domain.naming import hashed_name, is_token, scratch_names
from s3orchestrator.domain.owning import (
    LONGEST,
    MARKER,
    Known,
    Marker,
    Standing,
    Unreadable,
    judge,
    read_marker,
)

OURS = Marker("ledger", "disk", 7)
NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_.", min_size=1, max_size=63)


class MarkerTests(SynchronousTestCase):
    def test_text(self) -> None:
        """People can read it, and it is short."""
        text = OURS.text()
        self.assertTrue(
            text.startswith(b"s3orchestrator owner 1\nledger: ledger\nbackend: disk\nnumber: 7\ncheck: ")
        )
        self.assertLess(len(Marker("l" * 64, "b" * 255, 10**18 - 1).text()), LONGEST)

    @given(NAMES, NAMES, st.integers(0, 10**18 - 1))
    def test_round_trip(self, ledger: str, backend: str, number: int) -> None:
        """What is written is read."""
        marker = Marker(ledger, backend, number)
        self.assertEqual(read_marker(marker.text()), marker)

    @given(st.binary(max_size=300))
    def test_anything(self, text: bytes) -> None:
        """Whatever else is there is refused."""
        with self.assertRaises(Unreadable):
            read_marker(text)

    @given(st.integers(0, 8 * len(OURS.text()) - 1))
    def test_flipped(self, bit: int) -> None:
        """A bit that has changed never makes another marker of it."""
        text = bytearray(OURS.text())
        text[bit // 8] ^= 1 << bit % 8
        with self.assertRaises(Unreadable):
            read_marker(bytes(text))

    def test_name(self) -> None:
        """No blob is called so: neither an object's nor one for finding out what a backend does."""
        self.assertFalse(is_token(MARKER[-26:]))
        self.assertNotIn(MARKER, scratch_names("0" * 26))
        self.assertNotEqual(hashed_name("b", "k", "0" * 26), MARKER)


class JudgeTests(SynchronousTestCase):
    def standing(self, marker: Marker | None, known: Known) -> Standing:
        return judge("ledger", "disk", known, marker).standing

    def test_table(self) -> None:
        """Every case there is."""
        for marker, known, standing in (
            (None, Known(0), Standing.NEW),
            (None, Known(1), Standing.ABSENT),
            (None, Known(1, is_behind=True), Standing.ABSENT),
            (Marker("other", "disk", 1), Known(5), Standing.FOREIGN),
            (Marker("ledger", "disk2", 1), Known(5), Standing.SWAPPED),
            (Marker("ledger", "disk", 6), Known(5), Standing.BEHIND),
            (Marker("ledger", "disk", 1), Known(0), Standing.BEHIND),
            (Marker("ledger", "disk", 5), Known(5, is_behind=True), Standing.BEHIND),
            (Marker("ledger", "disk", 5), Known(5), Standing.OURS),
            (Marker("ledger", "disk", 4), Known(5), Standing.OURS),  # died before the marker was raised
            (Marker("ledger", "disk", 0), Known(0), Standing.OURS),  # or right after it was made
        ):
            self.assertEqual(self.standing(marker, known), standing, (marker, known))

    def test_what_is_allowed(self) -> None:
        """Only what is ours is deleted from; behind, things are only added."""
        allowed = {each: (each.may_write, each.may_remove, each.is_shut) for each in Standing}
        self.assertEqual(allowed.pop(Standing.OURS), (True, True, False))
        self.assertEqual(allowed.pop(Standing.BEHIND), (True, False, False))
        self.assertEqual(allowed.pop(Standing.UNKNOWN), (False, False, False))
        self.assertEqual(allowed.pop(Standing.NEW), (False, False, False))
        self.assertEqual(set(allowed.values()), {(False, False, True)})

    def test_what_is_said(self) -> None:
        """What is wrong, and what to do."""
        said = str(judge("ledger", "disk", Known(5), Marker("other", "disk", 1)))
        self.assertEqual(
            said,
            "it belongs to ledger other, and this is ledger ledger; if that is a mistake in the"
            " configuration, correct it; if the backend is this ledger's, stop the daemon and run"
            " s3orchestrator fsck --claim disk",
        )
        said = str(judge("ledger", "disk", Known(5), Marker("ledger", "disk", 6)))
        self.assertEqual(
            said,
            "the ledger is behind: it knows marker 5, and the backend holds 6. It was restored from a"
            " backup, or a copy of it is in use; stop the daemon and run s3orchestrator fsck --restored",
        )
