#!/usr/bin/perl
#
# The partners' APIs as foreign tables: which tables there are, and how often
# the partner is asked by which query, counted where the requests arrive.
use strict;
use warnings;
use CupsourceTest;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 250, '--models' => 27, '--rate-limit' => 0);
my $node = cupsource_node('foreign', conf => "autovacuum = off\n");
create_accounts($node, $sandbox, options => { rate_limit => 0 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# ---- Importing ----

for my $server ('hub', 'shop_v1', 'shop_v2')
{
	sql("CREATE SCHEMA $server; IMPORT FOREIGN SCHEMA api FROM SERVER $server INTO $server");
}
is($sandbox->count, 0, 'an import asks nobody');
is(sql(q{SELECT string_agg(format('%s.%s', ftrelid::regclass, ftoptions[1]), ' ' ORDER BY ftrelid::regclass::text COLLATE "C")
	FROM pg_foreign_table}),
	join(' ',
		(map {"hub.$_.resource=$_"} qw(balance models)), 'hub.order_events.resource=events',
		(map {"hub.$_.resource=$_"} qw(order_items orders placements print_methods products shipments variations)),
		(map {"shop_v1.$_.resource=$_"} qw(orders products shipments)),
		(map {"shop_v2.$_.resource=$_"} qw(orders products shipments))),
	'a table for each resource');

# A relation's columns, in order.
sub columns
{
	my ($relation) = @_;

	return sql(qq{SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod) || attcollation, ', ' ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = '$relation'::regclass AND attnum > 0 AND NOT attisdropped});
}
for my $table (qw(products models variations placements print_methods balance orders))
{
	is(columns("hub.$table"), columns("cs_$table"), "$table has the columns of its cached view");
}
sql('CREATE SCHEMA part');
sql('IMPORT FOREIGN SCHEMA api LIMIT TO (models, balance) FROM SERVER hub INTO part');
is(sql(q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'part'::regnamespace}),
	'balance models', 'LIMIT TO');
sql('DROP SCHEMA part CASCADE; CREATE SCHEMA part; IMPORT FOREIGN SCHEMA api EXCEPT (orders) FROM SERVER shop_v1 INTO part');
is(sql(q{SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'part'::regnamespace}),
	'products shipments', 'EXCEPT');
is(query_state($node, 'IMPORT FOREIGN SCHEMA api LIMIT TO (models) FROM SERVER shop_v1 INTO part'), 'HV00R',
	'a table that the API does not have');
is(query_state($node, 'IMPORT FOREIGN SCHEMA public FROM SERVER hub INTO part'), 'HV00Q', 'there is one schema');
is(query_state($node, q{IMPORT FOREIGN SCHEMA api FROM SERVER hub INTO part OPTIONS (a 'b')}), 'HV00D', 'and no option');
my ($status, $out, $err) = $node->psql('postgres',
	q{CREATE FOREIGN TABLE t (model_id text, prize numeric) SERVER hub OPTIONS (resource 'models')});
like($err, qr/ERROR: +column "prize" of foreign table "t" does not exist in resource "models" of CustomHub v1/,
	'a column that the descriptor does not have is named');

# ---- Which query asks how often ----

my $model = sql(q{SELECT model_id FROM cs_models('BC3001', server => 'hub')});
sql(qq{CREATE TABLE wanted AS SELECT m.model_id, n FROM cs_models(max_rows => 5, server => 'hub') AS m, generate_series(1, 20) AS n;
	CREATE TABLE names (name text); INSERT INTO names VALUES ('paper_cups'), ('coffee_cups'), ('paper_cups'); ANALYZE wanted, names;
	CREATE VIEW offers AS SELECT * FROM shop_v1.products UNION ALL SELECT * FROM shop_v2.products UNION ALL SELECT * FROM hub.products;
	CREATE FOREIGN TABLE bella (model_id text, name text) SERVER hub OPTIONS (resource 'models', search 'bella')});
sql(q{CALL cs_refresh_catalog('hub')});

# Paths and queries as they arrived, decoded; tokens are not counted.
sub arrived
{
	my @arrived;

	for my $request ($sandbox->requests(method => 'GET'))
	{
		my $query = $request->{query};

		push @arrived, $request->{path} =~ s{^/(?:api/)?v[12]/}{}r =~ s/$model/BC3001/r
		  . join '', map {"&$_=$query->{$_}"} grep { $_ ne 'cursor' } sort keys %$query;
	}
	return @arrived;
}

# What a query answers, and what arrives at the partners for it.
sub asks
{
	my ($query, $answer, @requests) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$sandbox->forget;
	is(sql($query), $answer, $query =~ s/\s+/ /gr =~ s/$model/…/gr);
	is_deeply([ arrived() ], \@requests, '    asks for ' . (@requests ? "@requests[0 .. ($#requests > 2 ? 2 : $#requests)]" : 'nothing'));
	return;
}

