-- These constraints refuse values that JSON cannot hold: times outside of the years 1 to
-- 9999, and the highest version number.
--
-- NOT VALID: adding them reads no row. `devicegraph migrate` and the service validate them
-- afterwards, under a lock that lets reads and writes go on. Each table has a migration of
-- its own, so that no two tables are locked at once.
ALTER TABLE device_configurations
    ADD CONSTRAINT device_configurations_created_date_time_check
        CHECK (created_date_time >= '0001-01-01T00:00:00Z' AND created_date_time < '10000-01-01T00:00:00Z') NOT VALID,
    ADD CONSTRAINT device_configurations_last_modified_date_time_check
        CHECK (last_modified_date_time >= '0001-01-01T00:00:00Z' AND last_modified_date_time < '10000-01-01T00:00:00Z') NOT VALID,
    ADD CONSTRAINT device_configurations_version_limit_check
        CHECK (version < 2147483647) NOT VALID;

-- The properties of a configuration are those of its type. The API refuses another type as well.
CREATE FUNCTION device_configurations_keep_odata_type() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the type of configuration % is % and cannot become %', OLD.id, OLD.odata_type, NEW.odata_type
        USING ERRCODE = 'check_violation',
              CONSTRAINT = 'device_configurations_keep_odata_type',
              HINT = 'Delete the configuration and insert another one.';
END $$;

CREATE TRIGGER device_configurations_keep_odata_type
    BEFORE UPDATE OF odata_type ON device_configurations
    FOR EACH ROW WHEN (OLD.odata_type IS DISTINCT FROM NEW.odata_type)
    EXECUTE FUNCTION device_configurations_keep_odata_type();

COMMENT ON FUNCTION device_configurations_keep_odata_type() IS
    'Refuses another type for a configuration that is there.';
