"""What may follow an answer on the same connection, and what every answer has."""

from __future__ import annotations

from tests.integration.asking import Wire
from tests.integration.s3_server import ServerCase


class ConnectionTests(ServerCase):
    """What may follow an answer on the same connection."""

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", b"kept"))

    def test_keep_alive(self) -> None:
        """One connection serves many requests, refused ones among them."""
        with Wire(self.server.address) as wire:
            for number in range(5):
                self.assertSucceeded(self.alice.ask("PUT", f"/photos/{number}", b"x", wire=wire))
                self.assertRefused(self.alice.ask("GET", "/photos/none", wire=wire), 404, "NoSuchKey")
                self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, b"kept")
                self.assertSucceeded(self.alice.ask("DELETE", f"/photos/{number}", wire=wire), 204)

    def test_pipelining(self) -> None:
        """Requests sent ahead are answered one by one, in order."""
        ask = self.alice.request
        with Wire(self.server.address) as wire:
            wire.send(
                ask("PUT", "/photos/p", b"first") + b"first",
                ask("GET", "/photos/p"),
                ask("HEAD", "/photos/p"),
                ask("PUT", "/photos/p", b"second!") + b"second!",
                ask("GET", "/photos/p"),
                ask("DELETE", "/photos/p"),
                ask("GET", "/photos/p"),
            )
            found = [wire.answer(method) for method in ["PUT", "GET", "HEAD", "PUT", "GET", "DELETE", "GET"]]
        self.assertEqual([one.status for one in found], [200, 200, 200, 200, 200, 204, 404])
        self.assertEqual([found[1].body, found[4].body], [b"first", b"second!"])

    def test_hundred_pipelined(self) -> None:
        """Many requests in one packet do not trip over each other."""
        with Wire(self.server.address) as wire:
            wire.send(100 * self.alice.request("GET", "/photos/a"))
            self.assertEqual([wire.answer().body for _ in range(100)], 100 * [b"kept"])

    def test_small_refused_upload(self) -> None:
        """The body of a refused upload is dropped, and never taken for a request."""
        hidden = b"DELETE /photos/a HTTP/1.1\r\nHost: x\r\n\r\n"
        stranger = self.server.caller("alice", "wrong")
        with Wire(self.server.address) as wire:
            answer = stranger.ask("PUT", "/photos/b", hidden, wire=wire)
            self.assertRefused(answer, 403, "SignatureDoesNotMatch")
            self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, b"kept")

    def test_large_refused_upload(self) -> None:
        """A large refused upload is answered without being read; the connection closes."""
        stranger = self.server.caller("alice", "wrong")
        with Wire(self.server.address) as wire:
            wire.send(stranger.request("PUT", "/photos/b", headers={"content-length": "50000000"}))
            answer = wire.answer()
            self.assertRefused(answer, 403, "SignatureDoesNotMatch")
            self.assertEqual(answer.header("connection"), "close")
            self.assertTrue(wire.is_closed())

    def test_answer_despite_sending(self) -> None:
        """A client that sends its large body regardless still hears why it was refused."""
        stranger = self.server.caller("alice", "wrong")
        with Wire(self.server.address) as wire:
            wire.send(stranger.request("PUT", "/photos/b", headers={"content-length": "2000000"}))
            wire.send(200_000 * b"x")
            self.assertRefused(wire.answer(), 403, "SignatureDoesNotMatch")

    def test_connection_close(self) -> None:
        """A client that wants the connection closed gets it closed."""
        with Wire(self.server.address) as wire:
            answer = self.alice.ask("GET", "/photos/a", headers={"connection": "close"}, wire=wire)
            self.assertEqual((answer.body, answer.header("connection")), (b"kept", "close"))
            self.assertTrue(wire.is_closed())

    def test_body_of_a_read(self) -> None:
        """A body that a GET has no use for is dropped."""
        with Wire(self.server.address) as wire:
            self.assertEqual(self.alice.ask("GET", "/photos/a", b"for nothing", wire=wire).body, b"kept")
            self.assertEqual(self.alice.ask("GET", "/photos/a", wire=wire).body, b"kept")

    def test_request_ids(self) -> None:
        """Each answer has an id; the client's own is used if it is harmless."""
        ids = {self.alice.ask("HEAD", "/photos").header("x-amz-request-id") for _ in range(5)}
        self.assertEqual(len(ids), 5)
        for given, adopted in (
            ("0123456789ABCDEF", True),
            ("4f2a" * 8, True),
            ("not-hexadecimal", False),
            (65 * "a", False),
            ("", False),
        ):
            with self.subTest(given):
                answer = self.alice.ask("GET", "/photos/none", headers={"x-request-id": given})
                self.assertRefused(answer, 404, "NoSuchKey")
                self.assertEqual(answer.header("x-amz-request-id") == given, adopted)
                self.assertTrue(answer.header("x-amz-id-2"))

    def test_headers_of_every_answer(self) -> None:
        """Date and Server are there, successes and errors alike; 204 has neither body nor length."""
        for method, target, status in (
            ("GET", "/photos/a", 200),
            ("GET", "/photos/none", 404),
            ("HEAD", "/photos/a", 200),
            ("DELETE", "/photos/none", 204),
            ("GET", "/photos/%zz", 400),
        ):
            with self.subTest(f"{method} {target}"):
                answer = self.alice.ask(method, target)
                self.assertEqual(answer.status, status)
                self.assertRegex(answer.header("date") or "", r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")
                self.assertTrue(answer.header("server"))
                self.assertEqual(answer.header("content-length") is None, status == 204)
                self.assertIsNone(answer.header("transfer-encoding"))
