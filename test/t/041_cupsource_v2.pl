# Cup Source v2, "Partner Documentation v2.4.1": every example of its document
# goes through the extension, and what the document leaves open is read in each
# of the ways that it may turn out.
use strict;
use warnings;

use CupsourceReplay;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partner = CupsourceReplay->start;
my $node = cupsource_node('v2', conf => 'cupsource.max_retries = 0');
my $key = 'cs_live_sk_8f7d6c5b4a3e2d1f';

create_account($node, 'shop', api => 'cupsource-v2', base_url => $partner->url . '/v2',
	secrets => { api_key => $key });

#
# Section "Products & Catalog": the example request and its response schema
#
my $page = documented(<<'END');
{
  'data': [
    {
      'id': 'prod_8x92k4m',
      'name': 'Double-Wall 12oz Coffee Cup',
      'sku': 'CS-CF-12DW',
      'material': 'Kraft Paper + PLA Lining',
      'certifications': ['FSC-MIX', 'BPI_Compostable'],
      'pricing': { 'unit_price': 0.14, 'currency': 'USD', 'min_order_qty': 1000 },
      'stock_status': 'available',
      'lead_time_days': 3
    }
  ],
  'pagination': { 'total': 142, 'has_more': true, 'next_cursor': 'eyJpZCI6MTQyfQ==' }
}
END
my $product = <<'END';
server: shop
product_id: prod_8x92k4m
sku: CS-CF-12DW
name: Double-Wall 12oz Coffee Cup
material: Kraft Paper + PLA Lining
certifications: ["FSC-MIX","BPI_Compostable"]
unit_price: 0.14
currency: USD
min_order_qty: 1000
stock_status: available
lead_time_days: 3
END
my $last = '{"data": [], "pagination": {"total": 142, "has_more": false, "next_cursor": null}}';
my $example = '/v2/products?category=coffee_cups&eco_certified=true&limit=20';

$partner->answers("GET $example" => $page);
$partner->answers("GET $example&cursor=eyJpZCI6MTQyfQ==" => $last);
is(fields($node, q{SELECT * FROM cs_products(category => 'coffee_cups', eco_certified => true, max_rows => 20)}),
	$product, 'the example response, each field in its column, nothing left for raw');
my @arrived = $partner->arrived;
is_deeply([ map {"$_->{method} $_->{target}"} @arrived ], [ "GET $example", "GET $example&cursor=eyJpZCI6MTQyfQ%3D%3D" ],
	'the example request, then the cursor of its response, percent-encoded');
for (@arrived)
{
	is($_->{headers}{authorization}, "Bearer $key", 'with the key as Bearer token');
	is($_->{headers}{'x-environment'}, undef, 'and no environment');
}
is_deeply([ $partner->left ], [], 'both were asked for');

