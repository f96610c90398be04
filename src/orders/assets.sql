/*
 * assets.sql
 *	  Artwork for custom branding.
 *
 * Everybody may call these; USAGE on the server decides inside.
 */

CREATE FUNCTION @extschema@.cs_upload_asset(content bytea, filename text, content_type text DEFAULT NULL,
  server text DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'cs_sql_upload_asset';
COMMENT ON FUNCTION @extschema@.cs_upload_asset(bytea, text, text, text) IS
'Uploads artwork now (Cup Source v2: POST /assets; 0A000 elsewhere) and returns its asset id, which goes into '
'options: {"branding": {"asset_id": ...}} of an order. content_type: told from the content''s first bytes if left out. '
'The document states neither sizes nor types, so none are refused here but an empty file. The upload does not roll '
'back, and is never sent a second time if the first may have arrived: PA009 then, and calling again uploads again. '
'Errors: 22023 (empty, or not a file name or media type), PA4xx (the partner refuses), PA001 to PA010.';

CREATE FUNCTION @extschema@.cs_upload_asset(file text, content_type text DEFAULT NULL, server text DEFAULT NULL)
RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'cs_sql_upload_asset_file';
COMMENT ON FUNCTION @extschema@.cs_upload_asset(text, text, text) IS
'The same with a file of the database server, by its absolute path, for members of pg_read_server_files (42501 for '
'others); its last part is the file name that the partner is told.';
