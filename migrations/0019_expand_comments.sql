-- New texts for comments on tables, views, columns, indexes and functions. Older migrations
-- keep their texts, because an applied migration never changes.
--
-- COMMENT ON takes a lock that lets reads and writes go on, and it reads no rows.

COMMENT ON TABLE device_configurations IS
    'Each row is a device configuration, a resource of /deviceManagement/deviceConfigurations.';
COMMENT ON COLUMN device_configurations.id IS
    'Id of the configuration, which is its key in URLs. The service generates a UUIDv7 unless the client sends an id. UUIDv7 values ascend, so new rows go to the same pages of the index.';
COMMENT ON COLUMN device_configurations.odata_type IS
    'Microsoft Graph type, for example windows10CustomConfiguration (without #microsoft.graph.). A trigger refuses an UPDATE that changes the type.';
COMMENT ON COLUMN device_configurations.display_name IS
    'Name that administrators see. It is not unique: Graph allows two configurations with the same name.';
COMMENT ON COLUMN device_configurations.description IS
    'Free text of the administrator. Null when the client sent no description.';
COMMENT ON COLUMN device_configurations.version IS
    'Number of the version: 1 at creation. The service adds 1 with each change of the configuration. A change of its assignments does not change the version. An UPDATE in SQL must add 1, because the ETag contains the version.';
COMMENT ON COLUMN device_configurations.created_date_time IS
    'Time at which the row was created.';
COMMENT ON COLUMN device_configurations.last_modified_date_time IS
    'Time of the last change of the configuration. It equals created_date_time until the first change. An UPDATE in SQL must set it, because the ETag contains it.';
COMMENT ON COLUMN device_configurations.created_by IS
    'Object id of the user or application that created the row. Null when the request had no token, or when a seed or an SQL statement created the row.';
COMMENT ON COLUMN device_configurations.last_modified_by IS
    'Object id of the user or application that created or last changed the row. Null when the request had no token, or when a seed wrote the row.';
COMMENT ON COLUMN device_configurations.properties IS
    'The properties that the type adds, under the names of Graph. The object holds the properties that a client has sent. The service adds unset properties when it reads the row.';

COMMENT ON TABLE device_configuration_assignments IS
    'Each row assigns a configuration to one target. The target includes a group, excludes a group, or includes all devices, all licensed users or a collection of Configuration Manager.';
COMMENT ON COLUMN device_configuration_assignments.id IS
    'Id of the assignment, which is its key in URLs. The service generates a UUIDv7 unless the client sends an id. A client that sends an id can repeat a create.';
COMMENT ON COLUMN device_configuration_assignments.device_configuration_id IS
    'The configuration that is assigned. When it is deleted, PostgreSQL deletes its assignments (ON DELETE CASCADE).';
COMMENT ON COLUMN device_configuration_assignments.target_type IS
    'Microsoft Graph type of the target, for example groupAssignmentTarget (without #microsoft.graph.). It determines whether group_id or collection_id is set.';
COMMENT ON COLUMN device_configuration_assignments.group_id IS
    'The group that a groupAssignmentTarget includes or an exclusionGroupAssignmentTarget excludes. A GUID is in lower case. Null for other targets.';
COMMENT ON COLUMN device_configuration_assignments.collection_id IS
    'The collection of a configurationManagerCollectionAssignmentTarget. Null for other targets.';
COMMENT ON COLUMN device_configuration_assignments.filter_id IS
    'Id of the assignment filter. Null when filter_type is none. Only /beta shows the filter.';
COMMENT ON COLUMN device_configuration_assignments.filter_type IS
    'How the filter applies. include: only devices that match the filter. exclude: only devices that do not match the filter. none: the assignment has no filter.';
COMMENT ON COLUMN device_configuration_assignments.intent IS
    'Intent of the assignment: apply or remove. Only /beta shows it.';
COMMENT ON COLUMN device_configuration_assignments.source IS
    'Origin of the assignment: direct (an administrator) or policySets (a policy set). Only /beta shows it.';
COMMENT ON COLUMN device_configuration_assignments.source_id IS
    'Id of the object that made the assignment, for example of a policy set. When it is null and source is direct, the API shows the id of the configuration. Only /beta shows it.';
COMMENT ON COLUMN device_configuration_assignments.created_date_time IS
    'Time at which the row was created. A later change of the assignment does not change it.';
COMMENT ON COLUMN device_configuration_assignments.last_modified_date_time IS
    'Time of the last change of the row. It equals created_date_time until the first change.';
