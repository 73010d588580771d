"""Tests for the bodies of requests."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.concurrency import start
from s3orchestrator.domain.records import Bucket
from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.operations import Operation
from s3orchestrator.protocol.requestdocuments import DeleteReader
from s3orchestrator.web.request_body import RequestBody
from s3orchestrator.web.s3.access import Identity
from s3orchestrator.web.s3.task import Task
from s3orchestrator.web.s3.uploading import read_document


class Uploader:
    """A connection that takes no notice."""

    def body_started(self, *, is_looked_at: bool) -> None:
        """Let the client wait."""

    def body_moved(self) -> None:
        """Read at any pace."""


def task_with(body: RequestBody) -> Task:
    """A DeleteObjects whose document is still on its way."""
    headers = {b"content-length": [b"%d" % body.length]}
    call = Call(b"POST", b"/b?delete", b"/b", b"delete", headers, body, "", False, "0", 0.0, "b")
    return Task(call, Operation.DELETE_OBJECTS, Identity(frozenset("b")), Bucket(1, "b", 0), None)


class ReadDocumentTests(SynchronousTestCase):
    """`read_document`."""

    def test_in_pieces(self) -> None:
        """
        It is read as it arrives, and complete when its body is.
        """
        body, reader = RequestBody(Uploader(), 60), DeleteReader()
        reading = start(read_document(task_with(body), reader))
        body.received(b"<Delete><Object><Key>a</Key></Object>")
        self.assertNoResult(reading)
        body.received(b"</Delete>")
        body.completed()
        self.successResultOf(reading)
        self.assertEqual([entry.key for entry in reader.finish().entries], ["a"])

    def test_malformed_later(self) -> None:
        """
        A mistake in any piece fails the reading, never the connection, and the rest is dropped.
        """
        body = RequestBody(Uploader(), 100_000)
        reading = start(read_document(task_with(body), DeleteReader()))
        body.received(b"<Delete><Object>")
        body.received(b"</Delete>" + b" " * 65_536)  # what is looked at together
        failure = self.failureResultOf(reading, S3Error)
        self.assertEqual(failure.value.code, "MalformedXML")
        body.received(b"<and><so><on>")
        self.assertEqual(body.discarded, 13)
