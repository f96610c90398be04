# CustomHub Partner API v1, section "Orders": every example goes through the
# extension. Where the document abbreviates with "...", the value is completed;
# nothing else is changed.
use strict;
use warnings;

use CupsourceReplay;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partner = CupsourceReplay->start;
my $identity = CupsourceReplay->start;
my $node = cupsource_node('hub', conf => 'cupsource.max_retries = 0');

create_account($node, 'hub', api => 'customhub-v1', base_url => $partner->url, auth_url => $identity->url,
	poll_interval => '1h', secrets => { api_key => 'ek_live_...', secret_key => 'esk_live_...' });
$identity->answers('POST /api/PartnerAuthentication/auth' =>
	  '{"accessToken": "eyJhbGc...", "refreshToken": "...", "expired": "2099-05-19T19:00:00+00:00"}');

my $order_id = '9b4f7e2a-0000-4000-8000-000000000001';
my $other_id = $order_id =~ s/1\z/5/r;
my $item_id = '1c2d3e4f-0000-4000-8000-000000000002';

# One request arrived: this one, with the token, and with this JSON as its body.
sub sent
{
	my ($request, $body) = @_;
	my @requests = $partner->arrived;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(join(', ', map {"$_->{method} $_->{target}"} @requests), $request, $request);
	my $sent = $requests[0];
	is($sent->{headers}{authorization}, 'Bearer eyJhbGc...', 'with the token');
	is($sent->{headers}{'content-type'}, $body ? 'application/json' : undef, $body ? 'as JSON' : 'without a body');
	is($body ? canonical($sent->{body}) : $sent->{body}, $body ? canonical($body) : '', 'as documented');
	return;
}

#
# "Get a cost estimate"
#
$partner->answers('POST /api/v1/orders/quote' => <<'END');
{
  "success": true,
  "data": {
    "computedCost": {
      "currency":      "USD",
      "itemsSubtotal": 21.00,
      "shippingCost":  4.20,
      "grandTotal":    25.70,
      "perItem": [{ "sku": "BC-3001-L-BLACK", "quantity": 1, "unitCost": 21.00 }]
    }
  }
}
END
is(fields($node, <<"SQL"), <<'END', 'Get a cost estimate');
SELECT * FROM cs_quote_order(
  lines => '[{"variation_id": "$order_id", "quantity": 1,
              "designs": [{"placement": "width1", "width_inches": 11, "height_inches": 11, "print_method": "DTF"}]}]',
  ship_to => '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}',
  options => '{"is_rush": false}')
SQL
currency: USD
items_subtotal: 21.00
shipping_cost: 4.20
total: 25.70
estimated: false
per_item: [{"sku": "BC-3001-L-BLACK", "quantity": 1, "unitCost": 21.00}]
END
sent('POST /api/v1/orders/quote', <<"END");
{
    "shippingAddress": { "name":"Jane Doe","street1":"123 Main St","city":"Brooklyn","state":"NY","zip":"11201","country":"US" },
    "isRush": false,
    "items": [{
      "variationId": "$order_id",
      "quantity":    1,
      "designs": [{ "placement":"width1", "widthInches":11, "heightInches":11, "printMethod":"DTF" }]
    }]
  }
END

#
# "Create order"
#
my $create = <<'END';
{
    "externalOrderId": "shopify-1234",
    "shippingAddress": {
      "name":    "Jane Doe",
      "street1": "123 Main St",
      "city":    "Brooklyn",
      "state":   "NY",
      "zip":     "11201",
      "country": "US",
      "phone":   "+1-555-0100",
      "email":   "jane@example.com"
    },
    "customer": { "name": "Jane Doe", "email": "jane@example.com" },
    "items": [{
      "sku":      "BC-3001-L-BLACK",
      "quantity": 1,
      "designs":  [{
        "url":          "https://cdn.partner.com/designs/abc.png",
        "placement":    "width1",
        "widthInches":  11.0,
        "heightInches": 11.0
      }]
    }]
  }
