"""Removing a version: its blobs are doomed, and the next one becomes the latest."""

from __future__ import annotations

from s3orchestrator.domain.records import Bucket, Removed
from s3orchestrator.errors import OrchestratorError
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.protocol.conditions import WriteCondition
from s3orchestrator.store.committing import DROP_VERSION
from s3orchestrator.store.counting import Tally
from s3orchestrator.store.dooming import Claim, doom_version

NAMED = """
    SELECT id, version_id, etag, is_latest, is_delete_marker FROM versions
     WHERE bucket_id = :bucket_id AND key = :key AND version_id = :version_id
"""
LATEST = """
    SELECT id, version_id, etag, is_latest, is_delete_marker FROM versions
     WHERE bucket_id = :bucket_id AND key = :key AND is_latest
"""
NEXT_LATEST = """
    UPDATE versions SET is_latest = TRUE
     WHERE id = (SELECT id FROM versions
                  WHERE bucket_id = :bucket_id AND key = :key AND NOT is_latest
                  ORDER BY modified_ms DESC LIMIT 1)
"""


async def remove(
    tx: ITransaction,
    tally: Tally,
    bucket: Bucket,
    key: str,
    version_id: str | None,
    condition: WriteCondition | None,
    claim: Claim,
) -> Removed:
    """Remove one version; a refusal is part of the answer, and has changed nothing."""
    if version_id is None:
        row = await tx.one(LATEST, bucket_id=bucket.id, key=key)
    else:
        row = await tx.one(NAMED, bucket_id=bucket.id, key=key, version_id=version_id)
    if condition:
        try:
            condition.check(None if row is None or row["is_delete_marker"] else row["etag"])
        except OrchestratorError as error:
            return Removed(key, error=error)
    if row is None:
        return Removed(key)
    doomed = await doom_version(tx, tally, row["id"], claim)
    await tx.soon(DROP_VERSION, id=row["id"])
    if row["is_latest"]:
        await tx.soon(NEXT_LATEST, bucket_id=bucket.id, key=key)
    return Removed(key, row["version_id"], bool(row["is_delete_marker"]), doomed)
