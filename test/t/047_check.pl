# cs_check_order: each rule of the documents broken once, by itself and on every
# way to an order, and what the partner says to the same.
use strict;
use warnings;

use CupsourceTest;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0, '--products' => 30, '--models' => 3, '--variations' => 4);
my $node = cupsource_node('check');

create_accounts($node, $sandbox, options => { rate_limit => 0 });
$node->safe_psql('postgres', "CALL cs_refresh_catalog('$_')") for qw(shop_v1 shop_v2 hub);

# The same accounts without a catalogue.
$node->safe_psql('postgres', <<"SQL");
CREATE SERVER blind_v2 FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2', base_url '@{[$sandbox->url]}/v2', rate_limit '0');
CREATE USER MAPPING FOR PUBLIC SERVER blind_v2 OPTIONS (api_key 'cs_live_sk_8f7d6c5b4a3e2d1f');
CREATE SERVER blind_hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1', base_url '@{[$sandbox->url]}', auth_url '@{[$sandbox->url]}', rate_limit '0');
CREATE USER MAPPING FOR PUBLIC SERVER blind_hub OPTIONS (api_key 'ek_live_demo', secret_key 'esk_live_demo');

CREATE TABLE erp (server text, po text, lines jsonb, ship_to jsonb, options jsonb);
CREATE TRIGGER submit AFTER INSERT ON erp FOR EACH ROW EXECUTE FUNCTION
  cs_submit_order('server_column=server', 'external_id=po', 'lines=lines', 'ship_to=ship_to', 'options=options');

-- What each way to an order says: the same refusal, or what differs.
CREATE FUNCTION refusal(l jsonb, s jsonb, e text, o jsonb, sv text) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE
  said text[] := '{}';
  d text;
BEGIN
  FOR i IN 1 .. 4 LOOP
    BEGIN
      CASE i
        WHEN 1 THEN PERFORM cs_create_order(l, s, e, o, sv);
        WHEN 2 THEN PERFORM cs_enqueue_order(l, s, e, o, sv);
        WHEN 3 THEN INSERT INTO cs_orders (server, external_id, lines, ship_to, options) VALUES (sv, e, l, s, o);
        WHEN 4 THEN INSERT INTO erp VALUES (sv, e, l, s, o);
      END CASE;
      said := said || 'accepted'::text;
    EXCEPTION WHEN OTHERS THEN
      GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
      said := said || (sqlstate || E'\\n' || d);
    END;
  END LOOP;
  RETURN (SELECT string_agg(DISTINCT x, ' / ') FROM unnest(said) AS x);
END \$\$;
SQL

sub row
{
	my ($sql) = @_;

	return split /\|/, $node->safe_psql('postgres', $sql);
}

my ($v2_id, $v2_minimum) = row(q{SELECT product_id, min_order_qty FROM cs_products WHERE server = 'shop_v2' AND min_order_qty > 1 ORDER BY sku LIMIT 1});
my ($v1_sku) = row(q{SELECT sku FROM cs_products WHERE server = 'shop_v1' ORDER BY sku LIMIT 1});
my ($shirt, $shirt_id) = row(q{SELECT sku, variation_id FROM cs_variations WHERE server = 'hub' AND is_active AND sku LIKE 'BC-3001%' ORDER BY sku LIMIT 1});
my $placements = $node->safe_psql('postgres', qq{SELECT string_agg(p.placement, ', ' ORDER BY p.placement COLLATE "C") FROM cs_placements AS p
	JOIN cs_variations AS v USING (server, product_id) WHERE v.server = 'hub' AND v.sku = '$shirt'});

my $jane = '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}';
my $portland = '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}';
my $warehouse = '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}';
my %form = (
	shop_v1 => { lines => qq([{"sku": "$v1_sku", "quantity": 100000}]), ship_to => $portland },
	shop_v2 => { lines => qq([{"product_id": "$v2_id", "quantity": $v2_minimum}]), ship_to => $warehouse },
	hub => { lines => qq([{"sku": "$shirt", "quantity": 1}]), ship_to => $jane });