END
my $created = <<"END";
{
  "success": true,
  "data": {
    "orderId":         "$order_id",
    "orderNumber":     "PO-12345",
    "externalOrderId": "shopify-1234",
    "status":          "ApprovalPending",
    "createdAt":       "2026-05-18T10:00:05Z",
    "computedCost": {
      "currency":           "USD",
      "itemsSubtotal":      21.00,
      "shippingCost":       4.20,
      "shippingCategoryFee":0.50,
      "discountAmount":     0.00,
      "rushFee":            0.00,
      "grandTotal":         25.70
    }
  }
}
END
my $lines = '[{"sku": "BC-3001-L-BLACK", "quantity": 1, "designs": [{"url": "https://cdn.partner.com/designs/abc.png", '
  . '"placement": "width1", "width_inches": 11.0, "height_inches": 11.0}]}]';
my $ship_to = '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", '
  . '"country": "US", "phone": "+1-555-0100", "email": "jane@example.com"}';
my $options = '{"customer": {"name": "Jane Doe", "email": "jane@example.com"}}';
my $columns = 'server, external_id, path, state, remote_id, order_number, remote_status, currency, items_subtotal, '
  . 'shipping_cost, shipping_category_fee, discount_amount, rush_fee, total, cost, item_count, rejection_reason, '
  . 'remote_created_at, last_shipped_at, cancelled_at';
my $placed = <<"END";
server: hub
external_id: shopify-1234
path: call
state: placed
remote_id: $order_id
order_number: PO-12345
remote_status: ApprovalPending
currency: USD
items_subtotal: 21.00
shipping_cost: 4.20
shipping_category_fee: 0.50
discount_amount: 0.00
rush_fee: 0.00
total: 25.70
cost: {"rushFee": 0.00, "currency": "USD", "grandTotal": 25.70, "shippingCost": 4.20, "itemsSubtotal": 21.00, "discountAmount": 0.00, "shippingCategoryFee": 0.50}
remote_created_at: 2026-05-18T10:00:05+00:00
END
my $call = "cs_create_order(lines => '$lines', ship_to => '$ship_to', external_id => 'shopify-1234', options => '$options')";

$partner->answers('POST /api/v1/orders' => $created, status => 201);
is(fields($node, "SELECT $columns FROM $call"), $placed, 'Create order: each field in its column');
sent('POST /api/v1/orders', $create);
is(fields($node, "SELECT $columns FROM $call"), $placed, 'the same again is the same order');
is_deeply([ $partner->lines ], [], 'without asking');
is(fields($node, q{SELECT line, sku, quantity, designs FROM cs_order_lines}), <<'END', 'its lines');
line: 1
sku: BC-3001-L-BLACK
quantity: 1
designs: [{"url": "https://cdn.partner.com/designs/abc.png", "placement": "width1", "width_inches": 11.0, "height_inches": 11.0}]
END

# The same by a trigger on a table of the ERP, after COMMIT.
$node->safe_psql('postgres', <<'SQL');
CREATE TABLE purchase_orders (po_number text PRIMARY KEY, lines jsonb, address jsonb, buyer jsonb);
CREATE TRIGGER submit AFTER INSERT ON purchase_orders FOR EACH ROW
  EXECUTE FUNCTION cs_submit_order('server=hub', 'external_id=po_number', 'lines=lines', 'ship_to=address', 'customer=buyer');
SQL
$partner->answers('POST /api/v1/orders' => $created =~ s/shopify-1234/shopify-1235/r =~ s/-000000000001/-000000000005/r, status => 201);
$node->safe_psql('postgres', "INSERT INTO purchase_orders VALUES ('shopify-1235', '$lines', '$ship_to', '{\"name\": \"Jane Doe\", \"email\": \"jane\@example.com\"}')");
wait_for_state($node, 'shopify-1235', 'placed');
sent('POST /api/v1/orders', $create =~ s/shopify-1234/shopify-1235/r);
is(fields($node, q{SELECT path, order_number, total FROM cs_orders WHERE external_id = 'shopify-1235'}),
	"path: queue\norder_number: PO-12345\ntotal: 25.70\n", 'a row of the ERP is the documented order too');

