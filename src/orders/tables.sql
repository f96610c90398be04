/*
 * tables.sql
 *	  Orders and what happened to them.
 *
 * An order is one row from its first day to its last.  Queueing it writes that
 * row and nothing else, because it happens in somebody else's transaction;
 * events, attempts and shipments are written by the worker.
 *
 * No table here has a trigger: a restore would fire it, and would order again.
 */

CREATE SEQUENCE cs_internal.order_id AS bigint;
COMMENT ON SEQUENCE cs_internal.order_id IS 'Local order ids.';
REVOKE ALL ON SEQUENCE cs_internal.order_id FROM PUBLIC;

-- The one shape in which the answers of all partners are stored.
CREATE TYPE cs_internal.remote_order AS (
  remote_id text,
  external_id text,
  order_number text,
  remote_status text,
  currency text,
  items_subtotal numeric,
  shipping_cost numeric,
  shipping_category_fee numeric,
  discount_amount numeric,
  rush_fee numeric,
  total numeric,
  cost jsonb,
  item_count integer,
  remote_created_at timestamptz,
  last_shipped_at timestamptz,
  cancelled_at timestamptz,
  rejection_reason text
);
COMMENT ON TYPE cs_internal.remote_order IS
'An order as a partner shows it: what its answers to creating, reading and cancelling have in common.';

-- What went wrong, as it is stored with the order.
CREATE TYPE cs_internal.order_error AS (
  sqlstate text,
  code text,
  message text,
  detail text,
  hint text
);
COMMENT ON TYPE cs_internal.order_error IS
'A failure: SQLSTATE PA..., the partner''s error code, message, detail and hint.';

CREATE TABLE cs_internal.orders (
  id bigint NOT NULL DEFAULT pg_catalog.nextval('cs_internal.order_id'),
  server text COLLATE "C" NOT NULL,
  external_id text COLLATE "C" NOT NULL,
  path text COLLATE "C" NOT NULL DEFAULT 'queue',
  state text COLLATE "C" NOT NULL DEFAULT 'queued',

  -- what is wanted
  lines jsonb NOT NULL,
  ship_to jsonb,
  options jsonb,
  replaces bigint,
  created_by text NOT NULL,
  origin text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),

  -- what was sent
  body bytea,
  attempts integer NOT NULL DEFAULT 0,
  sent_at timestamptz,
  next_attempt_at timestamptz DEFAULT pg_catalog.now(),

  -- what the partner says
  remote_id text COLLATE "C",
  remote cs_internal.remote_order,
  raw jsonb,
  placed_at timestamptz,
  fetched_at timestamptz,
  poll_at timestamptz,

  -- what went wrong last
  error cs_internal.order_error,
  is_final boolean NOT NULL DEFAULT false,

  -- who asked by the call path, and whether they stood by it
  caller_xids xid8[],
  lost_at timestamptz,
  cancel_requested_at timestamptz,
  changed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),

  -- since when the partner has been asked about it in vain
  failing_since timestamptz,

  PRIMARY KEY (id),
  UNIQUE (server, external_id)
);
COMMENT ON TABLE cs_internal.orders IS
'Every order, one row each; the view cs_orders shows it. It has few columns and no CHECK, because each costs at every '
'INSERT of a user: that state and path are among the known ones is the transitions'' business, which alone write here. '
'path: queue or call. body: the exact bytes of the request, stored before they are first sent and sent again unchanged. '
'origin: the cluster that may send it (cs_internal.origin()). caller_xids: call path only; the (sub)transactions that '
'asked for the order, NULL once one of them has committed. is_final: the partner refused this external id for good, or it was submitted again. '
'cancel_requested_at: wanted while it was on the wire. Names compare in collation C, as those of the catalogs do: an '
'index on server could not be used for a server''s name otherwise.';
COMMENT ON COLUMN cs_internal.orders.next_attempt_at IS
'queued: when it may be sent; cancelling: when the cancellation may be sent; sending: not NULL; otherwise NULL.';
COMMENT ON COLUMN cs_internal.orders.lost_at IS
'When all callers were first seen to have rolled back.';
REVOKE ALL ON cs_internal.orders FROM PUBLIC;

-- What waits, or is on the wire; calls ('call') before the queue ('queue'), then by due time.
CREATE INDEX orders_due ON cs_internal.orders (server, state, path, next_attempt_at, id)
  WITH (deduplicate_items = off)
  WHERE next_attempt_at IS NOT NULL;
