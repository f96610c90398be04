-- Searches, compared offers, price changes, retention: what they find, for whom.
BEGIN;
SELECT plan(114);

CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');
CREATE SERVER "o'shop" FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1');
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');

CREATE FUNCTION item(id text, name text, price numeric, more jsonb DEFAULT '{}') RETURNS cs_internal.product_row LANGUAGE sql AS
$$ SELECT (jsonb_populate_record(NULL::cs_internal.product_row, jsonb_build_object('fingerprint', hashtext(id || name || price),
     'product_id', id, 'sku', 'SKU-' || id, 'name', name, 'unit_price', price, 'currency', 'USD') || more)).* $$;
CREATE FUNCTION variation(id text, size text, colour text, price numeric) RETURNS cs_internal.variation_row LANGUAGE sql AS
$$ SELECT (jsonb_populate_record(NULL::cs_internal.variation_row, jsonb_build_object('fingerprint', hashtext(id || price),
     'variation_id', id, 'sku', 'V-' || id, 'is_active', true, 'variation_description', size, 'variation2_description', colour,
     'unit_price', price, 'currency', 'USD'))).* $$;
CREATE FUNCTION skus(rows cs_prices[]) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(r.server || ':' || r.sku, ' ' ORDER BY n) FROM unnest(rows) WITH ORDINALITY AS r (server, sku,
     product_id, name, unit_price, list_price, currency, min_order_qty, stock_status, lead_time_days, fetched_at, n) $$;

SELECT cs_internal.merge_products('shop', ARRAY[
  item('1', 'Double-Wall 8oz Coffee Cup', 0.14, '{"material": "Kraft Paper + PLA", "certifications": ["FSC-MIX"], "min_order_qty": 1000, "lead_time_days": 3}'),
  item('2', 'Coffee Mug, glazed', 2.5, '{"material": "Ceramic", "capacity": "12oz", "category": "mugs"}'),
  item('3', 'Dome Lid', 0.04, '{"material": "rPET"}'),
  item('4', 'Cupboard', 99, '{}')]);
SELECT cs_internal.merge_products('o''shop', ARRAY[
  item('1', 'Coffee cup, plain', 0.12, '{"min_order_qty": 50000}'), item('9', 'Größe Tasse', 3)]);
SELECT cs_internal.merge_models('hub', ARRAY[jsonb_populate_record(NULL::cs_internal.model_row,
  '{"fingerprint": 1, "model_id": "m", "name": "Bella Canvas 3001 Shirt", "code": "BC3001"}')]);
SELECT cs_internal.merge_model_detail('hub', 'm', jsonb_populate_record(NULL::cs_internal.detail_row, '{"material": "cotton"}'),
  ARRAY[variation('a', 'Unisex L', 'Black', 8.18), variation('b', 'Unisex M', 'White', 6.49)], '{}', '{}', 1);