COMMENT ON COLUMN device_configuration_assignments.created_by IS
    'Object id of the user or application that created the row. Null when the request had no token, or when a seed or an SQL statement created the row.';
COMMENT ON COLUMN device_configuration_assignments.last_modified_by IS
    'Object id of the user or application that created or last changed the row. Null when the request had no token, or when a seed wrote the row.';
COMMENT ON COLUMN device_configuration_assignments.target_key IS
    'Computed key of the target. An included and an excluded group have the same key. A configuration can have each key once. Null for deviceAndAppManagementAssignmentTarget, which a configuration can have several times.';

COMMENT ON VIEW device_configuration_assignment_overview IS
    'Each row is an assignment with the name, type and version of its configuration.';
COMMENT ON COLUMN device_configuration_assignment_overview.assignment_id IS
    'Id of the assignment.';
COMMENT ON COLUMN device_configuration_assignment_overview.device_configuration_id IS
    'Id of the configuration that is assigned.';
COMMENT ON COLUMN device_configuration_assignment_overview.group_id IS
    'The group that the target includes or excludes. Null for other targets.';
COMMENT ON COLUMN device_configuration_assignment_overview.collection_id IS
    'The collection of a configurationManagerCollectionAssignmentTarget. Null for other targets.';
COMMENT ON COLUMN device_configuration_assignment_overview.is_exclusion IS
    'True when the assignment excludes the group.';
COMMENT ON COLUMN device_configuration_assignment_overview.filter_type IS
    'How the filter applies: none, include or exclude.';
COMMENT ON COLUMN device_configuration_assignment_overview.filter_id IS
    'Id of the assignment filter. Null when filter_type is none.';
COMMENT ON COLUMN device_configuration_assignment_overview.intent IS
    'Intent of the assignment: apply or remove.';
COMMENT ON COLUMN device_configuration_assignment_overview.source IS
    'Origin of the assignment: direct (an administrator) or policySets (a policy set).';
COMMENT ON COLUMN device_configuration_assignment_overview.source_id IS
    'Id of the object that made the assignment. When it is null and source is direct, the API shows the id of the configuration.';
COMMENT ON COLUMN device_configuration_assignment_overview.created_date_time IS
    'Time at which the assignment was created.';
COMMENT ON COLUMN device_configuration_assignment_overview.created_by IS
    'Object id of the user or application that created the assignment. Null when the request had no token, or when a seed or an SQL statement created it.';
COMMENT ON COLUMN device_configuration_assignment_overview.last_modified_date_time IS
    'Time of the last change of the assignment.';
COMMENT ON COLUMN device_configuration_assignment_overview.last_modified_by IS
    'Object id of the user or application that created or last changed the assignment. Null when the request had no token, or when a seed wrote the assignment.';

COMMENT ON TABLE device_configuration_secrets IS
    'Each row is the encrypted value of an OMA setting that a client marked with isEncrypted. In the column properties, the setting has the value **** and the reference of the secret.';
COMMENT ON COLUMN device_configuration_secrets.reference IS
    'The secretReferenceValueId of the setting: a GUID, the id of the configuration and another GUID, with underscores between them.';
COMMENT ON COLUMN device_configuration_secrets.device_configuration_id IS
    'The configuration of the setting. When it is deleted, PostgreSQL deletes the secret (ON DELETE CASCADE).';
COMMENT ON COLUMN device_configuration_secrets.ciphertext IS
    'Nonce (12 bytes), AES-256-GCM ciphertext and tag (16 bytes). The key is the setting secrets.key of the service. The reference is the associated data.';
COMMENT ON COLUMN device_configuration_secrets.created_date_time IS
    'Time at which the secret was stored.';

COMMENT ON TABLE device_configuration_device_statuses IS
    'Each row is the status of a configuration on a device, a resource of deviceStatuses. Clients write the rows, because the service manages no devices.';
COMMENT ON COLUMN device_configuration_device_statuses.id IS
    'Id of the row, which is its key in URLs.';
COMMENT ON COLUMN device_configuration_device_statuses.device_configuration_id IS
    'The configuration of the status. When it is deleted, PostgreSQL deletes the row (ON DELETE CASCADE).';
COMMENT ON COLUMN device_configuration_device_statuses.created_by IS
    'Object id of the user or application that created the row. Null when the request had no token, or when an SQL statement created the row.';
COMMENT ON COLUMN device_configuration_device_statuses.last_modified_by IS
    'Object id of the user or application that created or last changed the row. Null when the request had no token.';
