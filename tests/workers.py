"""
How many processes serve clients in the deployments of tests: one, which does everything, or several.

`S3O_TEST_WORKERS=2` chooses the latter for a whole run.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

CHOSEN = int(os.environ.get("S3O_TEST_WORKERS", "1"))
PROCESSES = 1 if CHOSEN == 1 else 1 + CHOSEN  # that a daemon is then


def with_workers(text: str, number: int = CHOSEN) -> str:
    """
    Return a configuration in which so many processes serve, unless it says how many itself.

    A backend in memory is one process's own: such a configuration is left as it is.
    """
    if number == 1 or re.search(r"\bworkers: |type: memory|^mode: worker", text, re.MULTILINE):
        return text
    inline = re.sub(r"^server: \{", f"server: {{workers: {number}, ", text, count=1, flags=re.MULTILINE)
    if inline != text:
        return inline
    return re.sub(r"^server:\n( +)", rf"server:\n\1workers: {number}\n\1", text, count=1, flags=re.MULTILINE)


def let_workers_serve(config: Path, number: int = CHOSEN) -> None:
    """Have a file say so."""
    if number > 1:
        text = config.read_text()
        changed = with_workers(text, number)
        if changed != text:
            config.write_text(changed)
