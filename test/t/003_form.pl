#!/usr/bin/perl
#
# The order form: every field reaches the body of the API that knows it, and
# whatever is wrong with a form is said, all of it, by the field's name.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $functions = <<'END';
CREATE FUNCTION wire_body(api text, quote boolean, external_id text, lines jsonb, ship_to jsonb, options jsonb)
RETURNS bytea LANGUAGE c AS 'wire_test';
CREATE FUNCTION wire_designs_body(jsonb) RETURNS bytea LANGUAGE c AS 'wire_test';

-- The body, or SQLSTATE, message and detail of the refusal.
CREATE FUNCTION outcome(api text, quote boolean, external_id text, lines jsonb, ship_to jsonb, options jsonb)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN convert_from(wire_body(api, quote, external_id, lines, ship_to, options), 'UTF8');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(E'\n', sqlstate || ' ' || sqlerrm, nullif(detail, ''));
END $$;
CREATE FUNCTION designs_outcome(designs jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	RETURN convert_from(wire_designs_body(designs), 'UTF8');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(E'\n', sqlstate || ' ' || sqlerrm, nullif(detail, ''));
END $$;
END

my $node = PostgreSQL::Test::Cluster->new('form');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', $functions);

sub literal
{
	my $value = shift;

	return 'NULL' unless defined $value;
	return "'" . $value =~ s/'/''/gr . "'";
}

# What becomes of an order's form.
sub order
{
	my ($api, $external_id, @documents) = @_;
	my @arguments = map { literal($_) } $external_id, @documents[ 0 .. 2 ];

	return $node->safe_psql('postgres', "SELECT outcome('$api', false, " . join(', ', @arguments) . ')');
}

sub quote
{
	my ($api, @documents) = @_;
	my @arguments = map { literal($_) } @documents[ 0 .. 2 ];

	return $node->safe_psql('postgres', "SELECT outcome('$api', true, NULL, " . join(', ', @arguments) . ')');
}

# The refusal with these violations.
sub refused
{
	my ($api, @violations) = @_;

	return join "\n", "22023 order form is not valid for API \"$api\"", @violations;
}

# ---- the documents' examples ----

is( order('cupsource-v1', 'po-1', '[{"sku": "CS-8OZ-ECO", "quantity": 5000}, {"sku": "CS-DOME-LID", "quantity": 5000}]',
		'{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}', '{"currency": "USD"}'),
	'{"items":[{"sku":"CS-8OZ-ECO","qty":5000},{"sku":"CS-DOME-LID","qty":5000}],"shipping_address":'
	  . '{"line1":"123 Commerce Way","city":"Portland","state":"OR","zip":"97201"},"currency":"USD"}',
	'Cup Source v1: the order of the document');

is( order('cupsource-v2', 'po-1', '[{"product_id": "prod_8x92k4m", "quantity": 5000}]',
		'{"line1": "123 Warehouse Blvd", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}',
		'{"branding": {"asset_id": "art_9f3m2x", "print_method": "flexography",
			"proof_approval_deadline": "2025-04-15T00:00:00Z"}, "shipping_method": "freight_pallet",
			"po_number": "PO-2025-0892", "net_terms": 30}'),
	'{"line_items":[{"product_id":"prod_8x92k4m","quantity":5000}],"custom_branding":{"asset_id":"art_9f3m2x",'
	  . '"print_method":"flexography","proof_approval_deadline":"2025-04-15T00:00:00Z"},"shipping":{"method":"freight_pallet",'
	  . '"address":{"line1":"123 Warehouse Blvd","city":"Portland","state":"OR","postal_code":"97201","country":"US"}},'
	  . '"billing":{"po_number":"PO-2025-0892","net_terms":"30"}}',
	'Cup Source v2: the order of the document');

my $jane = '"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"';
my $jane_sent = '"name":"Jane Doe","street1":"123 Main St","city":"Brooklyn","state":"NY","zip":"11201","country":"US"';
my $design = '{"url": "https://cdn.partner.com/designs/abc.png", "placement": "width1", "width_inches": 11.0, "height_inches": 11.0}';
my $design_sent = '{"url":"https://cdn.partner.com/designs/abc.png","placement":"width1","widthInches":11.0,"heightInches":11.0}';
my $shirt = '{"sku": "BC-3001-L-BLACK", "quantity": 1}';

