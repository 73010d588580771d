-- compatible-with: 1
--
-- The ledger: versions, blobs, uploads, and what is counted about them.
-- Times are ledger time in milliseconds since the epoch and end in _ms; sizes are bytes.
-- Indexes on blobs are partial wherever they can be, since every write passes through them.

CREATE TABLE ledger (
    id          text   PRIMARY KEY,
    created_ms  bigint NOT NULL,
    commits     bigint NOT NULL             -- groups committed; SQLite reads back from it
);

-- One row per process. Pending blobs and claims name theirs.
CREATE TABLE owners (
    id              $identity,
    started_ms      bigint  NOT NULL,
    lease_until_ms  bigint,                 -- NULL where there can be only one process
    schema_level    integer NOT NULL
);

CREATE TABLE backends (
    name         text    PRIMARY KEY $bytewise,
    is_draining  boolean NOT NULL DEFAULT FALSE,
    marker       bigint  NOT NULL DEFAULT 0
);

-- A guard row exists where there is a limit, and holds it.
CREATE TABLE backend_guards (
    backend      text   PRIMARY KEY $bytewise,
    taken        bigint NOT NULL,
    bytes_limit  bigint NOT NULL
);

CREATE TABLE bucket_guards (
    bucket_id    bigint PRIMARY KEY,
    taken        bigint NOT NULL,
    bytes_limit  bigint NOT NULL
);

-- What the rows of blobs add up to. May be sharded; the guards may not. Bucket 0 is none.
CREATE TABLE byte_counts (
    backend    text    NOT NULL $bytewise,
    bucket_id  bigint  NOT NULL,
    shard      integer NOT NULL,
    live       bigint  NOT NULL,
    reserved   bigint  NOT NULL,
    orphan     bigint  NOT NULL,
    objects    bigint  NOT NULL,            -- live blobs
    held       bigint  NOT NULL,            -- blobs of any state
    PRIMARY KEY (backend, bucket_id, shard)
) $by_key;

CREATE INDEX byte_counts_by_bucket ON byte_counts (bucket_id);

CREATE TABLE buckets (
    id          $identity,
    name        text   NOT NULL $bytewise,
    owner       text,                       -- a user; NULL for one of the configuration file
    created_ms  bigint NOT NULL,
    deleted_ms  bigint,                     -- the row stays until its last blob has gone
    versioning  text   NOT NULL DEFAULT 'off'
);

CREATE UNIQUE INDEX buckets_by_name ON buckets (name) WHERE deleted_ms IS NULL;
CREATE INDEX buckets_deleted ON buckets (deleted_ms) WHERE deleted_ms IS NOT NULL;

CREATE TABLE versions (
    id                  $identity,
    bucket_id           bigint  NOT NULL,
    key                 text    NOT NULL $bytewise,
    version_id          text    NOT NULL $bytewise,
    is_latest           boolean NOT NULL,
    is_delete_marker    boolean NOT NULL,
    size                bigint  NOT NULL,   -- as the client knows it
    etag                text    NOT NULL,
    modified_ms         bigint  NOT NULL,
    metadata            text    NOT NULL,
    storage_class       text    NOT NULL,
    checksum_algorithm  text,
    checksum_value      text,
    checksum_kind       text,
    parts               text,
    sha256              text,
    tags                text,
    retain_mode         text,
    retain_until_ms     bigint,
    legal_hold          boolean NOT NULL DEFAULT FALSE
);

CREATE UNIQUE INDEX versions_by_id ON versions (bucket_id, key, version_id);
CREATE UNIQUE INDEX versions_latest ON versions (bucket_id, key) WHERE is_latest;
CREATE INDEX versions_older ON versions (bucket_id, key, modified_ms DESC) WHERE NOT is_latest;

CREATE TABLE blobs (
    id               $identity,
    backend          text    NOT NULL $bytewise,
    name             text    NOT NULL $bytewise,
    state            text    NOT NULL,
    size             bigint  NOT NULL,      -- reserved while pending, stored afterwards
    created_ms       bigint  NOT NULL,
    bucket_id        bigint,                -- NULL for scratch objects
    key              text    $bytewise,
    etag             text    NOT NULL DEFAULT '',
    backend_version  text,
    is_plain         boolean NOT NULL,
    was_live         boolean NOT NULL DEFAULT FALSE,
    unclear          boolean NOT NULL DEFAULT TRUE,
    suspect          boolean NOT NULL DEFAULT FALSE,
    attempts         integer NOT NULL DEFAULT 0,
    upload_id        text    $bytewise,
    multipart        boolean NOT NULL DEFAULT FALSE,
    version          bigint,                -- of versions; set exactly while live
    owner            bigint,                -- who works on it; NULL for nobody
    operation        bigint,                -- as part of what; counted per owner
    due_ms           bigint,                -- doomed: next attempt; resting: end of the rest
    doomed_ms        bigint,
    reason           text,
    last_error       text,
    seen_ms          bigint,                -- last found good on the backend
    envelope         text,                  -- format, chunk size, segment sizes
    key_id           text,
    wrapped_key      $bytes
);

