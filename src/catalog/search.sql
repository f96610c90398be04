/*
 * search.sql
 *	  Searches of the cached catalogue that a view cannot serve by an index:
 *	  views show a user his accounts only, and what is not leakproof must not
 *	  be evaluated before that is decided.  Here the accounts are decided
 *	  first, and each is searched by an index that begins with it; so one
 *	  account of many is found as quickly as one alone.
 *
 * The C functions (src/catalog/search.c) call those of cs_internal as the
 * extension's owner, with the user who asks.
 */

CREATE FUNCTION cs_internal.usable_servers(user_id oid, server text) RETURNS text[]
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  names text[];
BEGIN
  SELECT array_agg(s.srvname::text COLLATE "C") INTO names
    FROM pg_foreign_server AS s
    JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'cupsource'
   WHERE (server IS NULL OR s.srvname = server::name) AND has_server_privilege(user_id, s.oid, 'USAGE');
  IF names IS NULL AND server IS NOT NULL THEN
    RAISE undefined_object USING
      MESSAGE = format('server "%s" does not exist, or you may not use it', server);
  END IF;
  RETURN coalesce(names, '{}');
END $$;
COMMENT ON FUNCTION cs_internal.usable_servers(oid, text) IS
'The accounts that a user may use, or the one that is named; 42704 if he may not use that.';
REVOKE ALL ON FUNCTION cs_internal.usable_servers(oid, text) FROM PUBLIC;

CREATE FUNCTION cs_internal.search(user_id oid, sku_prefix text, words text, size text, colour text, material text,
  certification text, category text, min_price numeric, max_price numeric, most bigint, server text)
RETURNS SETOF @extschema@.cs_prices
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
  servers text[] := cs_internal.usable_servers(user_id, server);
  wanted tsquery := cs_internal.search_query(words, 'shmcg', ARRAY[size, colour, material, certification, category]);
  any_of tsquery := replace(wanted::text, '&', '|')::tsquery;
  -- An index for each combination; what it does not decide is a filter.
  of_item text := concat(
    CASE WHEN sku_prefix <> '' THEN ' AND i.sku ^@ $4' END,
    CASE WHEN min_price IS NOT NULL THEN ' AND i.unit_price >= $5' END,
    CASE WHEN max_price IS NOT NULL THEN ' AND i.unit_price <= $6' END);
  by_key text := CASE WHEN sku_prefix <> '' THEN 'sku' WHEN wanted IS NULL THEN 'unit_price' END;
  ordered text := coalesce(' ORDER BY i.' || by_key, '') || ' LIMIT $7';
  product_terms CONSTANT text := 'cs_internal.search_vector(i.server, ARRAY[i.name, i.brand, i.code], ''mgsc'', '
    'ARRAY[i.material, i.category, i.capacity] || i.certifications)';
  variation_terms CONSTANT text := 'cs_internal.search_vector(i.server, ARRAY[i.variation_description, '
    'i.variation2_description], ''sh'', ARRAY[i.variation_description, i.variation2_description])';
  model_terms CONSTANT text := 'cs_internal.search_vector(m.server, ARRAY[m.name, m.brand, m.code], ''m'', ARRAY[m.material])';
  variation CONSTANT text := 'SELECT i.server, i.sku, i.model_id, concat_ws('' / '', m.name, i.variation_description, '
    'i.variation2_description), i.unit_price, i.list_price, i.currency, NULL::bigint, NULL, NULL::integer, i.fetched_at';
  on_offer CONSTANT text := ' AND i.discontinued_at IS NULL AND i.is_active IS NOT FALSE';
  parts text[];
