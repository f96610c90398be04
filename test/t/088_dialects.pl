#!/usr/bin/perl
#
# A list in the dialects of the partners' frameworks: what is certain is read,
# and no list is cut short or taken for empty.
use strict;
use warnings;
use CupsourceReplay;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partner = CupsourceReplay->start;
my $node = cupsource_node('dialects', conf => "cupsource.max_retries = 0\n");
create_account($node, 'one', api => 'cupsource-v1', base_url => $partner->url . '/v1');
create_account($node, 'two', api => 'cupsource-v2', base_url => $partner->url . '/v2');

# Products of these numbers, as a list.
sub products
{
	return '[' . join(', ', map {qq({"id": "p$_", "sku": "S$_"})} @_) . ']';
}

# How many rows the list has, by how many requests; or what is wrong with it.
sub listed
{
	my ($server) = @_;
	my (undef, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT count(*) FROM cs_products(server => '$server')",
		on_error_stop => 0);

	return ($err =~ /ERROR:  (\w+:.*)/ ? $1 : $out) . ' (' . scalar(my @lines = $partner->lines) . ')';
}

# Version 1: 'last' products by 'size' on a page, and what the pages say of that.
sub pages
{
	my ($last, $size, $meta) = @_;
	my $n = int(($last + $size - 1) / $size);

	$partner->clear;
	for my $page (1 .. $n + 1)
	{
		my $to = $page * $size < $last ? $page * $size : $last;

		$partner->answers("GET /v1/products?page=$page" =>
			'{"success": true, "data": ' . products($page * $size - $size + 1 .. $to) . ', "meta": ' . ($meta =~ s/PAGE/$page/r) . '}', times => undef);
	}
	return;
}

#
# Where the list ends
#
for (
	[ 45, 10, '{"page": PAGE, "per_page": 10}', '45 (5)', 'pages that are smaller than the document\'s, without a total' ],
	[ 45, 10, '{"page": PAGE, "per_page": "10", "total": null}', '45 (5)', 'and so where it is null' ],
	[ 40, 10, '{"page": PAGE, "per_page": 10}', '40 (5)', 'the last of them is full' ],
	[ 45, 20, '{"page": PAGE, "per_page": 50}', '45 (3)', 'pages that are smaller than they say' ],
	[ 45, 20, '{"page": "PAGE", "per_page": "20", "total": "45"}', '45 (3)', 'a total that is a string' ],
	[ 45, 20, '{"page": PAGE, "per_page": 20.0, "total": 45.0}', '45 (3)', 'or has a point' ],
	[ 45, 20, '[]', '45 (3)', 'an empty object that is an array' ],
	[ 5, 20, '{"total": "many"}', 'PA006: malformed answer from server "one": resource "products", page 1: field "meta.total": expected a count, got string (1)', 'no count' ],
	[ 25, 20, '{"per_page": "all", "total": 25}', '25 (2)', 'a size of pages that cannot be read is none' ],
	[ 25, 20, '{"per_page": -1}', '25 (2)', 'nor is this one' ],
  )
{
	my ($last, $size, $meta, $expected, $name) = @$_;

	pages($last, $size, $meta);
	is(listed('one'), $expected, $name);
}

# Goes on where it stopped, although pages are smaller than the document's.
for my $meta ('{"page": PAGE, "total": 142}', '{"page": PAGE, "per_page": 10, "total": 142}')
{
	$node->safe_psql('postgres', q{DELETE FROM cs_internal.products WHERE server = 'one'});
	pages(70, 10, $meta);
	my (undef, undef, $err) = $node->psql('postgres', q{CALL cs_refresh_catalog('one')});
	like($err, qr/page 8: it is empty, but more rows are said to follow/, 'a refresh is interrupted');
	pages(142, 10, $meta);
	$node->safe_psql('postgres', q{CALL cs_refresh_catalog('one')});
	is($node->safe_psql('postgres', q{SELECT products, state FROM cs_catalog_status WHERE server = 'one'}), '142|complete', 'and reads all when it goes on');
}

#
# Null for an empty list
#
my $row_less = 'PA006: malformed answer from server "one": resource "products", row 1, field "id": required, but missing';

