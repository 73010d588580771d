-- compatible-with: 4
--
-- Whether a ledger is behind its backends (L9). backends.marker is the number of the marker there, 0 until
-- there surely is one. Older releases know nothing of it, and are as safe with it as they were without.

ALTER TABLE backends ADD COLUMN marked_ms bigint NOT NULL DEFAULT 0;  -- when that began to be written

ALTER TABLE backends ADD COLUMN is_behind boolean NOT NULL DEFAULT FALSE;

ALTER TABLE ledger ADD COLUMN origin text;  -- which server's, and which of its histories; NULL without a server
