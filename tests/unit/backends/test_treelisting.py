"""Tests for listing a tree of files in the order of names."""

from __future__ import annotations

import os
import shutil
import time
from tempfile import mkdtemp

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from s3orchestrator.backends.disk import Disk
from s3orchestrator.backends.roots import Root
from s3orchestrator.interfaces import Description
from tests.unit.backends.test_filenames import NAMES

_ALIKE = st.text(st.sampled_from("a/%.!é"), min_size=1, max_size=6)


class PageTests(SynchronousTestCase):
    """Tests for `page`."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.sets(_ALIKE | NAMES, max_size=12), _ALIKE | st.just(""), _ALIKE | st.just(""), st.integers(1, 5)
    )
    def test_any_names(self, names: set[str], prefix: str, after: str, limit: int) -> None:
        """Whatever names there are, a page has those that a sorted list would have, whatever came first."""
        path = mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        disk = Disk("disk", Root("disk", path, True), time.monotonic)
        try:
            for name in names:
                file = disk.new_file()
                disk.write(file, [name.encode()])
                disk.store(file, name, Description(""), exclusive=True)
            ordered = sorted(names, key=str.encode)
            wanted = [name for name in ordered if name.startswith(prefix) and name > after]
            self.assertEqual([one.name for one in disk.page("", "", 1000)], ordered)
            self.assertEqual([one.name for one in disk.page(prefix, after, limit)], wanted[:limit])
            for name in names:
                self.assertEqual(disk.read(name, None, None, 2000).data, name.encode())
                disk.remove(name)
            self.assertEqual(sorted(os.listdir(path)), [".s3o"])
        finally:
            disk.close()
            shutil.rmtree(path)
