-- This is a separate migration, so that no migration locks two tables. CREATE TRIGGER waits until
-- the running writes of the table end. It reads no rows.
--
-- The triggers fire once for each statement and not for each row: combined creates are one
-- statement.
CREATE TRIGGER device_configuration_assignments_digests_after_insert
    AFTER INSERT ON device_configuration_assignments
    REFERENCING NEW TABLE AS changed_assignments
    FOR EACH STATEMENT EXECUTE FUNCTION device_configuration_assignments_change_digests('add');

CREATE TRIGGER device_configuration_assignments_digests_after_delete
    AFTER DELETE ON device_configuration_assignments
    REFERENCING OLD TABLE AS changed_assignments
    FOR EACH STATEMENT EXECUTE FUNCTION device_configuration_assignments_change_digests('remove');

CREATE TRIGGER device_configuration_assignments_digests_after_update_1
    AFTER UPDATE ON device_configuration_assignments
    REFERENCING OLD TABLE AS changed_assignments
    FOR EACH STATEMENT EXECUTE FUNCTION device_configuration_assignments_change_digests('remove');

CREATE TRIGGER device_configuration_assignments_digests_after_update_2
    AFTER UPDATE ON device_configuration_assignments
    REFERENCING NEW TABLE AS changed_assignments
    FOR EACH STATEMENT EXECUTE FUNCTION device_configuration_assignments_change_digests('add');

CREATE TRIGGER device_configuration_assignments_digests_after_truncate
    AFTER TRUNCATE ON device_configuration_assignments
    FOR EACH STATEMENT EXECUTE FUNCTION device_configuration_assignments_forget_digests();
