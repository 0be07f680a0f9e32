-- Fills a migrated, empty database for the recipes of docs/sql.md: 20,000 configurations,
-- about 100,000 assignments, 20,000 statuses of devices. The ids and values are the same in
-- each run. The times are relative to the start of the transaction.
--
--     psql -v ON_ERROR_STOP=1 -d "$DATABASE_URL" -f tests/documentation/load.sql
BEGIN;

-- The configurations of docs/sample.json.
INSERT INTO device_configurations (id, odata_type, display_name, description, created_by, last_modified_by, properties)
SELECT ('5a3b0f10-0001-4000-8000-00000000000' || n)::uuid, odata_type, display_name, description, author, author, properties::jsonb
FROM (VALUES
    (1, 'iosUpdateConfiguration', 'iOS updates at night', 'Installs updates between 22:00 and 5:00.',
        '{"activeHoursStart": "05:00:00.0000000", "activeHoursEnd": "22:00:00.0000000", "utcTimeOffsetInMinutes": 60}'),
    (2, 'windowsUpdateForBusinessConfiguration', 'Windows updates, pilot ring', NULL,
        '{"qualityUpdatesDeferralPeriodInDays": 0, "featureUpdatesDeferralPeriodInDays": 0}'),
    (3, 'windowsUpdateForBusinessConfiguration', 'Windows updates, broad ring', NULL,
        '{"qualityUpdatesDeferralPeriodInDays": 7, "featureUpdatesDeferralPeriodInDays": 30}'),
    (4, 'windows10GeneralConfiguration', 'Windows restrictions', 'No camera, and a password of 12 characters.',
        '{"cameraBlocked": true, "passwordRequired": true, "passwordMinimumLength": 12}'),
    (5, 'iosGeneralDeviceConfiguration', 'iPad kiosks', NULL,
        '{"cameraBlocked": true, "kioskModeAppStoreUrl": "https://apps.apple.com/app/id361309726"}'),
    (6, 'macOSGeneralDeviceConfiguration', 'Mac passcode', NULL,
        '{"passwordRequired": true, "passwordMinimumLength": 10}'),
    (7, 'androidWorkProfileGeneralDeviceConfiguration', 'Android work profile', NULL,
        '{"passwordMinimumLength": 6, "workProfileBlockScreenCapture": true}'),
    (8, 'windows10CustomConfiguration', 'Windows time zone', 'A draft. No group gets it yet.',
        '{"omaSettings": [{"@odata.type": "#microsoft.graph.omaSettingString", "displayName": "Time zone",
            "omaUri": "./Device/Vendor/MSFT/Policy/Config/TimeLanguageSettings/ConfigureTimeZone",
            "value": "W. Europe Standard Time"}]}')
) AS sample (n, odata_type, display_name, description, properties),
    (VALUES ('3c9d1e70-0000-4000-8000-000000000001')) AS administrator (author);

INSERT INTO device_configuration_assignments (id, device_configuration_id, target_type, group_id)
SELECT md5('sample ' || n || target_type || coalesce(letter, ''))::uuid, ('5a3b0f10-0001-4000-8000-00000000000' || n)::uuid,
       target_type, '9e2c7a40-0000-4000-8000-00000000000' || letter
FROM (VALUES
    (1, 'allDevicesAssignmentTarget', NULL),
    (2, 'groupAssignmentTarget', 'a'),
    (3, 'allDevicesAssignmentTarget', NULL),
    (3, 'exclusionGroupAssignmentTarget', 'a'),
    (4, 'groupAssignmentTarget', 'b'),
    (4, 'groupAssignmentTarget', 'c'),
    (5, 'groupAssignmentTarget', 'c'),
    (6, 'groupAssignmentTarget', 'b'),
    (7, 'allLicensedUsersAssignmentTarget', NULL),
    (7, 'exclusionGroupAssignmentTarget', 'c')
) AS sample (n, target_type, letter);

