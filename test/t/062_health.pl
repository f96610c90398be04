#!/usr/bin/perl
#
# cs_health(): each check says warn and fail when it should, and what to do; a
# monitoring role sees all of it, others what is theirs, on a standby too.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--rate-limit' => 0);
my $node = cupsource_node('health', streaming => 1,
	conf => "cupsource.max_retries = 0\ncupsource.timeout = '2s'\ncupsource.rate_limit_wait = '100ms'\n");

# Status and detail of a check, and its advice if it is not well.
sub check
{
	my ($name, %more) = @_;

	return ($more{node} // $node)->safe_psql('postgres',
		($more{role} ? "SET ROLE $more{role}; " : '')
		  . "SELECT status, detail, advice IS NOT NULL FROM cs_health() WHERE check_name = '$name'");
}

sub statuses
{
	return $node->safe_psql('postgres',
		q{SELECT string_agg(check_name || ' ' || status, ', ') FROM cs_health() WHERE status <> 'ok'});
}

is($node->safe_psql('postgres', 'SELECT string_agg(check_name, chr(32)) FROM cs_health()'),
	'worker queue hold uncertain failed following token catalog limiter clock partner', 'a row per check');
is(statuses(), '', 'all is well in the beginning');
is(check('clock'), 'ok|no partner has told its time since the server started|f', 'nothing is claimed to be known');

create_accounts($node, $sandbox, options => { rate_limit => 0 });
$node->safe_psql('postgres', q{SELECT * FROM cs_products(server => 'shop_v1'); SELECT * FROM cs_models(server => 'hub')});

#
# Credentials and tokens
#
like(check('token'), qr/^ok\|oldest token: 00:00:0\d old, ends in 23:59:5\d\|f$/, 'the age of a token');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'revoked')});
is(query_state($node, q{SELECT * FROM cs_products(server => 'shop_v1')}), 'PA401', 'a key is not taken');
is(check('token'), 'fail|the partner refuses the credentials of shop_v1|t', 'and that is a failure');
$sandbox->control(POST => 'keys', { api => 'cupsource-v1', key => 'cs_live_new' });
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'cs_live_new')});
is(statuses(), '', 'until it is altered');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_stat_accounts WHERE server = 'shop_v1'}), 2, 'then nothing is known of the new one,');
$node->safe_psql('postgres', q{SELECT * FROM cs_products(server => 'shop_v1'); SELECT * FROM cs_models(server => 'hub')});
is(statuses(), '', 'or that it is taken');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_stat_accounts WHERE server = 'shop_v1'}), 1, 'and the old ones are forgotten');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'cs_live_v1_demo')});
$node->safe_psql('postgres', q{SELECT * FROM cs_products(server => 'shop_v1')});
$node->safe_psql('postgres', q{CREATE SERVER gone FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', base_url 'http://127.0.0.1:9/v1');
	CREATE USER MAPPING FOR PUBLIC SERVER gone OPTIONS (api_key 'x')});
query_state($node, q{SELECT * FROM cs_products(server => 'gone')}) for 1 .. 3;
like(check('partner'), qr/^warn\|server "gone": 3 requests in a row without a usable answer, and none before\|t$/, 'an address at which nobody answers');
$node->safe_psql('postgres', q{ALTER SERVER gone OPTIONS (SET base_url '} . $sandbox->url . q{/v1')});
is(check('partner'), 'ok|the partners answer|f', 'is altered');
$node->safe_psql('postgres', q{ALTER SERVER gone OPTIONS (SET base_url 'http://127.0.0.1:9/v1')});
query_state($node, q{SELECT * FROM cs_products(server => 'gone')}) for 1 .. 3;
like(check('partner'), qr/^warn/, 'or back again');
# All of them are named, up to five.
$node->safe_psql('postgres', qq{CREATE SERVER gone_$_ FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', base_url 'http://127.0.0.1:9/v1');
	CREATE USER MAPPING FOR PUBLIC SERVER gone_$_ OPTIONS (api_key 'x')}) for 1 .. 6;
query_state($node, q{SELECT * FROM cs_products(server => 'gone_1')}) for 1 .. 4;
is(check('partner'), 'warn|server "gone": 6 requests in a row without a usable answer, and none before; '
	  . 'server "gone_1": 4 requests in a row without a usable answer, and none before|t', 'two that do not answer');