is( order('customhub-v1', 'shopify-1234', qq([{"sku": "BC-3001-L-BLACK", "quantity": 1, "designs": [$design]}]),
		qq({$jane, "phone": "+1-555-0100", "email": "jane\@example.com"}),
		'{"customer": {"name": "Jane Doe", "email": "jane@example.com"}}'),
	qq({"externalOrderId":"shopify-1234","shippingAddress":{$jane_sent,"phone":"+1-555-0100","email":"jane\@example.com"},)
	  . qq("customer":{"name":"Jane Doe","email":"jane\@example.com"},)
	  . qq("items":[{"sku":"BC-3001-L-BLACK","quantity":1,"designs":[$design_sent]}]}),
	'CustomHub: the order of the document');

my $variation = '9b4f7e2a-0000-4000-8000-00000000000A';
is( quote('customhub-v1',
		qq([{"variation_id": "$variation", "quantity": 1, "designs": [{"placement": "width1", "width_inches": 11,
			"height_inches": 11, "print_method": "DTF"}]}]), "{$jane}", '{"is_rush": false, "shipping_method": "ground"}'),
	qq({"shippingAddress":{$jane_sent},"isRush":false,"requestedShippingService":"ground","items":[{"variationId":"$variation",)
	  . '"quantity":1,"designs":[{"placement":"width1","widthInches":11,"heightInches":11,"printMethod":"DTF"}]}]}',
	'CustomHub: the quote of the document, without a design URL');

is( order('customhub-v1', 'all-1', qq([{"sku": "S", "variation_id": "$variation", "quantity": 10000, "designs": []}]), "{$jane}",
		qq({"bill_to": {$jane, "phone": "1", "email": "a\@b"}, "customer": {"name": "n", "email": "e", "phone": "p"},
			"is_gift": true, "is_rush": false, "notes": "line\\n\\"two\\" \\\\ a/b", "currency": "USD"})),
	qq({"externalOrderId":"all-1","shippingAddress":{$jane_sent},"billingAddress":{$jane_sent,"phone":"1","email":"a\@b"},)
	  . '"customer":{"name":"n","email":"e","phone":"p"},'
	  . qq("items":[{"sku":"S","variationId":"$variation","quantity":10000}],"isGift":true,"isRush":false,)
	  . '"notes":"line\n\"two\" \\\\ a/b"}',
	'CustomHub: every other field');

# ---- what is wrong is said, all of it ----

is( order('customhub-v1', 'x' x 101,
		'[{"sku": "a", "product_id": "p", "quantity": 0, "colour": 1, "designs": [{"url": "http://x", "placement": 5,
			"width_inches": -1}]}, 3, {"quantity": "7"}, {"sku": " ", "quantity": 2.5, "variation_id": "7"}]',
		'{"name": " ", "line1": "123 Main St", "city": "Brooklyn", "country": "us", "line2": "x"}',
		'{"customer": [], "is_gift": "yes", "currency": "EUR", "bill_to": {"country": "US"}, "foo": null,
			"po_number": null, "notes": 5}'),
	refused('customhub-v1',
		'external_id: must have 1 to 100 characters, not 101',
		'lines[0].colour: is no field of the form; there are sku, variation_id, quantity, designs',
		'lines[0].quantity: must be an integer from 1 to 10000',
		'lines[0].product_id: cannot be expressed by CustomHub v1',
		'lines[0].designs[0].url: must be an https URL',
		'lines[0].designs[0].placement: must be a string, not number',
		'lines[0].designs[0].width_inches: must be a number greater than 0',
		'lines[0].designs[0].height_inches: is required',
		'lines[1]: must be an object, not number',
		'lines[2].quantity: must be an integer from 1 to 10000',
		'lines[2]: sku or variation_id is required',
		'lines[3].sku: must not be blank',
		'lines[3].quantity: must be an integer from 1 to 10000',
		'lines[3].variation_id: must be a UUID',
		'ship_to.line2: cannot be expressed by CustomHub v1',
		'ship_to.country: must be a country code of two capital letters (ISO 3166-1 alpha-2)',
		'ship_to.name: must not be blank',
		'ship_to.postal_code: is required',
		'options.foo: is no field of the form; there are bill_to, customer, currency, is_gift, is_rush, notes, extra',
		'options.notes: must be a string, not number',
		'options.is_gift: must be true or false',
		'options.currency: must be USD, the only currency of CustomHub v1',
		'options.customer: must be an object, not array',
		'options.bill_to.name: is required',
		'options.bill_to.line1: is required',
		'options.bill_to.city: is required',
		'options.bill_to.postal_code: is required',
		'options.bill_to.state: is required for an address in the United States'),
	'every violation at once');

