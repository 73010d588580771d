"""Uploads: Amazon's examples, every way to cut them into pieces, and every way to spoil them."""

from __future__ import annotations

import io
import itertools
from base64 import b64encode
from hashlib import md5, sha256

from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.protocol.checksums import ALGORITHMS, Checksum
from s3orchestrator.protocol.chunked import ChunkDecoder
from s3orchestrator.protocol.digests import Digests
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.payload import MAX_PUT_SIZE, Payload
from tests.unit.protocol import uploads
from tests.unit.protocol.signing import authorization, request
from tests.unit.protocol.signing import verified as verified_request
from tests.unit.protocol.uploads import (
    SIGNED,
    SIGNED_TRAILER,
    UNSIGNED_TRAILER,
    Chain,
    Passage,
    signed,
    signed_with_trailer,
    trailer_of,
    unsigned,
    value_of,
    verified,
)

DATA = b"Welcome to Amazon S3."
HASH = sha256(DATA).hexdigest().encode()


def headers(**named: bytes) -> dict[bytes, list[bytes]]:
    return {name.replace("_", "-").encode(): [value] for name, value in named.items()}


def chunked(form: bytes, data: bytes = DATA, trailer: str = "", **named: bytes) -> Payload:
    """A payload that says it is framed, `trailer` being the algorithm of its checksum."""
    if trailer:
        named["x_amz_trailer"] = f"x-amz-checksum-{trailer}".encode()
    named.setdefault("x_amz_decoded_content_length", b"%d" % len(data))
    return Payload.of(headers(**named), verified(form), None)


def plain(data: bytes = DATA, form: bytes = b"UNSIGNED-PAYLOAD", **named: bytes) -> Payload:
    return Payload.of(headers(**named), verified(form), len(data))


