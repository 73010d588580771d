"""A daemon that is killed under load loses nothing, and leaves nothing."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.disks import BUCKET, Disks, Writer, disks, expected
from tests.ledgers import CHOSEN

WRITERS = 6


class CrashTests(SynchronousTestCase):
    driver = CHOSEN
    rounds = 10

    def setUp(self) -> None:
        self.deployment: Disks = disks(Path(self.mktemp()).absolute(), driver=self.driver)
        self.deployment.daemon.start()
        self.addCleanup(self.deployment.daemon.kill)
        self.random = random.Random(20)

    def crash(self, writers: list[Writer], seconds: float, *, gently: bool) -> None:
        """Let everybody write, end the daemon in their midst, and start it again."""
        with ThreadPoolExecutor(len(writers)) as threads:
            working = [threads.submit(writer.work) for writer in writers]
            time.sleep(seconds)
            if gently:
                self.deployment.daemon.stop()
            else:
                self.deployment.daemon.kill()
            for done in working:
                done.result()
        self.deployment.daemon.start()

    def test_killed_under_load(self) -> None:
        """
        What was acknowledged is read back, what was not is there as a whole or not at all.

        In the end the directories hold exactly that.
        """
        client = self.deployment.client()
        writers = [Writer(client, f"writer{number}", number) for number in range(WRITERS)]
        for number in range(self.rounds + 1):
            self.crash(writers, self.random.uniform(0.1, 0.7), gently=number == self.rounds)
            for writer in writers:
                writer.complete_again()
                self.assertEqual(writer.look(), [])
        self.assertGreater(sum(writer.acknowledged for writer in writers), 10 * self.rounds)
        for upload in client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []):
            client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
        self.deployment.settle()
        self.deployment.daemon.stop()
        self.assertEqual(self.deployment.problems(expected(writers)), [])


class PostgresCrashTests(CrashTests):
    """Two daemons on one PostgreSQL, which takes the dead for living until their leases have lapsed."""

    driver = "postgres"
    rounds = 3