my $portland = '{"line1": "a", "city": "b", "state": "OR", "postal_code": "1"}';
my $cup = '[{"sku": "a", "quantity": 1}]';
my %inexpressible = (
	'cupsource-v1' => [
		'[{"sku": "a", "quantity": 1, "variation_id": "v", "designs": []}]', '{"country": "US", "name": "n", "line1": "a", "city": "b", "postal_code": "1"}',
		'{"is_gift": true, "branding": {"asset_id": "x"}, "shipping_method": "x"}',
		'lines[0].designs: cannot be expressed by Cup Source v1',
		'lines[0].variation_id: cannot be expressed by Cup Source v1',
		'ship_to.name: cannot be expressed by Cup Source v1',
		'ship_to.country: cannot be expressed by Cup Source v1',
		'options.is_gift: cannot be expressed by Cup Source v1',
		'options.branding: cannot be expressed by Cup Source v1',
		'options.shipping_method: cannot be expressed by Cup Source v1',
	],
	'cupsource-v2' => [
		'[{"sku": "a", "quantity": 1}]', '{"phone": "1", "line1": "a", "city": "b", "postal_code": "1", "country": "GB"}',
		'{"currency": "USD", "customer": {}}',
		'lines[0].sku: cannot be expressed by Cup Source v2',
		'lines[0]: product_id is required',
		'ship_to.phone: cannot be expressed by Cup Source v2',
		'options.currency: cannot be expressed by Cup Source v2',
		'options.customer: cannot be expressed by Cup Source v2',
	],
	'customhub-v1' => [
		"[$shirt]", "{$jane}", '{"shipping_method": "ground", "net_terms": "30", "po_number": "1"}',
		'options.net_terms: cannot be expressed by CustomHub v1',
		'options.po_number: cannot be expressed by CustomHub v1',
		'options.shipping_method: cannot be expressed by CustomHub v1',
	]);
for my $api (sort keys %inexpressible)
{
	my ($lines, $ship_to, $options, @violations) = @{ $inexpressible{$api} };

	is(order($api, 'x', $lines, $ship_to, $options), refused($api, @violations), "$api: what it cannot express is refused by name");
}