# Every field of the parameter list.
$partner->answers('POST /api/v1/orders' => $created =~ s/shopify-1234/full/r =~ s/-000000000001/-000000000003/r, status => 201);
$node->safe_psql('postgres', <<"SQL");
SELECT cs_create_order(external_id => 'full', ship_to => '$ship_to',
  lines => '[{"variation_id": "$item_id", "sku": "S", "quantity": 10000, "designs": [{"url": "https://cdn.partner.com/a.png", "placement": "width1",
    "width_inches": 0.1, "height_inches": 1e-7, "print_method": "DTF"}]}]',
  options => '{"bill_to": {"name": "B", "line1": "L", "city": "C", "state": "NY", "postal_code": "1", "country": "US", "phone": "2", "email": "e\@example.com"},
    "customer": {"name": "N", "email": "n\@example.com", "phone": "3"}, "is_gift": true, "is_rush": true, "notes": "Grüße \\u2713 \\"x\\""}')
SQL
sent('POST /api/v1/orders', <<"END");
{"externalOrderId": "full",
 "shippingAddress": {"name": "Jane Doe", "street1": "123 Main St", "city": "Brooklyn", "state": "NY", "zip": "11201", "country": "US", "phone": "+1-555-0100", "email": "jane\@example.com"},
 "billingAddress": {"name": "B", "street1": "L", "city": "C", "state": "NY", "zip": "1", "country": "US", "phone": "2", "email": "e\@example.com"},
 "customer": {"name": "N", "email": "n\@example.com", "phone": "3"},
 "items": [{"sku": "S", "variationId": "$item_id", "quantity": 10000,
   "designs": [{"url": "https://cdn.partner.com/a.png", "placement": "width1", "widthInches": 0.1, "heightInches": 0.0000001, "printMethod": "DTF"}]}],
 "isGift": true, "isRush": true, "notes": "Gr\\u00fc\\u00dfe \\u2713 \\"x\\""}
END

#
# "Retrieve an order"
#
my $item = <<"END";
{ "id": "$item_id", "sku": "BC-3001-L-BLACK", "quantity": 1, "designs": [{ "placement": "width1", "url": "https://cdn.../front.png" }] }
END
my $retrieved = <<"END";
{
  "success": true,
  "data": {
    "orderId":         "$order_id",
    "externalOrderId": "shopify-1234",
    "productionStatus":"Approved",
    "items":     [ $item ],
    "shipments": [
      {
        "shipmentId":     "5e6f...",
        "carrier":        "USPS",
        "trackingNumber": "9400111...",
        "trackingUrl":    "https://tools.usps.com/go/TrackConfirmAction?tLabels=...",
        "shippedAt":      "2026-05-19T11:34:00Z"
      }
    ],
    "computedCost": { "currency": "USD", "grandTotal": 25.70 },
    "events": [
      { "at": "2026-05-18T10:00:05Z", "type": "created",  "by": "partner" },
      { "at": "2026-05-18T17:12:00Z", "type": "approved", "by": "admin" },
      { "at": "2026-05-19T11:34:00Z", "type": "shipped",  "by": "system", "shipmentId": "5e6f..." }
    ]
  }
}
END
$partner->answers("GET /api/v1/orders/$order_id" => $retrieved, times => 2);
is($node->safe_psql('postgres', q{SELECT cs_order_status('shopify-1234', max_age => '0')}), 'shipped', 'Retrieve an order: events[] tell its state');
sent("GET /api/v1/orders/$order_id");
is(fields($node, "SELECT $columns FROM cs_order('shopify-1234')"),
	$placed =~ s/state: placed/state: shipped/r =~ s/ApprovalPending/Approved/r
	  =~ s/^cost: .*$/cost: {"currency": "USD", "grandTotal": 25.70}/mr . "last_shipped_at: 2026-05-19T11:34:00+00:00\n",
	'its state, cost and last shipment; what it does not show again stands');
