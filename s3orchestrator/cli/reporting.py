"""How `fsck` tells what it finds: line by line, or as one document."""

from __future__ import annotations

import json
from typing import Any, Protocol, TextIO

from attrs import define, field

from s3orchestrator.domain.records import Finding

_SHOWN_AS_DONE = frozenset({"taken-in", "set-aside"})


class Report(Protocol):
    """Takes findings as they come. `left` counts those that somebody has to do something about."""

    left: int

    def add(self, finding: Finding, *, mended: bool) -> None:
        """Take one; `mended`: nothing is left to be done about it."""

    def end(self, **noted: Any) -> None:
        """There are no more; `noted` is what else there is to say."""


@define(eq=False)
class TextReport:
    """Lines for people."""

    _out: TextIO
    left: int = field(default=0, init=False)
    _mended: int = field(default=0, init=False)

    def add(self, finding: Finding, *, mended: bool) -> None:
        """See `Report`."""
        if mended:
            self._mended += 1
        else:
            self.left += 1
        mark = "mended" if mended and finding.rule not in _SHOWN_AS_DONE else finding.rule
        self._out.write(f"{mark}: {finding.subject}: {finding.message}\n")

    def end(self, **noted: Any) -> None:
        """See `Report`."""
        if (names := noted.get("names")) is not None:
            counted = ", ".join(f"{number} {what}" for what, number in sorted(names.items()))
            self._out.write(f"names: {counted or 'none'}\n")
        for backend in noted.get("behind", ()):
            self._out.write(f"the ledger is still behind {backend}: run this again\n")
        if not self.left and not self._mended:
            self._out.write("clean\n")
        else:
            self._out.write(f"{self.left} finding(s) left, {self._mended} mended\n")


@define(eq=False)
class JsonReport:
    """One document, at the end."""

    _out: TextIO
    left: int = field(default=0, init=False)
    _findings: list[dict[str, Any]] = field(factory=list, init=False)

    def add(self, finding: Finding, *, mended: bool) -> None:
        """See `Report`."""
        self.left += not mended
        self._findings.append(
            {
                "rule": finding.rule,
                "subject": finding.subject,
                "message": finding.message,
                "mended": mended,
            }
        )

    def end(self, **noted: Any) -> None:
        """See `Report`."""
        total = len(self._findings)
        document = {"findings": self._findings, "left": self.left, "mended": total - self.left, **noted}
        json.dump(document, self._out, ensure_ascii=True, indent=2)
        self._out.write("\n")