for my $case (
	[ 'nothing at all', 'cupsource-v1', [], 'external_id: is required', 'lines: is required', 'ship_to: is required' ],
	[ 'JSON nulls', 'cupsource-v1', [ 'x', 'null', 'null', 'null' ], 'lines: is required', 'ship_to: is required' ],
	[ 'no line', 'cupsource-v1', [ 'x', '[]', $portland ], 'lines: must have at least one line' ],
	[ 'one line without its array', 'cupsource-v1', [ 'x', '{"sku": "a", "quantity": 1}', $portland ],
		'lines: must be an array, not object' ],
	[ 'lists for objects', 'cupsource-v1', [ 'x', $cup, '[]', '[]' ],
		'ship_to: must be an object, not array', 'options: must be an object, not array' ],
	[ 'an empty external id', 'cupsource-v1', [ '', $cup, $portland ], 'external_id: must have 1 to 100 characters, not 0' ],
	[ 'a line of nothing', 'cupsource-v2', [ 'x', '[{}]', '{"line1": "a", "city": "b", "postal_code": "1"}' ],
		'lines[0].quantity: is required', 'lines[0]: product_id is required', 'ship_to.country: is required' ],
	[ 'a null quantity', 'cupsource-v1', [ 'x', '[{"sku": "a", "quantity": null}]', $portland ], 'lines[0].quantity: is required' ],
	[ 'a deadline without offset', 'cupsource-v2',
		[ 'x', '[{"product_id": "a", "quantity": 1}]', '{"line1": "a", "city": "b", "postal_code": "1", "country": "GB"}',
			'{"branding": {"proof_approval_deadline": "2025-04-15T00:00:00"}}' ],
		'options.branding.proof_approval_deadline: must be a date and time in ISO 8601 with offset',
		'options.branding.asset_id: is required', 'options.branding.print_method: is required' ],
	(map { [ "net terms of $_", 'cupsource-v2',
			[ 'x', '[{"product_id": "a", "quantity": 1}]', '{"line1": "a", "city": "b", "postal_code": "1", "country": "GB"}',
				qq({"net_terms": $_}) ],
			'options.net_terms: must be a number of days' ] } '"soon"', '"-30"', '"30 days"', '""'),
	(map { [ "the country $_", 'cupsource-v2',
			[ 'x', '[{"product_id": "a", "quantity": 1}]', qq({"line1": "a", "city": "b", "postal_code": "1", "country": "$_"}) ],
			'ship_to.country: must be a country code of two capital letters (ISO 3166-1 alpha-2)' ] } 'UK', 'XX', 'U', 'USA', 'us', 'QZ'),
	[ 'a currency that is none', 'cupsource-v1', [ 'x', $cup, $portland, '{"currency": "usd"}' ],
		'options.currency: must be a currency code of three capital letters (ISO 4217)' ],
	[ 'a field with a strange name', 'cupsource-v1', [ 'x', $cup, $portland, '{"a\tb": 1}' ],
		'options.a b: is no field of the form; there are currency, extra' ],
	[ 'a number that no integer holds', 'cupsource-v1', [ 'x', '[{"sku": "a", "quantity": 99999999999999999999}]', $portland ],
		'lines: integer out of range at byte 27' ],
	[ 'a quantity over the limit', 'customhub-v1', [ 'x', '[{"sku": "a", "quantity": 10001}]', "{$jane}" ],
		'lines[0].quantity: must be an integer from 1 to 10000' ],
	[ '501 lines', 'customhub-v1', [ 'x', '[' . join(',', ($shirt) x 501) . ']', "{$jane}" ],
		'lines: must be at most 500 lines, not 501' ],
	[ '51 designs over two lines', 'customhub-v1',
		[ 'x', '[' . join(',', map { my $n = $_; '{"sku": "a", "quantity": 1, "designs": [' . join(',', ($design) x $n) . ']}' } 25, 26)
			. ']', "{$jane}" ],
		'lines: must have at most 50 designs in all, not 51' ],
	[ 'more violations than anybody reads', 'cupsource-v1', [ 'x', '[' . join(',', ('1') x 60) . ']', $portland ],
		(map {"lines[$_]: must be an object, not number"} 0 .. 49), 'and 10 more' ],
	(map { [ "the URL $_", 'customhub-v1',
			[ 'x', qq([{"sku": "a", "quantity": 1, "designs": [{"url": "$_", "placement": "p", "width_inches": 1, "height_inches": 1}]}]),
				"{$jane}" ],
			'lines[0].designs[0].url: must be an https URL' ] }
		'https://', 'https:///x.png', 'ftp://a/b.png', 'https://a/b c.png', '//a/b.png', ''),
	(map { [ "the file $_", 'customhub-v1',
			[ 'x', qq([{"sku": "a", "quantity": 1, "designs": [{"url": "$_", "placement": "p", "width_inches": 1, "height_inches": 1}]}]),
				"{$jane}" ],
			'lines[0].designs[0].url: must be a PNG or JPEG file' ] }
		'https://a/b.gif', 'https://a/x.png/b.PDF', 'https://a/b.tiff#a.png'))
{
	my ($what, $api, $arguments, @violations) = @$case;

	is(order($api, @$arguments), refused($api, @violations), "refused: $what");
}

# ---- what is right at the edge ----

my $address_sent = '"shipping_address":{"line1":"a","city":"b","state":"OR","zip":"1"}';
is(order('cupsource-v1', 'x', '[{"sku": 7, "quantity": 20000.00}]', $portland),
	qq({"items":[{"sku":"7","qty":20000}],$address_sent}), 'an integral quantity with decimals, a numeric SKU');
