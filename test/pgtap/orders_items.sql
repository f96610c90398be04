-- Which of the partner's items a line of an order has become.
BEGIN;
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
INSERT INTO cs_internal.orders (server, external_id, state, lines, created_by, origin)
VALUES ('hub', 'po', 'placed', '[{"sku": "L", "quantity": 1}, {"sku": "L", "quantity": 1}, {"sku": "S", "quantity": 3},
  {"variation_id": "AB-1", "quantity": 2}]', 'erp', cs_internal.origin());

CREATE FUNCTION pg_temp.item(line integer, items jsonb) RETURNS text LANGUAGE sql AS $$
  SELECT cs_internal.order_item((SELECT id FROM cs_internal.orders), line, coalesce(array_agg(i->>'id' ORDER BY n), '{}'),
    array_agg(i->>'sku' ORDER BY n), array_agg(i->>'variation' ORDER BY n), array_agg((i->>'quantity')::bigint ORDER BY n))
    FROM jsonb_array_elements(items) WITH ORDINALITY AS t (i, n) $$;

CREATE TEMP TABLE shown (what text, items jsonb);
INSERT INTO shown VALUES
  ('in order', '[{"id": "1", "sku": "L", "quantity": 1}, {"id": "2", "sku": "L", "quantity": 1}, {"id": "3", "sku": "S", "quantity": 3},
    {"id": "4", "sku": "X", "variation": "ab-1", "quantity": 2}]'),
  ('reversed', '[{"id": "4", "sku": "X", "variation": "ab-1", "quantity": 2}, {"id": "3", "sku": "S", "quantity": 3},
    {"id": "1", "sku": "L", "quantity": 1}, {"id": "2", "sku": "L", "quantity": 1}]'),
  ('with an item more', '[{"id": "5", "sku": "GIFT", "quantity": 1}, {"id": "1", "sku": "L", "quantity": 1}, {"id": "2", "sku": "L", "quantity": 1},
    {"id": "3", "sku": "S", "quantity": 3}, {"id": "4", "variation": "AB-1", "quantity": 2}]'),
  ('by their ids only', '[{"id": "1"}, {"id": "2"}, {"id": "3"}, {"id": "4"}]');

SELECT plan(20);

SELECT is(pg_temp.item(line, items), line::text, format('line %s of items %s', line, what))
  FROM shown, generate_series(1, 4) AS line;

SELECT throws_ok($$SELECT pg_temp.item(3, '[{"id": "1"}, {"id": "2"}]')$$, 'PA006', 'the partner does not show which item of order "po" is line 3',
  'too few that could be told apart');
SELECT throws_ok($$SELECT pg_temp.item(3, '[]')$$, 'PA006', NULL, 'none');
SELECT throws_ok($$SELECT pg_temp.item(1, '[{"id": "3", "sku": "S", "quantity": 3}, {"id": "1", "sku": "L", "quantity": 1}]')$$, 'PA006', NULL,
  'one of two equal ones');
SELECT throws_ok($$SELECT pg_temp.item(5, '[{"id": "1"}]')$$, '22023', 'the order has no line 5', 'a line that the order does not have');

SELECT * FROM finish();
ROLLBACK;
