#!/usr/bin/perl
#
# That a request may have arrived is not forgotten: not when the next one
# cannot be sent, and not when the order is to be cancelled meanwhile.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('unknown', conf => <<'END_CONF');
cupsource.max_retries = 1
cupsource.order_timeout = '2s'
cupsource.rollback_grace = '1s'
END_CONF
create_accounts($node, $sandbox, only => [qw(shop_v1 hub)], options => { rate_limit => 0, poll_interval => '1d' });

my %order = (
	shop_v1 => q{'[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way", "city": "Portland", "state": "OR",
	  "postal_code": "97201"}', 'EXTERNAL', '{"currency": "USD"}', 'shop_v1'},
	hub => q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn",
	  "state": "NY", "postal_code": "11201", "country": "US"}', 'EXTERNAL', NULL, 'hub'});
my %api = (shop_v1 => 'cupsource-v1', hub => 'customhub-v1');

sub order
{
	my ($function, $server, $external_id) = @_;

	return "SELECT $function(" . $order{$server} =~ s/EXTERNAL/$external_id/r . ');';
}

sub posts
{
	my ($server) = @_;

	return (api => $api{$server}, method => 'POST', path => '.*/orders');
}

sub state_of
{
	my ($external_id) = @_;

	return $node->safe_psql('postgres', "SELECT state FROM cs_orders WHERE external_id = '$external_id'");
}

# A session that stays open, so that what it waits for can be steered.
sub begin
{
	my ($sql) = @_;
	my %session = (in => "\\set VERBOSITY verbose\n$sql\n", out => '', err => '');

	$session{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$session{run}->pump_nb;
	return \%session;
}

sub finish
{
	my ($session) = @_;

	$session->{run}->finish;
	return $session;
}

# ---- the second request cannot be sent ----

$sandbox->faults({ action => 'hang_after', method => 'POST', path => 'orders$', times => 1 });
my $caller = begin(order('cs_create_order', 'hub', 'lost-answer'));
$sandbox->wait_for_requests(1, posts('hub'));
$node->safe_psql('postgres', q{ALTER SERVER hub OPTIONS (SET base_url 'http://127.0.0.1:1')});
finish($caller);
like($caller->{err}, qr/ERROR: +PA009: it is unknown whether order "lost-answer" was placed/,
	'a caller whose first request may have arrived is told so, whatever became of the second');
like($caller->{err}, qr/DETAIL: +An earlier request may have arrived; the last one failed:/, 'with both');
isnt(state_of('lost-answer'), 'failed', 'and the order, which the partner has, has not failed');
$node->safe_psql('postgres', "ALTER SERVER hub OPTIONS (SET base_url '" . $sandbox->url . "')");
wait_for_state($node, 'lost-answer', 'cancelled');
is(join(' ', map { $_->{state} } $sandbox->orders(api => 'customhub-v1')), 'Cancelled',
	'it is cancelled there as well, because its transaction rolled back');

# ---- cancelled while the partner may have it ----

# Unavailable, after it was processed: the next request is put off.
$sandbox->reset;
$sandbox->faults(
	{ action => 'status_after', status => 503, method => 'POST', path => 'orders$', times => 1 },
	{ action => 'rate_limited', retry_after => 2, method => 'POST', path => 'orders$', times => 1 });
$node->safe_psql('postgres', order('cs_enqueue_order', 'hub', 'unavailable'));
$sandbox->wait_for_requests(2, posts('hub'));
wait_for($node, q{SELECT state = 'queued' AND attempts = 2 FROM cs_orders WHERE external_id = 'unavailable'});
is($node->safe_psql('postgres', q{SELECT state FROM cs_cancel_order('unavailable')}), 'cancelled',
	'an order that a 503 may hide is cancelled');
is(join(' ', map { $_->{state} } $sandbox->orders(api => 'customhub-v1')), 'Cancelled', 'there as well');

# The next request is further away than anybody waits.
$sandbox->reset;
$sandbox->faults(
	{ action => 'status_after', status => 503, method => 'POST', path => 'orders$', times => 1 },
	{ action => 'rate_limited', retry_after => 3600, method => 'POST', path => 'orders$', times => 1 });
$node->safe_psql('postgres', order('cs_enqueue_order', 'hub', 'far-from-known'));
wait_for($node, q{SELECT state = 'queued' AND attempts = 2 FROM cs_orders WHERE external_id = 'far-from-known'});
my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSET statement_timeout = '30s'; SELECT cs_cancel_order('far-from-known')");
like($err, qr/ERROR: +PA010: .* the partner has asked for a pause\n.*HINT: +It is tried again until it is known whether the order was placed, and cancelled then\./s,
	'who cancels an order that a 503 may hide does not wait for an hour');
$node->safe_psql('postgres', q{SELECT cs_resume('hub')});
wait_for_state($node, 'far-from-known', 'cancelled');
is(join(' ', map { $_->{state} } $sandbox->orders(api => 'customhub-v1')), 'Cancelled', 'but it is cancelled then');

# ---- given up while the partner may have it, and wanted after all ----

$sandbox->reset;
$sandbox->faults(
	{ action => 'hang_after', method => 'POST', path => 'orders$', times => 1 },
	{ action => 'rate_limited', retry_after => 4, method => 'POST', path => 'orders$', times => 1 });
is(query_state($node, q{SET statement_timeout = '500ms'; } . order('cs_create_order', 'hub', 'came-back')),
	'57014', 'a caller leaves while the partner may have its order');
wait_for($node, q{SELECT state = 'queued' AND cancel_requested_at IS NOT NULL FROM cs_internal.orders WHERE external_id = 'came-back'});
is($node->safe_psql('postgres', order('cs_create_order', 'hub', 'came-back') =~ s/SELECT/SELECT state FROM/r), 'placed',
	'who comes back for an order that was to be cancelled gets it');
is(join(' ', map { $_->{state} } $sandbox->orders(api => 'customhub-v1')), 'ApprovalPending', 'and keeps it');
is(state_of('came-back'), 'placed', 'here as well');

# ---- called for while it waits for a try that is far away ----

$sandbox->reset;
$node->safe_psql('postgres', order('cs_enqueue_order', 'hub', 'far-away'));
wait_for_state($node, 'far-away', 'placed');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET state = 'queued', next_attempt_at = now() + interval '1 h',
	remote_id = NULL, poll_at = NULL WHERE external_id = 'far-away'});
