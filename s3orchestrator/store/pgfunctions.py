"""
Functions on a PostgreSQL server: what reserving, committing and deleting an object do there.

Each does what the statements of `reserving`, `committing` and `removing` do in the ordinary case, and
changes nothing where it is not: then those are executed, and say what is wrong. Locks are taken
before, by statements of their own: a function sees what was committed before each of its own
statements began.

A function is named after its text, and is made when it is missed, so that releases which differ may
work on one ledger. Plans are kept with a session, from a time when tables may have been empty: so none
of them may read a whole one.
"""

from __future__ import annotations

from hashlib import sha256

from attrs import frozen

from s3orchestrator.domain.records import NULL_VERSION
from s3orchestrator.interfaces import ITransaction

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

# The rows of counters are locked in the order of names, those of buckets first, as `Tally` does.
_COUNT = """
    INSERT INTO byte_counts (backend, bucket_id, shard, live, reserved, orphan, objects, held)
    SELECT backend, the_bucket, $shard, sum(live), sum(reserved), sum(orphan), sum(objects), sum(held)
      FROM ({changes}) AS change GROUP BY backend ORDER BY backend
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
_CHANGE = """
    SELECT the_backend COLLATE "C" AS backend, {live} AS live, {reserved} AS reserved,
           0 AS orphan, {objects} AS objects, {held} AS held
"""
_GONE = """
    SELECT gone.backend COLLATE "C" AS backend, -gone.size AS live, 0 AS reserved,
           gone.size AS orphan, -1 AS objects, 0 AS held
      FROM unnest(gone_backends, gone_sizes) AS gone (backend, size)
"""
_DOOM = """
    UPDATE blobs
       SET state = 'doomed', version = NULL, unclear = TRUE, owner = the_owner,
           operation = the_operation, due_ms = the_time, doomed_ms = the_time, reason = the_reason
     WHERE version = latest.id AND state = 'live'
    RETURNING *
"""

_RESERVED = _CHANGE.format(live=0, reserved="the_size", objects=0, held=1)
RESERVE = Function(
    "reserve",
    f"""
(the_bucket bigint, the_key text, the_backend text, the_plain text, the_other text, the_size bigint,
 the_time bigint, the_owner bigint, the_operation bigint, OUT new_id bigint, OUT new_name text)
{_HOW} $$body$$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT 1 FROM buckets WHERE id = the_bucket AND deleted_ms IS NULL)
       OR EXISTS (SELECT 1 FROM bucket_guards WHERE bucket_id = the_bucket)
       OR EXISTS (SELECT 1 FROM backends WHERE name = the_backend AND is_draining) THEN
        RETURN;
    END IF;
    UPDATE backend_guards SET taken = taken + the_size
     WHERE backend = the_backend AND taken + the_size <= bytes_limit;
    IF NOT FOUND AND EXISTS (SELECT 1 FROM backend_guards WHERE backend = the_backend) THEN
        RETURN;
    END IF;
    new_name := the_plain;
    IF the_plain IS NULL
       OR EXISTS (SELECT 1 FROM blobs WHERE backend = the_backend AND name = the_plain) THEN
        new_name := the_other;
    END IF;
    INSERT INTO blobs (backend, name, state, size, created_ms, bucket_id, key, is_plain, owner, operation)
    VALUES (the_backend, new_name, 'pending', the_size, the_time, the_bucket, the_key,
            new_name IS NOT DISTINCT FROM the_plain, the_owner, the_operation)
    RETURNING id INTO new_id;
    {_COUNT.format(changes=_RESERVED)}
END
$$body$$
""",
)

_COMMITTED = _CHANGE.format(live="the_size", reserved="-the_size", objects=1, held=0)
COMMIT = Function(
    "commit",
    f"""
(the_bucket bigint, the_key text, the_backend text, the_blob bigint, the_size bigint, blob_etag text,
 blob_version text, new_etag text, new_metadata text, new_class text, new_algorithm text,
 new_value text, new_kind text, new_parts text, new_sha256 text, the_time bigint, the_owner bigint,
 the_operation bigint, the_reason text)
RETURNS TABLE (new_id bigint, new_modified_ms bigint, displaced blobs)
{_HOW} $$body$$
#variable_conflict use_column
DECLARE
    latest record;
    gone_backends text[];
    gone_sizes bigint[];
BEGIN
    IF NOT EXISTS (SELECT 1 FROM buckets WHERE id = the_bucket AND deleted_ms IS NULL) THEN
        RETURN;
    END IF;
    SELECT id, version_id, modified_ms INTO latest
      FROM versions WHERE bucket_id = the_bucket AND key = the_key AND is_latest;
    IF latest.version_id <> '{NULL_VERSION}' THEN
        RETURN;
    END IF;
    -- The version has its number before its row: the blob needs it, and tells whether to go on.
    new_id := nextval(CAST(pg_get_serial_sequence('versions', 'id') AS regclass));
    new_modified_ms := greatest(the_time, latest.modified_ms + 1);
    UPDATE blobs
       SET state = 'live', etag = blob_etag, backend_version = blob_version, version = new_id,
           was_live = TRUE, unclear = FALSE, owner = NULL, seen_ms = the_time
     WHERE id = the_blob AND state = 'pending' AND size = the_size;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF latest.id IS NOT NULL THEN
        FOR displaced IN {_DOOM} LOOP
            gone_backends := gone_backends || displaced.backend;
            gone_sizes := gone_sizes || displaced.size;
            RETURN NEXT;
        END LOOP;
        DELETE FROM versions WHERE id = latest.id;
    END IF;
    IF gone_sizes IS NULL THEN
        displaced := NULL;
        RETURN NEXT;
    END IF;
    INSERT INTO versions (id, bucket_id, key, version_id, is_latest, is_delete_marker, size, etag,
                          modified_ms, metadata, storage_class, checksum_algorithm, checksum_value,
                          checksum_kind, parts, sha256)
    VALUES (new_id, the_bucket, the_key, '{NULL_VERSION}', TRUE, FALSE, the_size, new_etag,
            new_modified_ms, new_metadata, new_class, new_algorithm, new_value,
            new_kind, new_parts, new_sha256);
    {_COUNT.format(changes=f"{_COMMITTED} UNION ALL {_GONE}")}
END
$$body$$
""",
)

REMOVE = Function(
    "remove",
    f"""
(the_bucket bigint, the_key text, the_time bigint, the_owner bigint, the_operation bigint, the_reason text)
RETURNS TABLE (old_version_id text, was_delete_marker boolean, doomed blobs)
{_HOW} $$body$$
#variable_conflict use_column
DECLARE
    latest record;
    gone_backends text[];
    gone_sizes bigint[];
BEGIN
    SELECT id, version_id, is_delete_marker INTO latest
      FROM versions WHERE bucket_id = the_bucket AND key = the_key AND is_latest;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    old_version_id := latest.version_id;
    was_delete_marker := latest.is_delete_marker;
    FOR doomed IN {_DOOM} LOOP
        gone_backends := gone_backends || doomed.backend;
        gone_sizes := gone_sizes || doomed.size;
        RETURN NEXT;
    END LOOP;
    IF gone_sizes IS NULL THEN
        doomed := NULL;
        RETURN NEXT;
    END IF;
    DELETE FROM versions WHERE id = latest.id;
    UPDATE versions SET is_latest = TRUE
     WHERE id = (SELECT id FROM versions
                  WHERE bucket_id = the_bucket AND key = the_key AND NOT is_latest
                  ORDER BY modified_ms DESC LIMIT 1);
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
