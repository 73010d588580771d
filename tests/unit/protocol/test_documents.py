"""Tests for the documents we answer with: each is read back by a strict parser."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from attrs import Factory, evolve, frozen
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol import documents, listdocuments
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.documents import Deletion, Owner
from s3orchestrator.protocol.encoding import encode_key
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.listing import Page, Position
from s3orchestrator.protocol.listqueries import AttributesQuery, BucketsQuery, ListQuery, PartsQuery
from s3orchestrator.protocol.metadata import ObjectMetadata
from s3orchestrator.protocol.operations import UNCONFIGURED

from .test_xml import TEXT

OWNER = Owner("1", "A & B")
MS = 1_795_227_300_999
TIME = "2026-11-21T02:15:00.000Z"
CRC = Checksum("crc32", "y/Q5Jg==")
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


@frozen
class Row:
    """Something listed: a bucket, an object, a version, an upload or a part."""

    key: str = "k"
    name: str = "b"
    id: str = "u"
    created_ms: int = MS
    initiated_ms: int = MS
    modified_ms: int = MS
    version_id: str = "null"
    is_latest: bool = True
    is_delete_marker: bool = False
    size: int = 3
    etag: str = "e"
    storage_class: str = "STANDARD"
    checksum_algorithm: str | None = None
    checksum_kind: str | None = None
    metadata: ObjectMetadata = Factory(ObjectMetadata)
    number: int = 1
    checksum: Checksum | None = None
    parts: tuple[Any, ...] = ()


def parse(document: bytes, root: str) -> ElementTree.Element:
    """Read a document, which begins with its declaration and is in S3's namespace."""
    assert document.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n<')
    element = ElementTree.fromstring(document)
    assert element.tag == NAMESPACE + root, element.tag
    for child in element.iter():
        child.tag = child.tag.removeprefix(NAMESPACE)
    return element


def outline(element: ElementTree.Element) -> Any:
    """Return an element as nested lists of (name, content); attributes are left out."""
    return [(child.tag, outline(child) if len(child) else child.text or "") for child in element]


class ErrorTests(SynchronousTestCase):
    """The error document."""

    def test_order(self) -> None:
        """
        Code, message, details, resource, ids; and no namespace.
        """
        error = S3Error("NoSuchKey", Key="a<b")
        sent = documents.error_document(error, request_id="42", host_id="h", resource="/b/a%3Cb")
        element = ElementTree.fromstring(sent)
        self.assertEqual(element.tag, "Error")
        self.assertEqual(
            outline(element),
            [
                ("Code", "NoSuchKey"),
                ("Message", "The specified key does not exist."),
                ("Key", "a<b"),
                ("Resource", "/b/a%3Cb"),
                ("RequestId", "42"),
                ("HostId", "h"),
            ],
        )

    @given(TEXT, TEXT)
    def test_anything(self, message: str, detail: str) -> None:
        """Whatever an error says can be read."""
        error = S3Error("InvalidArgument", message or None, ArgumentValue=detail)
        element = ElementTree.fromstring(documents.error_document(error, request_id="1"))
        self.assertEqual(element.findtext("ArgumentValue"), detail)
        self.assertTrue(element.findtext("Message"))


