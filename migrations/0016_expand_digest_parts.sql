-- The digest of a set of assignments, which is its ETag, was a hash of all rows in their
-- order. Every page and every PATCH computed it anew. Now it is made from sums of a hash of
-- each row, so that a change of one row changes the sums by one row. For large sets the sums
-- are kept, in parts.
--
-- The digest has the same value, whether its sums are kept or computed.

-- A configuration can have several parts, because two transactions never wait for each
-- other's part: a statement changes a part that no other transaction has locked, else it
-- inserts another part. So there are about as many parts as there were writers at one time.
CREATE TABLE device_configuration_digest_parts (
    id                      uuid    NOT NULL DEFAULT gen_random_uuid(),
    device_configuration_id uuid    NOT NULL,
    is_base                 boolean NOT NULL,
    assignments             bigint  NOT NULL,
    first_sum               numeric NOT NULL,
    second_sum              numeric NOT NULL,

    -- There is no foreign key: its check would wait for the lock of the configuration.
    CONSTRAINT device_configuration_digest_parts_pkey
        PRIMARY KEY (id)
) WITH (
    -- Space for the next versions of the rows in their pages, so that no index changes.
    fillfactor = 50
);

CREATE INDEX device_configuration_digest_parts_device_configuration_id_idx
    ON device_configuration_digest_parts (device_configuration_id);
CREATE UNIQUE INDEX device_configuration_digest_parts_base_idx
    ON device_configuration_digest_parts (device_configuration_id)
    WHERE is_base;

COMMENT ON TABLE device_configuration_digest_parts IS
    'Sums that make the digests of large sets of assignments. Triggers keep them. The table may be emptied at any time: the next request that needs a digest computes it.';
COMMENT ON COLUMN device_configuration_digest_parts.id IS
    'Key of the part.';
COMMENT ON COLUMN device_configuration_digest_parts.device_configuration_id IS
    'The configuration whose assignments are summed.';
COMMENT ON COLUMN device_configuration_digest_parts.is_base IS
    'Whether the part began with the sums of all assignments. A configuration without such a part has no kept digest, and its other parts mean nothing.';
COMMENT ON COLUMN device_configuration_digest_parts.assignments IS
    'The number of assignments. Negative when the part has more deleted than new ones.';
COMMENT ON COLUMN device_configuration_digest_parts.first_sum IS
    'The sum of the first hash of each assignment.';
COMMENT ON COLUMN device_configuration_digest_parts.second_sum IS
    'The sum of the second hash of each assignment.';
COMMENT ON INDEX device_configuration_digest_parts_device_configuration_id_idx IS
    'The parts of a configuration.';
COMMENT ON INDEX device_configuration_digest_parts_base_idx IS
    'Each configuration has at most one first part.';

CREATE FUNCTION device_configuration_assignments_digest(assignments bigint, first_sum numeric, second_sum numeric)
    RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    -- 120 bits, in letters that may stand in a header.
    RETURN translate(encode(substr(sha256(convert_to(
        assignments::text || ' ' || first_sum::text || ' ' || second_sum::text,
        'UTF8')), 1, 15), 'base64'), '+/', '-_');

COMMENT ON FUNCTION device_configuration_assignments_digest(bigint, numeric, numeric) IS
    'The digest of a set of assignments, from their number and the sums of their hashes.';

CREATE VIEW device_configuration_computed_digests AS
SELECT
    a.device_configuration_id,
    count(*) AS assignments,
    sum(hashtextextended(t.whole_row COLLATE "C", 1)) AS first_sum,
    sum(hashtextextended(t.whole_row COLLATE "C", 2)) AS second_sum,
    device_configuration_assignments_digest(
        count(*),
        sum(hashtextextended(t.whole_row COLLATE "C", 1)),
        sum(hashtextextended(t.whole_row COLLATE "C", 2))) AS digest
FROM device_configuration_assignments AS a
CROSS JOIN LATERAL (
    -- The text of the row keeps neighbouring columns apart. Its hash mixes all columns: a sum
    -- of hashes of single columns would not change when two assignments swap their groups.
    -- OFFSET 0 makes the text once for both hashes.
    SELECT ROW(a.id, a.target_type, a.group_id, a.collection_id, a.filter_id, a.filter_type, a.intent, a.source,
               a.source_id)::text AS whole_row
    OFFSET 0) AS t
GROUP BY a.device_configuration_id;

COMMENT ON VIEW device_configuration_computed_digests IS
    'The digests of the sets of assignments, computed from every assignment. device_configuration_assignment_sets is faster for large sets.';
