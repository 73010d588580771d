"""What `s3orchestrator demo` says and makes before it serves."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.cli.demo import announcement, make_directories, warning

ANYWHERE = "at every other address of this machine"


class DemoTests(SynchronousTestCase):
    def test_on_this_machine(self) -> None:
        """
        Where only this machine can connect there is nothing to warn of.
        """
        for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
            self.assertEqual(warning(host), "")
            self.assertNotIn(ANYWHERE, announcement(Path("/data"), host))

    def test_everywhere(self) -> None:
        """
        Where others can connect they know the keys, and the address that is shown is one of many.
        """
        for host in ("", "0.0.0.0", "::"):
            self.assertIn("published", warning(host))
            self.assertIn("{endpoint}, and " + ANYWHERE, announcement(Path("/data"), host))

    def test_one_address(self) -> None:
        """
        An address of this machine in some network is warned of, and shown as it is.
        """
        self.assertIn("192.168.1.1 can be reached from other machines", warning("192.168.1.1"))
        self.assertNotIn(ANYWHERE, announcement(Path("/data"), "192.168.1.1"))
        self.assertIn("my.host can be reached", warning("my.host"))

    def test_directories(self) -> None:
        """
        What is stored is for the user alone; starting again changes nothing.
        """
        self.addCleanup(os.umask, os.umask(0o022))
        data = Path(self.mktemp())
        make_directories(data)
        make_directories(data)
        made = [data, *sorted(data.iterdir())]
        self.assertEqual([path.name for path in made[1:]], ["disk1", "disk2", "disk3"])
        self.assertEqual({path.stat().st_mode & 0o777 for path in made}, {0o700})
