"""Slow clients, slow and failing backends, and a server without a free slot."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from random import Random

from s3orchestrator.backends.faults import Fault
from tests.integration.asking import (
    UNSIGNED,
    Hangup,
    Wire,
)
from tests.integration.framing import (
    LARGE,
    SMALL,
)
from tests.integration.s3_server import Server, ServerCase
from tests.integration.slow_backend import SlowBackend


class PaceTests(ServerCase):
    """Large bodies go at the pace of the slower end."""

    memory_class = SlowBackend
    settings = {"max_concurrent_requests": 25, "admission_wait": "5s"}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.data = bytes(32 << 20)
        cls.server.caller().ask("PUT", "/photos/big", cls.data, payload_hash=UNSIGNED)

    def setUp(self) -> None:
        super().setUp()
        self.backend = self.server.memory("a")
        self.backend.bodies.clear()

    def test_slow_reader(self) -> None:
        """A client that reads nothing is not read for: little is taken from the backend."""
        with Wire(self.server.address, receive_buffer=65536) as wire:
            wire.send(self.alice.request("GET", "/photos/big"))
            wire.head()
            produced = self._settled_at()
            self.assertLess(produced, 16 << 20)  # what the kernel holds, and a few reads
            self.assertEqual(len(wire._exactly(len(self.data))), len(self.data))

    def _settled_at(self) -> int:
        """What has been produced, once it stays like that."""
        produced = -1
        while produced != self.backend.bodies[0].produced:
            produced = self.backend.bodies[0].produced
            time.sleep(0.2)
        return produced

    def test_reader_leaves(self) -> None:
        """A client that leaves stops the backend's transfer."""
        with Wire(self.server.address, receive_buffer=65536) as wire:
            wire.send(self.alice.request("GET", "/photos/big"))
            wire.head()
        deadline = time.monotonic() + 10
        while not self.backend.bodies[0].stopped:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def test_many_leave(self) -> None:
        """However many leave, at whatever moment: every transfer is stopped, and every slot free again."""
        random = Random(5)
        for round_ in range(3):
            wires = [Wire(self.server.address, receive_buffer=65536) for _ in range(20)]
            for wire in wires:
                wire.send(self.alice.request("GET", "/photos/big"))
            for wire in wires[round_ * 10 :]:  # of the others some have begun to receive
                wire.head()
            random.shuffle(wires)
            for wire in wires:
                wire.close()
        deadline = time.monotonic() + 10
        while not all(body.stopped for body in self.backend.bodies):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        with ThreadPoolExecutor(10) as threads:
            asked = [threads.submit(self.alice.ask, "HEAD", "/photos/big") for _ in range(30)]
        self.assertEqual({one.result().status for one in asked}, {200})

    def test_slow_backend(self) -> None:
        """A backend that takes nothing makes the client wait, rather than us keep what it sends."""
        self.server.run(self.backend.hold)
        with Wire(self.server.address) as wire:
            wire.socket.settimeout(0.5)
            length = {"content-length": str(len(self.data))}
            wire.send(self.alice.request("PUT", "/photos/slow", headers=length, payload_hash=UNSIGNED))
            sent = 0
            try:
                while sent < len(self.data):
                    sent += wire.socket.send(self.data[sent : sent + 65536])
            except TimeoutError:
                pass
            self.assertLess(sent, 16 << 20)
            self.server.run(self.backend.release)
            wire.socket.settimeout(10)
            wire.send(self.data[sent:])
            self.assertSucceeded(wire.answer())


