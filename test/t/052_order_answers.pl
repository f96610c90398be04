#!/usr/bin/perl
#
# Answers to orders that no document promises: what they are taken for, and
# that the order is neither lost nor doubled by them.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('answers', conf => "cupsource.order_timeout = '1s'\n");
create_accounts($node, $sandbox, only => [qw(shop_v1 hub)], options => { rate_limit => 0, poll_interval => '1d' });

my %form = (
	shop_v1 => q{'[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way", "city": "Portland", "state": "OR",
	  "postal_code": "97201"}', 'EXTERNAL', '{"currency": "USD"}', 'shop_v1'},
	hub => q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn",
	  "state": "NY", "postal_code": "11201", "country": "US"}', 'EXTERNAL', NULL, 'hub'});

sub enqueue
{
	my ($server, $external_id) = @_;

	return $node->safe_psql('postgres', 'SELECT state FROM cs_enqueue_order(' . $form{$server} =~ s/EXTERNAL/$external_id/r . ')');
}

# What is answered to the next requests that place an order.
sub answer
{
	my ($text, %more) = @_;

	$sandbox->forget;
	return $sandbox->faults({ action => 'body', method => 'POST', path => '/orders$', content_type => 'application/json',
		status => 201, text => $text, times => 1, %more });
}

sub posts { return $sandbox->count(method => 'POST', path => '.*/orders') }

sub columns
{
	my ($external_id, @columns) = @_;

	return $node->safe_psql('postgres', 'SELECT ' . join(', ', @columns) . " FROM cs_orders WHERE external_id = '$external_id'");
}

# ---- a refusal in an answer of success ----

my $refusal = '{"success": false, "error": {"code": "%s", "message": "said so"}}';

answer(sprintf($refusal, 'INSUFFICIENT_BALANCE'), status => 200);
enqueue('hub', 'refused');
wait_for_state($node, 'refused', 'failed');
is(columns('refused', qw(error_sqlstate error_message error_detail)),
	'PA402|said so|Server "hub", POST /api/v1/orders: HTTP status 200, error code INSUFFICIENT_BALANCE.',
	'a refusal counts as what the document says of its code, and tells the status that came');
is(posts(), 1, 'and is final');
is(query_state($node, q{SELECT cs_resolve_order('refused', 'retry')}), 'PA012', 'for its external id');
is($node->safe_psql('postgres', q{SELECT status, delivery FROM cs_order_attempts WHERE external_id = 'refused'}), '200|answered',
	'the attempt has the status that came');

answer(sprintf($refusal, 'NEVER_HEARD_OF'), status => 200);
enqueue('shop_v1', 'unheard');
wait_for_state($node, 'unheard', 'uncertain');
is(posts(), 1, 'a refusal with success and a code that nobody knows says nothing for certain');

# ---- another order than the one that was sent ----

my $other = '{"success": true, "data": {"orderId": "ord_1", "externalOrderId": "another", "status": "ApprovalPending"}}';

answer($other);
enqueue('hub', 'mine');
wait_for_state($node, 'mine', 'placed');
is(posts(), 2, 'an answer that shows another order is not taken for ours, which is asked for again');
is($node->safe_psql('postgres', q{SELECT string_agg(coalesce(error_message, delivery), '; ' ORDER BY attempt) FROM cs_order_attempts
	WHERE external_id = 'mine'}), 'the answer about order "mine" shows order "another"; answered', 'the journal has both answers');
is(join(' ', map { "$_->{external_id} $_->{state}" } $sandbox->orders(api => 'customhub-v1')), 'mine ApprovalPending', 'it is there once');

answer($other, times => 3);
enqueue('hub', 'never-mine');
wait_for_state($node, 'never-mine', 'uncertain');
is(posts(), 3, 'if that goes on, a person has to look');
is(columns('never-mine', 'error_message', 'error_detail', 'remote_id IS NULL'), 'it is unknown whether order "never-mine" was placed|'
	  . 'The request failed: the answer about order "never-mine" shows order "another"|t', 'who is told why');

# Asked about, and cancelled.
my $id = columns('mine', 'remote_id');
$sandbox->faults({ action => 'body', path => "/orders/$id\$", content_type => 'application/json', text => $other, times => 2 });
is(query_state($node, q{SELECT cs_order_status('mine', '0')}), 'PA006', 'what is said of another order is not taken for the state of this one');
is(columns('mine', qw(state remote_id)), "placed|$id", 'which stays as it was');
is(query_state($node, q{SELECT cs_cancel_order('mine')}), 'PA006', 'nor for its cancellation');
is(columns('mine', 'state'), 'cancelling', 'which goes on');

# ---- an identifier without end ----

my $long = 'x' x 1_000_000;

answer(qq({"data": {"id": "$long", "status": "submitted"}}));
enqueue('shop_v1', 'long');
wait_for_state($node, 'long', 'uncertain');
is(columns('long', qw(error_message error_detail remote_id raw)), 'it is unknown whether order "long" was placed|The request failed: malformed '
	  . 'answer from server "shop_v1": resource "created", row 1, field "id": an identifier of 1000000 bytes is too long||',
	'an order id of a megabyte is none, and is not stored');
$node->safe_psql('postgres', q{SELECT cs_resolve_order('long', 'placed', repeat('x', 1000))});
is(columns('long', 'state', 'length(remote_id)'), 'placed|1000', 'one of 1000 bytes is one');
answer(qq({"data": {"id": "$long"}}));
enqueue('shop_v1', 'long-2');
wait_for_state($node, 'long-2', 'uncertain');
is(query_state($node, q{SELECT cs_resolve_order('long-2', 'placed', repeat('x', 1001))}), '22001', 'one of 1001 is refused also from a person');
is(query_state($node, qq{SELECT cs_order_status('$long')}), 'PA404', 'and looking for one finds nothing');

# ---- told once ----

$sandbox->no_faults;
$sandbox->faults({ action => 'drop_after', method => 'POST', path => '/orders$', times => 1 });
enqueue('shop_v1', 'dropped');
wait_for_state($node, 'dropped', 'uncertain');
like(columns('dropped', qw(error_message error_detail)), qr/\Ait is unknown whether order "dropped" was placed\|The request failed: POST \/orders on /,
	'that an outcome is unknown is said once');

done_testing();
