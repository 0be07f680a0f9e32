-- As in migration 10: these constraints refuse values that no answer can show.
ALTER TABLE device_configuration_setting_summaries
    ADD CONSTRAINT device_configuration_setting_summaries_counts_check
        CHECK (least(compliant_device_count, conflict_device_count, error_device_count, non_compliant_device_count,
                     not_applicable_device_count, remediated_device_count, unknown_device_count) >= 0) NOT VALID;