COMMENT ON COLUMN device_configuration_device_statuses.status IS
    'Member of the enumeration complianceStatus of Graph. The resource deviceStatusOverview counts the rows by this column.';
COMMENT ON COLUMN device_configuration_device_statuses.platform IS
    'Platform of the device as a number. Only /beta shows it.';
COMMENT ON COLUMN device_configuration_device_statuses.compliance_grace_period_expiration_date_time IS
    'Time until which the device may be non-compliant. It is 0001-01-01 when the client sent no time.';
COMMENT ON COLUMN device_configuration_device_statuses.last_reported_date_time IS
    'Time of the last report of the device.';

COMMENT ON TABLE device_configuration_user_statuses IS
    'Each row is the status of a configuration for a user, a resource of userStatuses. Clients write the rows, because the service manages no devices.';
COMMENT ON COLUMN device_configuration_user_statuses.id IS
    'Id of the row, which is its key in URLs.';
COMMENT ON COLUMN device_configuration_user_statuses.device_configuration_id IS
    'The configuration of the status. When it is deleted, PostgreSQL deletes the row (ON DELETE CASCADE).';
COMMENT ON COLUMN device_configuration_user_statuses.created_by IS
    'Object id of the user or application that created the row. Null when the request had no token, or when an SQL statement created the row.';
COMMENT ON COLUMN device_configuration_user_statuses.last_modified_by IS
    'Object id of the user or application that created or last changed the row. Null when the request had no token.';
COMMENT ON COLUMN device_configuration_user_statuses.status IS
    'Member of the enumeration complianceStatus of Graph. The resource userStatusOverview counts the rows by this column.';
COMMENT ON COLUMN device_configuration_user_statuses.devices_count IS
    'Number of devices of the user that the status covers.';
COMMENT ON COLUMN device_configuration_user_statuses.last_reported_date_time IS
    'Time of the last report of a device of the user.';

COMMENT ON TABLE device_configuration_setting_summaries IS
    'Each row counts devices by the state of one setting of a configuration, a resource of deviceSettingStateSummaries. Clients write the rows, because the service manages no devices.';
COMMENT ON COLUMN device_configuration_setting_summaries.id IS
    'Id of the row, which is its key in URLs.';
COMMENT ON COLUMN device_configuration_setting_summaries.device_configuration_id IS
    'The configuration of the setting. When it is deleted, PostgreSQL deletes the row (ON DELETE CASCADE).';
COMMENT ON COLUMN device_configuration_setting_summaries.created_by IS
    'Object id of the user or application that created the row. Null when the request had no token, or when an SQL statement created the row.';
COMMENT ON COLUMN device_configuration_setting_summaries.last_modified_by IS
    'Object id of the user or application that created or last changed the row. Null when the request had no token.';
COMMENT ON COLUMN device_configuration_setting_summaries.instance_path IS
    'Path of the setting within the configuration, for a setting that a configuration can contain several times.';
COMMENT ON COLUMN device_configuration_setting_summaries.compliant_device_count IS
    'Number of devices on which the setting is compliant.';
COMMENT ON COLUMN device_configuration_setting_summaries.conflict_device_count IS
    'Number of devices on which the setting is in conflict.';
COMMENT ON COLUMN device_configuration_setting_summaries.error_device_count IS
    'Number of devices that report an error for the setting.';
COMMENT ON COLUMN device_configuration_setting_summaries.non_compliant_device_count IS
    'Number of devices on which the setting is not compliant.';
COMMENT ON COLUMN device_configuration_setting_summaries.not_applicable_device_count IS
    'Number of devices to which the setting does not apply.';
COMMENT ON COLUMN device_configuration_setting_summaries.remediated_device_count IS
    'Number of devices on which the setting was remediated.';
COMMENT ON COLUMN device_configuration_setting_summaries.unknown_device_count IS
    'Number of devices on which the state of the setting is unknown.';

COMMENT ON FUNCTION graph_tolower(text) IS
    'Implements the function tolower of $filter. It covers the letters of every script when the database is in UTF-8 and the server has ICU.';
COMMENT ON FUNCTION graph_toupper(text) IS
    'Implements the function toupper of $filter. It covers the letters of every script when the database is in UTF-8 and the server has ICU.';

COMMENT ON VIEW device_configuration_assignment_sets IS
    'Each row has the number of assignments of a configuration and their digest, which is the ETag of the set. A configuration without assignments has no row.';
