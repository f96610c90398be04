/*
 * tables.sql
 *	  What foreign tables need to know of the cache: its columns, its sizes.
 */

CREATE FUNCTION cs_internal.view_columns(view text, OUT name text, OUT type text, OUT type_oid oid)
RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 30
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
  SELECT a.attname::text,
         concat(format('%s.%I', t.typnamespace::regnamespace, t.typname),
                ' COLLATE ' || l.collnamespace::regnamespace::text || '.' || quote_ident(l.collname)), a.atttypid
    FROM pg_extension AS e
    JOIN pg_class AS c ON c.relnamespace = e.extnamespace AND c.relname = view_columns.view
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_collation AS l ON l.oid = nullif(a.attcollation, t.typcollation)
   WHERE e.extname = 'cupsource'
   ORDER BY a.attnum;
END $$;
COMMENT ON FUNCTION cs_internal.view_columns(text) IS
'The columns of a public view, in order, with their types and collations by schema: a foreign table of its resource has the same.';
REVOKE ALL ON FUNCTION cs_internal.view_columns(text) FROM PUBLIC;

CREATE FUNCTION cs_internal.catalog_size(account text, OUT products bigint, OUT skus bigint)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  SELECT r.products, r.skus INTO products, skus
    FROM cs_internal.catalog_runs AS r WHERE r.server = account;
END $$;
COMMENT ON FUNCTION cs_internal.catalog_size(text) IS
'How many products or models, and SKUs, the account''s cached catalogue has; for the planner, which asks no partner.';
REVOKE ALL ON FUNCTION cs_internal.catalog_size(text) FROM PUBLIC;
