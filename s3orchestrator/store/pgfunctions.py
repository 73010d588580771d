"""
Functions on a PostgreSQL server: what reserving, committing and deleting objects do there.

Each does what the statements of `reserving`, `committing` and `removing` do in the ordinary case. Where
it is not, nothing is changed: then those are executed, and say what is wrong. A function sees what was
committed before each of its own statements began, so a lock is taken before what it is for is read.

Each is given a list, and answers with the numbers of those that were ordinary. One is not
whose locks somebody else has: the others should not wait for that, so nobody waits for locks here, and the
order in which they are taken does not matter. Rows are locked in the same order by everybody.

Nor is what comes late: a string may reach the server long after its sender has hung up, told a client that
nobody knows, and seen others go on. Elsewhere COMMIT is what comes late then, and the locks have been held.

A function is named after its text, and is made when it is missed, so that releases which differ may
work on one ledger. Plans are kept with a session, from a time when tables may have been empty: so none
of them may read a whole one.
"""

from __future__ import annotations

import re
from hashlib import sha256

from attrs import frozen

from s3orchestrator.domain.records import NULL_VERSION
from s3orchestrator.interfaces import ITransaction
from s3orchestrator.store.sql import BACKEND_LOCK, BUCKET_LOCK, KEY_LOCK
from s3orchestrator.store.together import each_of

IS_MISSING = "SELECT to_regproc(:name) IS NULL AS missing"


@frozen
class Function:
    """One function; `text` is what follows its name where it is made."""

    verb: str
    text: str

    @property
    def name(self) -> str:
        """What it is called by the server."""
        return f"s3o_{self.verb}_{sha256(self.text.encode()).hexdigest()[:8]}"


_HOW = "LANGUAGE plpgsql SET enable_seqscan = off AS"


def _of_one(parameters: str) -> str:
    return re.sub(r":(\w+)", r"one.\1", parameters)


_BUCKET_IS_HELD = f"pg_try_advisory_xact_lock_shared({_of_one(BUCKET_LOCK)})"
_BACKEND_IS_HELD = f"pg_try_advisory_xact_lock_shared({_of_one(BACKEND_LOCK)})"
_KEY_IS_LOCKED = f"pg_try_advisory_xact_lock({_of_one(KEY_LOCK)})"
# To be looked at with the locks held: whoever gets them afterwards comes after what is done here.
_IS_LATE = "extract(epoch FROM clock_timestamp()) * 1000 > until_ms"

# The rows of counters are locked in the order of names, those of buckets first, as `Tally` does.
_COUNT = """
    INSERT INTO byte_counts (backend, bucket_id, shard, live, reserved, orphan, objects, held)
    SELECT backend, bucket_id, $shard, sum(live), sum(reserved), sum(orphan), sum(objects), sum(held)
      FROM ({changes}) AS change GROUP BY backend, bucket_id ORDER BY backend, bucket_id
    ON CONFLICT (backend, bucket_id, shard) DO UPDATE
       SET live = byte_counts.live + excluded.live,
           reserved = byte_counts.reserved + excluded.reserved,
           orphan = byte_counts.orphan + excluded.orphan,
           objects = byte_counts.objects + excluded.objects,
           held = byte_counts.held + excluded.held;
    INSERT INTO backend_counts (backend, shard, live, reserved, orphan)
    SELECT backend, $shard, sum(live), sum(reserved), sum(orphan)
      FROM ({changes}) AS change GROUP BY backend ORDER BY backend
    ON CONFLICT (backend, shard) DO UPDATE
       SET live = backend_counts.live + excluded.live,
           reserved = backend_counts.reserved + excluded.reserved,
           orphan = backend_counts.orphan + excluded.orphan;
"""


def _changes(
    blobs: str, *, live: str = "0", reserved: str = "0", orphan: str = "0", objects: int = 0, held: int = 0
) -> str:
    """Return how the counters change with blobs, of which the function has three arrays."""
    return f"""
        SELECT blob.backend COLLATE "C" AS backend, blob.bucket_id, {live} AS live, {reserved} AS reserved,
               {orphan} AS orphan, {objects} AS objects, {held} AS held
          FROM unnest({blobs}_backends, {blobs}_buckets, {blobs}_sizes) AS blob (backend, bucket_id, size)
    """


