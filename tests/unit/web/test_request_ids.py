"""Ids of requests."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.web.request_ids import request_id


class RequestIdTests(SynchronousTestCase):
    def test_new(self) -> None:
        """Without an id of the client there is a new one each time: 16 upper-case hexadecimal digits."""
        ids = {request_id({}) for _ in range(100)}
        self.assertEqual(len(ids), 100)
        for new in ids:
            self.assertRegex(new, r"\A[0-9A-F]{16}\Z")

    def test_from_the_client(self) -> None:
        """A client's own id is adopted as it is."""
        for theirs in (b"a", b"0123456789abcdefABCDEF", b"f" * 64):
            self.assertEqual(request_id({b"x-request-id": [theirs]}), theirs.decode())

    @given(st.one_of(st.binary(), st.sampled_from([b"", b"g", b"f" * 65, b"ab\n", b"a b"])))
    def test_harmless(self, theirs: bytes) -> None:
        """Whatever the client says, the id has nothing in it that a log line or a document would mind."""
        self.assertRegex(request_id({b"x-request-id": [theirs]}), r"\A[0-9A-Fa-f]{1,64}\Z")

    def test_two(self) -> None:
        """Two ids are none."""
        self.assertEqual(len(request_id({b"x-request-id": [b"a", b"b"]})), 16)

    def test_after_a_fork(self) -> None:
        """A process and its child do not give the same ids."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, request_id({}).encode())
            os._exit(0)
        os.waitpid(child, 0)
        theirs = os.read(reading, 100).decode()
        os.close(reading)
        os.close(writing)
        self.assertRegex(theirs, r"\A[0-9A-F]{16}\Z")
        self.assertNotEqual(theirs, request_id({}))
