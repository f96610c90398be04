/*
 * views.sql
 *	  The cached catalogue as everybody sees it: the rows of the accounts that
 *	  the current user may use.  None of these asks a partner.
 */

CREATE VIEW @extschema@.cs_products WITH (security_barrier) AS
  SELECT p.server, p.product_id, p.sku, p.code, p.name, p.brand, p.category, p.material, p.capacity,
         p.certifications, p.unit_price, p.list_price, p.blank_cost, p.currency, p.min_order_qty, p.stock_status,
         p.lead_time_days, NULL::integer AS variation_count, NULL::integer AS priced_variation_count,
         NULL::boolean AS is_featured, p.image_url, NULL::text[] AS images, NULL::jsonb AS categories,
         NULL AS description, NULL AS fit_type, NULL AS care, NULL AS sizing, p.raw, p.fetched_at, p.discontinued_at
    FROM cs_internal.products AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server
  UNION ALL
  SELECT m.server, m.model_id, NULL, m.code, m.name, m.brand, NULL, m.material, NULL,
         NULL, m.from_unit_price, m.from_list_price, m.from_blank_cost, m.currency, NULL, NULL,
         NULL, m.variation_count, m.priced_variation_count,
         m.is_featured, m.primary_image_url, m.images, m.categories,
         m.description, m.fit_type, m.care, m.sizing, coalesce(m.raw || m.detail_raw, m.detail_raw, m.raw),
         m.fetched_at, m.discontinued_at
    FROM cs_internal.models AS m
    JOIN cs_internal.visible_servers AS v ON v.server = m.server;
COMMENT ON VIEW @extschema@.cs_products IS
'Products of all accounts, cached. A CustomHub row is a model: sku is NULL and the prices are the lowest among its variations; '
'images, categories and copy (description, fit_type, care, sizing) are from its detail. '
'Money in major units of currency. fetched_at is when the row was first read as it stands; cs_catalog_status says how fresh the catalogue is. '
'discontinued_at: no longer on offer. raw: the partner''s object, where it has fields beyond these.';

CREATE VIEW @extschema@.cs_models WITH (security_barrier) AS
  SELECT m.server, m.model_id, m.code, m.name, m.brand, m.material, m.fit_type, m.description, m.care, m.sizing,
         m.categories, m.images, m.primary_image_url, m.default_list_price, m.default_price, m.currency,
         m.from_unit_price, m.from_list_price, m.from_blank_cost, m.priced_variation_count, m.variation_count,
         m.is_featured, coalesce(m.raw || m.detail_raw, m.detail_raw, m.raw) AS raw, m.fetched_at, m.discontinued_at
    FROM cs_internal.models AS m
    JOIN cs_internal.visible_servers AS v ON v.server = m.server;
COMMENT ON VIEW @extschema@.cs_models IS
'CustomHub models, cached ("List models", "Get a model"). The from_ prices are the lowest on this dealer''s price list; default_list_price and default_price are '
'tenant-wide and often 0.';

CREATE VIEW @extschema@.cs_variations WITH (security_barrier) AS
  SELECT a.server, a.variation_id, a.model_id AS product_id, a.sku, a.variation_description,
         a.variation2_description, a.variation2_hex, a.is_active, a.images, a.unit_price, a.list_price,
         a.blank_cost, a.handling_fee, a.currency, a.raw, a.fetched_at, a.discontinued_at
    FROM cs_internal.variations AS a
    JOIN cs_internal.visible_servers AS v ON v.server = a.server
  UNION ALL
  SELECT p.server, p.product_id, p.product_id, p.sku, p.name,
         NULL, NULL, p.discontinued_at IS NULL, NULL, p.unit_price, p.list_price,
         p.blank_cost, NULL, p.currency, p.raw, p.fetched_at, p.discontinued_at
    FROM cs_internal.products AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server;
COMMENT ON VIEW @extschema@.cs_variations IS
'Orderable SKUs, cached. A Cup Source product is its own single variation. blank_cost, handling_fee: what a CustomHub item costs before printing (see cs_item_cost).';

CREATE VIEW @extschema@.cs_placements WITH (security_barrier) AS
  SELECT p.server, p.model_id AS product_id, p.placement, p.label, p.max_width_inches, p.max_height_inches, p.raw,
         p.fetched_at
    FROM cs_internal.placements AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server;
COMMENT ON VIEW @extschema@.cs_placements IS
'Where CustomHub models can be printed, cached ("Get a model", placements[]); dimensions in inches.';

