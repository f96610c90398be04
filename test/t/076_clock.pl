#!/usr/bin/perl
#
# The server's clock jumps by hours, forward and back, while the server runs
# and while it does not: nothing waits for a time that a wrong clock gave, and
# what is measured in seconds still takes its seconds.
use strict;
use warnings;
use CupsourceFaults;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $directory = PostgreSQL::Test::Utils::tempdir;
chmod 0755, $directory;
my $faults = CupsourceFaults->new;
my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0, '--tls' => $directory);
my $node = cupsource_node('clock', start => 0, conf => <<'END');
cupsource.max_retries = 0
cupsource.worker_linger = '300ms'
END
$faults->start($node);
$node->safe_psql('postgres', 'CREATE EXTENSION cupsource');
create_accounts($node, $sandbox, options => { rate_limit => 0, poll_interval => '1h' });

use constant { AHEAD => 3 * 3600, DAYS => 3 * 86400 };

my $clock = 0;

# The launcher looks every minute; a reload is a reason to look now.
sub set_clock
{
	my ($seconds) = @_;
	my $offset = -s $node->logfile;
	my $step = ($seconds > $clock ? 'forward by ' : 'back by ') . abs($seconds - $clock);

	$clock = $seconds;
	$faults->set(clock => $seconds);
	$node->reload;
	$node->wait_for_log(qr/LOG:  the clock of this server was set $step s\n/, $offset);
	return;
}

sub enqueue
{
	my ($id) = @_;

	return $node->safe_psql('postgres', qq{SELECT cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
		'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201",
		  "country": "US"}', '$id', server => 'hub')});
}

# It could not be placed, and is to be tried again in so many minutes.
sub put_off
{
	my ($id, $minutes) = @_;

	$sandbox->faults({ action => 'status', status => 503, headers => { 'Retry-After' => 60 * $minutes },
			method => 'POST', path => 'orders$' });
	enqueue($id);
	wait_for($node, qq{SELECT count(*) = 1 FROM cs_internal.orders WHERE external_id = '$id' AND state = 'queued'
		AND attempts = 1 AND next_attempt_at > clock_timestamp() + interval '1 minute' * ($minutes - 1)});
	$sandbox->no_faults;
	return;
}

sub no_worker
{
	return wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'cupsource worker'});
}

# Orders are at the partner, each once.
sub once
{
	my ($what, @ids) = @_;
	my %count;

	wait_for_state($node, $_, 'placed') for @ids;
	$count{ $_->{external_id} // '' }++ for $sandbox->orders;
	return is(join(' ', map { $count{$_} } @ids), join(' ', map {1} @ids), $what);
}

# -- What is measured takes its time --

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

sub outcome
{
	my ($statement) = @_;

	return $session->query("SELECT outcome(\$statement\$$statement\$statement\$)");
}

my $call = q{SELECT count(*) > 0 FROM cs_products(server => 'shop_v1', max_rows => 1)};
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (SET rate_limit '4')});
$session->query(q{SET cupsource.rate_limit_wait = '100ms'});
my @outcomes;
do { push @outcomes, scalar outcome($call) } until $outcomes[-1] ne 'true';
cmp_ok(scalar(@outcomes), '>', 1, 'a budget');
is($outcomes[-1], 'PA010', 'is used up');
set_clock(AHEAD);
is(outcome($call), 'PA010', 'a clock that jumps forward does not end its minute');
set_clock(0);
is(outcome($call), 'PA010', 'one that jumps back does not make it longer: it is the same minute');
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (SET rate_limit '0')});

