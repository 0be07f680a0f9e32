\set c random(1001, 2000)
SELECT id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent, source, source_id
FROM device_configuration_assignments
WHERE id = ('01900000-0000-7000-9000-' || lpad((:c)::text, 11, '0') || '5')::uuid;
