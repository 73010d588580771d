"""The admin API of a daemon on real sockets: honest operators, clumsy ones, and hostile ones."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Any

from tests.integration.administering import TOKEN, AdminCase
from tests.integration.disks import BUCKET
from tests.running import wait_until

BASE = "/admin/api"


class ApiTests(AdminCase):
    def audited(self) -> list[Any]:
        """What the audit trail says of the admin API so far."""
        return [json.loads(line) for line in self.daemon.logged() if '"admin.' in line]

    def exchange(self, sent: bytes) -> bytes:
        """Send exactly these bytes on a connection of their own; returns what comes until it ends."""
        with closing(socket.create_connection(("127.0.0.1", self.daemon.port), timeout=30)) as client:
            client.sendall(sent)
            received = b""
            while piece := client.recv(65536):
                received += piece
            return received

    def test_clumsy_and_hostile(self) -> None:
        """Whatever is sent is answered in JSON, and the daemon serves on."""
        self.put("a/b")
        for path, method, body, status in (
            ("/status", "GET", None, 200),
            ("/object-locations?key=photos%2Fa%2Fb", "GET", None, 200),
            ("/object-locations?key=photos/a/b", "GET", None, 200),
            ("/object-locations?key=photos%2Fa%252Fb", "GET", None, 404),
            ("/object-locations?key=%FF", "GET", None, 400),
            ("/object-locations", "GET", None, 400),
            ("/workers/clean%2Fup/run", "POST", None, 404),
            ("/workers/%2e%2e/run", "POST", None, 404),
            ("/workers/../status", "GET", None, 404),
            ("/status/", "GET", None, 404),
            ("//status", "GET", None, 404),
            ("/%00", "GET", None, 404),
            ("/status", "POST", b"{}", 405),
            ("/status?x=1", "GET", None, 400),
            ("/fsck", "POST", b"{", 400),
            ("/fsck", "POST", b"[" * 500_000, 400),
            ("/fsck", "POST", b'{"deep": "yes"}', 400),
            ("/fsck", "POST", b" " * (1 << 20) + b"{}", 413),
            ("/log-level", "PUT", b'{"level": "loud"}', 400),
            ("/cleanup-queue?limit=99999999999999999999", "GET", None, 400),
            ("/cleanup-queue?after=dead.1", "GET", None, 400),
            ("/cleanup-queue/9223372036854775808/retry", "POST", None, 400),
            ("/usage-flush", "POST", None, 200),
            ("/" + "x" * 4000, "GET", None, 404),
        ):
            answered, document = self.ask(BASE + path, method, body)
            self.assertEqual(answered, status, (path, document))
            if status >= 300:
                self.assertIsInstance(document["error"], str)
        self.assertEqual(self.ask(f"{BASE}/status")[0], 200)

    def test_raw(self) -> None:
        """Two tokens, a body that stops, a body nobody asked for: none of it does harm."""
        head = (
            b"%b /admin/api/%b HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Admin-Token: " + TOKEN.encode()
        )
        answered = self.exchange(head % (b"GET", b"status") + b"\r\nX-Admin-Token: other\r\n\r\n")
        self.assertTrue(answered.startswith(b"HTTP/1.1 401 "), answered)
        answered = self.exchange(
            head % (b"POST", b"fsck") + b"\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        )
        self.assertTrue(answered.startswith(b"HTTP/1.1 202 "), answered)
        answered = self.exchange(head % (b"GET", b"log-level") + b"\r\nContent-Length: 5\r\n\r\nhello")
        self.assertTrue(answered.endswith(b'{"level": "info"}\n'), answered)
        with closing(socket.create_connection(("127.0.0.1", self.daemon.port), timeout=30)) as client:
            client.sendall(head % (b"PUT", b"log-level") + b"\r\nContent-Length: 500\r\n\r\n{")
        self.assertEqual(self.ask(f"{BASE}/log-level"), (200, {"level": "info"}))

    def test_throttled_and_recorded(self) -> None:
        """Wrong tokens lock the address out, S3 and health excepted; the log has all of it, but no token."""
        self.assertEqual(self.ask(f"{BASE}/status", token=None), (401, {"error": "unauthorized"}))
        for _ in range(4):
            self.assertEqual(self.ask(f"{BASE}/status", token="guess-the-token")[0], 401)
        status, document = self.ask(f"{BASE}/status")
        self.assertEqual(status, 429)
        self.assertIn("too many wrong tokens", document["error"])
        self.assertEqual(self.answer("/health").status, 200)
        self.put("k")
        wait_until(lambda: len(self.audited()) >= 6, "lines of the audit trail")
        events = self.audited()
        self.assertEqual([event["status"] for event in events], [401] * 5 + [429])
        self.assertEqual({event["remote"] for event in events}, {"127.0.0.1"})
        for token in (TOKEN, "guess-the-token"):
            self.assertNotIn(token, self.daemon.log.read_text())


class CheckTests(AdminCase):
    def test_check_while_serving(self) -> None:
        """A deep check beside clients that write and delete without pause finds nothing."""
        self.put(*[f"still/{number}" for number in range(200)])
        stop, turns = Event(), [0] * 4

        def write(number: int) -> None:
            client = self.deployment.client()
            while not stop.is_set():
                key = f"busy/{number}/{turns[number] % 5}"
                client.put_object(Bucket=BUCKET, Key=key, Body=b"x" * turns[number])
                if turns[number] % 3 == 0:
                    client.delete_object(Bucket=BUCKET, Key=key)
                turns[number] += 1

        checks = 0
        with ThreadPoolExecutor(4) as threads:
            writing = [threads.submit(write, number) for number in range(4)]
            try:
                while checks < 5 or (min(turns) < 12 and not any(each.done() for each in writing)):
                    self.check()
                    checks += 1
            finally:
                stop.set()
            for each in writing:
                each.result()

    def check(self) -> None:
        """Have everything checked, and find nothing."""
        status, job = self.ask(f"{BASE}/fsck", "POST", b'{"deep": true}')
        self.assertEqual(status, 202)
        path = f"{BASE}/jobs/{job['job']}"
        wait_until(lambda: self.ask(path)[1]["state"] != "running", "the check did not end")
        job = self.ask(path)[1]
        self.assertEqual((job["state"], job["error"]), ("done", None))
        self.assertEqual(job["result"]["findings"], [])
        self.assertGreaterEqual(job["result"]["compared"], 200)


class PostgresCheckTests(CheckTests):
    """The same on PostgreSQL."""

    driver = "postgres"


class NoTokenTests(AdminCase):
    settings = ""

    def test_none(self) -> None:
        """Without a token in the configuration the path is S3's, and what S3 says is no."""
        answer = self.answer(f"{BASE}/status", headers={"X-Admin-Token": ""})
        self.assertEqual(answer.status, 403)
        self.assertIn(b"<Code>AccessDenied</Code>", answer.body)
        self.assertIn("no ui.admin_token", self.told("status", status=2))


class WorkerTests(AdminCase):
    settings = f'mode: worker\nui: {{admin_key: "{TOKEN}"}}\n'

    def test_worker(self) -> None:
        """A process that serves no objects answers operators; the older name of the token works too."""
        status, document = self.ask(f"{BASE}/status")
        self.assertEqual((status, document["mode"]), (200, "worker"))
        self.assertEqual(self.answer("/photos/k").status, 404)
        self.assertEqual(self.answer("/health").status, 200)
        self.assertIn("cleanup", self.told("workers"))
