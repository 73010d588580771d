"""Tests for the table of operations."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.live import Live
from s3orchestrator.protocol.operations import Operation
from s3orchestrator.testing.harness import Harness
from s3orchestrator.web.s3.access import AccessControl, Credentials
from s3orchestrator.web.s3.dispatch import dispatch_table
from s3orchestrator.web.s3.multipart import MultipartOperations
from s3orchestrator.web.s3.object import ObjectOperations
from s3orchestrator.web.s3.service import BucketOperations


class DispatchTests(SynchronousTestCase):
    """`dispatch_table`."""

    def test_complete(self) -> None:
        """
        Every operation that can be asked for has somebody who does it, each its own.
        """
        core = Harness().core
        access = AccessControl(core.live.derived(Credentials.of), core.objects.catalog)
        table: Any = dispatch_table(
            BucketOperations(core.objects, access),
            ObjectOperations(core.objects, access, 1),
            MultipartOperations(core.objects, access, 1, Live(dict)),
        )
        self.assertEqual(set(table), set(Operation))
        self.assertEqual(
            len({operate.__name__ + str(operate.__self__) for operate in table.values()}), len(table)
        )
