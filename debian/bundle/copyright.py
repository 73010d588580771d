"""Print, for debian/copyright, under which licence each of the packages in a folder is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

# Debian has these on every machine.
COMMON = {
    "Apache License Version 2.0": "Apache-2.0",
    "GNU LESSER GENERAL PUBLIC LICENSE Version 3": "LGPL-3",
    "Mozilla Public License Version 2.0": "MPL-2.0",
}
NAMES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "AUTHORS")


def stanza(folder: Path) -> Iterator[str]:
    """
    Yield the lines about one package, of which `folder` has the metadata.

    :raises SystemExit: it says nothing, so that somebody has to look.
    """
    metadata = Distribution.at(folder).metadata
    texts = list(_texts(folder))
    licence = (
        metadata.get("License-Expression")
        or ", ".join(
            line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line[:7] == "License"
        )
        or metadata.get("License")
    )
    if not licence or not texts:
        raise SystemExit(f"{metadata['Name']} {metadata['Version']}: no licence found")
    yield f"{metadata['Name']} {metadata['Version']}"
    yield f"  licence: {' '.join(licence.split())}"
    yield f"  project: https://pypi.org/project/{metadata['Name']}/"
    for text in texts:
        yield ""
        yield from (f"  {line}".rstrip() for line in text.splitlines())


def _texts(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name.upper().startswith(NAMES):
            yield _shortened(file.read_text(encoding="utf-8"))


def _shortened(text: str) -> str:
    """Refer to the distribution's copy of a licence instead of repeating it."""
    beginning = " ".join(text.split()[:12])
    for title, name in COMMON.items():
        if beginning.startswith(title):
            return f"The whole text is in /usr/share/common-licenses/{name}."
    return text.strip("\n")


def main(site: str) -> None:
    for folder in sorted(Path(site).glob("*.dist-info"), key=lambda folder: folder.name.lower()):
        if not folder.name.startswith("s3orchestrator-"):
            sys.stdout.write(f"\n{'-' * 70}\n\n" + "\n".join(stanza(folder)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
