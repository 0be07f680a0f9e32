CREATE TABLE device_configuration_assignments (
    id                      uuid        NOT NULL,
    device_configuration_id uuid        NOT NULL,
    target_type             text        NOT NULL,
    group_id                text,
    collection_id           text,
    filter_id               text,
    filter_type             text        NOT NULL DEFAULT 'none',
    intent                  text        NOT NULL DEFAULT 'apply',
    source                  text        NOT NULL DEFAULT 'direct',
    source_id               text,
    created_date_time       timestamptz NOT NULL DEFAULT now(),
    last_modified_date_time timestamptz NOT NULL DEFAULT now(),
    created_by              text,
    last_modified_by        text,
    target_key              text        GENERATED ALWAYS AS (
        CASE target_type
            WHEN 'groupAssignmentTarget'                          THEN 'group:' || group_id
            WHEN 'exclusionGroupAssignmentTarget'                 THEN 'group:' || group_id
            WHEN 'configurationManagerCollectionAssignmentTarget' THEN 'collection:' || collection_id
            WHEN 'allDevicesAssignmentTarget'                     THEN 'allDevices'
            WHEN 'allLicensedUsersAssignmentTarget'               THEN 'allLicensedUsers'
        END) STORED,

    CONSTRAINT device_configuration_assignments_pkey
        PRIMARY KEY (id),
    CONSTRAINT device_configuration_assignments_device_configuration_id_fkey
        FOREIGN KEY (device_configuration_id) REFERENCES device_configurations (id) ON DELETE CASCADE,
    -- Also the index that finds the assignments of one configuration, for a read and for the cascade.
    CONSTRAINT device_configuration_assignments_target_key
        UNIQUE (device_configuration_id, target_key),
    CONSTRAINT device_configuration_assignments_target_type_check
        CHECK (target_type IN (
            'deviceAndAppManagementAssignmentTarget',
            'allDevicesAssignmentTarget',
            'allLicensedUsersAssignmentTarget',
            'groupAssignmentTarget',
            'exclusionGroupAssignmentTarget',
            'configurationManagerCollectionAssignmentTarget')),
    CONSTRAINT device_configuration_assignments_group_target_check
        CHECK ((group_id IS NOT NULL) = (target_type IN ('groupAssignmentTarget', 'exclusionGroupAssignmentTarget'))),
    CONSTRAINT device_configuration_assignments_collection_target_check
        CHECK ((collection_id IS NOT NULL) = (target_type = 'configurationManagerCollectionAssignmentTarget')),
    -- A GUID has one spelling, or one group could be assigned twice.
    CONSTRAINT device_configuration_assignments_group_id_check
        CHECK (char_length(group_id) BETWEEN 1 AND 256
            AND (group_id = lower(group_id) OR group_id !~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$')),
    CONSTRAINT device_configuration_assignments_collection_id_check
        CHECK (char_length(collection_id) BETWEEN 1 AND 256
            AND (collection_id = lower(collection_id) OR collection_id !~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$')),
    CONSTRAINT device_configuration_assignments_filter_id_check
        CHECK (char_length(filter_id) BETWEEN 1 AND 256
            AND (filter_id = lower(filter_id) OR filter_id !~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$')),
    CONSTRAINT device_configuration_assignments_source_id_check
        CHECK (char_length(source_id) BETWEEN 1 AND 256
            AND (source_id = lower(source_id) OR source_id !~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$')),
    CONSTRAINT device_configuration_assignments_filter_type_check
        CHECK (filter_type IN ('none', 'include', 'exclude')),
    CONSTRAINT device_configuration_assignments_filter_check
        CHECK ((filter_id IS NOT NULL) = (filter_type <> 'none')),
    CONSTRAINT device_configuration_assignments_intent_check
        CHECK (intent IN ('apply', 'remove')),
    CONSTRAINT device_configuration_assignments_source_check
        CHECK (source IN ('direct', 'policySets'))
);

-- Which configurations reach this group: one equality, answered from the index alone.
CREATE INDEX device_configuration_assignments_group_id_idx
    ON device_configuration_assignments (group_id)
    INCLUDE (device_configuration_id, target_type)
    WHERE group_id IS NOT NULL;

COMMENT ON TABLE device_configuration_assignments IS
    'Who gets a device configuration and who is left out: one row for each target of a configuration.';
COMMENT ON COLUMN device_configuration_assignments.id IS
    'Key of the assignment in every URL. A UUIDv7 unless the client chose it; a client that chooses it can resend a create.';
COMMENT ON COLUMN device_configuration_assignments.device_configuration_id IS
    'The configuration that is assigned; its assignments go when it goes.';
COMMENT ON COLUMN device_configuration_assignments.target_type IS
    'Microsoft Graph type of the target without its prefix; it decides which of the next columns are set.';
COMMENT ON COLUMN device_configuration_assignments.group_id IS
    'The group that a group target includes or an exclusion target leaves out; null for any other target.';
COMMENT ON COLUMN device_configuration_assignments.collection_id IS
    'The collection of a Configuration Manager target; null for any other target.';
COMMENT ON COLUMN device_configuration_assignments.filter_id IS
    'The assignment filter that narrows the target, which only /beta shows; null when filter_type is none.';
COMMENT ON COLUMN device_configuration_assignments.filter_type IS
    'Whether devices that match the filter are the ones meant (include) or the ones left out (exclude); none without a filter.';
COMMENT ON COLUMN device_configuration_assignments.intent IS
    'What the assignment does on its target, apply or remove; only /beta shows it.';
COMMENT ON COLUMN device_configuration_assignments.source IS
    'Whether an administrator made the assignment (direct) or a policy set did (policySets); only /beta shows it.';
COMMENT ON COLUMN device_configuration_assignments.source_id IS
    'What made the assignment, which only /beta shows; null stands for the configuration itself when source is direct.';
COMMENT ON COLUMN device_configuration_assignments.created_date_time IS
    'When the row was created: since when the target is assigned.';
COMMENT ON COLUMN device_configuration_assignments.last_modified_date_time IS
    'When the row last changed; equal to created_date_time until then.';
COMMENT ON COLUMN device_configuration_assignments.created_by IS
    'Object id of the user or application that created the row; null while authorization is off.';
COMMENT ON COLUMN device_configuration_assignments.last_modified_by IS
    'Object id of the user or application that last changed the row; null while authorization is off.';
COMMENT ON COLUMN device_configuration_assignments.target_key IS
    'What the target names, included or excluded alike, so that a configuration has it once; null for the base target, which names nothing.';
COMMENT ON INDEX device_configuration_assignments_group_id_idx IS
    'Which configurations reach a group.';