class PublishedExamples(SynchronousTestCase):
    """The uploads of "Signature Calculations … Transferring Payload in Multiple Chunks"."""

    data = b"a" * 66560
    chunks = (data[:65536], data[65536:])

    def test_signed_chunks(self) -> None:
        """Request and chunks have the signatures that were published."""
        seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
        put = request(
            b"PUT",
            b"/examplebucket/chunkObject.txt",
            host="s3.amazonaws.com",
            x_amz_date="20130524T000000Z",
            x_amz_storage_class="REDUCED_REDUNDANCY",
            x_amz_content_sha256=SIGNED,
            content_encoding="aws-chunked",
            x_amz_decoded_content_length="66560",
            content_length="66824",
            authorization=authorization(
                "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;"
                "x-amz-decoded-content-length;x-amz-storage-class",
                seed,
            ),
        )
        payload = Payload.of(put.headers, verified_request(put), 66824)
        framed = b"".join(
            [
                b"10000;chunk-signature=",
                b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n",
                self.chunks[0],
                b"\r\n400;chunk-signature=",
                b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n",
                self.chunks[1],
                b"\r\n0;chunk-signature=",
                b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n",
            ]
        )
        self.assertEqual(len(framed), 66824)
        self.assertEqual(payload.length, 66560)
        self.assertEqual(Passage(payload.filters()).send(framed), self.data)

    def test_signed_trailer(self) -> None:
        """So have chunks and trailer of the example with a checksum."""
        seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
        put = request(
            b"PUT",
            b"/examplebucket/chunkObject.txt",
            host="s3.amazonaws.com",
            x_amz_date="20130524T000000Z",
            x_amz_storage_class="REDUCED_REDUNDANCY",
            x_amz_content_sha256=SIGNED_TRAILER,
            content_encoding="aws-chunked",
            x_amz_decoded_content_length="66560",
            x_amz_trailer="x-amz-checksum-crc32c",
            content_length="66824",
            authorization=authorization(
                "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
                "x-amz-storage-class;x-amz-trailer",
                seed,
            ),
        )
        payload = Payload.of(put.headers, verified_request(put), None)
        framed = b"".join(
            [
                b"10000;chunk-signature=",
                b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n",
                self.chunks[0],
                b"\r\n400;chunk-signature=",
                b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n",
                self.chunks[1],
                b"\r\n0;chunk-signature=",
                b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n",
                b"x-amz-checksum-crc32c:sOO8/Q==\n\r\n",
                b"x-amz-trailer-signature:",
                b"d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
            ]
        )
        self.assertEqual(Passage(payload.filters()).send(framed), self.data)
        self.assertEqual(payload.digests().checksum, Checksum("crc32c", "sOO8/Q=="))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut `data` at `places`, wherever they are."""
    borders = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(borders)]


chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=5)
places = st.lists(st.integers(0, 2000), max_size=12)


class FramingTests(SynchronousTestCase):
    """What was framed comes out, however it is cut on the way."""

    @given(chunks, places)
    def test_signed(self, sent: list[bytes], where: list[int]) -> None:
        """Signed chunks."""
        data = b"".join(sent)
        passage = Passage(chunked(SIGNED, data).filters())
        self.assertEqual(passage.send(*cut(signed(sent), where)), data)

    @given(chunks, places, st.sampled_from(sorted(ALGORITHMS)))
    def test_signed_with_trailer(self, sent: list[bytes], where: list[int], algorithm: str) -> None:
        """Signed chunks and a signed checksum."""
        data = b"".join(sent)
        payload = chunked(SIGNED_TRAILER, data, algorithm)
        framed = signed_with_trailer(sent, trailer_of(algorithm, data))
        self.assertEqual(Passage(payload.filters()).send(*cut(framed, where)), data)
        self.assertEqual(payload.digests().checksum, Checksum(algorithm, value_of(algorithm, data).decode()))

    @given(st.binary(max_size=300), st.integers(1, 64), places)
    def test_botocore(self, data: bytes, size: int, where: list[int]) -> None:
        """What botocore sends."""
        wrapped = AwsChunkedWrapper(
            io.BytesIO(data),
            checksum_cls=Crc32Checksum,
            checksum_name="x-amz-checksum-crc32",
            chunk_size=size,
        )
        payload = chunked(UNSIGNED_TRAILER, data, "crc32", x_amz_sdk_checksum_algorithm=b"CRC32")
        self.assertEqual(Passage(payload.filters()).send(*cut(wrapped.read(), where)), data)

    def test_byte_by_byte(self) -> None:
        """One byte at a time."""
        framed = signed([DATA, DATA])
        passage = Passage(chunked(SIGNED, DATA * 2).filters())
        self.assertEqual(passage.send(*(framed[i : i + 1] for i in range(len(framed)))), DATA * 2)

    def test_endings(self) -> None:
        """Trailers may end as differently as clients end them."""
        trailer = trailer_of("crc32", DATA)
        for ending in (b"\r\n\r\n", b"\n\n", b"\n", b"\r\n", b"", b"\n\r\n\r\n", b"\n\r\n"):
            framed = b"%x\r\n%s\r\n0\r\n%s%s" % (len(DATA), DATA, trailer, ending)
            passage = Passage(chunked(UNSIGNED_TRAILER, DATA, "crc32").filters())
            self.assertEqual(passage.send(framed), DATA, ending)

    def test_names_of_trailers(self) -> None:
        """Names may be in any case, and values have spaces around them."""
        framed = unsigned([DATA], b"X-Amz-Checksum-CRC32: " + value_of("crc32", DATA) + b" \r\n")
        self.assertEqual(Passage(chunked(UNSIGNED_TRAILER, DATA, "crc32").filters()).send(framed), DATA)

    def test_without_trailers(self) -> None:
        """A form that allows a trailer needs none, and the last empty line may be missing."""
        for framed in (unsigned([DATA]), unsigned([DATA]).removesuffix(b"\r\n")):
            self.assertEqual(Passage(chunked(UNSIGNED_TRAILER).filters()).send(framed), DATA)

    def test_size(self) -> None:
        """The size of a framed body is that of what is inside."""
        payload = chunked(UNSIGNED_TRAILER)
        self.assertEqual(payload.length, len(DATA))
        size = 10_000
        for stage in payload.filters():
            size = stage.resize(size)
        self.assertEqual(size, len(DATA))

    def test_again(self) -> None:
        """A body that nobody has started can be opened once more."""
        payload = chunked(SIGNED)
        payload.filters(want_md5=True)
        self.assertEqual(Passage(payload.filters()).send(signed([DATA])), DATA)
        self.assertEqual(payload.digests(), Digests())


class SpoiltTests(SynchronousTestCase):
    """What is not as it was declared never comes through whole."""

    def assertRefused(self, payload: Payload, framed: bytes, code: str, data: bytes = DATA) -> S3Error:
        """The body is refused, in one piece and in single bytes, and its end is held back."""
        for pieces in ([framed], [framed[i : i + 1] for i in range(len(framed))]):
            passage = Passage(payload.filters())
            error = self.assertRaises(S3Error, passage.send, *pieces)
            self.assertEqual(error.code, code)
            self.assertLess(len(passage.out), max(len(data), 1))
            self.assertFalse(passage.last)
        return error

    @given(st.integers(0, 10_000), st.integers(1, 255), places)
    def test_flipped_in_signed(self, position: int, mask: int, where: list[int]) -> None:
        """
        No byte of a signed body can be changed unnoticed, unless it meant nothing.
        """
        sent = [DATA, b"more", DATA]
        data = b"".join(sent)
        framed = bytearray(signed_with_trailer(sent, trailer_of("crc32", data)))
        framed[position % len(framed)] ^= mask
        passage = Passage(chunked(SIGNED_TRAILER, data, "crc32").filters())
        try:
            whole = passage.send(*cut(bytes(framed), where))
        except S3Error:
            self.assertLess(len(passage.out), len(data))
            self.assertFalse(passage.last)
        else:
            # Letters of sizes and names in the other case, spaces around values, ends of trailer lines.
            self.assertEqual(whole, data)

    @given(st.integers(0, 10_000))
    def test_cut_short(self, length: int) -> None:
        """A signed body that ends too soon is refused."""
        framed = signed_with_trailer([DATA, DATA], trailer_of("crc32", DATA * 2))
        # The line breaks at the very end may be missing.
        short = framed[: length % (len(framed) - 4)]
        passage = Passage(chunked(SIGNED_TRAILER, DATA * 2, "crc32").filters())
        error = self.assertRaises(S3Error, passage.send, short)
        self.assertIn(error.code, ("IncompleteBody", "SignatureDoesNotMatch", "MalformedTrailerError"))
        self.assertFalse(passage.last)

    def test_chunk_signatures(self) -> None:
        """A signature that is wrong, missing, or another chunk's."""
        framed = signed([DATA[:10], DATA[10:]])
        one, two = Chain(), Chain()
        for spoilt in (
            framed.replace(b"Welcome", b"welcome"),
            framed.replace(b";chunk-signature=", b";chunk-signature=0"),
            framed.replace(b";chunk-signature=", b";signature="),
            unsigned([DATA]),
            one.chunk(DATA[:10]) + two.chunk(DATA[10:]) + two.last() + b"\r\n",
            one.chunk(DATA) + b"0\r\n\r\n",
            one.chunk(DATA) + b"0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n",
        ):
            self.assertRefused(chunked(SIGNED), spoilt, "SignatureDoesNotMatch")

    def test_another_request(self) -> None:
        """The chunks of one request are not those of another."""
        payload = Payload.of(
            headers(x_amz_decoded_content_length=b"%d" % len(DATA)), verified(SIGNED, "0" * 64), None
        )
        self.assertRefused(payload, signed([DATA]), "SignatureDoesNotMatch")

    def test_trailer_signatures(self) -> None:
        """A signed trailer must be signed, and nothing may follow its signature."""
        framed = signed_with_trailer([DATA], trailer_of("crc32", DATA))
        without = framed.partition(b"x-amz-trailer-signature")[0] + b"\r\n"
        other = framed.replace(trailer_of("crc32", DATA), b"x-amz-checksum-crc32:AAAAAA==")
        for spoilt in (without, other, framed.replace(b"trailer-signature:", b"trailer-signature:0")):
            self.assertRefused(chunked(SIGNED_TRAILER, DATA, "crc32"), spoilt, "SignatureDoesNotMatch")
        before, trailer, after = framed.partition(trailer_of("crc32", DATA) + b"\r\n")
        self.assertRefused(
            chunked(SIGNED_TRAILER, DATA, "crc32"),
            before + after.removesuffix(b"\r\n") + trailer,
            "MalformedTrailerError",
        )
        for spoilt in (framed + b"x-amz-meta-a:b\r\n", framed.replace(b"-signature:", b"-signatur:")):
            error = self.assertRaises(
                S3Error, Passage(chunked(SIGNED_TRAILER, DATA, "crc32").filters()).send, spoilt
            )
            self.assertIn(error.code, ("MalformedTrailerError", "SignatureDoesNotMatch"))

    def test_framing(self) -> None:
        """What is no framing is refused as such."""
        for spoilt in (
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"0x15\r\n",
            b" 15\r\n",
            b"15 \r\n",
            b"15\n" + DATA + b"\r\n0\r\n\r\n",
            b"15\r\n" + DATA + b"0\r\n\r\n",
            b"15\r\n" + DATA + b"\n0\r\n\r\n",
            b"15\r\n" + DATA + b"\r\r0\r\n\r\n",
            b"15\r\n" + DATA + b"xx0\r\n\r\n",
            b"0" * 17 + b"\r\n\r\n",
            b"15;" + b"x" * 256 + b"\r\n",
            b"1" * 300,
        ):
            self.assertRefused(chunked(UNSIGNED_TRAILER), spoilt, "InvalidRequest")

    def test_decoded_length(self) -> None:
        """The chunks must add up to the length in the header, and the body must have its end."""
        for spoilt in (
            unsigned([DATA, b"x"]),
            unsigned([DATA[:-1]]),
            unsigned([]),
            b"ffffffffffffffff\r\n",
            unsigned([DATA]).partition(b"0\r\n")[0],
            b"15\r\n" + DATA[:-1],
            b"",
        ):
            self.assertRefused(chunked(UNSIGNED_TRAILER), spoilt, "IncompleteBody")

    def test_decoder_alone(self) -> None:
        """What takes the framing away counts for itself."""
        for spoilt in (unsigned([DATA, b"x"]), unsigned([DATA[:-1]])):
            error = self.assertRaises(S3Error, ChunkDecoder(len(DATA)).update, spoilt)
            self.assertEqual(error.code, "IncompleteBody")

    def test_trailers(self) -> None:
        """Trailers come as they were announced: no other, no fewer, not twice, not endlessly."""
        right = trailer_of("crc32", DATA) + b"\r\n"
        for announced, sent in (
            ("crc32", b""),
            ("crc32", trailer_of("crc32c", DATA) + b"\r\n"),
            ("crc32", right + trailer_of("crc32c", DATA) + b"\r\n"),
            ("crc32", right + right),
            ("crc32", right + b"nonsense\r\n"),
            ("crc32", right + b"x-amz-trailer-signature:" + b"0" * 64 + b"\r\n"),
            ("", right),
            ("crc32", right + b"\r\n" * 3000),
        ):
            self.assertRefused(
                chunked(UNSIGNED_TRAILER, DATA, announced), unsigned([DATA], sent), "MalformedTrailerError"
            )

    def test_trailers_need_their_form(self) -> None:
        """Signed chunks without a trailer have none."""
        framed = signed([DATA]).removesuffix(b"\r\n") + trailer_of("crc32", DATA) + b"\r\n\r\n"
        self.assertRefused(chunked(SIGNED), framed, "MalformedTrailerError")

    def test_checksum_in_trailer(self) -> None:
        """A wrong checksum is a BadDigest, one that is none is no request."""
        for value, code, words in (
            (b"AAAAAA==", "BadDigest", "The CRC32 you specified did not match"),
            (b"AAAA", "InvalidRequest", "Value for x-amz-checksum-crc32 trailing header is invalid."),
            (b"", "InvalidRequest", "trailing header is invalid"),
            (value_of("crc32", DATA) + b"-1", "InvalidRequest", "trailing header is invalid"),
        ):
            error = self.assertRefused(
                chunked(UNSIGNED_TRAILER, DATA, "crc32"),
                unsigned([DATA], b"x-amz-checksum-crc32:" + value + b"\r\n"),
                code,
            )
            self.assertIn(words, str(error.message))


