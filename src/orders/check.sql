/*
 * check.sql
 *	  What is wrong with an order, before it is one.
 */

CREATE FUNCTION cs_internal.items_known(account text, kinds text[], names text[],
  OUT n integer, OUT on_offer boolean, OUT minimum bigint, OUT placement text, OUT max_width numeric,
  OUT max_height numeric, OUT methods text[]) RETURNS SETOF record
LANGUAGE plpgsql STABLE PARALLEL SAFE ROWS 10
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
BEGIN
  RETURN QUERY
    SELECT w.n::integer, i.on_offer, i.minimum, z.placement, z.max_width_inches, z.max_height_inches, z.methods
      FROM unnest(kinds, names) WITH ORDINALITY AS w (kind, name, n)
      LEFT JOIN LATERAL (
        SELECT f.on_offer, f.minimum, f.model_id
          FROM (SELECT p.discontinued_at IS NULL AS on_offer, p.min_order_qty AS minimum, NULL::text AS model_id
                  FROM cs_internal.products AS p
                 WHERE w.kind = 'product_id' AND p.server = account AND p.product_id = w.name
                 UNION ALL
                SELECT p.discontinued_at IS NULL, p.min_order_qty, NULL
                  FROM cs_internal.products AS p
                 WHERE w.kind = 'sku' AND p.sku = w.name AND p.server = account
                 UNION ALL
                SELECT v.discontinued_at IS NULL AND v.is_active IS NOT FALSE, NULL, v.model_id
                  FROM cs_internal.variations AS v
                 WHERE w.kind = 'sku' AND v.sku = w.name AND v.server = account
                 UNION ALL
                SELECT v.discontinued_at IS NULL AND v.is_active IS NOT FALSE, NULL, v.model_id
                  FROM cs_internal.variations AS v
                 WHERE w.kind = 'variation_id' AND v.server = account AND v.variation_id = lower(w.name)) AS f
         ORDER BY f.on_offer DESC LIMIT 1) AS i ON true
      LEFT JOIN LATERAL (
        SELECT p.placement, p.max_width_inches, p.max_height_inches,
               (SELECT array_agg(m.print_method ORDER BY m.print_method)
                  FROM cs_internal.print_methods AS m
                 WHERE m.server = account AND m.model_id = i.model_id AND m.placement = p.placement) AS methods
          FROM cs_internal.placements AS p
         WHERE p.server = account AND p.model_id = i.model_id OFFSET 0) AS z ON true
     ORDER BY w.n, z.placement;
END $$;
COMMENT ON FUNCTION cs_internal.items_known(text, text[], text[]) IS
'What the cached catalogue knows of the items that an order calls by kinds[n] (sku, product_id, variation_id) and '
'names[n]: a row for each placement, one without if there are none; on_offer is NULL for an item that it does not know.';
REVOKE ALL ON FUNCTION cs_internal.items_known(text, text[], text[]) FROM PUBLIC;

CREATE FUNCTION @extschema@.cs_check_order(lines jsonb, ship_to jsonb, external_id text, options jsonb DEFAULT NULL,
  server text DEFAULT NULL, OUT field text, OUT code text, OUT message text, OUT severity text) RETURNS SETOF record
LANGUAGE c STABLE PARALLEL UNSAFE COST 1000 ROWS 5
AS 'MODULE_PATHNAME', 'cs_sql_check_order';
COMMENT ON FUNCTION @extschema@.cs_check_order(jsonb, jsonb, text, jsonb, text) IS
'What is wrong with an order, as far as that can be told without the network: a row for every violation of the '
'partner''s documented rules, none for an order that may be placed. Arguments as for cs_create_order. field: its path '
'in the form, as lines[0].designs[1].placement; code: the error code that the partner would answer with (Cup Source has '
'none but the status 400). severity error: cs_create_order, cs_enqueue_order, the trigger and INSERT INTO cs_orders '
'refuse the order, all errors in one DETAIL, before anything is stored. severity warning: it is accepted, and may be '
'refused by the partner; so for an item that the cached catalogue does not know, which never blocks an order.';

CREATE FUNCTION cs_internal.order_estimate(account text, kind text, names text[], quantities bigint[],
  OUT currency text, OUT items_subtotal numeric, OUT total numeric, OUT per_item jsonb)
LANGUAGE plpgsql STABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  unpriced text;
  currencies bigint;
BEGIN
  SELECT sum(i.unit_price * i.quantity), min(i.currency), count(DISTINCT i.currency),
         jsonb_agg(jsonb_build_object('sku', i.sku, 'quantity', i.quantity, 'unitCost', i.unit_price) ORDER BY i.n),
         string_agg(format('lines[%s].%s: has no price in the cached catalogue', i.n - 1, kind), E'\n' ORDER BY i.n)
           FILTER (WHERE i.unit_price IS NULL)
    INTO items_subtotal, currency, currencies, per_item, unpriced
    FROM (SELECT w.n, w.quantity, p.sku, p.unit_price, p.currency
            FROM unnest(names, quantities) WITH ORDINALITY AS w (name, quantity, n)
            LEFT JOIN LATERAL (
              SELECT f.sku, CASE WHEN f.discontinued_at IS NULL THEN f.unit_price END AS unit_price, f.currency
                FROM (SELECT q.sku, q.unit_price, q.currency, q.discontinued_at
                        FROM cs_internal.products AS q
                       WHERE kind = 'sku' AND q.sku = w.name AND q.server = account
                       UNION ALL
                      SELECT q.sku, q.unit_price, q.currency, q.discontinued_at
                        FROM cs_internal.products AS q
                       WHERE kind = 'product_id' AND q.server = account AND q.product_id = w.name) AS f
               ORDER BY f.discontinued_at NULLS FIRST LIMIT 1) AS p ON true) AS i;
  IF unpriced IS NOT NULL THEN
    RAISE invalid_parameter_value USING
      MESSAGE = format('the order cannot be estimated from the cached catalogue of server "%s"', account),
      DETAIL = unpriced,
      HINT = format('Use CALL cs_refresh_catalog(%L) if the catalogue may be old.', account);
  ELSIF currencies > 1 THEN
    RAISE invalid_parameter_value USING
      MESSAGE = 'the items of the order have prices in more than one currency';
  END IF;
  total := items_subtotal;
END $$;
COMMENT ON FUNCTION cs_internal.order_estimate(text, text, text[], bigint[]) IS
'What the items of an order cost at a Cup Source account, by the prices of the cached catalogue; kind: sku or product_id. '
'Error 22023 names the lines without a price.';
REVOKE ALL ON FUNCTION cs_internal.order_estimate(text, text, text[], bigint[]) FROM PUBLIC;
