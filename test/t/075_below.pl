#!/usr/bin/perl
#
# Faults below us: no disk, no memory, no connections, no file descriptors, a
# certificate that expires, a name that leads elsewhere.  A clear error each,
# nothing is lost or doubled, and it goes on by itself afterwards.
use strict;
use warnings;
use CupsourceFaults;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $directory = PostgreSQL::Test::Utils::tempdir;
chmod 0755, $directory;
my $faults = CupsourceFaults->new;
my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0, '--tls' => $directory, '--tls-expired-port', '--tls-wrong-port');
my $node = cupsource_node('below', start => 0, conf => <<'END');
max_connections = 10
superuser_reserved_connections = 1
cupsource.max_retries = 0
cupsource.timeout = '500ms'
END
$faults->start($node);
$node->safe_psql('postgres', 'CREATE EXTENSION cupsource');
create_accounts($node, $sandbox, options => { rate_limit => 0, poll_interval => '1d' });

my %order = (
	shop_v1 => q{'[{"sku": "CS-8OZ-ECO", "quantity": 1000}]', '{"line1": "1 Way", "city": "Portland", "state": "OR",
	  "postal_code": "97201"}', EXTERNAL, '{"currency": "USD"}', 'shop_v1'},
	hub => q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn",
	  "state": "NY", "postal_code": "11201", "country": "US"}', EXTERNAL, NULL, 'hub'});

# So many orders "NAME-1", …
sub enqueue
{
	my ($server, $name, $count) = @_;

	return 'SELECT count(cs_enqueue_order(' . $order{$server} =~ s/EXTERNAL/'$name-' || i/r
	  . ")) FROM generate_series(1, $count) AS i";
}

