/*
 * codes.sql
 *	  The errors that the partners' documents list.
 */

CREATE FUNCTION @extschema@.cs_error_codes(OUT api pg_catalog.text, OUT code pg_catalog.text, OUT status pg_catalog.int4,
  OUT sqlstate pg_catalog.text, OUT meaning pg_catalog.text, OUT hint pg_catalog.text)
RETURNS SETOF record
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 30
AS 'MODULE_PATHNAME', 'cs_sql_error_codes';
COMMENT ON FUNCTION @extschema@.cs_error_codes() IS
'Every error of the partners'' documents as it is raised here: sqlstate; the partner''s message, or meaning where it sends '
'none; DETAIL with status, code and fields; hint. code NULL: any code with this status that the document does not list. '
'A status that no row has is raised likewise (PA and the status), without a hint.';