CREATE UNIQUE INDEX blobs_by_name ON blobs (backend, name);
CREATE INDEX blobs_by_version ON blobs (version) WHERE version IS NOT NULL;
CREATE INDEX blobs_pending ON blobs (owner) WHERE state = 'pending' AND upload_id IS NULL;
CREATE INDEX blobs_doomed ON blobs (owner, due_ms) WHERE state = 'doomed';
CREATE INDEX blobs_resting ON blobs (owner, unclear, due_ms) WHERE state = 'resting';
CREATE INDEX blobs_dead ON blobs (backend, id) WHERE state = 'dead';
CREATE INDEX blobs_suspect ON blobs (backend, id) WHERE suspect;

CREATE TABLE uploads (
    id                  text   PRIMARY KEY $bytewise,
    bucket_id           bigint NOT NULL,
    key                 text   NOT NULL $bytewise,
    state               text   NOT NULL,
    blob_id             bigint NOT NULL,
    owner               text   NOT NULL,    -- the user who began it
    initiated_ms        bigint NOT NULL,
    active_ms           bigint NOT NULL,    -- last heard of; once completed, when
    backend_upload      text,
    metadata            text   NOT NULL,
    checksum_algorithm  text,
    checksum_kind       text,
    listed              text,               -- what Complete fixed
    result              text                -- what Complete answered
);

CREATE UNIQUE INDEX uploads_by_blob ON uploads (blob_id);
CREATE INDEX uploads_open ON uploads (bucket_id, key, initiated_ms, id)
    WHERE state IN ('open', 'completing');
CREATE INDEX uploads_active ON uploads (active_ms) WHERE state IN ('open', 'completing');
CREATE INDEX uploads_completed ON uploads (active_ms) WHERE state = 'completed';

-- Attempts at parts; those that count are the parts.
CREATE TABLE parts (
    upload_id           text    NOT NULL $bytewise,
    number              integer NOT NULL,
    attempt             integer NOT NULL,
    state               text    NOT NULL,   -- sending, stored, unclear
    counts              boolean NOT NULL DEFAULT FALSE,
    ended               integer,            -- counted together with attempt: what overlapped what
    size                bigint  NOT NULL,
    etag                text    NOT NULL DEFAULT '',
    backend_etag        text    NOT NULL DEFAULT '',
    modified_ms         bigint  NOT NULL DEFAULT 0,
    checksum_algorithm  text,
    checksum_value      text,
    checksum_kind       text,
    PRIMARY KEY (upload_id, number, attempt)
) $by_key;

-- One row per event and subscriber, written with the change it tells of.
CREATE TABLE outbox (
    id          $identity,
    event       text    NOT NULL,
    endpoint    text    NOT NULL,
    payload     text    NOT NULL,
    created_ms  bigint  NOT NULL,
    due_ms      bigint  NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    last_error  text,
    owner       bigint,
    operation   bigint
);

CREATE INDEX outbox_due ON outbox (owner, due_ms);

-- For operators' queries, under the names they know.

CREATE VIEW backend_quotas AS
    SELECT known.backend AS backend_name,
           coalesce(sum(c.live), 0) AS bytes_used,
           coalesce(max(g.bytes_limit), 0) AS bytes_limit,
           coalesce(sum(c.orphan), 0) AS orphan_bytes,
           coalesce(sum(c.reserved), 0) AS reserved_bytes
      FROM (SELECT name AS backend FROM backends
            UNION SELECT backend FROM backend_guards
            UNION SELECT backend FROM byte_counts) known
      LEFT JOIN byte_counts c ON c.backend = known.backend
      LEFT JOIN backend_guards g ON g.backend = known.backend
     GROUP BY known.backend;

CREATE VIEW object_locations AS
    SELECT b.name || '/' || v.key AS object_key,
           o.backend AS backend_name,
           o.size AS size_bytes,
           o.key_id IS NOT NULL AS encrypted,
           o.wrapped_key AS encryption_key,
           o.key_id AS key_id,
           v.size AS plaintext_size,
           v.sha256 AS content_hash,
           $instant_of o.created_ms $as_instant AS created_at,
           o.name AS backend_key,
           v.version_id AS version_id,
           v.is_latest AS is_latest,
           o.suspect AS suspect
      FROM blobs o
      JOIN versions v ON v.id = o.version
      JOIN buckets b ON b.id = v.bucket_id
     WHERE o.state = 'live';

CREATE VIEW pending_objects AS
    SELECT o.id AS id,
           b.name || '/' || o.key AS object_key,
           o.backend AS backend_name,
           o.size AS size_bytes,
           o.key_id AS key_id,
           $instant_of o.created_ms $as_instant AS created_at,
           o.name AS backend_key,
           o.upload_id AS upload_id
      FROM blobs o
      LEFT JOIN buckets b ON b.id = o.bucket_id
     WHERE o.state = 'pending';

CREATE VIEW cleanup_queue AS
    SELECT id,
           backend AS backend_name,
           name AS object_key,
           reason,
           size AS size_bytes,
           $instant_of doomed_ms $as_instant AS created_at,
           $instant_of due_ms $as_instant AS next_retry,
           attempts,
           last_error,
           owner AS claimed_by
      FROM blobs
     WHERE state = 'doomed';

CREATE VIEW cleanup_dlq AS
    SELECT id,
           id AS original_id,
           backend AS backend_name,
           name AS object_key,
           reason,
           attempts,
           size AS size_bytes,
           $instant_of doomed_ms $as_instant AS first_enqueued_at,
           $instant_of due_ms $as_instant AS moved_at,
           last_error
      FROM blobs
     WHERE state = 'dead';