is($node->safe_psql('postgres', order('cs_create_order', 'hub', 'far-away') =~ s/SELECT/SELECT state FROM/r), 'placed',
	'who calls for an order does not wait for the time of its next try');

$sandbox->reset;
$sandbox->faults({ action => 'rate_limited', retry_after => 3600, method => 'POST', path => 'orders$', times => 1 });
is(query_state($node, order('cs_create_order', 'hub', 'turned-away')), 'PA429', 'nor for an hour that the partner asks for');
is(query_state($node, order('cs_create_order', 'hub', 'turned-away')), 'PA010', 'and asked again neither');
is($sandbox->count(posts('hub')), 1, 'one request was sent');
is(state_of('turned-away'), 'failed', 'the order was never placed');
$node->safe_psql('postgres', q{SELECT cs_resume('hub')});

# Cancelled while it is turned away for longer than its caller would wait.
$sandbox->reset;
$sandbox->settings(latency_ms => 1000);
$sandbox->faults({ action => 'rate_limited', retry_after => 3600, method => 'POST', path => 'orders$', times => 1 });
$caller = begin(order('cs_create_order', 'hub', 'both'));
$sandbox->wait_for_requests(1, posts('hub'));
is($node->safe_psql('postgres', q{SELECT state FROM cs_cancel_order('both')}), 'cancelled', 'an order that is turned away can be cancelled');
finish($caller);
like($caller->{err}, qr/ERROR: +PA012: the order was cancelled before it was sent/, 'and its caller is told that, not that it is tried again');
$sandbox->settings(latency_ms => 0);
$node->safe_psql('postgres', q{SELECT cs_resume('hub')});

# ---- queued, then called in vain ----

$sandbox->reset;
$node->safe_psql('postgres', q{ALTER SERVER hub OPTIONS (SET base_url 'http://127.0.0.1:1')});
$node->safe_psql('postgres', order('cs_enqueue_order', 'hub', 'queued-first'));
is(query_state($node, order('cs_create_order', 'hub', 'queued-first')), 'PA002', 'who calls for a queued order and loses patience is told why');
is(state_of('queued-first'), 'queued', 'but it stays queued, because that was committed');
$node->safe_psql('postgres', "ALTER SERVER hub OPTIONS (SET base_url '" . $sandbox->url . "'); SELECT cs_resume('hub')");
wait_for_state($node, 'queued-first', 'placed');