for (
	[ '{"success": true, "data": null, "meta": {"page": 1, "per_page": 20, "total": 0}}', '0' ],
	[ '{"success": true, "data": {"products": null}, "meta": {"total": "0"}}', '0' ],
	[ '{"products": null, "meta": {"total": 0}}', '0' ],
	[ '{"success": true, "data": null, "meta": {"page": 1}}', $row_less ],
	[ '{"success": true, "data": null, "meta": {"total": null}}', $row_less ],
	[ '{"success": true, "data": null, "meta": {"total": 5}}', $row_less ],
	[ '{"success": true, "meta": {"total": 0}}', $row_less ],
  )
{
	$partner->clear;
	$partner->answers('GET /v1/products?page=1' => $_->[0]);
	is(listed('one') =~ s/ \(\d+\)$//r, $_->[1], "v1: $_->[0]");
}

# Version 2: the first page, and the one after it.
sub cursors
{
	my ($first, $second) = @_;

	$partner->clear;
	$partner->answers('GET /v2/products?limit=100' => $first);
	$partner->answers('GET /v2/products?limit=100&cursor=next' => $second) if $second;
	return listed('two');
}

my $more = '{"data": ' . products(1) . ', "pagination": {"total": 1, "has_more": true, "next_cursor": "next"}}';
my $no_list = 'resource "products", page %d: there is no list of rows';

for (
	[ '{"data": null, "pagination": {"total": 0, "has_more": false, "next_cursor": null}}', undef, '0 (1)' ],
	[ '{"data": null, "pagination": {"total": 0}}', undef, '0 (1)' ],
	[ $more, '{"data": null, "pagination": {"total": 1, "has_more": false, "next_cursor": ""}}', '1 (2)' ],
	[ '{"data": null, "pagination": {"has_more": false}}', undef, sprintf($no_list, 1) . ' (1)' ],
	[ '{"data": null, "pagination": {"total": 7, "has_more": false}}', undef, sprintf($no_list, 1) . ' (1)' ],
	[ '{"pagination": {"total": 0, "has_more": false}}', undef, '0 (1)' ],
	[ '{"pagination": {"total": 7, "has_more": false}}', undef, sprintf($no_list, 1) . ' (1)' ],
	[ $more, '{"data": null, "pagination": {"total": 2, "has_more": false}}', sprintf($no_list, 2) . ' (2)' ],
  )
{
	is(cursors($_->[0], $_->[1]) =~ s/^PA006: malformed answer from server "two": //r, $_->[2], 'v2: ' . ($_->[1] // $_->[0]));
}

# A cached catalogue is not emptied by it, a foreign table of it is empty.
$partner->clear;
$partner->answers('GET /v2/products?limit=100' => '{"data": ' . products(1 .. 20) . ', "pagination": {"total": 20, "has_more": false}}');
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('two')});
$partner->answers('GET /v2/products?limit=100' => '{"data": null, "pagination": {"total": 0, "has_more": false}}', times => 2);
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('two')});
is($node->safe_psql('postgres', q{SELECT products FROM cs_catalog_status WHERE server = 'two'}), '20', 'a catalogue of which nothing is listed stays');
$node->safe_psql('postgres', q{CREATE SCHEMA two; IMPORT FOREIGN SCHEMA api FROM SERVER two INTO two});
is($node->safe_psql('postgres', q{SELECT count(*) FROM two.products}), '0', 'and the foreign table has no row');

#
# Whether more pages follow
#
my $refused = 'PA006: malformed answer from server "two": resource "products", page';

for (
	[ '"has_more": "true", "next_cursor": "next"', '"has_more": "false", "next_cursor": ""' ],
	[ '"has_more": 1, "next_cursor": "next"', '"has_more": 0, "next_cursor": 0' ],
	[ '"has_more": "1", "next_cursor": "next"', '"has_more": "0", "next_cursor": []' ],
	[ '"has_more": true, "next_cursor": "next"', '"has_more": false, "next_cursor": false' ],
	[ '"next_cursor": "next"', '"next_cursor": false' ],
	[ '"next_cursor": "next"', '"total": "2"' ],
  )
{
	my ($first, $last) = @$_;

	is(cursors('{"data": ' . products(1) . qq(, "pagination": {$first}}), '{"data": ' . products(2) . qq(, "pagination": {$last}})), '2 (2)', "$first; $last");
}

is(cursors('{"data": ' . products(1) . ', "pagination": {"total": 1}}'), '1 (1)', 'neither is said, and there are no more');
is(cursors('{"data": ' . products(1) . ', "pagination": {"total": 2}}'), "$refused 1: more pages are said to follow, but there is no cursor (1)",
	'nor is it, and there are');
