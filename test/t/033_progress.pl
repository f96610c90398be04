#!/usr/bin/perl
#
# cs_progress and the NOTICEs of a refresh: done, total, rate, time left, waits
# for the budget; also after a resume.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 1000, '--models' => 170, '--rate-limit' => 0);
my $node = cupsource_node('progress', conf => "autovacuum = off\n");
create_accounts($node, $sandbox, options => { rate_limit => 0 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

my ($in, $out, $err);
sub call
{
	my ($server) = @_;

	($in, $out, $err) = ('', '', '');
	return IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "CALL cs_refresh_catalog('$server')" ],
		'<', \$in, '>', \$out, '2>', \$err);
}

my $pid = q{(SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL%')};

is(sql('SELECT count(*) FROM cs_progress'), 0, 'nothing is going on');

# ---- A list ----

$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [4] });
my $call = call('shop_v2');
$sandbox->wait_for_requests(4, path => '/v2/products');
wait_for($node, q{SELECT done = 300 FROM cs_progress});
is(sql("SELECT concat_ws('|', activity, server, phase, pid = $pid, done, total, waited) FROM cs_progress"),
	'refresh|shop_v2|list|t|300|1000|00:00:00', 'a refresh is seen, with how far it is');
is(sql(q{SELECT rate > 0 AND abs(extract(epoch FROM time_left) - 700 / rate) < 0.01 FROM cs_progress}), 't', 'and how long it will take at this rate');
is(sql(q{CREATE ROLE stranger; SET ROLE stranger; SELECT count(*) FROM cs_progress}), 0, 'who may not use the account does not see it');
sql("SELECT pg_terminate_backend($pid)");
$call->finish;
is(sql('SELECT count(*) FROM cs_progress'), 0, 'one that was terminated goes on no more');

$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [1] });
$sandbox->forget;
$call = call('shop_v2');
$sandbox->wait_for_requests(1, path => '/v2/products');
wait_for($node, q{SELECT count(*) = 1 FROM cs_progress});
is(sql("SELECT concat_ws('|', done, total, rate, time_left) FROM cs_progress"), '300|1000|0.00',
	'after a resume what was done before counts as done, not for the rate');
is(sql(q{SELECT since > started_at FROM cs_progress, cs_internal.catalog_runs}), 't', 'which is reckoned from the resume');
$sandbox->faults({ action => 'delay', ms => 5200, path => '/v2/products', nth => [3] });
$call->finish;
my ($done, $rate, $left) = $err =~ /refreshing the catalogue of "shop_v2": (\d+) of 1000 rows, \d+ pages, ([\d.]+) rows\/s, (\d+) s left/;
ok(defined $done && $done > 300 && $rate * 5 < $done, 'NOTICEs tell it too') or diag($err);
cmp_ok(abs($left - (1000 - $done) / $rate), '<=', 1 + 0.1 * $left, 'with the time that is left at this rate') if defined $left;
$sandbox->no_faults;

# ---- Details, and the budget ----

# Details are asked for in the order of their ids, and stored in it; several are
# on the wire, so which one hangs has to be said by its id.
my @models = split /\n/, sql(q{SELECT product_id FROM cs_products(server => 'hub') ORDER BY product_id COLLATE "C"});

# From a quarter of the limit on, the refresh keeps a distance of a second.
sql(q{ALTER SERVER hub OPTIONS (SET rate_limit '60')});
$sandbox->faults({ action => 'hang', path => "/api/v1/models/$models[14]" });
$sandbox->forget;
$call = call('hub');
wait_for($node, q{SELECT done = 170 + 14 FROM cs_progress});
is(sql(q{SELECT concat_ws('|', server, phase, total) FROM cs_progress}), 'hub|details|340', 'models and their details');
is(sql(q{SELECT waited BETWEEN '0.8 s' AND '10 s' FROM cs_progress}), 't', 'and what it waited for the budget');
is(sql(q{SELECT rate < 20 FROM cs_progress}), 't', 'the rate being that of the details');
sql(q{ALTER SERVER hub OPTIONS (SET rate_limit '0')});

# Ended there, and gone on with, without a limit.
my $waited = sql(q{SELECT waited FROM cs_progress});
sql("SELECT pg_terminate_backend($pid, 10000)");
$call->finish;
$sandbox->faults({ action => 'hang', path => "/api/v1/models/$models[17]" });
$call = call('hub');
wait_for($node, q{SELECT done = 170 + 14 + 3 FROM cs_progress});
is(sql(q{SELECT concat_ws('|', server, phase, done, total, waited) FROM cs_progress}), "hub|details|187|340|$waited",
	'after a resume in the details all that was done before counts, and what was waited');
is(sql(q{SELECT p.since > r.started_at AND p.rate = round((3 / extract(epoch FROM now() - p.since))::numeric, 2)
	FROM cs_progress AS p JOIN cs_internal.catalog_runs AS r USING (server)}), 't', 'the rate is that of the three details since then');
is(sql(q{SELECT abs(extract(epoch FROM time_left) - 153 / rate) < 0.01 FROM cs_progress}), 't', 'and the time left that of the others at this rate');
$sandbox->no_faults;
$call->finish;
is(sql('SELECT count(*) FROM cs_progress'), 0, 'until it is complete');

# ---- The queue ----

$sandbox->faults({ action => 'hang', path => '/v1/orders', after => 3 });
sql(q{ALTER SERVER shop_v1 OPTIONS (ADD concurrency '1')});
sql(q{SELECT cs_enqueue_order(lines => '[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', options => '{"currency": "USD"}',
	ship_to => '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}',
	external_id => 'po-' || i, server => 'shop_v1') FROM generate_series(1, 10) AS i});
wait_for($node, q{SELECT done = 3 FROM cs_progress});
is(sql(q{SELECT concat_ws('|', activity, done, total, pid = (SELECT pid FROM cs_stat_workers WHERE process = 'worker'), rate > 0, time_left > '0') FROM cs_progress}),
	'orders|3|10|t|t|t', 'orders that wait, and those that were sent');
$sandbox->no_faults;
wait_for($node, q{SELECT count(*) = 0 FROM cs_progress});
pass('until the queue is empty');

done_testing();
