CREATE ROLE s3orchestrator LOGIN PASSWORD 'something long';
CREATE DATABASE s3orchestrator OWNER s3orchestrator TEMPLATE template0 ENCODING 'UTF8';
