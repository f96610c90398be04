#!/usr/bin/perl
#
# The catalogue, live and cached: what is asked of the partner, what becomes of
# the answers, and what a refresh writes, survives and says.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $BC3001 = 'BC3001';

my $sandbox = CupsourceTest::Sandbox->start('--products' => 250, '--models' => 27, '--rate-limit' => 0);
my $node = cupsource_node('catalog', conf => "shared_buffers = '32MB'\nautovacuum = off\nrestart_after_crash = on\n");
create_accounts($node, $sandbox, options => { rate_limit => 0 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# The queries that arrived, in order, decoded, each with its parameters sorted.
sub queries
{
	my (%filter) = @_;
	my @queries;

	for my $request ($sandbox->requests(method => 'GET', %filter))
	{
		my $query = $request->{query};

		push @queries, join '&', map { "$_=" . (ref $query->{$_} ? "@{ $query->{$_} }" : $query->{$_}) } sort keys %$query;
	}
	return @queries;
}

# A statement and what it told on the way: (status, output, notices and errors).
sub told
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql);

	return ($status, $out, $err);
}

# Where and when every version of a cached row was stored.
my @tables = map { "cs_internal.$_" }
  qw(products models variations placements print_methods price_history balances list_pages);
my $versions = join ' UNION ALL ',
  map { "SELECT '$_', ctid::text, xmin::text, xmax::text FROM $_" } @tables;

sub versions { return sql("SELECT md5(string_agg(v::text, ' ' ORDER BY v::text)) FROM ($versions) AS v"); }

# Everything that a reader of the cache sees, but the times.
sub content
{
	my ($server) = @_;

	return join "\n", map { sql(<<"END") }
SELECT coalesce(string_agg(x::text, E'\\n' ORDER BY x::text), '')
  FROM (SELECT to_jsonb(t) - 'fetched_at' - 'discontinued_at' || jsonb_build_object('gone', to_jsonb(t) ->> 'discontinued_at' IS NOT NULL)
          FROM $_ AS t WHERE server = '$server') AS y (x)
END
	  qw(cs_products cs_variations cs_placements cs_print_methods cs_balance cs_models);
}

# ---- Live: exactly what was asked for ----

is(sql(q{SELECT count(*) > 0 FROM cs_products(category => 'coffee_cups', eco_certified => true, server => 'shop_v2')}),
	't', 'products by category and certification');
is_deeply([ queries() ], ['category=coffee_cups&eco_certified=true&limit=100'], 'are asked for by exactly these filters');

$sandbox->forget;
is(sql(q{SELECT count(*) FROM cs_products(server => 'shop_v2')}), 250, 'all products by cursor');
my @asked = queries();
is(scalar @asked, 3, 'in as many requests as there are pages');
is($asked[0], 'limit=100', 'the first without a cursor');
like($asked[1], qr/^cursor=\S+=&limit=100$/, 'the next by the cursor of the first, the = at its end percent-encoded, else it is refused');

$sandbox->forget;
is(sql(q{SELECT count(*) FROM cs_products(server => 'shop_v1')}), 250, 'all products by page number');
is_deeply([ queries() ], [ map { "page=$_" } 1 .. 13 ], 'from the first page to the last');

$sandbox->forget;
is(sql(q{SELECT count(*) FROM cs_products(max_rows => 7, server => 'shop_v2')}), 7, 'max_rows bounds the rows');
is_deeply([ queries() ], ['limit=7'], 'and the page that is asked for');
$sandbox->forget;
is(sql(q{SELECT count(*) FROM cs_products(max_rows => 25, server => 'shop_v1')}), 25, 'over several pages');
is_deeply([ queries() ], [ 'page=1', 'page=2' ], 'only as many as are needed');
$sandbox->forget;
is(sql(q{SELECT count(*) FROM cs_products(max_rows => 0, server => 'shop_v2')}), 0, 'none at all');
is($sandbox->count, 0, 'asks nobody');

$sandbox->forget;
is(sql(q{SELECT string_agg(code, ' ') FROM cs_models(search => 'bella', server => 'hub')}), $BC3001, 'models by a word');
is_deeply([ queries(path => '.*/models') ], ['page=1&pageSize=100&search=bella'], 'which CustomHub searches for');

