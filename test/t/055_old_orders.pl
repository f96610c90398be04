#!/usr/bin/perl
#
# CustomHub keeps the answer to an external id for 90 days.  An order that was
# first sent long before is looked up before it is sent again.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('old', conf => "cupsource.max_retries = 0\n");
create_accounts($node, $sandbox, only => [qw(hub)], options => { rate_limit => 0, poll_interval => '1d' });

my @posts = (method => 'POST', path => '/api/v1/orders');
my @lookups = (method => 'GET', path => '/api/v1/orders');

# An order that was sent so many days ago, and since then waits for another try.
# 'fault' is what became of its first request.
sub sent_long_ago
{
	my ($external_id, $days, $fault) = @_;

	$sandbox->faults({ action => $fault, method => 'POST', path => '/orders$', times => 1 },
		{ action => 'rate_limited', retry_after => 3600, method => 'POST', path => '/orders$', times => 1 });
	$node->safe_psql('postgres', qq{SELECT cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
		'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}',
		'$external_id', NULL, 'hub')});
	wait_for($node, qq{SELECT state = 'queued' AND attempts = 2 FROM cs_orders WHERE external_id = '$external_id'});
	$node->safe_psql('postgres', "UPDATE cs_internal.orders SET sent_at = sent_at - interval '$days days' WHERE external_id = '$external_id'");
	$sandbox->advance_clock($days * 86400);
	$sandbox->forget;
	return;
}

# The pauses are over.
sub resume
{
	return $node->safe_psql('postgres', 'SELECT cs_resume()');
}

# How many requests: looked up, posted; how many orders there are.  The token has expired, which costs a 401 each.
sub seen
{
	my ($external_id) = @_;

	return join ' ', (map { $sandbox->count(@$_) - $sandbox->count(@$_, status => 401) } \@lookups, \@posts),
	  scalar(my @orders = $sandbox->orders(external_id => $external_id));
}

# Within the time there is nothing to look up: the partner knows the same bytes.
sent_long_ago('79 days', 79, 'drop_after');
resume();
wait_for_state($node, '79 days', 'placed');
is(seen('79 days'), '0 1 1', 'an order of 79 days is sent again, and is the same');

# After it, a POST would be another order.
sent_long_ago('91 days', 91, 'drop_after');
resume();
wait_for_state($node, '91 days', 'placed');
is(seen('91 days'), '1 0 1', 'one of 91 days is looked up and found, and not sent');
is($node->safe_psql('postgres', q{SELECT remote_id, remote_status, total FROM cs_orders WHERE external_id = '91 days'}),
	join('|', ($sandbox->orders(external_id => '91 days'))[0]{id}, 'ApprovalPending', '10.38'), 'it is placed with what the list says of it');
is(($sandbox->requests(@lookups))[0]{query}{externalOrderId}, '91 days', 'it was asked for by its external id');
is($sandbox->count(@lookups, body => '.'), 0, 'and by nothing else: a GET has no body, which many a proxy refuses');

sent_long_ago('81 days', 81, 'drop_before');
resume();
wait_for_state($node, '81 days', 'placed');
is(seen('81 days'), '1 1 1', 'one that is not found is sent');
is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', attempt, status, failure), ', ' ORDER BY attempt) FROM cs_order_attempts
	WHERE external_id = '81 days'}), '1 connection_lost, 2 429 refused, 3 201 none', 'which is one attempt');

# What the look-up does not tell is not guessed.
sent_long_ago('unavailable', 91, 'drop_after');
$sandbox->faults({ action => 'status', status => 500, method => 'GET', path => '/orders$', times => 1 });
resume();
wait_for_state($node, 'unavailable', 'placed');
is(seen('unavailable'), '2 0 1', 'a look-up that fails is tried again, and nothing is sent meanwhile');

sent_long_ago('called for', 91, 'drop_after');
$sandbox->faults({ action => 'status', status => 500, method => 'GET', path => '/orders$' });
resume();
is(query_state($node, qq{SET statement_timeout = '20s'; SELECT cs_create_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
	'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}', 'called for', NULL, 'hub')}),
	'PA500', 'who calls for it does not wait as long as the partner cannot be asked');
$sandbox->no_faults;
resume();
wait_for_state($node, 'called for', 'placed');
is(seen('called for') =~ s/^\d+ //r, '0 1', 'it is found afterwards');

sent_long_ago('unfiltered', 91, 'drop_before');
$sandbox->faults({ action => 'body', method => 'GET', path => '/orders$', content_type => 'application/json', times => 3, text => '{"success": true,
	"data": {"orders": [{"orderId": "o-1", "externalOrderId": "another"}], "page": 1, "pageSize": 100, "total": 1, "hasMore": false}}' });
resume();
wait_for_state($node, 'unfiltered', 'uncertain');
is(seen('unfiltered'), '1 0 0', 'a list of others does not show that it is there, or that it is not');
$sandbox->no_faults;
$node->safe_psql('postgres', q{SELECT cs_resolve_order('unfiltered', 'retry')});
wait_for_state($node, 'unfiltered', 'placed');
is(seen('unfiltered'), '2 1 1', 'a person who knows better has it looked up again, and sent');

# The worker ends while it looks.
sent_long_ago('interrupted', 91, 'drop_after');
$sandbox->faults({ action => 'hang', method => 'GET', path => '/orders$', times => 1 });
resume();
$sandbox->wait_for_requests(1, @lookups);
$node->stop('immediate');
$node->start;
wait_for_state($node, 'interrupted', 'placed');
is(seen('interrupted'), '2 0 1', 'after a crash it is looked up again');

done_testing();
