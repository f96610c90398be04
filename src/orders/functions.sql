/*
 * functions.sql
 *	  Placing, queueing, asking and cancelling, for users.
 *
 * Everybody may call these; USAGE on the server decides inside.
 */

CREATE FUNCTION @extschema@.cs_create_order(lines jsonb, ship_to jsonb, external_id text,
  options jsonb DEFAULT NULL, server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_create_order';
COMMENT ON FUNCTION @extschema@.cs_create_order(jsonb, jsonb, text, jsonb, text) IS
'Places an order now and returns its row of cs_orders. lines: [{sku | product_id | variation_id, quantity, designs}]; '
'ship_to: {name, line1, line2, city, state, postal_code, country, phone, email}; external_id: 1 to 100 characters, '
'unique per server, the same order for ever: asked again with the same content, the order that is there is returned. '
'The order does not roll back; if the transaction does, it is cancelled where the partner allows it, else orphaned. '
'Errors: 22023 and 22004 (the form), 23505 (other content under this id), PA4xx (the partner refuses), PA001 to PA010 '
'(no usable answer), PA009 and PA5xx (outcome unknown), PA011 (no worker), PA012 (the order was cancelled, or is being), '
'55P03 (a transaction that has not ended, this one or another, keeps the order locked).';

CREATE FUNCTION @extschema@.cs_enqueue_order(lines jsonb, ship_to jsonb, external_id text,
  options jsonb DEFAULT NULL, server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_enqueue_order';
COMMENT ON FUNCTION @extschema@.cs_enqueue_order(jsonb, jsonb, text, jsonb, text) IS
'Queues an order in this transaction and returns its row of cs_orders; it is sent after COMMIT, once. Arguments and '
'form as for cs_create_order. Errors: 22023 and 22004 (the form), 23505 (other content under this id), PA012 (it was, '
'or is being, cancelled because the transaction that had called cs_create_order rolled back).';

CREATE FUNCTION @extschema@.cs_submit_order() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_submit_order';
COMMENT ON FUNCTION @extschema@.cs_submit_order() IS
'Trigger function: queues an order for the row, as cs_enqueue_order does. AFTER INSERT OR UPDATE, FOR EACH ROW; as a '
'deferred constraint trigger it sees lines that are inserted after their header. Arguments ''key=value'', keys: server '
'(a name), server_column, external_id, lines, ship_to, bill_to, customer, branding, shipping_method, currency, '
'po_number, net_terms, is_gift, is_rush, notes, extra, options. A value names a column; in single quotes it is a '
'constant; ending in () it is a function that takes the row: ''lines=erp.order_lines()''. Errors: 39P01 (fired otherwise), '
'22023 (an argument, or the form), 22004 (an argument gives null), 23505 (other content under this external id).';

CREATE FUNCTION cs_internal.orders_insert() RETURNS trigger
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_orders_insert';
COMMENT ON FUNCTION cs_internal.orders_insert() IS 'INSERT INTO cs_orders: the same as cs_enqueue_order.';
REVOKE ALL ON FUNCTION cs_internal.orders_insert() FROM PUBLIC;

CREATE TRIGGER cs_orders_insert INSTEAD OF INSERT ON @extschema@.cs_orders
  FOR EACH ROW EXECUTE FUNCTION cs_internal.orders_insert();
COMMENT ON TRIGGER cs_orders_insert ON @extschema@.cs_orders IS 'Queues the order.';

-- The trigger of a view cannot be made to fire ALWAYS; without it an INSERT would do nothing and succeed.
CREATE FUNCTION cs_internal.inserted_id() RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF current_setting('session_replication_role') = 'replica' THEN
    RAISE object_not_in_prerequisite_state USING
      MESSAGE = 'cannot insert into view "cs_orders" while session_replication_role is replica',
      HINT = 'Triggers do not fire then. Use cs_enqueue_order.';
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION cs_internal.inserted_id() IS
'The id of a row that is inserted into cs_orders: none yet. Throws where no trigger would queue the order.';
ALTER VIEW @extschema@.cs_orders ALTER COLUMN id SET DEFAULT cs_internal.inserted_id();

CREATE FUNCTION @extschema@.cs_resubmit_order(id text, external_id text, server text DEFAULT NULL)
RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_resubmit_order';
COMMENT ON FUNCTION @extschema@.cs_resubmit_order(text, text, text) IS
'Queues a failed, rejected or cancelled order again, as it is, under a new external id, linked to the old one by replaces. '
'CustomHub answers the same refusal (402 INSUFFICIENT_BALANCE) to the same id, also after a top-up. PA012 for an order in '
'another state, or submitted again already, also by way of others; 23505 if another order has the new external id.';

CREATE FUNCTION @extschema@.cs_resubmit_order(id bigint, external_id text) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_resubmit_order';
COMMENT ON FUNCTION @extschema@.cs_resubmit_order(bigint, text) IS 'The same by local id.';

CREATE FUNCTION @extschema@.cs_order(id text, server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c STABLE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_order';
COMMENT ON FUNCTION @extschema@.cs_order(text, text) IS
'The stored order with this local, external or remote id; where a server is named, its external or remote id alone, for those may look like the local id of another. '
'PA404 if there is none, 21000 if it means several.';

CREATE FUNCTION @extschema@.cs_order(id bigint) RETURNS @extschema@.cs_orders
LANGUAGE c STABLE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_order_local';
COMMENT ON FUNCTION @extschema@.cs_order(bigint) IS 'The stored order with this local id. PA404 if there is none.';

CREATE FUNCTION @extschema@.cs_orders(status text DEFAULT NULL, since timestamptz DEFAULT NULL,
  external_id text DEFAULT NULL, max_rows bigint DEFAULT NULL, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL RESTRICTED COST 100000 ROWS 100
AS 'MODULE_PATHNAME', 'cs_sql_orders';
COMMENT ON FUNCTION @extschema@.cs_orders(text, timestamptz, text, bigint, text) IS
'Asks the partner for its orders now (CustomHub: GET /api/v1/orders; 0A000 where the API has no list), rows as in '
'cs_orders with what a list tells: id is NULL, the view has it by remote_id. status: the partner''s word; '
'since: created at the partner then or later; a time before the year 2000, as -infinity, means all of them, one from the year 10000 on none.';

CREATE FUNCTION @extschema@.cs_order_status(id text, max_age interval DEFAULT NULL, server text DEFAULT NULL)
RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_order_status';
COMMENT ON FUNCTION @extschema@.cs_order_status(text, interval, text) IS
'State of the order with this id, as for cs_order. If what is known is older than max_age (default '
'cupsource.max_age) and the order is open at the partner, it is asked first, and the errors of that are thrown.';

CREATE FUNCTION @extschema@.cs_order_status(id bigint, max_age interval DEFAULT NULL) RETURNS text
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_order_status_local';
COMMENT ON FUNCTION @extschema@.cs_order_status(bigint, interval) IS 'The same by local id.';

CREATE FUNCTION @extschema@.cs_order_tracking(id text, server text DEFAULT NULL)
RETURNS SETOF @extschema@.cs_shipments
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 2
AS 'MODULE_PATHNAME', 'cs_sql_order_tracking';
COMMENT ON FUNCTION @extschema@.cs_order_tracking(text, text) IS
'Asks the partner for the parcels of an order now and stores them; rows as in cs_shipments. Source: Cup Source v1 GET '
'/orders/{id}/tracking, v2 GET /orders/{id} (not documented; where it is not there, webhooks tell), CustomHub GET /api/v1/orders/{orderId}. '
'Errors: PA404 and 21000 as of cs_order, PA4xx (the partner refuses), PA001 to PA010 (no usable answer).';

CREATE FUNCTION @extschema@.cs_order_tracking(id bigint) RETURNS SETOF @extschema@.cs_shipments
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000 ROWS 2
AS 'MODULE_PATHNAME', 'cs_sql_order_tracking';
COMMENT ON FUNCTION @extschema@.cs_order_tracking(bigint) IS 'The same by local id.';

CREATE FUNCTION @extschema@.cs_cancel_order(id text, server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_cancel_order';
COMMENT ON FUNCTION @extschema@.cs_cancel_order(text, text) IS
'Cancels an order and returns its row: in this transaction while it is only queued, at the partner otherwise '
'(CustomHub, while ApprovalPending), where it does not roll back. A cancelled order is returned as it is. Errors: '
'PA012 (its state forbids it), PA400 ORDER_NOT_CANCELLABLE, 0A000 (the API cannot cancel), 55P03 (a transaction that '
'has not ended keeps it locked).';

CREATE FUNCTION @extschema@.cs_cancel_order(id bigint) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_cancel_order_local';
COMMENT ON FUNCTION @extschema@.cs_cancel_order(bigint) IS 'The same by local id.';

CREATE FUNCTION @extschema@.cs_resolve_order(id text, action text, remote_id text DEFAULT NULL,
  server text DEFAULT NULL) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_resolve_order';
COMMENT ON FUNCTION @extschema@.cs_resolve_order(text, text, text, text) IS
'Says what became of an uncertain or failed order: placed (with the partner''s remote_id; it is followed from now on), '
'retry (it is not there: send it again), failed (it is not there; whoever asks for it again has it made). PA012 in another state.';

CREATE FUNCTION @extschema@.cs_resolve_order(id bigint, action text, remote_id text DEFAULT NULL)
RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_resolve_order';
COMMENT ON FUNCTION @extschema@.cs_resolve_order(bigint, text, text) IS 'The same by local id.';

CREATE FUNCTION @extschema@.cs_quote_order(lines jsonb, ship_to jsonb, options jsonb DEFAULT NULL,
  server text DEFAULT NULL,
  OUT currency text, OUT items_subtotal numeric, OUT shipping_cost numeric,
  OUT shipping_category_fee numeric, OUT discount_amount numeric, OUT rush_fee numeric,
  OUT total numeric, OUT estimated boolean, OUT per_item jsonb, OUT raw jsonb)
LANGUAGE c VOLATILE PARALLEL UNSAFE COST 100000
AS 'MODULE_PATHNAME', 'cs_sql_quote_order';
COMMENT ON FUNCTION @extschema@.cs_quote_order(jsonb, jsonb, jsonb, text) IS
'What an order would cost, without placing it. Form as for cs_create_order, of which what has no price is not sent; designs need no url. CustomHub is asked '
'(POST /api/v1/orders/quote). Cup Source gives no quotes: the row is estimated from the prices of the cached catalogue, '
'says so (estimated), needs no address, and its total is that of the items alone, without shipping. Errors: 22023 (the '
'form; for an estimate also an item without a cached price), PA4xx (the partner refuses).';

CREATE FUNCTION @extschema@.cs_add_designs(order_id text, line integer, designs jsonb, server text DEFAULT NULL)
RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_add_designs';
COMMENT ON FUNCTION @extschema@.cs_add_designs(text, integer, jsonb, text) IS
'Adds designs [{url, placement, width_inches, height_inches, print_method}] to a line (from 1) of an order that is '
'still ApprovalPending, replacing those of the same placement; returns the order with its new cost (CustomHub; 0A000 '
'elsewhere). The partner''s answer is an event designs_added of cs_order_events. It does not roll back at the partner. Errors: PA409 ORDER_NOT_MUTABLE, PA400 as for cs_create_order.';

CREATE FUNCTION @extschema@.cs_add_designs(order_id bigint, line integer, designs jsonb) RETURNS @extschema@.cs_orders
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_add_designs';
COMMENT ON FUNCTION @extschema@.cs_add_designs(bigint, integer, jsonb) IS 'The same by local id.';

CREATE FUNCTION @extschema@.cs_resume(server text DEFAULT NULL) RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_resume';
COMMENT ON FUNCTION @extschema@.cs_resume(text) IS
'The partner takes requests again: ends the pause that it asked for (429, Retry-After), at once, and has the orders and '
'cancellations of this server that wait for their next try sent after COMMIT; returns how many. For the server''s owner (42501 for others).';

CREATE FUNCTION @extschema@.cs_adopt_queue() RETURNS bigint
LANGUAGE c VOLATILE PARALLEL UNSAFE
AS 'MODULE_PATHNAME', 'cs_sql_adopt_queue';
COMMENT ON FUNCTION @extschema@.cs_adopt_queue() IS
'Makes this cluster the one that sends the queued orders of this database, after a restore or on a copy that takes '
'over; returns how many open orders came with it. Whoever still runs the original then orders twice. Not granted to PUBLIC.';
REVOKE ALL ON FUNCTION @extschema@.cs_adopt_queue() FROM PUBLIC;