my $events = <<'END';
at: 2026-05-18T10:00:05+00:00
type: created
by: partner

at: 2026-05-18T17:12:00+00:00
type: approved
by: admin

at: 2026-05-19T11:34:00+00:00
type: shipped
by: system
detail: {"shipment_id": "5e6f..."}
END
my $history = q{SELECT at, type, by, detail FROM cs_order_events WHERE external_id = 'shopify-1234' AND source = 'remote' ORDER BY at};
is(fields($node, $history), $events, 'events[]');
is(fields($node, q{SELECT * FROM cs_order_tracking('shopify-1234')}), <<'END', 'shipments[]');
order_id: 1
server: hub
external_id: shopify-1234
shipment_id: 5e6f...
carrier: USPS
tracking_number: 9400111...
tracking_url: https://tools.usps.com/go/TrackConfirmAction?tLabels=...
shipped_at: 2026-05-19T11:34:00+00:00
END
sent("GET /api/v1/orders/$order_id");
is(fields($node, $history), $events, 'each event once, however often it is read');
is($node->safe_psql('postgres', q{SELECT raw->'data'->'items' FROM cs_order('shopify-1234')}),
	$node->safe_psql('postgres', "SELECT '[$item]'::jsonb"), 'items[] are in raw');

# "rejection details (if applicable)"; a status that no document knows
$partner->answers('GET /api/v1/orders/9b4f7e2a-0000-4000-8000-000000000003' => <<'END');
{"success": true, "data": {"orderId": "9b4f7e2a-0000-4000-8000-000000000003", "productionStatus": "OnHold", "computedCost": {"grandTotal": 12345678901234.56, "rushFee": 1e-7}}}
END
is($node->safe_psql('postgres', q{SELECT cs_order_status('full', max_age => '0')}), 'placed', 'an unknown status');
is(fields($node, q{SELECT remote_status, total, rush_fee FROM cs_order('full')}), <<'END', 'is stored, and money is exact');
remote_status: OnHold
total: 12345678901234.56
rush_fee: 0.0000001
END
$partner->answers('GET /api/v1/orders/9b4f7e2a-0000-4000-8000-000000000003' => <<'END');
{"success": true, "data": {"orderId": "9b4f7e2a-0000-4000-8000-000000000003", "productionStatus": "OnHold", "computedCost": {"grandTotal": "25.70"}}}
END
$node->safe_psql('postgres', q{SELECT cs_order_status('full', max_age => '0')});
is($node->safe_psql('postgres', q{SELECT total FROM cs_order('full')}), '25.70', 'also if it is written as a string');
$partner->answers('GET /api/v1/orders/9b4f7e2a-0000-4000-8000-000000000003' => <<'END');
{"success": true, "data": {"orderId": "9b4f7e2a-0000-4000-8000-000000000003", "productionStatus": "Rejected", "rejection": {"reason": "The design is blurred."}}}
END
is($node->safe_psql('postgres', q{SELECT cs_order_status('full', max_age => '0')}), 'rejected', 'a rejection');
is(fields($node, q{SELECT rejection_reason FROM cs_order('full')}), "rejection_reason: The design is blurred.\n", 'and its reason');
$partner->clear;

#
# "List orders"
#
$partner->answers('GET /api/v1/orders?page=1&pageSize=50&since=2026-05-01T00:00:00Z&status=Shipped' => <<"END");
{
  "success": true,
  "data": {
    "orders": [
      {
        "orderId":         "$order_id",
        "externalOrderId": "shopify-1234",
        "status":          "Progressing Shipment",
        "productionStatus":"Approved",
        "itemCount":       1,
        "total":           25.70,
        "createdAt":       "2026-05-18T10:00:05Z",
        "lastShippedAt":   "2026-05-19T11:34:00Z"
      }
    ],
    "pagination": { "page": 1, "pageSize": 50, "totalCount": 133, "hasMore": false }
  }
}
END
is(fields($node, q{SELECT server, external_id, state, remote_id, remote_status, total, item_count, remote_created_at, last_shipped_at, raw->>'status' AS status
  FROM cs_orders(status => 'Shipped', since => '2026-05-01T00:00:00Z', max_rows => 50)}), <<"END", 'List orders: each field in its column, the display text in raw');
