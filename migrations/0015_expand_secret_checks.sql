-- As in migration 10: this constraint refuses times that no answer can show.
ALTER TABLE device_configuration_secrets
    ADD CONSTRAINT device_configuration_secrets_created_date_time_check
        CHECK (created_date_time >= '0001-01-01T00:00:00Z' AND created_date_time < '10000-01-01T00:00:00Z') NOT VALID;
