-- A partner account is a foreign server; its keys are a user mapping. There
-- are three partners here, each with an API of its own, over verified TLS.

CREATE EXTENSION cupsource;

CREATE SERVER shop_v1 FOREIGN DATA WRAPPER cupsource
  OPTIONS (api 'cupsource-v1', base_url '@PARTNER@/v1', ca_file '@CA@');
CREATE SERVER shop_v2 FOREIGN DATA WRAPPER cupsource
  OPTIONS (api 'cupsource-v2', base_url '@PARTNER@/v2', ca_file '@CA@');
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource
  OPTIONS (api 'customhub-v1', base_url '@PARTNER@', auth_url '@PARTNER@', ca_file '@CA@');

CREATE USER MAPPING FOR CURRENT_USER SERVER shop_v1 OPTIONS (api_key 'cs_live_v1_demo');
CREATE USER MAPPING FOR CURRENT_USER SERVER shop_v2 OPTIONS (api_key 'cs_live_sk_8f7d6c5b4a3e2d1f');
CREATE USER MAPPING FOR CURRENT_USER SERVER hub
  OPTIONS (api_key 'ek_live_demo', secret_key 'esk_live_demo');

-- With parentheses it asks the partner, now. The filters go over the wire.

SELECT sku, name, unit_price, currency, min_order_qty
  FROM cs_products(category => 'coffee_cups', eco_certified => true, server => 'shop_v2')
 ORDER BY unit_price LIMIT 3;

-- Without, it reads a cache that a refresh fills. Nobody who reads waits for a
-- partner.

CALL cs_refresh_catalog('shop_v1');

CALL cs_refresh_catalog('shop_v2');

CALL cs_refresh_catalog('hub');

SELECT server, state, products, skus, age < '1 minute' AS fresh FROM cs_catalog_status;

-- One price list over all of them. Money is numeric, exactly as it was sent.

SELECT DISTINCT ON (server) server, sku, name, unit_price, currency, min_order_qty
  FROM cs_prices ORDER BY server, unit_price;

-- Where can a certain shirt be printed, and what would a dozen cost, delivered?

SELECT m.placement, m.print_method, m.label, m.price
  FROM cs_print_methods AS m JOIN cs_variations AS v USING (server, product_id)
 WHERE v.sku = 'BC-3001-L-BLACK' ORDER BY m.placement, m.price LIMIT 4;

SELECT currency, items_subtotal, shipping_cost, total
  FROM cs_quote_order(
    lines   => '[{"sku": "BC-3001-L-BLACK", "quantity": 12, "designs": [
                 {"placement": "width1", "print_method": "DTG",
                  "width_inches": 10, "height_inches": 12, "url": "https://cdn.partner.com/logo.png"}]}]',
    ship_to => '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY",
                 "postal_code": "11201", "country": "US"}',
    server  => 'hub');

-- Order them. The intent is committed before the first byte leaves, so that
-- neither a crash nor a rollback of ours can order twice or forget.

SELECT id, state, order_number, remote_status, total
  FROM cs_create_order(
    lines       => '[{"sku": "BC-3001-L-BLACK", "quantity": 12, "designs": [
                     {"placement": "width1", "print_method": "DTG",
                      "width_inches": 10, "height_inches": 12, "url": "https://cdn.partner.com/logo.png"}]}]',
    ship_to     => '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY",
                     "postal_code": "11201", "country": "US"}',
    external_id => 'demo-1001',
    server      => 'hub');

-- Or let the ERP's own table order: a trigger says which column is what.

CREATE TABLE purchase_order (
  po_number text PRIMARY KEY,
  items     jsonb NOT NULL,
  address   jsonb NOT NULL
);
CREATE TRIGGER order_at_partner AFTER INSERT ON purchase_order FOR EACH ROW
  EXECUTE FUNCTION cs_submit_order('server=hub', 'external_id=po_number', 'lines=items', 'ship_to=address');

-- A row that is rolled back orders nothing; one that is committed is on its way
-- at once, and the INSERT has not waited for the partner.

BEGIN;
INSERT INTO purchase_order VALUES ('PO-2001',
  '[{"sku": "BC-3001-L-BLACK", "quantity": 100}]',
  '{"name": "Nobody", "line1": "1 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}');
ROLLBACK;

INSERT INTO purchase_order VALUES ('PO-2002',
  '[{"sku": "BC-3001-L-BLACK", "quantity": 3}]',
  '{"name": "Joe Roe", "line1": "5 Side St", "city": "Albany", "state": "NY", "postal_code": "12207", "country": "US"}');

--wait (SELECT count(*) FROM cs_orders WHERE state NOT IN ('queued', 'sending')) = 2

SELECT id, external_id, state, order_number, remote_status, total FROM cs_orders ORDER BY id;

-- Follow both. The stand-in approves, produces and ships a step at every look.

SELECT external_id, cs_order_status(id, max_age => '0') FROM cs_orders ORDER BY id;

SELECT external_id, cs_order_status(id, max_age => '0') FROM cs_orders ORDER BY id;

SELECT external_id, cs_order_status(id, max_age => '0') FROM cs_orders ORDER BY id;

SELECT external_id, carrier, tracking_number FROM cs_shipments ORDER BY order_id;

-- What happened, here and at the partner.

SELECT at::time(0), source, type, by FROM cs_order_events WHERE external_id = 'PO-2002' ORDER BY id;
