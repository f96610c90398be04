/*
 * views.sql
 *	  Orders as users see them: of the accounts that they may use.
 */

-- The columns of cs_orders, of everybody's orders.
CREATE VIEW cs_internal.all_orders AS
  SELECT o.id, o.server, o.external_id, o.path, o.state, o.remote_id, (o.remote).order_number,
         (o.remote).remote_status, (o.remote).currency, (o.remote).items_subtotal,
         (o.remote).shipping_cost, (o.remote).shipping_category_fee, (o.remote).discount_amount,
         (o.remote).rush_fee, (o.remote).total, (o.remote).cost, (o.remote).item_count, o.lines,
         o.ship_to, o.options, (o.error).sqlstate AS error_sqlstate, (o.error).code AS error_code,
         (o.error).message AS error_message, (o.error).detail AS error_detail,
         (o.error).hint AS error_hint, (o.remote).rejection_reason, o.attempts, o.next_attempt_at,
         o.poll_at, o.replaces, o.created_by, o.created_at, o.sent_at, o.placed_at, o.changed_at,
         o.fetched_at, (o.remote).remote_created_at, (o.remote).last_shipped_at,
         (o.remote).cancelled_at, o.raw
    FROM cs_internal.orders AS o;
COMMENT ON VIEW cs_internal.all_orders IS 'What cs_orders shows, whoever may see it.';
REVOKE ALL ON cs_internal.all_orders FROM PUBLIC;

CREATE VIEW @extschema@.cs_orders WITH (security_barrier) AS
  SELECT o.*
    FROM cs_internal.all_orders AS o
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server;
COMMENT ON VIEW @extschema@.cs_orders IS
'Every order that was queued or placed from this database. Money in major units of currency. error_...: the last '
'failure, also why a placed order cannot be followed, until it can be. INSERT of '
'(server, external_id, lines, ship_to, options) queues an order in the current transaction. cs_orders() asks the partner.';
COMMENT ON COLUMN @extschema@.cs_orders.path IS 'queue: sent after COMMIT; call: cs_create_order, sent at once.';
COMMENT ON COLUMN @extschema@.cs_orders.replaces IS 'The order that this one was submitted again for (cs_resubmit_order).';
COMMENT ON COLUMN @extschema@.cs_orders.fetched_at IS 'When the partner''s answer about it was last read; its list does not count.';
GRANT SELECT, INSERT ON @extschema@.cs_orders TO PUBLIC;

CREATE VIEW @extschema@.cs_order_lines WITH (security_barrier) AS
  SELECT o.id AS order_id, o.server, o.external_id, l.n::pg_catalog.int4 AS line,
         l.item OPERATOR(pg_catalog.->>) 'sku' AS sku,
         l.item OPERATOR(pg_catalog.->>) 'product_id' AS product_id,
         l.item OPERATOR(pg_catalog.->>) 'variation_id' AS variation_id,
         (l.item OPERATOR(pg_catalog.->>) 'quantity')::pg_catalog.numeric AS quantity,
         l.item OPERATOR(pg_catalog.->) 'designs' AS designs
    FROM cs_internal.orders AS o
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server
   CROSS JOIN LATERAL pg_catalog.jsonb_array_elements(o.lines) WITH ORDINALITY AS l (item, n);
COMMENT ON VIEW @extschema@.cs_order_lines IS
'The lines of each order as they were ordered, numbered from 1.';
GRANT SELECT ON @extschema@.cs_order_lines TO PUBLIC;

CREATE VIEW @extschema@.cs_order_events WITH (security_barrier) AS
  SELECT e.id, o.id AS order_id, o.server, o.external_id, e.at, e.source, e.type, e.by, e.detail
    FROM cs_internal.orders AS o
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server
   CROSS JOIN LATERAL (
     SELECT 0::pg_catalog.int8 AS id, o.created_at AS at, 'local' AS source, 'queued' AS type,
            o.created_by AS by, NULL::pg_catalog.jsonb AS detail
      UNION ALL
     SELECT h.id, h.at, h.source, h.type, h.by, h.detail
       FROM cs_internal.order_events AS h
      WHERE h.order_id OPERATOR(pg_catalog.=) o.id) AS e;
COMMENT ON VIEW @extschema@.cs_order_events IS
'The history of each order, here and at the partner. Order by at, id.';
GRANT SELECT ON @extschema@.cs_order_events TO PUBLIC;