$session->query(q{SET cupsource.timeout = '700ms'});
for my $to (AHEAD, 0)
{
	my $way = $to ? 'forward' : 'back';

	$sandbox->forget;
	$sandbox->faults({ action => 'hang', path => '/v1/products' });
	my $start = time;
	my $waits = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_until(qr/started/, qq{\\echo started\nSELECT outcome(\$\$$call\$\$);\n});
	$sandbox->wait_for_requests(1, path => '/v1/products');
	$faults->set(clock => $to);
	is($session->query('SELECT 1') =~ s/\n1\z//r, 'PA004', "a request that hangs while the clock jumps $way ends");
	my $took = time - $start;
	cmp_ok($took, '>', 0.7, 'after its time-out');
	cmp_ok($took, '<', 20, 'and not hours later');
	$waits->quit;
	$sandbox->no_faults;
}
$session->query('RESET cupsource.timeout');

# -- Tokens, and what is known of an order --

set_clock(AHEAD);
is(outcome(q{SELECT count(*) FROM cs_balance('hub')}), 1, 'a token by a clock that is ahead');
set_clock(0);
$sandbox->forget;
is(outcome(q{SELECT count(*) FROM cs_balance('hub')}), 1, 'is followed by another when the clock goes back');
is(join(' ', map { $_->{status} } $sandbox->requests(path => '/api/v1/balance')), 200, 'and was not refused');
set_clock(DAYS);
$sandbox->forget;
is(outcome(q{SELECT count(*) FROM cs_balance('hub')}), 1, 'one that a jump has let end');
is($sandbox->count(path => '/api/PartnerAuthentication/auth'), 1, 'is followed by another too');

enqueue('followed');
once('an order by a clock that is ahead', 'followed');
is(outcome(q{SELECT cs_order_status('followed', '1 minute', 'hub')}), 'placed', 'its state is known');
no_worker();
my ($followed) = grep { ($_->{external_id} // '') eq 'followed' } $sandbox->orders;
$sandbox->advance($followed->{id}, 'approved');
$faults->set(clock => 0);
$clock = 0;
is(outcome(q{SELECT cs_order_status('followed', '1 minute', 'hub')}), 'approved',
	'what was told in the future is asked for again');

# -- Orders that wait --

for my $lasting (0, 1)
{
	my $name = $lasting ? 'linger' : 'leave';

	$node->append_conf('postgresql.conf', q{cupsource.worker_linger = '1h'}) if $lasting;
	set_clock(AHEAD);
	put_off("$name-back", 10);
	no_worker() unless $lasting;
	set_clock(0);
	once("$name: one that waits by a clock that is set back is placed", "$name-back");

	put_off("$name-forward", 120);
	no_worker() unless $lasting;
	set_clock(AHEAD);
	once("$name: one that is overdue by a clock that is set forward is too", "$name-forward");

	# Placed by the clock that is ahead, to be looked at an hour later.
	my ($order) = grep { ($_->{external_id} // '') eq "$name-forward" } $sandbox->orders;
	no_worker() unless $lasting;
	$sandbox->advance($order->{id}, 'approved');
	set_clock(0);
	wait_for_state($node, "$name-forward", 'approved');
	pass("$name: a look at an open order does not wait for hours either");
}
$node->append_conf('postgresql.conf', q{cupsource.worker_linger = '300ms'});

# While the server was down nobody saw it.
set_clock(AHEAD);
put_off('down', 10);
$node->stop;
$faults->set(clock => 0);
$faults->start($node);
once('one that waits while the server is down and the clock set back is placed', 'down');

# One that waits by a sound clock waits on.
put_off('patient', 10);
$node->restart;
wait_for($node, q{SELECT count(*) = 1 FROM cs_stat_workers WHERE database = 'postgres' AND pid IS NULL AND due_at IS NOT NULL});
is($node->safe_psql('postgres', q{SELECT attempts FROM cs_orders WHERE external_id = 'patient'}), 1,
	'a restart by itself makes nothing due');
$node->safe_psql('postgres', q{SELECT cs_resume('hub')});
once('until it is resumed', 'patient');

# -- A pause after a failure of ours --

$node->stop;
$faults->start($node);
$clock = 0;
set_clock(AHEAD);
my $offset = -s $node->logfile;
$sandbox->forget;
$sandbox->faults({ action => 'delay', ms => 300, method => 'POST', path => 'orders$' });
$node->safe_psql('postgres', q{SELECT count(cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
	'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}',
	'full-' || i, server => 'hub')) FROM generate_series(1, 40) AS i});
$sandbox->wait_for_requests(8, api => 'customhub-v1', method => 'POST', path => '.*/orders');
$faults->set(clock => AHEAD, disk_full => 1);
$sandbox->no_faults;
$node->wait_for_log(qr/No space left on device/, $offset);
set_clock(0);
once('answers that could not be recorded before the jump are recorded after it', map {"full-$_"} 1 .. 40);

# -- Catalogues --

my $complete = q{SELECT coalesce(max(run), 0) FROM cs_internal.catalog_runs WHERE server = 'shop_v1' AND state = 'complete'};
set_clock(AHEAD);
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (ADD refresh_interval '1h')});
wait_for($node, $complete, 1);
no_worker();
my ($sku) = split /\|/, $node->safe_psql('postgres', q{SELECT sku FROM cs_prices WHERE server = 'shop_v1' ORDER BY sku LIMIT 1});
$sandbox->catalog(api => 'cupsource-v1', reprice_fraction => 0.3);
set_clock(0);
wait_for($node, $complete, 2);
pass('a refresh that was done in the future is done again');
no_worker();
is($node->safe_psql('postgres', $complete), 2, 'once');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_price_history AS h WHERE isempty(h.valid) OR upper(h.valid) < lower(h.valid)}),
	0, 'and its prices follow the older ones');

# -- Certificates are of their time --

$node->safe_psql('postgres', q{CREATE SERVER safe FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', rate_limit '0',
	base_url '} . $sandbox->tls_url . q{/v1', ca_file '} . $sandbox->ca_file . q{');
	CREATE USER MAPPING FOR PUBLIC SERVER safe OPTIONS (api_key 'cs_live_v1_demo')});
$faults->set(clock => -40 * 365 * 86400);
my ($status, $out, $err) = $node->psql('postgres', q{\set VERBOSITY verbose
	SELECT count(*) > 0 FROM cs_products(server => 'safe')});
like($err, qr/ERROR:  PA003: .*could not verify the certificate/, 'a certificate of the future is not trusted');
like($err, qr/HINT:  The clock of this server says \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/, 'and the clock suspected');
$faults->none;
is($node->safe_psql('postgres', q{SELECT count(*) > 0 FROM cs_products(server => 'safe')}), 't', 'when that is right it is trusted');

# -- And it shows --

$faults->set(clock => AHEAD);
$node->safe_psql('postgres', q{SELECT count(*) FROM cs_products(server => 'shop_v1')});
is($node->safe_psql('postgres', q{SELECT status FROM cs_health() WHERE check_name = 'clock'}), 'fail', 'cs_health() knows a wrong clock');
$faults->none;

$session->quit;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
$node->stop;
done_testing();
