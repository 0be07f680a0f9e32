-- The role that the service connects as: it reads and writes the tables that
-- the owner's migrations make, and owns none of them. Run once, by the owner,
-- in the database of the service and before the first migration.
\getenv password DEVICEGRAPH_SERVICE_PASSWORD
CREATE ROLE devicegraph_service LOGIN PASSWORD :'password';
REVOKE TEMPORARY ON DATABASE devicegraph FROM PUBLIC;

-- Which migrations are applied is for the service to read and for the owner to
-- write. The table is the one that sqlx makes when it is not there.
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