-- The other configurations, with the numbers 9 to 20000.
CREATE TEMPORARY TABLE numbers ON COMMIT DROP AS
SELECT n, md5('configuration ' || n)::uuid AS id, n % 20 AS kind,
       now() - n * 7919::bigint % 1051200 * interval '1 minute' AS created,
       CASE WHEN n % 10 <> 0 THEN '3c9d1e70-0000-4000-8000-00000000000' || n % 4 + 1 END AS author
FROM generate_series(9, 20000) AS n;
ANALYZE numbers;

INSERT INTO device_configurations
    (id, odata_type, display_name, description, version, created_date_time, last_modified_date_time, created_by, last_modified_by, properties)
SELECT n.id, k.odata_type, k.label || ', site ' || n.n / 20 % 950 || chr(65 + n.kind),
       'For site ' || n.n / 20 % 950 || '. ' || repeat('The administrators of the site have approved this text. ', 8 + n.n % 5),
       CASE WHEN n.n % 3 = 0 THEN 1 ELSE 2 + n.n % 4 END,
       n.created,
       CASE WHEN n.n % 3 = 0 THEN n.created ELSE n.created + (now() - n.created) * (n.n * 31 % 100 / 100.0) END,
       n.author, CASE WHEN n.n % 3 = 0 THEN n.author ELSE '3c9d1e70-0000-4000-8000-00000000000' || n.n % 3 + 1 END,
       jsonb_strip_nulls(CASE k.odata_type
           WHEN 'windows10GeneralConfiguration' THEN jsonb_build_object(
               'cameraBlocked', CASE WHEN n.n % 3 = 0 THEN true END, 'passwordRequired', true, 'passwordMinimumLength', 4 + n.n % 9)
           WHEN 'iosGeneralDeviceConfiguration' THEN jsonb_build_object(
               'cameraBlocked', CASE WHEN n.n % 7 = 0 THEN true END, 'passcodeMinimumLength', 4 + n.n % 5)
           WHEN 'macOSGeneralDeviceConfiguration' THEN jsonb_build_object('passwordRequired', true, 'passwordMinimumLength', 6 + n.n % 7)
           WHEN 'androidWorkProfileGeneralDeviceConfiguration' THEN jsonb_build_object(
               'passwordMinimumLength', 4 + n.n % 5, 'workProfileBlockScreenCapture', CASE WHEN n.n % 2 = 0 THEN true END)
           WHEN 'windowsUpdateForBusinessConfiguration' THEN jsonb_build_object(
               'qualityUpdatesDeferralPeriodInDays', n.n % 8, 'featureUpdatesDeferralPeriodInDays', n.n % 4 * 10)
           WHEN 'iosUpdateConfiguration' THEN jsonb_build_object('utcTimeOffsetInMinutes', n.n % 5 * 60)
           WHEN 'windows10CustomConfiguration' THEN jsonb_build_object('omaSettings', jsonb_build_array(
               jsonb_build_object('@odata.type', '#microsoft.graph.omaSettingString', 'displayName', 'Setting ' || n.n % 60,
                   'omaUri', CASE WHEN n.n % 60 = 7 THEN './Device/Vendor/MSFT/Policy/Config/TimeLanguageSettings/ConfigureTimeZone'
                                  ELSE './Device/Vendor/MSFT/Policy/Config/Area' || n.n % 60 || '/Setting' END,
                   'value', 'value ' || n.n % 11),
               jsonb_build_object('@odata.type', '#microsoft.graph.omaSettingString', 'displayName', 'Key of the wireless network',
                   'omaUri', './Vendor/MSFT/WiFi/Profile/site/Key', 'value', CASE WHEN n.n % 40 = 7 THEN '****' ELSE 'none' END,
                   'isEncrypted', CASE WHEN n.n % 40 = 7 THEN true END,
                   'secretReferenceValueId', CASE WHEN n.n % 40 = 7 THEN md5('first ' || n.n)::uuid || '_' || n.id || '_' || md5('last ' || n.n)::uuid END)))
           WHEN 'iosEduDeviceConfiguration' THEN '{}'
           ELSE jsonb_build_object('payloadName', 'Payload ' || n.n, 'payloadFileName', 'payload.mobileconfig', 'payload', 'PHBsaXN0Lz4=')
       END)
