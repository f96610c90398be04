#!/usr/bin/perl
#
# Refreshes by schedule: when, of which accounts, what becomes of failures, and
# that they are in nobody's way: orders, DROP DATABASE, ALTER SERVER.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 250, '--models' => 5, '--rate-limit' => 0);
my $node = cupsource_node('schedule', conf => "cupsource.max_retries = 0\nautovacuum = off\n");
create_accounts($node, $sandbox, options => { rate_limit => 0 });

sub sql { my ($sql, $database) = @_; return $node->safe_psql($database // 'postgres', $sql); }
sub status { my ($server, $what) = @_; return sql("SELECT $what FROM cs_catalog_status WHERE server = '$server'"); }

# The schedule's own processes.
my $refreshers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'cupsource refresh'};

# ---- Who is on it ----

is(status('shop_v2', 'next_refresh_at'), '', 'without refresh_interval there is no next refresh');
sql(q{ALTER SERVER shop_v2 OPTIONS (ADD refresh_interval '2 s')});
wait_for($node, q{SELECT state = 'complete' FROM cs_catalog_status WHERE server = 'shop_v2'});
is(sql(q{SELECT count(*) FROM cs_prices}), 250, 'with it the catalogue is there soon after');
is(sql(q{SELECT string_agg(state, ' ' ORDER BY server) FROM cs_catalog_status WHERE server <> 'shop_v2'}), 'never never',
	'and those of the other accounts are left alone');

$sandbox->catalog(reprice => { 'CS-CF-12DW' => '0.15' });
wait_for($node, q{SELECT unit_price = 0.15 FROM cs_prices WHERE server = 'shop_v2' AND sku = 'CS-CF-12DW'});
pass('a new price arrives by itself');
sql(q{ALTER SERVER shop_v2 OPTIONS (SET refresh_interval '1 day')});
wait_for($node, $refreshers, 0);
is(sql(q{SELECT s.next_refresh_at = r.started_at + interval '1 day' FROM cs_catalog_status AS s
	JOIN cs_internal.catalog_runs AS r USING (server) WHERE server = 'shop_v2'}), 't', 'the interval counts from one beginning to the next');

# A server becomes an account by its mapping.
my $base = $sandbox->url;
sql(qq{CREATE SERVER later FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', base_url '$base/v1', rate_limit '0', refresh_interval '1 day')});
sql(q{CREATE ROLE buyer; GRANT USAGE ON FOREIGN SERVER later TO buyer});
is(status('later', 'state'), 'never', 'nothing is refreshed without a user mapping');

# The worker is woken before the commit sends what invalidates its caches.  It
# has heard of the GRANT already, so that it is to look is told by nothing else.
my $heard = sql(q{SELECT clock_timestamp() FROM cs_resume('shop_v1')});
wait_for($node, qq{SELECT state = 'idle' AND state_change > '$heard' FROM pg_stat_activity WHERE backend_type = 'cupsource worker'});
my $hold = $node->data_dir . '/cupsource.hold.woken';
PostgreSQL::Test::Utils::append_to_file($hold, '');
my $commit = IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c',
		q{CREATE USER MAPPING FOR buyer SERVER later OPTIONS (api_key 'cs_live_v1_demo')} ], '<', \undef);
wait_for($node, q{SELECT state = 'complete' FROM cs_catalog_status WHERE server = 'later'});
pass("the first role's mapping does where the owner has none");
unlink $hold;
is($commit->finish, 1, 'before its commit has come to its end');
sql(q{DROP SERVER later CASCADE});

# ---- Failures ----

my $failed = q{SELECT state = 'failed' AND last_error LIKE '%%' AND next_refresh_at > last_error_at
	FROM cs_catalog_status WHERE server = 'shop_v1'};
$sandbox->faults({ action => 'status', status => 500, path => '/v1/products' });
sql(q{ALTER SERVER shop_v1 OPTIONS (ADD refresh_interval '1 s')});
wait_for($node, $failed);
wait_for($node, q{SELECT attempts > 2 FROM cs_internal.catalog_runs WHERE server = 'shop_v1'});
pass('a refresh that fails is tried again');
is(sql(q{SELECT r.attempts > 2 AND cs_internal.next_refresh(r, '1 day') - greatest(r.checkpoint_at, r.last_error_at)
	= least(interval '30 s' * 2 ^ least(r.attempts - 1, 7), interval '1 hour') FROM cs_internal.catalog_runs AS r WHERE server = 'shop_v1'}), 't',
	'with rests that double');
$sandbox->no_faults;
wait_for($node, q{SELECT state = 'complete' FROM cs_catalog_status WHERE server = 'shop_v1'});
is(sql(q{SELECT attempts FROM cs_internal.catalog_runs WHERE server = 'shop_v1'}), 0, 'until it succeeds');
sql(q{ALTER SERVER shop_v1 OPTIONS (DROP refresh_interval)});
sql(q{ALTER USER MAPPING FOR PUBLIC SERVER hub OPTIONS (DROP secret_key)});
sql(q{ALTER SERVER hub OPTIONS (ADD refresh_interval '1 s')});
wait_for($node, q{SELECT last_error LIKE '%lacks the option "secret_key"%' FROM cs_catalog_status WHERE server = 'hub'});
pass('a refresh that cannot begin is recorded too');
sql(q{ALTER USER MAPPING FOR PUBLIC SERVER hub OPTIONS (ADD secret_key 'esk_live_demo')});
wait_for($node, q{SELECT state = 'complete' FROM cs_catalog_status WHERE server = 'hub'});
sql(q{ALTER SERVER hub OPTIONS (DROP refresh_interval)});

# ---- One that goes on while other things happen ----

# A scheduled refresh of shop_v2 that hangs at its second page, the first being stored.
my $cents = 20;
sub hanging_refresh
{
	my (%fault) = @_;

	wait_for($node, $refreshers, 0);
	$sandbox->catalog(reprice => { 'CS-CF-12DW' => sprintf '0.%02d', $cents++ });
	$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [2], %fault });
	$sandbox->forget;
	sql(q{DELETE FROM cs_internal.catalog_runs WHERE server = 'shop_v2'; ALTER SERVER shop_v2 OPTIONS (SET refresh_interval '1 hour')});
	$sandbox->wait_for_requests(2, path => '/v2/products');
	wait_for($node, q{SELECT pages_done = 1 FROM cs_internal.catalog_runs WHERE server = 'shop_v2'});
	return;
}

