#!/usr/bin/perl
#
# An order that waits for the budget of its account is queued, not on its way: a
# crash leaves no doubt about it, whoever wanted it.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('budgeted', conf => "restart_after_crash = on\ncupsource.rate_limit_wait = '2min'\ncupsource.rollback_grace = '500ms'\n");
create_accounts($node, $sandbox, only => [qw(shop_v1)], options => { rate_limit => 3, poll_interval => '1d' });

my @posts = (method => 'POST', path => '/v1/orders');

sub order
{
	my ($function, $external_id) = @_;

	return qq{SELECT cs_${function}_order('[{"sku": "CS-8OZ-ECO", "quantity": 1000}]', '{"line1": "1 Way", "city": "Portland",
		"state": "OR", "postal_code": "97201"}', '$external_id', '{"currency": "USD"}', 'shop_v1')};
}

sub states
{
	my ($like) = @_;

	return $node->safe_psql('postgres', qq{SELECT string_agg(state || ' ' || n, ', ' ORDER BY state) FROM
		(SELECT state, count(*) AS n FROM cs_orders WHERE external_id LIKE '$like' GROUP BY state) AS s});
}

sub wait_for_placed
{
	my ($like, $count) = @_;

	wait_for($node, qq{SELECT count(*) = $count FROM cs_orders WHERE external_id LIKE '$like' AND state = 'placed'});
	return;
}

# With SIGKILL the postmaster restarts all processes, and the budget's log is gone.
sub crash
{
	my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'cupsource worker'});

	kill 'KILL', $pid;
	wait_for($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	return;
}

$node->safe_psql('postgres', join '; ', map { order('enqueue', "bulk-$_") } 1 .. 8);
wait_for_placed('bulk-%', 3);
is(states('bulk-%'), 'placed 3, queued 5', 'what finds no place in the budget stays in the queue');
is($node->safe_psql('postgres', q{SELECT max(attempts) || ' ' || count(*) FROM cs_orders JOIN cs_order_events USING (server, external_id)
	WHERE state = 'queued'}), '0 5', 'and its history says nothing else');
crash();
wait_for_placed('bulk-%', 6);
is(states('bulk-%'), 'placed 6, queued 2', 'the worker is killed: nothing is in doubt');

my $caller = $node->background_psql('postgres', on_error_stop => 0);
$caller->query_until(qr/asked/, '\echo asked' . "\n" . order('create', 'called') . ";\n");
wait_for($node, q{SELECT count(*) = 1 FROM cs_orders WHERE external_id = 'called'});
is(states('called'), 'queued 1', 'a caller\'s order waits in the queue as well');
crash();
wait_for($node, q{SELECT state = 'cancelled' FROM cs_orders WHERE external_id = 'called'});
is($node->safe_psql('postgres', q{SELECT string_agg(type, ' ' ORDER BY id) FROM cs_order_events WHERE external_id = 'called'}),
	'queued rolled_back cancelled', 'and is given up with the transaction that wanted it');
wait_for_placed('bulk-%', 8);
is($sandbox->count(@posts), 8, 'each of the others was sent once');
eval { $caller->quit };

# Whoever is not patient enough is told so, and nothing is left over.
$node->safe_psql('postgres', order('create', 'last'));
is(states('last'), 'placed 1', 'the last place of the minute');
$node->append_conf('postgresql.conf', q{cupsource.rate_limit_wait = '1s'});
$node->reload;
wait_for($node, q{SELECT setting = '1000' FROM pg_settings WHERE name = 'cupsource.rate_limit_wait'});
is(query_state($node, order('create', 'too late')), 'PA010', 'beyond what may be waited a caller is told');
is(states('too late'), 'failed 1', 'that his order is not made');
is($sandbox->count(@posts), 9, 'and it is not');

# Nor of whoever leaves before there is a place, though nothing else has the worker look.
$node->append_conf('postgresql.conf', q{cupsource.rate_limit_wait = '2min'});
$node->reload;
wait_for($node, q{SELECT setting = '120000' FROM pg_settings WHERE name = 'cupsource.rate_limit_wait'});
for my $left (1, 2)
{
	wait_for($node, q{SELECT count(*) = 0 FROM cs_internal.orders WHERE caller_xids IS NOT NULL});
	is(query_state($node, q{SET statement_timeout = '1s'; } . order('create', "left-$left")), '57014', 'a caller leaves while its order waits for the budget');
	wait_for_state($node, "left-$left", 'cancelled');
}
is($sandbox->count(@posts), 9, 'which is given up, and not sent');

done_testing();