query_state($node, "SELECT * FROM cs_products(server => 'gone_" . (1 + $_ % 6) . q{')}) for 1 .. 36;
like(check('partner'), qr/^fail\|server "gone_1": 10 .*; (?:server "gone(?:_\d)?": 6 .*?; ){4}and 2 more\|t$/, 'or seven');
$node->safe_psql('postgres', "DROP SERVER gone_$_ CASCADE") for 1 .. 6;
$node->safe_psql('postgres', 'DROP SERVER gone CASCADE');
is(check('partner'), 'ok|the partners answer|f', 'or dropped');

#
# The partner's clock, and whether it answers
#
like(check('clock'), qr/^ok\|the clock of server "\w+" and ours differ by [01]\.\d s\|f$/, 'the clocks agree');
$sandbox->advance_clock(60);
$node->safe_psql('postgres', q{SELECT * FROM cs_products(server => 'shop_v1')});
like(check('clock'), qr/^warn\|the clock of server "shop_v1" and ours differ by (?:59|60)\.\d s\|t$/, 'a minute apart');
$sandbox->advance_clock(600);
$node->safe_psql('postgres', q{SELECT * FROM cs_products(server => 'shop_v1')});
like(check('clock'), qr/^fail\|the clock of server "shop_v1" and ours differ by 6(?:59|60)\.\d s\|t$/, 'eleven minutes');
$sandbox->reset;
$node->safe_psql('postgres', q{SELECT * FROM cs_products(server => 'shop_v1'); SELECT * FROM cs_models(server => 'hub')});
like(check('clock'), qr/^ok/, 'it was set right');

my $asks = q{DO $$ BEGIN FOR i IN 1..%d LOOP BEGIN PERFORM FROM cs_products(server => 'shop_v1');
	EXCEPTION WHEN SQLSTATE 'PA005' THEN NULL; END; END LOOP; END $$};
$sandbox->faults({ action => 'drop_before' });
$node->safe_psql('postgres', sprintf $asks, 2);
is(check('partner'), 'ok|the partners answer|f', 'two failures are none');
$node->safe_psql('postgres', sprintf $asks, 1);
like(check('partner'), qr/^warn\|server "shop_v1": 3 requests in a row without a usable answer, the last one was at 20.*\|t$/,
	'three are');
$node->safe_psql('postgres', sprintf $asks, 7);
like(check('partner'), qr/^fail\|server "shop_v1": 10 requests/, 'ten are an outage');
$sandbox->no_faults;
$node->safe_psql('postgres', q{SELECT * FROM cs_products(server => 'shop_v1')});
is(check('partner'), 'ok|the partners answer|f', 'which one answer ends');

#
# The budget
#
my $order = q{SELECT state FROM cs_enqueue_order('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]',
	'{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}',
	'%s', '{"currency": "USD"}', 'shop_v1')};
$node->safe_psql('postgres', 'ALTER SERVER shop_v1 OPTIONS (SET rate_limit $$10$$)');
is($node->safe_psql('postgres', sprintf($order, "budget-$_") =~ s/enqueue/create/r), 'placed', 'an order') for 1 .. 9;
like(check('limiter'), qr/^ok\|server "shop_v1": 9 of 10 requests a minute are used, waiting: 0\|f$/, 'how much is used');
my @waiting = map {
	$node->background_psql('postgres', on_error_stop => 0)
} 1 .. 2;
for my $session (@waiting)
{
	$session->query(q{SET cupsource.rate_limit_wait = '10min'; SET application_name = 'waits'});
	$session->query_until(qr/begun/, "\\echo begun\nSELECT * FROM cs_products(max_rows => 1, server => 'shop_v1');\n");
}
wait_for($node, q{SELECT status || ' ' || (detail ~ '^server "shop_v1": 9 of 10 requests a minute are used, waiting: 2$')
	FROM cs_health() WHERE check_name = 'limiter'}, 'warn true');
pass('requests that wait are a warning');
my (undef, undef, $refusal) = $node->psql('postgres', q{SELECT * FROM cs_products(max_rows => 1, server => 'shop_v1')});
like($refusal, qr/DETAIL:  The next request may go out in \d+\.\d s, and 2 others wait for it; this one has waited/,
	'who gives up is told how many wait');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits'});
$_->quit for @waiting;
$node->safe_psql('postgres', 'ALTER SERVER shop_v1 OPTIONS (SET rate_limit $$0$$)');
$sandbox->faults({ action => 'rate_limited', retry_after => 50, times => 1 });
query_state($node, q{SELECT * FROM cs_products(server => 'shop_v2')});
like(check('limiter'), qr/^warn\|server "shop_v2": the partner has asked for a pause, (?:49|50) s are left\|t$/, 'a pause');
$sandbox->faults({ action => 'rate_limited', retry_after => 500, times => 1 });
query_state($node, q{SELECT * FROM cs_models(server => 'hub')});
like(check('limiter'), qr/^fail\|server "hub": the partner has asked for a pause, (?:499|500) s are left\|t$/, 'a long one');
$sandbox->no_faults;
$node->restart;

#
# Orders
#
$node->safe_psql('postgres', 'DELETE FROM cs_internal.orders');
$sandbox->faults({ action => 'rate_limited', method => 'POST', retry_after => 40 });
$node->safe_psql('postgres', sprintf $order, 'waits-1');
wait_for($node, q{SELECT attempts > 0 AND state = 'queued' FROM cs_orders WHERE external_id = 'waits-1'});
like(check('queue'), qr/^ok\|orders that wait: 1; the oldest for 00:00:0\d, on server "shop_v1"\|f$/, 'an order waits');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET created_at = now() - interval '6 minutes'});
like(check('queue'), qr/^warn\|orders that wait: 1; the oldest for 00:06:0\d, on server "shop_v1"\|t$/, 'for too long');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET created_at = now() - interval '21 minutes'});
like(check('queue'), qr/^fail\|/, 'for much too long');
is($node->safe_psql('postgres', q{SELECT status FROM cs_health(max_queue_age => '1 hour') WHERE check_name = 'queue'}),
	'ok', 'which is for the user to say');

