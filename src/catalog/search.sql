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

/*
 * How a word is found among 1,000,000 SKUs in a few milliseconds.
 *
 * The index names all rows that have a word before the first one can be read.
 * So the samples that it holds (terms.c) are asked first, the smallest at once;
 * what is lacking then comes from the next, eight times as large: no list is
 * much longer than what is to be found.
 *
 * The beginning of a word makes the index gather all rows with such a word,
 * however few have the other words, too.  If by the smallest sample it is more
 * frequent than they are, what they find is compared with it.  That is decided
 * only if the first sample has not enough.
 *
 * A range of SKUs or prices is walked through first, as far as a thousand rows.
 */

CREATE VIEW cs_internal.findable_products AS
  SELECT p.server, p.sku, p.product_id, p.name, p.unit_price, p.list_price, p.currency, p.min_order_qty, p.stock_status,
         p.lead_time_days, p.fetched_at,
         cs_internal.search_marks(p.product_id) AS marks,
         cs_internal.search_vector(p.product_id, p.server, ARRAY[p.name, p.brand, p.code], 'mgsc',
           ARRAY[p.material, p.category, p.capacity] OPERATOR(pg_catalog.||) p.certifications) AS terms,
         ARRAY[p.name, p.brand, p.code] AS texts, 'mgsc' AS tags,
         ARRAY[p.material, p.category, p.capacity] OPERATOR(pg_catalog.||) p.certifications AS attributes,
         NULL::tsvector AS model_terms
    FROM cs_internal.products AS p
   WHERE p.discontinued_at IS NULL;
COMMENT ON VIEW cs_internal.findable_products IS 'Products on offer as rows of cs_prices, what they are found by, and of what that is made.';
REVOKE ALL ON cs_internal.findable_products FROM PUBLIC;

CREATE VIEW cs_internal.findable_variations AS
  SELECT v.server, v.sku, v.model_id AS product_id,
         pg_catalog.concat_ws(' / ', m.name, v.variation_description, v.variation2_description) AS name,
         v.unit_price, v.list_price, v.currency, NULL::bigint AS min_order_qty, NULL::text AS stock_status,
         NULL::integer AS lead_time_days, v.fetched_at,
         cs_internal.search_marks(v.variation_id) AS marks,
         cs_internal.search_vector(v.variation_id, v.server, ARRAY[v.variation_description, v.variation2_description], 'sh',
           ARRAY[v.variation_description, v.variation2_description]) AS terms,
         ARRAY[m.name, m.brand, m.code, v.variation_description, v.variation2_description] AS texts, 'msh' AS tags,
         ARRAY[m.material, v.variation_description, v.variation2_description] AS attributes,
         cs_internal.search_vector('', m.server, ARRAY[m.name, m.brand, m.code], 'm', ARRAY[m.material]) AS model_terms
    FROM cs_internal.variations AS v
    LEFT JOIN cs_internal.models AS m ON m.server OPERATOR(pg_catalog.=) v.server AND m.model_id OPERATOR(pg_catalog.=) v.model_id
   WHERE v.discontinued_at IS NULL AND v.is_active IS NOT FALSE;
COMMENT ON VIEW cs_internal.findable_variations IS
'Variations on offer as rows of cs_prices, what they are found by alone, with their model, and by that alone.';
REVOKE ALL ON cs_internal.findable_variations FROM PUBLIC;

