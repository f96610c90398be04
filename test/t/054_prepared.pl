#!/usr/bin/perl
#
# Orders queued by transactions that are prepared: nothing is sent before they
# are committed, wherever that happens, and never if they are rolled back.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('prepared', conf => "max_prepared_transactions = 10\n");
create_accounts($node, $sandbox, only => [qw(hub)], options => { rate_limit => 0, poll_interval => '1d' });

my $lines = q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]'};
my $address = q{'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}'};

$node->safe_psql('postgres', q{
	CREATE TABLE purchase (po text, lines jsonb, address jsonb);
	CREATE TRIGGER submit AFTER INSERT ON purchase FOR EACH ROW EXECUTE FUNCTION
	  cs_submit_order('external_id=po', 'lines=lines', 'ship_to=address');
	CREATE TABLE header (po text, lines jsonb, address jsonb);
	CREATE CONSTRAINT TRIGGER submit AFTER INSERT ON header DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	  EXECUTE FUNCTION cs_submit_order('external_id=po', 'lines=lines', 'ship_to=address')});

# Each way to queue an order, for the transaction of that name.
my %queue = (
	function => sub { "SELECT FROM cs_enqueue_order($lines, $address, '$_[0]')" },
	view => sub { "INSERT INTO cs_orders (lines, ship_to, external_id) VALUES ($lines, $address, '$_[0]')" },
	trigger => sub { "INSERT INTO purchase VALUES ('$_[0]', $lines, $address)" },
	deferred => sub { "INSERT INTO header VALUES ('$_[0]', $lines, $address)" },
	savepoint => sub { "SAVEPOINT a; INSERT INTO purchase VALUES ('undone', $lines, $address); ROLLBACK TO a;"
		  . "SAVEPOINT b; INSERT INTO purchase VALUES ('$_[0]', $lines, $address); RELEASE b" });

sub prepare
{
	my ($name, $how) = @_;

	return $node->safe_psql('postgres', 'BEGIN; ' . $queue{$how}->($name) . "; PREPARE TRANSACTION '$name'");
}

# External ids of the orders that have arrived, in order.
sub there
{
	return join ' ', sort map { $_->{external_id} } $sandbox->orders(api => 'customhub-v1');
}

sub no_worker
{
	return wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'cupsource worker'});
}

prepare("commit-$_", $_) for sort keys %queue;
prepare("rollback-$_", $_) for qw(deferred trigger);
no_worker();
is($node->safe_psql('postgres', 'SELECT count(*) FROM cs_orders'), '0', 'what is prepared is seen by nobody');
is($sandbox->count(path => '.*/orders'), 0, 'and not sent');

# The same external id, while nobody knows what becomes of it.
is(query_state($node, "SET lock_timeout = '200ms'; " . $queue{function}->('commit-trigger')), '55P03', 'who queues the same order waits');
is(query_state($node, "SELECT cs_create_order($lines, $address, 'commit-trigger')"), '55P03', 'who calls for it is told so');
is($sandbox->count(path => '.*/orders'), 0, 'nothing is sent for them either');

# Committed and rolled back after a restart, one of them an end without warning.
$node->restart;
no_worker();
$node->safe_psql('postgres', q{COMMIT PREPARED 'commit-function'});
wait_for_state($node, 'commit-function', 'placed');
pass('an order is sent when its transaction is committed after a restart');
$node->stop('immediate');
$node->start;
no_worker();
$node->safe_psql('postgres', qq{$_ PREPARED '\L$_\E-trigger'}) for qw(COMMIT ROLLBACK);
$node->safe_psql('postgres', q{COMMIT PREPARED 'commit-savepoint'; ROLLBACK PREPARED 'rollback-deferred'});
wait_for_state($node, $_, 'placed') for qw(commit-trigger commit-savepoint);

# Committed, and the server ends before anybody can have been woken: at the latest its next start sees to it.
$node->safe_psql('postgres', q{COMMIT PREPARED 'commit-deferred'; COMMIT PREPARED 'commit-view'});
$node->stop('immediate');
$node->start;
wait_for_state($node, $_, 'placed') for qw(commit-deferred commit-view);

is(there(), join(' ', map {"commit-$_"} sort keys %queue), 'what was committed has arrived, once, and nothing else');
# An attempt is on record before its request leaves: one that the server's end came between was none.
cmp_ok($sandbox->count(method => 'POST', path => '.*/orders'), '<=',
	$node->safe_psql('postgres', 'SELECT sum(attempts) FROM cs_orders'), 'and nothing that is not on record was sent');
is($node->safe_psql('postgres', 'SELECT string_agg(external_id, $$ $$ ORDER BY external_id) FROM cs_orders'), there(), 'the others were never orders');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_prepared_xacts}), '0', 'nothing is left');

# What was rolled back may be ordered later.
$node->safe_psql('postgres', $queue{function}->('rollback-trigger'));
wait_for_state($node, 'rollback-trigger', 'placed');

done_testing();