$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET origin = 'another'});
is(check('hold'), 'warn|orders that belong to another cluster: 1|t', 'an order of the original is held');
like(check('queue'), qr/^ok\|no order waits\|/, 'and does not wait');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET origin = cs_internal.origin(), state = 'uncertain',
	next_attempt_at = NULL, changed_at = now()});
like(check('uncertain'), qr/^warn\|orders whose outcome is unknown: 1, on shop_v1, since 20.*\|t$/, 'an unknown outcome');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET changed_at = now() - interval '25 hours'});
like(check('uncertain'), qr/^fail\|/, 'which nobody looks into');
$node->safe_psql('postgres', q{DELETE FROM cs_internal.orders; SELECT cs_resume('shop_v1')});

# What the partner refuses, and whoever queued it has not been told.
my $fails = q{SELECT state = 'failed' FROM cs_orders WHERE external_id = '%s'};
$sandbox->faults({ action => 'status', status => 422, method => 'POST' });
for my $name ('refused-1', 'refused-2')
{
	$node->safe_psql('postgres', sprintf $order, $name);
	wait_for($node, sprintf $fails, $name);
}
my ($first, $second) = split /\n/, $node->safe_psql('postgres', q{SELECT id FROM cs_orders ORDER BY id});
like(check('failed'), qr/^warn\|orders of the queue that failed within a day: 2; the first is order $first on server "shop_v1", at 20.*\|t$/,
	'orders that failed after COMMIT');
$sandbox->no_faults;
$node->safe_psql('postgres', "SELECT cs_resolve_order($first, 'retry')");
wait_for($node, q{SELECT state = 'placed' FROM cs_orders WHERE external_id = 'refused-1'});
like(check('failed'), qr/^warn\|.*: 1; the first is order $second on/, 'one is tried again');
$node->safe_psql('postgres', "SELECT cs_resubmit_order($second, 'refused-2b')");
wait_for($node, q{SELECT state = 'placed' FROM cs_orders WHERE external_id = 'refused-2b'});
is(check('failed'), 'ok|no order of the queue failed within a day that nobody has seen to|f', 'the other is replaced');

# What the partner does not tell of.
is(check('following'), 'ok|the partners tell how orders stand|f', 'orders are followed');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET failing_since = now() - interval '59 minutes', poll_at = now() + interval '1 hour'
	WHERE external_id = 'refused-1'});
like(check('following'), qr/^ok/, 'a few vain looks are none');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET failing_since = now() - interval '61 minutes' WHERE external_id = 'refused-1'});
like(check('following'), qr/^warn\|orders that the partner has told nothing of for an hour: 1; the first is order $first on server "shop_v1", since 20.*\|t$/,
	'an order of which nothing is known any more');
$node->safe_psql('postgres', q{DELETE FROM cs_internal.orders});
$node->safe_psql('postgres', sprintf $order, 'lost');
wait_for($node, q{SELECT state = 'placed' FROM cs_orders WHERE external_id = 'lost'});
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET state = 'uncertain', poll_at = NULL, changed_at = now() - interval '25 hours'});

#
# Who sees it
#
$node->safe_psql('postgres', 'CREATE ROLE monitor; GRANT pg_monitor TO monitor; CREATE ROLE stranger');
like(check('uncertain', role => 'monitor'), qr/^fail\|/, 'a monitoring role sees all figures');
is($node->safe_psql('postgres', 'SET ROLE monitor; SELECT count(*) FROM cs_orders'), 0, 'and no order');
is(check('uncertain', role => 'stranger'), 'ok|the outcome of every order is known|f', 'others see what is theirs');
is($node->safe_psql('postgres', 'SET ROLE stranger; SELECT count(*) FROM cs_stat_accounts'), 0, 'accounts, too');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER shop_v1 TO stranger');
like(check('uncertain', role => 'stranger'), qr/^fail\|/, 'which USAGE on the server decides');
for my $hidden ('health_processes', 'stat_accounts()')
{
	is(query_state($node, "SET ROLE stranger; SELECT * FROM cs_internal.$hidden"), '42501', "and not by cs_internal.$hidden");
}
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET state = 'failed'});

#
# Catalogues
#
$sandbox->no_faults;
$node->restart;
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('shop_v1')});
like(check('catalog'), qr/^ok\|catalogues: 1, the oldest complete 00:00:0\d ago\|f$/, 'a fresh catalogue');
for (
	[ undef, '3 days', 'warn' ], [ undef, '9 days', 'fail' ],
	[ '1 d', '1 day', 'ok' ], [ '1 d', '50 hours', 'warn' ], [ '1 d', '200 hours', 'fail' ])
{
	my ($every, $age, $status) = @$_;

	# The worker is not to see to it at once.
	is($node->safe_psql('postgres', 'BEGIN;'
			  . (defined $every ? "ALTER SERVER shop_v1 OPTIONS (ADD refresh_interval '$every');" : '')
			  . "UPDATE cs_internal.catalog_runs SET last_complete_at = now() - interval '$age';"
			  . q{SELECT status FROM cs_health() WHERE check_name = 'catalog'; ROLLBACK}),
		$status, 'complete ' . $age . ' ago, ' . ($every // 'by hand') . ": $status");
}
$sandbox->faults({ action => 'status', status => 403 });
$node->psql('postgres', q{CALL cs_refresh_catalog('shop_v1')});
like(check('catalog'), qr/^warn\|server "shop_v1": complete 00:00:\d\d ago, then: .*\|t$/, 'the last refresh failed');
$sandbox->no_faults;
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('shop_v1')});
is(statuses(), '', 'all is well in the end');

#
# Processes, and a standby
#
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is(check('worker', node => $standby), 'ok|this is a standby, which sends nothing|f', 'a standby needs no worker');
like(check('catalog', node => $standby), qr/^ok\|catalogues: 1,/, 'and knows the rest');
$standby->stop;

$node->safe_psql('postgres', 'ALTER SYSTEM SET max_worker_processes = 2');
$node->restart;
like(check('worker'), qr/^ok\|the launcher runs/, 'room for the launcher alone (and that of logical replication)');
$node->safe_psql('postgres', sprintf $order, 'waits-2');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET next_attempt_at = now() + interval '1 hour', created_at = now() - interval '16 s' WHERE state = 'queued'});
is(check('worker'), 'ok|the launcher runs, and nothing is to be sent|f', 'which is no harm while the next try of an order is not due');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET next_attempt_at = now() - interval '16 s' WHERE state = 'queued'});
is(check('worker'), 'fail|orders wait and no worker runs in this database|t', 'and not for orders');

$sandbox->stop;
$node->stop;
done_testing();