is(query_state($node, q{SELECT * FROM cs_products(search => 'cup', server => 'shop_v2')}), '0A000',
	'a filter that the API does not have is refused');
is(query_state($node, q{SELECT * FROM cs_models(server => 'shop_v1')}), '0A000', 'and so is a resource');
is(query_state($node, q{SELECT * FROM cs_products(max_rows => -1, server => 'shop_v2')}), '22023', 'fewer than no rows');
is(query_state($node, q{SELECT * FROM cs_variations(NULL, 'hub')}), '22004', 'no model');
is(query_state($node, q{SELECT * FROM cs_variations('00000000-0000-0000-0000-000000000000', 'hub')}), 'PA404',
	'a model that does not exist');
is(query_state($node, q{SELECT * FROM cs_product('nothing', 'shop_v2')}), 'PA404', 'a product that does not exist');
is(query_state($node, q{SELECT * FROM cs_balance('nowhere')}), '42704', 'a server that does not exist');
is(query_state($node, q{SELECT * FROM cs_balance()}), '42P08', 'several accounts, and none is named')
  if query_state($node, q{SELECT * FROM cs_balance()}) ne '42704';

# ---- Live: the documents' examples ----

is(sql(q{SELECT to_jsonb(p) - 'fetched_at' - 'server' FROM cs_product('prod_8x92k4m', 'shop_v2') AS p}),
	sql(q{SELECT to_jsonb(r) FROM (SELECT 'prod_8x92k4m' AS product_id, 'CS-CF-12DW' AS sku, NULL AS code,
	  'Double-Wall 12oz Coffee Cup' AS name, NULL AS brand, NULL AS category, 'Kraft Paper + PLA Lining' AS material,
	  NULL AS capacity, '{FSC-MIX,BPI_Compostable}'::text[] AS certifications, 0.14 AS unit_price, NULL AS list_price,
	  NULL AS blank_cost, 'USD' AS currency, 1000 AS min_order_qty, 'available' AS stock_status, 3 AS lead_time_days,
	  NULL AS variation_count, NULL AS priced_variation_count, NULL AS is_featured, NULL AS image_url, NULL AS raw,
	  NULL AS images, NULL AS categories, NULL AS description, NULL AS fit_type, NULL AS care, NULL AS sizing,
	  NULL AS discontinued_at) AS r}),
	'the product of the v2 document');
is(sql(q{SELECT product_id FROM cs_product('CS-CF-12DW', 'shop_v2')}), 'prod_8x92k4m', 'by its SKU too');

my $model = sql(q{SELECT model_id FROM cs_models('bella', server => 'hub')});
is(sql(q{SELECT concat_ws('|', code, name, brand, primary_image_url IS NOT NULL, default_list_price, default_price, currency,
	  from_unit_price, from_list_price, from_blank_cost, priced_variation_count, variation_count, is_featured, raw)
	  FROM cs_models('bella', server => 'hub')}),
	'BC3001|Bella Canvas 3001 Unisex Shirt|Bella+Canvas|t|0|0|USD|6.49|6.49|3.99|188|188|f', 'the row of "List models"');
is(sql(qq{SELECT concat_ws('|', code, name, brand, material, fit_type, categories->0->>'name', cardinality(images) > 0, raw)
	  FROM cs_model('$model', 'hub')}),
	'BC3001|Bella Canvas 3001 Unisex Shirt|Bella+Canvas|100% Airlume combed and ring-spun cotton, 32 single 4.2 oz.|Unisex retail fit|T-Shirts|t',
	'the detail of "Get a model"');
is(sql(qq{SELECT concat_ws('|', product_id = '$model', sku, is_active, variation_description, variation2_description, variation2_hex,
	  cardinality(images), currency, unit_price, list_price, blank_cost, handling_fee, raw)
	  FROM cs_variations('$model', 'hub') WHERE sku = 'BC-3001-L-BLACK'}),
	't|BC-3001-L-BLACK|t|BELLA CANVAS Unisex T-shirt L|Black|#000000|1|USD|8.18|8.18|5.68|0.0', 'its variation');
