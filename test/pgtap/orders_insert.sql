-- A queued order's row is inserted without a statement (src/orders/insert.c):
-- whatever is done to the table holds for it all the same.
BEGIN;
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
CREATE EXTENSION amcheck;

CREATE TEMP TABLE erp (po text, quantity int);
CREATE FUNCTION pg_temp.lines_of(erp) RETURNS jsonb LANGUAGE sql AS $$
  SELECT jsonb_build_array(jsonb_build_object('sku', 'A-' || $1.po, 'quantity', $1.quantity)) $$;
CREATE FUNCTION pg_temp.ship_to(erp) RETURNS jsonb LANGUAGE sql AS $$
  SELECT '{"name": "n", "line1": "l", "city": "c", "postal_code": "p", "country": "DE"}'::jsonb $$;
CREATE TRIGGER submit AFTER INSERT ON erp FOR EACH ROW EXECUTE FUNCTION
  cs_submit_order('server=hub', 'external_id=po', 'lines=pg_temp.lines_of()', 'ship_to=pg_temp.ship_to()');

SELECT plan(27);

-- ---- what is in the row ----

CREATE ROLE erp_user;
GRANT USAGE ON FOREIGN SERVER hub TO erp_user;
GRANT INSERT ON erp TO erp_user;
SET LOCAL ROLE erp_user;
INSERT INTO erp VALUES ('a', 1);
RESET ROLE;
SELECT is((SELECT to_jsonb(o) - 'id' - 'origin' - 'created_at' - 'changed_at' - 'next_attempt_at' FROM cs_internal.orders AS o),
  jsonb_build_object('server', 'hub', 'external_id', 'a', 'path', 'queue', 'state', 'queued',
    'lines', '[{"sku": "A-a", "quantity": 1}]'::jsonb,
    'ship_to', '{"name": "n", "line1": "l", "city": "c", "postal_code": "p", "country": "DE"}'::jsonb, 'options', NULL,
    'replaces', NULL, 'created_by', 'erp_user', 'body', NULL, 'attempts', 0, 'sent_at', NULL, 'remote_id', NULL, 'remote', NULL,
    'raw', NULL, 'placed_at', NULL, 'fetched_at', NULL, 'poll_at', NULL, 'error', NULL, 'is_final', false, 'caller_xids', NULL,
    'lost_at', NULL, 'cancel_requested_at', NULL, 'failing_since', NULL),
  'what is given, and the defaults of the table');
SELECT ok(id = currval('cs_internal.order_id') AND origin = cs_internal.origin() AND created_at = now() AND changed_at = now()
  AND next_attempt_at = now(), 'those that are computed, too') FROM cs_internal.orders;

SELECT is((SELECT count(*) FROM pg_backend_memory_contexts WHERE ident LIKE 'INSERT INTO cs_internal.orders%'), 0::bigint,
  'without a statement, whatever indexes there are');

INSERT INTO erp SELECT 'bulk' || n, 1 + n % 7 FROM generate_series(1, 500) AS n;
SELECT is((SELECT count(*) FROM cs_internal.orders WHERE external_id LIKE 'bulk%'), 500::bigint, '500 rows of one INSERT');
SELECT lives_ok(format('SELECT bt_index_check(%L, true)', indexrelid::regclass), 'sound: ' || indexrelid::regclass)
  FROM pg_index WHERE indrelid = 'cs_internal.orders'::regclass ORDER BY indexrelid;

-- ---- the external id ----

INSERT INTO erp VALUES ('twice', 2), ('twice', 2);
SELECT is((SELECT count(*) FROM cs_internal.orders WHERE external_id = 'twice'), 1::bigint, 'the same order twice in one statement');
SELECT throws_ok($$INSERT INTO erp VALUES ('b', 1), ('b', 2)$$, '23505',
  'order "b" exists on server "hub" with a different content', 'another one under the same id');
SELECT is((SELECT count(*) FROM cs_internal.orders WHERE external_id = 'b'), 0::bigint, 'and neither is there');
SAVEPOINT s;
INSERT INTO erp VALUES ('c', 1);
ROLLBACK TO s;
INSERT INTO erp VALUES ('c', 2);
SELECT is((SELECT string_agg(lines -> 0 ->> 'quantity', ',') FROM cs_internal.orders WHERE external_id = 'c'), '2',
  'an id that was rolled back is free');

-- ---- what an upgrade or an administrator may do meanwhile ----

SAVEPOINT s;
ALTER TABLE cs_internal.orders ADD COLUMN note text NOT NULL DEFAULT 'new', ALTER COLUMN attempts SET DEFAULT 3;
INSERT INTO erp VALUES ('d', 1);
SELECT is((SELECT note || attempts FROM cs_internal.orders WHERE external_id = 'd'), 'new3', 'a new column and a new default');
ALTER TABLE cs_internal.orders ALTER COLUMN note DROP DEFAULT;
SELECT throws_ok($$INSERT INTO erp VALUES ('e', 1)$$, '23502', NULL, 'NOT NULL');
ROLLBACK TO s;

ALTER TABLE cs_internal.orders ADD CHECK (external_id <> 'f');
SELECT throws_ok($$INSERT INTO erp VALUES ('f', 1)$$, '23514', NULL, 'CHECK');
ROLLBACK TO s;
CREATE UNIQUE INDEX once ON cs_internal.orders (next_attempt_at) WHERE external_id IN ('g', 'h');
INSERT INTO erp VALUES ('g', 1);
SELECT throws_ok($$INSERT INTO erp VALUES ('h', 1)$$, '23505', 'duplicate key value violates unique constraint "once"',
  'a unique index more');
ROLLBACK TO s;
CREATE UNIQUE INDEX once ON cs_internal.orders (lower(external_id));
INSERT INTO erp VALUES ('i', 1);
SELECT throws_ok($$INSERT INTO erp VALUES ('I', 1)$$, '23505', 'duplicate key value violates unique constraint "once"',
  'an index on an expression');
ROLLBACK TO s;
CREATE FUNCTION pg_temp.heard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('test.heard', NEW.external_id, true);
  RETURN NULL;
END $$;
CREATE TRIGGER hears AFTER INSERT ON cs_internal.orders FOR EACH ROW EXECUTE FUNCTION pg_temp.heard();
INSERT INTO erp VALUES ('j', 1);
SELECT is(current_setting('test.heard'), 'j', 'a trigger');
ROLLBACK TO s;
ALTER TABLE cs_internal.orders DROP CONSTRAINT orders_server_external_id_key;
SELECT throws_ok($$INSERT INTO erp VALUES ('k', 1)$$, '42P10', NULL, 'without its unique constraint nothing is queued');
ROLLBACK TO s;

SELECT throws_ok($$SELECT set_config('transaction_read_only', 'on', true); INSERT INTO erp VALUES ('l', 1)$$, '25006',
  'cannot execute INSERT in a read-only transaction', 'a temporary table in a read-only transaction');

SELECT * FROM finish();
ROLLBACK;
