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

SELECT plan(39);

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
SELECT throws_ok($$SELECT cs_resolve_order('po', 'retry')$$, 'PA012', 'order "po" was submitted again', 'cancelled, its first name stays used up');
SELECT is(cs_internal.order_advice(id), format('Use cs_resubmit_order(%s, ...) to have it sent under a new external id.', id),
  'not because of what the partner has said to it') FROM cs_internal.orders WHERE external_id = 'po';
SELECT is((SELECT state FROM cs_resubmit_order('po', 'po-3')), 'queued', 'but there may be a third');
SELECT is(cs_internal.order_advice(id), 'It was submitted again as "po-3".', 'of which is told then') FROM cs_internal.orders WHERE external_id = 'po';
SELECT throws_ok($$SELECT cs_resubmit_order('po', 'po-4')$$, 'PA012', 'order "po" was submitted again as "po-3"', 'but the next is');

-- A cancelled one is not queued again by its own name either.
SELECT pg_temp.queue_po('gone'), pg_temp.become('gone', 'cancelled');
SELECT is(pg_temp.call_po('gone'), 'new', 'a cancelled order that was never sent may be called for');
SELECT pg_temp.become('gone', 'cancelled');
SELECT is((SELECT state FROM cs_resubmit_order('gone', 'gone-2')), 'queued', 'or submitted again');
SELECT is(pg_temp.call_po('gone'), 'cancelled', 'not both');

-- While somebody has it cancelled, nobody gets it, and nobody is told that it is cancelled.
SELECT pg_temp.queue_po('going'), pg_temp.become('going', 'cancelling');
SELECT is(pg_temp.call_po('going'), 'cancelling', 'whoever calls for an order that is being cancelled is told so');
UPDATE cs_internal.orders SET state = 'sending', cancel_requested_at = now() WHERE external_id = 'going';
SELECT is(pg_temp.call_po('going'), 'cancelling', 'also while that waits for its outcome');
UPDATE cs_internal.orders SET caller_xids = '{3}', lost_at = now() WHERE external_id = 'going';
SELECT is(pg_temp.call_po('going'), 'wait', 'but for one that nobody had come back for');

-- What was not submitted again is as it was.
SELECT pg_temp.queue_po('other'), pg_temp.become('other', 'failed');
SELECT is((SELECT state FROM cs_resolve_order('other', 'retry')), 'queued', 'a failed order is retried');
SELECT throws_ok($$SELECT cs_resubmit_order('other', 'other-2')$$, 'PA012', NULL, 'and then not submitted again');
SELECT pg_temp.become('other', 'failed');
SELECT throws_ok($$SELECT cs_resubmit_order('other', NULL)$$, '22004', NULL, 'without a name there is nothing to submit');

-- Of an order, and all that it was submitted again as, one at most is made.
SELECT pg_temp.queue_po('a'), pg_temp.become('a', 'failed'), cs_resubmit_order('a', 'b'), pg_temp.become('b', 'failed');
SELECT is((SELECT state FROM cs_resubmit_order('b', 'c')), 'queued', 'the second order may be submitted again, too');
SELECT throws_ok($$SELECT cs_resubmit_order('a', 'd')$$, 'PA012', 'order "a" was submitted again as "c"', 'the first one is not, then');
SELECT throws_ok($$SELECT cs_resolve_order('a', 'retry')$$, 'PA012', 'order "a" was submitted again as "c"', 'nor sent again');
SELECT pg_temp.become('c', 'failed');
SELECT is((SELECT state FROM cs_resubmit_order('a', 'd')), 'queued', 'unless that has failed as well');
SELECT throws_ok($$SELECT cs_resolve_order('c', 'retry')$$, 'PA012', 'order "c" was submitted again as "d"', 'which is not sent again by its own name, then');
SELECT is(pg_temp.call_po('c'), 'error', 'whoever calls for it');
SELECT is(pg_temp.queue_po('b'), 'failed', 'or queues the other one');
SELECT throws_ok($$SELECT cs_resubmit_order('b', 'e')$$, 'PA012', 'order "b" was submitted again as "d"', 'nor by another name');
SELECT is((SELECT string_agg(external_id, ' ') FROM cs_orders WHERE external_id IN ('a', 'b', 'c', 'd', 'e') AND state <> 'failed'), 'd', 'one is made');
SELECT pg_temp.become('d', 'failed');
SELECT is((SELECT state FROM cs_resolve_order('d', 'retry')), 'queued', 'the last one is sent again like any that failed');
SELECT pg_temp.become('d', 'failed'), pg_temp.become('a', 'placed');
SELECT throws_ok($$SELECT cs_resubmit_order('d', 'e')$$, 'PA012', 'order "a" was submitted again as "d"', 'not if the first one turns out to be there');

-- The new name is new.
SELECT pg_temp.become('other', 'failed');
SELECT throws_ok($$SELECT cs_resubmit_order('other', 'other')$$, '23505', NULL, 'its own name is not a new one');
SELECT throws_ok($$SELECT cs_resubmit_order('other', 'po')$$, '23505', NULL, 'and that of another order neither');
SELECT is((SELECT state FROM cs_resolve_order('other', 'retry')), 'queued', 'it is what it was');

SELECT * FROM finish();
ROLLBACK;