server: hub
external_id: shopify-1234
state: shipped
remote_id: $order_id
remote_status: Approved
total: 25.70
item_count: 1
remote_created_at: 2026-05-18T10:00:05+00:00
last_shipped_at: 2026-05-19T11:34:00+00:00
status: Progressing Shipment
END
sent('GET /api/v1/orders?status=Shipped&since=2026-05-01T00%3A00%3A00Z&pageSize=50&page=1');
$partner->answers('GET /api/v1/orders?externalOrderId=shopify%201&pageSize=100&page=1' =>
	  '{"success": true, "data": {"orders": [], "pagination": {"page": 1, "pageSize": 100, "totalCount": 0, "hasMore": false}}}');
is(fields($node, q{SELECT * FROM cs_orders(external_id => 'shopify 1')}), "\n", 'by external id');
sent('GET /api/v1/orders?externalOrderId=shopify%201&pageSize=100&page=1');

# An empty list, as some write it; one that is not there is none if it should not be empty.
for ([ '"orders": null, ', 0, "\n" ], [ '', 0, "\n" ], [ '"orders": null, ', 1, 'PA006' ])
{
	my ($orders, $total, $expected) = @$_;
	my $query = q{SELECT * FROM cs_orders(external_id => 'shopify 1')};

	$partner->answers('GET /api/v1/orders?externalOrderId=shopify%201&pageSize=100&page=1' =>
		  qq({"success": true, "data": {$orders"pagination": {"page": 1, "pageSize": 100, "totalCount": $total, "hasMore": false}}}));
	is($expected eq 'PA006' ? query_state($node, $query) : fields($node, $query), $expected, "orders: '$orders', total: $total");
	sent('GET /api/v1/orders?externalOrderId=shopify%201&pageSize=100&page=1');
}
$partner->answers('GET /api/v1/orders?externalOrderId=shopify%202&pageSize=1&page=1' => '{"success": true, "data": {"orders": [{"orderId": "a", '
	  . '"externalOrderId": "another"}, {"orderId": "b", "externalOrderId": "shopify 2"}], "pagination": {"hasMore": false}}}');
is(fields($node, q{SELECT remote_id FROM cs_orders(external_id => 'shopify 2', max_rows => 1)}), "remote_id: b\n", 'no other, where the partner overlooks it');
sent('GET /api/v1/orders?externalOrderId=shopify%202&pageSize=1&page=1');

# A foreign table shows the same states, whatever else is asked for.
my @shown = (
	[ 'a', '"productionStatus": "Approved", "status": "Progressing Shipment", "lastShippedAt": "2026-05-19T11:34:00Z"', 'shipped' ],
	[ 'b', '"productionStatus": "Approved", "status": "Shipped"', 'shipped' ],
	[ 'c', '"productionStatus": "Approved", "status": "Progressing Shipment"', 'approved' ]);
$partner->answers('GET /api/v1/orders?page=1&pageSize=100' => sprintf('{"success": true, "data": {"orders": [%s], "pagination": {"totalCount": 3, "hasMore": false}}}',
		join(', ', map {qq({"orderId": "$_->[0]", $_->[1]})} @shown)), times => 5);
