"""The benchmark's backend, spoken to over a socket as a real one would be."""

from __future__ import annotations

import http.client
import tempfile
from contextlib import closing
from hashlib import md5
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.testing.bench.servers import Server, sink


class SinkTests(SynchronousTestCase):
    server: Server
    directory: tempfile.TemporaryDirectory[str]

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.TemporaryDirectory()
        cls.server = sink(Path(cls.directory.name)).start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.stop()
        cls.directory.cleanup()

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)) as connection:
            connection.request(method, path, body, fields)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def test_small_put(self) -> None:
        """A small object's ETag is the MD5 of what was sent."""
        status, headers, _ = self.ask("PUT", "/b/small", b"hello")
        self.assertEqual((status, headers["etag"]), (200, f'"{md5(b"hello").hexdigest()}"'))

    def test_head(self) -> None:
        """What an object was described as is told again, with its size."""
        self.ask("PUT", "/b/described", b"hello", x_amz_meta_s3o="stamp", content_type="text/plain")
        status, headers, body = self.ask("HEAD", "/b/described")
        self.assertEqual((status, body), (200, b""))
        self.assertEqual(
            (headers["content-length"], headers["x-amz-meta-s3o"], headers["content-type"]),
            ("5", "stamp", "text/plain"),
        )

    def test_large(self) -> None:
        """What is too large to be looked at has an ETag of its own, and as many bytes as were sent."""
        size = (64 << 20) + 12345
        _, first, _ = self.ask("PUT", "/b/large", bytes(size))
        _, second, _ = self.ask("PUT", "/b/large", bytes(size))
        self.assertNotEqual(first["etag"], second["etag"])
        status, headers, body = self.ask("GET", "/b/large")
        self.assertEqual((status, len(body), headers["etag"]), (200, size, second["etag"]))

    def test_range(self) -> None:
        """A range is answered with its place in the whole; one that starts too late is refused."""
        self.ask("PUT", "/b/range", bytes(100))
        status, headers, body = self.ask("GET", "/b/range", range="bytes=10-19")
        self.assertEqual((status, headers["content-range"], len(body)), (206, "bytes 10-19/100", 10))
        status, headers, body = self.ask("GET", "/b/range", range="bytes=90-")
        self.assertEqual((status, headers["content-range"], len(body)), (206, "bytes 90-99/100", 10))
        self.assertEqual(self.ask("GET", "/b/range", range="bytes=100-")[0], 416)

    def test_conditions(self) -> None:
        """Names are not given twice to who asks for that, and reads insist on their ETag."""
        _, headers, _ = self.ask("PUT", "/b/once", b"1", if_none_match="*")
        self.assertEqual(self.ask("PUT", "/b/once", b"2", if_none_match="*")[0], 412)
        self.assertEqual(self.ask("GET", "/b/once", if_match=headers["etag"])[0], 200)
        self.assertEqual(self.ask("GET", "/b/once", if_match='"another"')[0], 412)

    def test_not_modified(self) -> None:
        """Who has the object already is told so."""
        _, headers, _ = self.ask("PUT", "/b/known", b"1")
        self.assertEqual(self.ask("GET", "/b/known", if_none_match=headers["etag"])[0], 304)
        self.assertEqual(self.ask("GET", "/b/known", if_none_match='"another"')[0], 200)

    def test_copy(self) -> None:
        """A copy is as long as its source, is described anew, and made on conditions."""
        _, headers, _ = self.ask("PUT", "/b/source", b"hello")
        etag = headers["etag"]
        copy = {"x_amz_copy_source": "/b/source", "x_amz_meta_s3o": "stamp"}
        status, _, body = self.ask("PUT", "/b/target", b"", x_amz_copy_source_if_match=etag, **copy)
        self.assertEqual(status, 200)
        self.assertIn(etag.strip('"').encode(), body)
        _, headers, body = self.ask("GET", "/b/target")
        self.assertEqual((headers["x-amz-meta-s3o"], len(body)), ("stamp", 5))
        self.assertEqual(self.ask("PUT", "/b/target", b"", if_none_match="*", **copy)[0], 412)
        self.assertEqual(self.ask("PUT", "/b/t", b"", x_amz_copy_source_if_match='"x"', **copy)[0], 412)
        self.assertEqual(self.ask("PUT", "/b/t", b"", x_amz_copy_source="/b/none")[0], 404)

    def begin(self, name: str) -> str:
        _, _, body = self.ask("POST", f"{name}?uploads")
        return body.partition(b"<UploadId>")[2].partition(b"<")[0].decode()

    def test_multipart(self) -> None:
        """Parts make an object whose ETag is made of theirs."""
        upload = self.begin("/b/parts")
        for number, part in ((2, b"world"), (1, b"hello ")):
            self.ask("PUT", f"/b/parts?partNumber={number}&uploadId={upload}", part)
        status, _, _ = self.ask("POST", f"/b/parts?uploadId={upload}", b"<CompleteMultipartUpload/>")
        _, headers, _ = self.ask("HEAD", "/b/parts")
        digest = md5(md5(b"hello ").digest() + md5(b"world").digest()).hexdigest()
        self.assertEqual((status, headers["content-length"], headers["etag"]), (200, "11", f'"{digest}-2"'))
        self.assertEqual(self.ask("POST", f"/b/parts?uploadId={upload}", b"")[0], 404)

    def test_abort(self) -> None:
        """What was given up cannot be completed."""
        upload = self.begin("/b/aborted")
        self.assertEqual(self.ask("DELETE", f"/b/aborted?uploadId={upload}")[0], 204)
        self.assertEqual(self.ask("POST", f"/b/aborted?uploadId={upload}", b"")[0], 404)

    def test_delete(self) -> None:
        """What was deleted is gone, and deleting what is gone is no mistake."""
        self.ask("PUT", "/b/gone", b"1")
        self.assertEqual(self.ask("DELETE", "/b/gone")[0], 204)
        self.assertEqual(self.ask("DELETE", "/b/gone")[0], 204)
        self.assertEqual(self.ask("GET", "/b/gone")[0], 404)

    def test_list(self) -> None:
        """Names are listed in order, in pages, under their bucket only."""
        for name in ("b", "a&b", "c"):
            self.ask("PUT", f"/listed/{name.replace('&', '%26')}", b"1")
        _, _, body = self.ask("GET", "/listed?list-type=2&max-keys=2")
        self.assertIn(b"<IsTruncated>true</IsTruncated>", body)
        self.assertLess(body.index(b"<Key>a&amp;b</Key>"), body.index(b"<Key>b</Key>"))
        _, _, body = self.ask("GET", "/listed?list-type=2&start-after=b")
        self.assertEqual(body.count(b"<Key>"), 1)
        self.assertIn(b"<IsTruncated>false</IsTruncated>", body)

    def test_expect(self) -> None:
        """A client that waits to be asked for its body is asked."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)) as connection:
            connection.putrequest("PUT", "/b/expected")
            connection.putheader("Content-Length", "2000000")
            connection.putheader("Expect", "100-continue")
            connection.endheaders()
            assert connection.sock is not None
            self.assertEqual(connection.sock.recv(100), b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.send(bytes(2000000))
            self.assertEqual(connection.getresponse().status, 200)

    def test_not_implemented(self) -> None:
        """What it cannot do it says, so that nothing is measured that never happened."""
        self.assertEqual(self.ask("POST", "/b/k?delete")[0], 501)
        self.assertEqual(self.ask("PUT", "/b/k?tagging", b"")[0], 501)