CREATE INDEX orders_poll ON cs_internal.orders (server, poll_at) WHERE poll_at IS NOT NULL;
CREATE INDEX orders_remote ON cs_internal.orders (server, remote_id) WHERE remote_id IS NOT NULL;
CREATE INDEX orders_number ON cs_internal.orders (server, ((remote).order_number)) WHERE (remote).order_number IS NOT NULL;
CREATE INDEX orders_uncertain ON cs_internal.orders (server, changed_at) WHERE state = 'uncertain';
CREATE INDEX orders_failed ON cs_internal.orders (server, changed_at) WHERE state = 'failed' AND path = 'queue';
CREATE INDEX orders_failing ON cs_internal.orders (server, failing_since) WHERE failing_since IS NOT NULL;
CREATE INDEX orders_replaces ON cs_internal.orders (replaces) WHERE replaces IS NOT NULL;
CREATE INDEX orders_callers ON cs_internal.orders (id) WHERE caller_xids IS NOT NULL;

CREATE SEQUENCE cs_internal.order_event_id AS bigint;
COMMENT ON SEQUENCE cs_internal.order_event_id IS 'Ids of order events, in the order of their storing.';
REVOKE ALL ON SEQUENCE cs_internal.order_event_id FROM PUBLIC;

CREATE TABLE cs_internal.order_events (
  id bigint NOT NULL DEFAULT pg_catalog.nextval('cs_internal.order_event_id'),
  order_id bigint NOT NULL,
  at timestamptz NOT NULL,
  source text NOT NULL,
  type text NOT NULL,
  by text,
  detail jsonb,
  fingerprint text,
  PRIMARY KEY (order_id, id)
);
COMMENT ON TABLE cs_internal.order_events IS
'What happened to an order: here (local: the state that it entered) and at the partner (remote: CustomHub''s events[], Cup Source''s webhooks). '
'fingerprint: tells remote events of an order apart, so that each is stored once. No CHECK here either: only the transitions write.';
REVOKE ALL ON cs_internal.order_events FROM PUBLIC;
CREATE UNIQUE INDEX order_events_remote ON cs_internal.order_events (order_id, fingerprint)
  WHERE fingerprint IS NOT NULL;

CREATE TABLE cs_internal.order_attempts (
  order_id bigint NOT NULL,
  attempt integer NOT NULL,
  started_at timestamptz NOT NULL,
  duration_ms integer,
  status integer,
  delivery text NOT NULL,
  failure text,
  error_sqlstate text,
  error_message text,
  PRIMARY KEY (order_id, attempt)
);
COMMENT ON TABLE cs_internal.order_attempts IS
'Each request that was to place an order. delivery: not_sent (for certain), answered, unknown (it may have arrived).';
REVOKE ALL ON cs_internal.order_attempts FROM PUBLIC;

CREATE TABLE cs_internal.shipments (
  order_id bigint NOT NULL,
  shipment_id text NOT NULL,
  carrier text,
  tracking_number text,
  tracking_url text,
  status text,
  estimated_delivery timestamptz,
  signature_required boolean,
  shipped_at timestamptz,
  raw jsonb,
  fetched_at timestamptz NOT NULL,
  PRIMARY KEY (order_id, shipment_id)
);
COMMENT ON TABLE cs_internal.shipments IS
'Parcels of an order. shipment_id: the partner''s, else the tracking number, else the parcel''s place in the list.';
REVOKE ALL ON cs_internal.shipments FROM PUBLIC;

CREATE TABLE cs_internal.queue_claim (
  origin text NOT NULL,
  claimed_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE cs_internal.queue_claim IS
'The database (cs_internal.origin()) whose worker sends these orders and whose schedule holds. '
'A restored or copied database finds another cluster''s name here and holds its queue until cs_adopt_queue(). '
'The row of a dump fits beside one that is there, and then counts.';
REVOKE ALL ON cs_internal.queue_claim FROM PUBLIC;

-- It has no key, and a row is deleted also where all tables are published.
ALTER TABLE cs_internal.queue_claim REPLICA IDENTITY FULL;

SELECT pg_catalog.pg_extension_config_dump('cs_internal.orders', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.order_id', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.order_events', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.order_event_id', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.order_attempts', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.shipments', '');
SELECT pg_catalog.pg_extension_config_dump('cs_internal.queue_claim', '');