hanging_refresh();
is(status('shop_v2', q{concat_ws(' ', state, next_refresh_at IS NULL)}), 'running t', 'a scheduled refresh is seen running');
is(query_state($node, q{CALL cs_refresh_catalog('shop_v2')}), '55P03', 'and there is only one');
sql(q{SELECT cs_enqueue_order(lines => '[{"product_id": "prod_8x92k4m", "quantity": 1000}]',
	ship_to => '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}',
	external_id => 'meanwhile', server => 'shop_v2')});
wait_for_state($node, 'meanwhile', 'placed');
is(status('shop_v2', 'state'), 'running', 'an order is placed while a refresh waits for its page');

sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'cupsource refresh'});
wait_for($node, $refreshers, 0);
is(status('shop_v2', q{concat_ws(' ', state, next_refresh_at > now() + interval '10 s')}), 'failed t', 'one that is terminated rests a little');
$sandbox->no_faults;
$sandbox->forget;
sql(q{ALTER SERVER shop_v2 OPTIONS (SET refresh_interval '1 s')});
wait_for($node, q{SELECT state = 'complete' FROM cs_catalog_status WHERE server = 'shop_v2'});
like(($sandbox->requests(path => '/v2/products'))[0]{query}{cursor}, qr/./, 'and goes on where it stopped');

# ---- ALTER SERVER, DROP SERVER ----

hanging_refresh();
sql(q{ALTER SERVER shop_v2 RENAME TO cups});
$sandbox->no_faults;
sql(q{ALTER SERVER cups OPTIONS (SET refresh_interval '1 s')});
wait_for($node, q{SELECT state = 'complete' FROM cs_catalog_status WHERE server = 'cups'});
is(sql(q{SELECT string_agg(DISTINCT server, ' ') FROM cs_internal.products WHERE server NOT IN ('shop_v1', 'later')}), 'cups',
	'a server that is renamed in the middle of a scheduled refresh takes all of its rows along');
sql(q{ALTER SERVER cups OPTIONS (SET refresh_interval '1 day')});
wait_for($node, $refreshers, 0);
sql(q{ALTER SERVER cups RENAME TO shop_v2});

