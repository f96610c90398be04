-- What a page does to the cached catalogue: nothing when nothing changed, and
-- otherwise exactly what changed.
BEGIN;
SELECT plan(78);

-- One product in short: the rest is NULL.
CREATE FUNCTION item(id text, fingerprint bigint, price numeric DEFAULT 0.14, name text DEFAULT 'Cup')
RETURNS cs_internal.product_row LANGUAGE sql AS
$$ SELECT (jsonb_populate_record(NULL::cs_internal.product_row, jsonb_build_object('fingerprint', fingerprint,
     'product_id', id, 'sku', 'SKU-' || id, 'name', name, 'unit_price', price, 'currency', 'USD'))).* $$;

CREATE FUNCTION merged(VARIADIC page cs_internal.product_row[]) RETURNS text LANGUAGE sql AS
$$ SELECT concat_ws(' ', added, changed, revived) FROM cs_internal.merge_products('shop', page) $$;

-- Everything that identifies the stored versions of rows.
CREATE FUNCTION versions(rel regclass) RETURNS text LANGUAGE plpgsql AS
$$ DECLARE answer text; BEGIN
  EXECUTE format('SELECT string_agg(concat_ws('':'', ctid, xmin, xmax), '' '' ORDER BY ctid) FROM %s', rel) INTO answer;
  RETURN answer; END $$;

CREATE FUNCTION history(id text) RETURNS text LANGUAGE sql AS
$$ SELECT string_agg(coalesce(unit_price::text, 'none'), ' ' ORDER BY valid_from)
     FROM cs_internal.price_history WHERE server = 'shop' AND item_id = id $$;

-- ---- A new page ----
SELECT is(merged(item('a', 1), item('b', 2), item('c', 3, 0.1)), '3 0 0', 'a first page is added');
SELECT results_eq(
  $$ SELECT product_id, sku, name, unit_price, currency, price_since, discontinued_at FROM cs_internal.products ORDER BY 1 $$,
  $$ VALUES ('a' COLLATE "C", 'SKU-a' COLLATE "C", 'Cup', 0.14, 'USD', now(), NULL::timestamptz),
            ('b', 'SKU-b', 'Cup', 0.14, 'USD', now(), NULL), ('c', 'SKU-c', 'Cup', 0.1, 'USD', now(), NULL) $$,
  'with what was read');
SELECT is_empty('SELECT FROM cs_internal.price_history', 'and nothing in the history: the present price is in its own row');

-- ---- The same page again ----
CREATE TEMP TABLE before AS SELECT versions('cs_internal.products') AS products;
SELECT is(merged(item('a', 1), item('b', 2), item('c', 3, 0.1)), '0 0 0', 'an unchanged page changes nothing');
SELECT is(versions('cs_internal.products'), (SELECT products FROM before), 'writes no row and locks none');
SELECT is(merged(item('c', 3), item('a', 1)), '0 0 0', 'in whatever order it comes');
SELECT is(versions('cs_internal.products'), (SELECT products FROM before), 'without writing either');
SELECT is((SELECT concat_ws(' ', added, changed, revived) FROM cs_internal.merge_products('shop', '{}')), '0 0 0',
  'an empty page changes nothing');

-- ---- What changed ----
SELECT is(merged(item('a', 1), item('b', 20, 0.14, 'Mug'), item('c', 3)), '0 1 0', 'a changed name is one changed row');
SELECT is((SELECT name FROM cs_internal.products WHERE product_id = 'b'), 'Mug', 'which has the new name');
SELECT is(history('b'), NULL, 'and the price it had');
SELECT is((SELECT price_since FROM cs_internal.products WHERE product_id = 'b'), now(), 'since it had it');

UPDATE cs_internal.products SET price_since = '2026-01-01 00:00+00' WHERE product_id = 'c';
SELECT is(merged(item('c', 30, 0.12)), '0 1 0', 'a changed price is one changed row');
SELECT is(history('c'), '0.1', 'the old price is in the history');
SELECT is((SELECT valid_from FROM cs_internal.price_history WHERE item_id = 'c'), '2026-01-01 00:00+00'::timestamptz,
  'since when it held');
SELECT is((SELECT price_since FROM cs_internal.products WHERE product_id = 'c'), now(), 'the new one holds from now on');
SELECT is(merged(item('c', 31, 0.13)), '0 1 0', 'a second change at the same moment');
SELECT is((SELECT price_since FROM cs_internal.products WHERE product_id = 'c'), now() + interval '1 microsecond',
  'begins after the first one: no range is empty or overlaps');
