-- compatible-with: 2
--
-- What byte_counts adds up to per backend: placing an object must not read a row per bucket.

CREATE TABLE backend_counts (
    backend   text    NOT NULL $bytewise,
    shard     integer NOT NULL,
    live      bigint  NOT NULL,
    reserved  bigint  NOT NULL,
    orphan    bigint  NOT NULL,
    PRIMARY KEY (backend, shard)
) $by_key;

INSERT INTO backend_counts (backend, shard, live, reserved, orphan)
SELECT backend, 0, sum(live), sum(reserved), sum(orphan) FROM byte_counts GROUP BY backend;
