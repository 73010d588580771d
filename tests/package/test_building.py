"""Building the package again."""

from __future__ import annotations

import filecmp
import os
import subprocess
from pathlib import Path

from tests.package.roots import CHECKOUT, package


def test_same_again(tmp_path: Path) -> None:
    """The same sources give the same bytes in another folder, time zone and language, with another umask."""
    environment = {**os.environ, "TZ": "Asia/Tokyo", "LANG": "C", "PYTHONHASHSEED": "1"}
    subprocess.run([CHECKOUT / "tools/deb", tmp_path], check=True, env=environment, umask=0o027)
    assert filecmp.cmp(tmp_path / package().name, package(), shallow=False)
