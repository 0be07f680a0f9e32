CREATE TABLE device_configuration_device_statuses (
    id                                            uuid        NOT NULL,
    device_configuration_id                       uuid        NOT NULL,
    status                                        text        NOT NULL DEFAULT 'unknown',
    device_display_name                           text,
    device_model                                  text,
    platform                                      integer     NOT NULL DEFAULT 0,
    user_name                                     text,
    user_principal_name                           text,
    compliance_grace_period_expiration_date_time  timestamptz NOT NULL DEFAULT '0001-01-01T00:00:00Z',
    last_reported_date_time                       timestamptz NOT NULL DEFAULT now(),
    created_by                                    text,
    last_modified_by                              text,

    CONSTRAINT device_configuration_device_statuses_pkey
        PRIMARY KEY (id),
    CONSTRAINT device_configuration_device_statuses_configuration_fkey
        FOREIGN KEY (device_configuration_id) REFERENCES device_configurations (id) ON DELETE CASCADE,
    CONSTRAINT device_configuration_device_statuses_status_check
        CHECK (status IN ('unknown', 'notApplicable', 'compliant', 'remediated', 'nonCompliant', 'error', 'conflict', 'notAssigned'))
);

CREATE TABLE device_configuration_user_statuses (
    id                       uuid        NOT NULL,
    device_configuration_id  uuid        NOT NULL,
    status                   text        NOT NULL DEFAULT 'unknown',
    user_display_name        text,
    user_principal_name      text,
    devices_count            integer     NOT NULL DEFAULT 0,
    last_reported_date_time  timestamptz NOT NULL DEFAULT now(),
    created_by               text,
    last_modified_by         text,

    CONSTRAINT device_configuration_user_statuses_pkey
        PRIMARY KEY (id),
    CONSTRAINT device_configuration_user_statuses_configuration_fkey
        FOREIGN KEY (device_configuration_id) REFERENCES device_configurations (id) ON DELETE CASCADE,
    CONSTRAINT device_configuration_user_statuses_status_check
        CHECK (status IN ('unknown', 'notApplicable', 'compliant', 'remediated', 'nonCompliant', 'error', 'conflict', 'notAssigned'))
);

CREATE TABLE device_configuration_setting_summaries (
    id                           uuid    NOT NULL,
    device_configuration_id      uuid    NOT NULL,
    setting_name                 text,
    instance_path                text,
    compliant_device_count       integer NOT NULL DEFAULT 0,
    conflict_device_count        integer NOT NULL DEFAULT 0,
    error_device_count           integer NOT NULL DEFAULT 0,
    non_compliant_device_count   integer NOT NULL DEFAULT 0,
    not_applicable_device_count  integer NOT NULL DEFAULT 0,
    remediated_device_count      integer NOT NULL DEFAULT 0,
    unknown_device_count         integer NOT NULL DEFAULT 0,
    created_by                   text,
    last_modified_by             text,

    CONSTRAINT device_configuration_setting_summaries_pkey
        PRIMARY KEY (id),
    CONSTRAINT device_configuration_setting_summaries_configuration_fkey
        FOREIGN KEY (device_configuration_id) REFERENCES device_configurations (id) ON DELETE CASCADE
);

-- Lists are of one configuration, in the order of their ids.
CREATE INDEX device_configuration_device_statuses_configuration_idx
    ON device_configuration_device_statuses (device_configuration_id, id);
CREATE INDEX device_configuration_user_statuses_configuration_idx
    ON device_configuration_user_statuses (device_configuration_id, id);
CREATE INDEX device_configuration_setting_summaries_configuration_idx
    ON device_configuration_setting_summaries (device_configuration_id, id);

COMMENT ON TABLE device_configuration_device_statuses IS
    'How a configuration fared on a device, one row for each, as deviceStatuses shows them.';
COMMENT ON COLUMN device_configuration_device_statuses.id IS
    'Key of the row in every URL.';
COMMENT ON COLUMN device_configuration_device_statuses.device_configuration_id IS
    'Configuration that was reported on; the row goes with it.';
COMMENT ON COLUMN device_configuration_device_statuses.created_by IS
    'Object id of the user or application that created the row; null while authorization is off.';