class AnswerTests(SynchronousTestCase):
    """Everything but listings."""

    def test_location(self) -> None:
        """
        The first region has no name.
        """
        self.assertEqual(parse(documents.location("eu-central-1"), "LocationConstraint").text, "eu-central-1")
        self.assertIsNone(parse(documents.location("us-east-1"), "LocationConstraint").text)

    def test_not_configured(self) -> None:
        """
        Every configuration that can be asked for has its answer, 404 or an empty document.
        """
        empty = {"accelerate", "logging", "notification", "requestPayment"}
        for name in UNCONFIGURED:
            with self.subTest(name=name):
                if name in empty:
                    ElementTree.fromstring(documents.unconfigured(name, "b"))
                else:
                    error = self.assertRaises(S3Error, documents.unconfigured, name, "b")
                    self.assertEqual((error.status, error.details), (404, {"BucketName": "b"}))
        self.assertEqual(outline(parse(documents.versioning(), "VersioningConfiguration")), [])
        self.assertEqual(outline(parse(documents.tagging(), "Tagging")), [("TagSet", "")])

    def test_acl(self) -> None:
        """
        The owner may do everything.
        """
        person = [("ID", "1"), ("DisplayName", "A & B")]
        self.assertEqual(
            outline(parse(documents.acl(OWNER), "AccessControlPolicy")),
            [
                ("Owner", person),
                ("AccessControlList", [("Grant", [("Grantee", person), ("Permission", "FULL_CONTROL")])]),
            ],
        )
        self.assertIn(b'xsi:type="CanonicalUser"', documents.acl(OWNER))

    def test_copies(self) -> None:
        """
        Time, quoted ETag, and the checksum if there is one.
        """
        self.assertEqual(
            outline(parse(documents.copy_result("e", MS, CRC), "CopyObjectResult")),
            [
                ("LastModified", TIME),
                ("ETag", '"e"'),
                ("ChecksumCRC32", "y/Q5Jg=="),
                ("ChecksumType", "FULL_OBJECT"),
            ],
        )
        self.assertEqual(
            outline(parse(documents.copy_part_result("e", MS), "CopyPartResult")),
            [("LastModified", TIME), ("ETag", '"e"')],
        )

    def test_multipart(self) -> None:
        """
        An upload begins with its id and ends with where the object is.
        """
        self.assertEqual(
            outline(parse(documents.upload_created("b", "k\r", "u"), "InitiateMultipartUploadResult")),
            [("Bucket", "b"), ("Key", "k\r"), ("UploadId", "u")],
        )
        done = documents.upload_completed("b", "a b/é", "e-2", location="http://h:9000/b/a%20b/%C3%A9")
        self.assertEqual(
            outline(parse(done, "CompleteMultipartUploadResult")),
            [
                ("Location", "http://h:9000/b/a%20b/%C3%A9"),
                ("Bucket", "b"),
                ("Key", "a b/é"),
                ("ETag", '"e-2"'),
            ],
        )

    def test_deletions(self) -> None:
        """
        Each entry is answered in its place; quiet leaves out what went well.
        """
        entries = [Deletion("a", "null"), Deletion("b", error=S3Error("AccessDenied")), Deletion("a")]
        failed = ("Error", [("Key", "b"), ("Code", "AccessDenied"), ("Message", "Access Denied")])
        self.assertEqual(
            outline(parse(documents.delete_result(entries), "DeleteResult")),
            [("Deleted", [("Key", "a"), ("VersionId", "null")]), failed, ("Deleted", [("Key", "a")])],
        )
        self.assertEqual(
            outline(parse(documents.delete_result(entries, quiet=True), "DeleteResult")), [failed]
        )

    def test_attributes(self) -> None:
        """
        Only what was asked for, in S3's order, the ETag without quotes.
        """
        parts = tuple(Row(number=number, size=number, checksum=CRC) for number in (1, 2, 3))
        found = Row(etag="e-3", size=6, checksum=CRC, parts=parts)
        query = AttributesQuery.of("ObjectSize,StorageClass,ObjectParts,Checksum,ETag", "1", "1")
        self.assertEqual(
            outline(parse(documents.attributes(query, found), "GetObjectAttributesResponse")),
            [
                ("ETag", "e-3"),
                ("Checksum", [("ChecksumCRC32", "y/Q5Jg=="), ("ChecksumType", "FULL_OBJECT")]),
                (
                    "ObjectParts",
                    [
                        ("PartsCount", "3"),
                        ("PartNumberMarker", "1"),
                        ("NextPartNumberMarker", "2"),
                        ("MaxParts", "1"),
                        ("IsTruncated", "true"),
                        ("Part", [("PartNumber", "2"), ("Size", "2"), ("ChecksumCRC32", "y/Q5Jg==")]),
                    ],
                ),
                ("StorageClass", "STANDARD"),
                ("ObjectSize", "6"),
            ],
        )

    def test_attributes_without_checksums(self) -> None:
        """
        Parts without checksums are only counted; an object without parts has none.
        """
        query = AttributesQuery.of("ObjectParts,Checksum", None, None)
        root = "GetObjectAttributesResponse"
        self.assertEqual(
            outline(parse(documents.attributes(query, Row(parts=(Row(), Row()))), root)),
            [("ObjectParts", [("PartsCount", "2")])],
        )
        self.assertEqual(outline(parse(documents.attributes(query, Row()), root)), [])