$partner->answers("GET /api/v1/orders/$_->[0]" => qq({"success": true, "data": {"orderId": "$_->[0]", "orderNumber": "N-$_->[0]", $_->[1]}}), times => 3) for @shown;
$node->safe_psql('postgres', 'CREATE SCHEMA live; IMPORT FOREIGN SCHEMA api LIMIT TO (orders) FROM SERVER hub INTO live');
my $shown = join ', ', map {"$_->[0] $_->[2]"} @shown;
my $states = q{SELECT string_agg(concat_ws(' ', remote_id, state), ', ' ORDER BY remote_id) FROM};
is($node->safe_psql('postgres', "$states cs_orders()"), $shown, 'the states of a list, by every word');
is($node->safe_psql('postgres', "$states live.orders"), $shown, 'and in the foreign table');
is($node->safe_psql('postgres', "$states live.orders WHERE state = 'shipped'"), 'a shipped, b shipped', 'where they can be asked for');
is($node->safe_psql('postgres', "$states live.orders WHERE order_number LIKE 'N-%'"), $shown, 'with what only details say');
is($node->safe_psql('postgres', "$states live.orders WHERE remote_id = 'b'"), 'b shipped', 'of a single one');
is($node->safe_psql('postgres', "$states live.orders WHERE remote_id = 'b' AND item_count IS NULL"), 'b shipped', 'with what only the list says');
$partner->clear;

