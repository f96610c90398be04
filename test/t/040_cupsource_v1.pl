# Cup Source v1, "Developer Portal v1.2": every example of its document goes
# through the extension, and what the document leaves open is read in each of
# the ways that it may turn out.
use strict;
use warnings;

use CupsourceReplay;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partner = CupsourceReplay->start;
my $node = cupsource_node('v1', conf => "cupsource.max_retries = 0");

create_account($node, 'shop', api => 'cupsource-v1', base_url => $partner->url . '/v1');

# The envelope of section "Base URL & Response Format" round these products.
sub envelope
{
	my ($data, %meta) = @_;
	my $total = $meta{total} // 1;
	my $page = $meta{page} // 1;

	return qq({ "success": true, "data": $data, "meta": { "page": $page, "per_page": 20, "total": $total } });
}

# A product's fields as cs_products() gives them.
sub product
{
	my ($json, $columns) = @_;

	$partner->clear;
	$partner->answers('GET /v1/products?page=1' => envelope("[$json]"));
	return fields($node, 'SELECT ' . ($columns // '*') . ' FROM cs_products(max_rows => 1)');
}

#
# Sections "Authentication" and "GET /products"
#
$partner->answers('GET /v1/products?page=1' => envelope(<<'END'));
[
  { "id": 17, "sku": "CS-8OZ-ECO", "name": "Eco Cup 8oz", "category": "cups", "material": "bioplastic",
    "capacity": "8oz", "unit_price": 0.14, "currency": "USD", "min_order_qty": 1000, "stock_status": "available",
    "lead_time_days": 3, "certifications": ["FSC-MIX", "BPI_Compostable"],
    "image_url": "https://cdn.cupsource.com/8oz.png", "rim": { "diameter_mm": 80.0 } }
]
END
is(fields($node, 'SELECT * FROM cs_products(max_rows => 20)'), <<'END', 'a product, each field in its column');
server: shop
product_id: 17
sku: CS-8OZ-ECO
name: Eco Cup 8oz
category: cups
material: bioplastic
capacity: 8oz
certifications: ["FSC-MIX","BPI_Compostable"]
unit_price: 0.14
currency: USD
min_order_qty: 1000
stock_status: available
lead_time_days: 3
image_url: https://cdn.cupsource.com/8oz.png
raw: {"id": 17, "rim": {"diameter_mm": 80.0}, "sku": "CS-8OZ-ECO", "name": "Eco Cup 8oz", "capacity": "8oz", "category": "cups", "currency": "USD", "material": "bioplastic", "image_url": "https://cdn.cupsource.com/8oz.png", "unit_price": 0.14, "stock_status": "available", "min_order_qty": 1000, "certifications": ["FSC-MIX", "BPI_Compostable"], "lead_time_days": 3}
END
my ($request) = $partner->arrived;
is("$request->{method} $request->{target}", 'GET /v1/products?page=1', 'the documented request');
is($request->{headers}{authorization}, 'Bearer YOUR_API_KEY', 'with the key as Bearer token');
is($request->{headers}{'x-environment'}, undef, 'v1 has no environments');
is($request->{body}, '', 'and no body');

$partner->answers('GET /v1/products?category=lids&material=plastic&page=1' => envelope('[]', total => 0));
is(fields($node, q{SELECT * FROM cs_products(category => 'lids', material => 'plastic')}),
	"\n", 'the documented filters');
$partner->answers('GET /v1/products?capacity=350%20ml%20%2F%2012%C2%BD%20oz%20%26%20more%2B&page=1' => envelope('[]', total => 0));
is(fields($node, q{SELECT * FROM cs_products(capacity => '350 ml / 12½ oz & more+')}),
	"\n", 'and capacity, which only the prose names');
is_deeply([ $partner->lines ], [
		'GET /v1/products?category=lids&material=plastic&page=1',
		'GET /v1/products?capacity=350%20ml%20%2F%2012%C2%BD%20oz%20%26%20more%2B&page=1'
	], 'go out percent-encoded, and nothing else does');

for (['eco_certified => true', 'eco_certified'], ['min_moq => 5', 'min_moq'], [q{search => 'cup'}, 'search'])
{
	is(refusal($node, "SELECT * FROM cs_products($_->[0])"), <<"END", "$_->[1] is refused by name");
ERROR:  0A000: Cup Source v1 cannot filter "products" by "$_->[1]"
DETAIL:  It can filter by "category", "material", "capacity".
HINT:  The cached view, without parentheses, can be filtered by any column.
END
}
is_deeply([ $partner->lines ], [], 'before anything is sent');

# "meta": { "page": 1, "per_page": 20, "total": 142 }
for my $page (1 .. 8)
{
	my @products = map {qq({"sku": "S$_"})} (20 * $page - 19) .. ($page < 8 ? 20 * $page : 142);

	$partner->answers("GET /v1/products?page=$page" =>
		envelope('[' . join(', ', @products) . ']', page => $page, total => 142), times => undef);
}
is($node->safe_psql('postgres', q{SELECT count(*), min(sku), max(substr(sku, 2)::int) FROM cs_products()}),
	'142|S1|142', 'a total of 142 is read to its end');
is_deeply([ $partner->lines ], [ map {"GET /v1/products?page=$_"} 1 .. 8 ], 'by eight pages of 20');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_products(max_rows => 21)}), '21', 'max_rows');
is_deeply([ $partner->lines ], [ map {"GET /v1/products?page=$_"} 1 .. 2 ], 'asks for no page more');
is(fields($node, q{SELECT sku FROM cs_product('S41')}), "sku: S41\n", 'one product is looked for in the list');
is_deeply([ $partner->lines ], [ map {"GET /v1/products?page=$_"} 1 .. 3 ], 'as far as needed');
$partner->clear;
$partner->answers('GET /v1/products?page=1' => envelope('[{"sku": "S1"}]'));
is(refusal($node, q{SELECT * FROM cs_product('S2')}), <<'END', 'a product that is not there');
ERROR:  PA404: product "S2" does not exist on server "shop"
DETAIL:  No product in the list has this id or SKU.
END

