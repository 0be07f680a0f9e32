-- The role that the service connects as: it reads and writes the tables that
-- the owner's migrations make, and owns none of them. Run once, by the owner,
-- in the database of the service and before the first migration.
\getenv password DEVICEGRAPH_SERVICE_PASSWORD
CREATE ROLE devicegraph_service LOGIN PASSWORD :'password';
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO devicegraph_service;
