#!/usr/bin/perl
#
# Searches go by an index, and are as quick for a role that may use one account
# of many as for one that may use all.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ACCOUNTS = 40;
my $EACH = 500;

my $node = cupsource_node('search', conf => "autovacuum = off\n");

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# The same catalogue in each account, and a hub.
sql(<<"END");
DO \$\$ BEGIN
  FOR i IN 1..$ACCOUNTS LOOP
    EXECUTE format('CREATE SERVER shop_%s FOREIGN DATA WRAPPER cupsource OPTIONS (api %L)', i, 'cupsource-v2');
    PERFORM cs_internal.insert_products('shop_' || i, array_agg(jsonb_populate_record(NULL::cs_internal.product_row, jsonb_build_object(
      'fingerprint', n, 'product_id', 'p' || n, 'sku', 'CS-' || lpad(n::text, 6, '0'), 'name', 'Coffee Cup, series ' || n,
      'material', CASE n % 100 WHEN 7 THEN 'Bagasse' ELSE 'PLA' END, 'unit_price', n / 100.0, 'currency', 'USD'))))
      FROM generate_series(1, $EACH) AS n;
  END LOOP;
  CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
  PERFORM cs_internal.merge_models('hub', array_agg(jsonb_populate_record(NULL::cs_internal.model_row, jsonb_build_object(
    'fingerprint', n, 'model_id', 'm' || n, 'name', 'Shirt, series ' || n)))) FROM generate_series(1, 200) AS n;
  PERFORM cs_internal.merge_variations('hub', 'm' || n, array_agg(jsonb_populate_record(NULL::cs_internal.variation_row, jsonb_build_object(
    'fingerprint', v, 'variation_id', n || '/' || v, 'sku', format('BC-%s-%s', n, v), 'is_active', true,
    'variation_description', 'Unisex ' || v, 'variation2_description', CASE n WHEN 5 THEN 'Teal' ELSE 'Black' END,
    'unit_price', v, 'currency', 'USD')))) FROM generate_series(1, 200) AS n, generate_series(1, 20) AS v GROUP BY n;
END \$\$;
CREATE ROLE one LOGIN;
GRANT USAGE ON FOREIGN SERVER shop_7, hub TO one;
ALTER ROLE one SET auto_explain.log_min_duration = 0;
VACUUM ANALYZE;
END

