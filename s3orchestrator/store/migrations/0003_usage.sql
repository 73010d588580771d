-- compatible-with: 2
--
-- What was used of each backend in each month; see domain/usage.py.

CREATE TABLE backend_usage (
    backend_name   text   NOT NULL $bytewise,
    period         text   NOT NULL $bytewise,  -- YYYY-MM, in UTC
    api_requests   bigint NOT NULL,
    egress_bytes   bigint NOT NULL,
    ingress_bytes  bigint NOT NULL,
    updated_ms     bigint NOT NULL,
    PRIMARY KEY (period, backend_name)
) $by_key;