# Times that no partner can read.
my $none = '{"success": true, "data": {"orders": [], "pagination": {"page": 1, "pageSize": 1, "totalCount": 0, "hasMore": false}}}';
for my $case ([ '-infinity' ], [ '0044-03-15 00:00+00 BC' ], [ '1999-12-31 23:59:59+00' ],
	[ '2000-01-01 00:00+00', 'since=2000-01-01T00%3A00%3A00Z&' ], [ '9999-12-31 23:59:59+00', 'since=9999-12-31T23%3A59%3A59Z&' ])
{
	my ($since, $sent) = @$case;
	my $request = 'GET /api/v1/orders?' . ($sent // '') . 'pageSize=1&page=1';

	$partner->answers($request => $none);
	is($node->safe_psql('postgres', "SELECT count(*) FROM cs_orders(since => '$since', max_rows => 1)"), 0, "since $since: " . ($sent // 'all of them'));
	sent($request);
}
is($node->safe_psql('postgres', "SELECT count(*) FROM cs_orders(since => '$_')"), 0, "since $_: none") for 'infinity', '10000-01-01 00:00+00';
is_deeply([ $partner->lines ], [], 'and nobody is asked');

#
# "Add or replace designs"
#
my $designs = "/api/v1/orders/$order_id/items/$item_id/designs";
$partner->answers("GET /api/v1/orders/$order_id" => $retrieved);
$partner->answers("POST $designs" => <<"END");
{
  "success": true,
  "data": {
    "orderId": "$order_id",
    "itemId":  "$item_id",
    "designs": [
      { "placement": "width1", "url": "https://cdn.../front.png", "widthInches": 11.0, "heightInches": 11.0, "printMethod": "DTF", "designWidthInches": 11.0 },
      { "placement": "width2", "url": "https://cdn.../back.png",  "widthInches": 11.0, "heightInches": 14.0, "printMethod": "DTF", "designWidthInches": 11.0 }
    ],
    "computedCost": { "currency": "USD", "itemsSubtotal": 28.00, "shippingCost": 4.20, "grandTotal": 32.70 }
  }
}
END
$partner->answers("GET /api/v1/orders/$order_id" => $retrieved =~ s/"computedCost": \{.*\}/"computedCost": { "currency": "USD", "itemsSubtotal": 28.00, "shippingCost": 4.20, "grandTotal": 32.70 }/r);
is(fields($node, <<'SQL'), <<'END', 'Add designs: the order has its new cost');
SELECT external_id, currency, items_subtotal, shipping_cost, total
  FROM cs_add_designs('shopify-1234', 1, '[{"url": "https://cdn.partner.com/designs/back.png", "placement": "width2",
    "width_inches": 11.0, "height_inches": 14.0, "print_method": "DTF"}]')
SQL
external_id: shopify-1234
currency: USD
items_subtotal: 28.00
shipping_cost: 4.20
total: 32.70
END
is($node->safe_psql('postgres', <<'SQL'), <<"END" =~ s/\n\z//r, 'and the answer is in its history');
SELECT e.by = current_user, e.detail->>'orderId', e.detail->>'itemId', e.detail->>'line', e.detail->'computedCost'->>'grandTotal',
       d->>'placement', d->>'url', d->>'widthInches', d->>'heightInches', d->>'printMethod', d->>'designWidthInches'
  FROM cs_order_events e, jsonb_array_elements(e.detail->'designs') d WHERE e.type = 'designs_added'
SQL
t|$order_id|$item_id|1|32.70|width1|https://cdn.../front.png|11.0|11.0|DTF|11.0
t|$order_id|$item_id|1|32.70|width2|https://cdn.../back.png|11.0|14.0|DTF|11.0
END
my @requests = $partner->arrived;
is_deeply([ map {"$_->{method} $_->{target}"} @requests ],
	[ "GET /api/v1/orders/$order_id", "POST $designs", "GET /api/v1/orders/$order_id" ],
	'the item is looked up, the designs are sent, the order is read');
is(canonical($requests[1]{body}), canonical(<<'END'), 'with the documented body');
{
    "designs": [{
      "url":          "https://cdn.partner.com/designs/back.png",
      "placement":    "width2",
      "widthInches":  11.0,
      "heightInches": 14.0,
      "printMethod":  "DTF"
    }]
  }
END

#
# "Cancel an order"
#
$partner->answers("DELETE /api/v1/orders/$other_id" => <<"END");
{
  "success": true,
  "data": {
    "orderId":     "$other_id",
    "status":      "Cancelled",
    "cancelledAt": "2026-05-18T17:15:00Z"
  }
}
END
is(fields($node, q{SELECT external_id, state, remote_id, remote_status, cancelled_at FROM cs_cancel_order('shopify-1235')}), <<"END", 'Cancel an order');
external_id: shopify-1235
state: cancelled
remote_id: $other_id
remote_status: Cancelled
cancelled_at: 2026-05-18T17:15:00+00:00
END
sent("DELETE /api/v1/orders/$other_id");
is(fields($node, q{SELECT state FROM cs_cancel_order('shopify-1235')}), "state: cancelled\n", 'again is the same');
is_deeply([ $partner->lines ], [], 'without asking');

# "Order lifecycle": the partner's word and ours.
my %state = (ApprovalPending => 'placed', Approved => 'approved', InProduction => 'in_production', Shipped => 'shipped',
	Cancelled => 'cancelled', Rejected => 'rejected');
$partner->answers('GET /api/v1/orders?pageSize=100&page=1' => '{"success": true, "data": {"orders": ['
	  . join(', ', map {qq({"orderId": "o$_", "productionStatus": "$_"})} sort keys %state) . ']}}');
is($node->safe_psql('postgres', q{SELECT string_agg(remote_status || ' ' || state, ', ' ORDER BY remote_status) FROM cs_orders()}),
	join(', ', map {"$_ $state{$_}"} sort keys %state), 'Order lifecycle');
$partner->answers('GET /api/v1/orders?pageSize=100&page=1' => '{"success": true, "data": {"orders": ['
	  . '{"orderId": "o1", "productionStatus": "ApprovalPending", "status": "Cancelled"}, {"orderId": "o2", "productionStatus": "Shipped", "status": "Approved"},'
	  . '{"orderId": "o3", "productionStatus": "OnHold", "status": "in production"}, {"orderId": "o4", "productionStatus": "OnHold"}]}}');
is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', remote_id, remote_status, state), ', ' ORDER BY remote_id) FROM cs_orders()}),
	'o1 ApprovalPending cancelled, o2 Shipped shipped, o3 OnHold in_production, o4 OnHold', 'of two words the one that is further on');
is_deeply([ $partner->left ], [], 'everything that was answered was asked for');
$node->stop;
done_testing;
