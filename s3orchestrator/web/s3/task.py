"""A request that has been let in, as the operations see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define

from s3orchestrator.domain.records import Bucket
from s3orchestrator.protocol.call import Call
from s3orchestrator.protocol.documents import Owner
from s3orchestrator.protocol.operations import Operation
from s3orchestrator.protocol.sigv4 import Verified
from s3orchestrator.web.s3.access import Identity
from s3orchestrator.web.s3.response import Response

REGION = "us-east-1"  # what we are called; clients may sign for any


@define(eq=False)
class Task:
    """
    What is wanted, who wants it, and of which bucket.

    `of_bucket` is None for operations without a bucket, and for CreateBucket, whose name is in `call`.
    """

    call: Call
    operation: Operation
    identity: Identity
    of_bucket: Bucket | None
    verified: Verified | None

    @property
    def bucket(self) -> Bucket:
        """The bucket of an operation that has one."""
        assert self.of_bucket is not None
        return self.of_bucket

    @property
    def key(self) -> str:
        """The key of an operation that has one."""
        assert self.call.key is not None
        return self.call.key

    @property
    def owner(self) -> Owner:
        """The caller, as documents show it."""
        return Owner(self.identity.owner_id, self.identity.owner_id)


Operate = Callable[[Task], Awaitable[Response]]