COMMENT ON COLUMN device_configuration_computed_digests.device_configuration_id IS 'The configuration that is assigned.';
COMMENT ON COLUMN device_configuration_computed_digests.assignments IS 'How many assignments it has.';
COMMENT ON COLUMN device_configuration_computed_digests.first_sum IS 'The sum of the first hash of each assignment.';
COMMENT ON COLUMN device_configuration_computed_digests.second_sum IS 'The sum of the second hash of each assignment.';
COMMENT ON COLUMN device_configuration_computed_digests.digest IS 'The digest of the set.';

CREATE VIEW device_configuration_kept_digests AS
SELECT
    device_configuration_id,
    sum(assignments)::bigint AS assignments,
    CASE WHEN sum(assignments) > 0 THEN
        device_configuration_assignments_digest(sum(assignments)::bigint, sum(first_sum), sum(second_sum))
    END AS digest,
    count(*) <= 64 AS is_compact
FROM device_configuration_digest_parts
GROUP BY device_configuration_id
HAVING bool_or(is_base);

COMMENT ON VIEW device_configuration_kept_digests IS
    'The digests of the sets of assignments whose sums are kept.';
COMMENT ON COLUMN device_configuration_kept_digests.device_configuration_id IS 'The configuration that is assigned.';
COMMENT ON COLUMN device_configuration_kept_digests.assignments IS 'How many assignments it has.';
COMMENT ON COLUMN device_configuration_kept_digests.digest IS 'The digest of the set; null when the set is empty.';
COMMENT ON COLUMN device_configuration_kept_digests.is_compact IS 'Whether it has few parts. Otherwise the service computes one part anew.';

CREATE OR REPLACE VIEW device_configuration_assignment_sets AS
SELECT c.id AS device_configuration_id, s.assignments, s.digest
FROM device_configurations AS c
CROSS JOIN LATERAL (
    SELECT k.assignments, k.digest
    FROM device_configuration_kept_digests AS k
    WHERE k.device_configuration_id = c.id AND k.assignments > 0
    UNION ALL
    SELECT p.assignments, p.digest
    FROM device_configuration_computed_digests AS p
    WHERE p.device_configuration_id = c.id
      AND NOT EXISTS (
          SELECT FROM device_configuration_digest_parts AS d WHERE d.device_configuration_id = c.id AND d.is_base)
) AS s;