# All orders of the name are placed, and the partner has each of them once.
sub all_placed
{
	my ($name, $count, $what) = @_;

	wait_for($node, "SELECT count(*) = $count FROM cs_orders WHERE external_id LIKE '$name-%' AND state = 'placed'");
	return is($sandbox->count(method => 'POST', path => '.*/orders'), $count, $what) if $name =~ /shop_v1/;
	my @there = grep { ($_->{external_id} // '') =~ /^\Q$name\E-/ } $sandbox->orders;
	my %once = map { $_->{external_id} => 1 } @there;

	is(scalar(@there) . ' ' . scalar(keys %once), "$count $count", $what);
	return;
}

my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query(q{CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		result text;
	BEGIN
		EXECUTE statement INTO result;
		RETURN result;
	EXCEPTION WHEN OTHERS THEN
		RETURN sqlstate;
	END $$});
my $backend = $session->query('SELECT pg_backend_pid()');

sub outcome
{
	my ($statement) = @_;

	return $session->query("SELECT outcome(\$statement\$$statement\$statement\$)");
}

# -- Memory: each allocation of a call fails once --

my $products = q{SELECT count(*) || ' ' || hashtextextended(string_agg(p::text, ' '), 0) FROM (SELECT product_id, sku, name, unit_price, raw
	FROM cs_products(server => 'shop_v1', max_rows => 20)) AS p};
my $good = outcome($products);
my (%seen, $failed);
for (my $n = 0;; $n++)
{
	$faults->set(process => $backend, countdown => $n);
	my $got = outcome($products);
	last if $faults->countdown >= 0;
	$seen{ $got eq $good ? 'good' : $got }++;
	$failed = $n;
}
$faults->none;
cmp_ok($failed, '>', 300, 'libcurl and json-c allocate often');
note("$failed allocations failed, once each");
# PA001: libcurl 8.14 tells of an address that it has no memory for as of one that it did not find.
my @others_seen = grep { !/^(?:good|53200|PA001|PA004|PA007)$/ } sort keys %seen;
is("@others_seen", '', 'without memory a call says so, or that it got no address or answer, and never gives other rows');
is(outcome($products), $good, 'and succeeds when there is memory again');
is($session->query('SELECT pg_backend_pid()'), $backend, 'in the same session');

# -- A limit on the address space: the system's own malloc refuses --

# In a session of its own: where an allocation's failure had libcurl look the name up, its
# thread has left an arena behind, in which there is room.
$session->quit;
$session = $node->background_psql('postgres', on_error_stop => 0);
$backend = $session->query('SELECT pg_backend_pid()');
is(outcome($products), $good, 'another session');

sub limit_memory
{
	my ($pid, $more) = @_;
	my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /^VmSize:\s*(\d+) kB$/m;

	system_or_bail('prlimit', '--as=' . (defined $more ? ($kilobytes + $more) * 1024 : 'unlimited') . ':', '--pid', $pid);
	return;
}

my $many = join ',', map {qq({"id":"p$_","sku":"S$_","name":"Cup $_","unit_price":0.$_})} 1 .. 20000;
my $counted = q{SELECT count(*) FROM cs_products(server => 'shop_v1')};
my $large = { action => 'body', method => 'GET', path => 'products$', content_type => 'application/json',
	text => qq({"success":true,"data":[$many],"meta":{"page":1,"per_page":20000,"total":20000}}) };
$sandbox->faults($large);
$session->query(q{SET cupsource.timeout = '10s'});
my %limited;
for my $more (0, 500, 1000, 2000, 4000, 8000)
{
	limit_memory($backend, $more);
	$limited{ outcome($counted) }++;
	limit_memory($backend);
}
is(join(' ', sort keys %limited), '53200', 'an answer that does not fit into the address space is an error');
is(outcome($counted), 20000, 'and is read when it does');
$sandbox->no_faults;
$session->query('RESET cupsource.timeout');
is($session->query('SELECT pg_backend_pid()'), $backend, 'still in the same session');

$node->append_conf('postgresql.conf', q{cupsource.worker_linger = '1h'});
$node->reload;
$node->safe_psql('postgres', enqueue('hub', 'roomy', 1));
all_placed('roomy', 1, 'a worker is there');
my $worker = $node->safe_psql('postgres', q{SELECT pid FROM cs_stat_workers WHERE database = 'postgres'});
my $log_end = -s $node->logfile;
limit_memory($worker, 0);
$node->safe_psql('postgres', enqueue('hub', 'narrow', 400));
$node->wait_for_log(qr/out of memory/, $log_end);
limit_memory($worker);
all_placed('narrow', 400, 'orders wait for memory, too');
is($node->safe_psql('postgres', q{SELECT pid FROM cs_stat_workers WHERE database = 'postgres'}), $worker,
	'and the worker has survived');

# Each allocation of the worker's fails once, for an order of its own.
my $orders = 0;
for (my $left = -1; $left < 0; $orders++)
{
	my $placed = "SELECT count(*) = 1 FROM cs_orders WHERE external_id = 'scarce$orders-1' AND state = 'placed'";

	$faults->set(process => $worker, countdown => $orders);
	$session->query(enqueue('hub', "scarce$orders", 1));

	# In this order: it may fail, be tried again and be placed between the two.
	while (1)
	{
		my $is_placed = $session->query($placed) eq 't';

		$left = $faults->countdown;
		last if $left < 0 || $is_placed;
	}
}
$faults->none;
cmp_ok($orders, '>', 50, 'the worker allocates often');
wait_for($node, "SELECT count(*) = $orders FROM cs_orders WHERE external_id LIKE 'scarce%' AND state = 'placed'");
my @scarce = grep { ($_->{external_id} // '') =~ /^scarce/ } $sandbox->orders;
is(scalar(@scarce), $orders, 'an order is placed, and once, whichever of them fails');
is($node->safe_psql('postgres', q{SELECT pid FROM cs_stat_workers WHERE database = 'postgres'}), $worker, 'by the same worker');
$node->append_conf('postgresql.conf', q{cupsource.worker_linger = '1s'});
$node->reload;

# -- work_mem: what exceeds it goes to disk --

$sandbox->faults($large);
$session->query(q{SET work_mem = '64kB'; SET cupsource.timeout = '10s'});
my $all = $products =~ s/, max_rows => 20//r;
my $spilled = outcome($all);
like($spilled, qr/^20000 /, 'a result that exceeds work_mem');
$session->query(q{SET work_mem = '64MB'});
is(outcome($all), $spilled, 'is the same as one that does not');
$session->query(q{SET work_mem = '64kB'});
$faults->set(disk_full => 1);
is(outcome($all), '53100', 'and has an error of its own when the disk is full');
$faults->none;
is(outcome($all), $spilled, 'until there is room');
$session->query(q{RESET work_mem; RESET cupsource.timeout});
$sandbox->no_faults;

# -- File descriptors --

sub limit_descriptors
{
	my ($limit) = @_;

	system_or_bail('prlimit', "--nofile=$limit:", '--pid', $backend);
	return;
}
my $limit = (split ' ', (grep {/^Max open files/} split /\n/, slurp_file("/proc/$backend/limits"))[0])[3];
$node->safe_psql('postgres', q{CREATE SERVER cold FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', rate_limit '0', base_url 'http://localhost:}
	  . $sandbox->port . q{/v1'); CREATE USER MAPPING FOR PUBLIC SERVER cold OPTIONS (api_key 'cs_live_v1_demo')});
limit_descriptors(3);
like(outcome(q{SELECT count(*) FROM cs_products(server => 'cold')}), qr/^(?:53000|PA002)$/, 'without a file descriptor there is no connection');
limit_descriptors($limit);
is(outcome(q{SELECT count(*) > 0 FROM cs_products(server => 'cold')}), 'true', 'and with one there is');

# -- Connections: the worker needs none of them --

$session->query('CREATE ROLE nobody LOGIN');
my @others;
for (1 .. 8)
{
	push @others, $node->background_psql('postgres', on_error_stop => 0);
}
$others[-1]->query(enqueue('hub', 'crowded', 3));
my ($ret, $out, $err) = $node->psql('postgres', 'SELECT 1', extra_params => [ '--username' => 'nobody' ]);
like($err, qr/remaining connection slots are reserved/, 'no connection is left');
$_->quit for @others;
all_placed('crowded', 3, 'but orders are placed');

# -- The disk --

is(outcome(q{SELECT count(*) FROM cs_prices}), 0, 'the cache is empty');
$faults->set(disk_full => 1);
like(($node->psql('postgres', q{\set VERBOSITY verbose
	CALL cs_refresh_catalog('shop_v1')}))[2], qr/ERROR:  53100:/, 'a refresh on a full disk says so');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_prices}), 0, 'and stores nothing by halves');
$faults->none;
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('shop_v1')});
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM cs_prices}), '>', 100, 'it goes on when there is room');