SELECT is(history('c'), '0.1 0.12', 'and is remembered');
SELECT is(merged(item('c', 32, 0.130)), '0 1 0', 'another spelling of the same price is a changed row');
SELECT is(history('c'), '0.1 0.12', 'but no new price');
SELECT is((SELECT unit_price::text FROM cs_internal.products WHERE product_id = 'c'), '0.130', 'it stands as it was sent');

-- ---- Vanished, and back ----
SELECT is(cs_internal.mark_products_absent('shop', 7, '{b,x}', false), 0::bigint, 'one absence proves nothing');
SELECT is((SELECT concat_ws(' ', absent_run, discontinued_at) FROM cs_internal.products WHERE product_id = 'b'), '7',
  'and is remembered');
SELECT is(merged(item('b', 20, 0.14, 'Mug')), '0 1 0', 'the row that is there again is written once');
SELECT is((SELECT absent_run FROM cs_internal.products WHERE product_id = 'b'), NULL, 'to forget the absence');
SELECT is(merged(item('b', 20, 0.14, 'Mug')), '0 0 0', 'and not again');

SELECT is(cs_internal.mark_products_absent('shop', 8, '{b}', false), 0::bigint, 'absent once');
SELECT is(cs_internal.mark_products_absent('shop', 8, '{b}', false), 0::bigint, 'the same run says nothing new');
SELECT is(cs_internal.mark_products_absent('shop', 9, '{b}', false), 1::bigint, 'absent in a second run: discontinued');
SELECT is((SELECT discontinued_at FROM cs_internal.products WHERE product_id = 'b'), now(), 'now');
SELECT is(history('b'), '0.14', 'its price has ended');
SELECT is(cs_internal.mark_products_absent('shop', 10, '{b}', true), 0::bigint, 'it cannot be discontinued twice');
SELECT is(cs_internal.mark_products_absent('shop', 9, '{a}', true), 1::bigint, 'a total that agrees is proof at once');

SELECT is(merged(item('b', 20, 0.14, 'Mug')), '0 1 1', 'it returns with the same content');
SELECT is((SELECT discontinued_at FROM cs_internal.products WHERE product_id = 'b'), NULL, 'and is on offer');
SELECT is(history('b'), '0.14 none', 'after a time without a price');

-- ---- As users see it ----
CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');
UPDATE cs_internal.price_history SET ended_at = '2026-02-01 00:00+00' WHERE item_id = 'c' AND unit_price = 0.1;
UPDATE cs_internal.price_history SET valid_from = '2026-02-01 00:00+00', ended_at = '2026-03-01 00:00+00' WHERE item_id = 'c' AND unit_price = 0.12;
UPDATE cs_internal.products SET price_since = '2026-03-01 00:00+00' WHERE product_id = 'c';
SELECT results_eq(
  $$ SELECT unit_price, valid FROM cs_price_history WHERE sku = 'SKU-c' ORDER BY valid $$,
  $$ VALUES (0.1, tstzrange('2026-01-01 00:00+00', '2026-02-01 00:00+00')),
            (0.12, tstzrange('2026-02-01 00:00+00', '2026-03-01 00:00+00')),
            (0.13, tstzrange('2026-03-01 00:00+00', NULL)) $$,
  'the history has a range for every price, without gap or overlap');
PREPARE price (text, text, timestamptz, timestamptz) AS
  INSERT INTO cs_internal.price_history (server, item_id, valid_from, ended_at, unit_price) VALUES ($1, $2, $3, $4, 1);
SELECT throws_ok($$ EXECUTE price('shop', 'c', '2026-01-31 00:00+00', '2026-02-01 00:00+00') $$, '23P01', NULL, 'the end of a known one overlaps');
SELECT throws_ok($$ EXECUTE price('shop', 'c', '2025-01-01 00:00+00', '2027-01-01 00:00+00') $$, '23P01', NULL, 'and so does one around it');
SELECT throws_ok($$ EXECUTE price('shop', 'c', '2026-01-10 00:00+00', '2026-01-10 00:00+00') $$, '23514', NULL, 'none is empty');
SELECT lives_ok($$ EXECUTE price('shop', 'c', '2025-12-01 00:00+00', '2026-01-01 00:00+00') $$, 'one that ends where the next one begins does not overlap');
SELECT lives_ok($$ EXECUTE price('shop', 'd', '2026-01-31 00:00+00', '2026-02-01 00:00+00') $$, 'nor one of another item');
SELECT lives_ok($$ EXECUTE price('shops', 'c', '2026-01-31 00:00+00', '2026-02-01 00:00+00') $$, 'nor one of another account');
DELETE FROM cs_internal.price_history WHERE item_id = 'd' OR server = 'shops' OR valid_from = '2025-12-01 00:00+00';
SELECT is(cs_price_at('SKU-c', '2025-12-31 00:00+00'), NULL, 'no price before the first');
SELECT is(cs_price_at('SKU-c', '2026-01-31 23:59+00'), 0.1, 'the price at a time');
SELECT is(cs_price_at('SKU-c', '2026-02-01 00:00+00'), 0.12, 'changes at the moment of the change');
SELECT is(cs_price_at('SKU-c', now()), 0.13, 'and is the present one now');
SELECT is((SELECT count(*) FROM cs_price_history WHERE sku = 'SKU-a'), 1::bigint, 'a discontinued item has a past');
SELECT is((SELECT upper(valid) FROM cs_price_history WHERE sku = 'SKU-a'),
  (SELECT discontinued_at + interval '1 microsecond' FROM cs_products WHERE product_id = 'a'), 'that ended');