FROM numbers AS n
JOIN (VALUES
    (0, 0, 'macOSCustomConfiguration', 'Mac profile'),
    (1, 1, 'windows10GeneralConfiguration', 'Windows restrictions'),
    (2, 3, 'macOSCustomConfiguration', 'Mac profile'),
    (4, 6, 'iosGeneralDeviceConfiguration', 'iOS restrictions'),
    (7, 7, 'windows10CustomConfiguration', 'Windows custom settings'),
    (8, 9, 'iosCustomConfiguration', 'iOS profile'),
    (10, 11, 'macOSGeneralDeviceConfiguration', 'Mac restrictions'),
    (12, 13, 'androidWorkProfileGeneralDeviceConfiguration', 'Android work profile'),
    (14, 15, 'windowsUpdateForBusinessConfiguration', 'Windows updates'),
    (16, 17, 'iosUpdateConfiguration', 'iOS updates'),
    (18, 18, 'iosCustomConfiguration', 'iOS profile'),
    (19, 19, 'macOSCustomConfiguration', 'Mac profile'),
    (20, 20, 'iosEduDeviceConfiguration', 'iPad classroom')
) AS k (first, last, odata_type, label)
  ON CASE WHEN n.n % 400 = 19 THEN 20 ELSE n.kind END BETWEEN k.first AND k.last;

-- Five or six assignments for nine of ten configurations. Group n has the id
-- 9e2c7a40-0000-4000-8000-…, which ends with n in hexadecimal: the groups 10, 11 and 12 are
-- those of docs/sample.json. The groups 301 to 310 are only excluded.
INSERT INTO device_configuration_assignments
    (id, device_configuration_id, target_type, group_id, collection_id, filter_id, filter_type, intent, source, source_id,
     created_date_time, last_modified_date_time, created_by, last_modified_by)
SELECT md5('assignment ' || n || ' ' || place)::uuid, configuration, target_type,
       CASE WHEN target_type IN ('groupAssignmentTarget', 'exclusionGroupAssignmentTarget')
           THEN '9e2c7a40-0000-4000-8000-' || lpad(to_hex(group_number), 12, '0') END,
       CASE target_type WHEN 'configurationManagerCollectionAssignmentTarget' THEN 'PS1000' || 10 + n % 30 END,
       CASE WHEN has_filter THEN '6f1b2c30-0000-4000-8000-' || lpad(to_hex(1 + n % 20), 12, '0') END,
       CASE WHEN NOT has_filter THEN 'none' WHEN n % 3 = 0 THEN 'exclude' ELSE 'include' END,
       CASE WHEN (n + place) % 997 = 0 THEN 'remove' ELSE 'apply' END,
       CASE WHEN n % 500 = 1 AND place = 3 THEN 'policySets' ELSE 'direct' END,
       CASE WHEN n % 500 = 1 AND place = 3 THEN '7a4d5e60-0000-4000-8000-000000000001' END,
       created, CASE WHEN (n + place) % 5 = 0 THEN created + (now() - created) * 0.4 ELSE created END,
       author, author
FROM (
    SELECT n.n, n.id AS configuration, n.author, place,
           now() - (n.n * 7919::bigint + place * 13117) % 1051200 * interval '1 minute' AS created,
           CASE WHEN place = 4 AND n.n % 200 = 1 THEN 301 + n.n / 200 % 10 ELSE (n.n * 7 + place * 53) % 300 + 1 END AS group_number,
           (n.n + place) % 40 = 7 AS has_filter,
           CASE
               WHEN place = 0 AND n.n % 23 = 1 THEN 'allDevicesAssignmentTarget'
               WHEN place = 0 AND n.n % 23 = 2 THEN 'allLicensedUsersAssignmentTarget'
               WHEN place = 1 AND n.n % 47 = 3 THEN 'configurationManagerCollectionAssignmentTarget'
               WHEN place = 2 AND n.n % 501 = 5 THEN 'deviceAndAppManagementAssignmentTarget'
               WHEN place = 5 OR place = 4 AND n.n % 200 = 1 THEN 'exclusionGroupAssignmentTarget'
               ELSE 'groupAssignmentTarget'
           END AS target_type
    FROM numbers AS n
    CROSS JOIN generate_series(0, 5) AS place
    WHERE n.n % 10 <> 0 AND (place < 5 OR n.n % 9 BETWEEN 1 AND 5)
       -- These have an exclusion alone.
       OR n.n % 1000 = 990 AND place = 5
) AS a;