-- Returns whether the digest of a configuration is kept now. A request calls it that needed
-- the digest of a large set. It does nothing while another transaction writes to the set or
-- deletes the configuration, or where nothing can be written.
--
-- It is right for these reasons:
--
-- - The lock of the configuration conflicts with the lock that every statement has that
--   changes a part, until its transaction ends. So no part changes here.
-- - The second statement has its own snapshot, which is younger than the lock. It sees each
--   write that has ended without a change of the sums, because that write did not see them.
-- - A write that could not lock the configuration inserts a separate part. The part and the
--   write commit together, so the snapshot of the second statement sees both or neither. If it
--   sees both, the new sums include the write, and the statement deletes the part.
CREATE FUNCTION device_configuration_keep_digest(configuration uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_read_only')::boolean
        OR current_setting('transaction_isolation') <> 'read committed' THEN
        RETURN false;
    END IF;
    PERFORM FROM device_configurations WHERE id = configuration FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF EXISTS (
        SELECT FROM device_configuration_kept_digests WHERE device_configuration_id = configuration AND is_compact) THEN
        RETURN true;
    END IF;
    WITH replaced AS (
        DELETE FROM device_configuration_digest_parts WHERE device_configuration_id = configuration RETURNING id)
    INSERT INTO device_configuration_digest_parts (device_configuration_id, is_base, assignments, first_sum, second_sum)
    SELECT p.device_configuration_id, true, p.assignments, p.first_sum, p.second_sum
    FROM device_configuration_computed_digests AS p
    -- The count is known when all are deleted. The index allows no second base before.
    CROSS JOIN (SELECT count(*) FROM replaced) AS all_replaced
    WHERE p.device_configuration_id = configuration;
    RETURN FOUND;
END $$;

COMMENT ON FUNCTION device_configuration_keep_digest(uuid) IS
    'Begins to keep the digest of the assignments of a configuration. Returns whether it is kept.';

-- Adds the rows of a statement to the kept sums, or removes them. The argument of the trigger
-- says which. The owner of the tables runs it, because a role that may write assignments need
-- not know these sums.
CREATE FUNCTION device_configuration_assignments_change_digests() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    -- The usual case first, before any variable has a value: a create adds a few microseconds.
    -- The foreign key has locked the configurations of new rows before this trigger.
    IF TG_OP = 'INSERT'
        AND NOT EXISTS (SELECT FROM device_configuration_digest_parts)
        AND current_setting('transaction_isolation') = 'read committed' THEN
        RETURN NULL;
    END IF;
    DECLARE
        direction CONSTANT integer := CASE TG_ARGV[0] WHEN 'add' THEN 1 ELSE -1 END;
        -- In another isolation level, the transaction cannot see whether the sums are kept now.
        sees_commits CONSTANT boolean := current_setting('transaction_isolation') = 'read committed';
        configuration uuid;
        -- Configurations whose sums are kept, and which this transaction has locked.
        kept uuid[] := '{}';
        -- Configurations for which another transaction may begin to keep the sums now.
        unlocked uuid[] := '{}';
        change record;
        part uuid;
    BEGIN
        FOR configuration IN SELECT DISTINCT device_configuration_id FROM changed_assignments LOOP
            IF TG_OP <> 'INSERT' AND sees_commits THEN
                -- The service has this lock already. It does not wait, because an SQL statement
                -- that changed an assignment before this lock could cause a deadlock.
                PERFORM FROM device_configurations WHERE id = configuration FOR KEY SHARE SKIP LOCKED;
                IF NOT FOUND THEN
                    -- Deleted with its assignments: its parts go with it.
                    IF EXISTS (SELECT FROM device_configurations WHERE id = configuration) THEN
                        unlocked := unlocked || configuration;
                    END IF;
                    CONTINUE;
                END IF;
            END IF;
            IF NOT sees_commits THEN
                unlocked := unlocked || configuration;
            ELSIF EXISTS (
                SELECT FROM device_configuration_digest_parts WHERE device_configuration_id = configuration AND is_base) THEN
                kept := kept || configuration;
            END IF;
        END LOOP;
        IF kept = '{}' AND unlocked = '{}' THEN
            RETURN NULL;
        END IF;
        FOR change IN
            SELECT a.device_configuration_id, direction * count(*) AS assignments,
                   direction * sum(hashtextextended(t.whole_row COLLATE "C", 1)) AS first_sum,
                   direction * sum(hashtextextended(t.whole_row COLLATE "C", 2)) AS second_sum
            FROM changed_assignments AS a
            -- As in the view device_configuration_computed_digests.
            CROSS JOIN LATERAL (
                SELECT ROW(a.id, a.target_type, a.group_id, a.collection_id, a.filter_id, a.filter_type, a.intent, a.source,
                           a.source_id)::text AS whole_row
                OFFSET 0) AS t
            GROUP BY a.device_configuration_id
        LOOP
            part := NULL;
            IF change.device_configuration_id = ANY (kept) THEN
                SELECT id INTO part
                FROM device_configuration_digest_parts
                WHERE device_configuration_id = change.device_configuration_id
                LIMIT 1
                FOR UPDATE SKIP LOCKED;
            ELSIF change.device_configuration_id <> ALL (unlocked) THEN
                CONTINUE;
            END IF;
            IF part IS NULL THEN
                INSERT INTO device_configuration_digest_parts
                    (device_configuration_id, is_base, assignments, first_sum, second_sum)
                VALUES (change.device_configuration_id, false, change.assignments, change.first_sum, change.second_sum);
            ELSE
                UPDATE device_configuration_digest_parts
                SET assignments = assignments + change.assignments,
                    first_sum = first_sum + change.first_sum,
                    second_sum = second_sum + change.second_sum
                WHERE id = part;
            END IF;
        END LOOP;
        RETURN NULL;
    END;
END $$;

COMMENT ON FUNCTION device_configuration_assignments_change_digests() IS
    'Changes the kept sums of the sets that a statement has changed.';

CREATE FUNCTION device_configuration_assignments_forget_digests() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    DELETE FROM device_configuration_digest_parts;
    RETURN NULL;
END $$;

COMMENT ON FUNCTION device_configuration_assignments_forget_digests() IS
    'Deletes all kept sums when TRUNCATE empties the assignments.';

CREATE FUNCTION device_configurations_forget_digests() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF EXISTS (SELECT FROM device_configuration_digest_parts) THEN
        DELETE FROM device_configuration_digest_parts
        WHERE device_configuration_id IN (SELECT id FROM deleted_configurations);
    END IF;
    RETURN NULL;
END $$;

COMMENT ON FUNCTION device_configurations_forget_digests() IS
    'Deletes the kept sums of deleted configurations.';

-- These functions run with the rights of the owner. The fixed search path makes them use the
-- tables of this schema. Without EXECUTE, another role cannot create a trigger that calls them.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY[
        'device_configuration_assignments_change_digests',
        'device_configuration_assignments_forget_digests',
        'device_configurations_forget_digests']
    LOOP
        EXECUTE format('ALTER FUNCTION %s() SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s() FROM PUBLIC', name);
    END LOOP;
END $$;