SELECT set_eq('SELECT product_id FROM cs_prices', ARRAY['b', 'c'], 'what is discontinued has no row in cs_prices');

-- ---- A hub: list and detail ----
CREATE FUNCTION variation(id text, fingerprint bigint, price numeric) RETURNS cs_internal.variation_row LANGUAGE sql AS
$$ SELECT (jsonb_populate_record(NULL::cs_internal.variation_row, jsonb_build_object('fingerprint', fingerprint,
     'variation_id', id, 'sku', 'V-' || id, 'is_active', true, 'unit_price', price, 'blank_cost', 5.68,
     'handling_fee', 0.5, 'currency', 'USD'))).* $$;
CREATE FUNCTION detail(whole bigint, VARIADIC page cs_internal.variation_row[]) RETURNS text LANGUAGE sql AS
$$ SELECT concat_ws(' ', d.added, d.changed, d.revived, d.discontinued)
     FROM cs_internal.merge_model_detail('hub', 'm',
       jsonb_populate_record(NULL::cs_internal.detail_row, '{"material": "cotton"}'), page,
       ARRAY[(1, 'width1', 'Front', 12, 12, NULL), (2, 'width2', 'Back', 4, 4, NULL)]::cs_internal.placement_row[],
       ARRAY[(1, 'width1', 'DTF', 'Film', 2.50, 'dealer', NULL), (2, 'width1', 'DTG', 'Garment', 3.00, 'dealer', NULL),
             (3, 'width2', 'DTF', 'Film', 2.50, 'dealer', NULL)]::cs_internal.print_method_row[], whole) AS d $$;
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');

SELECT is((SELECT concat_ws(' ', added, changed) FROM cs_internal.merge_models('hub',
  ARRAY[jsonb_populate_record(NULL::cs_internal.model_row, '{"fingerprint": 1, "model_id": "m", "name": "Shirt"}')])),
  '1 0', 'a new model');
SELECT set_eq($$ SELECT * FROM cs_internal.details_due('hub', '', 10) $$, ARRAY['m'], 'whose detail is due');
SELECT is(detail(100, variation('v1', 1, 8.18), variation('v2', 2, 9)), '2 0 0 0', 'its detail brings variations');
SELECT is_empty($$ SELECT * FROM cs_internal.details_due('hub', '', 10) $$, 'and is due no longer');
SAVEPOINT due;
UPDATE cs_internal.models SET detail_due = true;
SELECT is(cs_internal.detail_unread('hub', 'm', 'no'), NULL, 'one that could not be read');
SELECT is_empty($$ SELECT * FROM cs_internal.details_due('hub', '', 10) $$, 'is not asked for with the others');
INSERT INTO cs_internal.models (server, model_id, fetched_at, fingerprint, detail_due, detail_failed_at)
SELECT 'hub', 'm' || n, now(), 1, true, now() - n * interval '1 day' FROM generate_series(1, 3) AS n;
SELECT FROM cs_internal.refresh_begin('hub', false, 1);
SELECT results_eq($$ SELECT * FROM cs_internal.details_failed('hub', 2) $$, ARRAY['m3', 'm2'], 'but last, and first what was tried longest ago');
UPDATE cs_internal.models SET detail_failed_at = now() WHERE model_id = 'm3';
SELECT results_eq($$ SELECT * FROM cs_internal.details_failed('hub', 2) $$, ARRAY['m2', 'm1'], 'and not twice in a run');
DELETE FROM cs_internal.models WHERE model_id <> 'm';
UPDATE cs_internal.models SET discontinued_at = now();
SELECT is((SELECT discontinued FROM cs_internal.discontinue_model('hub', 'm')), 0::bigint, 'one that is gone again');
SELECT is((SELECT concat_ws(' ', detail_due, detail_failed_at) FROM cs_internal.models), 'f', 'is not due for ever');
ROLLBACK TO due;
SELECT is(detail(101, variation('v1', 10, 8.20)), '0 1 0 1',
  'a detail that names one changed variation of two: the other is no longer on offer');
