-- A migration of its own, so that no two tables are locked at once. CREATE TRIGGER waits for
-- the writes that are under way, and reads no row.
--
-- One trigger for each statement, and not for each row: combined creates are one statement.
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
