#!/usr/bin/perl
#
# Whoever waits, for an order or for its cancellation, is told how that ended:
# also where the order came to its end another way than the one that is waited
# for, because the partner or somebody else was quicker.
use strict;
use warnings;
use CupsourceTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('meanwhile', conf => <<'END_CONF');
cupsource.order_timeout = '1s'
cupsource.max_retries = 5
END_CONF
create_accounts($node, $sandbox, only => ['hub'], options => { rate_limit => 0, poll_interval => '1h' });

my $content = q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
	'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}'};
my @posts = (method => 'POST', path => '/api/v1/orders');

# A statement that is not waited for; of what hangs there is no answer.
sub begin_statement
{
	my ($sql) = @_;
	my %statement = (out => '', err => '');

	$statement{psql} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr('postgres'),
			'-c', "SET statement_timeout = '15s'", '-c', $sql ], '<', \'', '>', \$statement{out}, '2>', \$statement{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%statement;
}

# What it answered, or its SQLSTATE and message.
sub end_of
{
	my ($statement) = @_;

	IPC::Run::finish($statement->{psql});
	return $1 if $statement->{err} =~ /ERROR: +(.*)/;
	chomp $statement->{out};
	return $statement->{out};
}

sub state_of { return $node->safe_psql('postgres', "SELECT state FROM cs_orders WHERE external_id = '$_[0]'") }

# ---- cancelled while it is on the wire, where the answer says that this is too late, or done ----

for ([ 'Rejected', 'rejected', 'PA012' ], [ 'Shipped', 'shipped', 'PA012' ], [ 'Cancelled', 'cancelled', 'cancelled' ])
{
	my ($status, $state, $told) = @$_;
	my $id = "answered-$state";

	$sandbox->forget;
	$sandbox->faults({ action => 'hang_after', @posts[0, 1], path => '/orders$', times => 1 },
		{ action => 'body', @posts[0, 1], path => '/orders$', content_type => 'application/json', times => 1,
			text => qq({"success": true, "data": {"orderId": "9b4f7e2a-0000-4000-8000-0000000000$state", "externalOrderId": "$id", "status": "$status"}}) });
	$node->safe_psql('postgres', "SELECT cs_enqueue_order($content, '$id')");
	$sandbox->wait_for_requests(1, @posts);
	my $cancel = begin_statement("SELECT state FROM cs_cancel_order('$id')");
	wait_for_state($node, $id, $state);
	like(end_of($cancel), qr/^$told\b/, "an order that turns out to be $status: who cancels it is told");
}
$sandbox->no_faults;

# ---- the partner is asked while it cancels ----

for ([ 'Cancelled', 'cancelled' ], [ 'Rejected', 'rejected' ])
{
	my ($shown, $state) = @$_;
	my $id = "asked-$state";

	$node->safe_psql('postgres', "SELECT cs_create_order($content, '$id')");
	my $remote_id = $node->safe_psql('postgres', "SELECT remote_id FROM cs_orders WHERE external_id = '$id'");
	$sandbox->advance($remote_id, $shown) if $shown ne 'Cancelled';
	$sandbox->forget;
	$sandbox->faults({ action => 'delay', ms => 800, method => 'DELETE' });
	my $cancel = begin_statement("SELECT state FROM cs_cancel_order('$id')");
	$sandbox->wait_for_requests(1, method => 'DELETE');
	is($node->safe_psql('postgres', "SELECT cs_order_status('$id', '0')"), $state, "an order is seen to be $shown before the answer to its cancellation");
	like(end_of($cancel), $state eq 'cancelled' ? qr/^cancelled$/ : qr/^PA\d{3}/, 'who cancels it is told');
	is(state_of($id), $state, 'it stays what it is');
}
$sandbox->no_faults;

# ---- cancelled in the queue, while its caller waits ----

$sandbox->forget;
$sandbox->faults({ action => 'rate_limited', retry_after => 3, @posts[0, 1], path => '/orders$', times => 1 });
my $create = begin_statement("SELECT state FROM cs_create_order($content, 'called')");
$sandbox->wait_for_requests(1, @posts);
wait_for_state($node, 'called', 'queued');
is($node->safe_psql('postgres', q{SELECT state FROM cs_cancel_order('called')}), 'cancelled', 'an order that waits for its next try is cancelled');
like(end_of($create), qr/^PA012/, 'who called for it is told');

