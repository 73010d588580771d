"""A daemon that sleeps through its lease, in the middle of a write, while another one cleans up behind it."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import closing
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.store.reaping import TOLERANCE_MS
from s3orchestrator.testing.bench import measuring
from tests.faults.site import BUCKET, Site, disk, site
from tests.ledgers import ledger
from tests.running import wait_until

MIB = 1 << 20
LEASE = 3  # seconds
# When others may take a lease for lapsed, and have done so.
TAKEN_OVER = LEASE + TOLERANCE_MS / 1000 + 30


class AsleepTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp()).absolute()
        places = {"disk": disk(directory / "disk")}
        self.site: Site = site(
            directory, places, ledger=ledger(directory, "postgres"), instances=2, lease=f"{LEASE}s"
        )
        self.site.daemon.start()
        self.addCleanup(self.site.daemon.kill)
        self.sleeper, self.other = self.site.members
        for number in range(3):
            self.assertEqual(self.site.client(member=0).put(f"kept{number}", b"kept").status, 200)

    def put_half(self, key: str) -> socket.socket:
        """Begin to upload an object through the one that will sleep, and stop in the middle."""
        client = self.site.client(member=0)
        connection = socket.create_connection(("127.0.0.1", self.sleeper.port))
        head = (
            f"PUT /{BUCKET}/{key} HTTP/1.1\r\nHost: localhost\r\nX-Proxy-Token: {client.token}\r\n"
            f"Content-Length: {8 * MIB}\r\n\r\n"
        )
        connection.sendall(head.encode() + bytes(4 * MIB))
        return connection

    def signal(self, number: int) -> None:
        """Send a signal to all processes of the one that will sleep."""
        for pid in measuring.processes(self.sleeper.pid):
            os.kill(pid, number)

    def rows(self, key: str, state: str) -> list[object]:
        """The blobs of a key in a state."""
        return self.site.ledger.query(f"SELECT id FROM blobs WHERE key = '{key}' AND state = '{state}'")

    def test_asleep(self) -> None:
        """
        What it was writing is given up by the other, and it does not write it after all when it wakes.

        What it had stored is there, it goes on as another owner, and nothing is left behind.
        """
        with closing(self.put_half("half")) as connection:
            wait_until(lambda: self.rows("half", "pending"), "nothing is being written")
            self.signal(signal.SIGSTOP)
            try:
                wait_until(lambda: not self.rows("half", "pending"), "it is not given up", TAKEN_OVER)
            finally:
                self.signal(signal.SIGCONT)
            connection.settimeout(30)
            answer = b""
            try:
                connection.sendall(bytes(4 * MIB))
                answer = connection.recv(1000)
            except OSError:
                pass  # it did not wait for the rest
        self.assertNotIn(b" 200 ", answer.partition(b"\r\n")[0])
        client = self.site.client(member=0)
        wait_until(lambda: client.put("awake", b"awake").status == 200, "it does not come back")
        self.assertEqual(client.get("half").status, 404)
        expected = {f"{BUCKET}/kept{number}": b"kept" for number in range(3)}
        self.assertEqual(self.site.whole({**expected, f"{BUCKET}/awake": b"awake"}), [])
