"""The pure parts of the S3 backend: addresses, signed chunks, documents."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.dialling import Address
from s3orchestrator.backends.s3_chunks import CHUNK, SignedChunks, framed_length
from s3orchestrator.backends.s3_documents import complete_document, read_document
from s3orchestrator.backends.s3_requests import place_of
from s3orchestrator.errors import IntegrityError
from s3orchestrator.protocol.chunked import ChunkDecoder, SignatureChain
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.keys import SigningKeys

KEY = SigningKeys().key("secret", b"20261121", "us-east-1")
REQUEST = (KEY, b"20261121T021500Z", b"20261121/us-east-1/s3/aws4_request", b"0" * 64)


class PlaceTests(SynchronousTestCase):
    """Where the bucket's name goes."""

    def test_places(self) -> None:
        """
        Into the host where that works, else into the path.
        """
        for url, bucket, path_style, host, prefix in [
            ("https://s3.example.com", "b-1", False, b"b-1.s3.example.com", b""),
            ("https://s3.example.com", "b-1", True, b"s3.example.com", b"/b-1"),
            ("https://s3.example.com", "b.1", False, b"s3.example.com", b"/b.1"),
            ("http://s3.example.com:9000", "b.1", False, b"b.1.s3.example.com:9000", b""),
            ("https://s3.example.com", "Bucket", False, b"s3.example.com", b"/Bucket"),
            ("https://s3.example.com", "b_1", False, b"s3.example.com", b"/b_1"),
            ("http://127.0.0.1:9000", "b", False, b"127.0.0.1:9000", b"/b"),
            ("http://[::1]", "b", False, b"[::1]", b"/b"),
            ("http://localhost", "b", False, b"localhost", b"/b"),
            ("https://example.com/s3/", "b", True, b"example.com", b"/s3/b"),
            ("https://example.com/s3", "b", False, b"b.example.com", b"/s3"),
        ]:
            address, found = place_of(Address.of(url), bucket, path_style=path_style)
            self.assertEqual((address.header, found), (host, prefix))


class SignedChunksTests(SynchronousTestCase):
    """Bodies that are signed while they stream."""

    @given(st.lists(st.binary(max_size=3 * CHUNK), max_size=4))
    def test_verified(self, pieces: list[bytes]) -> None:
        """
        What is framed and signed here is accepted and unframed by the verifying side.
        """
        data = b"".join(pieces)
        chunks = SignedChunks(*REQUEST)
        framed = b"".join(map(chunks.update, pieces)) + chunks.finish()
        self.assertEqual(len(framed), framed_length(len(data)))
        self.assertEqual(chunks.resize(len(data)), len(framed))
        decoder = ChunkDecoder(len(data), SignatureChain(*REQUEST))
        self.assertEqual(decoder.update(framed) + decoder.finish(), data)

    def test_other_seed(self) -> None:
        """
        The chain hangs on the request's signature.
        """
        chunks = SignedChunks(*REQUEST[:3], b"1" * 64)
        framed = chunks.update(b"abc") + chunks.finish()
        decoder = ChunkDecoder(3, SignatureChain(*REQUEST))
        with self.assertRaises((S3Error, IntegrityError)):
            decoder.update(framed)
            decoder.finish()


class DocumentTests(SynchronousTestCase):
    """What services write."""

    def test_read(self) -> None:
        """
        Fields and entries, with or without a declaration, a namespace, comments and white space.
        """
        inside = b"<A>1</A><C><Key>k</Key><Owner><ID>o</ID></Owner></C><C><Key/></C><B> x&amp;y </B>"
        for before, after in [
            (b"<R>", b"</R>"),
            (b'<?xml version="1.0" encoding="UTF-8"?>\n<R xmlns="http://x/">', b"</R>\n"),
            (b'  \n<?xml version="1.0"?><R>', b"</R>"),
            (b"<!-- hello -->\n<R>", b"</R>"),
            (b'<s:R xmlns:s="http://x/">', b"</s:R>"),
        ]:
            found = read_document(before + inside + after)
            assert found is not None, before
            self.assertEqual((found.root, found.fields), ("R", {"A": "1", "B": " x&y "}))
            self.assertEqual(list(found.entries), [("C", {"Key": "k", "Owner": ""}), ("C", {"Key": ""})])

    def test_unreadable(self) -> None:
        """
        What is not XML, or asks for more than reading, is not read.
        """
        for data in [
            b"",
            b"no",
            b"<R>",
            b"<R></Q>",
            b"<R/><R/>",
            b"<!DOCTYPE html><html></html>",
            b'<!DOCTYPE R [<!ENTITY x "y">]><R>&x;</R>',
            b"<R>\xff</R>",
            b"<R>" * 100 + b"</R>" * 100,
        ]:
            self.assertIsNone(read_document(data), data)

    def test_impossible_characters(self) -> None:
        """
        Characters that XML has no place for spoil a name only where names matter.
        """
        for text in (b"&#x1;", b"&#x0B;", b"&#31;", b"\x07"):
            data = b"<R><Key>%s</Key><ETag>e</ETag></R>" % text
            self.assertIsNone(read_document(data, strict=True))
            found = read_document(data)
            assert found is not None
            self.assertEqual(found.fields["ETag"], "e")
        found = read_document(b"<R><Key>&#x9;&#10;&#xD;&#x41;</Key></R>")
        assert found is not None
        self.assertEqual(found.fields["Key"], "\t\n\rA")

    @given(st.binary())
    def test_anything(self, data: bytes) -> None:
        """
        Whatever comes is read or not, and nothing else happens.
        """
        for whole in (data, b"<R>" + data + b"</R>"):
            read_document(whole)
            read_document(whole, strict=True)

    def test_complete(self) -> None:
        """
        ETags cannot break out of the document.
        """
        written = complete_document([(1, "a"), (2, "</ETag>")])
        found = read_document(written)
        assert found is not None
        self.assertEqual(
            [entry for _, entry in found.entries],
            [{"PartNumber": "1", "ETag": '"a"'}, {"PartNumber": "2", "ETag": '"</ETag>"'}],
        )
