#!/usr/bin/perl
#
# A refresh that is under way gives its place to an order: in the account's
# budget, and among the processes that the server may have.
#
# A minute is shorter here, for the budget's clock and thus for this test.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$ENV{CUPSOURCE_CLOCK_SPEED} = 10;

# Besides the launcher and PostgreSQL's own of logical replication, two processes.
my $sandbox = CupsourceTest::Sandbox->start('--products' => 250, '--rate-limit' => 0);
my $node = cupsource_node('gives_way', conf => <<'END');
max_worker_processes = 4
cupsource.worker_linger = '100ms'
autovacuum = off
END
create_accounts($node, $sandbox, only => ['shop_v2'], options => { rate_limit => 3, poll_interval => '1h' });

sub sql { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }

sub enqueue
{
	my ($external_id) = @_;

	return qq{SELECT cs_enqueue_order(lines => '[{"product_id": "prod_8x92k4m", "quantity": 1000}]',
		ship_to => '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}',
		external_id => '$external_id', server => 'shop_v2')};
}

# Ours that run, by database.
my $processes = q{SELECT string_agg(backend_type || ' ' || datname, ', ' ORDER BY backend_type, datname)
	FROM pg_stat_activity WHERE backend_type LIKE 'cupsource %'};

# ---- In the budget ----

# Of three requests a minute a refresh may send two; then it waits for its third
# page until the first one is a minute ago, or for half a minute if nobody else comes.
sql(q{ALTER SERVER shop_v2 OPTIONS (ADD refresh_interval '1 day')});
$sandbox->wait_for_requests(2, path => '/v2/products');
sql(enqueue('po-1'));
$sandbox->wait_for_requests(4);
is(join(' ', map { $_->{method} } $sandbox->requests), 'GET GET POST GET', 'an order goes out before a refresh that waits already');
wait_for_state($node, 'po-1', 'placed');
wait_for($node, q{SELECT state = 'complete' FROM cs_catalog_status});
is(sql(q{SELECT count(*) FROM cs_prices}), 250, 'which comes to its end');

# ---- Among the processes ----

sql(q{ALTER SERVER shop_v2 OPTIONS (SET rate_limit '0')});
sql('CREATE DATABASE other');
sql('CREATE EXTENSION cupsource', 'other');
create_accounts($node, $sandbox, database => 'other', only => ['shop_v1'], options => { rate_limit => 0 });
wait_for($node, $processes, '');

# One has a refresh, which waits for its second page; the other one an order of another database.
$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [2] }, { action => 'hang', path => '/v1/orders' });
$sandbox->forget;
sql(q{DELETE FROM cs_internal.catalog_runs; UPDATE cs_internal.products SET fingerprint = 0; DELETE FROM cs_internal.list_pages;
	ALTER SERVER shop_v2 OPTIONS (SET refresh_interval '1 hour')});
$sandbox->wait_for_requests(2, path => '/v2/products');
wait_for($node, q{SELECT pages_done = 1 FROM cs_internal.catalog_runs});
wait_for($node, $processes, 'cupsource refresh postgres');
sql(q{SELECT cs_enqueue_order(lines => '[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', options => '{"currency": "USD"}',
	ship_to => '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}', external_id => 'elsewhere')}, 'other');
$sandbox->wait_for_requests(1, path => '/v1/orders');
is(sql($processes), 'cupsource refresh postgres, cupsource worker other', 'a refresh and a worker, and no place for another process');

sql(enqueue('po-2'));
wait_for_state($node, 'po-2', 'placed');
like(slurp_file($node->logfile), qr/LOG:  no free background worker slot for a cupsource worker\n/, 'an order finds no process,');
is($sandbox->count(path => '/v2/orders', method => 'POST'), 1, 'and is placed, once,');
is(sql(q{SELECT state FROM cs_orders}, 'other'), 'sending', 'though the other one is still under way:');
is(sql(q{SELECT concat_ws('|', state, pages_done) FROM cs_catalog_status}), 'failed|1', 'the refresh has gone, with what it had');

$sandbox->no_faults;
$sandbox->forget;
sql(q{ALTER SERVER shop_v2 OPTIONS (SET refresh_interval '1 s')});
wait_for($node, q{SELECT state = 'complete' FROM cs_catalog_status});
like(($sandbox->requests(path => '/v2/products'))[0]{query}{cursor}, qr/./, 'and the refresh goes on where it stopped');
is(sql(q{SELECT count(*) FROM cs_internal.products WHERE fingerprint = 0}), 0, 'to its end');

$node->stop;
done_testing();