# ---- called in vain, then queued under the same external id ----

for my $rolled_back (0, 1)
{
	my $id = "queued-after-all-$rolled_back";

	$sandbox->reset;
	$sandbox->faults({ action => 'hang_after', method => 'POST', path => 'orders$', times => 1 });
	is(query_state($node, q{SET statement_timeout = '500ms'; } . order('cs_create_order', 'hub', $id)), '57014', 'a caller leaves');
	$node->safe_psql('postgres', 'BEGIN; ' . order('cs_enqueue_order', 'hub', $id) . ($rolled_back ? 'ROLLBACK' : 'COMMIT'));
	wait_for($node, qq{SELECT state NOT IN ('queued', 'sending', 'cancelling') AND caller_xids IS NULL
		FROM cs_internal.orders WHERE external_id = '$id'});
	is(state_of($id), $rolled_back ? 'cancelled' : 'placed', $rolled_back ? 'what it queues instead and rolls back is cancelled' :
		'what it queues instead and commits is kept');
	is(join(' ', map { $_->{state} } $sandbox->orders(api => 'customhub-v1')), $rolled_back ? 'Cancelled' : 'ApprovalPending',
		'there as well');
}

# Too late: it has been cancelled, there as well.
$sandbox->reset;
is(query_state($node, 'BEGIN; ' . order('cs_create_order', 'hub', 'too-late') . 'SELECT 1/0'), '22012', 'a transaction rolls back');
wait_for_state($node, 'too-late', 'cancelled');
is(query_state($node, order('cs_enqueue_order', 'hub', 'too-late')), 'PA012', 'what was cancelled because of that cannot be queued any more');

# It certainly was not placed: it is sent now.
$node->safe_psql('postgres', q{ALTER SERVER hub OPTIONS (SET base_url 'http://127.0.0.1:1')});
is(query_state($node, order('cs_create_order', 'hub', 'unreachable')), 'PA002', 'a call that does not reach the partner fails');
is(state_of('unreachable'), 'failed', 'and so does its order');
$node->safe_psql('postgres', "ALTER SERVER hub OPTIONS (SET base_url '" . $sandbox->url . "')");
$node->safe_psql('postgres', order('cs_enqueue_order', 'hub', 'unreachable'));
wait_for_state($node, 'unreachable', 'placed');
is(join(' ', map { $_->{external_id} } grep { $_->{state} ne 'Cancelled' } $sandbox->orders(api => 'customhub-v1')), 'unreachable',
	'queued, it is sent again');

# ---- refused to somebody who may not ask, after an answer was lost ----

$sandbox->reset;
$sandbox->faults(
	{ action => 'drop_after', method => 'POST', path => 'orders$', times => 1 },
	{ action => 'status', status => 403, method => 'POST', path => 'orders$', times => 1 });
$node->safe_psql('postgres', order('cs_enqueue_order', 'hub', 'forbidden'));
wait_for_state($node, 'forbidden', 'placed');
is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', attempt, status, failure), ', ' ORDER BY attempt) FROM cs_order_attempts
	WHERE external_id = 'forbidden'}), '1 connection_lost, 2 403 refused, 3 201 none', 'a refusal that says nothing of the order does not end it');
is(scalar(my @forbidden = $sandbox->orders(api => 'customhub-v1')), 1, 'and it is there once');

# ---- not wanted any more while it waits to be sent again, at a partner that cannot cancel ----

my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'cupsource worker'};

# The first answer is lost, and so far nobody knows whether the order is there; a second request is turned away.
sub lose
{
	my ($external_id, $action, $then) = @_;

	$sandbox->reset;
	$sandbox->faults(
		{ action => $action, method => 'POST', path => 'orders$', times => 1 },
		{ action => 'rate_limited', retry_after => 3600, method => 'POST', path => 'orders$', times => 1 });
	$node->safe_psql('postgres', order('cs_enqueue_order', 'shop_v1', $external_id));
	if ($then)
	{
		wait_for_state($node, $external_id, 'uncertain');
		$node->safe_psql('postgres', "SELECT cs_resolve_order('$external_id', '$then')");
	}
	wait_for($node, "SELECT state = 'queued' AND attempts = 2 FROM cs_orders WHERE external_id = '$external_id'");
	return $node->safe_psql('postgres', $worker);
}

