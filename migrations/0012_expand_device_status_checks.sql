-- As in migration 10: these constraints refuse values that no answer can show.
ALTER TABLE device_configuration_device_statuses
    ADD CONSTRAINT device_configuration_device_statuses_grace_period_check
        CHECK (compliance_grace_period_expiration_date_time >= '0001-01-01T00:00:00Z'
           AND compliance_grace_period_expiration_date_time < '10000-01-01T00:00:00Z') NOT VALID,
    ADD CONSTRAINT device_configuration_device_statuses_last_reported_check
        CHECK (last_reported_date_time >= '0001-01-01T00:00:00Z' AND last_reported_date_time < '10000-01-01T00:00:00Z') NOT VALID;
