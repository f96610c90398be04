-- 1. The extension. The library was loaded when the server started.

CREATE EXTENSION cupsource;

-- 2. Three accounts. A server is an account at a partner, a user mapping holds
-- its credentials. (base_url and ca_file lead to the stand-in for the partners;
-- with real accounts you leave them out.)

CREATE SERVER cups_v1 FOREIGN DATA WRAPPER cupsource
  OPTIONS (api 'cupsource-v1', base_url '@PARTNER@/v1', ca_file '@CA@');

CREATE SERVER cups_v2 FOREIGN DATA WRAPPER cupsource
  OPTIONS (api 'cupsource-v2', base_url '@PARTNER@/v2', ca_file '@CA@');

CREATE SERVER hub FOREIGN DATA WRAPPER cupsource
  OPTIONS (api 'customhub-v1', base_url '@PARTNER@', auth_url '@PARTNER@', ca_file '@CA@');

CREATE USER MAPPING FOR CURRENT_USER SERVER cups_v1 OPTIONS (api_key 'cs_live_v1_demo');

CREATE USER MAPPING FOR CURRENT_USER SERVER cups_v2 OPTIONS (api_key 'cs_live_sk_8f7d6c5b4a3e2d1f');

CREATE USER MAPPING FOR CURRENT_USER SERVER hub OPTIONS (api_key 'ek_live_demo', secret_key 'esk_live_demo');

-- 3. With parentheses it asks the partner now.

SELECT sku, name, material, unit_price, currency, min_order_qty
  FROM cs_products(category => 'coffee_cups', eco_certified => true, max_rows => 3, server => 'cups_v2');

SELECT balance, credit_limit, headroom, currency FROM cs_balance('hub');

-- 4. Without parentheses it reads the cache, which a refresh fills page by page.

CALL cs_refresh_catalog('cups_v1');

CALL cs_refresh_catalog('cups_v2');

CALL cs_refresh_catalog('hub');

SELECT server, state, products, skus, last_error FROM cs_catalog_status ORDER BY server;

-- 5. Prices across all accounts, without waiting for anybody.

SELECT server, count(*) AS skus, min(unit_price) AS cheapest, round(avg(unit_price), 4) AS average, max(unit_price) AS dearest
  FROM cs_prices GROUP BY server ORDER BY server;

SELECT sku, name, unit_price, currency, min_order_qty AS moq, lead_time_days AS days
  FROM cs_prices WHERE name ILIKE '%coffee cup%' ORDER BY unit_price, sku LIMIT 4;

-- 6. An order from SQL. It is placed once, whatever happens to this session:
-- asking again with the same external id gives the same order.

SELECT id, external_id, state, remote_status, order_number, total, currency
  FROM cs_create_order(
    lines       => '[{"sku": "BC-3001-L-BLACK", "quantity": 2, "designs": [
                      {"url": "https://cdn.partner.com/designs/abc.png", "placement": "width1",
                       "width_inches": 11.0, "height_inches": 11.0}]}]',
    ship_to     => '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY",
                     "postal_code": "11201", "country": "US"}',
    external_id => 'shopify-1234',
    server      => 'hub');

SELECT id, external_id, state, order_number
  FROM cs_create_order(
    lines       => '[{"sku": "BC-3001-L-BLACK", "quantity": 2, "designs": [
                      {"url": "https://cdn.partner.com/designs/abc.png", "placement": "width1",
                       "width_inches": 11.0, "height_inches": 11.0}]}]',
    ship_to     => '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY",
                     "postal_code": "11201", "country": "US"}',
    external_id => 'shopify-1234',
    server      => 'hub');

-- 7. A partner's refusal is an SQL error that PL/pgSQL can catch.

DO $$
DECLARE
  what text; why text; how text;
BEGIN
  PERFORM cs_create_order('[{"sku": "NO-SUCH-SKU", "quantity": 1}]',
    '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}',
    'shopify-1235', server => 'hub');
EXCEPTION WHEN SQLSTATE 'PA400' THEN
  GET STACKED DIAGNOSTICS what = MESSAGE_TEXT, why = PG_EXCEPTION_DETAIL, how = PG_EXCEPTION_HINT;
  RAISE NOTICE '% | % | %', what, why, how;
END $$;

-- 8. The ERP's own table, and a trigger that orders what is inserted: after
-- COMMIT, once. A rolled-back row orders nothing.

CREATE TABLE purchase_orders (
  po_number text PRIMARY KEY,
  lines     jsonb NOT NULL,
  address   jsonb NOT NULL
);

CREATE TRIGGER submit AFTER INSERT ON purchase_orders FOR EACH ROW
  EXECUTE FUNCTION cs_submit_order('server=hub', 'external_id=po_number', 'lines=lines', 'ship_to=address');

INSERT INTO purchase_orders VALUES ('PO-2026-17',
  '[{"sku": "BC-3001-L-BLACK", "quantity": 12}]',
  '{"name": "Warehouse", "line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}');

BEGIN;

INSERT INTO purchase_orders VALUES ('PO-2026-18',
  '[{"sku": "BC-3001-L-BLACK", "quantity": 9999}]',
  '{"name": "Warehouse", "line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}');

ROLLBACK;

--wait (SELECT state <> 'queued' AND state <> 'sending' FROM cs_orders WHERE external_id = 'PO-2026-17')

SELECT external_id, path, state, remote_status, order_number, total FROM cs_orders ORDER BY id;

-- 9. Both orders, followed to their shipping. (The stand-in takes one step of
-- an order's life whenever it is asked.)

--wait cs_order_status('shopify-1234', max_age => '0') = 'shipped'

--wait cs_order_status('PO-2026-17', max_age => '0') = 'shipped'

SELECT external_id, state, remote_status, total, last_shipped_at IS NOT NULL AS shipped FROM cs_orders ORDER BY id;

SELECT external_id, carrier, tracking_number FROM cs_shipments ORDER BY order_id;

-- 10. What happened to the order from the trigger, here and at the partner.

SELECT to_char(at, 'HH24:MI:SS.MS') AS at, source, type, by
  FROM cs_order_events WHERE external_id = 'PO-2026-17' ORDER BY cs_order_events.at, id;

-- 11. What it cost in requests.

SELECT server, endpoint, calls, retries, round(total_ms::numeric / calls, 1) AS ms_per_call
  FROM cs_stat_requests ORDER BY server, endpoint;