is(cursors('{"data": ' . products(1) . ', "pagination": {"has_more": false, "total": 2}}'), '1 (1)', 'a total may count what is not listed');

#
# An empty object that is an array, as PHP writes it
#
is(cursors('{"data": [{"id": "p1", "pricing": []}, {"id": "p2", "pricing": {"unit_price": 1}}], "pagination": []}'), '2 (1)', 'a product without prices');
$partner->answers('GET /v2/products?limit=100' => '{"data": [{"id": "p1", "pricing": []}]}');
is(fields($node, q{SELECT * FROM cs_products(server => 'two')}), qq(server: two\nproduct_id: p1\nraw: {"id": "p1", "pricing": []}\n), 'has none');
is(cursors('{"data": [{"id": "p1", "pricing": [0.14]}]}'), 'PA006: malformed answer from server "two": resource "products", row 1, '
	  . 'field "pricing": expected an object, got an array (1)', 'but what an array holds is not overlooked');

#
# A new cursor each time leads nowhere: no endless loop
#
sub cursors_without_end
{
	my ($first, $others, $pagination) = @_;

	$partner->clear;
	$partner->answers('GET /v2/products?limit=100' => qq({"data": $first, "pagination": {$pagination, "next_cursor": "c1"}}));
	for my $n (1 .. 120)
	{
		$partner->answers("GET /v2/products?limit=100&cursor=c$n" => qq({"data": $others, "pagination": {$pagination, "next_cursor": "c@{[$n + 1]}"}}));
	}
	return listed('two');
}

is(cursors_without_end(products(1 .. 20), products(1 .. 20), '"total": 142, "has_more": true'),
	"$refused 2: it begins as the page before; the cursor seems to be overlooked (2)", 'a partner that overlooks the cursor');
for ('"has_more": true', '"total": 1, "has_more": true', '"total": 2')
{
	is(cursors_without_end(products(1), '[]', $_), "$refused 101: it and the 99 before it are empty, but more are said to follow (101)", "one that never ends: $_");
}
is(cursors_without_end(products(1), '[]', '"total": 1'), '1 (2)', 'unless it has said how many there are');

# An empty page that others follow is one.
$partner->clear;
$partner->answers('GET /v2/products?limit=100' => '{"data": [], "pagination": {"has_more": true, "next_cursor": "c1"}}');
$partner->answers('GET /v2/products?limit=100&cursor=c1' => '{"data": ' . products(1) . ', "pagination": {"has_more": true, "next_cursor": "c2"}}');
$partner->answers('GET /v2/products?limit=100&cursor=c2' => '{"data": ' . products(1) . ', "pagination": {"has_more": false}}');
is(listed('two'), '2 (3)', 'empty pages, and a last one that begins as the one before, are pages');

#
# A time that there is not, as frameworks write it
#
create_account($node, 'hub', api => 'customhub-v1', base_url => $partner->url, auth_url => $partner->url, poll_interval => '1h',
	secrets => { api_key => 'k', secret_key => 's' });
my $address = '"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"';
my $n = 0;

for ('0001-01-01T00:00:00Z', '0001-01-01T00:00:00', '0001-01-01T00:00:00+03:00', '1970-01-01T00:00:00.000Z', '1970-01-01T01:00:00+01:00',
	'0000-00-00 00:00:00')
{
	my $id = 'z' . ++$n;

	$partner->clear;
	$partner->answers('POST /v1/orders' => qq({"id": "$id", "status": "approved", "created_at": "$_"}), status => 201);
	$partner->answers("GET /v1/orders/$id/tracking" => qq({"data": {"carrier": "UPS", "status": "label_created", "estimated_delivery": "$_", "shipped_at": "$_"}}));
	$node->safe_psql('postgres', qq{SELECT FROM cs_create_order('[{"sku": "S1", "quantity": 1}]', '{$address}', '$id', server => 'one')});
	is($node->safe_psql('postgres', qq{SELECT carrier, estimated_delivery, shipped_at, raw->>'shipped_at' FROM cs_order_tracking('$id')}), "UPS|||$_", "a parcel is not shipped at $_");
	is($node->safe_psql('postgres', qq{SELECT state, remote_created_at, last_shipped_at FROM cs_orders WHERE remote_id = '$id'}), 'approved||', 'nor is the order');

	$partner->answers('POST /api/PartnerAuthentication/auth' => '{"accessToken": "t", "expired": "2099-01-01T00:00:00+00:00"}');
	$partner->answers('GET /api/v1/orders?page=1&pageSize=100' => '{"success": true, "data": {"orders": [{"orderId": "9b4f7e2a-0000-4000-8000-000000000001", '
		  . qq("productionStatus": "ApprovalPending", "lastShippedAt": "$_"}], "pagination": {"page": 1, "pageSize": 100, "totalCount": 1, "hasMore": false}}}));
	is($node->safe_psql('postgres', q{SELECT state, last_shipped_at FROM cs_orders(server => 'hub')}), 'placed|', 'nor one in a list');
}

