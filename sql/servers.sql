--
-- servers: orders are not lost with their server, whatever drops it
--
-- The queue is on hold, so that nothing but this session moves.
\set VERBOSITY default
\set SHOW_CONTEXT never
INSERT INTO cs_internal.queue_claim (origin) VALUES ('another cluster');
CREATE ROLE regress_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER cupsource TO regress_owner;
CREATE FUNCTION pg_temp.queue_po(external_id text, server text) RETURNS text LANGUAGE sql AS $$
  SELECT state FROM cs_enqueue_order('[{"sku": "A", "quantity": 1}]',
    '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}', external_id, '{"currency": "USD"}', server) $$;
SET ROLE regress_owner;
CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1');
CREATE SERVER other FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1');
SELECT pg_temp.queue_po('po-1', 'shop');
RESET ROLE;

-- Every way to drop it is refused while an order waits.
DROP SERVER shop;
DROP SERVER other, shop CASCADE;
DROP OWNED BY regress_owner CASCADE;
DROP FOREIGN DATA WRAPPER cupsource CASCADE;
DO $$ BEGIN EXECUTE 'DROP OWNED BY regress_owner CASCADE'; END $$;

-- One that was refused leaves nothing to be refused later.
BEGIN;
SAVEPOINT before;
DROP SERVER shop;
ROLLBACK TO before;
DROP SERVER other;
ROLLBACK;
SELECT srvname FROM pg_foreign_server ORDER BY srvname;

-- Queued and dropped in one transaction.
BEGIN;
SELECT pg_temp.queue_po('po-2', 'other');
DROP SERVER other;
ROLLBACK;

-- What waits was made for its API, and nothing else changes with another address.
ALTER SERVER shop OPTIONS (SET api 'cupsource-v2', ADD base_url 'http://127.0.0.1:9/v2');
ALTER SERVER shop OPTIONS (SET api 'cupsource-v1', ADD base_url 'http://127.0.0.1:9/v1');
ALTER SERVER other OPTIONS (SET api 'customhub-v1');

-- With its orders settled it can go, or be another's.
SELECT state FROM cs_cancel_order('po-1');
ALTER SERVER shop OPTIONS (SET api 'cupsource-v2', SET base_url 'http://127.0.0.1:9/v2');
DROP OWNED BY regress_owner CASCADE;
SELECT count(*) FROM pg_foreign_server;

-- The extension takes its orders along, as it says.
CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1');
SELECT pg_temp.queue_po('po-3', 'shop');
DROP FUNCTION pg_temp.queue_po;
\set VERBOSITY terse
SET client_min_messages = warning;
DROP EXTENSION cupsource CASCADE;
SELECT count(*) FROM pg_foreign_server;
CREATE EXTENSION cupsource;

DROP ROLE regress_owner;