# By hand: in a session of its own, which hangs at the second page.
my ($in, $out, $err);
sub hanging_call
{
	($in, $out, $err) = ('', '', '');
	$sandbox->faults({ action => 'hang', path => '/v1/products', nth => [2], times => 1 });
	$sandbox->forget;
	my $call = IPC::Run::start([ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'),
			'-c', 'SET cupsource.max_retries = 1', '-c', q{CALL cs_refresh_catalog('shop_v1')} ], '<', \$in, '>', \$out, '2>', \$err);
	$sandbox->wait_for_requests(2, path => '/v1/products');
	return $call;
}

my $call = hanging_call();
is(query_state($node, q{ALTER SERVER shop_v1 RENAME TO cups}), '55006', "a user's refresh is not interrupted by a new name");
sql(q{ALTER SERVER hub OPTIONS (SET rate_limit '50')});
sql(q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'cs_live_v1_other')});
$sandbox->no_faults;
$call->finish;
like($err, qr/ERROR: +55000: server "shop_v1" was given another account while its catalogue was refreshed/,
	'a refresh does not mix the catalogues of two accounts');
sql(q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'cs_live_v1_demo')});
$call = hanging_call();
sql(q{ALTER SERVER hub OPTIONS (SET rate_limit '0')});
$sandbox->no_faults;
$call->finish;
like($err, qr/refreshed the catalogue of "shop_v1"/, 'and does not mind what happens to others');
$call = hanging_call();
sql(q{DROP SERVER shop_v1 CASCADE});
$sandbox->no_faults;
$call->finish;
like($err, qr/ERROR: +42704: server "shop_v1" was dropped/, 'one whose server is dropped ends');
create_accounts($node, $sandbox, only => ['shop_v1'], options => { rate_limit => 0 });
$call = hanging_call();
sql(q{BEGIN; DROP SERVER shop_v1 CASCADE; CREATE SERVER shop_v1 FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1'); COMMIT});
$sandbox->no_faults;
$call->finish;
like($err, qr/ERROR: +42704: server "shop_v1" was dropped/, 'also when another one has its name already');
is(sql(q{SELECT count(*) FROM cs_products WHERE server = 'shop_v1'}), 0, 'which has nothing of its page');

# ---- How many at once ----

sql(q{ALTER SYSTEM SET cupsource.max_retries = 5});
sql(q{SELECT pg_reload_conf()});

sql(qq{CREATE SERVER cups_$_ FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', base_url '$base/v1', rate_limit '0');
	CREATE USER MAPPING FOR PUBLIC SERVER cups_$_ OPTIONS (api_key 'cs_live_v1_demo')}) for 1 .. 3;
$sandbox->faults({ action => 'hang', path => '/v1/products' });
$sandbox->forget;
sql(join ';', map {"ALTER SERVER cups_$_ OPTIONS (ADD refresh_interval '1 day')"} 1 .. 3);
$sandbox->wait_for_requests(2, path => '/v1/products');
is(sql($refreshers), 2, 'two catalogues are refreshed at once, by default');
is(sql(q{SELECT string_agg(state, ' ' ORDER BY state) FROM cs_catalog_status WHERE server LIKE 'cups%'}), 'never running running', 'the third waits');
$sandbox->no_faults;
wait_for($node, q{SELECT bool_and(state = 'complete') FROM cs_catalog_status WHERE server LIKE 'cups%'});
pass('for its turn');

# ---- DROP DATABASE, DROP EXTENSION ----

sql('CREATE DATABASE other');
sql('CREATE EXTENSION cupsource', 'other');
$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [2] });
$sandbox->forget;
create_accounts($node, $sandbox, database => 'other', only => ['shop_v2'], options => { rate_limit => 0, refresh_interval => '1 hour' });
$sandbox->wait_for_requests(2, path => '/v2/products');
is(query_state($node, 'DROP DATABASE other'), '00000', 'a database can be dropped while it is refreshed');
$sandbox->no_faults;

hanging_refresh();
is(query_state($node, 'DROP EXTENSION cupsource CASCADE'), '00000', 'and the extension');
$sandbox->no_faults;
wait_for($node, $refreshers, 0);
unlike(slurp_file($node->logfile), qr/TRAP|PANIC|cache lookup failed/, 'without any accident');

done_testing();
