-- Reads a set, and the digest that the service needs for the ETag.
\set c random(1001, 2000)
SELECT id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent, source, source_id,
       (SELECT s.digest FROM device_configuration_assignment_sets AS s
        WHERE s.device_configuration_id = ('01900000-0000-7000-8000-' || lpad((:c)::text, 12, '0'))::uuid)
FROM device_configuration_assignments
WHERE device_configuration_id = ('01900000-0000-7000-8000-' || lpad((:c)::text, 12, '0'))::uuid
ORDER BY id
LIMIT 1001;