# A total that counts something else cuts no list off.
$partner->clear;
$partner->answers("GET /v1/products?page=$_->[0]" => envelope('[' . join(', ', map {qq({"sku": "S$_"})} $_->[1] .. $_->[2]) . ']', page => $_->[0], total => $_->[3]))
  for ([ 1, 1, 20, 0 ], [ 2, 21, 40, 20 ], [ 3, 41, 42, 2 ]);
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_products()}), '42', 'a total that is exceeded is none');

#
# What the document leaves open about a list and a product
#
my $one = '[{"id": "p1", "sku": "S1"}]';
for (
	[ '"data": [...]', envelope($one) ],
	[ '"data": {"products": [...]}', envelope(qq({"products": $one})) ],
	[ '"data": {"items": [...]}', envelope(qq({"items": $one})) ],
	[ '{"products": [...]}', qq({"products": $one}) ],
	[ '{"items": [...]}', qq({"items": $one}) ],
	[ 'a bare list', $one ],
	[ 'a list of one, without the list', envelope('{"products": {"id": "p1", "sku": "S1"}}') ],
	[ 'an envelope without meta', qq({"success": true, "data": $one}) ],
  )
{
	$partner->clear;
	$partner->answers('GET /v1/products?page=1' => $_->[1]);
	is(fields($node, 'SELECT * FROM cs_products()'), "server: shop\nproduct_id: p1\nsku: S1\n", "read: $_->[0]");
	is_deeply([ $partner->lines ], ['GET /v1/products?page=1'], 'by one request');
}

is(product('{"sku": "S1"}'), "server: shop\nproduct_id: S1\nsku: S1\n", 'a sku is an id');
is(product('{"id": 9007199254740993}'), "server: shop\nproduct_id: 9007199254740993\nsku: 9007199254740993\n",
	'an id is a sku, an integer too');
is(product('{"sku": "S1", "price": 12.50}', 'unit_price, raw'), "unit_price: 12.50\n", 'price');
is(product('{"sku": "S1", "pricing": {"unit_price": 12.50, "currency": "EUR", "min_order_qty": 7}}',
		'unit_price, currency, min_order_qty, raw'),
	"unit_price: 12.50\ncurrency: EUR\nmin_order_qty: 7\n", 'pricing, as in v2');
is(product('{"sku": "S1", "unit_price": 2, "price": 3}', 'unit_price, raw'),
	qq(unit_price: 2\nraw: {"sku": "S1", "price": 3, "unit_price": 2}\n),
	'of two prices the more specific is taken, and the other not lost');
