/*
 * merge.sql
 *	  What was read from a partner into the cached catalogue, writing only
 *	  what differs.
 *
 * Each function takes what one answer said, reads the stored rows by their
 * key, compares fingerprints, and returns how many rows it wrote.  One
 * refresh per account at a time (refresh.c holds its lock), so a row that is
 * not there now is not inserted by someone else meanwhile.
 *
 * The plans are made once per session, perhaps while the tables are empty,
 * and must not follow what the planner believes of an empty table: a page
 * joined by scanning the account's rows costs minutes for 100,000 of them.
 * So they are generic, a row is looked up in a lateral subquery with OFFSET 0
 * (the planner cannot pull it up, and both columns of the key are in its
 * index condition), a row to be changed is reached by its ctid, and where
 * another index than the key's is meant, server || '' keeps the key out.
 */

CREATE FUNCTION cs_internal.insert_products(account text, page cs_internal.product_row[]) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO cs_internal.products (server, product_id, sku, code, name, brand, category, material, capacity,
         certifications, unit_price, list_price, blank_cost, currency, min_order_qty, stock_status, lead_time_days,
         image_url, raw, fetched_at, price_since, fingerprint)
  SELECT account, r.product_id, r.sku, r.code, r.name, r.brand, r.category, r.material, r.capacity,
         r.certifications, r.unit_price, r.list_price, r.blank_cost, r.currency, r.min_order_qty, r.stock_status,
         r.lead_time_days, r.image_url, r.raw, now(), now(), r.fingerprint
    FROM unnest(page) AS r;
  RETURN cardinality(page);
