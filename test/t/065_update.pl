#!/usr/bin/perl
#
# ALTER EXTENSION ... UPDATE beside a worker that waits for a partner: neither
# waits for the other, and what was on the wire is recorded in what the update
# has made of the tables.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

# A later version, which does to the tables what updates do.
my ($version) = slurp_file('cupsource.control') =~ /^default_version = '(.*)'$/m;
chomp(my $directory = `pg_config --sharedir`);
my $script = "$directory/extension/cupsource--$version--$version.later.sql";
append_to_file($script, <<'END');
ALTER TABLE cs_internal.orders ADD COLUMN later text DEFAULT 'later';
ALTER TABLE cs_internal.order_attempts ADD COLUMN later text;
CREATE INDEX orders_later ON cs_internal.orders (later);
CREATE OR REPLACE FUNCTION cs_internal.is_followed(state text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE BEGIN ATOMIC SELECT false; END;
END

END
{
	unlink $script if defined $script;
}

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('update', conf => "cupsource.worker_linger = '1min'\n");
create_accounts($node, $sandbox, only => [qw(hub)], options => { rate_limit => 0, poll_interval => '1d' });

sub enqueue
{
	my ($external_id) = @_;

	return qq{SELECT state FROM cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St",
		"city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}', '$external_id', NULL, 'hub');};
}

sub row
{
	my ($external_id) = @_;

	return $node->safe_psql('postgres', "SELECT state, later, poll_at IS NULL FROM cs_internal.orders WHERE external_id = '$external_id'");
}

$node->safe_psql('postgres', enqueue('before'));
wait_for_state($node, 'before', 'placed');
my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'cupsource worker'};
my $pid = $node->safe_psql('postgres', $worker);

# Processed, and the answer waits until the sandbox lets go.
$sandbox->faults({ action => 'delay', ms => 60_000, method => 'POST', path => '/orders$', times => 1 });
$sandbox->forget;
$node->safe_psql('postgres', enqueue('meanwhile'));
$sandbox->wait_for_requests(1, method => 'POST', path => '.*/orders');
my $update = "SET lock_timeout = '2s'; ALTER EXTENSION cupsource UPDATE TO '$version.later';";
is($node->safe_psql('postgres', enqueue('queued-before') . $update . enqueue('queued-after') . q{SELECT count(*) FROM cs_orders}),
	"queued\nqueued\n4", 'an update does not wait for a request on the wire, and its session goes on');
wait_for_state($node, $_, 'placed') for qw(queued-before queued-after);
is($node->safe_psql('postgres', q{SELECT state FROM cs_orders WHERE external_id = 'meanwhile'}), 'sending', 'nor does the worker wait for the partner');
$sandbox->no_faults;
wait_for_state($node, 'meanwhile', 'placed');
is(row($_), 'placed|later|t', "$_: recorded as the update has it") for qw(meanwhile queued-after);
is($node->safe_psql('postgres', $worker), $pid, 'by the same worker');
is($sandbox->count(method => 'POST', path => '.*/orders'), 3, 'each was sent once');

# An update that is rolled back is none.
$node->safe_psql('postgres', 'BEGIN; DROP EXTENSION cupsource CASCADE; ROLLBACK; ' . enqueue('after'));
wait_for_state($node, 'after', 'placed');
is(row('after'), 'placed|later|t', 'dropped and rolled back, everything is as it was');

done_testing();
