/*
 * columns.sql
 *	  What the columns of the views mean.
 *
 * The same name means the same everywhere, so there is one glossary for all of
 * them; a view in which a name means more has a line of its own, or a COMMENT
 * beside the view.  \d+ shows it, and docs/reference.md.
 */
DO $$
DECLARE
  c record;
BEGIN
  FOR c IN
    WITH glossary (view, name, meaning) AS (VALUES
      -- accounts
      (NULL, 'server', 'The account: name of the foreign server.'),
      (NULL, 'api', 'Its API: cupsource-v1, cupsource-v2 or customhub-v1.'),
      (NULL, 'raw', 'The partner''s object as it came, where it has fields that no column holds.'),
      (NULL, 'fetched_at', 'When the row was first read as it stands.'),
      -- catalogue
      (NULL, 'product_id', 'The partner''s id of the product; of the model at CustomHub.'),
      (NULL, 'model_id', 'The partner''s id of the model.'),
      (NULL, 'variation_id', 'The partner''s id of the variation.'),
      (NULL, 'sku', 'What is ordered by it.'),
      ('cs_products', 'sku', 'What is ordered by it; NULL for a CustomHub model, whose variations have SKUs.'),
      (NULL, 'code', 'The partner''s code of the model.'),
      ('cs_models', 'name', 'Name of the model.'),
      (NULL, 'name', 'Name of the product.'),
      ('cs_prices', 'name', 'Name of the product, with size and colour.'),
      (NULL, 'category', 'The partner''s word, as its filter takes it.'),
      (NULL, 'capacity', 'As the partner writes it.'),
      (NULL, 'certifications', 'FSC, compostable and the like.'),
      (NULL, 'unit_price', 'Price of one unit for this account.'),
      ('cs_products', 'unit_price', 'Price of one unit for this account; of a model the lowest of its variations.'),
      ('cs_variations', 'unit_price', 'The partner''s price of one; cs_item_cost tells that of a certain print.'),
      (NULL, 'list_price', 'The same without this account''s conditions.'),
      (NULL, 'blank_cost', 'Of one item before printing (CustomHub).'),
      (NULL, 'handling_fee', 'Of one item (CustomHub).'),
      (NULL, 'currency', 'ISO 4217.'),
      (NULL, 'min_order_qty', 'Minimum order quantity; NULL: none is stated.'),
      (NULL, 'stock_status', 'The partner''s word, or number.'),
      (NULL, 'lead_time_days', 'Days from order to dispatch.'),
      (NULL, 'variation_count', 'How many variations the model has.'),
      (NULL, 'priced_variation_count', 'How many of them are priced for this account.'),
      (NULL, 'is_featured', 'The partner features it.'),
      (NULL, 'is_active', 'It can be ordered.'),
      (NULL, 'image_url', 'The main image.'),
      (NULL, 'primary_image_url', 'The main image.'),
      (NULL, 'images', 'All images, by URL.'),
      (NULL, 'categories', 'A list of {id, name}.'),
      (NULL, 'fit_type', 'As the partner describes it.'),
      (NULL, 'care', 'How it is washed.'),
      (NULL, 'sizing', 'How it fits.'),
      (NULL, 'default_list_price', 'The tenant''s default, often 0.'),
      (NULL, 'default_price', 'The tenant''s default, often 0.'),
      (NULL, 'from_unit_price', 'The lowest unit_price of its variations.'),
      (NULL, 'from_list_price', 'The lowest list_price of its variations.'),
      (NULL, 'from_blank_cost', 'The lowest blank_cost of its variations.'),
      (NULL, 'discontinued_at', 'Since when it is no longer on offer; NULL: it is.'),
      (NULL, 'variation_description', 'The first property, usually garment and size.'),
      (NULL, 'variation2_description', 'The second property, usually the colour.'),
      (NULL, 'variation2_hex', 'The colour as #RRGGBB.'),
      (NULL, 'placement', 'The partner''s code of the place: width1.'),
      (NULL, 'label', 'The partner''s name for people.'),
      (NULL, 'max_width_inches', 'The widest design that fits.'),
      (NULL, 'max_height_inches', 'The highest design that fits.'),
      (NULL, 'print_method', 'The partner''s code: DTF.'),
      (NULL, 'price', 'Charge of one print.'),
      (NULL, 'price_source', 'How firm it is: dealer, dealer_default, dealer_location_fallback or global.'),
      (NULL, 'valid', 'From when to when.'),
      ('cs_balance', 'dealer_id', 'The partner''s id of the account.'),
      ('cs_balance', 'balance', 'Above 0: the dealer owes it.'),
      ('cs_balance', 'headroom', 'credit_limit - balance: what may still be ordered.'),
      ('cs_catalog_status', 'state', 'never, running, complete or failed.'),
      ('cs_catalog_status', 'products', 'Products or models on offer.'),
      ('cs_catalog_status', 'skus', 'Orderable SKUs on offer.'),
      ('cs_catalog_status', 'last_complete_at', 'End of the last complete refresh.'),
      ('cs_catalog_status', 'age', 'How long that is ago.'),
      ('cs_catalog_status', 'next_refresh_at', 'When the next one is due; NULL: by hand.'),
      ('cs_catalog_status', 'running_since', 'NULL: none is running.'),
      ('cs_catalog_status', 'pages_done', 'By the last or running refresh.'),
      ('cs_catalog_status', 'rows_done', 'By the last or running refresh.'),
      ('cs_catalog_status', 'rows_total', 'By the partner''s word; NULL: it does not say.'),
      -- orders
      ('cs_orders', 'id', 'Local id.'),
      ('cs_orders', 'raw', 'The partner''s last answer.'),
      (NULL, 'order_id', 'Local id of the order.'),
      (NULL, 'external_id', 'Your id of the order.'),
      (NULL, 'remote_id', 'The partner''s id of the order.'),
      (NULL, 'order_number', 'The partner''s number for people.'),
      ('cs_orders', 'state', 'What it is here; see above.'),
      (NULL, 'remote_status', 'The partner''s own word.'),
      ('cs_orders', 'items_subtotal', 'Locked by the partner, as the following amounts.'),
      ('cs_orders', 'total', 'What the partner bills.'),
      ('cs_orders', 'cost', 'The partner''s whole cost breakdown.'),
      ('cs_orders', 'item_count', 'As the partner counts.'),
      (NULL, 'lines', 'As ordered.'),
      (NULL, 'ship_to', 'As ordered.'),
      (NULL, 'options', 'As ordered.'),
      (NULL, 'error_sqlstate', 'SQLSTATE of the last failure.'),
      (NULL, 'error_code', 'The partner''s error code.'),
      (NULL, 'error_message', 'Its message.'),
      (NULL, 'error_detail', 'Status, code and fields.'),
      (NULL, 'error_hint', 'What the partner''s document advises.'),
      (NULL, 'rejection_reason', 'Why the partner rejected it after all.'),
      (NULL, 'attempts', 'Requests that were to place it.'),
      (NULL, 'next_attempt_at', 'When the next one may go; NULL: none will.'),
      (NULL, 'poll_at', 'When the partner is asked about it next; NULL: it is settled.'),
      (NULL, 'created_by', 'The role whose mapping orders it.'),
      (NULL, 'sent_at', 'First request.'),
      (NULL, 'placed_at', 'When the partner confirmed it.'),
      (NULL, 'changed_at', 'Last change of its state.'),
      (NULL, 'remote_created_at', 'By the partner''s clock.'),
      (NULL, 'last_shipped_at', 'Its last parcel.'),
      (NULL, 'line', 'From 1.'),
      (NULL, 'designs', 'What is printed where, as ordered.'),
      ('cs_order_events', 'id', 'In the order of their storing; 0: the queueing itself.'),
      ('cs_order_events', 'at', 'When it happened.'),
      ('cs_order_events', 'type', 'The state entered, or the partner''s word.'),
      ('cs_order_events', 'by', 'Who: a role, or the partner''s word.'),
      ('cs_order_events', 'detail', 'What else is known of it.'),
      ('cs_order_attempts', 'attempt', 'From 1.'),
      ('cs_order_attempts', 'status', 'HTTP status; NULL: none came.'),
      ('cs_order_attempts', 'delivery', 'not_sent (for certain), answered, or unknown (it may have arrived).'),
      ('cs_order_attempts', 'failure', 'The kind; NULL: success.'),
      (NULL, 'shipment_id', 'The partner''s, else the tracking number.'),
      ('cs_shipments', 'status', 'The partner''s word.'),
      ('cs_shipments', 'signature_required', 'The carrier asks for a signature.'),
      ('cs_queue', 'state', 'queued, sending, cancelling or uncertain.'),
      ('cs_queue', 'reason', 'Why it waits.'),
      ('cs_queue', 'until', 'Until when at the earliest.'),
      -- operations
      (NULL, 'endpoint', 'Method and path.'),
      (NULL, 'calls', 'All attempts.'),
      (NULL, 'errors', 'The sum of the following seven.'),
      (NULL, 'refused_4xx', 'Without 429.'),
      (NULL, 'not_sent', 'No address, no connection, no TLS, or the own limiter.'),
      (NULL, 'malformed', 'Answers that could not be used.'),
      (NULL, 'retries', 'Of the calls, those that repeated one.'),
      (NULL, 'connections', 'Opened anew.'),
      (NULL, 'total_ms', 'On the wire; without waiting for the budget.'),
      (NULL, 'limiter_ms', 'Waiting for the account''s budget.'),
      (NULL, 'process', 'launcher or worker.'),
      ('cs_stat_workers', 'pid', 'NULL: it does not run.'),
      ('cs_stat_workers', 'due_at', 'When it has something to do next.'),
      ('cs_stat_workers', 'in_flight', 'Requests on the wire.'),
      ('cs_stat_workers', 'orders_sent', 'Since its start.'),
      ('cs_stat_workers', 'failures', 'Since its start.'))
    SELECT v.oid::regclass AS view, a.attname AS name,
           (SELECT g.meaning FROM glossary AS g
             WHERE g.name = a.attname AND coalesce(g.view, v.relname) = v.relname
             ORDER BY g.view IS NULL LIMIT 1) AS meaning
      FROM pg_catalog.pg_class AS v
      JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = v.oid AND d.deptype = 'e'
       AND d.refobjid = (SELECT e.oid FROM pg_catalog.pg_extension AS e WHERE e.extname = 'cupsource')
      JOIN pg_catalog.pg_attribute AS a ON a.attrelid = v.oid AND a.attnum > 0
     WHERE v.relkind = 'v' AND v.relname LIKE 'cs\_%' AND pg_catalog.col_description(v.oid, a.attnum) IS NULL
  LOOP
    IF c.meaning IS NOT NULL THEN
      EXECUTE pg_catalog.format('COMMENT ON COLUMN %s.%I IS %L', c.view, c.name, c.meaning);
    END IF;
  END LOOP;
END $$;