# A line of the shirt with one design; %what replaces its fields.
sub printed
{
	my (%what) = @_;
	my %design = (url => '"https://cdn.partner.com/a.png"', placement => '"width1"', width_inches => 11, height_inches => 11, %what);

	return qq({"sku": "$shirt", "quantity": 1, "designs": [{) . join(', ', map {qq("$_": $design{$_})} sort keys %design) . '}]}';
}

sub literal
{
	my $value = shift;

	return 'NULL' unless defined $value;
	return "'" . $value =~ s/'/''/gr . "'";
}

sub arguments
{
	my ($server, %what) = @_;
	my %all = (external_id => 'po-1', %{ $form{$server} }, %what);

	return join ', ', map({ literal($_) } @all{qw(lines ship_to external_id options)}), literal($server);
}

sub checked
{
	return $node->safe_psql('postgres', 'SELECT field, code, message, severity FROM cs_check_order(' . arguments(@_) . ')');
}

# ---- what is right ----

is(checked($_), '', "$_: an order that may be placed") for sort keys %form;
is(checked('hub', lines => '[' . printed(width_inches => 12, height_inches => '12.00', print_method => '"DTF"') . ']'), '', 'a design as large as its placement');
is(checked('hub', lines => qq([{"variation_id": "\U$shirt_id\E", "quantity": 10000}])), '', 'by its variation');
is(checked('hub', external_id => 'x' x 100), '', 'an external id of 100 characters');

# ---- each rule once ----

my @hub = map { [ 'hub', @$_ ] } (
	[ 'no line', { lines => '[]' }, 'lines', 'VALIDATION_ERROR', 'must have at least one line' ],
	[ '501 lines', { lines => '[' . join(',', (qq({"sku": "$shirt", "quantity": 1})) x 501) . ']' }, 'lines', 'VALIDATION_ERROR', 'must be at most 500 lines, not 501' ],
	[ '51 designs', { lines => '[' . join(',', (printed()) x 51) . ']' }, 'lines', 'VALIDATION_ERROR', 'must have at most 50 designs in all, not 51' ],
	[ 'a line of nothing', { lines => '[{"quantity": 1}]' }, 'lines[0]', 'VALIDATION_ERROR', 'sku or variation_id is required' ],
	[ 'no quantity', { lines => qq([{"sku": "$shirt"}]) }, 'lines[0].quantity', 'VALIDATION_ERROR', 'is required' ],
	(map { [ "a quantity of $_", { lines => qq([{"sku": "$shirt", "quantity": $_}]) }, 'lines[0].quantity', 'VALIDATION_ERROR', 'must be an integer from 1 to 10000' ] } 0, 10001, 1.5, '"1"'),
	[ 'a design that is not to be had by https', { lines => '[' . printed(url => '"http://cdn.partner.com/a.png"') . ']' },
		'lines[0].designs[0].url', 'DESIGN_FETCH_FAILED', 'must be an https URL' ],
	[ 'a design of another format', { lines => '[' . printed(url => '"https://cdn.partner.com/a.gif"') . ']' },
		'lines[0].designs[0].url', 'DESIGN_FORMAT_INVALID', 'must be a PNG or JPEG file' ],
	(map { [ "a design without $_", { lines => '[' . printed($_ => 'null') . ']' }, "lines[0].designs[0].$_", 'VALIDATION_ERROR', 'is required' ] }
		qw(url placement width_inches height_inches)),
	[ 'a placement that the SKU does not have', { lines => '[' . printed(placement => '"width9"') . ']' },
		'lines[0].designs[0].placement', 'PLACEMENT_NOT_SUPPORTED_FOR_SKU', qq(is not a placement of "$shirt"; there are $placements) ],
	(map { [ "$_ beyond the maximum", { lines => '[' . printed($_ => '12.001') . ']' },
			"lines[0].designs[0].$_", 'PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX', 'must be at most 12, the maximum of its placement' ] }
		qw(width_inches height_inches)),
	[ 'more digits than anybody measures', { lines => '[' . printed(width_inches => '12.0000000000000000000000001') . ']' },
		'lines[0].designs[0].width_inches', 'PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX', 'must be at most 12, the maximum of its placement' ],
	[ 'a print method that the placement does not have', { lines => '[' . printed(print_method => '"Stone"') . ']' },
		'lines[0].designs[0].print_method', 'VALIDATION_ERROR', 'is not available at placement "width1"; there are DTF, DTG' ],
	[ 'an external id of nothing', { external_id => '' }, 'external_id', 'VALIDATION_ERROR', 'must have 1 to 100 characters, not 0' ],
	[ 'an external id of 101 characters', { external_id => 'x' x 101 }, 'external_id', 'VALIDATION_ERROR', 'must have 1 to 100 characters, not 101' ],
	[ 'no address', { ship_to => undef }, 'ship_to', 'VALIDATION_ERROR', 'is required' ],
	(map { [ "an address without $_", { ship_to => $jane =~ s/"$_": "[^"]*"(, )?//r =~ s/, \}/}/r }, "ship_to.$_", 'VALIDATION_ERROR', 'is required' ] }
		qw(name line1 city postal_code country)),
	[ 'no state in the United States', { ship_to => $jane =~ s/"state": "NY", //r }, 'ship_to.state', 'VALIDATION_ERROR', 'is required for an address in the United States' ],
	[ 'a country that there is not', { ship_to => $jane =~ s/"US"/"UK"/r }, 'ship_to.country', 'VALIDATION_ERROR', 'must be a country code of two capital letters (ISO 3166-1 alpha-2)' ],
	[ 'another currency', { options => '{"currency": "EUR"}' }, 'options.currency', 'VALIDATION_ERROR', 'must be USD, the only currency of CustomHub v1' ],
	[ 'a field that the API does not have', { options => '{"net_terms": "30"}' }, 'options.net_terms', 'VALIDATION_ERROR', 'cannot be expressed by CustomHub v1' ]);
my @shop_v2 = map { [ 'shop_v2', @$_ ] } (
	[ 'less than the minimum', { lines => qq([{"product_id": "$v2_id", "quantity": @{[$v2_minimum - 1]}}]) },
		'lines[0].quantity', '400', qq(must be at least $v2_minimum, the minimum order quantity of "$v2_id") ],
	[ 'no quantity', { lines => qq([{"product_id": "$v2_id"}]) }, 'lines[0].quantity', '400', 'is required' ],
	[ 'no product', { lines => '[{"quantity": 5000}]' }, 'lines[0]', '400', 'product_id is required' ],
	[ 'a SKU, by which v2 does not know it', { lines => qq([{"product_id": "$v2_id", "sku": "x", "quantity": $v2_minimum}]) }, 'lines[0].sku', '400', 'cannot be expressed by Cup Source v2' ],
	[ 'branding without an asset', { options => '{"branding": {"print_method": "flexography"}}' }, 'options.branding.asset_id', '400', 'is required' ],
	[ 'branding without a print method', { options => '{"branding": {"asset_id": "art_9f3m2x"}}' }, 'options.branding.print_method', '400', 'is required' ],
	[ 'a deadline without offset', { options => '{"branding": {"asset_id": "a", "print_method": "b", "proof_approval_deadline": "2025-04-15"}}' },
		'options.branding.proof_approval_deadline', '400', 'must be a date and time in ISO 8601 with offset' ],
	[ 'net terms that are no days', { options => '{"net_terms": "net 30"}' }, 'options.net_terms', '400', 'must be a number of days' ],
	[ 'a country that there is not', { ship_to => $warehouse =~ s/"US"/"ZZ"/r }, 'ship_to.country', '400', 'must be a country code of two capital letters (ISO 3166-1 alpha-2)' ],
	(map { [ "an address without $_", { ship_to => $warehouse =~ s/"$_": "[^"]*"(, )?//r =~ s/, \}/}/r }, "ship_to.$_", '400', 'is required' ] }
		qw(line1 city postal_code country)));
my @shop_v1 = map { [ 'shop_v1', @$_ ] } (
	[ 'no quantity', { lines => qq([{"sku": "$v1_sku"}]) }, 'lines[0].quantity', '400', 'is required' ],
	[ 'no SKU', { lines => '[{"quantity": 5000}]' }, 'lines[0]', '400', 'sku is required' ],
	[ 'a currency that is none', { options => '{"currency": "usd"}' }, 'options.currency', '400', 'must be a currency code of three capital letters (ISO 4217)' ],
	(map { [ "an address without $_", { ship_to => $portland =~ s/"$_": "[^"]*"(, )?//r =~ s/, \}/}/r }, "ship_to.$_", '400', 'is required' ] }
		qw(line1 city postal_code)));

for my $case (@hub, @shop_v2, @shop_v1)
{
	my ($server, $what, $changes, @finding) = @$case;

	is($node->safe_psql('postgres', 'SELECT field, code, message, severity FROM cs_check_order(' . arguments($server, %$changes) . ');'
			. 'SELECT refusal(' . arguments($server, %$changes) . ')'),
		join("\n", join('|', @finding, 'error'), 22023, "$finding[0]: $finding[2]"), "$server: $what");
}
is(checked('shop_v2', external_id => undef), 'external_id|400|is required|error', 'no external id');

# ---- all at once, the doubtful apart ----

my @mixed = (
	lines => '[' . join(', ', qq({"sku": "$shirt", "quantity": 0}), printed(placement => '"width9"'), printed(url => '"https://cdn.partner.com/get?id=7"', width_inches => 13),
		'{"sku": "NOT-THERE", "quantity": 1}') . ']',
	ship_to => '{"country": "US"}');
is(checked('hub', @mixed), join("\n",
		'lines[0].quantity|VALIDATION_ERROR|must be an integer from 1 to 10000|error',
		'lines[2].designs[0].url|DESIGN_FORMAT_INVALID|does not say that it is a PNG or JPEG file|warning',
		(map {"ship_to.$_|VALIDATION_ERROR|is required|error"} qw(name line1 city postal_code)),
		'ship_to.state|VALIDATION_ERROR|is required for an address in the United States|error',
		qq(lines[1].designs[0].placement|PLACEMENT_NOT_SUPPORTED_FOR_SKU|is not a placement of "$shirt"; there are $placements|error),
		'lines[2].designs[0].width_inches|PRINT_DIMENSIONS_EXCEED_PLACEMENT_MAX|must be at most 12, the maximum of its placement|error',
		'lines[3].sku|SKU_NOT_FOUND|is not known to the cached catalogue|warning'), 'all that is wrong, each in a row');
is($node->safe_psql('postgres', 'SELECT refusal(' . arguments('hub', @mixed) . ')'), join("\n", 22023,
		'lines[0].quantity: must be an integer from 1 to 10000',
		(map {"ship_to.$_: is required"} qw(name line1 city postal_code)),
		'ship_to.state: is required for an address in the United States',
		qq(lines[1].designs[0].placement: is not a placement of "$shirt"; there are $placements),
		'lines[2].designs[0].width_inches: must be at most 12, the maximum of its placement'), 'and all errors in one DETAIL');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cs_check_order(' . arguments('hub', lines => '[' . join(',', ('1') x 70) . ']') . ')'), 70,
	'also more than a message shows');

is(order_count($node), 0, 'nothing was stored');
is($sandbox->count(method => 'POST', path => $_), 0, "and nothing sent: $_") for '/api/v1/orders', '/v1/orders', '/v2/orders';

# ---- what an order would cost at Cup Source, which gives no quotes ----

my @cups = map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', q{SELECT product_id, sku, unit_price FROM cs_products WHERE server = 'shop_v2'
	ORDER BY min_order_qty, sku LIMIT 2});
my $requests = $sandbox->count;
my $expected = $node->safe_psql('postgres', "SELECT 5000 * $cups[0][2]::numeric + 7000 * $cups[1][2]::numeric");
is($node->safe_psql('postgres', qq{SELECT * FROM cs_quote_order('[{"product_id": "$cups[0][0]", "quantity": 5000}, {"product_id": "$cups[1][0]", "quantity": 7000}]', NULL, server => 'shop_v2')}),
	qq(USD|$expected||||||$expected|t|[{"sku": "$cups[0][1]", "quantity": 5000, "unitCost": $cups[0][2]}, {"sku": "$cups[1][1]", "quantity": 7000, "unitCost": $cups[1][2]}]|) =~ s/\|{6}/|||||/r,
	'v2: estimated from cached prices');
is($node->safe_psql('postgres', qq{SELECT total = 3 * p.unit_price AND estimated FROM cs_quote_order('[{"sku": "$v1_sku", "quantity": 3}]', '$portland', '{"currency": "USD", "extra": {"items": []}}', 'shop_v1'),
	cs_products AS p WHERE p.server = 'shop_v1' AND p.sku = '$v1_sku'}), 't', 'v1: with the form of an order');
is($node->safe_psql('postgres', qq{DO \$\$
	DECLARE d text; h text;
	BEGIN
	  PERFORM cs_quote_order('[{"sku": "NO-1", "quantity": 1}, {"sku": "$v1_sku", "quantity": 1}, {"sku": "NO-2", "quantity": 1}]', NULL, server => 'shop_v1');
	EXCEPTION WHEN invalid_parameter_value THEN
	  GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	  PERFORM set_config('test.said', concat_ws(chr(10), sqlerrm, d, h), false);
	END \$\$; SELECT current_setting('test.said')}),
	join("\n", 'the order cannot be estimated from the cached catalogue of server "shop_v1"',
		(map {"lines[$_].sku: has no price in the cached catalogue"} 0, 2), q{Use CALL cs_refresh_catalog('shop_v1') if the catalogue may be old.}),
	'not without a price, and all of those are named');
is(query_state($node, qq{SELECT cs_quote_order('[{"product_id": "$v2_id", "quantity": @{[$v2_minimum - 1]}}]', NULL, server => 'shop_v2')}), '22023', 'nor of an order that could not be placed');
is($sandbox->count, $requests, 'and nobody was asked');

# ---- what is doubtful blocks nothing ----

# The document of v1 speaks of no minimum.
$node->safe_psql('postgres', "UPDATE cs_internal.products SET min_order_qty = 7 WHERE server = 'shop_v1' AND sku = '$v1_sku'");
my ($inactive) = row(q{SELECT sku FROM cs_variations WHERE server = 'hub' AND NOT is_active ORDER BY sku LIMIT 1});
for my $case (
	[ 'hub', { lines => '[{"sku": "NOT-THERE", "quantity": 1}]' }, 'lines[0].sku', 'SKU_NOT_FOUND', 'is not known to the cached catalogue' ],
	[ 'hub', { lines => '[{"variation_id": "00000000-0000-4000-8000-000000000000", "quantity": 1}]' }, 'lines[0].variation_id', 'SKU_NOT_FOUND', 'is not known to the cached catalogue' ],
	[ 'hub', { lines => qq([{"sku": "$inactive", "quantity": 1}]) }, 'lines[0].sku', 'SKU_NOT_FOUND', 'is no longer on offer, as far as the cached catalogue knows' ],
	[ 'hub', { lines => '[' . printed() =~ s/\}\]\}/}, {"url": "https:\/\/a\/b.png", "placement": "width1", "width_inches": 1, "height_inches": 1}]}/r . ']' },
		'lines[0].designs[1].placement', 'VALIDATION_ERROR', 'is that of designs[0]: at most one design per placement' ],
	[ 'shop_v2', { lines => '[{"product_id": "prod_none", "quantity": 1}]' }, 'lines[0].product_id', '400', 'is not known to the cached catalogue' ],
	[ 'shop_v1', { lines => '[{"sku": "NOT-THERE", "quantity": 1}]' }, 'lines[0].sku', '400', 'is not known to the cached catalogue' ],
	[ 'shop_v1', { lines => qq([{"sku": "$v1_sku", "quantity": 1}]) }, 'lines[0].quantity', '400', qq(must be at least 7, the minimum order quantity of "$v1_sku") ])
{
	my ($server, $changes, @finding) = @$case;

	is(checked($server, %$changes), join('|', @finding, 'warning'), "$server: a warning: $finding[2]");
	is($node->safe_psql('postgres', 'BEGIN; SELECT state FROM cs_enqueue_order(' . arguments($server, %$changes) . '); ROLLBACK'), 'queued', 'which does not keep it from being queued');
}

# ---- the partner says the same, with the same code ----

for my $case (
	[ 'blind_hub', $form{hub}, { lines => '[' . printed(placement => '"width9"') . ']' } ],
	[ 'blind_hub', $form{hub}, { lines => '[' . printed(height_inches => 13) . ']' } ],
	[ 'blind_hub', $form{hub}, { lines => '[' . printed(print_method => '"Stone"') . ']' } ],
	[ 'blind_hub', $form{hub}, { lines => qq([{"sku": "$inactive", "quantity": 1}]) } ],
	[ 'blind_v2', $form{shop_v2}, { lines => qq([{"product_id": "$v2_id", "quantity": 1}]) } ])
{
	my ($blind, $form, $changes) = @$case;
	my $knowing = $blind eq 'blind_hub' ? 'hub' : 'shop_v2';
	my ($field, $code) = split /\|/, checked($knowing, %$changes);
	my %all = (%$form, external_id => "blind $field $code", %$changes);

	$form{$blind} = $form;
	like(checked($blind, %all), qr/^lines\[0\]\.\w+\|\w+\|is not known to the cached catalogue\|warning$/, "$blind: without a catalogue, a warning");
	is(query_state($node, 'SELECT cs_create_order(' . arguments($blind, %all) . ')'), 'PA400', 'the partner refuses it');
	is($node->safe_psql('postgres', "SELECT " . ($code eq '400' ? 'right(error_sqlstate, 3)' : 'error_code') . " FROM cs_orders WHERE external_id = '$all{external_id}'"), $code,
		"with the code of the check: $code");
}

# ---- a session that has ordered before ----

my ($in, $out) = ("\\set VERBOSITY verbose\n", '');
my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>&1', IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

sub enqueue
{
	my ($external_id) = @_;

	$out = '';
	$in .= 'SELECT state FROM cs_enqueue_order(' . arguments('shop_v2', external_id => $external_id) . ");\n\\echo done\n";
	$psql->pump until $out =~ /^done$/m;
	return $out =~ s/\n?done\n\z//r;
}

$node->safe_psql('postgres', q{INSERT INTO cs_internal.queue_claim (origin) VALUES ('another cluster')});
is(enqueue('before'), 'queued', 'a session orders');
my ($v2_sku) = row("SELECT sku FROM cs_products WHERE server = 'shop_v2' AND product_id = '$v2_id'");
$sandbox->control(POST => 'catalog', { change => { $v2_sku => { min_order_qty => $v2_minimum + 500 } } });
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('shop_v2')});
like(enqueue('after'), qr/ERROR:  22023: .*DETAIL:  lines\[0\]\.quantity: must be at least @{[$v2_minimum + 500]}, /s, 'and learns at once what another has refreshed');
$in .= "\\q\n";
$psql->finish;