# Somebody has looked, and it is not there.
lose('looked-for', 'drop_before', 'retry');
is($node->safe_psql('postgres', q{SELECT state FROM cs_cancel_order('looked-for')}), 'cancelled', 'what a person has looked for in vain is cancelled');
is($sandbox->count(posts('shop_v1')), 2, 'and not sent for that');
$node->safe_psql('postgres', q{SELECT cs_resume('shop_v1')});

$sandbox->reset;
$sandbox->faults(
	{ action => 'drop_before', method => 'POST', path => 'orders$', times => 1 },
	{ action => 'status', status => 400, method => 'POST', path => 'orders$', times => 1 });
$node->safe_psql('postgres', order('cs_enqueue_order', 'shop_v1', 'refused'));
wait_for_state($node, 'refused', 'uncertain');
$node->safe_psql('postgres', q{SELECT cs_resolve_order('refused', 'retry')});
wait_for($node, q{SELECT state IN ('failed', 'uncertain') AND attempts = 2 FROM cs_orders WHERE external_id = 'refused'});
is(state_of('refused'), 'failed', 'nor does a refusal leave it in doubt any more');
(undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT cs_cancel_order('refused')");
like($err, qr/ERROR: +PA012: order "refused" is failed and cannot become cancelled\nHINT: +It was not placed, so there is nothing to cancel\./,
	'who cancels it is not sent to the partner');

# Nobody has looked: it is sent again by itself, until it is not wanted any more.
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (ADD retry_uncertain 'true')});
my $pid = lose('no-way-back', 'drop_after');
(undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT cs_cancel_order('no-way-back')");
like($err, qr/ERROR: +PA009: it is unknown whether order \d+ was placed\nDETAIL: +It is not wanted any more, but Cup Source .* cannot cancel orders, and an earlier request may have arrived\.\nHINT: +It may have been placed, so it is not sent again\. Look for it at the partner, then use cs_resolve_order\(\d+, 'placed', \.\.\.\), 'retry' or 'failed'\./,
	'who cancels what may be there is told to look for it');
is(state_of('no-way-back'), 'uncertain', 'it waits for that');
(undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT cs_cancel_order('no-way-back')");
like($err, qr/ERROR: +PA012: order "no-way-back" is uncertain and cannot become cancelled\nHINT: +Look for it at the partner, then use cs_resolve_order\(\d+, 'placed', \.\.\.\), 'retry' or 'failed'\./,
	'and so is who cancels it again');
is($node->safe_psql('postgres', $worker), $pid, 'the worker goes on');
is($sandbox->count(posts('shop_v1')), 2, 'and does not send it to know');
$node->safe_psql('postgres', q{SELECT cs_resume('shop_v1')});

$sandbox->reset;
$sandbox->faults(
	{ action => 'drop_after', method => 'POST', path => 'orders$', times => 1 },
	{ action => 'rate_limited', retry_after => 3600, method => 'POST', path => 'orders$', times => 1 });
is(query_state($node, order('cs_create_order', 'shop_v1', 'rolled-back')), 'PA009', 'a caller is told that nobody knows');
wait_for_state($node, 'rolled-back', 'uncertain');
is($sandbox->count(posts('shop_v1')), 2, 'after he has rolled back it is not sent again either');
$node->safe_psql('postgres', q{SELECT cs_resume('shop_v1')});

# Between that and his rollback_grace there is time to send it again.
$node->append_conf('postgresql.conf', "cupsource.rollback_grace = '1h'");
$node->reload;
$sandbox->reset;
$sandbox->faults(
	{ action => 'drop_after', method => 'POST', path => 'orders$', times => 1 },
	{ action => 'rate_limited', retry_after => 3600, method => 'POST', path => 'orders$', times => 1 });
is(query_state($node, order('cs_create_order', 'shop_v1', 'given-up')), 'PA009', 'a caller leaves');
$node->safe_psql('postgres', q{SELECT cs_resume('shop_v1'); } . order('cs_enqueue_order', 'shop_v1', 'beside'));
wait_for_state($node, 'beside', 'placed');
is($sandbox->count(posts('shop_v1')), 3, 'what he may not want, and sending it again would not tell, is not sent while he may come back');
is(state_of('given-up'), 'queued', 'it waits for him');
is($node->safe_psql('postgres', order('cs_create_order', 'shop_v1', 'given-up') =~ s/SELECT (.*);/SELECT state FROM $1/sr),
	'placed', 'and is sent when he does');
is($sandbox->count(posts('shop_v1')), 4, 'once');

done_testing();
