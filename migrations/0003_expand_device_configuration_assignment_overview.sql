CREATE VIEW device_configuration_assignment_overview AS
SELECT
    a.id                      AS assignment_id,
    a.device_configuration_id,
    c.display_name,
    c.odata_type,
    c.version,
    a.target_type,
    a.group_id,
    a.collection_id,
    a.target_type = 'exclusionGroupAssignmentTarget' AS is_exclusion,
    a.filter_type,
    a.filter_id,
    a.intent,
    a.source,
    a.source_id,
    a.created_date_time,
    a.created_by,
    a.last_modified_date_time,
    a.last_modified_by
FROM device_configuration_assignments AS a
JOIN device_configurations AS c ON c.id = a.device_configuration_id;

COMMENT ON VIEW device_configuration_assignment_overview IS
    'Who gets what, and since when: one row for each assignment, beside the name and type of its configuration.';
COMMENT ON COLUMN device_configuration_assignment_overview.assignment_id IS 'The assignment.';
COMMENT ON COLUMN device_configuration_assignment_overview.device_configuration_id IS 'The configuration that is assigned.';
COMMENT ON COLUMN device_configuration_assignment_overview.display_name IS 'Name of the configuration.';
COMMENT ON COLUMN device_configuration_assignment_overview.odata_type IS 'Microsoft Graph type of the configuration, without its prefix.';
COMMENT ON COLUMN device_configuration_assignment_overview.version IS 'Version of the configuration.';
COMMENT ON COLUMN device_configuration_assignment_overview.target_type IS 'Microsoft Graph type of the target, without its prefix.';
COMMENT ON COLUMN device_configuration_assignment_overview.group_id IS 'The group that is included or excluded, if the target is one.';
COMMENT ON COLUMN device_configuration_assignment_overview.collection_id IS 'The Configuration Manager collection, if the target is one.';
COMMENT ON COLUMN device_configuration_assignment_overview.is_exclusion IS 'True where the target is left out rather than reached.';
COMMENT ON COLUMN device_configuration_assignment_overview.filter_type IS 'none, include or exclude.';
COMMENT ON COLUMN device_configuration_assignment_overview.filter_id IS 'The assignment filter, if there is one.';
COMMENT ON COLUMN device_configuration_assignment_overview.intent IS 'apply or remove.';
COMMENT ON COLUMN device_configuration_assignment_overview.source IS 'direct or policySets.';
COMMENT ON COLUMN device_configuration_assignment_overview.source_id IS 'What made the assignment; null stands for the configuration itself when source is direct.';
COMMENT ON COLUMN device_configuration_assignment_overview.created_date_time IS 'Since when the target is assigned.';
COMMENT ON COLUMN device_configuration_assignment_overview.created_by IS 'Who assigned it; null while authorization is off.';
COMMENT ON COLUMN device_configuration_assignment_overview.last_modified_date_time IS 'When the assignment last changed.';
COMMENT ON COLUMN device_configuration_assignment_overview.last_modified_by IS 'Who last changed it; null while authorization is off.';
