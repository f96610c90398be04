-- An order that failed is submitted again under another external id, once: it
-- is not made under its own any more, whoever asks for that.
BEGIN;
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');

CREATE FUNCTION pg_temp.queue_po(external_id text) RETURNS text LANGUAGE sql AS $$
  SELECT state FROM cs_enqueue_order('[{"sku": "A", "quantity": 1}]',
    '{"name": "n", "line1": "l", "city": "c", "postal_code": "p", "country": "DE"}', external_id, NULL, 'hub') $$;
CREATE FUNCTION pg_temp.call_po(external_id text) RETURNS text LANGUAGE sql AS $$
  SELECT t.disposition FROM cs_internal.order_take(jsonb_build_object('server', 'hub', 'external_id', external_id, 'lines',
    '[{"sku": "A", "quantity": 1}]'::jsonb, 'ship_to', '{"name": "n", "line1": "l", "city": "c", "postal_code": "p", "country": "DE"}'::jsonb,
    'created_by', 'erp', 'xid', '3')) AS t $$;
CREATE FUNCTION pg_temp.become(which text, state text) RETURNS void LANGUAGE sql AS $$
  UPDATE cs_internal.orders AS o SET state = become.state WHERE o.external_id = which $$;

SELECT plan(19);

SELECT pg_temp.queue_po('po'), pg_temp.become('po', 'failed');
SELECT is((SELECT state FROM cs_resubmit_order('po', 'po-2')), 'queued', 'a failed order is submitted again');
SELECT is(r.replaces, o.id, 'the new one replaces it')
  FROM cs_internal.orders AS r, cs_internal.orders AS o WHERE r.external_id = 'po-2' AND o.external_id = 'po';
SELECT is((SELECT lines FROM cs_orders WHERE external_id = 'po-2'), '[{"sku": "A", "quantity": 1}]', 'with what it was to be');
SELECT is((SELECT external_id FROM cs_resubmit_order('po', 'po-2')), 'po-2', 'whoever says so again gets the same');
SELECT is((SELECT count(*) FROM cs_orders), 2::bigint, 'and not another');

SELECT throws_ok($$SELECT cs_resubmit_order('po', 'po-3')$$, 'PA012', 'order "po" was submitted again as "po-2"', 'a third name would order twice');
SELECT throws_ok($$SELECT cs_resolve_order('po', 'retry')$$, 'PA012', 'order "po" was submitted again as "po-2"', 'and so would its own');
SELECT is(pg_temp.call_po('po'), 'error', 'who calls for it by its own name gets its failure');
SELECT is(pg_temp.queue_po('po'), 'failed', 'who queues it finds it failed');
UPDATE cs_internal.orders SET path = 'call' WHERE external_id = 'po';
SELECT is(pg_temp.queue_po('po'), 'failed', 'also if it was called for the first time');

-- Once the other one has come to nothing, it may be tried again.
SELECT pg_temp.become('po-2', 'placed');
SELECT throws_ok($$SELECT cs_resubmit_order('po', 'po-3')$$, 'PA012', NULL, 'placed, it stays the one');
SELECT pg_temp.become('po-2', 'cancelled');
SELECT is((SELECT state FROM cs_resubmit_order('po', 'po-3')), 'queued', 'cancelled, it is not');
SELECT throws_ok($$SELECT cs_resubmit_order('po', 'po-4')$$, 'PA012', 'order "po" was submitted again as "po-3"', 'but the next is');

-- A cancelled one is not queued again by its own name either.
SELECT pg_temp.queue_po('gone'), pg_temp.become('gone', 'cancelled');
SELECT is(pg_temp.call_po('gone'), 'new', 'a cancelled order that was never sent may be called for');
SELECT pg_temp.become('gone', 'cancelled');
SELECT is((SELECT state FROM cs_resubmit_order('gone', 'gone-2')), 'queued', 'or submitted again');
SELECT is(pg_temp.call_po('gone'), 'cancelled', 'not both');

-- What was not submitted again is as it was.
SELECT pg_temp.queue_po('other'), pg_temp.become('other', 'failed');
SELECT is((SELECT state FROM cs_resolve_order('other', 'retry')), 'queued', 'a failed order is retried');
SELECT throws_ok($$SELECT cs_resubmit_order('other', 'other-2')$$, 'PA012', NULL, 'and then not submitted again');
SELECT pg_temp.become('other', 'failed');
SELECT throws_ok($$SELECT cs_resubmit_order('other', NULL)$$, '22004', NULL, 'without a name there is nothing to submit');

SELECT * FROM finish();
ROLLBACK;
