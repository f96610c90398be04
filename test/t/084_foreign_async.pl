#!/usr/bin/perl
#
# An Append over several accounts asks them at the same time.
use strict;
use warnings;
use CupsourceTest;
use List::Util qw(min);
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 300, '--models' => 9, '--rate-limit' => 0);
my $node = cupsource_node('asynchronous');
create_accounts($node, $sandbox, options => { rate_limit => 0 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# Three accounts of the same partner, as an agency has them.
for my $account (qw(a b c))
{
	$sandbox->control(POST => 'keys', { api => 'cupsource-v2', key => "cs_live_sk_$account" });
	sql(qq{CREATE SERVER $account FOREIGN DATA WRAPPER cupsource
		  OPTIONS (api 'cupsource-v2', base_url '@{[ $sandbox->url ]}/v2', rate_limit '0');
		CREATE USER MAPPING FOR PUBLIC SERVER $account OPTIONS (api_key 'cs_live_sk_$account');
		CREATE SCHEMA $account; IMPORT FOREIGN SCHEMA api FROM SERVER $account INTO $account});
}
sql(q{CREATE TABLE offers (LIKE a.products) PARTITION BY LIST (server);
	CREATE TABLE local_offers PARTITION OF offers DEFAULT;
	INSERT INTO local_offers (server, sku) VALUES ('own', 'mug');
	CREATE VIEW everybody AS SELECT * FROM a.products UNION ALL SELECT * FROM b.products UNION ALL SELECT * FROM c.products});
for my $account (qw(a b c))
{
	sql("ALTER TABLE offers ATTACH PARTITION $account.products FOR VALUES IN ('$account')");
}
like(sql('EXPLAIN SELECT sku FROM everybody'), qr/Append.*(?:Async Foreign Scan.*){3}/s, 'three scans are asynchronous');
unlike(sql('EXPLAIN SELECT sku FROM everybody LIMIT 5'), qr/Async/, 'but not for a few rows, which the first may have');
is(sql('SELECT count(*), count(DISTINCT server) FROM everybody'), '900|3', 'they give all rows');
is(sql('SELECT count(*), count(DISTINCT server) FROM offers'), '901|4', 'and so do partitions, with a local one among them');
is(sql(q{SELECT count(*) FROM everybody WHERE sku LIKE 'CS-%' AND unit_price < 0}), 0, 'or none, if no row fulfils the conditions');
is(sql(q{SELECT md5(string_agg(p::text, '' ORDER BY p::text)) = (SELECT md5(string_agg(p::text, '' ORDER BY p::text))
	FROM (SELECT server, sku, unit_price FROM cs_products(server => 'a') UNION ALL
	  SELECT server, sku, unit_price FROM cs_products(server => 'b') UNION ALL
	  SELECT server, sku, unit_price FROM cs_products(server => 'c')) AS p)
	FROM (SELECT server, sku, unit_price FROM everybody) AS p}), 't', 'the same as the live functions');
$sandbox->forget;
is(sql(q{SELECT count(*) FROM offers WHERE server = 'b'}), 300, 'a condition on the server');
is_deeply([ map { $_->{key} } $sandbox->requests ], [ ('cs_live_sk_b') x 3 ], 'asks that one only');

# Details are asked for by one scan while another waits for its own.
sql('CREATE SCHEMA hub; IMPORT FOREIGN SCHEMA api FROM SERVER hub INTO hub');
is(sql(q{SELECT string_agg(n::text, ' ' ORDER BY n) FROM (SELECT count(*) AS n, 'v' FROM hub.variations UNION ALL
	SELECT count(*), 'm' FROM hub.models) AS x}), sql(q{SELECT '9 ' || sum(variation_count) FROM cs_models(server => 'hub')}), 'as a check: models and variations');
is(sql(q{SELECT count(*) FROM (SELECT material FROM hub.models UNION ALL SELECT sku FROM hub.variations UNION ALL SELECT sku FROM a.products) AS x}),
	9 + 300 + sql(q{SELECT sum(variation_count) FROM cs_models(server => 'hub')}), 'details in an Append');
is(sql(q{SELECT sum((SELECT count(*) FROM everybody WHERE min_order_qty > n)) FROM generate_series(0, 2) AS n}), 2700, 'an Append that is scanned again');

# ---- Time ----

$sandbox->settings(latency_ms => 50);
my ($one, $three, $in_turn);
sql(q{CREATE FUNCTION ms(query text) RETURNS numeric LANGUAGE plpgsql AS $$
	DECLARE began timestamptz := clock_timestamp(); n bigint;
	BEGIN
	  EXECUTE 'SELECT count(*) FROM (' || query || ') AS x' INTO n;
	  RETURN extract(epoch FROM clock_timestamp() - began) * 1000;
	END $$});
my @times = map { [ split /\|/ ] } split /\n/, sql(q{
	SELECT ms('SELECT sku FROM a.products'), ms('SELECT sku FROM everybody') FROM generate_series(1, 7)});
$one = min(map { $_->[0] } @times);
$three = min(map { $_->[1] } @times);
$in_turn = sql(q{SET enable_async_append = off; SELECT ms('SELECT sku FROM everybody')});
cmp_ok($one, '>=', 150, 'three pages at 50 ms take their time');
cmp_ok($three / $one, '<', 1.5, sprintf 'three accounts take less than 1.5 times as long as one: %.2f', $three / $one);
cmp_ok($in_turn / $one, '>', 2.5, sprintf 'and one after the other: %.2f', $in_turn / $one);

# ---- One of them fails, or hangs ----

$sandbox->settings(latency_ms => 0);
$sandbox->faults({ action => 'status', status => 403, api => 'cupsource-v2', nth => [5] });
my $session = q{
	DO $$ BEGIN PERFORM count(*) FROM everybody; EXCEPTION WHEN SQLSTATE 'PA403' THEN RAISE NOTICE 'refused'; END $$;
	SELECT count(*) FROM everybody};
my ($status, $out, $err) = $node->psql('postgres', $session);
is($out, 900, 'after one account has refused, the next query has all rows');
like($err, qr/NOTICE: +refused/, 'the refusal came through');
$sandbox->faults({ action => 'hang', api => 'cupsource-v2', nth => [4] });
($status, $out, $err) = $node->psql('postgres', q{\set ON_ERROR_STOP 0
	SET statement_timeout = '300ms';
	SELECT count(*) FROM everybody;
	RESET statement_timeout;
	SELECT count(*) FROM everybody;}, on_error_stop => 0);
like($err, qr/canceling statement due to statement timeout/, 'a wait for several accounts can be cancelled');
is($out, 900, 'and leaves the session and its connections in order');

done_testing;
