#!/usr/bin/perl
#
# One budget and one set of counters for all sessions, the worker and all
# databases that use an account.
use strict;
use warnings;
use CupsourceTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--rate-limit' => 0);
my $node = cupsource_node('budget', conf => "restart_after_crash = on\ncupsource.rate_limit_wait = 0\ncupsource.max_retries = 0\n");
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION cupsource');

# The same key, new to the partner, in both databases.
sub account
{
	my ($key, $rate_limit) = @_;

	$sandbox->control(POST => 'keys', { api => 'cupsource-v1', key => $key });
	for my $database (qw(postgres other))
	{
		$node->safe_psql($database, 'DROP SERVER IF EXISTS shop_v1 CASCADE');
		create_accounts($node, $sandbox, database => $database, only => ['shop_v1'],
			options => { rate_limit => $rate_limit }, secrets => { api_key => $key });
	}
	$sandbox->forget;
	return;
}

# So many reads, one after the other, each of its own account of success.
my $reads = q{
	DO $$ BEGIN
	FOR i IN 1..%d LOOP
		BEGIN
			PERFORM FROM cs_products(max_rows => 1);
		EXCEPTION WHEN SQLSTATE 'PA010' THEN NULL;
		END;
	END LOOP; END $$};

sub order
{
	return q{SELECT state FROM cs_create_order('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]',
		'{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}',
		'} . shift() . q{', '{"currency": "USD"}')};
}

#
# The budget
#
account('cs_live_shared', 10);
$node->safe_psql('postgres', sprintf $reads, 3);
is($sandbox->count, 3, 'three reads in one database');
$node->safe_psql('other', sprintf $reads, 10);
is($sandbox->count, 5, 'leave two for another one at once: half is kept for what comes');
is($node->safe_psql('postgres', order("budget-$_")), 'placed', 'an order finds room') for 1 .. 5;
is($sandbox->count, 10, 'and four others, the last one');
is(query_state($node, 'SELECT * FROM cs_products(max_rows => 1)'), 'PA010', 'then nobody sends');
is($sandbox->count, 10, 'indeed');
like(($node->psql('postgres', 'SELECT * FROM cs_products(max_rows => 1)'))[2], qr/^HINT:  Try again later, or raise cupsource\.rate_limit_wait\.$/m,
	'which patience would help');
like(($node->psql('postgres', order('budget-6')))[2], qr/^HINT:  Try again later, or raise cupsource\.rate_limit_wait in the configuration, by which orders are sent\.$/m,
	'but not the patience of a session that orders');

account('cs_live_crowd', 10);
my @sessions = map {
	IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr($_ % 2 ? 'postgres' : 'other'), '-c', sprintf $reads, 30 ],
		'<', \undef)
} 1 .. 6;
is(scalar(grep { $_->finish } @sessions), 6, 'six sessions at once');
is($sandbox->count, 5, 'share exactly what one would have had');

#
# The counters
#
account('cs_live_counted', 0);
$node->safe_psql('postgres', 'SELECT cs_stat_reset()');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cs_stat_requests'), 0, 'a reset empties this database\'s');
cmp_ok($node->safe_psql('other', 'SELECT sum(calls) FROM cs_stat_requests'), '>=', 2, 'and not another\'s');

for my $fault (undef, { action => 'status', status => 500 }, { action => 'status', status => 403 },
	{ action => 'rate_limited', retry_after => 0 }, { action => 'body', text => '[' }, { action => 'drop_before' })
{
	defined $fault ? $sandbox->faults($fault) : $sandbox->no_faults;
	$node->psql('postgres', 'SELECT * FROM cs_products(max_rows => 1)');
}
$sandbox->faults({ action => 'hang' });
$node->psql('postgres', q{SET cupsource.timeout = '100ms'; SELECT * FROM cs_products(max_rows => 1)});
$sandbox->no_faults;
is($node->safe_psql('postgres', q{
	SELECT server, endpoint, calls, errors, refused_4xx, rate_limited_429, refused_5xx, not_sent, timeouts, malformed,
	       other_failures, retries
	  FROM cs_stat_requests}), 'shop_v1|GET /products|7|6|1|1|1|0|1|1|1|0', 'every outcome is counted, once');
is($node->safe_psql('postgres', q{
	SELECT bytes_sent > 0, bytes_received > 0, min_ms > 0, min_ms <= mean_ms, mean_ms <= max_ms, max_ms >= 100,
	       abs(total_ms - mean_ms * calls) < 0.001, first_at < last_at, connections BETWEEN 1 AND calls
	  FROM cs_stat_requests}), join('|', ('t') x 9), 'with sizes and times');

$node->safe_psql('postgres', 'CREATE ROLE clerk LOGIN; CREATE ROLE auditor LOGIN; GRANT pg_read_all_stats TO auditor');
my $calls = 'SELECT coalesce(sum(calls), 0) FROM cs_stat_requests';
is($node->safe_psql('postgres', $calls, extra_params => [ '-U', 'clerk' ]), 0, 'who may not use the server does not see it');
is($node->safe_psql('postgres', $calls, extra_params => [ '-U', 'auditor' ]), 7, 'who reads all statistics does');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER shop_v1 TO clerk');
is($node->safe_psql('postgres', $calls, extra_params => [ '-U', 'clerk' ]), 7, 'and so does who may use it');

my $counters = 'SELECT * FROM cs_stat_requests';
my $before = $node->safe_psql('postgres', $counters);
$node->restart;
is($node->safe_psql('postgres', $counters), $before, 'a clean restart keeps every counter');
ok(!-e $node->data_dir . '/pg_stat/cupsource.stat', 'and leaves no file that a crash would bring back');
$node->psql('postgres', q{SELECT pg_backend_pid() AS pid \gset
\setenv PID :pid
\! kill -9 $PID
SELECT 1});
$node->wait_for_log(qr/all server processes terminated; reinitializing.*ready to accept connections/s);
is($node->safe_psql('postgres', $calls), 0, 'after a crash they begin anew');

# A file that is not what we left.
$sandbox->no_faults;
$node->safe_psql('postgres', 'SELECT * FROM cs_products(max_rows => 1)');
for my $length (3, 100)
{
	$node->stop;
	truncate $node->data_dir . '/pg_stat/cupsource.stat', $length or die;
	$node->start;
	is($node->safe_psql('postgres', $calls), 0, "a file of $length bytes is not taken for statistics");
	$node->safe_psql('postgres', 'SELECT * FROM cs_products(max_rows => 1)');
}
like(slurp_file($node->logfile), qr{LOG:  file "pg_stat/cupsource.stat" breaks off}, 'which the log says');

$sandbox->stop;
$node->stop;
done_testing();