COMMENT ON COLUMN device_configuration_device_statuses.last_modified_by IS
    'Object id of the user or application that last changed the row; null while authorization is off.';
COMMENT ON COLUMN device_configuration_device_statuses.status IS
    'Outcome, a name of Graph''s complianceStatus. The overview counts these.';
COMMENT ON COLUMN device_configuration_device_statuses.device_display_name IS
    'Name of the device.';
COMMENT ON COLUMN device_configuration_device_statuses.device_model IS
    'Model of the device.';
COMMENT ON COLUMN device_configuration_device_statuses.platform IS
    'Number of the device''s platform, which only /beta shows.';
COMMENT ON COLUMN device_configuration_device_statuses.user_name IS
    'Name of the user of the device.';
COMMENT ON COLUMN device_configuration_device_statuses.user_principal_name IS
    'Account of the user of the device.';
COMMENT ON COLUMN device_configuration_device_statuses.compliance_grace_period_expiration_date_time IS
    'Until when the device may be non-compliant; the first of January 1 where nobody said.';
COMMENT ON COLUMN device_configuration_device_statuses.last_reported_date_time IS
    'When the device last reported.';

COMMENT ON TABLE device_configuration_user_statuses IS
    'How a configuration fared for a user, one row for each, as userStatuses shows them.';
COMMENT ON COLUMN device_configuration_user_statuses.id IS
    'Key of the row in every URL.';
COMMENT ON COLUMN device_configuration_user_statuses.device_configuration_id IS
    'Configuration that was reported on; the row goes with it.';
COMMENT ON COLUMN device_configuration_user_statuses.created_by IS
    'Object id of the user or application that created the row; null while authorization is off.';
COMMENT ON COLUMN device_configuration_user_statuses.last_modified_by IS
    'Object id of the user or application that last changed the row; null while authorization is off.';
COMMENT ON COLUMN device_configuration_user_statuses.status IS
    'Outcome, a name of Graph''s complianceStatus. The overview counts these.';
COMMENT ON COLUMN device_configuration_user_statuses.user_display_name IS
    'Name of the user.';
COMMENT ON COLUMN device_configuration_user_statuses.user_principal_name IS
    'Account of the user.';
COMMENT ON COLUMN device_configuration_user_statuses.devices_count IS
    'Devices of the user that the outcome is of.';
COMMENT ON COLUMN device_configuration_user_statuses.last_reported_date_time IS
    'When a device of the user last reported.';

COMMENT ON TABLE device_configuration_setting_summaries IS
    'How one setting of a configuration fared over all devices, as deviceSettingStateSummaries shows it.';
COMMENT ON COLUMN device_configuration_setting_summaries.id IS
    'Key of the row in every URL.';
COMMENT ON COLUMN device_configuration_setting_summaries.device_configuration_id IS
    'Configuration that was reported on; the row goes with it.';
COMMENT ON COLUMN device_configuration_setting_summaries.created_by IS
    'Object id of the user or application that created the row; null while authorization is off.';
COMMENT ON COLUMN device_configuration_setting_summaries.last_modified_by IS
    'Object id of the user or application that last changed the row; null while authorization is off.';
COMMENT ON COLUMN device_configuration_setting_summaries.setting_name IS
    'Name of the setting.';
COMMENT ON COLUMN device_configuration_setting_summaries.instance_path IS
    'Where the setting stands, for one that can stand in several places.';
COMMENT ON COLUMN device_configuration_setting_summaries.compliant_device_count IS
    'Devices where the setting is compliant.';
COMMENT ON COLUMN device_configuration_setting_summaries.conflict_device_count IS
    'Devices where the setting is in conflict.';
COMMENT ON COLUMN device_configuration_setting_summaries.error_device_count IS
    'Devices where the setting is in error.';
COMMENT ON COLUMN device_configuration_setting_summaries.non_compliant_device_count IS
    'Devices where the setting is not compliant.';
COMMENT ON COLUMN device_configuration_setting_summaries.not_applicable_device_count IS
    'Devices where the setting is not applicable.';
COMMENT ON COLUMN device_configuration_setting_summaries.remediated_device_count IS
    'Devices where the setting is remediated.';
COMMENT ON COLUMN device_configuration_setting_summaries.unknown_device_count IS
    'Devices where the setting is in no known state.';