class PlainTests(SynchronousTestCase):
    """Bodies without framing."""

    def test_nothing_to_do(self) -> None:
        """A body nobody vouches for goes through untouched."""
        payload = plain()
        self.assertEqual((payload.filters(), payload.length), ([], len(DATA)))
        self.assertEqual(payload.digests(), Digests())

    def test_anonymous(self) -> None:
        """A request that was not signed may still tell its hash."""
        payload = Payload.of(headers(x_amz_content_sha256=HASH), None, len(DATA))
        error = self.assertRaises(S3Error, Passage(payload.filters()).send, DATA[::-1])
        self.assertEqual(error.code, "XAmzContentSHA256Mismatch")
        self.assertEqual(Payload.of({}, None, 5).filters(), [])

    @given(st.binary(max_size=200), places)
    def test_declared(self, data: bytes, where: list[int]) -> None:
        """Declared digests that are right let everything through, in any pieces."""
        payload = plain(
            data,
            sha256(data).hexdigest().encode(),
            content_md5=b64encode(md5(data).digest()),
            x_amz_checksum_crc32c=value_of("crc32c", data),
        )
        self.assertEqual(Passage(payload.filters()).send(*cut(data, where)), data)
        self.assertEqual(
            payload.digests(),
            Digests(
                md5(data).hexdigest(),
                sha256(data).hexdigest(),
                Checksum("crc32c", value_of("crc32c", data).decode()),
            ),
        )

    def test_upper_case_hash(self) -> None:
        """The hash may be written in capitals."""
        self.assertEqual(Passage(plain(form=HASH.upper()).filters()).send(DATA), DATA)

    @given(st.integers(0, len(DATA) - 1), st.integers(1, 255), places)
    def test_flipped(self, position: int, mask: int, where: list[int]) -> None:
        """Any digest finds any changed byte, and the last byte is held back."""
        flipped = bytearray(DATA)
        flipped[position] ^= mask
        for payload, code in (
            (plain(form=HASH), "XAmzContentSHA256Mismatch"),
            (plain(content_md5=b64encode(md5(DATA).digest())), "BadDigest"),
            *(
                (plain(**{f"x_amz_checksum_{name}": value_of(name, DATA)}), "BadDigest")
                for name in ALGORITHMS
            ),
        ):
            passage = Passage(payload.filters())
            error = self.assertRaises(S3Error, passage.send, *cut(bytes(flipped), where))
            self.assertEqual(error.code, code)
            self.assertLess(len(passage.out), len(DATA))
            self.assertFalse(passage.last)

    def test_what_mismatches_say(self) -> None:
        """A mismatch shows both digests."""
        other = b"x" * len(DATA)
        error = self.assertRaises(S3Error, Passage(plain(form=HASH).filters()).send, other)
        self.assertEqual(
            error.details,
            {
                "ClientComputedContentSHA256": HASH.decode(),
                "S3ComputedContentSHA256": sha256(other).hexdigest(),
            },
        )
        told = b64encode(md5(DATA).digest())
        error = self.assertRaises(S3Error, Passage(plain(content_md5=told).filters()).send, other)
        self.assertEqual(
            error.details,
            {
                "ExpectedDigest": told.decode(),
                "CalculatedDigest": b64encode(md5(other).digest()).decode(),
            },
        )

    def test_length(self) -> None:
        """More or fewer bytes than were declared are refused, and those too many do not go on."""
        for sent in (DATA + b"x", DATA[:-1], b""):
            passage = Passage(plain(form=HASH).filters())
            error = self.assertRaises(S3Error, passage.send, *cut(sent, [5, 21]))
            self.assertEqual(error.code, "IncompleteBody")
            self.assertLess(len(passage.out), len(DATA))

    def test_wanted(self) -> None:
        """What the server wants for itself is computed besides what was declared."""
        payload = plain(x_amz_checksum_crc32=value_of("crc32", DATA))
        Passage(payload.filters(want_md5=True, want_sha256=True, want="crc64nvme")).send(DATA)
        found = payload.digests()
        self.assertEqual((found.md5, found.sha256), (md5(DATA).hexdigest(), HASH.decode()))
        self.assertEqual(found.checksum, Checksum("crc32", value_of("crc32", DATA).decode()))
        self.assertEqual(
            payload.computed("crc64nvme"), Checksum("crc64nvme", value_of("crc64nvme", DATA).decode())
        )

    def test_wanted_alone(self) -> None:
        """Without a declared checksum the wanted one is the object's."""
        payload = plain()
        Passage(payload.filters(want="crc64nvme")).send(DATA)
        self.assertEqual(
            payload.digests(),
            Digests(checksum=Checksum("crc64nvme", value_of("crc64nvme", DATA).decode())),
        )

    def test_nothing_before_the_end(self) -> None:
        """Before everything has matched there are no digests to believe."""
        payload = plain(form=HASH)
        [stage] = payload.filters()
        stage.update(DATA[::-1])
        self.assertRaises(S3Error, stage.finish)
        self.assertEqual(Passage(payload.filters()).send(DATA), DATA)


