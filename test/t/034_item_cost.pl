# cs_item_cost is, to the cent, what a quote says: for every SKU, placement and
# print method of a catalogue of 10,000 SKUs.
use strict;
use warnings;

use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0, '--models' => 100, '--variations' => 109);
my $node = cupsource_node('item_cost', conf => "fsync = off\njit = off");

create_accounts($node, $sandbox, only => ['hub'], options => { rate_limit => 0 });
$node->safe_psql('postgres', 'CALL cs_refresh_catalog()');

# All that the sandbox would quote, by the function that its quotes come from.
my $file = $node->basedir . '/costs.json';
append_to_file($file, $sandbox->control_text(GET => 'costs'));
$node->safe_psql('postgres', <<"SQL");
CREATE TABLE quoted AS
  SELECT r ->> 0 AS sku, r ->> 1 AS placement, r ->> 2 AS print_method, (r ->> 3)::numeric AS cost
    FROM jsonb_array_elements(pg_read_file('$file')::jsonb) AS r;
ALTER TABLE quoted SET (parallel_workers = 2);
ANALYZE;
SQL

my ($skus, $prints) = split /\|/, $node->safe_psql('postgres', 'SELECT count(DISTINCT sku), count(*) FROM quoted');
cmp_ok($skus, '>=', 10000, 'a catalogue of 10,000 SKUs');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (
	  SELECT v.sku, m.placement, m.print_method FROM cs_variations AS v JOIN cs_print_methods AS m USING (server, product_id)
	   WHERE v.blank_cost IS NOT NULL
	   UNION ALL
	  SELECT v.sku, NULL, NULL FROM cs_variations AS v WHERE v.blank_cost IS NOT NULL) AS cached}), $prints,
	'cached with every placement and method');
is($node->safe_psql('postgres', q{
	SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SELECT count(*) FROM quoted AS q
	 WHERE cs_item_cost(q.sku, array_remove(ARRAY[q.placement], NULL), q.print_method, 'hub') = q.cost}),
	$prints, 'each costs what the partner says');

# The partner's own quotes: each model's dearest variation, printed once, and
# at every placement that knows the method.
my $quotes = $node->safe_psql('postgres', q{
	WITH dearest AS (
	  SELECT DISTINCT ON (v.product_id) v.product_id, v.sku FROM cs_variations AS v
	   WHERE v.blank_cost IS NOT NULL AND v.is_active ORDER BY v.product_id, v.blank_cost DESC, v.sku),
	prints AS (
	  SELECT d.sku, m.print_method, array_agg(m.placement ORDER BY m.placement) AS placements
	    FROM dearest AS d JOIN cs_print_methods AS m USING (product_id) GROUP BY d.sku, m.print_method
	   UNION ALL
	  SELECT d.sku, m.print_method, ARRAY[m.placement] FROM dearest AS d JOIN cs_print_methods AS m USING (product_id)),
	numbered AS (
	  SELECT p.*, row_number() OVER (ORDER BY p.sku, p.print_method, p.placements) / 10 AS quote FROM prints AS p),
	quoted AS (
	  SELECT n.quote, array_agg(cs_item_cost(n.sku, n.placements, n.print_method, 'hub') ORDER BY n.sku, n.print_method, n.placements) AS costs,
	         jsonb_agg(jsonb_build_object('sku', n.sku, 'quantity', 1, 'designs', (
	           SELECT jsonb_agg(jsonb_build_object('placement', x, 'width_inches', 1, 'height_inches', 1, 'print_method', n.print_method))
	             FROM unnest(n.placements) AS x)) ORDER BY n.sku, n.print_method, n.placements) AS lines
	    FROM numbered AS n GROUP BY n.quote)
	SELECT count(*), count(*) FILTER (WHERE q.costs = (SELECT array_agg((i ->> 'unitCost')::numeric ORDER BY n)
	         FROM jsonb_array_elements(a.per_item) WITH ORDINALITY AS x (i, n))),
	       sum(jsonb_array_length(a.per_item)) > 500
	  FROM quoted AS q
	 CROSS JOIN LATERAL cs_quote_order(q.lines, '{"name": "n", "line1": "l", "city": "c", "state": "NY", "postal_code": "1", "country": "US"}',
	   server => 'hub') AS a});
my ($asked, $agreed, $many) = split /\|/, $quotes;
is($agreed, $asked, 'and so do its quotes');
is($many, 't', 'of many items');

# ---- Two products of one SKU ----

$node->safe_psql('postgres', q{CREATE SERVER twice FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1');
	INSERT INTO cs_internal.products (server, product_id, sku, unit_price, fetched_at, price_since, fingerprint)
	VALUES ('twice', 'p-1', 'S008', 1, now(), now(), 1), ('twice', 'p-2', 'S008', 2, now(), now(), 2)});
for my $server ('NULL', q{'twice'})
{
	like(($node->psql('postgres', "SELECT cs_item_cost('S008', server => $server)"))[2],
		qr/server "twice" has more than one product with SKU "S008"\nDETAIL: +They are: p-[12], p-[12]\.\nHINT: +Take the price of the one/,
		"of server $server: it is said that its SKU is no answer");
}

$node->stop;
done_testing;
