# Every way to a partner, by a key that may not and by a role that may not: the
# functions are taken from the catalog, so that none is forgotten here.
use strict;
use warnings;

use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0, '--products' => 30, '--models' => 2);
my $node = cupsource_node('endpoints', conf => "cupsource.max_retries = 0\n");

create_accounts($node, $sandbox, options => { rate_limit => 0, poll_interval => '1d' });

my $design = '{"url": "https://cdn.partner.com/a.png", "placement": "width1", "width_inches": 1, "height_inches": 1}';
my %form = (
	hub => [ '[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
		'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}' ],
	shop_v1 => [ '[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}', '{"currency": "USD"}' ],
	shop_v2 => [ '[{"product_id": "prod_8x92k4m", "quantity": 5000}]', '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}' ]);

sub order
{
	my ($function, $server, $external_id) = @_;

	return "SELECT $function('$form{$server}[0]', '$form{$server}[1]', '$external_id', '" . ($form{$server}[2] // '{}') . "', '$server')";
}

# A statement's SQLSTATE and HINT, or what it gives.
sub refusal
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");
	my ($sqlstate) = $err =~ /ERROR: +([0-9A-Z]{5}):/m;
	my ($hint) = $err =~ /^HINT: +(.*)$/m;

	return defined $sqlstate ? join ' ', $sqlstate, $hint // () : $out;
}

for my $server (sort keys %form)
{
	$node->safe_psql('postgres', order('cs_create_order', $server, "at $server"));
	is($node->safe_psql('postgres', "SELECT state FROM cs_order('at $server')"), 'placed', "$server: an order is there");
}
my $model = $node->safe_psql('postgres', q{SELECT model_id FROM cs_models(server => 'hub') LIMIT 1});

# ---- a key without the scope: 403 at each endpoint ----

$node->safe_psql('postgres', q{
	ALTER USER MAPPING FOR PUBLIC SERVER hub OPTIONS (SET api_key 'ek_live_noscope', SET secret_key 'esk_live_noscope');
	ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'cs_live_forbidden');
	ALTER USER MAPPING FOR PUBLIC SERVER shop_v2 OPTIONS (SET api_key 'cs_live_forbidden')});
my $grant = 'Grant the key the scope in Settings, API Keys: products_r for the catalogue, orders_r for reading orders, orders_w for placing them.';
my %forbidden = (
	hub => [ $grant,
		[ 'GET /api/v1/models', q{SELECT * FROM cs_products(server => 'hub')}, q{SELECT * FROM cs_models(server => 'hub')}, q{CALL cs_refresh_catalog('hub')} ],
		[ 'GET /api/v1/models/{id}', map {"SELECT * FROM $_('$model', server => 'hub')"} qw(cs_product cs_model cs_variations cs_placements cs_print_methods) ],
		[ 'POST /api/v1/orders/quote', "SELECT cs_quote_order('$form{hub}[0]', '$form{hub}[1]', server => 'hub')" ],
		[ 'POST /api/v1/orders', order('cs_create_order', 'hub', 'forbidden hub') ],
		[ 'GET /api/v1/orders/{orderId}', q{SELECT cs_order_status('at hub', '0')}, q{SELECT cs_order_tracking('at hub')} ],
		[ 'GET /api/v1/orders', q{SELECT cs_orders(server => 'hub')} ],
		[ 'POST /api/v1/orders/{orderId}/items/{itemId}/designs', "SELECT cs_add_designs('at hub', 1, '[$design]')" ],
		[ 'DELETE /api/v1/orders/{orderId}', q{SELECT cs_cancel_order('at hub')} ],
		[ 'GET /api/v1/balance', q{SELECT * FROM cs_balance(server => 'hub')} ] ],
	shop_v1 => [ 'The account lacks required permissions.',
		[ 'GET /products', q{SELECT * FROM cs_products(server => 'shop_v1')}, q{SELECT * FROM cs_product('CS-8OZ-ECO', 'shop_v1')}, q{CALL cs_refresh_catalog('shop_v1')} ],
		[ 'POST /orders', order('cs_create_order', 'shop_v1', 'forbidden v1') ],
		[ 'GET /orders/{id}/tracking', q{SELECT cs_order_tracking('at shop_v1')} ] ],
	shop_v2 => [ 'The account lacks required permissions.',
		[ 'GET /products', q{SELECT * FROM cs_products(server => 'shop_v2')}, q{SELECT * FROM cs_product('CS-8OZ-ECO', 'shop_v2')}, q{CALL cs_refresh_catalog('shop_v2')} ],
		[ 'POST /orders', order('cs_create_order', 'shop_v2', 'forbidden v2') ],
		[ 'POST /assets', q{SELECT cs_upload_asset('\x89504e47'::bytea, 'a.png', server => 'shop_v2')} ] ]);
