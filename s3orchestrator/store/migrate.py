"""
Brings a ledger's schema up to what this release knows.

Each file of `migrations/` is applied once, in order, on either database. Its first line
names the oldest schema level whose code may still work on the result: a release that is
too old refuses instead of damaging what it does not understand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files

from attrs import frozen

from s3orchestrator.errors import LedgerIncomplete, LedgerTooNew
from s3orchestrator.interfaces import ITransaction

_FILE_NAME = re.compile(r"(\d{4})_(\w+)\.sql")
_COMPATIBLE = re.compile(r"-- compatible-with: (\d+)")

CREATE_HISTORY = """
    CREATE TABLE IF NOT EXISTS schema_versions (
        version          integer PRIMARY KEY,
        name             text    NOT NULL,
        compatible_with  integer NOT NULL,
        applied_ms       bigint  NOT NULL
    )
"""

CURRENT = "SELECT version, compatible_with FROM schema_versions ORDER BY version DESC LIMIT 1"

NOTE_APPLIED = """
    INSERT INTO schema_versions (version, name, compatible_with, applied_ms)
    VALUES (:version, :name, :compatible_with, :now_ms)
"""

CREATE_LEDGER = """
    INSERT INTO ledger (id, created_ms, commits)
    SELECT :id, :now_ms, 0 WHERE NOT EXISTS (SELECT 1 FROM ledger)
"""

NAME = "SELECT id FROM ledger"
INCOMPLETE = "incomplete"  # the name of a ledger that is being copied into; no real one is of this length


@frozen
class Migration:
    """One step from a schema level to the next."""

    version: int
    name: str
    compatible_with: int
    statements: Sequence[str]


@cache
def migrations() -> Sequence[Migration]:
    """Return all steps this release knows, in order."""
    steps = [
        _parse(entry.name, entry.read_text("utf-8"))
        for entry in files("s3orchestrator.store").joinpath("migrations").iterdir()
        if _FILE_NAME.fullmatch(entry.name)
    ]
    return sorted(steps, key=lambda step: step.version)


def level() -> int:
    """Return the schema level of this release."""
    return migrations()[-1].version


async def migrate(tx: ITransaction, steps: Sequence[Migration], *, now_ms: int, ledger_id: str) -> int:
    """
    Apply those of `steps` that are missing; returns how many that were.

    `ledger_id` is for a ledger that is made now.

    :raises LedgerTooNew: code of our level must not touch what is there.
    :raises LedgerIncomplete: it is half of a copy.
    """
    await tx.run(CREATE_HISTORY)
    applied = await _current_level(tx, steps[-1].version)
    missing = [step for step in steps if step.version > applied]
    for step in missing:
        for statement in step.statements:
            await tx.run(statement)
        await tx.run(
            NOTE_APPLIED,
            version=step.version,
            name=step.name,
            compatible_with=step.compatible_with,
            now_ms=now_ms,
        )
    await tx.run(CREATE_LEDGER, id=ledger_id, now_ms=now_ms)
    named = await tx.one(NAME)
    if named is not None and named[0] == INCOMPLETE:
        raise LedgerIncomplete("a copy into this ledger was broken off: remove the ledger, and copy it again")
    return len(missing)


async def check_level(tx: ITransaction) -> None:
    """:raises LedgerTooNew: a newer release has changed the ledger while we were at work."""
    await _current_level(tx, level())


async def _current_level(tx: ITransaction, known: int) -> int:
    current = await tx.one(CURRENT)
    if current is None:
        return 0
    if current["compatible_with"] > known:
        raise LedgerTooNew(
            f"its schema level {current['version']} needs a release of level {current['compatible_with']}, "
            f"this one has {known}"
        )
    return int(current["version"])


def _parse(file_name: str, text: str) -> Migration:
    named, compatible = _FILE_NAME.fullmatch(file_name), _COMPATIBLE.match(text)
    if named is None or compatible is None:
        raise ValueError(f"{file_name}: the first line must be '-- compatible-with: N'")
    return Migration(int(named[1]), named[2], int(compatible[1]), tuple(_statements(text)))


def _statements(text: str) -> Iterator[str]:
    """Split at lines that end in a semicolon; comments go."""
    lines: list[str] = []
    for line in text.splitlines():
        code = line.partition("--")[0].rstrip()
        lines.append(code)
        if code.endswith(";"):
            yield "\n".join(lines).rstrip(";").strip()
            lines = []