is(sql(qq{SELECT string_agg(concat_ws('|', placement, label, max_width_inches, max_height_inches, raw), ' ' ORDER BY placement)
	  FROM cs_placements('$model', 'hub')}),
	'width1|Placement 1|12|12 width2|Placement 2|4|4', 'its placements');
is(sql(qq{SELECT string_agg(concat_ws('|', placement, print_method, label, price, price_source, raw), ' ' ORDER BY placement, print_method)
	  FROM cs_print_methods('$model', 'hub')}),
	'width1|DTF|DTF - Direct to Film|2.50|dealer width1|DTG|Direct to Garment|2.50|dealer_location_fallback width2|DTF|DTF - Direct to Film|2.50|dealer',
	'its print methods');
is(sql(qq{SELECT concat_ws('|', product_id = '$model', code, unit_price, list_price, blank_cost, currency, variation_count,
	  priced_variation_count) FROM cs_product('$model', 'hub')}),
	't|BC3001|6.49|6.49|3.99|USD|188|188', 'a model as a product: its lowest prices');
is(sql(q{SELECT concat_ws('|', currency, balance, credit_limit - balance = headroom, raw) FROM cs_balance('hub')}),
	'USD|1240.50|t', 'the wallet');
is(sql(q{SELECT count(*) FROM cs_balance}), 0, 'which is not stored by looking');

# ---- A first refresh, and an unchanged one ----

is(sql(q{SELECT string_agg(server || ' ' || api || ' ' || state, ', ' ORDER BY server) FROM cs_catalog_status}),
	'hub customhub-v1 never, shop_v1 cupsource-v1 never, shop_v2 cupsource-v2 never', 'nothing is cached at first');

my %pages = (shop_v1 => 13, shop_v2 => 3, hub => 1 + 27 + 1);
for my $server (sort keys %pages)
{
	$sandbox->forget;
	my ($status, $out, $err) = told("CALL cs_refresh_catalog('$server')");
	is($status, 0, "the catalogue of $server is refreshed");
	like($err, qr/NOTICE: +refreshed the catalogue of "$server": $pages{$server} pages, \d+ rows, \d+ new, 0 changed, 0 discontinued, \d+\.\d{3} s/,
		'and says what it did');
	is($sandbox->count(method => 'GET'), $pages{$server}, 'a request per page and detail');
}
is(sql(q{SELECT string_agg(concat_ws(' ', server, state, products, last_error, age < interval '1 min'), ', ' ORDER BY server) FROM cs_catalog_status}),
	'hub complete 27 t, shop_v1 complete 250 t, shop_v2 complete 250 t', 'all are complete');
is(sql(q{SELECT skus = (SELECT count(*) FROM cs_variations WHERE server = 'hub') FROM cs_catalog_status WHERE server = 'hub'}),
	't', 'with their SKUs');

for my $server ('shop_v1', 'shop_v2')
{
	is(sql(qq{SELECT count(*) FROM (SELECT to_jsonb(p) - 'fetched_at' FROM cs_products(server => '$server') AS p
		EXCEPT SELECT to_jsonb(p) - 'fetched_at' FROM cs_products AS p WHERE server = '$server') AS x}), 0,
		"the cache of $server is what the partner has");
}
is(sql(qq{SELECT count(*) FROM (SELECT to_jsonb(v) - 'fetched_at' FROM cs_variations('$model', 'hub') AS v
	EXCEPT SELECT to_jsonb(v) - 'fetched_at' FROM cs_variations AS v) AS x}), 0, 'and so are the variations of a model');
my $copy = 'Runs true to size.|Machine wash cold, inside out, with like colors. Tumble dry low.|Unisex retail fit|T-Shirts|'
  . '{https://cdn.customhub.io/bc3001-1.jpg,https://cdn.customhub.io/bc3001-2.jpg}';
is(sql("SELECT sizing, care, fit_type, categories -> 0 ->> 'name', images FROM $_"), $copy, "all images, categories, sizing and copy: $_")
  for "cs_product('$model', 'hub')", "cs_model('$model', 'hub')", "cs_products WHERE code = 'BC3001'", "cs_models WHERE code = 'BC3001'";
