"""How often what is kept is hashed."""

from __future__ import annotations

from hashlib import md5, sha256
from zlib import crc32

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.bodies.sources import BytesBody
from s3orchestrator.concurrency import start
from s3orchestrator.interfaces import Traits
from s3orchestrator.objects.incoming import Incoming
from s3orchestrator.objects.sending import HASHED_ANYWAY, Sending
from s3orchestrator.protocol.checksums import Checksum
from s3orchestrator.protocol.forms import PayloadForm
from s3orchestrator.protocol.payload import Payload

KEEP = 1 << 20
HASHES, HASHES_NOT = Traits(md5_etags=True), Traits(md5_etags=False)


class KeptTests(SynchronousTestCase):
    def sending(self, size: int) -> Sending:
        self.data = bytes(range(256)) * (size // 256)
        return Sending(Incoming(BytesBody(self.data), Payload(PayloadForm.UNSIGNED, len(self.data))), KEEP)

    def offer(self, sending: Sending, traits: Traits) -> None:
        body = self.successResultOf(start(sending.offer(traits)))
        assert isinstance(body, BytesBody)
        self.assertEqual(body.data, self.data)

    def test_small(self) -> None:
        """
        What is small is hashed, whoever gets it.
        """
        sending = self.sending(HASHED_ANYWAY)
        self.offer(sending, HASHES)
        self.assertEqual(sending.digests().md5, md5(self.data).hexdigest())

    def test_larger(self) -> None:
        """
        What is larger is hashed once there is a backend whose ETag is no MD5, be it the second.
        """
        sending = self.sending(2 * HASHED_ANYWAY)
        self.offer(sending, HASHES)
        self.assertIsNone(sending.digests().md5)
        self.offer(sending, HASHES_NOT)
        self.assertEqual(sending.digests().md5, md5(self.data).hexdigest())

    def test_known(self) -> None:
        """
        What was computed to verify the body goes along with it, so that a backend need not do it again.
        """
        sha, crc = sha256(b"abc"), Checksum.of_digest("crc32", crc32(b"abc").to_bytes(4, "big"))
        declared = Payload(PayloadForm.HASHED, 3, hash=sha.hexdigest().encode(), declared=crc)
        body = self.successResultOf(start(Sending(Incoming(BytesBody(b"abc"), declared), KEEP).offer(HASHES)))
        assert isinstance(body, BytesBody)
        self.assertEqual((body.sha256, body.crc32), (sha.hexdigest(), crc.value))

    def test_not_known(self) -> None:
        """
        What nobody declared is not there.
        """
        body = self.successResultOf(start(self.sending(256).offer(HASHES)))
        assert isinstance(body, BytesBody)
        self.assertEqual((body.sha256, body.crc32), (None, None))