#
# Numbers and truths as object-relational mappers write them
#
sub hub
{
	my ($request, $data, $sql, %more) = @_;

	$partner->clear;
	$partner->answers('POST /api/PartnerAuthentication/auth' => '{"accessToken": "t", "expired": "2099-01-01T00:00:00+00:00"}');
	$partner->answers($request => qq({"success": true, "data": $data}), %more);
	my (undef, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql", on_error_stop => 0);
	return $err =~ /ERROR:  (\w+:.*)/ ? $1 : $out;
}

my $pages = '"pagination": {"page": 1, "pageSize": 100, "totalCount": 1, "hasMore": false}';
my $model = '{"id": 1, "code": "BC", "pricing": {"currency": "USD", "fromUnitPrice": "6.49", "fromListPrice": "6.490", "fromBlankCost": "3.99"}, "isFeatured": 0}';
my $detail = '{"id": 1, "variations": [{"id": 11, "sku": "S1", "isActive": 1, "pricing": {"currency": "USD", "unitPrice": "8.18", "listPrice": "8.18", '
  . '"blankCost": "5.68", "handlingFee": "0.00"}}], "placements": [{"code": "width1", "maxWidthInches": "12.00", "maxHeightInches": "12", '
  . '"printMethods": [{"code": "DTF", "price": "2.50"}]}]}';
my $form = q{'[{"sku": "S1", "quantity": 1}]', '{"name": "A", "line1": "1 Way", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}'};
my $cost = '"computedCost": {"currency": "USD", "itemsSubtotal": "21.00", "shippingCost": "4.20", "grandTotal": "25.70"}';
my @orders = ('GET /api/v1/orders?page=1&pageSize=100', qq({"orders": [{"orderId": 7, "externalOrderId": 1234, "productionStatus": "Approved", "total": "25.70"}], $pages}));

is(hub('GET /api/v1/models?pageSize=100&page=1', qq({"models": [$model], $pages}), q{SELECT from_unit_price, from_list_price, is_featured FROM cs_models(server => 'hub')}),
	'6.49|6.490|f', 'a price that is a string, and 0 for false');
is(hub('GET /api/v1/models?pageSize=100&page=1', qq({"models": [@{[ $model =~ s/: 0\}/: "no"}/r ]}], $pages}), q{SELECT FROM cs_models(server => 'hub')}),
	'PA006: malformed answer from server "hub": resource "models", row 1, field "isFeatured": expected a boolean, got a string', 'but not any word');
is(hub('GET /api/v1/models/1', $detail, q{SELECT unit_price, blank_cost, handling_fee, is_active FROM cs_variations('1', 'hub')}), '8.18|5.68|0.00|t', 'of a variation');
is(hub('GET /api/v1/models/1', $detail, q{SELECT max_width_inches, max_height_inches FROM cs_placements('1', 'hub')}), '12.00|12', 'of a placement');
is(hub('GET /api/v1/models/1', $detail, q{SELECT price FROM cs_print_methods('1', 'hub')}), '2.50', 'of a print method');
is(hub('GET /api/v1/balance', '{"balance": "1240.50", "creditLimit": "2500.00", "headroom": "1259.50"}', q{SELECT balance, headroom FROM cs_balance('hub')}), '1240.50|1259.50', 'the balance');
is(hub('POST /api/v1/orders/quote', "{$cost}", "SELECT total FROM cs_quote_order($form, server => 'hub')"), '25.70', 'a quote');
is(hub('POST /api/v1/orders', qq({"orderId": 7, "externalOrderId": 1234, "status": "ApprovalPending", $cost}), "SELECT state, total, shipping_cost FROM cs_create_order($form, '1234', server => 'hub')", status => 201),
	'placed|25.70|4.20', 'an order has its cost');
is(hub(@orders, q{SELECT remote_id, external_id, state, total FROM cs_orders(server => 'hub')}), '7|1234|approved|25.70', 'and a list of orders external ids that are numbers');

