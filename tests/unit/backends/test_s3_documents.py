"""What services say in XML, among it what only a hostile one would."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.s3_documents import MAX_ELEMENTS, milliseconds, read_document
from s3orchestrator.backends.s3_errors import Refusal
from s3orchestrator.errors import BackendUnavailable


class ReadingTests(SynchronousTestCase):
    """From bytes to documents."""

    def test_what_stands_before_the_root(self) -> None:
        """
        White space, a declaration, comments and a namespace are no matter.
        """
        for before in (
            b"",
            b" \r\n ",
            b"<?xml version='1.0'?>",
            b"\n<?xml version='1.0'?>\n<!-- a --> <!---->",
            b"<!-- <Other> --><?what ever?>",
        ):
            for name, space in ((b"Error", b""), (b"x:Error", b" xmlns:x='urn:x'")):
                found = read_document(b"%s<%s%s><Code>C</Code></%s>" % (before, name, space, name))
                assert found is not None
                self.assertEqual((found.root, found.fields), ("Error", {"Code": "C"}))

    def test_none(self) -> None:
        """
        What is no document is none, and so is one that only announces its root.
        """
        for data in (b"", b"no", b"<a>", b"<a></b>", b"<!-- <a/> -->", b"<!DOCTYPE html><html></html>"):
            self.assertIsNone(read_document(data))

    def test_comments_without_end(self) -> None:
        """
        Comments are read once, however many there are and whatever follows.
        """
        begin = time.process_time()
        self.assertIsNone(read_document(b"<!---->" * 9_000 + b"!"))
        self.assertIsNone(read_document(b"<!--" * 16_000))
        self.assertLess(time.process_time() - begin, 2)

    def test_too_many_elements(self) -> None:
        """
        A document of nothing but tags is given up before it has kept everybody waiting.
        """
        self.assertIsNotNone(read_document(b"<a>%s</a>" % (b"<b/>" * (MAX_ELEMENTS - 1))))
        self.assertIsNone(read_document(b"<a>%s</a>" % (b"<b/>" * MAX_ELEMENTS)))

    @given(st.binary(), st.booleans())
    def test_anything(self, data: bytes, strict: bool) -> None:
        """
        Whatever bytes come, they are read or not, without any other ado.
        """
        for document in (data, b"<a>" + data + b"</a>"):
            read_document(document, strict=strict)


class RefusalTests(SynchronousTestCase):
    """Error documents that are out of proportion."""

    def test_part_of_many_digits(self) -> None:
        """
        A number nobody can have sent is no number.
        """
        for digits, part in (("7", 7), ("9" * 19, 0), ("9" * 5000, 0)):
            document = f"<Error><Code>InvalidPart</Code><PartNumber>{digits}</PartNumber></Error>"
            self.assertEqual(Refusal.of(400, read_document(document.encode())).part, part)

    def test_long_texts(self) -> None:
        """
        What a service says goes into a log line, so it is cut.
        """
        text = "x" * 5000
        document = f"<Error><Code>{text}</Code><Message>{text}</Message></Error>"
        refusal = Refusal.of(400, read_document(document.encode()))
        self.assertEqual((len(refusal.code), len(refusal.message)), (100, 300))


class TimesTests(SynchronousTestCase):
    """Times in listings."""

    def test_nonsense(self) -> None:
        """
        What is not a time of this world is said to be none, in few words.
        """
        self.assertEqual(milliseconds("1970-01-01T00:00:01.500Z"), 1500)
        for text in ("", "yesterday", "0001-01-01T00:00:00", "9999-12-31T23:59:59-23:59", "9" * 100_000):
            try:
                milliseconds(text)
            except BackendUnavailable as error:
                self.assertLess(len(str(error)), 300)