class ListingTests(SynchronousTestCase):
    """Listings, element by element."""

    def test_buckets(self) -> None:
        """
        Names and dates; what belongs to paging only for those who page.
        """
        owner = ("Owner", [("ID", "1"), ("DisplayName", "A & B")])
        plain = listdocuments.list_buckets(OWNER, [Row()], BucketsQuery(), region="r")
        self.assertEqual(
            outline(parse(plain, "ListAllMyBucketsResult")),
            [owner, ("Buckets", [("Bucket", [("Name", "b"), ("CreationDate", TIME)])])],
        )
        query = BucketsQuery.of({"max-buckets": "1", "prefix": "b"})
        paged = listdocuments.list_buckets(OWNER, [Row()], query, "t", region="r")
        bucket = [("Name", "b"), ("CreationDate", TIME), ("BucketRegion", "r")]
        self.assertEqual(
            outline(parse(paged, "ListAllMyBucketsResult")),
            [owner, ("Buckets", [("Bucket", bucket)]), ("ContinuationToken", "t"), ("Prefix", "b")],
        )
        self.assertEqual(
            outline(parse(listdocuments.list_buckets(OWNER, [], BucketsQuery()), "ListAllMyBucketsResult")),
            [owner, ("Buckets", "")],
        )

    def test_objects(self) -> None:
        """
        Version 1: marker always, owner in every row, no count.
        """
        page = Page([Row("a")], ["b/"], True, Position("b/", below=True))
        query = ListQuery.objects({"delimiter": "/", "max-keys": "2"})
        self.assertEqual(
            outline(parse(listdocuments.list_objects("b", query, page, OWNER), "ListBucketResult")),
            [
                ("Name", "b"),
                ("Prefix", ""),
                ("Marker", ""),
                ("NextMarker", "b/"),
                ("MaxKeys", "2"),
                ("Delimiter", "/"),
                ("IsTruncated", "true"),
                (
                    "Contents",
                    [
                        ("Key", "a"),
                        ("LastModified", TIME),
                        ("ETag", '"e"'),
                        ("Size", "3"),
                        ("StorageClass", "STANDARD"),
                        ("Owner", [("ID", "1"), ("DisplayName", "A & B")]),
                    ],
                ),
                ("CommonPrefixes", [("Prefix", "b/")]),
            ],
        )

    def test_next_marker_needs_a_delimiter(self) -> None:
        """
        Without one the last key is where clients go on.
        """
        page = Page([Row("a")], [], True, Position("a"))
        sent = parse(listdocuments.list_objects("b", ListQuery(), page, OWNER), "ListBucketResult")
        self.assertIsNone(sent.find("NextMarker"))

    def test_objects_v2(self) -> None:
        """
        Version 2: what was asked is repeated, entries are counted, the token goes on.
        """
        page = Page(
            [Row("a", checksum_algorithm="crc32", checksum_kind="FULL_OBJECT")],
            ["b/"],
            True,
            Position("b/", True),
        )
        query = ListQuery.objects_v2(
            {
                "start-after": "A",
                "continuation-token": "",
                "delimiter": "/",
                "encoding-type": "url",
                "prefix": "p q",
            }
        )
        self.assertEqual(
            outline(parse(listdocuments.list_objects_v2("b", query, page, OWNER), "ListBucketResult")),
            [
                ("Name", "b"),
                ("Prefix", "p%20q"),
                ("StartAfter", "A"),
                ("ContinuationToken", ""),
                ("NextContinuationToken", Position("b/", True).token()),
                ("KeyCount", "2"),
                ("MaxKeys", "1000"),
                ("Delimiter", "/"),
                ("EncodingType", "url"),
                ("IsTruncated", "true"),
                (
                    "Contents",
                    [
                        ("Key", "a"),
                        ("LastModified", TIME),
                        ("ETag", '"e"'),
                        ("ChecksumAlgorithm", "CRC32"),
                        ("ChecksumType", "FULL_OBJECT"),
                        ("Size", "3"),
                        ("StorageClass", "STANDARD"),
                    ],
                ),
                ("CommonPrefixes", [("Prefix", "b/")]),
            ],
        )
        owned = listdocuments.list_objects_v2("b", evolve(query, fetch_owner=True), page, OWNER)
        self.assertIn(b"</StorageClass><Owner>", owned)

    def test_an_empty_page(self) -> None:
        """
        Nothing found: the elements that are always there, and no others.
        """
        sent = parse(listdocuments.list_objects_v2("b", ListQuery(), Page(), OWNER), "ListBucketResult")
        names = [name for name, _ in outline(sent)]
        self.assertEqual(names, ["Name", "Prefix", "KeyCount", "MaxKeys", "IsTruncated"])

    def test_versions(self) -> None:
        """
        Versions and markers are interleaved in the order of the listing.
        """
        rows = [
            Row("a"),
            Row("b", version_id="2", is_delete_marker=True),
            Row("b", version_id="1", is_latest=False),
        ]
        query = ListQuery.versions({"key-marker": "A", "version-id-marker": "9"})
        page = Page(rows, [], True, Position("b", id="1"))
        sent = parse(listdocuments.list_versions("b", query, page, OWNER), "ListVersionsResult")
        self.assertEqual([child.tag for child in sent][-3:], ["Version", "DeleteMarker", "Version"])
        self.assertEqual(
            outline(sent)[:-3],
            [
                ("Name", "b"),
                ("Prefix", ""),
                ("KeyMarker", "A"),
                ("VersionIdMarker", "9"),
                ("NextKeyMarker", "b"),
                ("NextVersionIdMarker", "1"),
                ("MaxKeys", "1000"),
                ("IsTruncated", "true"),
            ],
        )
        owner = ("Owner", [("ID", "1"), ("DisplayName", "A & B")])
        named = [("Key", "b"), ("VersionId", "2"), ("IsLatest", "true"), ("LastModified", TIME)]
        self.assertEqual(outline(sent)[-2], ("DeleteMarker", [*named, owner]))
        version = dict(outline(sent)[-1][1])
        self.assertEqual((version["VersionId"], version["IsLatest"], version["Size"]), ("1", "false", "3"))

    def test_uploads(self) -> None:
        """
        Uploads with who began them and when.
        """
        query = ListQuery.uploads({"max-uploads": "1", "prefix": "k"})
        sent = listdocuments.list_uploads("b", query, Page([Row()], [], True, Position("k", id="u")), OWNER)
        person = [("ID", "1"), ("DisplayName", "A & B")]
        self.assertEqual(
            outline(parse(sent, "ListMultipartUploadsResult")),
            [
                ("Bucket", "b"),
                ("KeyMarker", ""),
                ("UploadIdMarker", ""),
                ("NextKeyMarker", "k"),
                ("NextUploadIdMarker", "u"),
                ("Prefix", "k"),
                ("MaxUploads", "1"),
                ("IsTruncated", "true"),
                (
                    "Upload",
                    [
                        ("Key", "k"),
                        ("UploadId", "u"),
                        ("Initiator", person),
                        ("Owner", person),
                        ("StorageClass", "STANDARD"),
                        ("Initiated", TIME),
                    ],
                ),
            ],
        )

    def test_parts(self) -> None:
        """
        One part more than asked for only tells that there is one.
        """
        parts = [Row(number=number, checksum=CRC) for number in (3, 4)]
        sent = listdocuments.list_parts("b", Row(), PartsQuery(limit=1, marker=2), parts, OWNER)
        found = outline(parse(sent, "ListPartsResult"))
        self.assertEqual(
            found[6:],
            [
                ("PartNumberMarker", "2"),
                ("NextPartNumberMarker", "3"),
                ("MaxParts", "1"),
                ("IsTruncated", "true"),
                (
                    "Part",
                    [
                        ("PartNumber", "3"),
                        ("LastModified", TIME),
                        ("ETag", '"e"'),
                        ("Size", "3"),
                        ("ChecksumCRC32", "y/Q5Jg=="),
                    ],
                ),
            ],
        )
        empty = parse(listdocuments.list_parts("b", Row(), PartsQuery(), [], OWNER), "ListPartsResult")
        self.assertEqual(empty.findtext("IsTruncated"), "false")

    @given(TEXT, TEXT, st.booleans())
    def test_names(self, key: str, prefix: str, url: bool) -> None:
        """Any name comes through every listing, escaped or encoded."""
        query = ListQuery(prefix=prefix, delimiter=key, marker=key, start_after=key, url=url)
        page = Page([Row(key)], [prefix], True, Position(key, id="1"))
        shown_key, shown_prefix = (encode_key(key), encode_key(prefix)) if url else (key, prefix)
        for sent, root in [
            (listdocuments.list_objects("b", query, page, OWNER), "ListBucketResult"),
            (listdocuments.list_objects_v2("b", query, page, OWNER), "ListBucketResult"),
            (listdocuments.list_versions("b", query, page, OWNER), "ListVersionsResult"),
            (listdocuments.list_uploads("b", query, page, OWNER), "ListMultipartUploadsResult"),
        ]:
            parsed = parse(sent, root)
            self.assertEqual([element.text or "" for element in parsed.iter("Key")], [shown_key])
            self.assertEqual(parsed.findtext("CommonPrefixes/Prefix"), shown_prefix)
            self.assertEqual(parsed.findtext("Prefix"), shown_prefix)