# ---- cancelled while it is on the wire, while its caller waits ----

$sandbox->forget;
$sandbox->faults({ action => 'hang_after', @posts[0, 1], path => '/orders$', times => 1 });
$create = begin_statement("SELECT state FROM cs_create_order($content, 'called, then not wanted')");
$sandbox->wait_for_requests(1, @posts);
my $cancel = begin_statement(q{SELECT state FROM cs_cancel_order('called, then not wanted')});
like(end_of($create), qr/^PA012: the order with this external id is being cancelled/, 'who called for an order that is not to stay does not take it for placed');
is(end_of($cancel), 'cancelled', 'it is cancelled');

# ---- asked for again while it is being cancelled ----

# What the client is told: its warnings and errors.
sub said
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);

	return join '; ', $err =~ /((?:WARNING|ERROR): +[^\n]*|HINT: +[^\n]*)/g;
}

$sandbox->forget;
$sandbox->faults({ action => 'hang_after', @posts[0, 1], path => '/orders$', times => 1 });
$node->safe_psql('postgres', "SELECT cs_enqueue_order($content, 'unwanted')");
$sandbox->wait_for_requests(1, @posts);
$cancel = begin_statement(q{SELECT state FROM cs_cancel_order('unwanted')});
wait_for($node, q{SELECT cancel_requested_at IS NOT NULL FROM cs_internal.orders WHERE external_id = 'unwanted'});
like(said("SELECT cs_create_order($content, 'unwanted')"), qr/PA012: the order with this external id is being cancelled/, 'who calls for an order that is to be cancelled does not get it');
like(said("SELECT cs_enqueue_order($content, 'unwanted')"),
	qr/WARNING.*"unwanted" on server "hub" is being cancelled and is not queued again.*Once it is cancelled/, 'and who queues it is warned');
is(end_of($cancel), 'cancelled', 'it is cancelled as soon as its outcome is known');

# The worker has not yet seen what became of its caller.
my $caller = begin_statement("BEGIN; SELECT cs_create_order($content, 'called, cancelled'); SELECT pg_sleep(60)");
wait_for_state($node, 'called, cancelled', 'placed');
is($node->safe_psql('postgres', q{SELECT state FROM cs_cancel_order('called, cancelled')}), 'cancelled', 'an order is cancelled while its caller is undecided');
like(said("SELECT cs_enqueue_order($content, 'called, cancelled')"), qr/^WARNING.*is cancelled and is not queued again/, 'who queues it is warned, as if the caller had committed');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'});
end_of($caller);

unlike(slurp_file($node->logfile), qr/could not record/, 'every answer could be recorded');

# ---- locked by a transaction that has not ended, which may wait for who waits here ----

my $locked = qr/^55P03: the order is being changed by another transaction that has not ended/;
like(end_of(begin_statement("SELECT cs_create_order($content, 'own'); SELECT cs_enqueue_order($content, 'own'); SELECT cs_order_status('own', '0')")),
	$locked, 'who asks for an order that he has changed himself does not wait for ever');

$sandbox->forget;
$sandbox->faults({ action => 'delay', ms => 800, @posts[0, 1], path => '/orders$', times => 1 });
$caller = begin_statement("SELECT cs_create_order($content, 'shared')");
$sandbox->wait_for_requests(1, @posts);
my $other = begin_statement("BEGIN; SELECT cs_enqueue_order($content, 'shared'); SELECT pg_sleep(60)");
like(end_of($caller), $locked, 'nor does who calls for an order that another session keeps');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'});
end_of($other);
is($node->safe_psql('postgres', "SELECT state FROM cs_create_order($content, 'shared')"), 'placed', 'afterwards he gets it');
is($sandbox->count(@posts), 1, 'it was sent once');

$sandbox->faults({ action => 'rate_limited', retry_after => 2, @posts[0, 1], path => '/orders$', times => 1 });
$caller = begin_statement("SELECT cs_create_order($content, 'kept')");
wait_for_state($node, 'kept', 'queued');
$other = begin_statement("BEGIN; SELECT cs_enqueue_order($content, 'kept'); SELECT pg_sleep(60)");
like(end_of($caller), $locked, 'nor for one that waits for its next try');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'});
end_of($other);
is($node->safe_psql('postgres', "SELECT state FROM cs_create_order($content, 'kept')"), 'placed', 'afterwards he gets it');
done_testing();
