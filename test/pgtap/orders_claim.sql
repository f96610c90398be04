-- Whose the queue and the schedule are: of who has said what is to be done
-- here, unless the database is a copy.  The transaction ends before a worker looks.
BEGIN;
SELECT plan(29);

CREATE FUNCTION pg_temp.claims() RETURNS text LANGUAGE sql AS $$
  SELECT coalesce(string_agg(CASE origin WHEN cs_internal.origin() THEN 'ours' ELSE origin END, ' ' ORDER BY origin = cs_internal.origin(), origin),
                  'none') FROM cs_internal.queue_claim $$;
CREATE FUNCTION pg_temp.ours() RETURNS boolean LANGUAGE sql AS $$
  SELECT EXISTS (SELECT FROM cs_internal.queue_is_ours()) $$;
CREATE FUNCTION pg_temp.queue_po(external_id text) RETURNS text LANGUAGE sql AS $$
  SELECT state FROM cs_enqueue_order('[{"sku": "A", "quantity": 1}]',
    '{"name": "n", "line1": "l", "city": "c", "postal_code": "p", "country": "DE"}', external_id, NULL, 'hub') $$;

-- ---- Nobody has done anything ----
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
SELECT ok(cs_internal.claim_queue(), 'a queue without orders is held by nobody');
SELECT is(pg_temp.claims(), 'none', 'and claimed by nobody for that');
SELECT ok(NOT pg_temp.ours(), 'so that nothing is refreshed by schedule');

-- ---- A dump is being restored ----
SET LOCAL check_function_bodies = off;
ALTER SERVER hub OPTIONS (ADD refresh_interval '1 day');
SELECT is(pg_temp.claims(), 'none', 'a server that is restored claims nothing');

-- ---- A user configures a schedule ----
SET LOCAL check_function_bodies = on;
ALTER SERVER hub OPTIONS (SET refresh_interval '2 days');
SELECT is(pg_temp.claims(), 'ours', 'a server that is configured claims its schedule');
SELECT ok(pg_temp.ours(), 'which holds');
ALTER SERVER hub OPTIONS (SET refresh_interval '3 days');
SELECT is(pg_temp.claims(), 'ours', 'once');

-- ---- Or refreshes, or orders ----
DELETE FROM cs_internal.queue_claim;
SELECT FROM cs_internal.refresh_begin('hub', false, 1);
SELECT is(pg_temp.claims(), 'ours', 'so does a refresh');
DELETE FROM cs_internal.queue_claim;
SELECT is(pg_temp.queue_po('po'), 'queued', 'an order');
SELECT ok(cs_internal.claim_queue(), 'that the worker finds');
SELECT is(pg_temp.claims(), 'ours', 'claims its queue');

-- ---- The claim of a dump ----
INSERT INTO cs_internal.queue_claim (origin) VALUES ('original');
SELECT ok(NOT cs_internal.claim_queue() AND NOT pg_temp.ours(), 'a claim that is restored counts, whatever was here');
SELECT is((SELECT concat_ws(' ', count(*), min(reason)) FROM cs_queue), '1 held: this database is a copy, see cs_adopt_queue',
  'its orders are held, each of them shown once');
SELECT is((SELECT concat_ws(' ', waiting, held) FROM cs_stat_orders), '0 1', 'and counted as that');
UPDATE cs_internal.orders SET state = 'placed', next_attempt_at = NULL, poll_at = now();
SELECT is((SELECT concat_ws(' ', waiting, held) FROM cs_stat_orders), '0 1', 'one that is placed is not followed, and counted, too');
SELECT is((SELECT status FROM cs_health() WHERE check_name = 'hold'), 'warn', 'which somebody is told');
UPDATE cs_internal.orders SET state = 'queued', next_attempt_at = now(), poll_at = NULL;
DELETE FROM cs_internal.queue_claim WHERE origin <> 'original';
ALTER SERVER hub OPTIONS (SET refresh_interval '4 days');
SELECT is(pg_temp.claims(), 'original', 'nobody claims a copy');
DELETE FROM cs_internal.queue_claim;
UPDATE cs_internal.orders SET origin = 'original';
SELECT ok(NOT cs_internal.claim_queue(), 'orders of the original without its claim make a copy, too');
ALTER SERVER hub OPTIONS (SET refresh_interval '5 days');
SELECT is(pg_temp.claims(), 'none', 'which nobody claims either');

-- ---- Adopted ----
INSERT INTO cs_internal.queue_claim (origin) VALUES ('original'), (cs_internal.origin());
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class AS c
  WHERE c.relnamespace = 'cs_internal'::regnamespace AND c.relkind = 'r' AND c.relreplident <> 'f'
    AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary) $$,
  'each table says which of its rows is deleted');
SET LOCAL client_min_messages = error;
CREATE PUBLICATION everything FOR ALL TABLES;
SELECT is(cs_adopt_queue(), 1::bigint, 'a copy is adopted with its orders, also where all tables are published');
SELECT is(pg_temp.claims(), 'ours', 'and is nobody else''s any more');

-- Logical replication has brought rows, but not where their sequences stand.
SELECT FROM setval('cs_internal.order_id', 1, false) AS o, setval('cs_internal.order_event_id', 1, false) AS e;
UPDATE cs_internal.orders SET id = 1, origin = 'original';
UPDATE cs_internal.order_events SET order_id = 1, id = 1;
SELECT is(cs_adopt_queue(), 1::bigint, 'one with sequences that stand behind its rows');
SELECT is(pg_temp.queue_po('po-2'), 'queued', 'which has a number for the next order');

-- Of the callers of another cluster nothing is known, but of those that it saw to roll back.
INSERT INTO cs_internal.orders (server, external_id, path, lines, created_by, origin, caller_xids, lost_at)
VALUES ('hub', 'undecided', 'call', '[]', 'erp', 'original', '{3}', NULL), ('hub', 'lost', 'call', '[]', 'erp', 'original', '{3}', now());
SELECT is(cs_adopt_queue(), 2::bigint, 'orders that were called for are adopted');
SELECT is((SELECT string_agg(o.external_id, ' ') FROM cs_internal.callers_settle('0 s') AS s JOIN cs_internal.orders AS o USING (id)), 'lost',
  'what nobody wants is not sent by who adopts it');
SELECT is((SELECT string_agg(o.external_id, ' ') FROM cs_internal.orders_claim('hub', 10, '{}') AS c JOIN cs_internal.orders AS o USING (id)
            WHERE o.path = 'call'), 'undecided', 'the rest is');

-- It may be there, and its caller has left: sent again only if the partner knows it for the same.
INSERT INTO cs_internal.orders (server, external_id, path, lines, created_by, origin, caller_xids, attempts)
VALUES ('shop', 'left', 'call', '[]', 'erp', cs_internal.origin(), ARRAY[pg_current_xact_id()], 1);
SELECT is((SELECT external_id FROM cs_internal.orders_claim('shop', 10, '{}', true)), 'left', 'asking again tells');
SELECT is_empty($$SELECT external_id FROM cs_internal.orders_claim('shop', 10, '{}', false)$$, 'or would order twice what nobody may want');

SELECT * FROM finish();
ROLLBACK;