# ---- what README's table says of each field ----

my ($table) = slurp_file('README.md') =~ /^\| field \| Cup Source v1 \| Cup Source v2 \| CustomHub \|\n\|[-|]+\n((?:\|.*\n)+)/m;
my %full = (
	lines => '[{"sku": "A", "product_id": "B", "variation_id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "quantity": 1, "designs": []}]',
	ship_to => '{"name": "n", "line1": "l", "line2": "l", "city": "c", "state": "NY", "postal_code": "p", "country": "US", "phone": "p", "email": "e"}',
	options => '{"bill_to": {"name": "n", "line1": "l", "city": "c", "state": "s", "postal_code": "p", "country": "DE"}, "customer": {"name": "n"},
	  "branding": {"asset_id": "a", "print_method": "f"}, "shipping_method": "x", "currency": "USD", "po_number": "p", "net_terms": "30",
	  "is_gift": true, "is_rush": false, "notes": "n", "extra": {"a": 1}}');
my @servers = qw(shop_v1 shop_v2 hub);
my (%told, %is);

for my $row (split /\n/, $table)
{
	my ($fields, @cells) = map { s/^ | $//gr } (split /\|/, $row)[ 1 .. 4 ];
	my ($part) = $fields =~ /^`([a-z_]+(?:\[\])?\.)/;
	my @names = $fields =~ /[.`](\w+)(?:\[\])?`/g;

	for my $name (@names)
	{
		$told{"$servers[$_] $part$name"} = $cells[$_] =~ /^\*\*!/ ? 'demanded' : $cells[$_] =~ /^\+/ ? 'taken' : 'refused' for 0 .. 2;
	}
}
for my $server (@servers)
{
	my %says = map {
		my ($lines, $ship_to, $options) = @$_;
		$options => $node->safe_psql('postgres', "SELECT replace(field, '[0]', '[]') || ' ' || message
		  FROM cs_check_order('$lines', '$ship_to', 'x', '$options', '$server') WHERE severity = 'error'")
	} [ @full{qw(lines ship_to options)} ], [ '[{}]', '{}', '{}' ];

	for my $part (keys %full)
	{
		for my $name (keys %{ ref decode_json($full{$part}) eq 'ARRAY' ? decode_json($full{$part})->[0] : decode_json($full{$part}) })
		{
			my $field = ($part eq 'lines' ? 'lines[]' : $part) . ".$name";

			$is{"$server $field"} = $says{ $full{options} } =~ /^\Q$field\E cannot be expressed/m ? 'refused'
			  : $says{'{}'} =~ /^(?:\Q$field\E|lines\[\] (?:\w+ or )?$name(?: or \w+)?) is required$/m ? 'demanded' : 'taken';
		}
	}
}
is_deeply(\%told, \%is, 'README tells of each field which API demands, takes or refuses it');

# ---- who may ask ----

$node->safe_psql('postgres', 'CREATE ROLE stranger');
is(query_state($node, 'SET ROLE stranger; SELECT * FROM cs_check_order(' . arguments('hub') . ')'), '42501', 'USAGE decides');

$node->stop;
done_testing;