is(product('{"sku": "S1", "stock": 250}', 'stock_status'), "stock_status: 250\n", 'stock');
is(product('{"sku": "S1", "inventory": "low"}', 'stock_status'), "stock_status: low\n", 'inventory');
is(product('{"sku": "S1", "in_stock": true}', 'stock_status'), "stock_status: in_stock\n", 'in_stock');
is(product('{"sku": "S1", "in_stock": false}', 'stock_status'), "stock_status: out_of_stock\n", 'and out of it');
is(product('{"sku": "S1", "capacity": 8}', 'capacity'), "capacity: 8\n", 'a capacity that is a number');
is(product('{"sku": "S1", "name": null, "unit_price": null}', 'name, unit_price, raw'), "\n", 'nulls are NULL');

#
# Money is exact, and what no type holds is refused
#
for my $price (qw(0.1 0.14 12.50 12345678901234.56 12345678901234567890.123456789))
{
	is(product(qq({"sku": "S1", "unit_price": $price}), 'unit_price'), "unit_price: $price\n", "price $price");
}
is(product('{"sku": "S1", "unit_price": 1e-7}', 'unit_price'), "unit_price: 0.0000001\n", 'price 1e-7');
is(product('{"sku": "S1", "unit_price": -0.00}', 'unit_price'), "unit_price: 0.00\n", 'price -0.00');
is(product('{"sku": "S1", "price": "0.140"}', 'unit_price'), "unit_price: 0.140\n", 'a price that comes as a string');
is(product('{"sku": "S1", "lead_time_days": "3"}', 'lead_time_days'), "lead_time_days: 3\n",
	'and so any other number');
for (
	[ 'min_order_qty', '18446744073709551615', 'number 18446744073709551615 is out of range' ],
	[ 'min_order_qty', '1.5', 'number 1.5 is not an integer that fits' ],
	[ 'lead_time_days', '2147483648', 'number 2147483648 is out of range' ],
	[ 'lead_time_days', '"3 days"', 'expected an integer, got a string' ],
	[ 'lead_time_days', '"2147483648"', 'number 2147483648 is out of range' ],
	[ 'lead_time_days', '"3.5"', 'number 3.5 is not an integer that fits' ],
	[ 'unit_price', '"0,14"', 'expected a number, got a string' ],
	[ 'unit_price', '"$0.14"', 'expected a number, got a string' ],
	[ 'unit_price', '"0.14 USD"', 'expected a number, got a string' ],
	[ 'unit_price', '""', 'expected a number, got a string' ],
	[ 'unit_price', 'true', 'expected a number, got a boolean' ],
	[ 'unit_price', '{"value": 1}', 'expected a number, got an object' ],
	[ 'name', '5', 'expected a string, got a number' ],
	[ 'certifications', '"FSC"', 'expected an array of strings, got a string' ],
  )
{
	my ($field, $value, $problem) = @$_;

	$partner->clear;
	$partner->answers('GET /v1/products?page=1' => envelope(qq([{"sku": "S1"}, {"sku": "S2", "$field": $value}]), total => 2));
	is(refusal($node, 'SELECT * FROM cs_products()'), <<"END", "$field $value");
ERROR:  PA006: malformed answer from server "shop": resource "products", row 2, field "$field": $problem
END
}

#
# The same catalogue, cached
#
$partner->clear;
$partner->answers('GET /v1/products?page=1' => envelope(<<'END', total => 2), times => 2);
[ { "sku": "CS-8OZ-ECO", "name": "Eco Cup 8oz", "category": "cups", "unit_price": 0.10, "currency": "USD", "stock": 5 },
  { "sku": "CS-DOME-LID", "category": "lids", "unit_price": 12345678901234.56, "currency": "USD" } ]
END
$node->safe_psql('postgres', "CALL cs_refresh_catalog('shop')");
is_deeply([ $partner->lines ], ['GET /v1/products?page=1'], 'a refresh asks for the list');
is(fields($node, 'SELECT * FROM cs_products ORDER BY sku'),
	fields($node, 'SELECT * FROM cs_products() ORDER BY sku'), 'the cached rows are the live ones');