class HeaderTests(SynchronousTestCase):
    """What is wrong with an upload before its body has come."""

    def assertRefused(
        self, code: str, form: bytes, length: int | None, words: str = "", **named: bytes
    ) -> S3Error:
        error = self.assertRaises(S3Error, Payload.of, headers(**named), verified(form), length)
        self.assertEqual(error.code, code, named)
        self.assertIn(words, error.message or "")
        return error

    def test_lengths(self) -> None:
        """A length is compulsory, where it belongs to the form, and must be one."""
        self.assertRefused("MissingContentLength", b"UNSIGNED-PAYLOAD", None)
        for form in (SIGNED, SIGNED_TRAILER, UNSIGNED_TRAILER):
            self.assertRefused("MissingContentLength", form, 100)
            for text in (b"", b"-1", b"1.5", b"ten", b"9" * 20):
                error = self.assertRefused("InvalidArgument", form, None, x_amz_decoded_content_length=text)
                self.assertEqual(error.details["ArgumentName"], "x-amz-decoded-content-length")
            self.assertRefused("IncompleteBody", form, 9, x_amz_decoded_content_length=b"10")

    def test_too_large(self) -> None:
        """One request carries five GiB at most, framed or not."""
        self.assertEqual(plain().length, len(DATA))
        expected = {"ProposedSize": MAX_PUT_SIZE + 1, "MaxSizeAllowed": 5368709120}
        error = self.assertRefused("EntityTooLarge", b"UNSIGNED-PAYLOAD", MAX_PUT_SIZE + 1)
        self.assertEqual(error.details, expected)
        error = self.assertRefused(
            "EntityTooLarge", SIGNED, None, x_amz_decoded_content_length=b"%d" % (MAX_PUT_SIZE + 1)
        )
        self.assertEqual(error.details, expected)
        Payload.of({}, None, MAX_PUT_SIZE)

    def test_content_md5(self) -> None:
        """Content-MD5 is base64 of sixteen bytes."""
        for text in (b"", b"x", b"AAAA", b64encode(b"x" * 15), b64encode(b"x" * 16)[:-1], b"\xff" * 24):
            self.assertRefused("InvalidDigest", b"UNSIGNED-PAYLOAD", 1, content_md5=text)

    def test_checksums(self) -> None:
        """One checksum, of an algorithm there is, in one place."""
        for form, words, named in (
            (
                b"UNSIGNED-PAYLOAD",
                "x-amz-checksum-crc32 header is invalid",
                {"x_amz_checksum_crc32": b"AAAA"},
            ),
            (b"UNSIGNED-PAYLOAD", "header is invalid", {"x_amz_checksum_crc32": b"AAAAAA==-2"}),
            (b"UNSIGNED-PAYLOAD", "must be one of", {"x_amz_checksum_xxhash3": b"AAAAAA=="}),
            (
                b"UNSIGNED-PAYLOAD",
                "Expecting a single",
                {"x_amz_checksum_crc32": b"AAAAAA==", "x_amz_checksum_crc32c": b"AAAAAA=="},
            ),
            (
                UNSIGNED_TRAILER,
                "Expecting a single",
                {"x_amz_checksum_crc32": b"AAAAAA==", "x_amz_trailer": b"x-amz-checksum-crc32"},
            ),
            (
                UNSIGNED_TRAILER,
                "Expecting a single",
                {"x_amz_trailer": b"x-amz-checksum-crc32, x-amz-checksum-sha1"},
            ),
            (
                UNSIGNED_TRAILER,
                "The value specified in the x-amz-trailer header is not supported",
                {"x_amz_trailer": b"content-md5"},
            ),
            (b"UNSIGNED-PAYLOAD", "x-amz-trailer", {"x_amz_trailer": b"x-amz-checksum-crc32"}),
            (SIGNED, "x-amz-trailer", {"x_amz_trailer": b"x-amz-checksum-crc32"}),
        ):
            self.assertRefused("InvalidRequest", form, 100, words, **named, x_amz_decoded_content_length=b"1")

    def test_sdk_algorithm(self) -> None:
        """An algorithm that is named must be followed by its value."""
        named = {"x_amz_sdk_checksum_algorithm": b"CRC32"}
        self.assertRefused("InvalidRequest", HASH, 1, "no corresponding", **named)
        self.assertRefused(
            "InvalidRequest", HASH, 1, "header is invalid", **named, x_amz_checksum_crc32c=b"AAAAAA=="
        )
        self.assertRefused("InvalidRequest", HASH, 1, "must be one of", x_amz_sdk_checksum_algorithm=b"ROT13")
        self.assertEqual(plain(**named, x_amz_checksum_crc32=b"AAAAAA==").algorithm, "crc32")
        self.assertEqual(chunked(UNSIGNED_TRAILER, trailer="crc32", **named).algorithm, "crc32")

    def test_forms(self) -> None:
        """A form we don't know, and signed chunks in a request that is not signed."""
        for value, code in (
            (b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "NotImplemented"),
            (b"nonsense", "InvalidArgument"),
            (SIGNED, "InvalidRequest"),
        ):
            error = self.assertRaises(S3Error, Payload.of, headers(x_amz_content_sha256=value), None, 1)
            self.assertEqual(error.code, code)

    def test_unsigned_chunks_need_no_signature(self) -> None:
        """A request without a signature may have unsigned chunks."""
        named = headers(x_amz_content_sha256=UNSIGNED_TRAILER, x_amz_decoded_content_length=b"21")
        payload = Payload.of(named, None, None)
        self.assertEqual(Passage(payload.filters()).send(uploads.unsigned([DATA])), DATA)