_GONE = _changes("gone", live="-blob.size", orphan="blob.size", objects=-1)
_ARRAYS = """
    {blobs}_backends text[];
    {blobs}_buckets bigint[];
    {blobs}_sizes bigint[];
"""
_NOTE = """
    {blobs}_backends := {blobs}_backends || {of}.backend;
    {blobs}_buckets := {blobs}_buckets || {of}.bucket_id;
    {blobs}_sizes := {blobs}_sizes || {of}.size;
"""


_DOOM = """
    UPDATE blobs
       SET state = 'doomed', version = NULL, unclear = TRUE, owner = one.owner,
           operation = one.operation, due_ms = one.now_ms, doomed_ms = one.now_ms, reason = one.reason
     WHERE version = latest.id AND state = 'live'
    RETURNING *
"""

# Two that want names of each other's wait for each other, but for this order.
_TO_RESERVE = each_of(
    "the_list",
    {
        "bucket_id": "bigint",
        "key": "text",
        "backend": "text",
        "plain": "text",
        "other": "text",
        "size": "bigint",
        "now_ms": "bigint",
        "owner": "bigint",
        "operation": "bigint",
    },
)
RESERVE = Function(
    "reserve",
    f"""
(the_list json, until_ms bigint) RETURNS TABLE (number bigint, new_id bigint, new_name text)
{_HOW} $$body$$
#variable_conflict use_column
DECLARE
    one record;
    {_ARRAYS.format(blobs="new")}
BEGIN
    FOR one IN SELECT * FROM {_TO_RESERVE} ORDER BY backend COLLATE "C", plain COLLATE "C" LOOP
        CONTINUE WHEN NOT ({_BUCKET_IS_HELD} AND {_BACKEND_IS_HELD});
        EXIT WHEN {_IS_LATE};
        CONTINUE WHEN NOT EXISTS (SELECT 1 FROM buckets WHERE id = one.bucket_id AND deleted_ms IS NULL)
            OR EXISTS (SELECT 1 FROM bucket_guards WHERE bucket_id = one.bucket_id)
            OR EXISTS (SELECT 1 FROM backends WHERE name = one.backend AND is_draining);
        UPDATE backend_guards SET taken = taken + one.size
         WHERE backend = one.backend AND taken + one.size <= bytes_limit;
        CONTINUE WHEN NOT FOUND AND EXISTS (SELECT 1 FROM backend_guards WHERE backend = one.backend);
        number := one.number;
        new_name := one.plain;
        IF one.plain IS NULL
           OR EXISTS (SELECT 1 FROM blobs WHERE backend = one.backend AND name = one.plain) THEN
            new_name := one.other;
        END IF;
        INSERT INTO blobs (backend, name, state, size, created_ms, bucket_id, key, is_plain,
                           owner, operation)
        VALUES (one.backend, new_name, 'pending', one.size, one.now_ms, one.bucket_id, one.key,
                new_name IS NOT DISTINCT FROM one.plain, one.owner, one.operation)
        RETURNING id INTO new_id;
        {_NOTE.format(blobs="new", of="one")}
        RETURN NEXT;
    END LOOP;
    {_COUNT.format(changes=_changes("new", reserved="blob.size", held=1))}
END
$$body$$
""",
)

