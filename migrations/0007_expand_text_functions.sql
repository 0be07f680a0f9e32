-- tolower and toupper of $filter: the letters of every script, by ICU's root
-- collation, since the database's own may know ASCII alone. A database that is
-- not in UTF-8, or a server without ICU, does what its collation can.
DO $$
DECLARE
    letters text := CASE
        WHEN getdatabaseencoding() = 'UTF8'
            AND EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu' AND collnamespace = 'pg_catalog'::regnamespace)
        THEN ' COLLATE pg_catalog."und-x-icu"'
        ELSE ''
    END;
BEGIN
    EXECUTE 'CREATE FUNCTION graph_tolower(value text) RETURNS text
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN lower(value' || letters || ')';
    EXECUTE 'CREATE FUNCTION graph_toupper(value text) RETURNS text
        LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN upper(value' || letters || ')';
END
$$;

COMMENT ON FUNCTION graph_tolower(text) IS 'tolower of $filter.';
COMMENT ON FUNCTION graph_toupper(text) IS 'toupper of $filter.';