is(sql(q{SELECT concat_ws('|', server, sku, name, unit_price, currency, min_order_qty, lead_time_days) FROM cs_prices WHERE sku = 'CS-CF-12DW' AND server = 'shop_v2'}),
	'shop_v2|CS-CF-12DW|Double-Wall 12oz Coffee Cup|0.14|USD|1000|3', 'prices across accounts');
is(sql(q{SELECT cs_item_cost('BC-3001-L-BLACK', '{width1}', 'DTF')}), '8.18', "the document's cost of a printed item");
is(sql(q{SELECT cs_item_cost('CS-CF-12DW', server => 'shop_v2')}), '0.14', 'and of a cup');
is(query_state($node, q{SELECT cs_item_cost('CS-CF-12DW')}), '42P08', 'which two accounts offer');

my $before = versions();
my $position = sql('CHECKPOINT; SELECT pg_current_wal_lsn()');
sql("CALL cs_refresh_catalog('shop_v1')");
sql("CALL cs_refresh_catalog('shop_v2')");
sql("CALL cs_refresh_catalog('hub', full => true)");
is(versions(), $before, 'an unchanged refresh writes no row of the catalogue');
sql("CALL cs_refresh_catalog('shop_v2', full => true)");
is(versions(), $before, 'nor does one that compares every row');
cmp_ok(sql("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '$position')"), '<', 100_000, 'and hardly any WAL');

$sandbox->forget;
sql("CALL cs_refresh_catalog('hub')");
is($sandbox->count(method => 'GET'), 1 + 2 + 1,
	'CustomHub: one page of the list, two details of 27 in turn, the wallet');
my ($first) = map { $_->{path} } $sandbox->requests(path => '.*/models/.*');
$sandbox->forget;
sql("CALL cs_refresh_catalog('hub')");
isnt((map { $_->{path} } $sandbox->requests(path => '.*/models/.*'))[0], $first, 'the next time two others');

# ---- What changes ----

$sandbox->catalog(reprice => { 'CS-CF-12DW' => '0.15' });
sql("CALL cs_refresh_catalog('shop_v2')");
is(sql(q{SELECT string_agg(concat_ws(' ', unit_price, upper_inf(valid)), ', ' ORDER BY valid) FROM cs_price_history
	WHERE sku = 'CS-CF-12DW' AND server = 'shop_v2'}), '0.14 f, 0.15 t', 'a new price begins a new range');
is(sql(q{SELECT count(*) FROM cs_price_history AS a JOIN cs_price_history AS b USING (server, sku) WHERE a.valid <> b.valid AND a.valid && b.valid}),
	0, 'ranges do not overlap');
is(sql(q{SELECT cs_price_at('CS-CF-12DW', clock_timestamp(), 'shop_v2')}), '0.15', 'the price now');

$sandbox->forget;
$sandbox->catalog(reprice => { 'BC-3001-L-BLACK' => '0.99' });
sql("CALL cs_refresh_catalog('hub')");
is($sandbox->count(method => 'GET'), 1 + 1 + 2 + 1, 'CustomHub: the detail of the model whose lowest price changed, besides');
is(sql(q{SELECT blank_cost FROM cs_variations WHERE sku = 'BC-3001-L-BLACK'}), '0.99', 'brings the new price');

# What the partner has stays what the cache has, whatever moves between pages.
for my $step (1 .. 4)
{
	$sandbox->catalog($step % 2 ? (remove => [ 'CS-8OZ-ECO', 'CS-DOME-LID' ]) : (restore => ['CS-8OZ-ECO']));
	$sandbox->catalog(reprice_fraction => 0.01);
	$sandbox->catalog(restore => ['CS-DOME-LID']) if $step == 4;
	sql("CALL cs_refresh_catalog('shop_v2')");
	is(sql(q{SELECT count(*) FROM (
		(SELECT to_jsonb(p) - 'fetched_at' FROM cs_products(server => 'shop_v2') AS p EXCEPT ALL
		 SELECT to_jsonb(p) - 'fetched_at' FROM cs_products AS p WHERE server = 'shop_v2' AND discontinued_at IS NULL)
		UNION ALL
		(SELECT to_jsonb(p) - 'fetched_at' FROM cs_products AS p WHERE server = 'shop_v2' AND discontinued_at IS NULL EXCEPT ALL
		 SELECT to_jsonb(p) - 'fetched_at' FROM cs_products(server => 'shop_v2') AS p)) AS x}), 0,
		"the cache is what the partner has, after change $step");
}

