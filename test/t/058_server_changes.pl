#!/usr/bin/perl
#
# A server that is dropped or renamed while somebody calls for an order: no
# order is placed for an account that is not there when it is written down.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('changes', conf => "cupsource.worker_linger = '1min'\n");
create_accounts($node, $sandbox, only => [qw(hub)], options => { rate_limit => 0, poll_interval => '1d' });

sub call
{
	my ($external_id) = @_;

	return qq{SELECT state FROM cs_create_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St",
		"city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}', '$external_id', NULL, 'hub')};
}

# Does it, and commits as soon as the worker waits for that with somebody's order
# in its hand: it may also wait for it on its own account.
sub change
{
	my ($command) = @_;

	return IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', "BEGIN; $command", '-c', q{DO $$ BEGIN
		WHILE NOT EXISTS (SELECT FROM pg_locks WHERE relation = 'cs_internal.orders'::regclass AND NOT granted)
		   OR NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND wait_event_type = 'Extension') LOOP
		  PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
		END LOOP; END $$}, '-c', 'COMMIT' ], IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
}

is($node->safe_psql('postgres', call('before')), 'placed', 'there is a worker');
$sandbox->forget;
for my $command ('ALTER SERVER hub RENAME TO hub_2', 'DROP SERVER hub CASCADE')
{
	$node->safe_psql('postgres', 'ALTER SERVER hub_2 RENAME TO hub') if $command =~ /DROP/;
	my $session = change($command);

	wait_for($node, q{SELECT count(*) = 1 FROM pg_locks WHERE relation = 'cs_internal.orders'::regclass AND mode = 'ShareRowExclusiveLock'});
	is(query_state($node, call("during $command")), '42704', "$command: who calls meanwhile is told that it does not exist");
	ok($session->finish, 'it comes through');
}
is($sandbox->count(method => 'POST', path => '.*/orders'), 0, 'nothing was placed');
is(order_count($node), 0, 'no order is seen without its server');
is($node->safe_psql('postgres', 'SELECT string_agg(external_id, $$ $$) FROM cs_internal.orders'), 'before', 'and none was written down');

done_testing();