my @v2_pages = ('products&limit=100') x 3;
my @v1_pages = map {"products&page=$_"} 1 .. 13;
my $list = 'models&page=1&pageSize=100';

# Pages
asks('SELECT count(*) FROM shop_v2.products', 250, @v2_pages);
asks('SELECT count(*) FROM shop_v1.products', 250, @v1_pages);
asks('SELECT count(*) FROM hub.products', 27, $list);
asks('SELECT count(*) FROM hub.balance', 1, 'balance');
asks('SELECT count(*) FROM shop_v2.products WHERE false', 0);
asks('SELECT count(*) FROM shop_v2.products WHERE sku IS NULL', 0, @v2_pages);

# LIMIT
asks('SELECT count(*) FROM (SELECT FROM shop_v2.products LIMIT 0) AS x', 0);
asks('SELECT count(*) FROM (SELECT FROM shop_v2.products LIMIT 7) AS x', 7, 'products&limit=7');
asks('SELECT count(*) FROM (SELECT FROM shop_v2.products LIMIT 5 OFFSET 4) AS x', 5, 'products&limit=9');
asks('SELECT count(*) FROM (SELECT FROM shop_v2.products LIMIT 130) AS x', 130, 'products&limit=100', 'products&limit=30');
asks('SELECT count(*) FROM (SELECT FROM shop_v2.products LIMIT 100) AS x', 100, 'products&limit=100');
asks('SELECT count(*) FROM (SELECT FROM shop_v1.products LIMIT 20) AS x', 20, 'products&page=1');
asks('SELECT count(*) FROM (SELECT FROM shop_v1.products LIMIT 21) AS x', 21, 'products&page=1', 'products&page=2');
asks('SELECT count(*) FROM (SELECT FROM hub.products LIMIT 3) AS x', 3, 'models&page=1&pageSize=3');
asks(q{SELECT count(*) FROM (SELECT FROM shop_v2.products WHERE category = 'coffee_cups' LIMIT 3) AS x}, 3,
	'products&category=coffee_cups&limit=3');
asks(q{SELECT count(*) FROM (SELECT FROM shop_v2.products WHERE sku LIKE 'CS-%' LIMIT 3) AS x}, 3, 'products&limit=100');
asks('SELECT count(*) FROM (SELECT FROM shop_v2.products ORDER BY sku LIMIT 3) AS x', 3, @v2_pages);
asks('SELECT count(*) FROM (SELECT sku FROM shop_v2.products GROUP BY sku LIMIT 3) AS x', 3, @v2_pages);
asks('SELECT EXISTS (SELECT FROM shop_v1.products)', 't', 'products&page=1');
asks('SELECT count(*) FROM (SELECT FROM offers LIMIT 30) AS x', 30, 'products&page=1', 'products&page=2');

# Conditions
asks(q{SELECT count(*) > 0 FROM shop_v1.products WHERE category = 'paper_cups' AND material = 'none'}, 'f',
	'products&category=paper_cups&material=none&page=1');
asks(q{SELECT count(*) = (SELECT count(*) FROM cs_products(category => 'coffee_cups', server => 'shop_v2'))
	FROM shop_v2.products WHERE category = 'coffee_cups'}, 't', ('products&category=coffee_cups&limit=100') x 2);
asks(q{SELECT code FROM hub.models WHERE code = 'BC3001'}, 'BC3001', 'models&page=1&pageSize=100&search=BC3001');
asks(q{SELECT code FROM hub.models WHERE name ILIKE '%bella%'}, 'BC3001', 'models&page=1&pageSize=100&search=bella');
asks(q{SELECT code FROM hub.models WHERE name ILIKE '%bella%' OR code ILIKE '%bella%'}, 'BC3001',
	'models&page=1&pageSize=100&search=bella');
asks(q{SELECT code FROM hub.models WHERE name ILIKE '%bella%' OR brand ILIKE '%bella%'}, 'BC3001', $list);
asks(q{SELECT code FROM hub.models WHERE name ILIKE '%b_lla%'}, 'BC3001', $list);
asks(q{SELECT code FROM hub.models WHERE name LIKE 'Bella%'}, 'BC3001', $list);
asks(q{SELECT count(*) FROM hub.models WHERE name ILIKE '%%'}, 27, $list);
asks(q{SELECT code FROM hub.models WHERE 'BC3001' = code AND name ILIKE '%bella%'}, 'BC3001',
	'models&page=1&pageSize=100&search=BC3001');