# ---- What vanishes, and comes back ----

$sandbox->catalog(remove => ['CS-CF-12DW']);
sql("CALL cs_refresh_catalog('shop_v2')");
is(sql(q{SELECT discontinued_at IS NOT NULL FROM cs_products WHERE server = 'shop_v2' AND sku = 'CS-CF-12DW'}), 't',
	'by cursor, with a total that agrees, absence is proof');
is(sql(q{SELECT products FROM cs_catalog_status WHERE server = 'shop_v2'}), 249, 'one fewer');
sql("CALL cs_refresh_catalog('shop_v1')");
is(sql(q{SELECT discontinued_at IS NULL FROM cs_products WHERE server = 'shop_v1' AND sku = 'CS-CF-12DW'}), 't',
	'by page number one absence proves nothing');
sql("CALL cs_refresh_catalog('shop_v1')");
is(sql(q{SELECT discontinued_at IS NOT NULL FROM cs_products WHERE server = 'shop_v1' AND sku = 'CS-CF-12DW'}), 't',
	'a second one does');
is(sql(q{SELECT count(*) FROM cs_prices WHERE sku = 'CS-CF-12DW'}), 0, 'it has no price now');
$before = versions();
sql("CALL cs_refresh_catalog('shop_v1')");
is(versions(), $before, 'and what stays away is not written again');

$sandbox->catalog(remove => [$BC3001]);
sql("CALL cs_refresh_catalog('hub')");
is(sql(qq{SELECT discontinued_at IS NOT NULL FROM cs_models WHERE code = '$BC3001'}), 't', 'a model whose detail is gone too is discontinued at once');
is(sql(qq{SELECT count(*) FROM cs_variations WHERE product_id = '$model' AND discontinued_at IS NULL}), 0, 'with its variations');

$sandbox->catalog(restore => [ 'CS-CF-12DW', $BC3001 ]);
sql("CALL cs_refresh_catalog('$_')") for qw(shop_v1 shop_v2 hub);
is(sql(q{SELECT count(*) FROM cs_prices WHERE sku IN ('CS-CF-12DW', 'BC-3001-L-BLACK')}), 3, 'what returns is on offer again');
is(sql(q{SELECT count(*) FROM cs_price_history WHERE sku = 'CS-CF-12DW' AND server = 'shop_v2' AND upper_inf(valid)}), 1,
	'at a price of its own');
is(sql(q{SELECT string_agg(concat_ws(' ', server, products), ', ' ORDER BY server) FROM cs_catalog_status}),
	'hub 27, shop_v1 250, shop_v2 250', 'and counted');

# ---- In a transaction block, and one at a time ----

$sandbox->catalog(reprice => { 'CS-8OZ-ECO' => '0.5' });
$before = content('shop_v2');
sql(q{BEGIN; CALL cs_refresh_catalog('shop_v2'); ROLLBACK});
is(content('shop_v2'), $before, 'a refresh in a transaction block is rolled back with it');
is(sql(q{SELECT state FROM cs_catalog_status WHERE server = 'shop_v2'}), 'complete', 'as if it had not been');
sql(q{BEGIN; CALL cs_refresh_catalog('shop_v2'); COMMIT});
is(sql(q{SELECT unit_price FROM cs_prices WHERE sku = 'CS-8OZ-ECO' AND server = 'shop_v2'}), '0.5', 'or committed');

is(query_state($node, q{DO $$ BEGIN CALL cs_refresh_catalog('shop_v2'); CALL cs_refresh_catalog('shop_v1'); END $$}), '00000',
	'a block may refresh several');
is(query_state($node, q{DO $$ BEGIN CALL cs_refresh_catalog('shop_v2'); EXCEPTION WHEN division_by_zero THEN NULL; END $$}),
	'00000', 'also where it catches exceptions, and so cannot commit');
is(sql(q{SELECT string_agg(state, ' ') FROM cs_catalog_status}), 'complete complete complete', 'all of them complete');

