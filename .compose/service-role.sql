-- Creates the role that the service connects as. The role can read and write the tables
-- that the migrations create, and it owns none of them. The owner of the database runs
-- this file once, in the database of the service, before the first migration.
\getenv password DEVICEGRAPH_SERVICE_PASSWORD
CREATE ROLE devicegraph_service LOGIN PASSWORD :'password';
REVOKE TEMPORARY ON DATABASE devicegraph FROM PUBLIC;

-- The service may only read which migrations are applied. Only the owner writes this
-- table. sqlx would create the same table if it did not exist.
CREATE TABLE _sqlx_migrations (
    version        bigint      PRIMARY KEY,
    description    text        NOT NULL,
    installed_on   timestamptz NOT NULL DEFAULT now(),
    success        boolean     NOT NULL,
    checksum       bytea       NOT NULL,
    execution_time bigint      NOT NULL
);
GRANT SELECT ON _sqlx_migrations TO devicegraph_service;

ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO devicegraph_service;