INSERT INTO device_configuration_secrets (reference, device_configuration_id, ciphertext)
-- One of ten settings has lost its secret.
SELECT md5('first ' || n)::uuid || '_' || id || '_' || md5('last ' || n)::uuid, id, decode(repeat(md5('secret ' || n), 2), 'hex')
FROM numbers WHERE n % 40 = 7 AND n % 400 <> 7
UNION ALL
-- These belong to no setting.
SELECT md5('old first ' || n)::uuid || '_' || id || '_' || md5('old last ' || n)::uuid, id, decode(repeat(md5('secret ' || n), 2), 'hex')
FROM numbers WHERE n % 400 = 207;

INSERT INTO device_configuration_device_statuses
    (id, device_configuration_id, status, device_display_name, device_model, user_name, user_principal_name, last_reported_date_time)
SELECT md5('device ' || c.n || ' ' || d)::uuid, c.id,
       coalesce((ARRAY['error', 'conflict', 'nonCompliant', 'unknown'])[1 + (c.n * 3 + d) % 25], 'compliant'),
       'PC-' || lpad((c.n * 10 + d)::text, 5, '0'), 'Latitude ' || 5400 + d * 10, 'User ' || c.n % 500,
       'user' || c.n % 500 || '@example.com', now() - (c.n * 17 + d) % 10000 * interval '1 minute'
FROM (
    SELECT n, ('5a3b0f10-0001-4000-8000-00000000000' || n)::uuid AS id FROM generate_series(1, 8) AS n
    UNION ALL SELECT n, id FROM numbers WHERE n <= 2000) AS c
CROSS JOIN generate_series(0, 9) AS d;

INSERT INTO device_configuration_user_statuses
    (id, device_configuration_id, status, user_display_name, user_principal_name, devices_count)
SELECT md5('user ' || n || ' ' || u)::uuid, id, CASE WHEN (n + u) % 30 = 0 THEN 'error' ELSE 'compliant' END,
       'User ' || u, 'user' || u || '@example.com', 1 + u % 3
FROM numbers CROSS JOIN generate_series(1, 5) AS u WHERE n <= 1000;
INSERT INTO device_configuration_setting_summaries (id, device_configuration_id, setting_name, compliant_device_count, error_device_count)
SELECT md5('setting ' || n || ' ' || s)::uuid, id, 'Setting ' || s, 8, n % 3
FROM numbers CROSS JOIN generate_series(1, 2) AS s WHERE n <= 1000;

-- A row that is older than a constraint, and that the constraint refuses. The constraint is
-- not validated.
DO $$
DECLARE
    definition text := (
        SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'device_configuration_user_statuses_devices_count_check');
BEGIN
    ALTER TABLE device_configuration_user_statuses DROP CONSTRAINT device_configuration_user_statuses_devices_count_check;
    -- The foreign key is checked at once, so that the table can be altered again.
    INSERT INTO device_configuration_user_statuses (id, device_configuration_id, user_display_name, devices_count)
    VALUES (md5('old user')::uuid, '5a3b0f10-0001-4000-8000-000000000001', 'User of an old release', -1);
    EXECUTE 'ALTER TABLE device_configuration_user_statuses ADD CONSTRAINT device_configuration_user_statuses_devices_count_check '
        || regexp_replace(definition, ' NOT VALID$', '') || ' NOT VALID';
END $$;

COMMIT;

VACUUM (ANALYZE);
