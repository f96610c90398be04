/*
 * tables.sql
 *	  Webhooks as they were received.
 *
 * A row is written once, with the payload; what is filled in later is which
 * order it is about.  What an order's events say together is worked out anew
 * from all of them whenever one comes, so it does not matter in which order
 * they come (apply.sql).
 */

CREATE TABLE cs_internal.webhook_events (
  server text COLLATE "C" NOT NULL,
  event_id text COLLATE "C" NOT NULL,
  type text,
  at timestamptz NOT NULL,
  remote_id text COLLATE "C",
  order_number text COLLATE "C",
  remote_status text,
  state text COLLATE "C",
  rejection_reason text,
  parcels jsonb,
  problem text,
  payload jsonb NOT NULL,
  received_at timestamptz NOT NULL,
  order_id bigint,
  applied_at timestamptz,
  unseen boolean NOT NULL DEFAULT false,
  doubted text,
  PRIMARY KEY (server, event_id)
);
COMMENT ON TABLE cs_internal.webhook_events IS
'Every event that a partner''s webhook brought, once; the view cs_webhook_events shows it. at: when it happened, by the '
'partner''s clock; without that, when it was received. state: what remote_status means here. parcels: '
'[{shipment_id, tracking_number, carrier, ...}]. problem: fields that could not be read. order_id: the order that it was '
'applied to; NULL with a remote_id or an order_number: it waits for an order of that name. unseen: no worker has looked for '
'its order yet. '
'doubted: a status that may be the order''s or that of a part of it, so the partner is asked.';
REVOKE ALL ON cs_internal.webhook_events FROM PUBLIC;

CREATE INDEX webhook_events_order ON cs_internal.webhook_events (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX webhook_events_waiting ON cs_internal.webhook_events (server, remote_id)
  WHERE order_id IS NULL AND remote_id IS NOT NULL;
CREATE INDEX webhook_events_numbered ON cs_internal.webhook_events (server, order_number)
  WHERE order_id IS NULL AND order_number IS NOT NULL;
CREATE INDEX webhook_events_unseen ON cs_internal.webhook_events (received_at) WHERE unseen;
CREATE INDEX webhook_events_received ON cs_internal.webhook_events (server, received_at);

SELECT pg_catalog.pg_extension_config_dump('cs_internal.webhook_events', '');
