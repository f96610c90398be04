/*
 * From 0.1.0 to 0.2.0: what scripts/update.awk cannot tell from the two
 * install scripts.
 */

-- When a price ended, of those that are known: the next one began then, or the present one.
ALTER TABLE cs_internal.price_history ADD COLUMN ended_at timestamptz;
UPDATE cs_internal.price_history AS h
   SET ended_at = greatest(h.valid_from + interval '1 microsecond', coalesce(
         (SELECT min(n.valid_from) FROM cs_internal.price_history AS n
           WHERE n.server = h.server AND n.item_id = h.item_id AND n.valid_from > h.valid_from),
         (SELECT p.price_since FROM cs_internal.products AS p WHERE p.server = h.server AND p.product_id = h.item_id),
         (SELECT v.price_since FROM cs_internal.variations AS v WHERE v.server = h.server AND v.variation_id = h.item_id),
         now()));
ALTER TABLE cs_internal.price_history ALTER COLUMN ended_at SET NOT NULL,
  ADD CHECK (valid_from < ended_at),
  ADD CONSTRAINT price_history_no_overlap EXCLUDE USING gist (
    int8range(hashtextextended(item_id, hashtextextended(server, 0)) >> 1,
              hashtextextended(item_id, hashtextextended(server, 0)) >> 1, '[]') WITH &&,
    int8range(hashtextextended(item_id, hashtextextended(server, 1)) >> 1,
              hashtextextended(item_id, hashtextextended(server, 1)) >> 1, '[]') WITH &&,
    tstzrange(valid_from, ended_at) WITH &&);

ALTER TABLE cs_internal.catalog_runs
  ADD COLUMN since_at timestamptz,
  ADD COLUMN since_rows bigint NOT NULL DEFAULT 0,
  ADD COLUMN waited_ms bigint NOT NULL DEFAULT 0,
  ADD COLUMN attempts integer NOT NULL DEFAULT 0,
  ADD COLUMN identity bigint;

ALTER TABLE cs_internal.models ADD COLUMN detail_failed_at timestamptz;

ALTER TABLE cs_internal.order_events DROP CONSTRAINT order_events_source_check,
  DROP CONSTRAINT order_events_pkey, ADD PRIMARY KEY (order_id, id);
DROP INDEX cs_internal.order_events_order;
ALTER TABLE cs_internal.order_attempts DROP CONSTRAINT order_attempts_delivery_check;

ALTER TABLE cs_internal.orders RESET (fillfactor), ADD COLUMN failing_since timestamptz;
ALTER TABLE cs_internal.queue_claim DROP COLUMN one;

-- These have other arguments or other results, or are gone.
DROP FUNCTION cs_internal.merge_model_detail(text, text, cs_internal.detail_row, cs_internal.variation_row[],
  cs_internal.placement_row[], cs_internal.print_method_row[], bigint);
DROP FUNCTION cs_internal.refresh_checkpoint(text, text, bigint, bigint, bigint, bigint, bigint, bigint, text, bigint,
  bigint, bigint);
DROP FUNCTION cs_internal.refresh_details(text);
DROP FUNCTION cs_internal.refresh_begin(text, boolean);
DROP FUNCTION cs_internal.details_due(text, bigint);
DROP FUNCTION cs_internal.order_entered(bigint, text, text, text, text, jsonb);
DROP FUNCTION cs_internal.order_refuse(bigint, text);
DROP FUNCTION cs_internal.order_same(cs_internal.orders, jsonb, jsonb, jsonb);
DROP FUNCTION cs_internal.orders_claim(text, integer, bigint[]);
DROP FUNCTION cs_internal.order_again(bigint, interval, cs_internal.order_error);
DROP FUNCTION cs_internal.order_placed(bigint, text, cs_internal.remote_order, jsonb, interval);
DROP FUNCTION cs_internal.order_followed(bigint, text, cs_internal.remote_order, jsonb, interval);
DROP FUNCTION cs_internal.poll_next(text, timestamptz, interval);
DROP FUNCTION cs_internal.orders_poll_later(text, interval);
DROP FUNCTION cs_internal.orders_listed(text, text[], text[], timestamptz[], interval);
DROP FUNCTION cs_internal.order_row(bigint);
DROP FUNCTION cs_internal.order_to_resubmit(bigint);
DROP FUNCTION cs_internal.order_shipments(bigint, text[], text[], text[], text[], text[], timestamptz[], boolean[],
  timestamptz[], jsonb[]);
DROP FUNCTION @extschema@.cs_quote_order(jsonb, jsonb, jsonb, text);
DROP VIEW @extschema@.cs_stat_workers;
DROP FUNCTION cs_internal.stat_workers();
DROP FUNCTION @extschema@.cs_products(text, text, text, boolean, bigint, text, bigint, text);
DROP FUNCTION @extschema@.cs_product(text, text);
DROP VIEW @extschema@.cs_products;

-- AFTERWARDS
-- Until now the schema's OID was not part of what tells this database from a copy.
UPDATE cs_internal.queue_claim SET origin = cs_internal.origin()
 WHERE origin = concat_ws('/', split_part(cs_internal.origin(), '/', 1), split_part(cs_internal.origin(), '/', 2),
                          current_setting('cupsource.instance'));
UPDATE cs_internal.orders SET origin = cs_internal.origin()
 WHERE origin = concat_ws('/', split_part(cs_internal.origin(), '/', 1), split_part(cs_internal.origin(), '/', 2),
                          current_setting('cupsource.instance'));

-- Until now a catalogue outlived its server.
SELECT cs_internal.catalog_forget(l.server)
  FROM (SELECT server FROM cs_internal.catalog_runs UNION SELECT server FROM cs_internal.products
        UNION SELECT server FROM cs_internal.models UNION SELECT server FROM cs_internal.price_history) AS l
 WHERE NOT EXISTS (SELECT FROM pg_foreign_server AS s WHERE s.srvname::text = l.server);

GRANT SELECT ON @extschema@.cs_products TO PUBLIC;

-- There are no foreign tables yet whose behaviour this could change.
SET LOCAL client_min_messages = error;
ALTER FOREIGN DATA WRAPPER cupsource HANDLER cs_internal.cs_fdw_handler;