CREATE VIEW @extschema@.cs_print_methods WITH (security_barrier) AS
  SELECT p.server, p.model_id AS product_id, p.placement, p.print_method, p.label, p.price, p.price_source, p.raw,
         p.fetched_at
    FROM cs_internal.print_methods AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server;
COMMENT ON VIEW @extschema@.cs_print_methods IS
'How CustomHub placements can be printed and the charge for each, cached. price_source says how firm the price is: dealer, dealer_default, dealer_location_fallback or global.';

CREATE VIEW @extschema@.cs_balance WITH (security_barrier) AS
  SELECT b.server, b.dealer_id, b.currency, b.balance, b.credit_limit, b.headroom, b.raw, b.fetched_at
    FROM cs_internal.balances AS b
    JOIN cs_internal.visible_servers AS v ON v.server = b.server;
COMMENT ON VIEW @extschema@.cs_balance IS
'CustomHub wallets as the last refresh read them; cs_balance() asks now. balance > 0: the dealer owes it; headroom = credit_limit - balance.';

CREATE VIEW @extschema@.cs_prices WITH (security_barrier) AS
  SELECT p.server, p.sku, p.product_id, p.name, p.unit_price, p.list_price, p.currency, p.min_order_qty,
         p.stock_status, p.lead_time_days, p.fetched_at
    FROM cs_internal.products AS p
    JOIN cs_internal.visible_servers AS v ON v.server = p.server
   WHERE p.discontinued_at IS NULL
  UNION ALL
  SELECT a.server, a.sku, a.model_id, concat_ws(' / ', m.name, a.variation_description, a.variation2_description),
         a.unit_price, a.list_price, a.currency, NULL,
         NULL, NULL, a.fetched_at
    FROM cs_internal.variations AS a
    JOIN cs_internal.visible_servers AS v ON v.server = a.server
    LEFT JOIN cs_internal.models AS m ON m.server = a.server AND m.model_id = a.model_id
   WHERE a.discontinued_at IS NULL AND a.is_active IS NOT FALSE;
COMMENT ON VIEW @extschema@.cs_prices IS
'One row per SKU that can be ordered, over all accounts, cached: price per unit in currency, minimum order quantity and lead time in days where the partner states them.';

CREATE VIEW @extschema@.cs_price_history WITH (security_barrier) AS
  WITH items AS NOT MATERIALIZED (
    SELECT p.server, p.product_id AS item_id, p.sku, p.unit_price, p.list_price, p.blank_cost,
           NULL::numeric AS handling_fee, p.currency, p.price_since, p.discontinued_at
      FROM cs_internal.products AS p
    UNION ALL
    SELECT a.server, a.variation_id, a.sku, a.unit_price, a.list_price, a.blank_cost,
           a.handling_fee, a.currency, a.price_since, a.discontinued_at
      FROM cs_internal.variations AS a)
  SELECT i.server, i.sku, h.unit_price, h.list_price, h.blank_cost, h.handling_fee, h.currency,
         tstzrange(h.valid_from, h.ended_at) AS valid
    FROM items AS i
    JOIN cs_internal.visible_servers AS v ON v.server = i.server
    JOIN cs_internal.price_history AS h ON h.server = i.server AND h.item_id = i.item_id
   WHERE num_nonnulls(h.unit_price, h.list_price, h.blank_cost, h.handling_fee) > 0
  UNION ALL
  SELECT i.server, i.sku, i.unit_price, i.list_price, i.blank_cost, i.handling_fee, i.currency,
         tstzrange(i.price_since, NULL)
    FROM items AS i
    JOIN cs_internal.visible_servers AS v ON v.server = i.server
   WHERE i.discontinued_at IS NULL
     AND num_nonnulls(i.unit_price, i.list_price, i.blank_cost, i.handling_fee) > 0;
COMMENT ON VIEW @extschema@.cs_price_history IS
'What each SKU cost and when, as far as refreshes saw it. The ranges of an item do not overlap; that of the present price has no end. The time in which an item was discontinued, or had no price, has no row.';

