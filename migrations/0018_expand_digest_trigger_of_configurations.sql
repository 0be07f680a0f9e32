CREATE TRIGGER device_configurations_digests_after_delete
    AFTER DELETE ON device_configurations
    REFERENCING OLD TABLE AS deleted_configurations
    FOR EACH STATEMENT EXECUTE FUNCTION device_configurations_forget_digests();
