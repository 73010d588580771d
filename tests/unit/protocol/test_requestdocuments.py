"""Tests for reading the documents of clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.requestdocuments import (
    CompletedPart,
    CompleteReader,
    CreateBucketReader,
    DeleteEntry,
    DeleteReader,
    DeleteRequest,
)
from s3orchestrator.protocol.xml import escape

from .test_xml import TEXT


def delete(content: str) -> DeleteRequest:
    """Read a Delete with that content."""
    reader = DeleteReader()
    reader.feed(f'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{content}</Delete>'.encode())
    return reader.finish()


def complete(content: str) -> tuple[CompletedPart, ...]:
    """Read a CompleteMultipartUpload with that content."""
    reader = CompleteReader()
    reader.feed(f"<CompleteMultipartUpload>{content}</CompleteMultipartUpload>".encode())
    return reader.finish()


def part(number: object, etag: str = "e") -> str:
    """Return a Part as clients write it."""
    return f'<Part><ETag>"{etag}"</ETag><PartNumber>{number}</PartNumber></Part>'


class DocumentTests(SynchronousTestCase):
    """What the readers have in common."""

    def assertCodes(self, read: Callable[[str], Any], cases: dict[str, str]) -> None:
        """Each content is refused with its code."""
        for content, code in cases.items():
            with self.subTest(content=content[:80]):
                self.assertEqual(self.assertRaises(S3Error, read, content).code, code)


class DeleteTests(DocumentTests):
    """`DeleteReader`."""

    def test_entries(self) -> None:
        """
        Keys to the letter, versions and ETags where they were given, in order.
        """
        found = delete(
            "<Object><Key> a\tb&#13; </Key></Object><Quiet> TRUE </Quiet><Other>x</Other>"
            "<Object><VersionId>null</VersionId><Key>a</Key></Object>"
            "<Object><Key>a</Key><ETag>&quot;e&quot;</ETag><VersionId/></Object>"
        )
        self.assertEqual(
            found,
            DeleteRequest(
                (DeleteEntry(" a\tb\r "), DeleteEntry("a", "null"), DeleteEntry("a", None, "e")), quiet=True
            ),
        )

    @given(st.lists(TEXT.filter(bool), min_size=1, max_size=5))
    def test_round_trip(self, keys: list[str]) -> None:
        """Any key that XML can hold comes through."""
        content = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        self.assertEqual([entry.key for entry in delete(content).entries], keys)

    def test_refused(self) -> None:
        """
        None, too many, without key, twice the key, conditions of other kinds of bucket.
        """
        one = "<Object><Key>a</Key></Object>"
        self.assertEqual(len(delete(one * 1000).entries), 1000)
        self.assertCodes(
            delete,
            {
                "": "MalformedXML",
                one * 1001: "MalformedXML",
                "<Object><VersionId>null</VersionId></Object>": "MalformedXML",
                "<Object><Key/></Object>": "MalformedXML",
                "<Object><Key>a</Key><Key>b</Key></Object>": "MalformedXML",
                f"{one}<Quiet>perhaps</Quiet>": "MalformedXML",
                "<Object><Key>a</Key><Size>1</Size></Object>": "NotImplemented",
            },
        )

    def test_no_body(self) -> None:
        """
        An empty body is an error of its own.
        """
        self.assertEqual(self.assertRaises(S3Error, DeleteReader().finish).code, "MissingRequestBodyError")


class CompleteTests(DocumentTests):
    """`CompleteReader`."""

    def test_parts(self) -> None:
        """
        Numbers, ETags with or without quotes, checksums; children in any order.
        """
        found = complete(
            "<Part><PartNumber> 1 </PartNumber><ETag>a</ETag><ChecksumCRC32>y/Q5Jg==</ChecksumCRC32></Part>"
            "<Part><ETag>&quot;b&quot;</ETag><PartNumber>10000</PartNumber></Part>"
        )
        self.assertEqual(
            found,
            (CompletedPart(1, "a", (Checksum("crc32", "y/Q5Jg=="),)), CompletedPart(10000, "b")),
        )
        self.assertEqual([part.checksum for part in found], [Checksum("crc32", "y/Q5Jg=="), None])

    def test_refused(self) -> None:
        """
        The order of the checks is the one clients are tested with.
        """
        self.assertCodes(
            complete,
            {
                "": "MalformedXML",
                "<Part><PartNumber>1</PartNumber></Part>": "MalformedXML",
                "<Part><ETag>a</ETag></Part>": "MalformedXML",
                part("x"): "MalformedXML",
                part(1) + part(0) + "<Part/>": "MalformedXML",
                part(2) + part(1) + part(0): "InvalidArgument",
                part(10001): "InvalidArgument",
                part(-1): "InvalidArgument",
                part(2) + part(1): "InvalidPartOrder",
                part(1) + part(1): "InvalidPartOrder",
                part(1).replace("<ETag>", "<ChecksumCRC32>x</ChecksumCRC32><ETag>"): "InvalidRequest",
            },
        )

    def test_no_body(self) -> None:
        """
        An empty body is no list of parts.
        """
        self.assertEqual(self.assertRaises(S3Error, CompleteReader().finish).code, "MalformedXML")

    def test_ten_thousand(self) -> None:
        """
        As many parts as an upload can have, and not one more.
        """
        self.assertEqual(len(complete("".join(map(part, range(1, 10001))))), 10000)
        self.assertCodes(complete, {"".join(map(part, range(1, 10002))): "MalformedXML"})


class CreateBucketTests(DocumentTests):
    """`CreateBucketReader`."""

    def create(self, content: str) -> None:
        """Read a configuration in a server of eu-central-1."""
        reader = CreateBucketReader()
        reader.feed(f"<CreateBucketConfiguration>{content}</CreateBucketConfiguration>".encode())
        reader.finish("eu-central-1")

    def test_here(self) -> None:
        """
        No body, no constraint, or this region.
        """
        CreateBucketReader().finish("eu-central-1")
        self.create("")
        self.create("<LocationConstraint/>")
        self.create("<LocationConstraint>eu-central-1</LocationConstraint>")

    def test_refused(self) -> None:
        """
        Another region, another kind of bucket, another document.
        """
        self.assertCodes(
            self.create,
            {
                "<LocationConstraint>us-east-1</LocationConstraint>": "InvalidLocationConstraint",
                "<Bucket><Type>Directory</Type></Bucket>": "NotImplemented",
                "<LocationConstraint>": "MalformedXML",
            },
        )


class FuzzTests(SynchronousTestCase):
    """All readers."""

    @given(
        st.sampled_from([DeleteReader, CompleteReader, CreateBucketReader]),
        st.lists(
            st.sampled_from(
                [
                    "Object",
                    "Key",
                    "Quiet",
                    "Part",
                    "PartNumber",
                    "ETag",
                    "LocationConstraint",
                    "ChecksumCRC32",
                ]
            ).flatmap(
                lambda name: st.sampled_from(
                    [f"<{name}>", f"</{name}>", f"<{name}/>", "1", "-1", "x", "true"]
                )
            ),
            max_size=12,
        ),
    )
    def test_anything(self, kind: type[Any], pieces: list[str]) -> None:
        """Any nesting of known names is a request or an error for the client."""
        reader = kind()
        try:
            reader.feed(f"<{kind.root}>{''.join(pieces)}</{kind.root}>".encode())
            reader.finish("us-east-1") if kind is CreateBucketReader else reader.finish()
        except S3Error as error:
            self.assertIn(error.status, (400, 501))