# A cursor is opaque, whatever is in it.
my @cursors = ('a b+c/d?e&f=g%20h#', "\x{fc}nic\x{f6}de \x{2713}", 'x' x 2000);
my $target = '/v2/products?eco_certified=false&min_moz=5000&limit=100';
my @escaped = map { my $c = $_; utf8::encode($c); $c =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ger } @cursors;
my @requests = ("GET $target", map {"GET $target&cursor=$_"} @escaped);
for my $n (0 .. $#requests)
{
	my $next = $n < @cursors ? '"' . ($cursors[$n] =~ s/(["\\])/\\$1/gr) . '"' : '""';

	$partner->answers($requests[$n] =>
		  qq({"data": [{"id": "p$n"}], "pagination": {"has_more": ) . ($n < @cursors ? 'true' : 'false') . qq(, "next_cursor": $next}}));
}
is($node->safe_psql('postgres', q{SELECT string_agg(product_id, ' ') FROM cs_products(eco_certified => false, min_moq => 5000)}),
	'p0 p1 p2 p3', 'pages are followed to their end');
is_deeply([ $partner->lines ], \@requests, 'by cursors as they came; min_moz is the wire\'s word for min_moq');

for ([ q{material => 'paper'}, 'material' ], [ q{capacity => '8oz'}, 'capacity' ], [ q{search => 'cup'}, 'search' ])
{
	is(refusal($node, "SELECT * FROM cs_products($_->[0])"), <<"END", "$_->[1] is refused by name");
ERROR:  0A000: Cup Source v2 cannot filter "products" by "$_->[1]"
DETAIL:  It can filter by "category", "eco_certified", "min_moq".
HINT:  The cached view, without parentheses, can be filtered by any column.
END
}
is_deeply([ $partner->lines ], [], 'before anything is sent');

#
# Section "Base URL & Environment"
#
create_account($node, 'trial', api => 'cupsource-v2', base_url => $partner->url . '/v2', environment => 'sandbox',
	secrets => { api_key => $key });
create_account($node, 'live', api => 'cupsource-v2', base_url => $partner->url . '/v2', environment => 'live',
	secrets => { api_key => $key });
$partner->answers('GET /v2/products?limit=20' => $last, times => 2);
$node->safe_psql('postgres', "SELECT * FROM cs_products(max_rows => 20, server => '$_')") for qw(trial live);
is_deeply([ map { $_->{headers}{'x-environment'} } $partner->arrived ], [ 'sandbox', undef ],
	'the sandbox is asked for by X-Environment: sandbox, production by nothing');

#
# The same catalogue, cached
#
$partner->answers('GET /v2/products?limit=100' => $page);
$partner->answers('GET /v2/products?limit=100&cursor=eyJpZCI6MTQyfQ==' => <<'END');
{"data": [{"id": "prod_2", "sku": "CS-2", "weight": 1e-7, "pricing": {"unit_price": 12345678901234.56, "tiers": [0.10]}}],
 "pagination": {"total": 2, "has_more": false}}
END
$node->safe_psql('postgres', "CALL cs_refresh_catalog('shop')");
is_deeply([ $partner->lines ],
	[ 'GET /v2/products?limit=100', 'GET /v2/products?limit=100&cursor=eyJpZCI6MTQyfQ%3D%3D' ],
	'a refresh reads the largest pages that the document allows');
is(fields($node, 'SELECT * FROM cs_products ORDER BY product_id DESC'), "$product\n" . <<'END', 'cached rows are as the live ones');
server: shop
product_id: prod_2
sku: CS-2
unit_price: 12345678901234.56
raw: {"id": "prod_2", "sku": "CS-2", "weight": 0.0000001, "pricing": {"tiers": [0.10], "unit_price": 12345678901234.56}}
END
is(fields($node, q{SELECT * FROM cs_prices WHERE sku = 'CS-CF-12DW'}), <<'END', 'and have prices');
server: shop
sku: CS-CF-12DW
product_id: prod_8x92k4m
name: Double-Wall 12oz Coffee Cup
unit_price: 0.14
currency: USD
min_order_qty: 1000
stock_status: available
lead_time_days: 3
END
is(fields($node, q{SELECT * FROM cs_variations WHERE sku = 'CS-CF-12DW'}), <<'END', 'a product is its own variation');
server: shop
variation_id: prod_8x92k4m
product_id: prod_8x92k4m
sku: CS-CF-12DW
variation_description: Double-Wall 12oz Coffee Cup
is_active: true
unit_price: 0.14
currency: USD
END

#
# A product of the wrong shape is refused by its place
#
for (
	[ '"pricing": 5', 'pricing": expected an object, got a number' ],
	[ '"pricing": {"unit_price": "0.14 each"}', 'pricing.unit_price": expected a number, got a string' ],
	[ '"pricing": {"min_order_qty": 9223372036854775808}', 'pricing.min_order_qty": number 9223372036854775808 is out of range' ],
	[ '"certifications": ["FSC", 5]', 'certifications": element 2: expected a string, got a number' ],
	[ '"certifications": {}', 'certifications": expected an array of strings, got an object' ],
	[ '"sku": ["A"]', 'sku": expected a string or an integer, got an array' ],
	[ '"id": null', 'id": required, but missing' ],
  )
{
	$partner->clear;
	$partner->answers('GET /v2/products?limit=100' => qq({"data": [{"id": "p1"}, {"id": "p2", $_->[0]}]}));
	is(refusal($node, q{SELECT * FROM cs_products(server => 'shop')}), <<"END", "refused: $_->[0]");
ERROR:  PA006: malformed answer from server "shop": resource "products", row 2, field "$_->[1]
END
}
for (
	[ '{"data": null}', 'resource "products", page 1: there is no list of rows' ],
	[ '{"products": []}', 'resource "products", page 1: there is no list of rows' ],
	[ '{"data": [5]}', 'resource "products", row 1: expected an object, got a number' ],
	[ '{"data": [], "pagination": {"has_more": true}}',
		'resource "products", page 1: more pages are said to follow, but there is no cursor' ],
	[ '{"data": [], "pagination": {"has_more": "yes"}}',
		'resource "products", page 1: field "pagination.has_more": expected true or false, got string' ],
	[ '{"data": [], "pagination": {"total": -1}}', 'resource "products", page 1: field "pagination.total": expected a count, got number' ],
  )
{
	$partner->clear;
	$partner->answers('GET /v2/products?limit=100' => $_->[0]);
	is(refusal($node, q{SELECT * FROM cs_products(server => 'shop')}), <<"END", "refused: $_->[0]");
ERROR:  PA006: malformed answer from server "shop": $_->[1]
END
}
$partner->clear;
$partner->answers('GET /v2/products?limit=100' => '{"data": [{"id": "p1", "pricing": {"min_order_qty": 99999999999999999999999}}]}');
is(refusal($node, q{SELECT * FROM cs_products(server => 'shop')}), <<'END', 'an integer that no parser holds is refused, not altered');
ERROR:  PA006: malformed answer from server "shop": GET /products: unsound JSON: integer out of range at byte 53 (HTTP status 200)
DETAIL:  The answer begins with: {"data": [{"id": "p1", "pricing": {"min_order_qty": 99999999999999999999999}}]}
END

#
# Section "Order Payload"
#
my $payload = documented(<<'END');
{
  'line_items': [
    { 'product_id': 'prod_8x92k4m', 'quantity': 5000 }
  ],
  'custom_branding': {
    'asset_id': 'art_9f3m2x',
    'print_method': 'flexography',
    'proof_approval_deadline': '2025-04-15T00:00:00Z'
  },
  'shipping': {
    'method': 'freight_pallet',
    'address': { 'line1': '123 Warehouse Blvd', 'city': 'Portland', 'state': 'OR', 'postal_code': '97201', 'country': 'US' }
  },
  'billing': { 'po_number': 'PO-2025-0892', 'net_terms': '30' }
}
END
my $placed = 0;

# Place the documented order and answer it so; its row, but for raw.
sub place
{
	my ($answer, %more) = @_;
	my $options = $more{options} // <<'END';
{"branding": {"asset_id": "art_9f3m2x", "print_method": "flexography", "proof_approval_deadline": "2025-04-15T00:00:00Z"},
 "shipping_method": "freight_pallet", "po_number": "PO-2025-0892", "net_terms": "30"}
END

	$placed++;
	$partner->clear;
	$partner->answers('POST /v2/orders' => $answer, status => $more{status} // 201);
	return fields($node, <<"END");
SELECT external_id, state, remote_id, order_number, remote_status, currency, items_subtotal, shipping_cost, total, remote_created_at
  FROM cs_create_order(external_id => 'PO-$placed', server => 'shop',
    lines => '[{"product_id": "prod_8x92k4m", "quantity": 5000}]',
    ship_to => '{"line1": "123 Warehouse Blvd", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}',
    options => '$options')
END
}

is(place('{"data": {"id": "ord_1", "status": "submitted"}}'), <<'END', 'the documented order is placed');
external_id: PO-1
state: placed
remote_id: ord_1
remote_status: submitted
END
my @sent = $partner->arrived;
is_deeply([ map {"$_->{method} $_->{target}"} @sent ], ['POST /v2/orders'], 'by one POST');
is(canonical($sent[0]{body}), canonical($payload), 'with the documented payload');
is($sent[0]{headers}{'content-type'}, 'application/json', 'as JSON');
is($sent[0]{headers}{authorization}, "Bearer $key", 'with the key');

for (
	[ '{"data": {"order": {"order_id": "ord_2", "order_number": "N2", "status": "approved"}}}', 'ord_2', 'N2', 'approved', 'approved' ],
	[ '{"order": {"orderId": 3, "orderNumber": 33, "status": "Shipped"}}', '3', '33', 'Shipped', 'shipped' ],
	[ '{"id": "ord_4", "number": "N4", "status": "proof_review"}', 'ord_4', 'N4', 'proof_review', 'placed' ],
  )
{
	my ($answer, $id, $number, $status, $state) = @$_;

	is(place($answer), <<"END", "read: $answer");
external_id: PO-$placed
state: $state
remote_id: $id
order_number: $number
remote_status: $status
END
}
is(place('{"data": {"id": "ord_5", "totals": {"currency": "USD", "subtotal": 0.10, "shipping": 1e-7, "total": 12345678901234.56}, "createdAt": "2025-03-01T10:00:00Z"}}'),
	<<'END', 'an order\'s money is exact');
external_id: PO-5
state: placed
remote_id: ord_5
remote_status: submitted
currency: USD
items_subtotal: 0.10
shipping_cost: 0.0000001
total: 12345678901234.56
remote_created_at: 2025-03-01T10:00:00+00:00
END
place('{"id": "ord_6"}', options => '{"extra": {"surcharge": 1e-7, "priority": {"level": 2}}}');
@sent = $partner->arrived;
is(canonical($sent[0]{body}), canonical(<<'END'), 'the external id stands for a purchase order number; extra goes along as it is');
{"line_items": [{"product_id": "prod_8x92k4m", "quantity": 5000}],
 "shipping": {"address": {"line1": "123 Warehouse Blvd", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}},
 "billing": {"po_number": "PO-6"}, "surcharge": 1e-7, "priority": {"level": 2}}
END

# A success that does not show the order leaves its outcome open, and is not sent again.
for ('{"success": true}', '{"data": {}}', '{"data": {"id": 99999999999999999999999}}', '', '[]', '<html></html>')
{
	$placed++;
	$partner->clear;
	$partner->answers('POST /v2/orders' => $_, status => 201);
	is(query_state($node, qq{SELECT cs_create_order('[{"product_id": "p", "quantity": 1}]',
		'{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}', 'PO-$placed', server => 'shop')}),
		'PA009', "an unreadable answer: $_");
	is_deeply([ $partner->lines ], ['POST /v2/orders'], 'one POST');
	is(fields($node, "SELECT state, error_sqlstate FROM cs_orders WHERE external_id = 'PO-$placed'"),
		"state: uncertain\nerror_sqlstate: PA009\n", 'uncertain');
}
is($node->safe_psql('postgres', q{SELECT error_message, error_detail FROM cs_orders WHERE error_detail LIKE '%range%'}),
	'it is unknown whether order "PO-9" was placed|The request failed: malformed answer from server "shop": '
	  . 'POST /orders: unsound JSON: integer out of range at byte 17 (HTTP status 201)', 'and why');

$partner->clear;
is(refusal($node, <<'SQL'), <<'END', 'a form that v2 cannot express');
SELECT cs_create_order(external_id => 'PO-X', server => 'shop', lines => '[{"sku": "CS-CF-12DW", "quantity": 1, "designs": []}]',
  ship_to => '{"name": "Jane", "line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}', options => '{"currency": "USD", "is_rush": true}');
SQL
ERROR:  22023: order form is not valid for API "cupsource-v2"
DETAIL:  lines[0].sku: cannot be expressed by Cup Source v2
lines[0].designs: cannot be expressed by Cup Source v2
lines[0]: product_id is required
ship_to.name: cannot be expressed by Cup Source v2
options.is_rush: cannot be expressed by Cup Source v2
options.currency: cannot be expressed by Cup Source v2
END
is_deeply([ $partner->lines ], [], 'nothing is sent');

#
# GET /orders/{id}, which the document does not promise
#
$partner->answers('GET /v2/orders/ord_1' => <<'END');
{"data": {"id": "ord_1", "status": "shipped", "order_number": "N1", "shipments": [
  {"carrier": "UPS", "trackingNumber": "1Z1", "status": "in_transit", "estimated_delivery": "2025-04-20T00:00:00Z", "signature_required": false},
  {"id": "s2", "carrier": "FedEx", "tracking_number": 12345678901234567, "pallet": 2}]}}
END
is(fields($node, q{SELECT * FROM cs_order_tracking('PO-1')}), <<'END', 'where it is, it shows parcels');
order_id: 1
server: shop
external_id: PO-1
shipment_id: 1Z1
carrier: UPS
tracking_number: 1Z1
status: in_transit
estimated_delivery: 2025-04-20T00:00:00+00:00
signature_required: false

order_id: 1
server: shop
external_id: PO-1
shipment_id: s2
carrier: FedEx
tracking_number: 12345678901234567
raw: {"id": "s2", "pallet": 2, "carrier": "FedEx", "tracking_number": 12345678901234567}
END
is(fields($node, q{SELECT state, remote_status, order_number FROM cs_order('ord_1')}),
	"state: shipped\nremote_status: shipped\norder_number: N1\n", 'and the order\'s state');
for ([ '"status": "shipped"', '2' ], [ '"status": "shipped", "shipments": [{"id": "s2"}]', '1' ], [ '"shipments": []', '0' ])
{
	$partner->answers('GET /v2/orders/ord_1' => qq({"data": {"id": "ord_1", $_->[0]}}));
	is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_order_tracking('ord_1')}), $_->[1], "parcels that remain after $_->[0]");
}
$partner->lines;
$partner->answers('GET /v2/orders/ord_2' => '{"order": {"order_id": "ord_2", "status": "in_production"}}');
is($node->safe_psql('postgres', q{SELECT cs_order_status('ord_2', '0')}), 'in_production', 'also without parcels');
$partner->answers("GET /v2/orders/$_->[0]" => '{"message": "no such route"}', status => $_->[1])
  for ([ 'ord_4', 404 ], [ 'ord_5', 405 ]);
is($node->safe_psql('postgres', q{SELECT cs_order_status('ord_4', '0'), cs_order_status('ord_5', '0')}), 'placed|placed',
	'where it is not, what is known stands');
is_deeply([ $partner->lines ], [ map {"GET /v2/orders/$_"} qw(ord_2 ord_4 ord_5) ], 'each was asked once');

# What it shows has to be the order that was asked for.
sub look
{
	my ($answer) = @_;

	$partner->clear;
	$partner->answers('GET /v2/orders/ord_2' => $answer);
	return refusal($node, q{SELECT cs_order_status('ord_2', '0')}) =~ s/\A\n//r || $node->safe_psql('postgres', q{SELECT state FROM cs_orders WHERE 'ord_2' IN (remote_id, order_number)});
}

for my $other ('OTHER', 'ORD_2')
{
	is(look(qq({"data": {"id": "$other", "status": "cancelled"}})), <<"END", "the answer shows $other");
ERROR:  PA006: the answer about order "ord_2" of the partner shows order "$other"
END
}
is(look($_), <<'END', "no order: $_") for '{"data": {}}', '{"message": "ok"}', '{"status": "success", "data": null}';
ERROR:  PA006: the answer of server "shop" does not show the order
END
is(look('{"data": {"status": "in_production"}}'), 'in_production', 'one without an id is that which was asked for');
is(look('{"data": {"id": 17, "order_id": "ord_2", "status": "in_production"}}'), 'in_production', 'nor is one with an id of its own another');
is(look('{"data": {"id": 17, "order_number": "ord_2", "status": "shipped"}}'), 'shipped', 'which may have been asked for by its number');

# A partner that copies its data shows an order some time after it has answered that it is placed.
sub next_look
{
	my ($remote_id) = @_;

	return $node->safe_psql('postgres', "SELECT CASE WHEN poll_at IS NULL THEN 'never' WHEN poll_at - now() BETWEEN '20 s' AND '2 min' THEN 'soon' END
		FROM cs_orders WHERE remote_id = '$remote_id'");
}
is(next_look('ord_4') . ' ' . next_look('ord_5'), 'soon never', 'a new order that is not there is asked for again, but not where the way is not there');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET placed_at = now() - interval '11 min' WHERE remote_id = 'ord_4'});
$partner->answers('GET /v2/orders/ord_4' => '{"message": "no such route"}', status => 404);
is($node->safe_psql('postgres', q{SELECT cs_order_status('ord_4', '0')}), 'placed', 'nor after ten minutes');
is(next_look('ord_4'), 'never', 'from then on');
is($node->safe_psql('postgres', q{SELECT remote_id FROM cs_orders WHERE order_number = 'ord_2'}), '17', 'and is known by its id from then on');
$partner->answers('GET /v2/orders/17' => '{"data": {"id": 17, "status": "shipped", "currency": {"code": "USD"}, "created_at": 1770000000}}');
is($node->safe_psql('postgres', q{SELECT cs_order_status('17', '0', 'shop')}), 'shipped', 'what no document promises may look as it likes');

# A parcel without a list, among the fields of the order or beside it.
for my $answer (
	'{"data": {"id": "ord_5", "status": "shipped", "tracking_number": "1Z5", "carrier": "UPS", "tracking_status": "in_transit"}}',
	'{"data": {"order": {"id": "ord_5", "status": "shipped", "trackingNumber": "1Z5", "carrier": "UPS", "trackingStatus": "x", "shipment_status": "in_transit"}}}',
	'{"data": {"order": {"id": "ord_5", "status": "shipped"}, "tracking_number": "1Z5", "carrier": "UPS", "logistics_status": "in_transit"}}',
	'{"order": {"id": "ord_5", "status": "shipped"}, "tracking_number": "1Z5", "carrier": "UPS", "logistics_status": "in_transit"}',
	'{"order": {"id": "ord_5", "status": "shipped"}, "shipments": [{"tracking_number": "1Z5", "carrier": "UPS", "status": "in_transit"}]}',
	'{"id": "ord_5", "status": "shipped", "carrier": "UPS"}',
  )
{
	$node->safe_psql('postgres', q{DELETE FROM cs_internal.shipments WHERE order_id = (SELECT id FROM cs_orders WHERE remote_id = 'ord_5')})
	  if $answer =~ /1Z5/;
	$partner->answers('GET /v2/orders/ord_5' => $answer);
	is($node->safe_psql('postgres', q{SELECT shipment_id, carrier, tracking_number, status FROM cs_order_tracking('ord_5')}),
		'1Z5|UPS|1Z5|in_transit', "one parcel: $answer");
}
$partner->answers('GET /v2/orders/ord_5' => '{"id": "ord_5", "status": "shipped", "tracking_number": "1Z6"}');
is($node->safe_psql('postgres', q{SELECT string_agg(shipment_id, ' ') FROM cs_order_tracking('ord_5')}), '1Z6', 'another number is that of the same parcel');
$node->stop;
done_testing;