for my $server (qw(hub shop_v1))
{
	my $api = $server eq 'hub' ? 'customhub-v1' : 'cupsource-v1';

	# Their answers do not fit into the pages that there are.
	$sandbox->forget;
	$sandbox->faults({ action => 'delay', ms => 300, method => 'POST', path => 'orders$' });
	$node->safe_psql('postgres', enqueue($server, "full-$server", 40));
	$sandbox->wait_for_requests(8, api => $api, method => 'POST', path => '.*/orders');
	my $full_since = -s $node->logfile;
	$faults->set(disk_full => 1);
	$sandbox->no_faults;
	$node->wait_for_log(qr/No space left on device/, $full_since);
	$faults->none;
	all_placed("full-$server", 40, "$server: no answer is lost to a full disk");
}

# -- A certificate that expires --

$node->safe_psql('postgres', q{CREATE SERVER safe FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1', rate_limit '0', poll_interval '1d',
	base_url '} . $sandbox->tls_url . q{', auth_url '} . $sandbox->tls_url . q{', ca_file '} . $sandbox->ca_file . q{');
	CREATE USER MAPPING FOR PUBLIC SERVER safe OPTIONS (api_key 'ek_live_demo', secret_key 'esk_live_demo')});
$order{safe} = $order{hub} =~ s/'hub'/'safe'/r;
my %expired = (from => $sandbox->tls_port, to => $sandbox->ready->{tls_expired_port});
is(outcome(q{SELECT count(*) > 0 FROM cs_products(server => 'safe')}), 'true', 'a sound certificate');
$faults->set(%expired);
is(outcome(q{SELECT count(*) > 0 FROM cs_products(server => 'safe')}), 'true', 'is that of a kept connection as long as it is kept');
$sandbox->faults({ action => 'drop_before', times => 1 });
is(outcome(q{SELECT count(*) > 0 FROM cs_products(server => 'safe')}), 'PA003', 'and not of the next one');
$sandbox->no_faults;
$session->quit;
$session = $node->background_psql('postgres', on_error_stop => 0);
is(outcome(q{SELECT count(*) > 0 FROM cs_products(server => 'safe')}), 'PA003', 'is not trusted when it has expired');
$node->safe_psql('postgres', enqueue('safe', 'expired', 2));
wait_for($node, q{SELECT count(DISTINCT order_id) = 2 FROM cs_order_attempts WHERE external_id LIKE 'expired-%' AND failure = 'tls'});
$faults->none;
is(outcome(q{SELECT count(*) > 0 FROM cs_products(server => 'safe')}), 'true', 'and when it has been renewed it is');
all_placed('expired', 2, 'orders wait for that');

# -- A name that leads elsewhere --

# The certificate of that port is one for this name.
$node->safe_psql('postgres', q{CREATE SERVER named FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1', rate_limit '0',
	poll_interval '1d', base_url 'https://wrong.example:PORT', auth_url 'https://wrong.example:PORT', ca_file '} =~
	s/PORT/$sandbox->ready->{tls_wrong_port}/ger . $sandbox->ca_file . q{');
	CREATE USER MAPPING FOR PUBLIC SERVER named OPTIONS (api_key 'ek_live_demo', secret_key 'esk_live_demo')});
$order{named} = $order{hub} =~ s/'hub'/'named'/r;
my $named = q{SELECT count(*) > 0 FROM cs_products(server => 'named')};
is(outcome($named), 'true', 'a name that leads to the partner');
$faults->set(address => 7);
is(outcome($named), 'true', 'or led there, while the connection is kept');
$sandbox->faults({ action => 'drop_before', times => 1 });
is(outcome($named), 'PA002', 'is looked up again when the partner has closed it');
$sandbox->no_faults;
$node->safe_psql('postgres', enqueue('named', 'moved', 2));
wait_for($node, q{SELECT count(DISTINCT order_id) = 2 FROM cs_order_attempts WHERE external_id LIKE 'moved-%' AND failure = 'connect'});
$session->quit;
$session = $node->background_psql('postgres', on_error_stop => 0);
is(outcome($named), 'PA002', 'and now leads to nobody');
$faults->none;
is(outcome($named), 'true', 'is asked for again by the next call');
all_placed('moved', 2, 'and by the orders that wait');

$session->quit;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