my $orders = () = $sandbox->orders;

for my $server (sort keys %forbidden)
{
	my ($hint, @endpoints) = @{ $forbidden{$server} };

	for my $endpoint (@endpoints)
	{
		my ($name, @statements) = @$endpoint;

		is(refusal("$_;"), "PA403 $hint", "$server, $name: " . substr($_, 0, 40)) for @statements;
	}
}
is($node->safe_psql('postgres', q{SELECT string_agg(external_id || ' ' || state, ', ' ORDER BY external_id) FROM cs_orders}),
	'at hub cancelling, at shop_v1 placed, at shop_v2 placed, forbidden hub failed, forbidden v1 failed, forbidden v2 failed', 'the orders that were there stand, one to be cancelled as soon as the key may');
is(scalar(() = $sandbox->orders), $orders, 'and there is no other');

# ---- a role without USAGE sees no row and can call nothing ----

$node->safe_psql('postgres', q{CREATE ROLE stranger; ANALYZE});

# No account has to do with these.
my %harmless = (cs_version => 'about the library', cs_submit_order => 'a trigger function',
	cs_error_codes => 'about the documents',
	cs_health => 'of what one may see: its counts are of nothing');
my @functions = map { [ split /\|/ ] } split /\n/, $node->safe_psql('postgres', q{
	SELECT p.proname, p.oid::regprocedure, p.prokind, CASE WHEN 'server' = ANY (p.proargnames) THEN 't' ELSE 'f' END,
	       (SELECT string_agg(CASE WHEN n = 'server' THEN quote_literal('hub') WHEN n IN ('id', 'order_id') AND t = 'text'::regtype THEN quote_literal('at hub')
	                               WHEN n IN ('lines', 'designs') THEN quote_literal('[]') WHEN t = 'jsonb'::regtype THEN quote_literal('{}')
	                               WHEN t IN ('bigint'::regtype, 'integer'::regtype, 'numeric'::regtype) THEN '1' WHEN t = 'timestamptz'::regtype THEN 'now()'
	                               WHEN t = 'interval'::regtype THEN quote_literal('0') WHEN t = 'boolean'::regtype THEN 'true'
	                               WHEN t = 'bytea'::regtype THEN quote_literal('x') || '::bytea' WHEN t::text LIKE '%[]' THEN quote_literal('{x}')
	                               ELSE quote_literal('x') END || '::' || t, ', ' ORDER BY i)
	          FROM (SELECT i, t::regtype, p.proargnames[i] AS n FROM unnest(p.proargtypes) WITH ORDINALITY AS a (t, i)) AS a)
	  FROM pg_proc AS p JOIN pg_depend AS d ON d.objid = p.oid AND d.deptype = 'e' AND d.classid = 'pg_proc'::regclass
	  JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'cupsource'
	 WHERE p.pronamespace = 'public'::regnamespace ORDER BY 1, 2});

cmp_ok(scalar @functions, '>=', 30, 'all functions are tried');
for my $function (@functions)
{
	my ($name, $signature, $kind, $has_server, $arguments) = @$function;
	my $call = ($kind eq 'p' ? 'CALL' : 'SELECT * FROM') . " $name(" . ($arguments // '') . ')';

	next if $harmless{$name};

	# No right to execute it, or to use the server; no such order, or no such SKU; or nothing at all.
	like(refusal("SET ROLE stranger; $call;"), qr/^(?:(?:42501|42704|PA404)\b.*|22023 Use CALL cs_refresh_catalog.*|)$/, $signature);
}

my @views = split /\n/, $node->safe_psql('postgres', q{
	SELECT c.relname FROM pg_class AS c JOIN pg_depend AS d ON d.objid = c.oid AND d.deptype = 'e' AND d.classid = 'pg_class'::regclass
	  JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'cupsource'
	 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v' AND c.relname <> 'cs_stat_workers' ORDER BY 1});
cmp_ok(scalar @views, '>=', 15, 'all views are looked at');
is($node->safe_psql('postgres', 'SET ROLE stranger; SELECT ' . join(' + ', map {"(SELECT count(*) FROM $_)"} @views)), '0', 'no view shows a row: ' . join(' ', @views));
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_orders}), 6, 'of those that there are');

$node->stop;
done_testing;