# What a refresh sets for its own statements is the session's again behind it, also in its transaction.
is(sql(q{SET gin_pending_list_limit = '3MB'; SET synchronous_commit = remote_write;
	CALL cs_refresh_catalog('shop_v2', full => true);
	SELECT current_setting('gin_pending_list_limit') || ' ' || current_setting('synchronous_commit');
	BEGIN; CALL cs_refresh_catalog('shop_v2', full => true); SHOW gin_pending_list_limit; COMMIT}),
	"3MB remote_write\n3MB", 'settings are as they were');

$sandbox->catalog(reprice => { 'CS-8OZ-ECO' => '0.6' });
$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [2] });
$sandbox->forget;
my $session = $node->connstr('postgres');
my ($in, $out, $err) = ('', '', '');
my $running = IPC::Run::start([ 'psql', '-XqAt', '-d', $session, '-c', "CALL cs_refresh_catalog('shop_v2')" ],
	'<', \$in, '>', \$out, '2>', \$err);
$sandbox->wait_for_requests(2, path => '/v2/products');
is(query_state($node, q{CALL cs_refresh_catalog('shop_v2')}), '55P03', 'a second refresh of the account is refused');
is(sql(q{SELECT concat_ws(' ', state, running_since IS NOT NULL) FROM cs_catalog_status WHERE server = 'shop_v2'}),
	'running t', 'the first one is seen running');
is(sql(q{SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) WHERE a.query LIKE 'CALL%' AND l.locktype = 'relation'}),
	0, 'and holds no lock on a table while it waits');

# ---- Cancelled, killed, resumed ----

sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL%' AND pid <> pg_backend_pid()});
$running->finish;
like($err, qr/canceling statement due to user request/, 'a refresh can be cancelled');
is(sql(q{SELECT concat_ws('|', state, last_error, pages_done, last_complete_at IS NOT NULL) FROM cs_catalog_status WHERE server = 'shop_v2'}),
	'failed|canceling statement due to user request|1|t', 'which is recorded, with how far it came');
is(sql(q{SELECT count(*) FROM cs_prices WHERE server = 'shop_v2'}), 250, 'the cache stays readable');

$sandbox->no_faults;
$sandbox->forget;
($in, $out, $err) = told("CALL cs_refresh_catalog('shop_v2')");
like($err, qr/goes on after 100 rows.*refreshed the catalogue of "shop_v2": 3 pages, 250 rows/s, 'the next one goes on there');
like((queries())[0], qr/cursor=/, 'and not from the beginning');
is(sql(q{SELECT state FROM cs_catalog_status WHERE server = 'shop_v2'}), 'complete', 'to the end');

# What vanishes from the pages before the checkpoint is found by going back to them.
$sandbox->catalog(remove => ['CS-DOME-LID'], reprice => { 'CS-8OZ-ECO' => '0.7' });
$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [2] });
$sandbox->forget;
$running = IPC::Run::start([ 'psql', '-XqAt', '-d', $session, '-c', "SET statement_timeout = '30s'; CALL cs_refresh_catalog('shop_v2')" ],
	'<', \$in, '>', \$out, '2>', \$err);
$sandbox->wait_for_requests(2, path => '/v2/products');
wait_for($node, q{SELECT unit_price = 0.7 FROM cs_prices WHERE server = 'shop_v2' AND sku = 'CS-8OZ-ECO'});
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%CALL%' AND pid <> pg_backend_pid()});
$running->finish;
$sandbox->no_faults;
sql("CALL cs_refresh_catalog('shop_v2')");
is(sql(q{SELECT discontinued_at IS NOT NULL FROM cs_products WHERE server = 'shop_v2' AND sku = 'CS-DOME-LID'}), 't',
	'a resumed refresh, too, finds what has vanished');
is(sql(q{SELECT concat_ws(' ', state, products) FROM cs_catalog_status WHERE server = 'shop_v2'}), 'complete 249', 'and counts it');
$sandbox->catalog(restore => ['CS-DOME-LID']);
sql("CALL cs_refresh_catalog('shop_v2')");