class FailingBackendTests(ServerCase):
    """Backends that fail while a client waits."""

    def setUp(self) -> None:
        super().setUp()
        self.assertSucceeded(self.alice.ask("PUT", "/photos/a", LARGE, payload_hash=UNSIGNED))

    def tearDown(self) -> None:
        for name in ("a", "b"):
            self.server.memory(name).faults.clear()
        super().tearDown()

    def test_dies_on_read(self) -> None:
        """Half an object never looks like a whole: the connection ends before the announced length."""
        self.server.memory("a").faults.next("get", Fault.TRUNCATED, *10 * [Fault.REFUSED])
        with Wire(self.server.address) as wire:
            wire.send(self.alice.request("GET", "/photos/a"))
            hangup = self.assertRaises(Hangup, wire.answer)
        self.assertLess(len(hangup.received), len(LARGE))

    def test_dies_and_comes_back(self) -> None:
        """If the rest can be had again, the client notices nothing."""
        self.server.memory("a").faults.next("get", Fault.TRUNCATED)
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, LARGE)

    def test_down_on_read(self) -> None:
        """No copy can be read: 503, and come back."""
        self.server.memory("a").faults.always(Fault.REFUSED, "get")
        answer = self.alice.ask("GET", "/photos/a")
        self.assertRefused(answer, 503, "ServiceUnavailable")
        self.assertTrue(answer.header("retry-after"))
        self.assertEqual(self.alice.ask("HEAD", "/photos/a").status, 200)

    def test_one_down_on_write(self) -> None:
        """Another backend takes the object."""
        self.server.memory("a").faults.always(Fault.REFUSED, "put")
        for name, data in (("b", b"data"), ("c", LARGE)):
            with self.subTest(name):
                self.assertSucceeded(self.alice.ask("PUT", f"/photos/{name}", data, payload_hash=UNSIGNED))
                stored = [held.data for held in self.server.memory("b").objects.values()]
                self.assertIn(data, stored)
                self.assertEqual(self.alice.ask("GET", f"/photos/{name}").body, data)

    def test_all_down_on_write(self) -> None:
        """No backend takes it: 503, and the old object stays."""
        before = self.server.settled()
        for name in ("a", "b"):
            self.server.memory(name).faults.always(Fault.REFUSED, "put")
        for data in (b"data", LARGE):
            with self.subTest(len(data)):
                answer = self.alice.ask("PUT", "/photos/a", data, payload_hash=UNSIGNED)
                self.assertRefused(answer, 503, "ServiceUnavailable")
        self.assertEqual(self.server.settled(), before)
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, LARGE)

    def test_dies_on_write(self) -> None:
        """A small body is tried elsewhere; a large one that was started cannot be."""
        self.server.memory("a").faults.next("put", Fault.TRUNCATED)
        self.assertSucceeded(self.alice.ask("PUT", "/photos/b", SMALL))
        self.assertEqual(self.alice.ask("GET", "/photos/b").body, SMALL)
        self.server.memory("a").faults.next("put", Fault.TRUNCATED)
        answer = self.alice.ask("PUT", "/photos/c", LARGE, payload_hash=UNSIGNED)
        self.assertRefused(answer, 503, "ServiceUnavailable")
        self.assertRefused(self.alice.ask("GET", "/photos/c"), 404, "NoSuchKey")


class AdmissionTests(ServerCase):
    """As many requests as there are slots."""

    memory_class = SlowBackend
    settings = {"max_concurrent_requests": 1}

    def test_full(self) -> None:
        """One more than there are slots is told to slow down, without ado; health is not counted."""
        backend = self.server.memory("a")
        self.server.run(backend.hold)
        with Wire(self.server.address) as first:
            first.send(self.alice.request("PUT", "/photos/a", b"data"), b"data")
            self._wait_until_held(self.server)
            answer = self.alice.ask("GET", "/photos/a")
            self.assertRefused(answer, 503, "SlowDown")
            self.assertTrue(answer.header("retry-after"))
            self.assertEqual(self.alice.ask_unsigned("GET", "/health/ready").status, 200)
            self.server.run(backend.release)
            self.assertSucceeded(first.answer())
        self.assertEqual(self.alice.ask("GET", "/photos/a").body, b"data")

    def test_slot_of_a_leaver(self) -> None:
        """A client that leaves gives its slot back."""
        backend = self.server.memory("a")
        self.server.run(backend.hold)
        with Wire(self.server.address) as first:
            first.send(self.alice.request("PUT", "/photos/b", b"data"), b"data")
            self._wait_until_held(self.server)
        deadline = time.monotonic() + 10
        while self.alice.ask("GET", "/photos").status != 200:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.server.run(backend.release)

    def _wait_until_held(self, server: Server) -> None:
        deadline = time.monotonic() + 10
        while not server.memory("a").held:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