END $$;
COMMENT ON FUNCTION cs_internal.insert_products(text, cs_internal.product_row[]) IS
'Stores products that are certainly not stored yet. Returns their number.';
REVOKE ALL ON FUNCTION cs_internal.insert_products(text, cs_internal.product_row[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_products(account text, page cs_internal.product_row[],
  OUT added bigint, OUT changed bigint, OUT revived bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  added_rows cs_internal.product_row[];
  changed_rows cs_internal.product_row[];
BEGIN
  SELECT array_agg(r) FILTER (WHERE p.fingerprint IS NULL),
         array_agg(r) FILTER (WHERE p.fingerprint IS NOT NULL),
         count(*) FILTER (WHERE p.discontinued_at IS NOT NULL)
    INTO added_rows, changed_rows, revived
    FROM unnest(page) AS r
    LEFT JOIN LATERAL (
      SELECT s.fingerprint, s.absent_run, s.discontinued_at
        FROM cs_internal.products AS s
       WHERE s.server = account AND s.product_id = r.product_id OFFSET 0) AS p ON true
   WHERE p.fingerprint IS DISTINCT FROM r.fingerprint
      OR p.absent_run IS NOT NULL OR p.discontinued_at IS NOT NULL;
  added := coalesce(cardinality(added_rows), 0);
  changed := coalesce(cardinality(changed_rows), 0);

  IF added > 0 THEN
    PERFORM cs_internal.insert_products(account, added_rows);
  END IF;

  IF changed > 0 THEN
    -- What the item cost until now: nothing while it was discontinued.
    INSERT INTO cs_internal.price_history (server, item_id, valid_from, ended_at, unit_price, list_price, blank_cost,
           currency)
    SELECT account, p.product_id, p.price_since, greatest(now(), p.price_since + interval '1 microsecond'),
           CASE WHEN p.discontinued_at IS NULL THEN p.unit_price END,
           CASE WHEN p.discontinued_at IS NULL THEN p.list_price END,
           CASE WHEN p.discontinued_at IS NULL THEN p.blank_cost END,
           CASE WHEN p.discontinued_at IS NULL THEN p.currency END
      FROM unnest(changed_rows) AS r
      CROSS JOIN LATERAL (
        SELECT s.* FROM cs_internal.products AS s
         WHERE s.server = account AND s.product_id = r.product_id OFFSET 0) AS p
     WHERE p.discontinued_at IS NOT NULL
        OR (p.unit_price, p.list_price, p.blank_cost, p.currency)
           IS DISTINCT FROM (r.unit_price, r.list_price, r.blank_cost, r.currency);

    UPDATE cs_internal.products AS p
       SET sku = r.sku, code = r.code, name = r.name, brand = r.brand, category = r.category,
           material = r.material, capacity = r.capacity, certifications = r.certifications,
           unit_price = r.unit_price, list_price = r.list_price, blank_cost = r.blank_cost, currency = r.currency,
           min_order_qty = r.min_order_qty, stock_status = r.stock_status, lead_time_days = r.lead_time_days,
           image_url = r.image_url, raw = r.raw, fetched_at = now(), fingerprint = r.fingerprint,
           absent_run = NULL, discontinued_at = NULL,
           price_since = CASE
             WHEN p.discontinued_at IS NOT NULL
               OR (p.unit_price, p.list_price, p.blank_cost, p.currency)
                  IS DISTINCT FROM (r.unit_price, r.list_price, r.blank_cost, r.currency)
             THEN greatest(now(), p.price_since + interval '1 microsecond')
             ELSE p.price_since END
      FROM (SELECT n.*, o.tid
              FROM unnest(changed_rows) AS n
              CROSS JOIN LATERAL (
                SELECT s.ctid AS tid FROM cs_internal.products AS s
                 WHERE s.server = account AND s.product_id = n.product_id OFFSET 0) AS o) AS r
     WHERE p.ctid = r.tid;
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.merge_products(text, cs_internal.product_row[]) IS
'Stores a page of products (no product_id twice in it). Returns how many rows were added, changed, and of the changed ones how many had been discontinued. '
'A changed price, and a return, begins a new validity range.';
REVOKE ALL ON FUNCTION cs_internal.merge_products(text, cs_internal.product_row[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.mark_products_absent(account text, this_run bigint, ids text[], confirmed boolean,
  OUT discontinued bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  gone text[];
BEGIN
  SELECT array_agg(p.product_id) INTO gone
    FROM unnest(ids) AS i (id)
    CROSS JOIN LATERAL (
      SELECT s.product_id FROM cs_internal.products AS s
       WHERE s.server = account AND s.product_id = i.id AND s.discontinued_at IS NULL
         AND (confirmed OR s.absent_run < this_run) OFFSET 0) AS p;
  discontinued := coalesce(cardinality(gone), 0);

  IF discontinued > 0 THEN
    INSERT INTO cs_internal.price_history (server, item_id, valid_from, ended_at, unit_price, list_price, blank_cost,
           currency)
    SELECT account, p.product_id, p.price_since, greatest(now(), p.price_since + interval '1 microsecond'),
           p.unit_price, p.list_price, p.blank_cost, p.currency
      FROM unnest(gone) AS i (id)
      CROSS JOIN LATERAL (
        SELECT s.* FROM cs_internal.products AS s
         WHERE s.server = account AND s.product_id = i.id OFFSET 0) AS p;
  END IF;

  UPDATE cs_internal.products AS p
     SET absent_run = coalesce(p.absent_run, this_run),
         discontinued_at = CASE WHEN o.is_gone THEN now() END,
         price_since = CASE WHEN o.is_gone THEN greatest(now(), p.price_since + interval '1 microsecond')
                            ELSE p.price_since END
    FROM (SELECT s.tid, s.is_gone
            FROM unnest(ids) AS i (id)
            CROSS JOIN LATERAL (
              SELECT t.ctid AS tid, coalesce(t.product_id = ANY (gone), false) AS is_gone
                FROM cs_internal.products AS t
               WHERE t.server = account AND t.product_id = i.id AND t.discontinued_at IS NULL
                 AND (t.absent_run IS NULL OR t.product_id = ANY (gone)) OFFSET 0) AS s) AS o
   WHERE p.ctid = o.tid;
END $$;
COMMENT ON FUNCTION cs_internal.mark_products_absent(text, bigint, text[], boolean) IS
'These products were missing from the complete list of run this_run. Pages shift while rows come and go, so one absence proves nothing: '
'they are discontinued if "confirmed" (the partner''s total agrees) or if they were missing from an earlier complete run too. Returns how many were.';
REVOKE ALL ON FUNCTION cs_internal.mark_products_absent(text, bigint, text[], boolean) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_models(account text, page cs_internal.model_row[],
  OUT added bigint, OUT changed bigint, OUT revived bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  added_rows cs_internal.model_row[];
  changed_rows cs_internal.model_row[];
BEGIN
  SELECT array_agg(r) FILTER (WHERE m.fingerprint IS NULL),
         array_agg(r) FILTER (WHERE m.fingerprint IS NOT NULL),
         count(*) FILTER (WHERE m.discontinued_at IS NOT NULL)
    INTO added_rows, changed_rows, revived
    FROM unnest(page) AS r
    LEFT JOIN LATERAL (
      SELECT s.fingerprint, s.absent_run, s.discontinued_at
        FROM cs_internal.models AS s
       WHERE s.server = account AND s.model_id = r.model_id OFFSET 0) AS m ON true
   -- One that stayed in the list while its detail was gone comes back by its detail.
   WHERE m.fingerprint IS DISTINCT FROM r.fingerprint OR m.absent_run IS NOT NULL;
  added := coalesce(cardinality(added_rows), 0);
  changed := coalesce(cardinality(changed_rows), 0);

  IF added > 0 THEN
    INSERT INTO cs_internal.models (server, model_id, code, name, brand, primary_image_url, default_list_price,
           default_price, currency, from_unit_price, from_list_price, from_blank_cost, priced_variation_count,
           variation_count, is_featured, raw, fetched_at, fingerprint, detail_due)
    SELECT account, r.model_id, r.code, r.name, r.brand, r.primary_image_url, r.default_list_price,
           r.default_price, r.currency, r.from_unit_price, r.from_list_price, r.from_blank_cost,
           r.priced_variation_count, r.variation_count, r.is_featured, r.raw, now(), r.fingerprint, true
      FROM unnest(added_rows) AS r;
  END IF;

  IF changed > 0 THEN
    UPDATE cs_internal.models AS m
       SET code = r.code, name = r.name, brand = r.brand, primary_image_url = r.primary_image_url,
           default_list_price = r.default_list_price, default_price = r.default_price, currency = r.currency,
           from_unit_price = r.from_unit_price, from_list_price = r.from_list_price,
           from_blank_cost = r.from_blank_cost, priced_variation_count = r.priced_variation_count,
           variation_count = r.variation_count, is_featured = r.is_featured, raw = r.raw, fetched_at = now(),
           fingerprint = r.fingerprint, absent_run = NULL, discontinued_at = NULL,
           detail_due = m.detail_due OR m.discontinued_at IS NOT NULL OR m.fingerprint <> r.fingerprint,
           -- While it was away its variations were discontinued, whatever the detail says.
           detail_fingerprint = CASE WHEN m.discontinued_at IS NULL THEN m.detail_fingerprint END
      FROM (SELECT n.*, o.tid
              FROM unnest(changed_rows) AS n
              CROSS JOIN LATERAL (
                SELECT s.ctid AS tid FROM cs_internal.models AS s
                 WHERE s.server = account AND s.model_id = n.model_id OFFSET 0) AS o) AS r
     WHERE m.ctid = r.tid;
  END IF;
END $$;
COMMENT ON FUNCTION cs_internal.merge_models(text, cs_internal.model_row[]) IS
'Stores a page of the list of models (no model_id twice in it). Returns how many rows were added, changed, and of the changed ones how many had been discontinued. '
'The detail of what is new, has changed or came back is due.';
REVOKE ALL ON FUNCTION cs_internal.merge_models(text, cs_internal.model_row[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.discontinue_variations(account text, ids text[], OUT discontinued bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  discontinued := 0;
  IF ids = '{}' THEN
    RETURN;
  END IF;
  INSERT INTO cs_internal.price_history (server, item_id, valid_from, ended_at, unit_price, list_price, blank_cost,
         handling_fee, currency)
  SELECT v.server, v.variation_id, v.price_since, greatest(now(), v.price_since + interval '1 microsecond'),
         v.unit_price, v.list_price, v.blank_cost, v.handling_fee, v.currency
    FROM cs_internal.variations AS v
   WHERE v.server = account AND v.variation_id = ANY (ids) AND v.discontinued_at IS NULL;

  UPDATE cs_internal.variations AS v
     SET discontinued_at = now(), price_since = greatest(now(), v.price_since + interval '1 microsecond')
   WHERE v.server = account AND v.variation_id = ANY (ids) AND v.discontinued_at IS NULL;
  GET DIAGNOSTICS discontinued = ROW_COUNT;
END $$;
COMMENT ON FUNCTION cs_internal.discontinue_variations(text, text[]) IS
'These variations are no longer on offer; their prices end now. Returns how many still were.';
REVOKE ALL ON FUNCTION cs_internal.discontinue_variations(text, text[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.discontinue_model(account text, model text, OUT discontinued bigint, OUT skus bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  UPDATE cs_internal.models AS m
     SET discontinued_at = now(), detail_due = false, detail_failed_at = NULL, detail_fingerprint = NULL
   WHERE m.server = account AND m.model_id = model AND m.discontinued_at IS NULL;
  GET DIAGNOSTICS discontinued = ROW_COUNT;
  -- If it was not any more, its detail is not due for ever.
  UPDATE cs_internal.models AS m SET detail_due = false, detail_failed_at = NULL
   WHERE m.server = account AND m.model_id = model AND m.detail_due;

  skus := cs_internal.discontinue_variations(account, ARRAY(
    SELECT v.variation_id FROM cs_internal.variations AS v
     WHERE v.server || '' = account AND v.model_id = model AND v.discontinued_at IS NULL));
END $$;
COMMENT ON FUNCTION cs_internal.discontinue_model(text, text) IS
'The model is no longer on offer, nor are its variations. Returns how many models (0 or 1) and variations still were.';
REVOKE ALL ON FUNCTION cs_internal.discontinue_model(text, text) FROM PUBLIC;

CREATE FUNCTION cs_internal.mark_models_absent(account text, this_run bigint, ids text[],
  OUT discontinued bigint, OUT skus bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  model record;
BEGIN
  discontinued := 0;
  skus := 0;
  FOR model IN
    SELECT d.*
      FROM cs_internal.models AS m
      CROSS JOIN LATERAL cs_internal.discontinue_model(account, m.model_id) AS d
     WHERE m.server = account AND m.model_id = ANY (ids) AND m.discontinued_at IS NULL AND m.absent_run < this_run
  LOOP
    discontinued := discontinued + model.discontinued;
    skus := skus + model.skus;
  END LOOP;

  UPDATE cs_internal.models AS m
     SET absent_run = this_run, detail_due = true
   WHERE m.server = account AND m.model_id = ANY (ids) AND m.discontinued_at IS NULL AND m.absent_run IS NULL;
END $$;
COMMENT ON FUNCTION cs_internal.mark_models_absent(text, bigint, text[]) IS
'These models were missing from the complete list of run this_run: discontinued if they were missing from an earlier one too, else their detail is due, '
'whose 404 is proof. Returns how many models and variations were discontinued.';
REVOKE ALL ON FUNCTION cs_internal.mark_models_absent(text, bigint, text[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_variations(account text, model text, page cs_internal.variation_row[],
  OUT added bigint, OUT changed bigint, OUT revived bigint, OUT discontinued bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  added_rows cs_internal.variation_row[];
  changed_rows cs_internal.variation_row[];
  ids text[];
BEGIN
  SELECT array_agg(r) FILTER (WHERE v.fingerprint IS NULL),
         array_agg(r) FILTER (WHERE v.fingerprint IS NOT NULL),
         count(*) FILTER (WHERE v.discontinued_at IS NOT NULL)
    INTO added_rows, changed_rows, revived
    FROM unnest(page) AS r
    LEFT JOIN LATERAL (
      SELECT s.fingerprint, s.model_id, s.discontinued_at
        FROM cs_internal.variations AS s
       WHERE s.server = account AND s.variation_id = r.variation_id OFFSET 0) AS v ON true
   WHERE v.fingerprint IS DISTINCT FROM r.fingerprint OR v.model_id <> model OR v.discontinued_at IS NOT NULL;
  added := coalesce(cardinality(added_rows), 0);
  changed := coalesce(cardinality(changed_rows), 0);

  IF added > 0 THEN
    INSERT INTO cs_internal.variations (server, variation_id, model_id, sku, variation_description,
           variation2_description, variation2_hex, is_active, images, unit_price, list_price, blank_cost,
           handling_fee, currency, raw, fetched_at, price_since, fingerprint)
    SELECT account, r.variation_id, model, r.sku, r.variation_description,
           r.variation2_description, r.variation2_hex, r.is_active, r.images, r.unit_price, r.list_price, r.blank_cost,
           r.handling_fee, r.currency, r.raw, now(), now(), r.fingerprint
      FROM unnest(added_rows) AS r;
  END IF;

  IF changed > 0 THEN
    INSERT INTO cs_internal.price_history (server, item_id, valid_from, ended_at, unit_price, list_price, blank_cost,
           handling_fee, currency)
    SELECT account, v.variation_id, v.price_since, greatest(now(), v.price_since + interval '1 microsecond'),
           CASE WHEN v.discontinued_at IS NULL THEN v.unit_price END,
           CASE WHEN v.discontinued_at IS NULL THEN v.list_price END,
           CASE WHEN v.discontinued_at IS NULL THEN v.blank_cost END,
           CASE WHEN v.discontinued_at IS NULL THEN v.handling_fee END,
           CASE WHEN v.discontinued_at IS NULL THEN v.currency END
      FROM unnest(changed_rows) AS r
      CROSS JOIN LATERAL (
        SELECT s.* FROM cs_internal.variations AS s
         WHERE s.server = account AND s.variation_id = r.variation_id OFFSET 0) AS v
     WHERE v.discontinued_at IS NOT NULL
        OR (v.unit_price, v.list_price, v.blank_cost, v.handling_fee, v.currency)
           IS DISTINCT FROM (r.unit_price, r.list_price, r.blank_cost, r.handling_fee, r.currency);

    UPDATE cs_internal.variations AS v
       SET model_id = model, sku = r.sku, variation_description = r.variation_description,
           variation2_description = r.variation2_description, variation2_hex = r.variation2_hex,
           is_active = r.is_active, images = r.images, unit_price = r.unit_price, list_price = r.list_price,
           blank_cost = r.blank_cost, handling_fee = r.handling_fee, currency = r.currency, raw = r.raw,
           fetched_at = now(), fingerprint = r.fingerprint, discontinued_at = NULL,
           price_since = CASE
             WHEN v.discontinued_at IS NOT NULL
               OR (v.unit_price, v.list_price, v.blank_cost, v.handling_fee, v.currency)
                  IS DISTINCT FROM (r.unit_price, r.list_price, r.blank_cost, r.handling_fee, r.currency)
             THEN greatest(now(), v.price_since + interval '1 microsecond')
             ELSE v.price_since END
      FROM (SELECT n.*, o.tid
              FROM unnest(changed_rows) AS n
              CROSS JOIN LATERAL (
                SELECT s.ctid AS tid FROM cs_internal.variations AS s
                 WHERE s.server = account AND s.variation_id = n.variation_id OFFSET 0) AS o) AS r
     WHERE v.ctid = r.tid;
  END IF;

  -- The detail lists them all: what it does not name is no longer on offer.
  ids := ARRAY(SELECT r.variation_id FROM unnest(page) AS r);
  discontinued := cs_internal.discontinue_variations(account, ARRAY(
    SELECT v.variation_id FROM cs_internal.variations AS v
     WHERE v.server || '' = account AND v.model_id = model AND v.discontinued_at IS NULL
       AND v.variation_id <> ALL (ids)));
END $$;
COMMENT ON FUNCTION cs_internal.merge_variations(text, text, cs_internal.variation_row[]) IS
'Stores all variations of a model''s detail (no variation_id twice). Returns how many were added, changed, of the changed ones how many had been discontinued, '
'and how many are no longer there.';
REVOKE ALL ON FUNCTION cs_internal.merge_variations(text, text, cs_internal.variation_row[]) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_model_detail(account text, model text, detail cs_internal.detail_row,
  variations cs_internal.variation_row[], placements cs_internal.placement_row[],
  print_methods cs_internal.print_method_row[], whole_fingerprint bigint,
  OUT added bigint, OUT changed bigint, OUT revived bigint, OUT discontinued bigint, OUT models_revived bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
AS $$
DECLARE
  known record;
BEGIN
  models_revived := 0;
  added := 0;
  changed := 0;
  revived := 0;
  discontinued := 0;
  SELECT m.detail_fingerprint, m.detail_due, m.discontinued_at, m.absent_run INTO known
    FROM cs_internal.models AS m
   WHERE m.server = account AND m.model_id = model;
  IF NOT FOUND OR known.discontinued_at IS NOT NULL AND known.absent_run IS NOT NULL THEN
    RETURN;
  END IF;
  models_revived := (known.discontinued_at IS NOT NULL)::integer;
  IF known.detail_fingerprint = whole_fingerprint THEN
    IF known.detail_due THEN
      UPDATE cs_internal.models AS m SET detail_due = false, detail_failed_at = NULL, detail_at = now()
       WHERE m.server = account AND m.model_id = model;
    END IF;
    RETURN;
  END IF;

  UPDATE cs_internal.models AS m
     SET material = detail.material, fit_type = detail.fit_type, description = detail.description,
         care = detail.care, sizing = detail.sizing, categories = detail.categories, images = detail.images,
         detail_raw = detail.raw, fetched_at = now(), detail_fingerprint = whole_fingerprint,
         detail_at = now(), detail_due = false, detail_failed_at = NULL, discontinued_at = NULL
   WHERE m.server = account AND m.model_id = model;

  IF variations IS NOT NULL THEN
    SELECT v.added, v.changed, v.revived, v.discontinued INTO added, changed, revived, discontinued
      FROM cs_internal.merge_variations(account, model, variations) AS v;
  END IF;
  IF placements IS NULL THEN
    RETURN;
  END IF;

  DELETE FROM cs_internal.placements AS p
   WHERE p.server = account AND p.model_id = model
     AND NOT EXISTS (SELECT FROM unnest(placements) AS r
                      WHERE r.placement = p.placement AND r.fingerprint = p.fingerprint);
  INSERT INTO cs_internal.placements (server, model_id, placement, label, max_width_inches, max_height_inches,
         raw, fetched_at, fingerprint)
  SELECT account, model, r.placement, r.label, r.max_width_inches, r.max_height_inches,
         r.raw, now(), r.fingerprint
    FROM unnest(placements) AS r
   WHERE NOT EXISTS (SELECT FROM cs_internal.placements AS p
                      WHERE p.server = account AND p.model_id = model AND p.placement = r.placement);

  DELETE FROM cs_internal.print_methods AS p
   WHERE p.server = account AND p.model_id = model
     AND NOT EXISTS (SELECT FROM unnest(print_methods) AS r
                      WHERE r.placement = p.placement AND r.print_method = p.print_method
                        AND r.fingerprint = p.fingerprint);
  INSERT INTO cs_internal.print_methods (server, model_id, placement, print_method, label, price, price_source,
         raw, fetched_at, fingerprint)
  SELECT account, model, r.placement, r.print_method, r.label, r.price, r.price_source,
         r.raw, now(), r.fingerprint
    FROM unnest(print_methods) AS r
   WHERE NOT EXISTS (SELECT FROM cs_internal.print_methods AS p
                      WHERE p.server = account AND p.model_id = model
                        AND p.placement = r.placement AND p.print_method = r.print_method);
END $$;
COMMENT ON FUNCTION cs_internal.merge_model_detail(text, text, cs_internal.detail_row, cs_internal.variation_row[],
  cs_internal.placement_row[], cs_internal.print_method_row[], bigint) IS
'Stores a model''s detail with all its variations, placements and print methods (NULL: the partner sent no such list, and what is known stays); nothing is read further if whole_fingerprint, the hash over all of them, is the stored one. '
'Returns the numbers of variations, as merge_variations does, and whether the model itself was discontinued (0 or 1). A model that is not stored, or went from the list, is left alone: only the list brings models in.';
REVOKE ALL ON FUNCTION cs_internal.merge_model_detail(text, text, cs_internal.detail_row, cs_internal.variation_row[],
  cs_internal.placement_row[], cs_internal.print_method_row[], bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.detail_unread(account text, model text, message text) RETURNS text
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
BEGIN
  UPDATE cs_internal.catalog_runs AS r SET last_error = message, last_error_at = now() WHERE r.server = account;
  UPDATE cs_internal.models AS m SET detail_due = true, detail_failed_at = now()
   WHERE m.server = account AND m.model_id = model;
  RETURN (SELECT m.code FROM cs_internal.models AS m WHERE m.server = account AND m.model_id = model);
END $$;
COMMENT ON FUNCTION cs_internal.detail_unread(text, text, text) IS
'The model''s detail could not be had or read: it stays as it is, and due. Returns the model''s code.';
REVOKE ALL ON FUNCTION cs_internal.detail_unread(text, text, text) FROM PUBLIC;

CREATE FUNCTION cs_internal.merge_balance(account text, wallet cs_internal.balance_row, OUT changed bigint)
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  changed := 0;
  IF EXISTS (SELECT FROM cs_internal.balances AS b
              WHERE b.server = account AND b.fingerprint = wallet.fingerprint) THEN
    RETURN;
  END IF;
  DELETE FROM cs_internal.balances AS b WHERE b.server = account;
  INSERT INTO cs_internal.balances (server, dealer_id, currency, balance, credit_limit, headroom, raw,
         fetched_at, fingerprint)
  VALUES (account, wallet.dealer_id, wallet.currency, wallet.balance, wallet.credit_limit, wallet.headroom, wallet.raw,
         now(), wallet.fingerprint);
  changed := 1;
END $$;
COMMENT ON FUNCTION cs_internal.merge_balance(text, cs_internal.balance_row) IS
'Stores an account''s wallet if it differs from the stored one; returns 1 then.';
REVOKE ALL ON FUNCTION cs_internal.merge_balance(text, cs_internal.balance_row) FROM PUBLIC;
