#!/usr/bin/perl
#
# What a DBA sees of single requests: slow ones in the log, with where the time
# went and without secrets, and what a session waits for.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--rate-limit' => 0);
my $node = cupsource_node('watching', conf => "log_statement = none\ncupsource.max_retries = 0\n");
create_accounts($node, $sandbox, options => { rate_limit => 0 });

# The log lines of a request that takes so long.
sub logged
{
	my ($settings, $delay) = @_;
	my $offset = -s $node->logfile;

	$sandbox->faults({ action => 'delay', ms => $delay, method => 'GET' });
	$node->safe_psql('postgres', qq{$settings SELECT * FROM cs_products(category => 'mug', server => 'shop_v2')});
	$sandbox->no_faults;
	return join '', grep {/cupsource request|Waited/} split /^/, slurp_file($node->logfile, $offset);
}

# On a busy machine it takes longer, but never less, nor ten seconds: that would be another unit.
my $long = qr/(?:[3-9]\d\d|[1-9]\d{3})\.\d{3} ms/;
my $slow = qr{LOG:  cupsource request: GET /products on server "shop_v2": ok, status 200, $long\n.*DETAIL:  Waited for the budget before: 0\.000 ms\. Host found after \d+\.\d{3} ms, connected after \d+\.\d{3} ms, first byte of the answer after $long; \d+ bytes sent, \d+ received\.\n};
is(logged('', 300), '', 'nothing is logged unless it is asked for');
like(logged('SET cupsource.log_min_duration = 250;', 300), $slow, 'a slow request');
is(logged('SET cupsource.log_min_duration = 60000;', 300), '', 'one that is not');
like(logged('SET cupsource.log_min_duration = 0;', 300), $slow, 'every request');
unlike(logged('SET cupsource.log_requests = on;', 300), qr/DETAIL/, 'cupsource.log_requests logs a line each');
unlike(slurp_file($node->logfile), qr/cs_live|mug/, 'neither keys nor what was searched for');
is(query_state($node, 'CREATE ROLE clerk; SET ROLE clerk; SET cupsource.log_min_duration = 0'), '42501',
	'not everybody may fill the log');

#
# Wait events
#
my $named = $node->pg_version >= 17;

# What a session that runs this waits for.
sub waits_for
{
	my ($statement) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query(q{SET application_name = 'waits'; SELECT pg_backend_pid()});

	$session->query_until(qr/begun/, "\\echo begun\n$statement;\n");
	$node->poll_query_until('postgres', "SELECT wait_event IN ('Extension', 'CupsourceHttp', 'CupsourceRateLimit', 'CupsourceHandoff',
		'CupsourceToken', 'CupsourceRetry') FROM pg_stat_activity WHERE pid = $pid") or die "it does not wait: $statement";
	my $event = $node->safe_psql('postgres', "SELECT wait_event_type, wait_event FROM pg_stat_activity WHERE pid = $pid");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	$session->{run}->finish;
	return $event;
}

sub event
{
	my ($name) = @_;

	return 'Extension|' . ($named ? $name : 'Extension');
}

$sandbox->faults({ action => 'hang', method => 'GET' });
is(waits_for(q{SELECT * FROM cs_products(server => 'shop_v2')}), event('CupsourceHttp'), 'for the partner');
$sandbox->faults({ action => 'hang', method => 'POST', path => 'orders$' });
is(waits_for(q{SELECT state FROM cs_create_order('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way",
		"city": "Portland", "state": "OR", "postal_code": "97201"}', 'waits', '{"currency": "USD"}', 'shop_v1')}),
	event('CupsourceHandoff'), 'for the worker');
my $for_partner = $named ? 'CupsourceHttp' : 'Extension';
ok($node->poll_query_until('postgres',
	"SELECT wait_event = '$for_partner' FROM pg_stat_activity WHERE backend_type LIKE 'cupsource worker%'"),
	'the worker, which waits for the partner');
$sandbox->faults({ action => 'rate_limited', retry_after => 30 });
is(waits_for(q{SET cupsource.max_retries = 5; SELECT * FROM cs_products(server => 'shop_v1')}),
	event('CupsourceRateLimit'), 'for the budget');
$sandbox->no_faults;

$sandbox->stop;
$node->stop;
done_testing();