like(order('customhub-v1', 'x', '[' . join(',', ($shirt) x 500) . ']', "{$jane}"), qr/^\{"externalOrderId":"x"/, '500 lines');
like(order('customhub-v1', 'x', '[{"sku": "a", "quantity": 1, "designs": [' . join(',', ($design) x 50) . ']}]', "{$jane}"),
	qr/^\{"externalOrderId":"x"/, '50 designs');
like(order('customhub-v1', "\xc3\xa9" x 100, "[$shirt]", "{$jane}"), qr/^\{"externalOrderId":"(?:\xc3\xa9){100}"/,
	'100 characters of two bytes');
like(order('customhub-v1', 'x', qq([{"sku": "a", "quantity": 1, "designs": [{"url": "$_", "placement": "p", "width_inches": 1, "height_inches": 1}]}]), "{$jane}"),
	qr/^\{"externalOrderId":"x"/, "the file $_")
  for 'https://a/b.PNG', 'https://a/b.jpg?v=1.gif', 'https://a/b.c/d.jpeg', 'https://a.pdf', 'https://a.pdf/b', 'https://a/b?id=7',
  'https://a/b.svg?format=png';
like(order('customhub-v1', 'x', "[$shirt]", '{"name": "n", "line1": "a", "city": "b", "postal_code": "1", "country": "TR"}'),
	qr/"country":"TR"/, 'an address abroad without a state');
like(order('customhub-v1', 'x', "[$shirt]", "{$jane, \"phone\": null}", '{"notes": null, "extra": null}'),
	qr/^\{"externalOrderId":"x","shippingAddress":\{\Q$jane_sent\E\},"items"/, 'a null is as good as nothing');

# ---- extra ----

is( order('cupsource-v1', 'x', $cup, $portland, '{"extra": {"gift_wrap": [1.50, null, {"a/b": "\u00e9"}], "ref": 12}}'),
	qq({"items":[{"sku":"a","qty":1}],$address_sent,"ref":12,"gift_wrap":[1.50,null,{"a/b":"\xc3\xa9"}]}),
	'extra is merged verbatim');
is( order('cupsource-v1', 'x', $cup, $portland, '{"extra": {"items": [], "ref": 1, "currency": "EUR"}}'),
	refused('cupsource-v1', 'options.extra.items: is in the body already, from another field of the form'),
	'and replaces nothing');
is( order('cupsource-v1', 'x', $cup, $portland, '{"extra": [1]}'),
	refused('cupsource-v1', 'options.extra: must be an object, not array'), 'and is an object');
is(order('cupsource-v1', 'x', $cup, $portland, '{"extra": {}}'), qq({"items":[{"sku":"a","qty":1}],$address_sent}), 'or an empty one');

# ---- quotes and designs ----

is( quote('customhub-v1', "[$shirt]", "{$jane}", qq({"notes": "x", "is_gift": true, "customer": {"name": "Jane"}, "bill_to": {$jane}})),
	quote('customhub-v1', "[$shirt]", "{$jane}", 'null'), 'a quote takes what an order does, and asks for the price of the same');
is( quote('customhub-v1', "[$shirt]", "{$jane}", '{"net_terms": "30"}'),
	"22023 quote form is not valid for API \"customhub-v1\"\noptions.net_terms: cannot be expressed by CustomHub v1",
	'not more');
is( $node->safe_psql('postgres', "SELECT designs_outcome('[$design]')"), qq({"designs":[$design_sent]}), 'designs for a placed order');
is( $node->safe_psql('postgres', "SELECT designs_outcome('[$design, {\"url\": \"https://a/b\", \"placement\": \"width1\"}]')"),
	"22023 list of designs is not valid\ndesigns[1].width_inches: is required\ndesigns[1].height_inches: is required\n"
	  . 'designs[1].placement: is that of designs[0]: at most one design per placement',
	'complete, and one per placement');
is($node->safe_psql('postgres', "SELECT designs_outcome('$_')"),
	"22023 list of designs is not valid\ndesigns: must be an array with at least one design", "no list of designs: $_")
  for '[]', '{}', 'null';

# ---- a database of another encoding ----

$node->safe_psql('postgres', "CREATE DATABASE latin1 TEMPLATE template0 ENCODING 'latin1'");
$node->safe_psql('latin1', $functions);
is( $node->safe_psql('latin1',
		q{SELECT encode(wire_body('cupsource-v1', false, 'x', '[{"sku": "a", "quantity": 1}]',
			jsonb_build_object('line1', chr(233), 'city', 'b', 'postal_code', '1'), NULL), 'escape')}),
	'{"items":[{"sku":"a","qty":1}],"shipping_address":{"line1":"\303\251","city":"b","zip":"1"}}',
	'the body is UTF-8 in a LATIN1 database');

$node->stop;
done_testing;
