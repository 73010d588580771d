-- compatible-with: 4
--
-- Several processes: a pending blob of an upload names its owner until the backend has confirmed
-- the upload. Older releases would take what lapsed owners left for somebody's.

CREATE INDEX uploads_opening ON uploads (initiated_ms)
    WHERE state IN ('open', 'completing') AND backend_upload IS NULL;