# kill -9 in the middle of a first load, again and again, against an uninterrupted one.
sub empty_cache
{
	sql(join '', map { "DELETE FROM $_;" } @tables, 'cs_internal.catalog_runs');
	return;
}
for my $server (qw(shop_v1 hub))
{
	my $path = $server eq 'hub' ? '/api/v1/models.*' : '/v1/products';

	empty_cache();
	sql("CALL cs_refresh_catalog('$server')");
	my $whole = content($server);
	empty_cache();
	for my $page (3, 2)
	{
		$sandbox->faults({ action => 'hang', path => $path, nth => [$page] });
		$sandbox->forget;
		my $refresh = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "CALL cs_refresh_catalog('$server')" ],
			'<', \$in, '>', \$out, '2>', \$err);
		$sandbox->wait_for_requests($page, path => $path);
		my $pid = sql(q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL%'});
		# A refresh does not wait for the disk; this COMMIT does, because its
		# transaction has written something, so that its beginning is not lost.
		sql(q{SELECT pg_logical_emit_message(true, 'test', 'written')});
		kill 'KILL', $pid;
		$refresh->finish;
		# It stands there until the postmaster has noticed, and started all anew.
		wait_for($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
		is(sql("SELECT concat_ws('|', state, last_error) FROM cs_catalog_status WHERE server = '$server'"),
			'failed|the session that refreshed the catalogue ended', "$server: a killed refresh is seen as such");
	}
	$sandbox->no_faults;
	sql("CALL cs_refresh_catalog('$server')");
	is(content($server), $whole, "$server: after two kills and a resume the cache is what it would have been");
}

# A failed page is an error, and the cache stays as it was.
$sandbox->faults({ action => 'status', status => 500, path => '/v2/products' });
is(query_state($node, q{SET cupsource.max_retries = 0; CALL cs_refresh_catalog('shop_v2')}), 'PA500', 'a page that fails');
$sandbox->no_faults;
is(sql(q{SELECT state FROM cs_catalog_status WHERE server = 'shop_v2'}), 'failed', 'fails the run');

# ---- Another account ----

# What was interrupted goes on where the same is read, and nowhere else.
my $elsewhere = CupsourceTest::Sandbox->start('--products' => 130, '--rate-limit' => 0);
$sandbox->control(POST => 'keys', { api => 'cupsource-v2', key => 'cs_live_sk_other' });
my %other = (
	'another address' => [ q{ALTER SERVER shop_v2 OPTIONS (SET base_url '} . $elsewhere->url . q{/v2')},
		q{ALTER SERVER shop_v2 OPTIONS (SET base_url '} . $sandbox->url . q{/v2')} ],
	'another environment' => [ q{ALTER SERVER shop_v2 OPTIONS (ADD environment 'sandbox')}, q{ALTER SERVER shop_v2 OPTIONS (DROP environment)} ],
	'another key' => [ q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v2 OPTIONS (SET api_key 'cs_live_sk_other')},
		q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v2 OPTIONS (SET api_key 'cs_live_sk_8f7d6c5b4a3e2d1f')} ],
	'another budget' => [ q{ALTER SERVER shop_v2 OPTIONS (SET rate_limit '100')}, q{ALTER SERVER shop_v2 OPTIONS (SET rate_limit '0')} ]);
for my $what (sort keys %other)
{
	my ($to, $back) = @{ $other{$what} };

	# It ends at its second page.
	$sandbox->catalog(reprice => { 'CS-8OZ-ECO' => '1.' . length $what });
	$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [2] });
	$sandbox->forget;
	$running = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', q{CALL cs_refresh_catalog('shop_v2')} ],
		'<', \$in, '>', \$out, '2>', \$err);
	$sandbox->wait_for_requests(2, path => '/v2/products');
	wait_for($node, q{SELECT rows_done = 100 FROM cs_catalog_status WHERE server = 'shop_v2'});
	sql(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL%' AND pid <> pg_backend_pid()});
	$running->finish;
	$sandbox->no_faults;

	($in, $out, $err) = told("$to; CALL cs_refresh_catalog('shop_v2')");
	$what =~ /budget/ ? like($err, qr/goes on after 100 rows/, "with $what it goes on") : unlike($err, qr/goes on/, "with $what it begins anew");
	like($err, $what =~ /address/ ? qr/: 2 pages, 130 rows/ : qr/: 3 pages, 250 rows/, 'to the end');
	sql($back);
}
$elsewhere->stop;

