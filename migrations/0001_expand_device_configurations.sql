CREATE TABLE device_configurations (
    id                      uuid        NOT NULL,
    odata_type              text        NOT NULL,
    display_name            text        NOT NULL,
    description             text,
    version                 integer     NOT NULL DEFAULT 1,
    created_date_time       timestamptz NOT NULL DEFAULT now(),
    last_modified_date_time timestamptz NOT NULL DEFAULT now(),
    created_by              text,
    last_modified_by        text,
    properties              jsonb       NOT NULL DEFAULT '{}',

    CONSTRAINT device_configurations_pkey
        PRIMARY KEY (id),
    CONSTRAINT device_configurations_odata_type_check
        CHECK (odata_type ~ '^[A-Za-z_][A-Za-z0-9_]*$'),
    CONSTRAINT device_configurations_version_check
        CHECK (version >= 1),
    CONSTRAINT device_configurations_properties_check
        CHECK (jsonb_typeof(properties) = 'object')
);

COMMENT ON TABLE device_configurations IS
    'Device configurations, one row each, as /deviceManagement/deviceConfigurations shows them.';
COMMENT ON COLUMN device_configurations.id IS
    'Key of the configuration in every URL. A UUIDv7 unless the client chose it, so that new rows land together in the index.';
COMMENT ON COLUMN device_configurations.odata_type IS
    'Concrete Microsoft Graph type without its prefix, for example windows10CustomConfiguration. It never changes.';
COMMENT ON COLUMN device_configurations.display_name IS
    'Name an administrator reads. Not unique: Graph allows two configurations of one name.';
COMMENT ON COLUMN device_configurations.description IS
    'Free text of the administrator; null when none was given.';
COMMENT ON COLUMN device_configurations.version IS
    '1 at creation, one more with every change of the configuration itself. Assignments do not raise it.';
COMMENT ON COLUMN device_configurations.created_date_time IS
    'When the row was created.';
COMMENT ON COLUMN device_configurations.last_modified_date_time IS
    'When the version last went up; equal to created_date_time until then.';
COMMENT ON COLUMN device_configurations.created_by IS
    'Object id of the user or application that created the row; null while authorization is off.';
COMMENT ON COLUMN device_configurations.last_modified_by IS
    'Object id of the user or application that last changed the row; null while authorization is off.';
COMMENT ON COLUMN device_configurations.properties IS
    'What the concrete type adds to the members above, under Graph''s own names, as the client sent it.';
