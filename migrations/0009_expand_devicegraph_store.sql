-- Tells one store from another: `devicegraph export` refuses to replace the export of
-- another store. PostgreSQL's own system identifier does not serve, because a restore
-- into another server changes it.
CREATE TABLE devicegraph_store (
    is_only boolean NOT NULL DEFAULT true,
    id      uuid    NOT NULL DEFAULT gen_random_uuid(),

    CONSTRAINT devicegraph_store_pkey
        PRIMARY KEY (is_only),
    CONSTRAINT devicegraph_store_is_only_check
        CHECK (is_only)
);

INSERT INTO devicegraph_store DEFAULT VALUES;

COMMENT ON TABLE devicegraph_store IS
    'The identity of this store, in one row. A dump and a base backup keep it.';
COMMENT ON COLUMN devicegraph_store.is_only IS
    'Always true: the table has one row.';
COMMENT ON COLUMN devicegraph_store.id IS
    'Random id of the store, which stands in the manifest of each export.';