# ---- The two ways of a new row into the table ----

# Whole rows, but the times.
my $stored = q{SELECT md5(string_agg((to_jsonb(p) - 'fetched_at' - 'price_since')::text, ' ' ORDER BY product_id)),
	bool_and(fetched_at = price_since) FROM cs_internal.products AS p WHERE server = 'shop_v1'};

empty_cache();
sql(q{CALL cs_refresh_catalog('shop_v1')});
my $loaded = sql($stored);

empty_cache();
sql(q{ALTER TABLE cs_internal.products ADD CHECK (product_id <> '')});
sql(q{CALL cs_refresh_catalog('shop_v1')});
is(sql($stored), $loaded, 'a first refresh stores the same rows by the executor, if the table has a check');
sql(q{ALTER TABLE cs_internal.products ADD CHECK (name NOT LIKE '%Lid%') NOT VALID});
empty_cache();
is(query_state($node, q{CALL cs_refresh_catalog('shop_v1')}), '23514', 'whose checks count');
sql(q{ALTER TABLE cs_internal.products DROP CONSTRAINT products_product_id_check, DROP CONSTRAINT products_name_check});
sql(q{CALL cs_refresh_catalog('shop_v1')});

# ---- Who sees what ----

sql("CALL cs_refresh_catalog('$_')") for qw(shop_v1 hub);
sql(q{CREATE ROLE guest LOGIN; GRANT USAGE ON FOREIGN SERVER shop_v1 TO guest});
is(sql(q{SET ROLE guest; SELECT string_agg(DISTINCT server, ' ') FROM cs_products}), 'shop_v1', 'a role sees the accounts that it may use');
is(sql(q{SET ROLE guest; SELECT string_agg(server, ' ') FROM cs_catalog_status}), 'shop_v1', 'and their state');
is(query_state($node, q{SET ROLE guest; CALL cs_refresh_catalog('hub')}), '42501', 'and refreshes no other');
is(query_state($node, q{SET ROLE guest; CALL cs_refresh_catalog('shop_v1')}), '00000', 'but these');
is(query_state($node, q{SET ROLE guest; SELECT * FROM cs_internal.products}), '42501', 'nobody reads the tables themselves');
is(query_state($node, q{SET default_transaction_read_only = on; CALL cs_refresh_catalog('shop_v1')}), '25006', 'a read-only transaction refreshes nothing');

# ---- 100,000 SKUs ----

$sandbox->stop;
my $large = CupsourceTest::Sandbox->start('--products' => 100_000, '--rate-limit' => 0);
sql('DROP SERVER shop_v2 CASCADE');
is(sql(join ' UNION ALL ', map {"SELECT server FROM $_ WHERE server = 'shop_v2'"} @tables), '', 'what was stored of a server goes with it');
create_accounts($node, $large, only => ['shop_v2'], options => { rate_limit => 0 });
is(sql(q{SELECT state FROM cs_catalog_status WHERE server = 'shop_v2'}), 'never', 'one that gets its name begins without');
empty_cache();
my $grown = <<'END';
SELECT pg_backend_pid() AS pid \gset
\setenv PID :pid
SELECT count(*) FROM cs_products(max_rows => 100, server => 'shop_v2');
\! grep VmHWM /proc/$PID/status
CALL cs_refresh_catalog('shop_v2');
\! grep VmHWM /proc/$PID/status
END
for my $what ('a first', 'an unchanged')
{
	my ($status, $out, $err) = $node->psql('postgres', $grown);
	my ($small, $peak) = $out =~ /VmHWM:\s+(\d+) kB/g;

	like($err, qr/100000 rows, @{[ $what eq 'a first' ? '100000' : '0' ]} new/, "$what refresh of 100,000 SKUs");
	cmp_ok($peak - $small, '<', 64 * 1024, 'grows the backend by less than 64 MB, shared buffers included') if $memory_is_ours;
}
is(sql(q{SELECT count(*) FROM cs_prices}), 100_000, 'they are all there');

done_testing();
