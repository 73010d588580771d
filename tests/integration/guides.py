"""Pages of the documentation as sessions: what is typed, and what is said to be printed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from textwrap import dedent

from tests.integration.administering import TOKEN
from tests.running import COMMAND


def typed_and_printed(page: str) -> list[tuple[str, str]]:
    """Return the lines that are typed, each with what is said to be printed."""
    session: list[tuple[str, str]] = []
    for block in re.findall(r"\.\. code-block:: console\n\n((?:   .*\n|\n)+)", page):
        for part in re.split(r"^\$ ", dedent(block), flags=re.MULTILINE)[1:]:
            line, _, printed = part.partition("\n")
            session.append((line, printed))
    return session


def type_line(line: str, directory: Path, patience: float) -> subprocess.CompletedProcess[str]:
    """Type a line there, as somebody who has the token of the admin API; it has `patience` seconds."""
    return subprocess.run(
        line,
        shell=True,
        cwd=directory,
        env={
            **os.environ,
            "PATH": f"{Path(COMMAND).parent}:{os.environ['PATH']}",
            "S3O_ADMIN_TOKEN": TOKEN,
        },
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )
