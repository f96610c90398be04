# Killed processes: no order is lost, and none is doubled.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('crash', conf => "restart_after_crash = on\ncupsource.worker_linger = '30s'\n");
create_accounts($node, $sandbox, options => { poll_interval => '1h', rate_limit => 0, concurrency => 4 });

my %order = (
	shop_v1 => q{'[{"sku": "CS-8OZ-ECO", "quantity": 1000}]', '{"line1": "1 Way", "city": "Portland", "state": "OR",
	  "postal_code": "97201"}', 'EXTERNAL', '{"currency": "USD"}', 'shop_v1'},
	hub => q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn",
	  "state": "NY", "postal_code": "11201", "country": "US"}', 'EXTERNAL', NULL, 'hub'});
my %api = (shop_v1 => 'cupsource-v1', hub => 'customhub-v1');

sub enqueue
{
	my ($server, @external_ids) = @_;

	return join '; ', map { "SELECT cs_enqueue_order(" . $order{$server} =~ s/EXTERNAL/$_/r . ')' } @external_ids;
}

# The worker's process; waits until there is one.
sub worker
{
	wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'cupsource worker'});
	return $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'cupsource worker'});
}

# A signal to the worker; it has ended then.
sub end_worker
{
	my $signal = shift;
	my $pid = worker();

	kill $signal, $pid;
	wait_for($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	return;
}

# With SIGKILL the postmaster restarts all processes of the cluster.
sub crash { return end_worker('KILL') }

sub states
{
	my $like = shift;

	return $node->safe_psql('postgres', qq{SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM
		(SELECT state, count(*) AS n FROM cs_orders WHERE external_id LIKE '$like' GROUP BY state) AS s});
}

# On the wire, processed, not answered: the worker is killed.
for my $server (qw(shop_v1 hub))
{
	$sandbox->forget;
	$sandbox->faults({ action => 'hang_after', method => 'POST', path => 'orders$', times => 4 });
	$node->safe_psql('postgres', enqueue($server, map { "$server-sent-$_" } 1 .. 4));
	$sandbox->wait_for_requests(4, api => $api{$server}, method => 'POST', path => '.*/orders');
	crash();
	$sandbox->no_faults;
	wait_for($node, qq{SELECT count(*) = 0 FROM cs_orders WHERE external_id LIKE '$server-sent-%' AND state IN ('queued', 'sending')});
	is(scalar(grep { 1 } $sandbox->orders(api => $api{$server})), 4, "$server: kill -9 between send and answer doubles no order");
	is(states("$server-sent-%"), $server eq 'hub' ? 'placed 4' : 'uncertain 4',
		"$server: " . ($server eq 'hub' ? 'the same bytes were sent again' : 'each waits for a person'));
	is($sandbox->count(api => $api{$server}, method => 'POST', path => '.*/orders'), $server eq 'hub' ? 8 : 4,
		"$server: and the requests are counted");
}
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT delivery, ' ') FROM cs_order_attempts WHERE external_id LIKE 'shop_v1-sent-%'}),
	'unknown', 'the attempt that was cut off is kept as unknown');

# Queued, and the worker is killed again and again while it drains.
$sandbox->reset;
$sandbox->settings(latency_ms => 200);
$node->safe_psql('postgres', enqueue('hub', map { "drain-$_" } 1 .. 60));
for my $round (1 .. 3)
{
	$sandbox->wait_for_requests(10 * $round, api => 'customhub-v1', method => 'POST', path => '.*/orders');
	crash();
}
wait_for($node, q{SELECT count(*) = 0 FROM cs_orders WHERE external_id LIKE 'drain-%' AND state IN ('queued', 'sending')});
is(states('drain-%'), 'placed 60', 'a drain that is killed three times places every order');
is(scalar(my @orders = $sandbox->orders(api => 'customhub-v1')), 60, 'once');

# A worker that cannot see to what its predecessor left, because somebody has locked it, goes on taking
# orders; what it has on the wire itself is not left over when it can.
$sandbox->reset;
$sandbox->forget;
$sandbox->faults({ action => 'hang_after', method => 'POST', path => 'orders$', times => 1 },
	{ action => 'delay', ms => 3000, method => 'POST', path => 'orders$' });