SELECT is(cs_item_cost('V-v1', '{width1,width2}', 'DTF'), 11.18, 'blank cost + print charges + handling fee');
SELECT throws_ok($$ SELECT cs_item_cost('V-v1', '{width1}') $$, '42P08', 'the charge at placement "width1" depends on the print method',
  'a charge is never guessed');
SELECT throws_ok($$ SELECT cs_item_cost('V-v1', '{width9}') $$, '22023',
  'SKU "V-v1" cannot be printed at placement "width9"', 'an unknown placement is refused');
SELECT throws_ok($$ SELECT cs_item_cost('V-v1', '{width1,NULL}', 'DTF') $$, '22004', 'placement must not be null', 'and so is none');
-- Its unit price has prints in it already.
UPDATE cs_internal.variations SET blank_cost = NULL WHERE sku = 'V-v1';
SELECT is(cs_item_cost('V-v1', '{width1,width2}', 'DTF'), NULL, 'without a blank cost nothing is known of the whole');
SELECT is(cs_item_cost('V-v1'), NULL, 'nor of the item alone');
SELECT is(cs_item_cost('SKU-c'), 0.13, 'while a cup costs its unit price');
-- What hints advise can be typed as it stands, and helps.
CREATE FUNCTION pg_temp.advice(question text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  advice text;
BEGIN
  EXECUTE 'SELECT ' || question;
  RETURN NULL;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS advice = PG_EXCEPTION_HINT;
  RETURN advice;
END $$;
CREATE USER MAPPING FOR CURRENT_USER SERVER shop OPTIONS (api_key 'k');
SELECT is(pg_temp.advice(question), advice, question) FROM (VALUES
  ($$ cs_item_cost('NO-1', server => 'hub') $$, 'Use CALL cs_refresh_catalog(''hub'') if it is new.'),
  ($$ cs_item_cost('NO-1') $$, 'Use CALL cs_refresh_catalog(...) of its server if it is new.'),
  ($$ cs_item_cost('SKU-c', '{width1}') $$, 'It has one price: leave out "placements".'),
  ($$ cs_balance('shop') $$, 'CustomHub v1 has it.'),
  ($$ cs_models(server => 'shop') $$, 'CustomHub v1 has it. The cached views cs_products and cs_variations have the catalogues of all accounts.')) AS q (question, advice);

-- ---- Where a run goes on ----
SELECT FROM cs_internal.refresh_begin('hub', false, 1);
UPDATE cs_internal.catalog_runs SET phase = 'details' WHERE server = 'hub';
SELECT FROM cs_internal.refresh_failed('hub', 'why', false);
SELECT ok(b.resumed, 'a run that failed goes on with the details') FROM cs_internal.refresh_begin('hub', false, 1) AS b;
SELECT FROM cs_internal.refresh_anew('hub'), cs_internal.refresh_failed('hub', 'why', false);
SELECT ok(NOT b.resumed, 'unless it could read none') FROM cs_internal.refresh_begin('hub', false, 1) AS b;

-- ---- What is looked at for what is absent, in a table that was just filled ----
CREATE SERVER large FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');
INSERT INTO cs_internal.products (server, product_id, fetched_at, price_since, fingerprint)
SELECT 'large', 'p' || n || repeat('x', 300), now(), now(), n FROM generate_series(10001, 16000) AS n;
CREATE FUNCTION entries_read() RETURNS bigint LANGUAGE sql AS
$$ SELECT sum(pg_stat_get_xact_tuples_returned(indexrelid))::bigint FROM pg_index
    WHERE indrelid IN ('cs_internal.products'::regclass, 'cs_internal.models'::regclass) $$;
-- The plan that is made for any thousand, as after a few of them.
SET LOCAL plan_cache_mode = force_generic_plan;
CREATE TEMP TABLE read_before AS SELECT entries_read() AS entries;
SELECT is((SELECT left(min(i), 6) || ' ' || left(max(i), 6) || ' ' || count(*) FROM cs_internal.items_on_offer('large', 'p12001', 1000) AS i),
  'p12001 p13000 1000', 'a thousand after one, in order');
SELECT is(entries_read() - entries, 1000::bigint, 'are all that is read in the index') FROM read_before;

SELECT * FROM finish();
ROLLBACK;