CREATE VIEW @extschema@.cs_catalog_status WITH (security_barrier) AS
  SELECT v.server,
         o.api,
         coalesce(r.products, 0) AS products,
         coalesce(r.skus, 0) AS skus,
         CASE WHEN r.server IS NULL THEN 'never'
              WHEN r.state = 'running' AND NOT l.held THEN 'failed'
              ELSE r.state END AS state,
         r.last_complete_at,
         now() - r.last_complete_at AS age,
         CASE WHEN NOT coalesce(l.held, false) THEN cs_internal.next_refresh(r, o.refresh_interval) END AS next_refresh_at,
         CASE WHEN r.state = 'running' AND l.held THEN r.started_at END AS running_since,
         coalesce(r.pages_done, 0) AS pages_done,
         coalesce(r.rows_done, 0) AS rows_done,
         r.rows_total,
         CASE WHEN r.state = 'running' AND NOT l.held THEN 'the session that refreshed the catalogue ended'
              ELSE r.last_error END AS last_error,
         CASE WHEN r.state = 'running' AND NOT l.held THEN r.checkpoint_at
              ELSE r.last_error_at END AS last_error_at
    FROM cs_internal.visible_servers AS v
    JOIN pg_foreign_server AS s ON s.srvname::text = v.server
    CROSS JOIN LATERAL (
      SELECT max(x.option_value) FILTER (WHERE x.option_name = 'api') AS api,
             nullif((max(x.option_value) FILTER (WHERE x.option_name = 'refresh_interval'))::interval,
                    interval '0') AS refresh_interval
        FROM pg_options_to_table(s.srvoptions) AS x) AS o
    LEFT JOIN cs_internal.catalog_runs AS r ON r.server = v.server
    CROSS JOIN LATERAL (
      SELECT r.state = 'running' AND EXISTS (
        SELECT FROM cs_internal.refresh_locks AS k WHERE k.serverid = s.oid) AS held) AS l;
COMMENT ON VIEW @extschema@.cs_catalog_status IS
'Each account''s cached catalogue: what is on offer, when the last complete refresh ended (age), when the next one is due by the server option refresh_interval (NULL: by hand, or it is running), '
'how far a running or failed one came, and the last error, also of a single model''s detail that a complete one left as it was. state: never, running, complete, failed.';

GRANT SELECT ON @extschema@.cs_products, @extschema@.cs_models, @extschema@.cs_variations, @extschema@.cs_placements,
  @extschema@.cs_print_methods, @extschema@.cs_balance, @extschema@.cs_prices, @extschema@.cs_price_history,
  @extschema@.cs_catalog_status TO PUBLIC;

/*
 * The account that is meant when a SKU is looked up: the argument, else
 * cupsource.server, else any that the SKU is found at, if it is only one.
 */
CREATE FUNCTION @extschema@.cs_item_cost(sku text, placements text[] DEFAULT '{}', print_method text DEFAULT NULL,
  server text DEFAULT NULL) RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted text := coalesce($4, nullif(current_setting('cupsource.server', true), ''));
  item record;
  answer numeric;
  place text;
  charge record;
