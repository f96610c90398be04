/*
 * tables.sql
 *	  What foreign tables need to know of what is stored: columns, sizes, orders.
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

CREATE FUNCTION cs_internal.order_of_remote(account text, wanted text, user_id oid) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  hits integer;
  id bigint;
BEGIN
  SELECT count(*), min(o.id) INTO hits, id
    FROM cs_internal.orders AS o
    JOIN pg_foreign_server AS s ON s.srvname = o.server::name
   WHERE o.server = account AND o.remote_id = wanted AND has_server_privilege(user_id, s.oid, 'USAGE');
  IF hits = 0 THEN
    RAISE EXCEPTION USING ERRCODE = 'PA404',
      MESSAGE = format('order "%s" on server "%s" was not placed from this database', wanted, account),
      HINT = 'Only orders in cs_orders can be cancelled here. Cancel it where it was placed.';
  ELSIF hits > 1 THEN
    RAISE EXCEPTION USING ERRCODE = 'cardinality_violation',
      MESSAGE = format('"%s" means more than one order', wanted),
      HINT = 'Cancel the one that is meant by its local id: SELECT cs_cancel_order(...).';
  END IF;
  RETURN id;
END $$;
COMMENT ON FUNCTION cs_internal.order_of_remote(text, text, oid) IS
'The order in a row of a foreign table, by its remote id alone: that may be the local or external id of another one.';
REVOKE ALL ON FUNCTION cs_internal.order_of_remote(text, text, oid) FROM PUBLIC;

CREATE FUNCTION cs_internal.may_execute(user_id oid, function_name text) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN coalesce(bool_or(has_function_privilege(user_id, p.oid, 'EXECUTE')), false)
    FROM pg_extension AS e
    JOIN pg_proc AS p ON p.pronamespace = e.extnamespace AND p.proname = function_name
   WHERE e.extname = 'cupsource';
END $$;
COMMENT ON FUNCTION cs_internal.may_execute(oid, text) IS
'May the user call a public function, in any of its forms? What a foreign table does, its function does.';
REVOKE ALL ON FUNCTION cs_internal.may_execute(oid, text) FROM PUBLIC;