# CustomHub clamps the size of a page; where it says no more than that, pages that are full by it are not the last.
$partner->clear;
$partner->answers('POST /api/PartnerAuthentication/auth' => '{"accessToken": "t", "expired": "2099-01-01T00:00:00+00:00"}');
for my $page (1 .. 3)
{
	$partner->answers("GET /api/v1/models?pageSize=100&page=$page" => '{"success": true, "data": {"models": ['
		  . join(', ', map {qq({"id": "m$_"})} $page * 2 - 1 .. ($page < 3 ? $page * 2 : 5)) . qq(], "pagination": {"page": $page, "pageSize": 2}}}));
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_models(server => 'hub')}), '5', 'pages that are smaller than asked for, with no word of others');

#
# A list from which PHP has taken members: an object of the numbers of the others
#
my $keyed = $detail =~ s/"variations": \[(.*?)\], "placements": \[(.*)\]\}/"variations": {"1": $1}, "placements": {"0": $2, "2": {"code": "width3", "printMethods": []}}}/r;

is(hub('GET /api/v1/models?pageSize=100&page=1', qq({"models": {"1": $model, "7": {"id": 2}}, $pages}), q{SELECT string_agg(model_id, ' ') FROM cs_models(server => 'hub')}), '1 2',
	'is a list');
is(hub('GET /api/v1/models/1', $keyed, q{SELECT count(*) FROM cs_variations('1', 'hub')}), '1', 'also of one,');
is(hub('GET /api/v1/models/1', $keyed, q{SELECT string_agg(placement, ' ') FROM cs_placements('1', 'hub')}), 'width1 width3', 'within an element,');
is(hub('GET /api/v1/models/1', $keyed, q{SELECT string_agg(print_method, ' ') FROM cs_print_methods('1', 'hub')}), 'DTF', 'and around others');
is(hub('GET /api/v1/models?pageSize=100&page=1', qq({"models": {"one": $model}, $pages}), q{SELECT FROM cs_models(server => 'hub')}),
	'PA006: malformed answer from server "hub": resource "models", row 1, field "id": required, but missing', 'while one with names is an element');

for my $shipments ('[{"shipmentId": "a", "trackingNumber": "1"}, {"shipmentId": "b", "trackingNumber": "2"}]',
	'{"0": {"shipmentId": "a", "trackingNumber": "1"}, "2": {"shipmentId": "b", "trackingNumber": "2"}}')
{
	is(hub('GET /api/v1/orders/7', qq({"orderId": 7, "productionStatus": "Shipped", "shipments": $shipments, "events": {"3": {"at": "2026-05-19T11:34:00Z", "type": "shipped"}}}),
		q{SELECT cs_order_status('1234', '0', 'hub')}), 'shipped', 'an order is read');
	is($node->safe_psql('postgres', q{SELECT string_agg(tracking_number, ' ' ORDER BY tracking_number) FROM cs_shipments}), '1 2', 'and its parcels are not lost by it');
}
is($node->safe_psql('postgres', q{SELECT string_agg(type, ' ') FROM cs_order_events WHERE external_id = '1234' AND source = 'remote'}), 'shipped', 'nor events');

#
# The answer with the token
#
# How many tokens are asked for by two calls with a new key.
sub tokens
{
	my ($answer) = @_;

	$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER hub OPTIONS (SET secret_key '} . ++$n . q{')});
	$partner->clear;
	$partner->answers('POST /api/PartnerAuthentication/auth' => $answer, times => undef);
	$partner->answers('GET /api/v1/balance' => '{"success": true, "data": {"balance": 1}}', times => 2);
	return join ' ', (map { $node->safe_psql('postgres', q{SELECT balance FROM cs_balance('hub')}) } 1, 2), scalar grep {/PartnerAuthentication/} $partner->lines;
}

is(tokens('{"accessToken": "t", "expired": "2099-01-01T00:00:00+00:00"}'), '1 1 1', 'a token is asked for once');
is(tokens('{"success": true, "data": {"accessToken": "t", "expired": "2099-01-01T00:00:00+00:00"}}'), '1 1 1', 'also where it is in an envelope, as all other answers are');
is(tokens(qq({"accessToken": "t", "expired": "$_"})), '1 1 1', "or its end is $_") for '0001-01-01T00:00:00', '1970-01-01T00:00:00Z';

$partner->stop;
$node->stop;
done_testing;
