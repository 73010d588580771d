"""
Checks that the ledger keeps its own rules (L1 to L5, L8, and whose is what), and mends its counters.

Everything is looked at in one snapshot, with whole-table scans: this is for an operator's
command and for tests, not for a service.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from s3orchestrator.domain.records import Finding
from s3orchestrator.interfaces import IDatabase, ITransaction, Row

STOP_WRITERS = "$stop_writers"

_LIVE = "sum(CASE WHEN state = 'live' THEN size ELSE 0 END)"
_RESERVED = "sum(CASE WHEN state = 'pending' THEN size ELSE 0 END)"
_ORPHAN = """
    sum(CASE WHEN state IN ('doomed', 'dead') OR (state = 'resting' AND unclear) THEN size ELSE 0 END)
"""
_OBJECTS = "sum(CASE WHEN state = 'live' THEN 1 ELSE 0 END)"
_SUMS = f"""
    SELECT backend, coalesce(bucket_id, 0) AS bucket_id, {_LIVE} AS live, {_RESERVED} AS reserved,
           {_ORPHAN} AS orphan, {_OBJECTS} AS objects, count(*) AS held
      FROM blobs GROUP BY backend, coalesce(bucket_id, 0)
"""
_COUNTED = """
    SELECT backend, bucket_id, sum(live) AS live, sum(reserved) AS reserved, sum(orphan) AS orphan,
           sum(objects) AS objects, sum(held) AS held
      FROM byte_counts GROUP BY backend, bucket_id