$node->safe_psql('postgres', enqueue('shop_v1', 'left'));
$sandbox->wait_for_requests(1, method => 'POST', path => '.*/orders');
my $locker = $node->background_psql('postgres');
$locker->query_safe(q{BEGIN; SELECT FROM cs_internal.orders WHERE external_id = 'left' FOR UPDATE});
end_worker('TERM');
$node->wait_for_log(qr/canceling statement due to lock timeout/);
my $caller = $node->background_psql('postgres');
$caller->query_until(qr/asked/, '\echo asked' . "\n" . enqueue('shop_v1', 'own') =~ s/enqueue/create/r . ";\n");
$sandbox->wait_for_requests(2, method => 'POST', path => '.*/orders');
$locker->query_safe('COMMIT');
wait_for_state($node, 'left', 'uncertain');
is(states('own'), 'sending 1', 'an order that this worker has on the wire is no interrupted one');
wait_for_state($node, 'own', 'placed');
is($sandbox->count(method => 'POST', path => '.*/orders'), 2, 'and is sent once');
$locker->quit;
$caller->quit;
$sandbox->no_faults;

# A worker whose look fails looks again, although nobody wakes it.
$node->append_conf('postgresql.conf', q{cupsource.worker_linger = '1h'});
$node->reload;
$sandbox->reset;
$node->safe_psql('postgres', enqueue('hub', 'before'));
wait_for_state($node, 'before', 'placed');
wait_for($node, q{SELECT clock_timestamp() - state_change > '200 ms' FROM pg_stat_activity WHERE backend_type = 'cupsource worker'});
$locker = $node->background_psql('postgres');
$locker->query_safe(q{BEGIN; LOCK TABLE cs_internal.queue_claim IN ACCESS EXCLUSIVE MODE});
my $log_end = -s $node->logfile;
$node->safe_psql('postgres', enqueue('hub', 'locked_out'));
$node->wait_for_log(qr/canceling statement due to lock timeout/, $log_end);
$locker->query_safe('COMMIT');
wait_for_state($node, 'locked_out', 'placed');
$locker->quit;

# The whole server, at once.
$sandbox->reset;
$node->safe_psql('postgres', enqueue('hub', map { "server-$_" } 1 .. 30));
$sandbox->wait_for_requests(5, api => 'customhub-v1', method => 'POST', path => '.*/orders');
$node->stop('immediate');
$node->start;
wait_for($node, q{SELECT count(*) = 0 FROM cs_orders WHERE external_id LIKE 'server-%' AND state IN ('queued', 'sending')});
is(states('server-%'), 'placed 30', 'an immediate stop of the server loses no order');
is(scalar(@orders = $sandbox->orders(api => 'customhub-v1')), 30, 'and doubles none');

# A fast stop gives what is on the wire a moment to be answered.
$sandbox->reset;
$sandbox->settings(latency_ms => 300);
$node->safe_psql('postgres', enqueue('shop_v1', map { "fast-$_" } 1 .. 4));
$sandbox->wait_for_requests(4, api => 'cupsource-v1', method => 'POST', path => '.*/orders');
$node->stop('fast');
$node->start;
wait_for($node, q{SELECT count(*) = 0 FROM cs_orders WHERE external_id LIKE 'fast-%' AND state IN ('queued', 'sending')});
is(states('fast-%'), 'placed 4', 'a fast stop waits for the answers to what is on the wire');
is(scalar(@orders = $sandbox->orders(api => 'cupsource-v1')), 4, 'and nothing is sent again');

# A caller's COMMIT is on disk when he is told so, though his transaction has written nothing.
$sandbox->settings(latency_ms => 0);
$node->append_conf('postgresql.conf', "wal_writer_delay = '10s'\n");
$node->reload;
$node->psql('postgres', enqueue('hub', 'committed') =~ s/enqueue/create/r . q{; COPY (SELECT) TO PROGRAM 'kill -KILL $PPID'});
wait_for($node, q{SELECT caller_xids IS NULL OR lost_at IS NOT NULL FROM cs_internal.orders WHERE external_id = 'committed'});
is(journal($node, 'committed'), 'queued sending placed', 'after a crash the order of a caller who has committed is kept');

done_testing();
