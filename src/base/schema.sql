/*
 * schema.sql
 *	  The schema of the tables and state transitions, and what every view
 *	  shares.  Public objects (cs_...) live in the schema that the user chose.
 */

-- Nothing that somebody has put into the chosen schema is taken for the server's own.
SET LOCAL search_path TO pg_catalog, pg_temp;

-- The script stops here unless the library was preloaded.
CREATE FUNCTION @extschema@.cs_version() RETURNS text
LANGUAGE c STABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cs_sql_version';
COMMENT ON FUNCTION @extschema@.cs_version() IS
'Version of the loaded library, and of libcurl and json-c as they run. '
'Error 55000 unless cupsource is in shared_preload_libraries.';

DO $$ BEGIN PERFORM @extschema@.cs_version(); END $$;

CREATE SCHEMA cs_internal;
COMMENT ON SCHEMA cs_internal IS
'Tables and state transitions of cupsource. Use the public functions and views cs_...; nothing here is granted to PUBLIC.';
REVOKE ALL ON SCHEMA cs_internal FROM PUBLIC;

CREATE VIEW cs_internal.visible_servers WITH (security_barrier) AS
  SELECT s.srvname::pg_catalog.text AS server
    FROM pg_catalog.pg_foreign_server AS s
    JOIN pg_catalog.pg_foreign_data_wrapper AS w ON w.oid OPERATOR(pg_catalog.=) s.srvfdw
   WHERE w.fdwname OPERATOR(pg_catalog.=) 'cupsource'
     AND pg_catalog.has_server_privilege(s.oid, 'USAGE');
COMMENT ON VIEW cs_internal.visible_servers IS
'The partner accounts that the current user may use; every public view shows only their rows.';
REVOKE ALL ON cs_internal.visible_servers FROM PUBLIC;
