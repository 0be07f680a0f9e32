-- What all assignments of a configuration say together, in one text: the ETag
-- of the set. Two sets that read the same have the same digest. A configuration
-- without assignments has no row.
CREATE VIEW device_configuration_assignment_sets AS
SELECT
    device_configuration_id,
    count(*) AS assignments,
    -- 120 bits, in letters that may stand in a header. JSON keeps neighbouring columns
    -- apart; each row is hashed by itself, since a set has no size that a text could hold.
    translate(encode(substr(sha256(string_agg(sha256(convert_to(
        jsonb_build_array(id, target_type, group_id, collection_id, filter_id, filter_type, intent, source, source_id)::text,
        'UTF8')), ''::bytea ORDER BY id)), 1, 15), 'base64'), '+/', '-_') AS digest
FROM device_configuration_assignments
GROUP BY device_configuration_id;

COMMENT ON VIEW device_configuration_assignment_sets IS
    'The assignments of each configuration as one: the ETag that assign and other changes of the set are held to.';
COMMENT ON COLUMN device_configuration_assignment_sets.device_configuration_id IS 'The configuration that is assigned.';
COMMENT ON COLUMN device_configuration_assignment_sets.assignments IS 'How many assignments it has.';
COMMENT ON COLUMN device_configuration_assignment_sets.digest IS 'Digest of what they say; another one as soon as one of them is another.';