is(fields($node, 'SELECT * FROM cs_prices ORDER BY sku'), <<'END', 'and have prices');
server: shop
sku: CS-8OZ-ECO
product_id: CS-8OZ-ECO
name: Eco Cup 8oz
unit_price: 0.10
currency: USD
stock_status: 5

server: shop
sku: CS-DOME-LID
product_id: CS-DOME-LID
unit_price: 12345678901234.56
currency: USD
END

#
# Section "POST /orders"
#
my $order = <<'END';
{ "items": [ { "sku": "CS-8OZ-ECO", "qty": 5000 }, { "sku": "CS-DOME-LID", "qty": 5000 } ], "shipping_address": { "line1": "123 Commerce Way", "city": "Portland", "state": "OR", "zip": "97201" }, "currency": "USD" }
END
my $columns = 'server, external_id, state, remote_id, order_number, remote_status, currency, items_subtotal, '
  . 'shipping_cost, total, remote_created_at, raw';
my $placed = 0;

# Place the documented order and answer it so; its row.
sub place
{
	my ($answer, $status) = @_;

	$placed++;
	$partner->clear;
	$partner->answers('POST /v1/orders' => $answer, status => $status // 201);
	return fields($node, <<"END");
SELECT $columns FROM cs_create_order(external_id => 'PO-$placed', server => 'shop',
  lines => '[{"sku": "CS-8OZ-ECO", "quantity": 5000}, {"sku": "CS-DOME-LID", "quantity": 5000}]',
  ship_to => '{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}',
  options => '{"currency": "USD"}')
END
}

is(place('{ "success": true, "data": { "id": "ord_1" } }'), <<'END', 'the documented order is placed');
server: shop
external_id: PO-1
state: placed
remote_id: ord_1
remote_status: submitted
raw: {"data": {"id": "ord_1"}, "success": true}
END
my @sent = $partner->arrived;
is_deeply([ map {"$_->{method} $_->{target}"} @sent ], ['POST /v1/orders'], 'by one POST');
is(canonical($sent[0]{body}), canonical($order), 'with the documented body');
is($sent[0]{headers}{'content-type'}, 'application/json', 'as JSON');
is($sent[0]{headers}{authorization}, 'Bearer YOUR_API_KEY', 'with the key');

for (
	[ '{"data": {"order": {"id": "ord_2", "order_number": "N2", "status": "submitted"}}}', 'ord_2', 'N2', 'submitted', 'placed' ],
	[ '{"success": true, "data": {"order_id": "ord_3", "orderNumber": "N3", "status": "shipped"}}', 'ord_3', 'N3', 'shipped', 'shipped' ],
	[ '{"order": {"orderId": 9007199254740993, "number": 4, "status": "on_the_moon"}}', '9007199254740993', '4', 'on_the_moon', 'placed' ],
	[ '{"id": 5, "number": "N5", "status": "in_production"}', '5', 'N5', 'in_production', 'in_production' ],
  )
{
	my ($answer, $id, $number, $status, $state) = @$_;

	is(place($answer) =~ s/^raw: .*\n//mr, <<"END", "read: $answer");
server: shop
external_id: PO-$placed
state: $state
remote_id: $id
order_number: $number
remote_status: $status
END
}
is(place('{"id": "ord_6", "subtotal": 0.1, "shipping_cost": 1e-7, "total": 12345678901234.56, "currency": "USD", "created_at": "2025-03-01T10:00:00+02:00"}',
		200) =~ s/^raw: .*\n//mr, <<"END", 'an order\'s money is exact');
server: shop
external_id: PO-6
state: placed
remote_id: ord_6
remote_status: submitted
currency: USD
items_subtotal: 0.1
shipping_cost: 0.0000001
total: 12345678901234.56
remote_created_at: 2025-03-01T08:00:00+00:00
END

is(place('{"id": "ord_7", "subtotal": "0.10", "shipping_cost": "1e-7", "total": "12345678901234567890.56"}')
	  =~ s/^raw: .*\n//mr, <<"END", 'also where it comes as a string');
server: shop
external_id: PO-7
state: placed
remote_id: ord_7
remote_status: submitted
items_subtotal: 0.10
shipping_cost: 0.0000001
total: 12345678901234567890.56
END

# That it was placed is certain, whatever else the answer says.
is( place('{"id": "ord_8", "order_number": {"series": "A"}, "subtotal": "a lot", "total": {"USD": 5}, "currency": 840, '
		  . '"created_at": "yesterday"}'),
	<<"END", 'what cannot be read of an order costs nothing but itself');
server: shop
external_id: PO-8
state: placed
remote_id: ord_8
remote_status: submitted
raw: {"id": "ord_8", "total": {"USD": 5}, "currency": 840, "subtotal": "a lot", "created_at": "yesterday", "order_number": {"series": "A"}}
END

# What v1 has no field for is refused, all at once and before anything is sent.
$partner->clear;
is(refusal($node, <<'SQL'), <<'END', 'a form that v1 cannot express');
SELECT cs_create_order(external_id => 'PO-X', server => 'shop', lines => '[{"product_id": "p1", "quantity": 1}]',
  ship_to => '{"line1": "1 Way", "city": "Portland", "postal_code": "97201", "country": "US"}', options => '{"po_number": "1"}');
SQL
ERROR:  22023: order form is not valid for API "cupsource-v1"
DETAIL:  lines[0].product_id: cannot be expressed by Cup Source v1
lines[0]: sku is required
ship_to.country: cannot be expressed by Cup Source v1
options.po_number: cannot be expressed by Cup Source v1
END
for (
	[ q{SELECT cs_orders(server => 'shop')}, 'has no list of orders', "HINT:  The view cs_orders has those placed from here.\n" ],
	[ q{SELECT cs_add_designs('PO-1', 1, '[]')}, 'cannot add designs to an order', '' ],
  )
{
	is(refusal($node, $_->[0]), <<"END" . $_->[2], "v1 $_->[1]");
ERROR:  0A000: Cup Source v1, the API of server "shop", $_->[1]
END
}
is(refusal($node, q{SELECT cs_cancel_order('PO-1')}), <<'END', 'v1 cannot cancel orders');
ERROR:  0A000: Cup Source v1 cannot cancel orders
DETAIL:  Order 1 is placed.
HINT:  Ask the partner's support.
END
is_deeply([ $partner->lines ], [], 'nothing is sent');

#
# Section "GET /orders/{id}/tracking": carrier, status, estimated delivery, signature
#
my $parcel = '"carrier": "UPS", "status": "shipped", "tracking_number": "1Z999", "tracking_url": "https://ups.example/1Z999", '
  . '"estimated_delivery": "2025-04-15T00:00:00Z", "signature_required": true, "shipped_at": "2025-04-12T08:00:00-07:00"';
my $camel = $parcel =~ s/_(\w)/\u$1/gr;
my $shipment = <<'END';
carrier: UPS
tracking_number: 1Z999
tracking_url: https://ups.example/1Z999
status: shipped
estimated_delivery: 2025-04-15T00:00:00+00:00
signature_required: true
shipped_at: 2025-04-12T15:00:00+00:00
END
for (
	[ 'an object under data', qq({"success": true, "data": {$parcel}}) ],
	[ 'camelCase', qq({"success": true, "data": {$camel}}) ],
	[ 'a bare object', "{$parcel}" ],
	[ 'a list under data', qq({"success": true, "data": [{$parcel}]}) ],
	[ 'a bare list', "[{$camel}]" ],
	[ 'a list of shipments', qq({"data": {"shipments": [{$parcel}]}}) ],
	[ 'tracking below data', qq({"data": {"tracking": {$parcel}}}) ],
  )
{
	place(qq({"id": "trk $placed/1"}));
	my $external_id = "PO-$placed";
	my $path = '/v1/orders/trk%20' . ($placed - 1) . '%2F1/tracking';

	$partner->clear;
	$partner->answers("GET $path" => $_->[1]);
	is(fields($node, "SELECT carrier, tracking_number, tracking_url, status, estimated_delivery, signature_required, "
		  . "shipped_at FROM cs_order_tracking('$external_id')"), $shipment, "tracking: $_->[0]");
	is_deeply([ $partner->lines ], ["GET $path"], 'by the documented request');
	is(fields($node, "SELECT external_id, state, remote_status FROM cs_order('$external_id')"), <<"END", 'and the order is');
external_id: $external_id
state: shipped
remote_status: shipped
END
}
is($node->safe_psql('postgres', "SELECT count(*), count(DISTINCT tracking_number) FROM cs_shipments"),
	'7|1', 'the parcels are in cs_shipments');

# What the parcels say of the order: never an end, but that all of them are there.
sub tracked
{
	my ($answer) = @_;

	place(qq({"id": "many$placed", "status": "approved"}));
	my $id = 'many' . ($placed - 1);

	$partner->clear;
	$partner->answers("GET /v1/orders/$id/tracking" => $answer);
	$node->safe_psql('postgres', "SELECT FROM cs_order_tracking('$id')");
	return $node->safe_psql('postgres', "SELECT state, remote_status, poll_at IS NOT NULL FROM cs_orders WHERE remote_id = '$id'");
}

for (
	[ '[{"carrier": "UPS", "tracking_number": "A", "status": "delivered"}, {"carrier": "UPS", "tracking_number": "B", "status": "in_transit"}]', 'shipped|in_transit|t' ],
	[ '[{"tracking_number": "A", "status": "label_created"}, {"tracking_number": "B", "status": "delivered"}]', 'shipped|label_created|t' ],
	[ '[{"tracking_number": "A", "status": "delivered"}, {"tracking_number": "B"}]', 'shipped|approved|t' ],
	[ '[{"tracking_number": "A", "status": "delivered"}, {"tracking_number": "B", "status": "Delivered"}]', 'delivered|delivered|f' ],
	[ '[{"tracking_number": "A", "status": "cancelled"}, {"tracking_number": "B", "status": "in_transit"}]', 'shipped|in_transit|t' ],
	[ '[{"tracking_number": "A", "status": "cancelled"}, {"tracking_number": "B", "status": "delivered"}]', 'delivered|delivered|f' ],
	[ '[{"tracking_number": "A", "status": "Delivered"}, {"tracking_number": "B", "status": "rejected"}, {"tracking_number": "C", "status": "cancelled"}]',
		'delivered|Delivered|f' ],
	[ '[{"tracking_number": "A", "status": "cancelled"}, {"tracking_number": "B", "status": "delivered"}, {"tracking_number": "C"}]', 'shipped|approved|t' ],
	[ '[{"tracking_number": "A", "status": "cancelled"}, {"tracking_number": "B", "status": "rejected"}]', 'approved|approved|t' ],
	[ '[{"tracking_number": "A", "status": "label_created"}, {"tracking_number": "B", "status": "out_for_delivery"}]', 'shipped|out_for_delivery|t' ],
	[ '[{"carrier": "UPS", "status": "cancelled"}]', 'approved|approved|t' ],
	[ '{"shipments": [{"id": "s1", "status": "cancelled"}]}', 'approved|approved|t' ],
	[ '{"carrier": "UPS", "tracking_number": "A", "status": "rejected"}', 'approved|approved|t' ],
	[ '{"status": "shipped", "shipments": [{"tracking_number": "A", "status": "delivered"}, {"tracking_number": "B", "status": "label"}]}', 'shipped|shipped|t' ],
	[ '{"order_status": "in_production", "tracking": {"tracking_number": "A", "status": "delivered"}}', 'in_production|in_production|t' ],
	[ '{"status": "in_production", "shipments": []}', 'in_production|in_production|t' ],
	[ '{"status": "cancelled", "shipments": []}', 'cancelled|cancelled|f' ],
	[ '{"shipments": [{"tracking_number": "A", "status": "delivered"}]}', 'delivered|delivered|f' ],
	[ '{"status": "cancelled", "carrier": null}', 'cancelled|cancelled|f' ],
	[ '[{"status": "rejected", "carrier": null}]', 'rejected|rejected|f' ],
	[ '{"status": "shipped", "packages": [{"tracking_number": "A", "status": "delivered"}]}', 'shipped|shipped|t' ],
  )
{
	is(tracked(qq({"success": true, "data": $_->[0]})), $_->[1], "the order by its tracking: $_->[0]");
}

# An answer that says that it is none says nothing of the order.
place('{"id": "denied", "status": "approved"}');
for ('"success": false', '"success": 0', '"success": "false"', '"error": "down"', '"errors": [{"code": 7}]', '"status": "error"')
{
	$partner->clear;
	$partner->answers('GET /v1/orders/denied/tracking' => qq({$_, "data": {"status": "cancelled"}}));
	isnt(query_state($node, q{SELECT FROM cs_order_tracking('denied')}), '00000', "no answer: $_");
	is($node->safe_psql('postgres', q{SELECT state FROM cs_orders WHERE remote_id = 'denied'}), 'approved', 'and no end of the order');
	$partner->answers('GET /v1/products?page=1' => qq({$_, "data": []}));
	isnt(query_state($node, 'SELECT FROM cs_products()'), '00000', 'nor is it an empty list');
}

# What says how the request went, round nothing, is not the order's status.
$partner->clear;
$partner->answers('GET /v1/orders/denied/tracking' => '{"status": "success", "data": null}');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_order_tracking('denied')}), '0', 'nothing is under way');
is($node->safe_psql('postgres', q{SELECT state, remote_status FROM cs_orders WHERE remote_id = 'denied'}), 'approved|approved', 'and the order is as it was');

place('{"id": "asked"}');
$partner->clear;
$partner->answers('GET /v1/orders/asked/tracking' => '{"data": {"order_id": "OTHER", "status": "cancelled", "shipments": []}}');
is(refusal($node, q{SELECT cs_order_tracking('asked')}), <<'END', 'tracking of another order');
ERROR:  PA006: the answer about order "asked" of the partner shows order "OTHER"
END

place('{"id": 4711, "order_number": "CS-1"}');
$partner->clear;
$partner->answers('GET /v1/orders/4711/tracking' => '{"data": {"order_id": "CS-1", "shipments": [{"tracking_number": "A", "status": "shipped"}]}}');
is($node->safe_psql('postgres', q{SELECT tracking_number FROM cs_order_tracking('4711')}), 'A', 'tracking that calls the order by its number');
is(fields($node, q{SELECT state, remote_id, order_number FROM cs_order('4711')}), "state: shipped\nremote_id: 4711\norder_number: CS-1\n", 'is of the order');

# The parcels are those that the partner showed last.
sub parcels
{
	my ($answer) = @_;

	$partner->clear;
	$partner->answers('GET /v1/orders/shown/tracking' => $answer);
	return $node->safe_psql('postgres', q{SELECT string_agg(concat_ws('/', shipment_id, carrier, tracking_number, status), ' ' ORDER BY shipment_id)
		FROM cs_order_tracking('shown')});
}

place('{"id": "shown"}');
for (
	[ '{"data": {"carrier": "UPS", "status": "label_created"}}', '1/UPS/label_created' ],
	[ '{"data": {"id": "shown", "carrier": "UPS", "tracking_number": "BAD", "status": "in_transit"}}', 'BAD/UPS/BAD/in_transit' ],
	[ '{"data": [{"carrier": "UPS", "tracking_number": "1Z9"}, {"carrier": "UPS", "tracking_number": "1Z8"}]}', '1Z8/UPS/1Z8 1Z9/UPS/1Z9' ],
	[ '{"data": {"id": "shown", "status": "shipped", "carrier": null}}', '1Z8/UPS/1Z8 1Z9/UPS/1Z9' ],
	[ '{"data": {"shipments": {"tracking_number": "1Z9"}}}', '1Z9/1Z9' ],
	[ '{"data": {"status": "shipped", "shipments": null}}', '1Z9/1Z9' ],
	[ '{"data": []}', '' ],
  )
{
	is(parcels($_->[0]), $_->[1], "parcels: $_->[0]");
}

# The document gives no field's form, so where a parcel is does not depend on how its delivery is estimated.
place(qq({"id": "odd"}));
$partner->clear;
$partner->answers('GET /v1/orders/odd/tracking' => '{"data": {"carrier": {"name": "UPS"}, "tracking_number": "1Z9", "status": "delivered", '
	  . '"estimated_delivery": "in 3 days", "signature_required": "adult"}}');
is(fields($node, q{SELECT carrier, tracking_number, status, estimated_delivery, signature_required, raw FROM cs_order_tracking('odd')}), <<'END', 'what no column can take is in raw');
tracking_number: 1Z9
status: delivered
raw: {"status": "delivered", "carrier": {"name": "UPS"}, "tracking_number": "1Z9", "estimated_delivery": "in 3 days", "signature_required": "adult"}
END
is(fields($node, q{SELECT state FROM cs_order('odd')}), "state: delivered\n", 'and the order is delivered');
$node->stop;
done_testing;
