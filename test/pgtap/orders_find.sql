-- An order is found by what it may be called, and nobody reads all orders for it:
-- neither once there are many, nor with plans that were made while there were none.
BEGIN;
SELECT plan(22);

CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');

CREATE FUNCTION pg_temp.found(wanted text, local_id bigint, server text DEFAULT NULL, who text DEFAULT current_user) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
  RETURN (SELECT concat_ws(' ', s.srvname, f.id)
            FROM cs_internal.order_find(wanted, local_id, server, who::regrole) AS f JOIN pg_foreign_server AS s ON s.oid = f.serverid);
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE;
END $$;

-- Rows of orders that sequential scans, and scans of indexes, have read in this transaction.
CREATE FUNCTION pg_temp.rows_read() RETURNS bigint LANGUAGE sql AS $$
  SELECT (SELECT pg_stat_get_xact_tuples_returned('cs_internal.orders'::regclass))
       + (SELECT sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) FROM pg_index AS i WHERE i.indrelid = 'cs_internal.orders'::regclass)
$$;

-- What a function reads of orders, beside what it finds.
CREATE FUNCTION pg_temp.reading(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  before bigint := pg_temp.rows_read();
BEGIN
  EXECUTE query;
  RETURN pg_temp.rows_read() - before;
END $$;

-- ---- There are none yet ----
SELECT is(pg_temp.found('po', NULL), 'PA404', 'there is no order');
SELECT lives_ok($$ SELECT cs_internal.order_not_replaced(1) $$, 'that another one could replace');

-- ---- There are many ----
INSERT INTO cs_internal.orders (id, server, external_id, state, lines, created_by, origin, remote_id, next_attempt_at)
SELECT n, 'hub', 'po-' || n, 'failed', '[]', 'erp', cs_internal.origin(), 'remote-' || n, NULL FROM generate_series(1, 3000) AS n;
INSERT INTO cs_internal.orders (id, server, external_id, state, lines, created_by, origin, remote_id, next_attempt_at, replaces)
VALUES (4001, 'shop', 'po-7', 'placed', '[]', 'erp', cs_internal.origin(), 'po-7', NULL, NULL),
       (4002, 'shop', '8', 'placed', '[]', 'erp', cs_internal.origin(), 'r', NULL, 9),
       (4003, 'shop', 'alone', 'placed', '[]', 'erp', cs_internal.origin(), 'remote-10', NULL, NULL);

SELECT is(pg_temp.found('po-5', NULL), 'hub 5', 'by its external id');
SELECT is(pg_temp.found('remote-5', NULL), 'hub 5', 'by the partner''s');
SELECT is(pg_temp.found('5', 5), 'hub 5', 'by a text that is the local one');
SELECT is(pg_temp.found(NULL, 5), 'hub 5', 'by the local one');
SELECT is(pg_temp.found('5', 5, 'hub'), 'PA404', 'which no text is where the server is named');
SELECT is(pg_temp.found('po-7', NULL, 'shop'), 'shop 4001', 'once, where both its ids are the same');
SELECT is(pg_temp.found('po-7', NULL), '21000', 'not where two servers have it');
SELECT is(pg_temp.found('8', 8), '21000', 'nor where it is the local id of another one');
SELECT is(pg_temp.found('remote-10', NULL, 'hub'), 'hub 10', 'of the server that is named');
SELECT is(pg_temp.found('po-5', NULL, 'shop'), 'PA404', 'and of no other');

CREATE ROLE stranger;
SELECT is(pg_temp.found(NULL, 5, NULL, 'stranger') || pg_temp.found('po-5', NULL, NULL, 'stranger'), 'PA404PA404', 'for who may use the server');
GRANT USAGE ON FOREIGN SERVER hub TO stranger;
SELECT is(pg_temp.found('po-7', NULL, NULL, 'stranger'), 'hub 7', 'who does not learn of others''');

SELECT throws_ok($$ SELECT cs_internal.order_not_replaced(9) $$, 'PA012', 'order "po-9" was submitted again as "8"', 'an order that was replaced');

SELECT cmp_ok(pg_temp.reading($$ SELECT * FROM cs_internal.order_find('po-77', NULL, NULL, 10) $$), '<=', 4::bigint, 'a text is looked up in the indexes');
SELECT cmp_ok(pg_temp.reading($$ SELECT * FROM cs_internal.order_find(NULL, 77, NULL, 10) $$), '<=', 4::bigint, 'so is a local id');
SELECT cmp_ok(pg_temp.reading($$ SELECT cs_internal.order_not_replaced(77) $$), '<=', 4::bigint, 'and what replaces an order');
-- What waits, is on the wire or is in doubt is few of all, whoever looks at it every second.
INSERT INTO cs_internal.orders (id, server, external_id, state, lines, created_by, origin, next_attempt_at)
SELECT n, 'hub', state, state, '[]', 'erp', cs_internal.origin(), due
  FROM (VALUES (5001, 'queued', now()), (5002, 'sending', now()), (5003, 'cancelling', now()), (5004, 'uncertain', NULL)) AS w (n, state, due);
SELECT is((SELECT string_agg(external_id, ' ' ORDER BY order_id) FROM cs_queue), 'queued sending cancelling uncertain', 'the queue shows these');
SELECT cmp_ok(pg_temp.reading($$ SELECT * FROM cs_queue $$), '<=', 20::bigint, 'and does not read the others');
SELECT cmp_ok(pg_temp.reading($$ SELECT * FROM cs_queue WHERE server = 'shop' $$), '<=', 20::bigint, 'nor does one account''s');

SELECT cmp_ok(pg_temp.reading($$ SELECT count(*) FROM cs_internal.orders $$), '>=', 3000::bigint, 'while all orders are more');

SELECT * FROM finish();
ROLLBACK;
