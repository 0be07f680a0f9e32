-- Inserts one row as the service does. The server makes the values, so that the client needs no
-- time for them.
\set c random(1, 1000)
INSERT INTO device_configuration_assignments
    (id, device_configuration_id, target_type, group_id, filter_type, intent, source)
SELECT gen_random_uuid(), c.id, 'groupAssignmentTarget', gen_random_uuid()::text, 'none', 'apply', 'direct'
FROM device_configurations AS c
WHERE c.id = ('01900000-0000-7000-8000-' || lpad((:c)::text, 12, '0'))::uuid
FOR KEY SHARE
ON CONFLICT DO NOTHING
RETURNING id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent, source, source_id;