CREATE FUNCTION cs_internal.search_sample(items bigint) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT CASE WHEN items >= 512000 THEN 3 WHEN items >= 64000 THEN 2 WHEN items >= 8000 THEN 1 ELSE 0 END;
END;
COMMENT ON FUNCTION cs_internal.search_sample(bigint) IS 'The smallest sample of so many rows that has some hundred (search_marks); 0: none.';
REVOKE ALL ON FUNCTION cs_internal.search_sample(bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.search_hits(query tsquery, kinds text[]) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  RETURN (SELECT count(*) FROM (
    (SELECT FROM cs_internal.findable_products AS i WHERE i.terms @@ query AND 'products' = ANY (kinds) LIMIT 50)
    UNION ALL
    (SELECT FROM cs_internal.findable_variations AS i WHERE i.terms @@ query AND 'variations' = ANY (kinds) LIMIT 50)) AS h);
END $$;
COMMENT ON FUNCTION cs_internal.search_hits(tsquery, text[]) IS 'How many rows are found by this, counted up to some fifty.';
REVOKE ALL ON FUNCTION cs_internal.search_hits(tsquery, text[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.search_beginning(sample integer, words text, tagged text[], kinds text[]) RETURNS bigint
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- All rows with a word are gathered in half the time of those with its beginning, and are often many enough.
  hits CONSTANT bigint := cs_internal.search_hits(cs_internal.search_query(NULL, sample, 'ending', words, 'shmcg', tagged), kinds);
BEGIN
  RETURN CASE WHEN hits > 10 THEN hits
    ELSE cs_internal.search_hits(cs_internal.search_query(NULL, sample, 'beginning', words, 'shmcg', tagged), kinds) END;
END $$;
COMMENT ON FUNCTION cs_internal.search_beginning(integer, text, text[], text[]) IS
'How many rows of this sample have a word that begins as the last one, counted up to some fifty.';
REVOKE ALL ON FUNCTION cs_internal.search_beginning(integer, text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.search_words(servers text[], kinds text[], words text, tagged text[], sku_prefix text,
  min_price numeric, max_price numeric, most bigint)
RETURNS SETOF @extschema@.cs_prices
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  wanted CONSTANT tsquery := cs_internal.search_query(NULL, 0, 'all', words, 'shmcg', tagged);
  prefix CONSTANT text := nullif(sku_prefix, '');
  items CONSTANT bigint := (SELECT sum(c.reltuples) FROM pg_class AS c
                             WHERE c.oid IN ('cs_internal.products'::regclass, 'cs_internal.variations'::regclass));
  account record;
  every integer;
  beginning bigint;
  sample integer;
  which text;
  query tsquery;
  found bigint;
  missing bigint;
BEGIN
  FOR account IN
    SELECT n.server COLLATE "C" AS server, r.skus,
           -- The index need not look for an account that most rows are of.
           CASE WHEN r.skus * 2 > items THEN NULL ELSE n.server END AS named
      FROM unnest(servers) AS n (server) LEFT JOIN cs_internal.catalog_runs AS r ON r.server = n.server
     ORDER BY r.skus DESC NULLS LAST
  LOOP
    -- The smallest sample that has some hundred rows of all accounts; the first account is the largest.
    every := coalesce(every, cs_internal.search_sample(greatest(items, account.skus)));
    missing := most;
    -- The smallest one that has some hundred rows of the account; of no use if all that there is, is wanted.
    sample := CASE WHEN most IS NULL THEN 0 ELSE cs_internal.search_sample(account.skus) END;
    FOR level IN REVERSE sample .. 0 LOOP
      IF level = sample AND (sample > 0 OR every = 0) THEN
        which := 'all';
      ELSIF level = greatest(sample - 1, 0) THEN
        beginning := coalesce(beginning, cs_internal.search_beginning(every, words, tagged, kinds));
        query := cs_internal.search_query(account.named, every, 'rest', words, 'shmcg', tagged);
        which := CASE WHEN beginning > 10 AND query IS NOT NULL AND beginning > cs_internal.search_hits(query, kinds)
                      THEN 'rest' ELSE 'all' END;
      END IF;
      query := cs_internal.search_query(account.named, level, which, words, 'shmcg', tagged);
      -- No other index than that of the words is to be used: server || '', terms || ''.
      IF 'products' = ANY (kinds) THEN
        RETURN QUERY
        SELECT p.server, p.sku, p.product_id, p.name, p.unit_price, p.list_price, p.currency, p.min_order_qty, p.stock_status,
               p.lead_time_days, p.fetched_at
          FROM cs_internal.findable_products AS p
         WHERE p.terms @@ query AND p.server || '' = account.server AND (level = sample OR p.marks = level)
           AND (which = 'all' OR cs_internal.search_found(wanted, p.texts, p.tags, p.attributes))
           AND (prefix IS NULL OR p.sku ^@ prefix)
           AND (min_price IS NULL OR p.unit_price >= min_price)
           AND (max_price IS NULL OR p.unit_price <= max_price)
         LIMIT missing;
        GET DIAGNOSTICS found = ROW_COUNT;
        missing := missing - found;
      END IF;
      IF 'variations' = ANY (kinds) THEN
        RETURN QUERY
        SELECT v.server, v.sku, v.product_id, v.name, v.unit_price, v.list_price, v.currency, v.min_order_qty, v.stock_status,
               v.lead_time_days, v.fetched_at
          FROM cs_internal.findable_variations AS v
         WHERE v.terms @@ query AND v.server || '' = account.server AND (level = sample OR v.marks = level)
           AND (which = 'all' OR (v.terms || '') @@ wanted)
           AND (prefix IS NULL OR v.sku ^@ prefix)
           AND (min_price IS NULL OR v.unit_price >= min_price)
           AND (max_price IS NULL OR v.unit_price <= max_price)
         LIMIT missing;
        GET DIAGNOSTICS found = ROW_COUNT;
        missing := missing - found;
      END IF;
      EXIT WHEN missing <= 0;
    END LOOP;
    IF 'variations' = ANY (kinds) AND (missing > 0 OR most IS NULL) THEN
      -- Some of the words are its model's.
      query := cs_internal.search_query(account.server, 0, 'any', words, 'shmcg', tagged);
      RETURN QUERY
      SELECT v.server, v.sku, v.product_id, v.name, v.unit_price, v.list_price, v.currency, v.min_order_qty, v.stock_status,
             v.lead_time_days, v.fetched_at
        FROM cs_internal.findable_variations AS v
       WHERE v.model_terms @@ query AND v.server || '' = account.server
         AND cs_internal.search_found(wanted, v.texts, v.tags, v.attributes) AND NOT (v.terms || '') @@ wanted
         AND (prefix IS NULL OR v.sku ^@ prefix)
         AND (min_price IS NULL OR v.unit_price >= min_price)
         AND (max_price IS NULL OR v.unit_price <= max_price)
       LIMIT missing;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION cs_internal.search_words(text[], text[], text, text[], text, numeric, numeric, bigint) IS
'What is found by words, in no order; of more than so many of an account, those of the smallest samples.';
REVOKE ALL ON FUNCTION cs_internal.search_words(text[], text[], text, text[], text, numeric, numeric, bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.search_range(servers text[], kinds text[], wanted tsquery, sku_prefix text, min_price numeric,
  max_price numeric, range_from bigint, range_rows bigint, most bigint)
RETURNS SETOF @extschema@.cs_prices
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
  -- Only what is asked for: each combination has its index, and what that does not decide is a filter.
  part CONSTANT text := concat(
    'SELECT i.* FROM (SELECT * FROM cs_internal.findable_%s AS x WHERE x.server = a.server',
    CASE WHEN sku_prefix <> '' THEN ' AND x.sku ^@ $3' END,
    CASE WHEN min_price IS NOT NULL THEN ' AND x.unit_price >= $4' END,
    CASE WHEN max_price IS NOT NULL THEN ' AND x.unit_price <= $5' END,
    ' ORDER BY ', CASE WHEN sku_prefix <> '' THEN 'x.sku' ELSE 'x.unit_price' END, ' OFFSET $6 LIMIT $7) AS i',
    CASE WHEN wanted IS NOT NULL THEN ' WHERE cs_internal.search_found($2, i.texts, i.tags, i.attributes)' END);
BEGIN
  RETURN QUERY EXECUTE concat(
    'SELECT f.* FROM unnest($1) AS n (server) CROSS JOIN LATERAL (SELECT n.server COLLATE "C" AS server OFFSET 0) AS a ',
    'CROSS JOIN LATERAL (SELECT i.server, i.sku, i.product_id, i.name, i.unit_price, i.list_price, i.currency, i.min_order_qty, ',
    'i.stock_status, i.lead_time_days, i.fetched_at FROM ((',
    (SELECT string_agg(format(part, k), ') UNION ALL (') FROM unnest(kinds) AS k), ')) AS i LIMIT $8) AS f ',
    'ORDER BY ', CASE WHEN sku_prefix <> '' THEN 'f.sku, ' END, 'f.unit_price, f.sku, f.server LIMIT $8')
  USING servers, wanted, sku_prefix, min_price, max_price, range_from, range_rows, most;
END $$;
COMMENT ON FUNCTION cs_internal.search_range(text[], text[], tsquery, text, numeric, numeric, bigint, bigint, bigint) IS
'What of this range, or of this part of it, in its order, has these words, if any. The statement is planned for its values.';
REVOKE ALL ON FUNCTION cs_internal.search_range(text[], text[], tsquery, text, numeric, numeric, bigint, bigint, bigint)
  FROM PUBLIC;

CREATE FUNCTION cs_internal.search(user_id oid, sku_prefix text, words text, size text, colour text, material text,
  certification text, category text, min_price numeric, max_price numeric, most bigint, server text)
RETURNS SETOF @extschema@.cs_prices
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
  look_at CONSTANT bigint := 1000;
  servers text[] := cs_internal.usable_servers(user_id, server);
  tagged text[] := ARRAY[size, colour, material, certification, category];
  wanted tsquery := cs_internal.search_query(NULL, 0, 'all', words, 'shmcg', tagged);
  kinds text[] := array_remove(ARRAY[
    CASE WHEN EXISTS (SELECT FROM cs_internal.products AS p WHERE p.server = ANY (servers)) THEN 'products' END,
    CASE WHEN EXISTS (SELECT FROM cs_internal.variations AS v WHERE v.server = ANY (servers)) THEN 'variations' END], NULL);
  walked @extschema@.cs_prices[];
BEGIN
  IF most < 0 THEN
    RAISE invalid_parameter_value USING MESSAGE = '"max_rows" must not be negative';
  ELSIF kinds = '{}' THEN
    RETURN;
  ELSIF wanted IS NULL THEN
    RETURN QUERY SELECT r.* FROM cs_internal.search_range(servers, kinds, NULL, sku_prefix, min_price, max_price,
      0, most, most) AS r;
    RETURN;
  ELSIF sku_prefix <> '' OR min_price IS NOT NULL OR max_price IS NOT NULL THEN
    walked := ARRAY(SELECT r FROM cs_internal.search_range(servers, kinds, wanted, sku_prefix, min_price, max_price,
      0, look_at, most) AS r);
    IF cardinality(walked) >= most OR NOT EXISTS (
      SELECT FROM cs_internal.search_range(servers, kinds, NULL, sku_prefix, min_price, max_price, look_at, 1, 1)) THEN
      RETURN QUERY SELECT w.* FROM unnest(walked) AS w;
      RETURN;
    END IF;
  END IF;
  RETURN QUERY SELECT w.* FROM cs_internal.search_words(servers, kinds, words, tagged, sku_prefix, min_price, max_price,
    most) AS w
   ORDER BY CASE WHEN sku_prefix <> '' THEN w.sku END, w.unit_price, w.sku, w.server LIMIT most;
END $$;
COMMENT ON FUNCTION cs_internal.search(oid, text, text, text, text, text, text, text, numeric, numeric, bigint, text) IS
'What cs_search finds for a user.';
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
'come first, except with words or attributes: then they are a sample, the same one while the catalogue stays as it is, in that order. '
'Errors: 22023 max_rows is negative; 42704 unknown server.';

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
  IF most < 0 THEN
    RAISE invalid_parameter_value USING MESSAGE = '"max_rows" must not be negative';
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
'within each currency, then the shortest lead time (days). Left out: items without a price, and those whose minimum order quantity is larger; not left out: what is out of stock '
'or on backorder (stock_status). Errors: 22023 quantity is not positive, or max_rows is negative; 42704 unknown server.';

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
DECLARE
  servers CONSTANT text[] := cs_internal.usable_servers(user_id, server);
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
    FROM unnest(servers) AS a (server)
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
'Every change of a price since then, in the order in which refreshes saw them: what it was and what it became. The first price of a new item is no '
'change. Error 42704 unknown server.';

-- ---- Retention ----

CREATE FUNCTION cs_internal.prune(user_id oid, older_than interval, OUT prices bigint, OUT events bigint, OUT webhook_events bigint)
RETURNS record
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  servers CONSTANT text[] := cs_internal.usable_servers(user_id, NULL);
  -- Also of servers that are not there any more.
  entirely CONSTANT boolean := (SELECT r.rolsuper FROM pg_roles AS r WHERE r.oid = user_id);
  cutoff CONSTANT timestamptz := now() - older_than;
BEGIN
  IF older_than IS NULL OR cutoff >= now() THEN
    RAISE invalid_parameter_value USING MESSAGE = '"older_than" must be a positive interval';
  END IF;
  DELETE FROM cs_internal.price_history AS h
   WHERE (entirely OR h.server = ANY (servers)) AND h.ended_at < cutoff;
  GET DIAGNOSTICS prices = ROW_COUNT;
  DELETE FROM cs_internal.order_events AS e
   USING cs_internal.orders AS o
   WHERE (entirely OR o.server = ANY (servers))
     AND o.id = e.order_id AND o.state IN ('delivered', 'rejected', 'cancelled', 'failed')
     AND o.changed_at < cutoff AND e.at < cutoff;
  GET DIAGNOSTICS events = ROW_COUNT;
  DELETE FROM cs_internal.webhook_events AS e
   WHERE (entirely OR e.server = ANY (servers)) AND e.received_at < cutoff
     AND NOT EXISTS (SELECT FROM cs_internal.orders AS o
                      WHERE o.id = e.order_id
                        AND (o.state NOT IN ('delivered', 'rejected', 'cancelled', 'failed') OR o.changed_at >= cutoff));
  GET DIAGNOSTICS webhook_events = ROW_COUNT;
END $$;
COMMENT ON FUNCTION cs_internal.prune(oid, interval) IS 'What cs_prune does for a user.';
REVOKE ALL ON FUNCTION cs_internal.prune(oid, interval) FROM PUBLIC;

CREATE FUNCTION @extschema@.cs_prune(older_than interval, OUT prices bigint, OUT events bigint, OUT webhook_events bigint) RETURNS record
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_prune';
COMMENT ON FUNCTION @extschema@.cs_prune(interval) IS
'Deletes prices that ended, events of orders that ended and have not changed, and webhooks received about those or about '
'no order, longer ago than that, of the accounts that the user may use (a superuser: of all that there ever were); returns '
'how many. Nothing else deletes them while their server is there. Orders, their attempts and what holds now stay. Not granted to PUBLIC; call it from your scheduler. '
'Error 22023: the interval is not positive.';
REVOKE ALL ON FUNCTION @extschema@.cs_prune(interval) FROM PUBLIC;