_TO_COMMIT = each_of(
    "the_list",
    {
        "bucket_id": "bigint",
        "key": "text",
        "backend": "text",
        "blob_id": "bigint",
        "size": "bigint",
        "blob_etag": "text",
        "backend_version": "text",
        "etag": "text",
        "metadata": "text",
        "storage_class": "text",
        "algorithm": "text",
        "value": "text",
        "kind": "text",
        "parts": "text",
        "sha256": "text",
        "now_ms": "bigint",
        "owner": "bigint",
        "operation": "bigint",
        "reason": "text",
    },
)
_MADE = _changes("new", live="blob.size", reserved="-blob.size", objects=1)
COMMIT = Function(
    "commit",
    f"""
(the_list json, until_ms bigint)
RETURNS TABLE (number bigint, new_id bigint, new_modified_ms bigint, displaced blobs)
{_HOW} $$body$$
#variable_conflict use_column
DECLARE
    one record;
    latest record;
    has_displaced boolean;
    ids regclass := pg_get_serial_sequence('versions', 'id');
    {_ARRAYS.format(blobs="new")}
    {_ARRAYS.format(blobs="gone")}
BEGIN
    FOR one IN SELECT * FROM {_TO_COMMIT} LOOP
        CONTINUE WHEN NOT ({_BUCKET_IS_HELD} AND {_KEY_IS_LOCKED});
        EXIT WHEN {_IS_LATE};
        CONTINUE WHEN NOT EXISTS (SELECT 1 FROM buckets WHERE id = one.bucket_id AND deleted_ms IS NULL);
        SELECT id, version_id, modified_ms INTO latest
          FROM versions WHERE bucket_id = one.bucket_id AND key = one.key AND is_latest;
        CONTINUE WHEN latest.version_id <> '{NULL_VERSION}';
        -- The version has its number before its row: the blob needs it, and tells whether to go on.
        new_id := nextval(ids);
        new_modified_ms := greatest(one.now_ms, latest.modified_ms + 1);
        UPDATE blobs
           SET state = 'live', etag = one.blob_etag, backend_version = one.backend_version,
               version = new_id, was_live = TRUE, unclear = FALSE, owner = NULL, seen_ms = one.now_ms
         WHERE id = one.blob_id AND state = 'pending' AND size = one.size;
        CONTINUE WHEN NOT FOUND;
        number := one.number;
        has_displaced := FALSE;
        IF latest.id IS NOT NULL THEN
            FOR displaced IN {_DOOM} LOOP
                has_displaced := TRUE;
                {_NOTE.format(blobs="gone", of="displaced")}
                RETURN NEXT;
            END LOOP;
            DELETE FROM versions WHERE id = latest.id;
        END IF;
        IF NOT has_displaced THEN
            displaced := NULL;
            RETURN NEXT;
        END IF;
        INSERT INTO versions (id, bucket_id, key, version_id, is_latest, is_delete_marker, size, etag,
                              modified_ms, metadata, storage_class, checksum_algorithm, checksum_value,
                              checksum_kind, parts, sha256)
        VALUES (new_id, one.bucket_id, one.key, '{NULL_VERSION}', TRUE, FALSE, one.size, one.etag,
                new_modified_ms, one.metadata, one.storage_class, one.algorithm, one.value,
                one.kind, one.parts, one.sha256);
        {_NOTE.format(blobs="new", of="one")}
    END LOOP;
    {_COUNT.format(changes=f"{_MADE} UNION ALL {_GONE}")}
END
$$body$$
""",
)

_TO_REMOVE = each_of(
    "the_list",
    {
        "bucket_id": "bigint",
        "key": "text",
        "now_ms": "bigint",
        "owner": "bigint",
        "operation": "bigint",
        "reason": "text",
    },
)
REMOVE = Function(
    "remove",
    f"""
(the_list json, until_ms bigint)
RETURNS TABLE (number bigint, old_version_id text, was_delete_marker boolean, doomed blobs)
{_HOW} $$body$$
#variable_conflict use_column
DECLARE
    one record;
    latest record;
    has_doomed boolean;
    {_ARRAYS.format(blobs="gone")}
BEGIN
    FOR one IN SELECT * FROM {_TO_REMOVE} LOOP
        CONTINUE WHEN NOT ({_BUCKET_IS_HELD} AND {_KEY_IS_LOCKED});
        EXIT WHEN {_IS_LATE};
        SELECT id, version_id, is_delete_marker INTO latest
          FROM versions WHERE bucket_id = one.bucket_id AND key = one.key AND is_latest;
        number := one.number;
        old_version_id := latest.version_id;
        was_delete_marker := latest.is_delete_marker;
        has_doomed := FALSE;
        FOR doomed IN {_DOOM} LOOP
            has_doomed := TRUE;
            {_NOTE.format(blobs="gone", of="doomed")}
            RETURN NEXT;
        END LOOP;
        IF NOT has_doomed THEN
            doomed := NULL;
            RETURN NEXT;
        END IF;
        CONTINUE WHEN latest.id IS NULL;
        DELETE FROM versions WHERE id = latest.id;
        UPDATE versions SET is_latest = TRUE
         WHERE id = (SELECT id FROM versions
                      WHERE bucket_id = one.bucket_id AND key = one.key AND NOT is_latest
                      ORDER BY modified_ms DESC LIMIT 1);
    END LOOP;
    {_COUNT.format(changes=_GONE)}
END
$$body$$
""",
)


async def make_functions(tx: ITransaction) -> None:
    """Make what is missing; the caller sees to it that nobody else does so at the same time."""
    for function in (RESERVE, COMMIT, REMOVE):
        found = await tx.one(IS_MISSING, name=function.name)
        if found is not None and found["missing"]:
            await tx.run(f"CREATE FUNCTION {function.name} {function.text}")