CREATE VIEW @extschema@.cs_order_attempts WITH (security_barrier) AS
  SELECT o.id AS order_id, o.server, o.external_id, a.attempt, a.started_at, a.duration_ms, a.status,
         a.delivery, a.failure, a.error_sqlstate, a.error_message
    FROM cs_internal.order_attempts AS a
    JOIN cs_internal.orders AS o ON o.id OPERATOR(pg_catalog.=) a.order_id
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server;
COMMENT ON VIEW @extschema@.cs_order_attempts IS
'Each request that was to place an order, with what came of it.';
GRANT SELECT ON @extschema@.cs_order_attempts TO PUBLIC;

CREATE VIEW @extschema@.cs_shipments WITH (security_barrier) AS
  SELECT o.id AS order_id, o.server, o.external_id, s.shipment_id, s.carrier, s.tracking_number,
         s.tracking_url, s.status, s.estimated_delivery, s.signature_required, s.shipped_at, s.raw,
         s.fetched_at
    FROM cs_internal.shipments AS s
    JOIN cs_internal.orders AS o ON o.id OPERATOR(pg_catalog.=) s.order_id
    JOIN cs_internal.visible_servers AS v ON v.server OPERATOR(pg_catalog.=) o.server;
COMMENT ON VIEW @extschema@.cs_shipments IS
'The parcels of each order, as the partner last showed them. cs_order_tracking(id) asks now.';
GRANT SELECT ON @extschema@.cs_shipments TO PUBLIC;

-- Written so that the indexes of what waits and of what is in doubt find it among all orders.
CREATE VIEW @extschema@.cs_queue WITH (security_barrier) AS
  SELECT o.id AS order_id, o.server, o.external_id, o.state,
         CASE WHEN o.state OPERATOR(pg_catalog.=) 'uncertain'
              THEN 'outcome unknown, look at the partner and use cs_resolve_order'
              WHEN o.origin OPERATOR(pg_catalog.<>) cs_internal.origin()
                   OR EXISTS (SELECT FROM cs_internal.queue_claim AS c
                               WHERE c.origin OPERATOR(pg_catalog.<>) cs_internal.origin())
              THEN 'held: this database is a copy, see cs_adopt_queue'
              WHEN o.state OPERATOR(pg_catalog.=) 'sending' THEN 'on the wire'
              WHEN o.lost_at IS NOT NULL THEN 'its transaction rolled back'
              WHEN (o.error).message IS NOT NULL
              THEN pg_catalog.concat('tried again: ', (o.error).message)
              ELSE 'waits for its turn' END AS reason,
         CASE WHEN o.state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'cancelling'])
              THEN o.next_attempt_at END AS until
    FROM cs_internal.orders AS o
   WHERE o.server OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT v.server FROM cs_internal.visible_servers AS v))
     AND (o.next_attempt_at IS NOT NULL OR o.state OPERATOR(pg_catalog.=) 'uncertain')
     AND o.state OPERATOR(pg_catalog.=) ANY (ARRAY['queued', 'sending', 'cancelling', 'uncertain']);
COMMENT ON VIEW @extschema@.cs_queue IS
'Orders that wait: for their turn, for an answer, for another try, or for a person; why, and until when at the earliest.';
GRANT SELECT ON @extschema@.cs_queue TO PUBLIC;

-- One order as a value, for the C functions that return it and have checked who asks; it
-- becomes part of their statement's plan.
CREATE FUNCTION cs_internal.order_row(order_id bigint) RETURNS SETOF @extschema@.cs_orders
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT * FROM cs_internal.all_orders AS o WHERE o.id OPERATOR(pg_catalog.=) order_id;
END;
COMMENT ON FUNCTION cs_internal.order_row(bigint) IS 'The row of cs_orders.';
REVOKE ALL ON FUNCTION cs_internal.order_row(bigint) FROM PUBLIC;

CREATE FUNCTION cs_internal.shipment_rows(order_id bigint) RETURNS SETOF @extschema@.cs_shipments
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN QUERY SELECT * FROM @extschema@.cs_shipments AS v
                WHERE v.order_id = shipment_rows.order_id ORDER BY v.shipped_at, v.shipment_id;
END $$;
COMMENT ON FUNCTION cs_internal.shipment_rows(bigint) IS 'The rows of cs_shipments of an order.';
REVOKE ALL ON FUNCTION cs_internal.shipment_rows(bigint) FROM PUBLIC;