asks(q{SELECT count(*) FROM hub.models WHERE code = ''}, 0, $list);
asks('SELECT count(*) FROM bella', 1, 'models&page=1&pageSize=100&search=bella');
asks(q{SELECT count(*) FROM offers WHERE server = 'hub'}, 27, $list);
asks(q{SELECT count(*) FROM hub.orders WHERE remote_created_at >= '2025-04-15 10:00+02'}, 0,
	'orders&page=1&pageSize=100&since=2025-04-15T07:59:59Z');
asks(qq{SELECT count(*) FROM hub.orders WHERE remote_created_at $_}, 0, 'orders&page=1&pageSize=100')
  for ">= '0001-01-01'", ">= '4000-01-01 BC'", "> '10000-01-01'", ">= '-infinity'";
asks(q{SELECT count(*) FROM hub.orders WHERE external_id = 'a&b'}, 0, 'orders&externalOrderId=a&b&page=1&pageSize=100');

# Details
asks('SELECT count(name) FROM hub.models', 27, $list);
is(sql('SELECT count(material) FROM hub.models'), 27, 'what only the details say');
is($sandbox->count(path => '.*/models/.*'), 27, '    costs a request per model');
asks(qq{SELECT code, material IS NULL FROM hub.models WHERE model_id = '$model'}, 'BC3001|f', 'models/BC3001');
asks(qq{SELECT from_unit_price FROM hub.models WHERE model_id = '$model'}, '6.49', 'models/BC3001',
	'models&page=1&pageSize=100&search=BC3001');
asks(q{SELECT material IS NULL FROM hub.models WHERE name ILIKE '%bella%'}, 'f', 'models&page=1&pageSize=100&search=bella',
	'models/BC3001');
asks(q{SELECT material IS NULL FROM hub.models WHERE brand = 'Bella+Canvas'}, 'f', $list, 'models/BC3001');
asks(qq{SELECT count(*) FROM hub.variations WHERE product_id = '$model'}, 188, 'models/BC3001');
asks(qq{SELECT count(*) FROM hub.print_methods WHERE product_id = '$model' AND placement = 'width1'}, 2, 'models/BC3001');
asks(qq{SELECT count(*) FROM hub.placements WHERE product_id IN ('$model', 'none', '$model')}, 2, 'models/BC3001', 'models/none');
asks(q{SELECT count(*) FROM hub.models WHERE model_id = '00000000-0000-0000-0000-000000000000'}, 0,
	'models/00000000-0000-0000-0000-000000000000');
for my $nothing ({ action => 'html', status => 404 }, { action => 'status', status => 404, body => { message => 'no Route matched with those values' } })
{
	$sandbox->faults({ %$nothing, path => 'models/.*' });
	is(query_state($node, 'SELECT material FROM hub.models'), 'PA404', "a gateway's 404 is not taken for the partner's");
	is(query_state($node, "SELECT material FROM hub.models WHERE model_id = '$model'"), 'PA404', '    of one neither');
}
$sandbox->faults();
asks(q{SELECT count(*) FROM hub.models WHERE model_id IN ('', '.', '..') OR model_id IS NULL AND false}, 0);
asks(q{SELECT count(*) FROM hub.models WHERE model_id = NULL}, 0);
asks('SELECT count(*) > 0 FROM (SELECT FROM hub.variations LIMIT 3) AS x', 't', $list,
	'models/' . sql(q{SELECT model_id FROM cs_models(max_rows => 1, server => 'hub')}) =~ s/$model/BC3001/r);

# Joins ask once per distinct id
my @ids = map {"models/$_"} map {s/$model/BC3001/r} split /\n/, sql('SELECT model_id FROM wanted WHERE n = 1');
$sandbox->forget;
is(sql('SELECT count(m.material) FROM wanted JOIN hub.models AS m USING (model_id)'), 100, 'a join by id');
is_deeply([ sort(arrived()) ], [ sort @ids ], '    asks once per distinct id');
$sandbox->forget;
is(sql('SELECT count((SELECT m.material FROM hub.models AS m WHERE m.model_id = w.model_id)) FROM wanted AS w'), 100,
	'and so does a subquery,');
is_deeply([ sort(arrived()) ], [ sort @ids ], '    for which the server itself remembers nothing');
asks(q{SELECT count(*) FROM names JOIN shop_v2.products ON category = names.name WHERE names.name <> 'x'},
	2 * sql(q{SELECT count(*) FROM cs_products(category => 'paper_cups', server => 'shop_v2')})
	  + sql(q{SELECT count(*) FROM cs_products(category => 'coffee_cups', server => 'shop_v2')}),
	('products&category=paper_cups&limit=100') x 1, ('products&category=coffee_cups&limit=100') x 1);

# Rescans ask for nothing again
asks('SELECT sum((SELECT count(*) FROM hub.models WHERE length(name) > n)) FROM generate_series(1, 5) AS n', 135, $list);
asks('SELECT count(*) FROM generate_series(1, 5) AS n WHERE EXISTS (SELECT FROM shop_v1.products WHERE length(name) > n)', 5,
	'products&page=1');