BEGIN
  IF $1 IS NULL THEN
    RETURN NULL;
  END IF;
  SELECT v.server, v.product_id, v.variation_id, v.unit_price, v.blank_cost, v.handling_fee, count(*) OVER () AS found,
         min(v.server) OVER () AS one, max(v.server) OVER () AS other, string_agg(v.server, ', ') OVER () AS servers,
         string_agg(v.variation_id, ', ') OVER () AS products
    INTO item
    FROM @extschema@.cs_variations AS v
   WHERE v.sku = $1 AND (wanted IS NULL OR v.server = wanted) AND v.discontinued_at IS NULL
   LIMIT 1;
  IF NOT FOUND THEN
    IF wanted IS NOT NULL AND NOT EXISTS (
      SELECT FROM pg_foreign_server AS s JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'cupsource'
       WHERE s.srvname::text = wanted AND has_server_privilege(s.oid, 'USAGE')) THEN
      RAISE undefined_object USING
        MESSAGE = format('server "%s" does not exist, or you may not use it', wanted);
    END IF;
    RAISE invalid_parameter_value USING
      MESSAGE = format('SKU "%s" is not in the cached catalogue%s', $1, ' of server "' || wanted || '"'),
      HINT = format('Use CALL cs_refresh_catalog(%s if it is new.', coalesce(quote_literal(wanted) || ')', '...) of its server'));
  ELSIF item.found > 1 AND item.one = item.other THEN
    RAISE ambiguous_parameter USING
      MESSAGE = format('server "%s" has more than one product with SKU "%s"', item.one, $1),
      DETAIL = format('They are: %s.', item.products),
      HINT = 'Take the price of the one that is meant from cs_variations.';
  ELSIF item.found > 1 THEN
    RAISE ambiguous_parameter USING
      MESSAGE = format('SKU "%s" is in more than one catalogue', $1),
      DETAIL = format('It is offered on: %s.', item.servers),
      HINT = 'Name the server.';
  END IF;

  -- A Cup Source product, its own single variation, has one price; a CustomHub unit price has prints in it already.
  answer := CASE WHEN item.variation_id = item.product_id THEN item.unit_price
                 ELSE item.blank_cost + coalesce(item.handling_fee, 0) END;

  FOREACH place IN ARRAY coalesce($2, '{}') LOOP
    IF place IS NULL THEN
      RAISE null_value_not_allowed USING MESSAGE = 'placement must not be null',
        HINT = 'Without placements the item is not printed: ''{}''.';
    END IF;
    SELECT min(p.price) AS price, count(DISTINCT p.price) AS prices, count(*) AS methods,
           count(*) - count(p.price) AS unpriced, string_agg(p.print_method, ', ' ORDER BY p.print_method) AS names
      INTO charge
      FROM @extschema@.cs_print_methods AS p
     WHERE p.server = item.server AND p.product_id = item.product_id AND p.placement = place
       AND ($3 IS NULL OR p.print_method = $3);
    IF charge.methods = 0 THEN
      RAISE invalid_parameter_value USING
        MESSAGE = format('SKU "%s" cannot be printed at placement "%s"%s', $1, place, ' with method "' || $3 || '"'),
        HINT = CASE WHEN item.variation_id = item.product_id THEN 'It has one price: leave out "placements".'
                    ELSE 'The placements and methods of its model are in cs_print_methods.' END;
    ELSIF charge.prices > 1 THEN
      RAISE ambiguous_parameter USING
        MESSAGE = format('the charge at placement "%s" depends on the print method', place),
        HINT = format('Name one of: %s.', charge.names);
    ELSIF charge.unpriced > 0 THEN
      RETURN NULL;
    END IF;
    answer := answer + charge.price;
  END LOOP;
  RETURN answer;
END $$;
COMMENT ON FUNCTION @extschema@.cs_item_cost(text, text[], text, text) IS
'What one item costs in production, without shipping, from the cached catalogue: blank cost + print charge of each placement + handling fee '
'(CustomHub, "Computing your cost"); for Cup Source the unit price. In the currency of the SKU. NULL if the partner states no price. '
'Errors: 22023 unknown SKU, placement or method; 22004 a placement is null; 42704 unknown server; 42P08 several accounts, or several products of one, have the SKU, or print_method is needed.';

CREATE FUNCTION @extschema@.cs_price_at(sku text, at timestamptz, server text DEFAULT NULL) RETURNS numeric
LANGUAGE plpgsql STABLE PARALLEL SAFE COST 1000
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  wanted text := coalesce($3, nullif(current_setting('cupsource.server', true), ''));
  price record;
BEGIN
  SELECT h.unit_price, min(h.server) OVER () AS one, max(h.server) OVER () AS other
    INTO price
    FROM @extschema@.cs_price_history AS h
   WHERE h.sku = $1 AND (wanted IS NULL OR h.server = wanted) AND h.valid @> $2
   ORDER BY lower(h.valid) DESC
   LIMIT 1;
  IF NOT FOUND THEN
    IF wanted IS NOT NULL AND NOT EXISTS (
      SELECT FROM pg_foreign_server AS s JOIN pg_foreign_data_wrapper AS w ON w.oid = s.srvfdw AND w.fdwname = 'cupsource'
       WHERE s.srvname::text = wanted AND has_server_privilege(s.oid, 'USAGE')) THEN
      RAISE undefined_object USING
        MESSAGE = format('server "%s" does not exist, or you may not use it', wanted);
    END IF;
  ELSIF price.one <> price.other THEN
    RAISE ambiguous_parameter USING
      MESSAGE = format('SKU "%s" has prices on more than one server', $1),
      DETAIL = format('Two of them are "%s" and "%s".', price.one, price.other),
      HINT = 'Name the server.';
  END IF;
  RETURN price.unit_price;
END $$;
COMMENT ON FUNCTION @extschema@.cs_price_at(text, timestamptz, text) IS
'The unit price that a SKU had at a time, as far as refreshes saw it; NULL if it had none, was not on offer, or was not known yet. '
'Errors: 42P08 several accounts have prices for the SKU and none is named; 42704 unknown server.';
