-- As in migration 10: these constraints refuse values that no answer can show.
ALTER TABLE device_configuration_assignments
    ADD CONSTRAINT device_configuration_assignments_created_date_time_check
        CHECK (created_date_time >= '0001-01-01T00:00:00Z' AND created_date_time < '10000-01-01T00:00:00Z') NOT VALID,
    ADD CONSTRAINT device_configuration_assignments_last_modified_check
        CHECK (last_modified_date_time >= '0001-01-01T00:00:00Z' AND last_modified_date_time < '10000-01-01T00:00:00Z') NOT VALID;