asks('SELECT count(*) FROM generate_series(1, 3) AS n, LATERAL (SELECT FROM shop_v1.products WHERE length(name) > n LIMIT 2) AS x', 6,
	'products&page=1');

# ---- Who asks nobody ----

$sandbox->forget;
sql('EXPLAIN SELECT * FROM hub.models; EXPLAIN (VERBOSE) SELECT * FROM offers');
sql('ANALYZE hub.models');
sql('ANALYZE; VACUUM');
sql('PREPARE p AS SELECT count(*) FROM shop_v1.products');
$node->command_ok([ 'pg_dump', '--schema-only', '-f', $node->basedir . '/dump.sql', $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $node->basedir . '/dump.sql', $node->connstr('restored') ], 'its restore');
is($node->safe_psql('restored', 'SELECT count(*) FROM pg_foreign_table'), sql('SELECT count(*) FROM pg_foreign_table'), 'has all tables');
is($sandbox->count, 0, 'EXPLAIN, ANALYZE, VACUUM, PREPARE, dump and restore ask nobody');

# ---- What EXPLAIN says ----

my $options = 'VERBOSE, COSTS OFF, TIMING OFF, SUMMARY OFF';
is(sql("EXPLAIN ($options) SELECT code FROM hub.models WHERE name ILIKE '%bella%' AND brand = 'x'"), <<'END' =~ s/\n$//r,
Foreign Scan on hub.models
  Output: code
  Filter: ((models.name ~~* '%bella%'::text) AND (models.brand = 'x'::text))
  Remote Filter: (models.name ~~* '%bella%'::text)
  Remote Request: GET /api/v1/models?search=bella&pageSize=100
END
	'the request, and the conditions that it carries');
is(sql("EXPLAIN ($options) SELECT code FROM hub.models WHERE name ILIKE 'bella%'"), <<'END' =~ s/\n$//r,
Foreign Scan on hub.models
  Output: code
  Filter: (models.name ~~* 'bella%'::text)
  Remote Request: GET /api/v1/models?pageSize=100
END
	'and none that it does not carry');
is(sql("EXPLAIN ($options) SELECT material FROM hub.models WHERE model_id = 'm'"), <<'END' =~ s/\n$//r, 'a detail');
Foreign Scan on hub.models
  Output: material
  Filter: (models.model_id = 'm'::text)
  Remote Filter: (models.model_id = 'm'::text)
  Remote Request: GET /api/v1/models/m
END
like(sql("EXPLAIN (ANALYZE, $options) SELECT sku FROM shop_v2.products LIMIT 130"),
	qr/Remote Request: GET \/products\?limit=100\n +Requests: 2\n +Bytes Received: [1-9]\d+(?:\n|$)/, 'ANALYZE says what it took');
like(sql('EXPLAIN (ANALYZE, COSTS OFF) SELECT sku FROM shop_v2.products LIMIT 130'), qr/Limiter Wait: 0\.000 ms/,
	'and how long the limiter kept it waiting');
like(sql('EXPLAIN SELECT * FROM hub.products'), qr/rows=27 /, 'the cached catalogue says how many rows there will be');
like(sql('SELECT count(*) FROM shop_v1.products; EXPLAIN SELECT * FROM shop_v1.products'), qr/rows=250 /,
	'and so does what the partner has said before');

# ---- Rows that are locked, and looked at again ----

sql('CREATE TABLE stock (model_id text PRIMARY KEY, n int); INSERT INTO stock SELECT DISTINCT model_id, 0 FROM wanted');
is(sql('WITH l AS (SELECT s.model_id FROM stock AS s JOIN hub.models AS m USING (model_id) WHERE m.name IS NOT NULL FOR UPDATE)
	SELECT count(*) FROM l'), 5, 'SELECT FOR UPDATE');
is(sql(q{UPDATE stock SET n = length(m.name) FROM hub.models AS m WHERE m.model_id = stock.model_id; SELECT count(*) FROM stock WHERE n > 0}),
	5, 'UPDATE of a local table from a foreign one');

# ---- What cannot be known is refused ----

is(query_state($node, q{SELECT * FROM shop_v2.products WHERE category LIKE 'c%'}), '0A000',
	'a column that the partner filters by, but does not show, is compared by = only');
is(query_state($node, 'SELECT * FROM shop_v1.orders'), '0A000', 'orders that cannot be listed');
is(query_state($node, 'SELECT * FROM shop_v1.shipments'), '0A000', 'nor their parcels without an id');
is(query_state($node, q{SELECT * FROM shop_v1.shipments WHERE remote_id = 'x'}), '00000', 'an id that is none has no parcels');

done_testing;
