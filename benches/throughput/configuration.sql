\set c random(1001, 2000)
SELECT id, odata_type, display_name, description, version, created_date_time, last_modified_date_time, properties
FROM device_configurations
WHERE id = ('01900000-0000-7000-8000-' || lpad((:c)::text, 12, '0'))::uuid;
