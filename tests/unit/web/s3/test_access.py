"""Who may remove a bucket that the configuration file has come to list."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.config.live import Live
from s3orchestrator.protocol.errors import S3Error
from s3orchestrator.protocol.operations import Operation
from s3orchestrator.testing.harness import Harness
from s3orchestrator.web.s3.access import AccessControl, Credentials, Identity


class RemovingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = Harness()
        self.catalog = self.world.core.objects.catalog
        self.access = AccessControl(Live(lambda: Credentials({}, ())), self.catalog)
        self.bob = Identity(frozenset(), user="bob", may_create=True)
        self.world.run(self.catalog.create("shared", "bob"))

    def remove(self) -> None:
        self.access.authorise(self.bob, Operation.DELETE_BUCKET, "shared")

    def test_own(self) -> None:
        """
        Who has made a bucket may remove it.
        """
        self.remove()

    def test_listed_later(self) -> None:
        """
        Once the file lists it, its maker still uses it but may not take it from the others.
        """
        self.world.run(self.catalog.load(iter(["photos", "shared"])))
        self.assertEqual(self.assertRaises(S3Error, self.remove).code, "AccessDenied")
        self.access.authorise(self.bob, Operation.PUT_OBJECT, "shared")