BEGIN
  IF most < 0 THEN
    RAISE invalid_parameter_value USING MESSAGE = '"max_rows" must not be negative';
  END IF;
  parts := ARRAY[concat(
    'SELECT i.server, i.sku, i.product_id, i.name, i.unit_price, i.list_price, i.currency, i.min_order_qty, ',
    'i.stock_status, i.lead_time_days, i.fetched_at FROM cs_internal.products AS i ',
    'WHERE i.server = a.server AND i.discontinued_at IS NULL', of_item,
    CASE WHEN wanted IS NOT NULL THEN concat(' AND ', product_terms, ' @@ ($2 && a.query)') END, ordered)];
  IF wanted IS NULL THEN
    parts := parts || concat(variation, ' FROM cs_internal.variations AS i LEFT JOIN cs_internal.models AS m ',
      'ON m.server = i.server AND m.model_id = i.model_id WHERE i.server = a.server', on_offer, of_item, ordered);
  ELSE
    -- Its own words say it all; or some of them are its model's.
    parts := parts || concat(variation, ' FROM cs_internal.variations AS i LEFT JOIN cs_internal.models AS m ',
      'ON m.server = i.server AND m.model_id = i.model_id WHERE ', variation_terms, ' @@ ($2 && a.query)',
      ' AND i.server = a.server', on_offer, of_item, ordered);
    parts := parts || concat(variation, ' FROM cs_internal.models AS m JOIN cs_internal.variations AS i ',
      'ON i.server = m.server AND i.model_id = m.model_id WHERE ', model_terms, ' @@ ($3 && a.query)',
      ' AND m.server = a.server AND NOT ', variation_terms, ' @@ $2 AND (', model_terms, ' || ', variation_terms, ') @@ $2',
      on_offer, of_item, ordered);
  END IF;
  RETURN QUERY EXECUTE concat(
    'SELECT f.* FROM unnest($1) AS n (server) CROSS JOIN LATERAL (SELECT n.server COLLATE "C" AS server, ',
    '(''''''@'' || replace(replace(n.server, ''\'', ''\\''), '''''''', '''''''''''') || '''''''')::tsquery AS query OFFSET 0) AS a ',
    'CROSS JOIN LATERAL ((', array_to_string(parts, ') UNION ALL ('), ')) AS f (server, sku, product_id, name, unit_price, ',
    'list_price, currency, min_order_qty, stock_status, lead_time_days, fetched_at) ',
    'ORDER BY ', CASE by_key WHEN 'sku' THEN 'f.sku, f.unit_price' ELSE 'f.unit_price, f.sku' END, ', f.server LIMIT $7')
  USING servers, wanted, any_of, sku_prefix, min_price, max_price, coalesce(most, 9223372036854775807);
END $$;
COMMENT ON FUNCTION cs_internal.search(oid, text, text, text, text, text, text, text, numeric, numeric, bigint, text) IS
'What cs_search finds for a user. Conditions that are NULL are left out of the statement, which is planned for its values.';
REVOKE ALL ON FUNCTION cs_internal.search(oid, text, text, text, text, text, text, text, numeric, numeric, bigint, text)
  FROM PUBLIC;

CREATE FUNCTION @extschema@.cs_search(words text DEFAULT NULL, sku_prefix text DEFAULT NULL, size text DEFAULT NULL,
  colour text DEFAULT NULL, material text DEFAULT NULL, certification text DEFAULT NULL, category text DEFAULT NULL,
  min_price numeric DEFAULT NULL, max_price numeric DEFAULT NULL, max_rows bigint DEFAULT 100, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_prices
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000 ROWS 100
AS 'MODULE_PATHNAME', 'cs_sql_search';
COMMENT ON FUNCTION @extschema@.cs_search(text, text, text, text, text, text, text, numeric, numeric, bigint, text) IS
'Searches the cached catalogues of all accounts, or of one, by an index; rows as in cs_prices. words: each is a word of the name, brand or code (CustomHub: of the '
'model or its variation), whatever its case; the last one may be the beginning of one, from three letters. size, colour, material, certification, category: all their '
'words are in that attribute; size is also the capacity of a cup. Sorted by SKU after sku_prefix, else by price; of more than max_rows (NULL: no limit), those '
'come first, except with words or attributes, where it is not said which are found.';

-- ---- Offers, compared ----

CREATE TYPE cs_internal.offer AS (
  server text, sku text, product_id text, name text, quantity bigint, unit_price numeric, total numeric, currency text,
  min_order_qty bigint, stock_status text, lead_time_days integer, fetched_at timestamptz);
COMMENT ON TYPE cs_internal.offer IS 'A row of cs_offers.';

CREATE FUNCTION cs_internal.offers(user_id oid, words text, skus text[], quantity bigint, most bigint, server text)
RETURNS SETOF cs_internal.offer
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  IF quantity IS NULL OR quantity < 1 THEN
    RAISE invalid_parameter_value USING MESSAGE = '"quantity" must be positive';
  END IF;
  RETURN QUERY
  WITH found AS MATERIALIZED (
    SELECT f.* FROM cs_internal.search(user_id, NULL, words, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, server) AS f
     WHERE words IS NOT NULL
    UNION ALL
    SELECT f.*
      FROM unnest(cs_internal.usable_servers(user_id, server)) AS a (server)
      CROSS JOIN (SELECT DISTINCT u.sku FROM unnest(skus) AS u (sku)) AS k
      CROSS JOIN LATERAL (
        SELECT p.server, p.sku, p.product_id, p.name, p.unit_price, p.list_price, p.currency, p.min_order_qty,
               p.stock_status, p.lead_time_days, p.fetched_at
          FROM cs_internal.products AS p
         WHERE p.server = a.server AND p.sku = k.sku AND p.discontinued_at IS NULL
        UNION ALL
        SELECT v.server, v.sku, v.model_id,
               (SELECT concat_ws(' / ', m.name, v.variation_description, v.variation2_description)
                  FROM cs_internal.models AS m WHERE m.server = v.server AND m.model_id = v.model_id),
               v.unit_price, v.list_price, v.currency, NULL, NULL, NULL, v.fetched_at
          FROM cs_internal.variations AS v
         WHERE v.server = a.server AND v.sku = k.sku AND v.discontinued_at IS NULL AND v.is_active IS NOT FALSE) AS f)
  SELECT f.server, f.sku, f.product_id, f.name, offers.quantity, f.unit_price, f.unit_price * offers.quantity, f.currency,
         f.min_order_qty, f.stock_status, f.lead_time_days, f.fetched_at
    FROM found AS f
   WHERE f.unit_price IS NOT NULL AND coalesce(f.min_order_qty, 1) <= offers.quantity
   ORDER BY f.currency, f.unit_price, f.lead_time_days, f.server, f.sku
   LIMIT most;
END $$;
COMMENT ON FUNCTION cs_internal.offers(oid, text, text[], bigint, bigint, text) IS
'What cs_offers finds for a user, by words or by SKUs.';
REVOKE ALL ON FUNCTION cs_internal.offers(oid, text, text[], bigint, bigint, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.cs_offers(words text, quantity bigint DEFAULT 1, max_rows bigint DEFAULT 100,
  server text DEFAULT NULL)
RETURNS SETOF cs_internal.offer
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000 ROWS 100
AS 'MODULE_PATHNAME', 'cs_sql_offers_by_words';
COMMENT ON FUNCTION @extschema@.cs_offers(text, bigint, bigint, text) IS
'What can be ordered where in this quantity, over all accounts (or one), from the cached catalogue: items with these words in their name (as cs_search), cheapest first '
'within each currency, then the shortest lead time (days). Left out: items without a price, and those whose minimum order quantity is larger. total = unit_price * quantity.';

CREATE FUNCTION @extschema@.cs_offers(skus text[], quantity bigint DEFAULT 1, max_rows bigint DEFAULT 100,
  server text DEFAULT NULL)
RETURNS SETOF cs_internal.offer
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000 ROWS 100
AS 'MODULE_PATHNAME', 'cs_sql_offers_by_skus';
COMMENT ON FUNCTION @extschema@.cs_offers(text[], bigint, bigint, text) IS
'The same for the items with these SKUs.';

-- ---- What has become dearer ----

CREATE TYPE cs_internal.price_change AS (
  server text, sku text, product_id text, name text, changed_at timestamptz, change text, old_unit_price numeric,
  unit_price numeric, old_list_price numeric, list_price numeric, old_blank_cost numeric, blank_cost numeric, currency text);
COMMENT ON TYPE cs_internal.price_change IS 'A row of cs_price_changes.';

CREATE FUNCTION cs_internal.price_changes(user_id oid, since timestamptz, server text)
RETURNS SETOF cs_internal.price_change
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  RETURN QUERY
  SELECT h.server, i.sku, i.product_id, i.name, h.ended_at,
         CASE WHEN h.currency IS NULL AND h.unit_price IS NULL AND h.list_price IS NULL AND h.blank_cost IS NULL THEN 'returned'
              WHEN i.gone AND n.valid_from IS NULL THEN 'discontinued'
              WHEN n.valid_from IS NOT NULL AND n.currency IS NULL AND n.unit_price IS NULL AND n.list_price IS NULL
                   AND n.blank_cost IS NULL THEN 'discontinued'
              ELSE 'changed' END,
         h.unit_price,
         CASE WHEN n.valid_from IS NOT NULL THEN n.unit_price WHEN NOT i.gone THEN i.unit_price END,
         h.list_price,
         CASE WHEN n.valid_from IS NOT NULL THEN n.list_price WHEN NOT i.gone THEN i.list_price END,
         h.blank_cost,
         CASE WHEN n.valid_from IS NOT NULL THEN n.blank_cost WHEN NOT i.gone THEN i.blank_cost END,
         coalesce(n.currency, i.currency)
    FROM unnest(cs_internal.usable_servers(user_id, price_changes.server)) AS a (server)
    JOIN cs_internal.price_history AS h ON h.server = a.server AND h.ended_at >= since
    CROSS JOIN LATERAL (
      SELECT p.sku, p.product_id, p.name, p.unit_price, p.list_price, p.blank_cost, p.currency,
             p.discontinued_at IS NOT NULL AS gone
        FROM cs_internal.products AS p
       WHERE p.server = h.server AND p.product_id = h.item_id
      UNION ALL
      SELECT v.sku, v.model_id,
             (SELECT concat_ws(' / ', m.name, v.variation_description, v.variation2_description)
                FROM cs_internal.models AS m WHERE m.server = v.server AND m.model_id = v.model_id),
             v.unit_price, v.list_price, v.blank_cost, v.currency, v.discontinued_at IS NOT NULL
        FROM cs_internal.variations AS v
       WHERE v.server = h.server AND v.variation_id = h.item_id) AS i
    LEFT JOIN LATERAL (
      SELECT x.valid_from, x.unit_price, x.list_price, x.blank_cost, x.currency
        FROM cs_internal.price_history AS x
       WHERE x.server = h.server AND x.item_id = h.item_id AND x.valid_from = h.ended_at OFFSET 0) AS n ON true
   ORDER BY h.ended_at, h.server, i.sku;
END $$;
COMMENT ON FUNCTION cs_internal.price_changes(oid, timestamptz, text) IS 'What cs_price_changes finds for a user.';
REVOKE ALL ON FUNCTION cs_internal.price_changes(oid, timestamptz, text) FROM PUBLIC;

CREATE FUNCTION @extschema@.cs_price_changes(since timestamptz, server text DEFAULT NULL)
RETURNS SETOF cs_internal.price_change
LANGUAGE c STABLE PARALLEL RESTRICTED COST 1000 ROWS 1000
AS 'MODULE_PATHNAME', 'cs_sql_price_changes';
COMMENT ON FUNCTION @extschema@.cs_price_changes(timestamptz, text) IS
'Every change of a price since then, in the order in which refreshes saw them: what it was and what it became. change: changed, discontinued (no price now), '
'returned (there was none). The first price of a new item is no change.';

-- ---- Retention ----

CREATE FUNCTION @extschema@.cs_prune(older_than interval, OUT prices bigint, OUT events bigint) RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  cutoff timestamptz := now() - older_than;
BEGIN
  IF older_than IS NULL OR cutoff >= now() THEN
    RAISE invalid_parameter_value USING MESSAGE = '"older_than" must be a positive interval';
  END IF;
  DELETE FROM cs_internal.price_history AS h WHERE h.ended_at < cutoff;
  GET DIAGNOSTICS prices = ROW_COUNT;
  DELETE FROM cs_internal.order_events AS e
   USING cs_internal.orders AS o
   WHERE o.id = e.order_id AND o.state IN ('delivered', 'rejected', 'cancelled', 'failed')
     AND o.changed_at < cutoff AND e.at < cutoff;
  GET DIAGNOSTICS events = ROW_COUNT;
END $$;
COMMENT ON FUNCTION @extschema@.cs_prune(interval) IS
'Deletes prices that ended, and events of orders that ended and have not changed, longer ago than that; returns how many. Nothing else ever deletes them. '
'Orders, their attempts and what holds now stay. Not granted to PUBLIC; call it from your scheduler.';
REVOKE ALL ON FUNCTION @extschema@.cs_prune(interval) FROM PUBLIC;
