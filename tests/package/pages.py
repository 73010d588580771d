"""What the operator's pages tell to type and to write."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

PAGES = Path(__file__).parents[2] / "docs" / "operating"


def blocks(page: str, section: str, language: str) -> list[str]:
    """Return the code of one language in a section of a page, or before its first section (``""``)."""
    text = (PAGES / f"{page}.rst").read_text()
    parts = re.split(r"^(.+)\n-+\n", text, flags=re.MULTILINE)
    sections = {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
    pattern = rf"\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)"
    return [dedent(block).strip("\n") + "\n" for block in re.findall(pattern, sections[section])]


def commands(page: str, section: str = "") -> list[str]:
    """Return what root types."""
    lines = (line for block in blocks(page, section, "console") for line in block.splitlines())
    return [line.removeprefix("# ") for line in lines if line.startswith("# ")]