COMMENT ON COLUMN device_configuration_assignment_sets.device_configuration_id IS
    'Id of the configuration that is assigned.';
COMMENT ON COLUMN device_configuration_assignment_sets.assignments IS
    'Number of assignments of the configuration.';
COMMENT ON COLUMN device_configuration_assignment_sets.digest IS
    'Digest of all assignments, including their ids. It changes whenever any assignment of the configuration changes.';

COMMENT ON COLUMN devicegraph_store.id IS
    'Random id of the store. Each export holds it in the file .devicegraph-export.json.';

COMMENT ON FUNCTION device_configurations_keep_odata_type() IS
    'Refuses an UPDATE that changes the type of a configuration.';

COMMENT ON TABLE device_configuration_digest_parts IS
    'Sums of row hashes, from which the service makes the digest of a large set of assignments. Several parts of one configuration count together. Triggers update the parts. TRUNCATE of this table is safe at any time: the next request that needs a digest computes it.';
COMMENT ON COLUMN device_configuration_digest_parts.id IS
    'Id of the part.';
COMMENT ON COLUMN device_configuration_digest_parts.device_configuration_id IS
    'The configuration whose assignments the part sums.';
COMMENT ON COLUMN device_configuration_digest_parts.is_base IS
    'True for the part that was created with the sums of all assignments. Without this part, the configuration has no kept digest and the service ignores its other parts.';
COMMENT ON COLUMN device_configuration_digest_parts.assignments IS
    'Number of assignments in the part: the added ones minus the deleted ones. It can be negative.';

COMMENT ON FUNCTION device_configuration_assignments_digest(bigint, numeric, numeric) IS
    'Returns the digest of a set of assignments, from the number of the assignments and the sums of their hashes.';
COMMENT ON VIEW device_configuration_computed_digests IS
    'Each row has the digest of the set of assignments of a configuration, computed from every assignment. The view device_configuration_assignment_sets is faster for large sets.';
COMMENT ON COLUMN device_configuration_computed_digests.device_configuration_id IS
    'Id of the configuration that is assigned.';
COMMENT ON COLUMN device_configuration_computed_digests.assignments IS
    'Number of assignments of the configuration.';
COMMENT ON VIEW device_configuration_kept_digests IS
    'Each row has the digest of a set of assignments whose sums are stored in device_configuration_digest_parts.';
COMMENT ON COLUMN device_configuration_kept_digests.device_configuration_id IS
    'Id of the configuration that is assigned.';
COMMENT ON COLUMN device_configuration_kept_digests.assignments IS
    'Number of assignments of the configuration.';
COMMENT ON COLUMN device_configuration_kept_digests.is_compact IS
    'True when the digest has at most 64 parts. When it has more, the service replaces them by one part.';
COMMENT ON FUNCTION device_configuration_keep_digest(uuid) IS
    'Stores the sums of the assignments of a configuration, so that triggers keep its digest. Returns whether the digest is kept.';
COMMENT ON FUNCTION device_configuration_assignments_change_digests() IS
    'Adds the assignments that a statement has written to the stored sums, or subtracts the ones that it has removed. Triggers call it.';

-- A DBA may have replaced or dropped an index: no statement needs its name.
DO $$
DECLARE
    comments CONSTANT text[][] := ARRAY[
        ['device_configuration_assignments_group_id_idx',
         'Finds the assignments of a group. It also holds the id of the configuration and the type of the target, so that a query of these columns reads only the index.'],
        ['device_configurations_display_name_idx',
         'Finds configurations by an equal name, a range of names or a prefix, and sorts by name. It holds the first 600 characters of each name. A query must use the expression left(display_name, 600) COLLATE "C".'],
        ['device_configurations_odata_type_idx',
         'Finds the configurations of a type, sorted by id.'],
        ['device_configurations_created_date_time_idx',
         'Finds and sorts configurations by the time of their creation.'],
        ['device_configurations_last_modified_date_time_idx',
         'Finds and sorts configurations by the time of their last change.'],
        ['device_configuration_digest_parts_device_configuration_id_idx',
         'Finds the parts of a configuration.'],
        ['device_configuration_digest_parts_base_idx',
         'Allows one base part for each configuration.']
    ];
    pair text[];
BEGIN
    FOREACH pair SLICE 1 IN ARRAY comments LOOP
        IF to_regclass(pair[1]) IS NOT NULL THEN
            EXECUTE format('COMMENT ON INDEX %I IS %L', pair[1], pair[2]);
        END IF;
    END LOOP;
END $$;