-- ---- Words ----
SELECT is(skus(ARRAY(SELECT s FROM cs_search('coffee') AS s)), 'o''shop:SKU-1 shop:SKU-1 shop:SKU-2', 'a word, over all accounts, cheapest first');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('COFFEE mug') AS s)), 'shop:SKU-2', 'all words, whatever their case');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('cup') AS s)), 'o''shop:SKU-1 shop:SKU-1 shop:SKU-4', 'the last one may be the beginning of a word');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('cup coffee') AS s)), 'o''shop:SKU-1 shop:SKU-1', 'the others are whole words');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('cu') AS s)), NULL, 'two letters are a word');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('8oz') AS s)), 'shop:SKU-1', 'digits are letters');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('größe') AS s)), 'o''shop:SKU-9', 'so is what is not ASCII');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('nothing such') AS s)), NULL, 'nothing is found');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(''' & !( \ :*') AS s WHERE s.server = 'shop')), 'shop:SKU-3 shop:SKU-1 shop:SKU-2 shop:SKU-4',
  'signs are no words, and no operators');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('coffee', server => 'o''shop') AS s)), 'o''shop:SKU-1', 'of one account');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('bella black') AS s)), 'hub:V-a', 'words of a model and of its variation');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('white') AS s)), 'hub:V-b', 'of the variation alone');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('shirt') AS s)), 'hub:V-b hub:V-a', 'of the model alone');
SELECT is((SELECT name FROM cs_search('white')), 'Bella Canvas 3001 Shirt / Unisex M / White', 'named after both');

-- ---- Attributes, SKU, price ----
SELECT is(skus(ARRAY(SELECT s FROM cs_search(material => 'pla') AS s)), 'shop:SKU-1', 'a material');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(material => 'paper kraft') AS s)), 'shop:SKU-1', 'of several words');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(material => 'cup') AS s)), NULL, 'is not the name');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(certification => 'fsc') AS s)), 'shop:SKU-1', 'a certification');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(category => 'mugs', size => '12oz') AS s)), 'shop:SKU-2', 'category and capacity');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(size => 'L', colour => 'black') AS s)), 'hub:V-a', 'size and colour');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('shirt', colour => 'white', material => 'cotton') AS s)), 'hub:V-b', 'with words of the model');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(sku_prefix => 'SKU-') AS s)), 'o''shop:SKU-1 shop:SKU-1 shop:SKU-2 shop:SKU-3 shop:SKU-4 o''shop:SKU-9',
  'the beginning of a SKU, in its order');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(sku_prefix => 'V-%') AS s)), NULL, 'in which no sign is special');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(min_price => 0.12, max_price => 2.5) AS s)), 'o''shop:SKU-1 shop:SKU-1 shop:SKU-2', 'a range of prices, ends included');
SELECT is(skus(ARRAY(SELECT s FROM cs_search('coffee', max_price => 0.13) AS s)), 'o''shop:SKU-1', 'with words');
SELECT is(skus(ARRAY(SELECT s FROM cs_search(max_rows => 2) AS s)), 'shop:SKU-3 o''shop:SKU-1', 'at most so many');
SELECT throws_ok($$ SELECT * FROM cs_search(max_rows => -1) $$, '22023', '"max_rows" must not be negative', 'fewer than none');
SELECT throws_ok($$ SELECT * FROM cs_search(server => 'nowhere') $$, '42704', 'server "nowhere" does not exist, or you may not use it', 'an unknown account');
SELECT throws_ok($$ SELECT * FROM cs_price_changes('-infinity', 'nowhere') $$, '42704', 'server "nowhere" does not exist, or you may not use it',
  'also where no price has changed yet');
SELECT cs_internal.mark_products_absent('shop', 1, '{3}', true);
SELECT is(skus(ARRAY(SELECT s FROM cs_search('dome lid') AS s)), NULL, 'what is discontinued is not found');

-- ---- Samples of a large catalogue ----
SELECT results_eq($$ SELECT cs_internal.search_marks('k' || n) AS marks, count(*) FROM generate_series(1, 16384) AS n GROUP BY 1 ORDER BY 1 $$,
  $$ VALUES (0, 15374::bigint), (1, 885), (2, 104), (3, 21) $$, 'a sixteenth of the rows, an eighth of those, and an eighth of these are in samples');
SELECT is(cs_internal.search_marks(''), 0, 'what has no key is in none');
SELECT is(cs_internal.search_vector('k' || n, 'x', ARRAY['Cup'], 's', ARRAY['L'])::text, v, 'words of a row in ' || cs_internal.search_marks('k' || n) || ' samples')
  FROM (VALUES (1, '''@x'' ''cup'' ''s:l''')) AS t (n, v);
SELECT is(r.found, t.found, r.how || ': ' || q)
  FROM (VALUES ('paper & cup:*', true), ('cup', false), ('pla', false), ('''m:pla'' & ''s:l'' & x & 1', true), ('''m:8oz''', false), ('''s:8o''', false),
               ('''s:8oz'' | mug', true), ('pape & cups', false), ('cupsx:*', false)) AS t (q, found),
       LATERAL (VALUES ('a vector', cs_internal.search_vector('', 'x', ARRAY['Paper Cups', NULL, 'X-1'], 'mgs', ARRAY['PLA', NULL, '8oz', 'L']) @@ q::tsquery),
         ('without one', cs_internal.search_found(q::tsquery, ARRAY['Paper Cups', NULL, 'X-1'], 'mgs', ARRAY['PLA', NULL, '8oz', 'L']))) AS r (how, found);
SELECT is(cs_internal.search_query('o''x\', 1, 'all', 'Paper cup', 's', ARRAY['L'])::text, '''#paper'' & ''#cup'':* & ''#s:l'' & ''#@o''''x\\''', 'words in a sample');
SELECT is(cs_internal.search_query(NULL, 0, 'rest', 'Paper cup', 's', ARRAY['L'])::text, '''paper'' & ''s:l''', 'without the beginning of a word');
SELECT is(cs_internal.search_query(NULL, 0, 'beginning', 'Paper cup', 's', ARRAY['L'])::text, '''cup'':*', 'and that alone');
SELECT is(cs_internal.search_query(NULL, 0, 'ending', 'Paper cup', 's', ARRAY['L'])::text, '''cup''', 'or as a whole word');
SELECT is(cs_internal.search_query(NULL, 0, 'beginning', 'paper 8', 's', ARRAY['L']), NULL, 'if there is one');
SELECT is(cs_internal.search_query('x', 0, 'any', 'paper cup', 's', ARRAY['L'])::text, '( ''paper'' | ''cup'':* | ''s:l'' ) & ''@x''', 'any of them');
SELECT cs_internal.merge_products('shop', array_agg(item('t' || n, 'Tumbler ' || n, n))) FROM generate_series(1, 3000) AS n;
INSERT INTO cs_internal.catalog_runs (server, run, state, phase, entire, started_at, checkpoint_at, skus)
VALUES ('shop', 1, 'complete', 'list', false, now(), now(), 7999);
CREATE FUNCTION found(words text, most bigint, min_price numeric DEFAULT NULL) RETURNS text LANGUAGE sql AS
$$ SELECT concat_ws(' ', count(*), count(DISTINCT sku), min(cs_internal.search_marks(product_id)), max(cs_internal.search_marks(product_id)))
     FROM cs_search(words, max_rows => most, min_price => min_price) $$;
SELECT is(found('tumbler', 10000), '3000 3000 0 3', 'all have the word');
SELECT is(found('17 tumb', 10000), '1 1 0 0', 'one has both');
UPDATE cs_internal.catalog_runs SET skus = 1000000 WHERE server = 'shop';
SELECT is(found('tumbler', 10000), '3000 3000 0 3', 'and so it is by samples, each row once');
SELECT is(found('tumbler', 10000, 1001), '2000 2000 0 3', 'with a range');
SELECT is(found('tumbler', NULL), '3000 3000 0 3', 'without an end');
SELECT is(found('tumbler', 2), '2 2 3 3', 'the smallest has some of what all have');
SELECT is(found('17 tumb', 10000), '1 1 0 0', 'what is rare is found, whatever is frequent');
SELECT is(found('tumbler 170', 10000), '11 11 0 1', 'with beginnings of a word');
UPDATE cs_internal.catalog_runs SET skus = 20000 WHERE server = 'shop';
SELECT is(found('tumbler', 10000), '3000 3000 0 3', 'a smaller catalogue has larger samples');
SELECT is(found('tumbler', 10), '10 10 1 2', 'of which they come');
UPDATE cs_internal.products SET discontinued_at = now() WHERE product_id LIKE 't%';
SELECT cs_internal.merge_models('hub', ARRAY[jsonb_populate_record(NULL::cs_internal.model_row, '{"fingerprint": 8, "model_id": "m8", "name": "Uniform"}'),
  jsonb_populate_record(NULL::cs_internal.model_row, '{"fingerprint": 9, "model_id": "m9", "name": "Jacket"}')]);
SELECT cs_internal.merge_variations('hub', 'm8', ARRAY[variation('u', 'Orange', 'S', 9)]);
SELECT cs_internal.merge_variations('hub', 'm9', array_agg(variation('u' || n, 'Uni', n::text, 9))) FROM generate_series(1, 1000) AS n;
INSERT INTO cs_internal.catalog_runs (server, run, state, phase, entire, started_at, checkpoint_at, skus)
VALUES ('hub', 1, 'complete', 'list', false, now(), now(), 20000);
SELECT is(skus(ARRAY(SELECT s FROM cs_search('orange uni') AS s)), 'hub:V-u', 'words of a variation and its model are found once, however frequent one of them is');
SELECT is((SELECT count(DISTINCT sku) FROM cs_search('uni', server => 'hub', max_rows => NULL)), 1003::bigint, 'each row that has it');
SELECT is((SELECT count(DISTINCT sku) FROM cs_search('uni', server => 'hub', max_rows => 1003)), 1003::bigint, 'and so it is by samples');
UPDATE cs_internal.variations SET discontinued_at = now() WHERE variation_id ^@ 'u';

-- ---- Offers ----
SELECT results_eq($$ SELECT server, sku, quantity, unit_price, total, min_order_qty, lead_time_days FROM cs_offers('coffee', 1000) $$,
  $$ VALUES ('shop', 'SKU-1', 1000::bigint, 0.14, 140.00, 1000::bigint, 3), ('shop', 'SKU-2', 1000, 2.5, 2500.0, NULL, NULL) $$,
  'offers by words: what can be ordered in this quantity');
SELECT results_eq($$ SELECT server, total FROM cs_offers('{SKU-1,SKU-1}'::text[], 50000) $$,
  $$ VALUES ('o''shop', 6000.00), ('shop', 7000.00) $$, 'by SKUs, the cheapest first');
SELECT is_empty($$ SELECT * FROM cs_offers('{SKU-1}'::text[], 10) $$, 'none below the minimum quantity');
SELECT results_eq($$ SELECT sku, name FROM cs_offers(ARRAY['V-a']) $$, $$ VALUES ('V-a', 'Bella Canvas 3001 Shirt / Unisex L / Black') $$, 'of CustomHub');
-- The same goods at two more accounts: cheapest first within a currency, then what comes sooner.
CREATE SERVER mall FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');
CREATE SERVER bazaar FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1');
SELECT cs_internal.merge_products('mall', ARRAY[
  item('x', 'Travel Tumbler', 5, '{"lead_time_days": 9}'), item('y', 'Travel Tumbler', 7, '{"currency": "EUR"}'),
  item('w', 'Travel Tumbler, unpriced', NULL)]);
SELECT cs_internal.merge_products('bazaar', ARRAY[
  item('x', 'Travel Tumbler', 5, '{"lead_time_days": 2, "min_order_qty": 10}'), item('z', 'Travel Tumbler', 5),
  item('v', 'Travel Tumbler', 4.99, '{"lead_time_days": 30, "stock_status": "backorder"}')]);
CREATE FUNCTION offers(quantity bigint) RETURNS SETOF text LANGUAGE sql AS
$$ SELECT concat_ws(' ', server, sku, unit_price, total, currency, coalesce(min_order_qty::text, '-'), coalesce(lead_time_days::text, '-'), stock_status)
     FROM cs_offers('tumbler', $1) $$;
SELECT results_eq($$ SELECT offers(10) $$, $$ VALUES ('mall SKU-y 7 70 EUR - -'), ('bazaar SKU-v 4.99 49.90 USD - 30 backorder'),
  ('bazaar SKU-x 5 50 USD 10 2'), ('mall SKU-x 5 50 USD - 9'), ('bazaar SKU-z 5 50 USD - -') $$,
  'over accounts, the cheapest first within a currency, then the shortest lead time, an unknown one last; none without a price');
SELECT results_eq($$ SELECT offers(9) $$, $$ VALUES ('mall SKU-y 7 63 EUR - -'), ('bazaar SKU-v 4.99 44.91 USD - 30 backorder'),
  ('mall SKU-x 5 45 USD - 9'), ('bazaar SKU-z 5 45 USD - -') $$, 'without the one whose minimum is larger, by one');
SELECT results_eq($$ SELECT * FROM cs_offers('{SKU-z,SKU-v,SKU-y,SKU-x,SKU-w}'::text[], 10) $$, $$ SELECT * FROM cs_offers('tumbler', 10) $$,
  'by a list of SKUs the same, in the same order');
SELECT results_eq($$ SELECT sku FROM cs_offers('tumbler', 10, max_rows => 2) $$, $$ VALUES ('SKU-y'), ('SKU-v') $$, 'at most so many');
SELECT results_eq($$ SELECT server FROM cs_offers('{SKU-x}'::text[], 10, server => 'mall') $$, $$ VALUES ('mall') $$, 'of one account');
SELECT throws_ok($$ SELECT * FROM cs_offers('cup', 0) $$, '22023', '"quantity" must be positive', 'no quantity');
SELECT throws_ok($$ SELECT * FROM cs_offers('cup', max_rows => -1) $$, '22023', '"max_rows" must not be negative', 'fewer than none');

-- ---- Price changes ----
CREATE FUNCTION changes(since timestamptz) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(concat_ws(' ', sku, change, coalesce(old_unit_price::text, '-'), coalesce(unit_price::text, '-')), ', ') FROM cs_price_changes(since) $$;
SELECT is(changes(now()), 'SKU-3 discontinued 0.04 -', 'what is discontinued has no price any more');
SELECT cs_internal.merge_products('shop', ARRAY[item('2', 'Coffee Mug, glazed', 2.75), item('3', 'Dome Lid', 0.05)]);
SELECT set_eq($$ SELECT sku, change, old_unit_price, unit_price FROM cs_price_changes(now()) $$,
  $$ VALUES ('SKU-2', 'changed', 2.5, 2.75), ('SKU-3', 'discontinued', 0.04, NULL), ('SKU-3', 'returned', NULL, 0.05) $$,
  'what changed, and what returned');
SELECT cs_internal.merge_products('shop', ARRAY[item('2', 'Coffee Mug, glazed', 3)]);
SELECT results_eq($$ SELECT old_unit_price, unit_price FROM cs_price_changes(now()) WHERE sku = 'SKU-2' $$,
  $$ VALUES (2.5, 2.75), (2.75, 3::numeric) $$, 'each change from one price to the next');
SELECT is(changes(now() + interval '1 second'), NULL, 'none since then');
SELECT is_empty($$ SELECT * FROM cs_price_changes('-infinity', 'hub') $$, 'the first price is no change');

-- ---- Ranges ----
CREATE FUNCTION price(from_day int, to_day int) RETURNS void LANGUAGE sql AS
$$ INSERT INTO cs_internal.price_history (server, item_id, valid_from, ended_at, unit_price)
     VALUES ('shop', '1', '2020-01-01'::timestamptz + from_day * interval '1 day', '2020-01-01'::timestamptz + to_day * interval '1 day', 1) $$;
SELECT price(10, 20);
SELECT throws_ok(format('SELECT price(%s)', days), '23P01', NULL, format('no second price of an item from day %s of another one''s ten to twenty', days))
  FROM unnest('{"5, 11","9, 21","12, 15","19, 25"}'::text[]) AS days;
SELECT lives_ok('SELECT price(5, 10), price(20, 25)', 'but right before and after it');
DELETE FROM cs_internal.price_history WHERE item_id = '1';
SELECT is_empty($$ SELECT FROM cs_price_history AS a JOIN cs_price_history AS b USING (server, sku) WHERE a.valid <> b.valid AND a.valid && b.valid $$,
  'nor in what readers see');

-- ---- Who ----
CREATE ROLE buyer;
GRANT USAGE ON FOREIGN SERVER "o'shop" TO buyer;
SET LOCAL ROLE buyer;
SELECT (SELECT string_agg(sku, ' ' ORDER BY sku) FROM cs_search()) AS found,
  (SELECT string_agg(DISTINCT server, ' ') FROM cs_offers('{SKU-1}'::text[], 50000)) AS offered,
  (SELECT count(*) FROM cs_price_changes('-infinity')) AS changes \gset
RESET ROLE;
SELECT is(:'found'::text, 'SKU-1 SKU-9', 'a role finds what it may see');
SELECT is(:'offered'::text, 'o''shop', 'is offered that');
SELECT is(:changes, 0, 'and hears of its changes');
SELECT ok(NOT has_function_privilege('buyer', 'cs_prune(interval)', 'EXECUTE'), 'and deletes nothing');

-- A server that is not there, or not his: neither nothing nor something else is wrong.
SELECT throws_ok(format('SELECT %s', asked), '42704', 'server "nowhere" does not exist, or you may not use it', 'an unknown account: ' || asked)
  FROM unnest(ARRAY[$$ cs_price_at('SKU-1', now(), 'nowhere') $$, $$ cs_item_cost('SKU-1', server => 'nowhere') $$,
    $$ cs_price_changes('-infinity', 'nowhere') $$]) AS asked;
CREATE FUNCTION pg_temp.as_buyer(query text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  SET LOCAL ROLE buyer;
  EXECUTE 'SELECT ' || query;
  RESET ROLE;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN RETURN sqlstate || ' ' || sqlerrm; END $$;
SELECT is(pg_temp.as_buyer(asked), '42704 server "shop" does not exist, or you may not use it', 'somebody else''s: ' || asked)
  FROM unnest(ARRAY[$$ cs_price_at('SKU-1', now(), 'shop') $$, $$ cs_item_cost('SKU-1', server => 'shop') $$,
    $$ cs_price_changes('-infinity', 'shop') $$]) AS asked;
SELECT is(cs_price_at('SKU-none', now(), 'shop'), NULL, 'an unknown SKU has no price');

-- ---- Retention ----
SELECT throws_ok($$ SELECT cs_prune('0') $$, '22023', '"older_than" must be a positive interval', 'an age is needed');
UPDATE cs_internal.price_history SET ended_at = now() - interval '40 days', valid_from = now() - interval '50 days' WHERE item_id = '2' AND unit_price = 2.5;
SELECT cs_enqueue_order(lines => '[{"product_id": "1", "quantity": 1000}]', server => 'shop', external_id => e,
    ship_to => '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}')
  FROM unnest('{old,young,open}'::text[]) AS e;
UPDATE cs_internal.orders SET state = CASE external_id WHEN 'open' THEN 'in_production' ELSE 'delivered' END,
  changed_at = now() - CASE external_id WHEN 'young' THEN interval '10 days' ELSE interval '40 days' END;
INSERT INTO cs_internal.order_events (order_id, at, source, type)
  SELECT id, now() - n * interval '41 days', 'local', 'placed' FROM cs_internal.orders, generate_series(1, 2) AS n;
CREATE FUNCTION events() RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(format('%s %s', o.external_id, (SELECT count(*) FROM cs_internal.order_events AS e WHERE e.order_id = o.id)), ', ' ORDER BY o.external_id)
     FROM cs_internal.orders AS o $$;
INSERT INTO cs_internal.webhook_events (server, event_id, at, payload, received_at, order_id, remote_id)
  SELECT 'shop', format('%s %s', name, age), now(), '{}', now() - age * interval '1 day', o.id, name
    FROM unnest('{old,young,open,nobody}'::text[]) AS name LEFT JOIN cs_internal.orders AS o ON o.external_id = name, unnest('{10,41}'::integer[]) AS age;
SELECT is(cs_price_at('SKU-2', now() - interval '45 days'), 2.5, 'what is remembered of the past');
SELECT is(cs_prune('1 year')::text, '(0,0,0)', 'nothing is so old');
-- Of other accounts than his a role deletes nothing.
GRANT EXECUTE ON FUNCTION cs_prune TO buyer;
SET LOCAL ROLE buyer;
SELECT cs_prune('30 days')::text AS pruned \gset
RESET ROLE;
SELECT is(:'pruned'::text, '(0,0,0)', 'what is another one''s is not for a role to delete');
INSERT INTO cs_internal.price_history (server, item_id, valid_from, ended_at, unit_price)
  VALUES ('o''shop', '9', now() - interval '50 days', now() - interval '40 days', 2);
SET LOCAL ROLE buyer;
SELECT cs_prune('30 days')::text AS pruned \gset
RESET ROLE;
SELECT is(:'pruned'::text, '(1,0,0)', 'what is his is');
INSERT INTO cs_internal.orders (server, external_id, lines, created_by, origin, state, changed_at)
  VALUES ('dropped', 'unseen', '[]', 'me', 'here', 'delivered', now() - interval '40 days');
INSERT INTO cs_internal.order_events (order_id, at, source, type)
  SELECT id, now() - interval '41 days', 'local', 'placed' FROM cs_internal.orders WHERE external_id = 'unseen';
SELECT is(cs_prune('30 days')::text, '(1,3,2)', 'old prices go, events of orders that ended long ago, and webhooks about those or nothing; for a superuser those of a dropped server, too');
SELECT is((SELECT count(*) FROM cs_internal.price_history), 3::bigint, 'the younger prices stay');
SELECT is(concat_ws(' ', cs_price_at('SKU-2', now() - interval '45 days'), cs_price_at('SKU-2', now() + interval '1 s')), '3', 'and tell the same as before');
SELECT is(events(), 'old 0, open 2, unseen 0, young 2', 'and so do events of orders that are under way, or ended lately');
SELECT is((SELECT string_agg(event_id, ', ' ORDER BY event_id) FROM cs_internal.webhook_events), 'nobody 10, old 10, open 10, open 41, young 10, young 41',
  'as do webhooks about these, and young ones');
SELECT is((SELECT string_agg(proname, ' ') FROM pg_proc WHERE prosrc ~ 'DELETE FROM cs_internal\.(price_history|order_events)'), 'prune',
  'nothing else deletes either');

SELECT * FROM finish();
ROLLBACK;