"""
_DIFFERENT = " OR ".join(
    f"coalesce(s.{column}, 0) <> coalesce(c.{column}, 0)"
    for column in ("live", "reserved", "orphan", "objects", "held")
)


@frozen
class Rule:
    """One thing that must not be found; the statement gives `subject` and maybe `detail`."""

    name: str
    message: str
    statement: str
    repairable: bool = False


RULES = (
    Rule(
        "L1",
        "the name is held by more than one blob",
        """
        SELECT backend || ' ' || name AS subject FROM blobs GROUP BY backend, name HAVING count(*) > 1
        """,
    ),
    Rule(
        "L2",
        "the blob is in a state nobody knows",
        """
        SELECT 'blob ' || id AS subject, state AS detail FROM blobs
         WHERE state NOT IN ('pending', 'live', 'doomed', 'resting', 'dead')
        """,
    ),
    Rule(
        "L2",
        "the live blob belongs to no version",
        """
        SELECT 'blob ' || b.id AS subject, b.backend || ' ' || b.name AS detail
          FROM blobs b LEFT JOIN versions v ON v.id = b.version
         WHERE b.state = 'live' AND v.id IS NULL
        """,
    ),
    Rule(
        "L2",
        "the blob is not live and belongs to a version",
        """
        SELECT 'blob ' || id AS subject, state AS detail FROM blobs
         WHERE state <> 'live' AND version IS NOT NULL
        """,
    ),
    Rule(
        "L2",
        "the blob and its version are of different keys",
        """
        SELECT 'blob ' || b.id AS subject, v.key AS detail
          FROM blobs b JOIN versions v ON v.id = b.version
         WHERE b.bucket_id <> v.bucket_id OR b.key <> v.key
        """,
    ),
    Rule(
        "L2",
        "the blob's bucket is not in the ledger",
        """
        SELECT 'blob ' || b.id AS subject, b.backend || ' ' || b.name AS detail
          FROM blobs b LEFT JOIN buckets k ON k.id = b.bucket_id
         WHERE b.bucket_id IS NOT NULL AND k.id IS NULL
        """,
    ),
    Rule(
        "L3",
        "the version has no live blob that is believed good",
        """
        SELECT coalesce(k.name, '?') || '/' || v.key AS subject, v.version_id AS detail
          FROM versions v LEFT JOIN buckets k ON k.id = v.bucket_id
         WHERE NOT v.is_delete_marker
           AND NOT EXISTS (SELECT 1 FROM blobs b
                            WHERE b.version = v.id AND b.state = 'live' AND NOT b.suspect)
        """,
    ),
    Rule(
        "L4",
        "the counters differ from the sums over the rows",
        f"""
        SELECT known.backend || ', bucket ' || known.bucket_id AS subject,
               'live ' || coalesce(c.live, 0) || ' for ' || coalesce(s.live, 0)
               || ', reserved ' || coalesce(c.reserved, 0) || ' for ' || coalesce(s.reserved, 0)
               || ', orphan ' || coalesce(c.orphan, 0) || ' for ' || coalesce(s.orphan, 0)
               || ', objects ' || coalesce(c.objects, 0) || ' for ' || coalesce(s.objects, 0)
               || ', held ' || coalesce(c.held, 0) || ' for ' || coalesce(s.held, 0) AS detail
          FROM (SELECT backend, bucket_id FROM byte_counts
                UNION SELECT backend, coalesce(bucket_id, 0) FROM blobs) known
          LEFT JOIN ({_SUMS}) s ON s.backend = known.backend AND s.bucket_id = known.bucket_id
          LEFT JOIN ({_COUNTED}) c ON c.backend = known.backend AND c.bucket_id = known.bucket_id
         WHERE {_DIFFERENT}
        """,
        repairable=True,
    ),
    Rule(
        "L4",
        "the totals of the backend differ from the sums over the rows",
        f"""
        SELECT known.backend AS subject
          FROM (SELECT backend FROM blobs UNION SELECT backend FROM backend_counts) known
          LEFT JOIN (SELECT backend, sum(live) AS live, sum(reserved) AS reserved, sum(orphan) AS orphan
                       FROM ({_SUMS}) sums GROUP BY backend) s ON s.backend = known.backend
          LEFT JOIN (SELECT backend, sum(live) AS live, sum(reserved) AS reserved, sum(orphan) AS orphan
                       FROM backend_counts GROUP BY backend) c ON c.backend = known.backend
         WHERE coalesce(s.live, 0) <> coalesce(c.live, 0)
            OR coalesce(s.reserved, 0) <> coalesce(c.reserved, 0)
            OR coalesce(s.orphan, 0) <> coalesce(c.orphan, 0)
        """,
        repairable=True,
    ),
    Rule(
        "L4",
        "the guard of the backend differs from what is taken",
        f"""
        SELECT g.backend AS subject, g.taken || ' for ' || coalesce(s.taken, 0) AS detail
          FROM backend_guards g
          LEFT JOIN (SELECT backend, sum(live + reserved + orphan) AS taken FROM ({_SUMS}) sums
                      GROUP BY backend) s ON s.backend = g.backend
         WHERE g.taken <> coalesce(s.taken, 0)
        """,
        repairable=True,
    ),
    Rule(
        "L4",
        "the guard of the bucket differs from what is taken",
        f"""
        SELECT 'bucket ' || g.bucket_id AS subject, g.taken || ' for ' || coalesce(s.taken, 0) AS detail
          FROM bucket_guards g
          LEFT JOIN (SELECT bucket_id, sum(live + reserved + orphan) AS taken FROM ({_SUMS}) sums
                      GROUP BY bucket_id) s ON s.bucket_id = g.bucket_id
         WHERE g.taken <> coalesce(s.taken, 0)
        """,
        repairable=True,
    ),
    Rule(
        "L5",
        "the key has not exactly one latest version",
        """
        SELECT 'bucket ' || bucket_id || ', ' || key AS subject FROM versions GROUP BY bucket_id, key
        HAVING sum(CASE WHEN is_latest THEN 1 ELSE 0 END) <> 1
        """,
    ),
    Rule(
        "L5",
        "a version that is not the latest is newer than it",
        """
        SELECT 'bucket ' || v.bucket_id || ', ' || v.key AS subject, o.version_id AS detail
          FROM versions o JOIN versions v ON v.bucket_id = o.bucket_id AND v.key = o.key AND v.is_latest
         WHERE NOT o.is_latest AND o.modified_ms >= v.modified_ms
        """,
    ),
    Rule(
        "L5",
        "the version is in a bucket that does not exist",
        """
        SELECT 'bucket ' || v.bucket_id || ', ' || v.key AS subject
          FROM versions v LEFT JOIN buckets k ON k.id = v.bucket_id
         WHERE k.id IS NULL OR k.deleted_ms IS NOT NULL
        """,
    ),
    Rule(
        "L8",
        "the blob's name is taken for clear although something may have been sent for it",
        """
        SELECT 'blob ' || id AS subject, state AS detail FROM blobs
         WHERE NOT unclear AND (state = 'pending' OR (state = 'doomed' AND owner IS NOT NULL))
        """,
    ),
    Rule(
        "L8",
        "the live blob's name is taken for unclear",
        "SELECT 'blob ' || id AS subject, name AS detail FROM blobs WHERE state = 'live' AND unclear",
    ),
    Rule(
        "L8",
        "nobody will ever come back to the blob",
        """
        SELECT 'blob ' || id AS subject, state AS detail FROM blobs
         WHERE state IN ('doomed', 'resting') AND due_ms IS NULL
        """,
    ),
    Rule(
        "owners",
        "the blob's owner does not exist",
        """
        SELECT 'blob ' || b.id AS subject, b.state AS detail
          FROM blobs b LEFT JOIN owners o ON o.id = b.owner
         WHERE b.owner IS NOT NULL AND o.id IS NULL
        """,
    ),
    Rule(
        "owners",
        "the blob has an owner although there is nothing to do",
        """
        SELECT 'blob ' || b.id AS subject, b.state AS detail
          FROM blobs b LEFT JOIN uploads u ON u.id = b.upload_id
         WHERE b.owner IS NOT NULL
           AND (b.state IN ('live', 'dead') OR (b.state = 'pending' AND u.backend_upload IS NOT NULL))
        """,
    ),
    Rule(
        "multipart",
        "the upload is in progress without a pending blob of its own",
        """
        SELECT 'upload ' || u.id AS subject, coalesce(b.state, 'no blob') AS detail
          FROM uploads u LEFT JOIN blobs b ON b.id = u.blob_id AND b.upload_id = u.id
         WHERE u.state IN ('open', 'completing') AND (b.id IS NULL OR b.state <> 'pending')
        """,
    ),
    Rule(
        "multipart",
        "the pending blob is of an upload that is not in progress",
        """
        SELECT 'blob ' || b.id AS subject, coalesce(u.state, 'no upload') AS detail
          FROM blobs b LEFT JOIN uploads u ON u.id = b.upload_id
         WHERE b.state = 'pending' AND b.upload_id IS NOT NULL
           AND (u.id IS NULL OR u.state NOT IN ('open', 'completing'))
        """,
    ),
    Rule(
        "multipart",
        "what is reserved for the upload differs from the sum of its parts",
        """
        SELECT 'upload ' || u.id AS subject,
               b.size || ' for ' || (SELECT coalesce(sum(p.size), 0) FROM parts p WHERE p.upload_id = u.id)
               AS detail
          FROM uploads u JOIN blobs b ON b.id = u.blob_id
         WHERE u.state IN ('open', 'completing')
           AND b.size <> (SELECT coalesce(sum(p.size), 0) FROM parts p WHERE p.upload_id = u.id)
        """,
    ),
    Rule(
        "multipart",
        "there are parts of an upload that is not in progress",
        """
        SELECT DISTINCT 'upload ' || p.upload_id AS subject, coalesce(u.state, 'no upload') AS detail
          FROM parts p LEFT JOIN uploads u ON u.id = p.upload_id
         WHERE u.id IS NULL OR u.state NOT IN ('open', 'completing')
        """,
    ),
    Rule(
        "multipart",
        "two attempts at one part count",
        """
        SELECT 'upload ' || upload_id AS subject, 'part ' || number AS detail FROM parts
         WHERE counts GROUP BY upload_id, number HAVING count(*) > 1
        """,
    ),
)

RECOUNT = (
    "DELETE FROM byte_counts",
    f"""
    INSERT INTO byte_counts (backend, bucket_id, shard, live, reserved, orphan, objects, held)
    SELECT backend, bucket_id, 0, live, reserved, orphan, objects, held FROM ({_SUMS}) sums
    """,
    "DELETE FROM backend_counts",
    """
    INSERT INTO backend_counts (backend, shard, live, reserved, orphan)
    SELECT backend, 0, sum(live), sum(reserved), sum(orphan) FROM byte_counts GROUP BY backend
    """,
    """
    UPDATE backend_guards SET taken = (SELECT coalesce(sum(live + reserved + orphan), 0) FROM byte_counts c
                                        WHERE c.backend = backend_guards.backend)
    """,
    """
    UPDATE bucket_guards SET taken = (SELECT coalesce(sum(live + reserved + orphan), 0) FROM byte_counts c
                                       WHERE c.bucket_id = bucket_guards.bucket_id)
    """,
)


_SOME = {rule.statement: f"SELECT * FROM ({rule.statement}) found LIMIT :limit" for rule in RULES}
_NUMBER = {rule.statement: f"SELECT count(*) FROM ({rule.statement}) found" for rule in RULES}


def _finding(rule: Rule, row: Row) -> Finding:
    detail = f" ({row[1]})" if len(row) > 1 else ""
    return Finding(rule.name, row["subject"], rule.message + detail, rule.repairable)


async def check(database: IDatabase) -> list[Finding]:
    """Return everything that breaks a rule, looked at in one snapshot."""

    async def work(tx: ITransaction) -> list[Finding]:
        findings = []
        for rule in RULES:
            for row in await tx.all(rule.statement):
                findings.append(_finding(rule, row))
        return findings

    return await database.snapshot(work)


async def look(database: IDatabase, most: int) -> tuple[list[Finding], int]:
    """
    Return at most `most` of what `check` would return, and how many it would be; nobody waits meanwhile.
    """

    async def work(tx: ITransaction) -> tuple[list[Finding], int]:
        findings: list[Finding] = []
        number = 0
        for rule in RULES:
            room = most - len(findings)
            rows = await tx.all(_SOME[rule.statement], limit=room + 1)
            findings += [_finding(rule, row) for row in rows[:room]]
            if len(rows) > room:
                (row,) = await tx.all(_NUMBER[rule.statement])
                number += row[0]
            else:
                number += len(rows)
        return findings, number

    return await database.snapshot(work)


async def repair(database: IDatabase, findings: Sequence[Finding]) -> int:
    """
    Mend what can be mended without losing data, which is the counters; returns how many findings that was.
    """
    repairable = [finding for finding in findings if finding.repairable]

    async def work(tx: ITransaction) -> None:
        await tx.soon(STOP_WRITERS)
        for statement in RECOUNT:
            await tx.run(statement)

    if repairable:
        await database.at_length(work)
    return len(repairable)