# What is planned for a statement, also in the functions that it calls.
sub plans
{
	my ($role, $statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres', <<"END");
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on;
SET auto_explain.log_timing = off;
SET auto_explain.log_buffers = on;
SET auto_explain.log_level = notice;
SET ROLE $role;
$statement
END
	return $err;
}

# Products that were read to answer it.
sub rows_read
{
	my ($plan) = @_;
	my $sum = 0;

	for my $node (grep {/Scan [^\n]*\bproducts\b/} split /->/, $plan)
	{
		$sum += $1 * $2 if $node =~ /\(actual rows=([\d.]+) loops=(\d+)\)/;
		$sum += $1 while $node =~ /Rows Removed by (?:Filter|Index Recheck): (\d+)/g;
	}
	return $sum;
}

my %searches = (
	q{sku_prefix => 'CS-00012'} => 'products_sku',
	q{'series 123'} => 'products_terms',
	q{material => 'bagasse'} => 'products_terms',
	q{'coffee cup'} => 'products_terms',
	q{'123 coffee'} => 'products_terms',
	q{'coffee', material => 'pla', max_price => 0.10} => 'products_price',
	q{min_price => 1.20, max_price => 1.29} => 'products_price',
	q{'series 17', colour => 'black'} => 'models_terms',
	q{colour => 'teal'} => 'variations_terms',
	q{sku_prefix => 'BC-5-1'} => 'variations_sku',
);
for my $arguments (sort keys %searches)
{
	for my $role ('postgres', 'one')
	{
		my $plan = plans($role, "SELECT * FROM cs_search($arguments);");
		like($plan, qr/Scan (?:using|on) $searches{$arguments}\b/, "$role: cs_search($arguments) goes by $searches{$arguments}");
		unlike($plan, qr/^ *JIT:/m, 'is not compiled for');
		unlike($plan, qr/Seq Scan on (?:products|models|variations)/, 'and reads no table from its beginning to its end');
	}
}
is(sql(q{SELECT count(*) FROM cs_search(sku_prefix => 'CS-00012', max_rows => NULL)}), 10 * $ACCOUNTS, 'all accounts have what is looked for');
for my $arguments (grep { $searches{$_} =~ /^products/ && !/coffee/ } sort keys %searches)
{
	my $plan = plans('one', "SELECT * FROM cs_search($arguments);");
	my $found = sql("SET ROLE one; SELECT count(*) FROM cs_search($arguments)");
	cmp_ok(rows_read($plan), '<=', 2 * $found, "a role that may use one of them reads no more than it finds: cs_search($arguments)");
}

# What most rows have comes from a sample: of 495 rows, the index names no more than that has.
sql(q{INSERT INTO cs_internal.catalog_runs (server, run, state, phase, entire, started_at, checkpoint_at, skus)
	VALUES ('shop_7', 1, 'complete', 'list', false, now(), now(), 9000)});
my $frequent = plans('one', q{SELECT * FROM cs_search(material => 'pla', max_rows => 20, server => 'shop_7');});
my $named = 0;
$named += $1 * $2 while $frequent =~ /Bitmap Index Scan on products_terms [^\n]*\(actual rows=([\d.]+) loops=(\d+)\)/g;
cmp_ok($named, '>=', 20, 'what most rows have is found in a sample');
cmp_ok($named, '<', 60, 'which is no larger than it has to be');
cmp_ok(rows_read($frequent), '<', 40, 'and of which no more is read than is wanted');
is(sql(q{SET ROLE one; SELECT count(DISTINCT sku) FROM cs_search(material => 'pla', max_rows => NULL)}), 495, 'all are found if all are wanted');
is(sql(q{SET ROLE one; SELECT count(DISTINCT sku) FROM cs_search(material => 'pla', max_rows => 494)}), 494, 'and as many as are wanted');

# The beginning of a word that a large account has everywhere is not gathered again for each small one.
sql(q{CREATE SERVER large FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');
	SELECT cs_internal.insert_products('large', array_agg(jsonb_populate_record(NULL::cs_internal.product_row, jsonb_build_object(
	  'fingerprint', n, 'product_id', 'p' || n, 'sku', 'L-' || n, 'name', 'Coffee Cup', 'unit_price', n, 'currency', 'USD'))))
	  FROM generate_series(1, 60000) AS n;
	INSERT INTO cs_internal.catalog_runs (server, run, state, phase, entire, started_at, checkpoint_at, skus)
	VALUES ('large', 1, 'complete', 'list', false, now(), now(), 60000)});
sql('VACUUM ANALYZE cs_internal.products');
my $all = plans('postgres', q{SELECT * FROM cs_search('coffee cup');});
my $pages = 0;
# PostgreSQL 18 says how many searches it were, too.
$pages += $1 while $all =~ /Bitmap Index Scan on products_terms [^\n]*\n *Index Cond:[^\n]*\n(?: *Index Searches:[^\n]*\n)? *Buffers: shared hit=(\d+)/g;
cmp_ok($pages, '>', $ACCOUNTS, 'each account is searched');
cmp_ok($pages, '<', 20 * $ACCOUNTS, 'and of the index, no more than a few pages are read for it');

# Offers, and the view by SKU.
my $plan = plans('one', q{SELECT * FROM cs_offers('{CS-000123}'::text[], 10);});
like($plan, qr/Index Scan using products_sku/, 'cs_offers goes by the SKU');
cmp_ok(rows_read($plan), '<=', 1, 'and reads no more than it finds');
for my $role ('postgres', 'one')
{
	$plan = plans($role, q{SELECT * FROM cs_prices WHERE sku ^@ 'CS-00012' AND server = 'shop_7';});
	like($plan, qr/(?:Index Scan using|Bitmap Index Scan on) products_sku/, "$role: so does the view, by the beginning of a SKU");
	$plan = plans($role, q{SELECT * FROM cs_prices WHERE sku = 'CS-000123';});
	like($plan, qr/(?:Index Scan using|Bitmap Index Scan on) products_sku/, "$role: and by a SKU");
}

# Changes of prices.
sql(q{SELECT cs_internal.mark_products_absent('shop_' || i, 1, '{p1,p2}', true) FROM generate_series(1, 40) AS i});
$plan = plans('one', q{SELECT * FROM cs_price_changes(now() - interval '1 hour');});
like($plan, qr/(?:Index Scan using|Bitmap Index Scan on) price_history_ended/, 'changes are found by when they were');
is(sql(q{SET ROLE one; SELECT count(*) FROM cs_price_changes(now() - interval '1 hour')}), 2, 'of the accounts that one may use');

done_testing();
