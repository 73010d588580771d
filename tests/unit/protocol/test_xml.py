"""Tests for escaping and for the bounded reader."""

from __future__ import annotations

from time import process_time
from xml.etree import ElementTree

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.xml import MAX_DEPTH, Reader, escape

# What XML 1.0 can hold.
TEXT = st.text(
    st.one_of(
        st.sampled_from("\t\n\r&<>\"']"),
        st.characters(min_codepoint=0x20, exclude_characters="\ufffe\uffff", exclude_categories=["Cs"]),
    )
)


class Recorder(Reader):
    """Writes down what it is told."""

    root = "R"
    max_bytes = 100_000

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, str, str]] = []

    def closed(self, depth: int, name: str, text: str) -> None:
        """Remember the element."""
        self.seen.append((depth, name, text))


def read(document: bytes, size: int = 100_000) -> list[tuple[int, str, str]]:
    """Read a document in pieces of `size` bytes."""
    reader = Recorder()
    for start in range(0, len(document), size):
        reader.feed(document[start : start + size])
    reader.close()
    return reader.seen


class EscapeTests(SynchronousTestCase):
    """`escape`."""

    @given(TEXT)
    @example("a\r\nb]]>")
    def test_round_trip(self, text: str) -> None:
        """A strict parser gives back what was written."""
        parsed = ElementTree.fromstring(f"<a>{escape(text)}</a>").text or ""
        self.assertEqual(parsed, text)

    def test_what_xml_cannot_hold(self) -> None:
        """
        S3 writes references for it, and so do we: the key must not be lost.
        """
        self.assertEqual(escape("a\x01\ufffe\r"), "a&#x1;&#xFFFE;&#13;")


class ReaderTests(SynchronousTestCase):
    """`Reader`."""

    @given(TEXT, TEXT, st.integers(1, 9))
    def test_any_pieces(self, one: str, two: str, size: int) -> None:
        """However the body is cut, the same is read."""
        document = f"<R><a>{escape(one)}</a><b><c>{escape(two)}</c></b></R>".encode()
        expected = [(2, "a", one), (3, "c", two), (2, "b", ""), (1, "R", "")]
        self.assertEqual(read(document, size), expected)

    def test_namespaces_are_optional(self) -> None:
        """
        With S3's namespace, with any, with a prefix or without: the names are the same.
        """
        for document in (
            b"<R><a>1</a></R>",
            b'<R xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><a>1</a></R>',
            b'<x:R xmlns:x="urn:y"><x:a>1</x:a></x:R>',
            b'\xef\xbb\xbf<?xml version="1.0" encoding="ISO-8859-1"?><R><a>1</a></R>',
            b"<!-- c --><R><?p?><a><![CDATA[1]]></a></R>",
        ):
            with self.subTest(document=document):
                self.assertEqual(read(document), [(2, "a", "1"), (1, "R", "")])

    def test_malformed(self) -> None:
        """
        What is not well-formed, of another root, too deep, or has a document type.
        """
        for document in (
            b"",
            b"   ",
            b"{}",
            b"<R>",
            b"<R></S>",
            b"<S/>",
            b"<R/><R/>",
            b"<R>&undefined;</R>",
            b"<R>\xff</R>",
            b"<R>&#1;</R>",
            b"<R>\x00</R>",
            b"<!DOCTYPE R><R/>",
            b'<!DOCTYPE R [<!ENTITY a "b">]><R>&a;</R>',
            b'<!DOCTYPE R SYSTEM "http://127.0.0.1/x.dtd"><R/>',
            b"<R>" + b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH + b"</R>",
        ):
            with self.subTest(document=document[:60]):
                self.assertEqual(self.assertRaises(S3Error, read, document).code, "MalformedXML")

    def test_too_long(self) -> None:
        """
        More bytes than the document may have are refused as they come.
        """
        reader = Recorder()
        reader.feed(b"<R>" + b" " * 99_997)
        error = self.assertRaises(S3Error, reader.feed, b" ")
        self.assertEqual(error.code, "MaxMessageLengthExceeded")

    def test_once_broken_always_broken(self) -> None:
        """
        After a mistake nothing more is read.
        """
        reader = Recorder()
        self.assertRaises(S3Error, reader.feed, b"<!DOCTYPE R>" + b" " * 65_536)
        self.assertRaises(S3Error, reader.feed, b"<R/>")
        self.assertRaises(S3Error, reader.close)
        self.assertEqual(reader.seen, [])

    def test_long_tokens_in_small_pieces(self) -> None:
        """
        A tag that does not end is not read again with every packet.
        """
        document = b'<R a="' + b"a" * 1_900_000

        class Long(Recorder):
            max_bytes = 2_000_000

        reader = Long()
        begun = process_time()
        for start in range(0, len(document), 100):
            reader.feed(document[start : start + 100])
        self.assertLess(process_time() - begun, 1)
        self.assertRaises(S3Error, reader.close)

    @given(
        st.one_of(st.binary(), st.text(alphabet="<>/R!&;[]\"'= a#x1-?").map(str.encode)), st.integers(1, 40)
    )
    def test_anything(self, document: bytes, size: int) -> None:
        """Whatever comes is a document or an error for the client."""
        try:
            read(document, size)
        except S3Error as error:
            self.assertEqual(error.code, "MalformedXML")
