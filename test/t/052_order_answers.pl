#!/usr/bin/perl
#
# Answers to orders that no document promises: what they are taken for, and
# that the order is neither lost nor doubled by them.
use strict;
use warnings;
use CupsourceTest;
use Digest::MD5 qw(md5_hex);
use POSIX qw(strftime);
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

# An id beside an error may be the request's.
my $n_denied = 0;

for my $denial (
	'"error": {"code": "MOQ_NOT_MET", "message": "said so"}',
	'"error": "said so"',
	'"error": true, "message": "said so"',
	'"error": 17, "message": "said so"',
	'"errors": ["said so"]',
	'"errors": {"items": ["said so"]}',
	'"success": 0, "message": "said so"',
	'"success": "false", "message": "said so"',
	'"success": false, "errors": [{"message": "said so"}]',
	'"status": "error", "message": "said so"',
	'"status": "fail", "message": "said so"',
  )
{
	my $id = 'denied-' . ++$n_denied;

	answer(qq({"id": "req_1", $denial}), status => 200);
	enqueue('shop_v1', $id);
	wait_for_state($node, $id, 'uncertain');
	is(posts() . ' ' . columns($id, 'remote_id IS NULL'), '1 t', "not taken for a placed order: $denial");
	like(columns($id, 'error_detail'), qr/said so/, 'and it is told why');
}
for my $success (
	'"error": null, "errors": []', '"error": "", "errors": {}', '"error": false', '"error": "0"', '"error": {"code": 0, "message": ""}',
	'"success": 1', '"success": "true"', '"success": "Order created."', '"success": true, "error": "none"')
{
	my $id = 'granted-' . ++$n_denied;

	answer(qq({"id": "ord_$n_denied", $success}));
	enqueue('shop_v1', $id);
	wait_for_state($node, $id, 'placed');
	is(columns($id, 'remote_id'), "ord_$n_denied", "taken for one: $success");
}

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

# ---- refused when it was sent again: the first answer was lost ----

# Every order there is under that external id, by its state.
sub at_partner { return join ' ', map { $_->{state} } $sandbox->orders(external_id => $_[0]) }

sub look_ups { return $sandbox->count(method => 'GET', path => '/api/v1/orders') }

# The first request is lost like that, the next is refused.
sub refuse_second
{
	my ($external_id, $lost, $status, $code, @more) = @_;

	$sandbox->forget;
	$sandbox->faults({ action => $lost, method => 'POST', path => '/orders$', times => 1 },
		{ action => 'status', status => $status, body => sprintf($refusal, $code), method => 'POST', path => '/orders$', times => 1 }, @more);
	return enqueue('hub', $external_id);
}

my $conflict = 'EXTERNAL_ORDER_ID_CONFLICT';

for ([ 409, $conflict ], [ 409, 'DUPLICATE_ORDER' ], [ 400, 'VALIDATION_ERROR' ], [ 402, 'INSUFFICIENT_BALANCE' ], [ 404, 'NOT_FOUND' ])
{
	my ($status, $code) = @$_;
	my $id = "there-$code";

	refuse_second($id, 'drop_after', $status, $code);
	wait_for_state($node, $id, 'placed');
	is(join(' ', posts(), look_ups(), at_partner($id)), '2 1 ApprovalPending', "$code for an order that may be there: it is looked up, and is");
	is(columns($id, 'remote_id', 'error_message IS NULL'), ($sandbox->orders(external_id => $id))[0]{id} . '|t', 'and is known by its id');
	is($node->safe_psql('postgres', qq{SELECT string_agg(concat_ws(' ', attempt, status, failure), ', ' ORDER BY attempt) FROM cs_order_attempts
		WHERE external_id = '$id'}), "1 connection_lost, 2 $status refused", 'each attempt is kept as it ended');
}

# The list is seconds behind.
my $none = { action => 'body', method => 'GET', path => '/orders$', times => 2,
	text => '{"success": true, "data": {"orders": [], "pagination": {"page": 1, "pageSize": 50, "totalCount": 0, "hasMore": false}}}' };
refuse_second('late', 'drop_after', 402, 'INSUFFICIENT_BALANCE', $none);
wait_for_state($node, 'late', 'placed');
is(join(' ', posts(), look_ups(), at_partner('late')), '2 3 ApprovalPending', 'one that is not to be seen at once is looked for again');

$node->safe_psql('postgres', q{ALTER SERVER hub OPTIONS (ADD concurrency '1')});
refuse_second('not-there', 'drop_before', 400, 'VALIDATION_ERROR');
$sandbox->wait_for_requests(2, method => 'GET', path => '/api/v1/orders');
enqueue('hub', "beside-$_") for 1 .. 3;
wait_for_state($node, "beside-$_", 'placed') for 1 .. 3;
is(columns('not-there', 'state'), 'sending', 'meanwhile others go out');
$node->safe_psql('postgres', q{ALTER SERVER hub OPTIONS (DROP concurrency)});
wait_for_state($node, 'not-there', 'failed');
is(join(' ', posts(), look_ups(), columns('not-there', 'error_sqlstate')), '5 5 PA400', 'if it is not there after all, the refusal counts');
is(query_state($node, q{SELECT cs_resolve_order('not-there', 'retry')}), 'PA012', 'and is final');

refuse_second('other-body', 'drop_before', 409, $conflict);
wait_for_state($node, 'other-body', 'uncertain');
is(join(' ', posts(), look_ups(), columns('other-body', 'error_sqlstate')), '2 5 PA009', 'but a conflict says that an order is there');

# What the look-up shows.
sub listed
{
	my ($external_id, $rows, @more) = @_;

	return refuse_second($external_id, 'drop_before', 409, $conflict, { action => 'body', method => 'GET', path => '/orders$',
		text => qq({"success": true, "data": {"orders": [$rows], "pagination": {"page": 1, "pageSize": 50, "totalCount": 2, "hasMore": false}}}), @more });
}

my $before = '{"orderId": "o-1", "externalOrderId": "another", "createdAt": "2099-01-01T00:00:00Z"}';

listed('unfiltered', qq($before, {"orderId": "o-2", "externalOrderId": "unfiltered", "createdAt": "2099-01-01T00:00:00Z"}));
wait_for_state($node, 'unfiltered', 'placed');
is(columns('unfiltered', 'remote_id'), 'o-2', 'where the partner overlooks the filter, ours is found among others');
listed('others', $before);
wait_for_state($node, 'others', 'uncertain');
is(posts(), 2, 'a list of others does not show that it is not there');
listed('earlier', '{"orderId": "o-3", "externalOrderId": "earlier", "createdAt": "2020-01-01T00:00:00Z"}');
wait_for_state($node, 'earlier', 'uncertain');
is(columns('earlier', 'error_sqlstate', 'remote_id IS NULL'), 'PA009|t', 'one that was there before the first request is not ours');

# The partner's clock is hours away from ours; its answers are dated by it.
$sandbox->advance_clock(-7200);
refuse_second('behind', 'drop_after', 409, $conflict);
wait_for_state($node, 'behind', 'placed');
is(columns('behind', 'remote_id'), ($sandbox->orders(external_id => 'behind'))[0]{id}, 'what was made now is ours, whatever the time is there');
$sandbox->advance_clock(2 * 7200);
listed('ahead', sprintf('{"orderId": "o-4", "externalOrderId": "ahead", "createdAt": "%s"}', strftime('%Y-%m-%dT%H:%M:%SZ', gmtime(time() + 3600))));
wait_for_state($node, 'ahead', 'uncertain');
is(columns('ahead', 'error_sqlstate', 'remote_id IS NULL'), 'PA009|t', 'and what was made an hour ago is not');
$sandbox->advance_clock(-7200);

listed('refused-look', '', status => 403);
wait_for_state($node, 'refused-look', 'uncertain');
is(columns('refused-look', qw(error_sqlstate error_code)), "PA009|$conflict", 'if it cannot be looked up, nobody knows');

# The worker ends while it looks.
refuse_second('interrupted', 'drop_after', 409, $conflict, { action => 'hang', method => 'GET', path => '/orders$', times => 1 });
$sandbox->wait_for_requests(1, method => 'GET', path => '/api/v1/orders');
$node->stop('immediate');
$node->start;
wait_for_state($node, 'interrupted', 'placed');
is(at_partner('interrupted'), 'ApprovalPending', 'after a crash it is sent again, and is the same');

# ---- a success that does not show the order ----

for ([ 202, '' ], [ 201, '{"success": true, "message": "created"}' ])
{
	my ($status, $text) = @$_;

	answer($text, status => $status, process => \1, times => 3);
	enqueue('hub', "unseen-$status");
	wait_for_state($node, "unseen-$status", 'placed');
	is(join(' ', posts(), look_ups(), at_partner("unseen-$status")), '3 1 ApprovalPending', "$status without the order: it is looked up");
	answer($text, status => $status, process => \1);
	enqueue('shop_v1', "shop-unseen-$status");
	wait_for_state($node, "shop-unseen-$status", 'uncertain');
	is(posts(), 1, 'where it cannot be, a person has to look');
}

# ---- sent elsewhere ----

# "See other" tells where the outcome of a POST is; partners say 302 for it, too.
for my $status (302, 303)
{
	$sandbox->forget;
	$sandbox->faults({ action => 'redirect', status => $status, process => \1, method => 'POST', path => '/orders$', times => 1 });
	enqueue('shop_v1', "see-$status");
	wait_for_state($node, "see-$status", 'uncertain');
	is(join(' ', posts(), columns("see-$status", 'error_sqlstate')), '1 PA009', "after a $status it may be there");

	$sandbox->forget;
	$sandbox->faults({ action => 'redirect', status => $status, process => \1, method => 'POST', path => '/orders$', times => 1 });
	enqueue('hub', "hub-see-$status");
	wait_for_state($node, "hub-see-$status", 'placed');
	is(join(' ', posts(), at_partner("hub-see-$status")), '2 ApprovalPending', 'which CustomHub tells, asked again');
}

# A gateway that gave up, as its client seemed to, or as its call of what is behind it was cancelled.
for my $status (408, 499)
{
	$sandbox->forget;
	$sandbox->faults({ action => 'status', status => $status, process => \1, method => 'POST', path => '/orders$', times => 1 });
	enqueue('shop_v1', "gave-up-$status");
	wait_for_state($node, "gave-up-$status", 'uncertain');
	is(join(' ', posts(), columns("gave-up-$status", 'error_sqlstate')), '1 PA009', "after a $status it may be there");

	$sandbox->forget;
	$sandbox->faults({ action => 'status', status => $status, process => \1, method => 'POST', path => '/orders$', times => 1 });
	enqueue('hub', "hub-gave-up-$status");
	wait_for_state($node, "hub-gave-up-$status", 'placed');
	is(join(' ', posts(), at_partner("hub-gave-up-$status")), '2 ApprovalPending', 'which CustomHub tells, asked again');
}
for my $status (301, 307, 308)
{
	$sandbox->forget;
	$sandbox->faults({ action => 'redirect', status => $status, method => 'POST', path => '/orders$', times => 1 });
	enqueue('shop_v1', "moved-$status");
	wait_for_state($node, "moved-$status", 'failed');
	is(join(' ', posts(), columns("moved-$status", 'error_sqlstate')), '1 PA008', "a $status says that it has to be sent elsewhere");
}

# ---- a cancellation that was not made ----

$sandbox->no_faults;
enqueue('hub', 'kept');
wait_for_state($node, 'kept', 'placed');
$id = columns('kept', 'remote_id');
for my $status (qw(Approved Shipped))
{
	$sandbox->faults({ action => 'body', method => 'DELETE', path => "/orders/$id\$", times => 1,
		text => qq({"success": true, "data": {"orderId": "$id", "status": "$status"}}) });
	is(query_state($node, q{SELECT cs_cancel_order('kept')}), 'PA012', "an answer that shows the order as $status is no cancellation");
	wait_for_state($node, 'kept', 'placed');
}
$sandbox->faults({ action => 'body', method => 'DELETE', path => "/orders/$id\$", times => 1,
	text => qq({"success": true, "data": {"orderId": "$id", "status": "ApprovalPending"}}) });
is(query_state($node, q{SELECT cs_cancel_order('kept')}), 'PA009', 'nor is one that shows it as waiting,');
is(columns('kept', 'state'), 'cancelling', 'which is asked for again');
for ([ '"status": "CancellationRequested"', 'PA009', 'one that calls it what nobody knows' ],
	[ '"orderId": "another", "status": "Cancelled"', 'PA006', 'one that shows another order' ])
{
	my ($fields, $sqlstate, $what) = @$_;

	$sandbox->faults({ action => 'body', method => 'DELETE', path => "/orders/$id\$", times => 1, text => qq({"success": true, "data": {$fields}}) });
	is(query_state($node, q{SELECT cs_cancel_order('kept')}), $sqlstate, "$what neither");
	is(columns('kept', 'state'), 'cancelling', 'nor does it end it');
}
is($node->safe_psql('postgres', q{SELECT state FROM cs_cancel_order('kept')}), 'cancelled', 'until it is made');
is(at_partner('kept'), 'Cancelled', 'there as well');

# What says no more than that it was done.
for ('{"success": true}', '{"success": true, "data": null}', '{"success": true, "data": []}', '{"success": true, "data": {"message": "Order cancelled"}}',
	'{"success": true, "data": {"status": "Canceled"}}')
{
	my $external_id = 'terse-' . md5_hex($_);

	$sandbox->no_faults;
	enqueue('hub', $external_id);
	wait_for_state($node, $external_id, 'placed');
	$sandbox->faults({ action => 'body', method => 'DELETE', path => '/orders/.*', process => \1, text => $_ });
	is($node->safe_psql('postgres', "SELECT state FROM cs_cancel_order('$external_id')"), 'cancelled', "$_ is a cancellation");
}
$sandbox->faults({ action => 'body', method => 'DELETE', path => '/orders/.*', text => '{"data": {}}' });
enqueue('hub', 'silent');
wait_for_state($node, 'silent', 'placed');
is(query_state($node, q{SELECT cs_cancel_order('silent')}), 'PA006', 'what does not even say that is none');

# ---- a cancellation whose answer is slower than that to a question ----

my $log_end = -s $node->logfile;
$sandbox->no_faults;
for my $answered (qw(late never))
{
	my $external_id = "overtaken-$answered";

	enqueue('hub', $external_id);
	wait_for_state($node, $external_id, 'placed');
	$sandbox->forget;
	$sandbox->faults({ method => 'DELETE', times => 1, $answered eq 'late' ? (action => 'delay', ms => 700) : (action => 'hang_after') });
	my $canceller = $node->background_psql('postgres', on_error_stop => 0);
	$canceller->query_until(qr/begun/, qq{\\echo begun
		SELECT state FROM cs_cancel_order('$external_id');\n});
	$sandbox->wait_for_requests(1, method => 'DELETE');
	is($node->safe_psql('postgres', qq{SELECT cs_order_status('$external_id', '0')}), 'cancelled', 'the partner shows an order as cancelled before it says so');
	is($canceller->query('SELECT 1'), "cancelled\n1", "who waits for its cancellation has it, if that is answered $answered");
	$canceller->quit;
}
unlike(slurp_file($node->logfile, $log_end), qr/could not record the answer/, 'and the answer is recorded');

# ---- fields that cannot be read, in the answer about an order ----

$sandbox->no_faults;
my $n = 0;

# What becomes of an order that is answered so.
sub followed
{
	my ($fields) = @_;
	my $external_id = 'odd-' . ++$n;

	enqueue('hub', $external_id);
	wait_for_state($node, $external_id, 'placed');
	my $id = columns($external_id, 'remote_id');
	$sandbox->faults({ action => 'body', method => 'GET', path => "/orders/$id\$", content_type => 'application/json',
		text => qq({"success": true, "data": {"orderId": "$id", $fields}}) });
	return $node->safe_psql('postgres', "SELECT cs_order_status('$external_id', '0')") . '|' . columns($external_id, 'rejection_reason');
}

# The partner's events of that order.
sub events
{
	return $node->safe_psql('postgres', qq{SELECT string_agg(type, ' ' ORDER BY id) FROM cs_order_events
		WHERE external_id = 'odd-$n' AND source = 'remote' AND at > now() - interval '1 min'});
}

is(followed('"productionStatus": "Rejected", "rejection": {"reason": {"text": "bad"}}'), 'rejected|{"text":"bad"}', 'a reason that is no text is one nevertheless');
is(followed('"productionStatus": "Rejected", "rejection": "plain text"'), 'rejected|plain text', 'so is a rejection that is a text');
is(followed('"productionStatus": "Rejected", "events": [{"at": null, "type": "rejected"}, {"type": "held"}, {"at": "2026-05-18T10:00:05Z"}, 7]'), 'rejected|',
	'an event that cannot be read costs the order no news');
is(events(), 'rejected held', 'nor other events: one without a time happened when it was seen');
is(followed('"productionStatus": "Rejected", "events": {}, "shipments": "none", "computedCost": [], "createdAt": "soon", "lastShippedAt": 7'), 'rejected|', 'nor does anything else');

# ---- words that contradict each other ----

# The state that an order comes to by such an answer.
sub comes_to
{
	my ($fields) = @_;

	return (split /\|/, followed($fields))[0];
}

sub history
{
	return '"events": [' . join(', ', map {qq({"at": "2026-05-18T10:00:05Z", "type": "$_"})} @_) . ']';
}

my $pending = '"productionStatus": "ApprovalPending"';

is(comes_to(qq($pending, "status": "Cancelled")), 'cancelled', 'of two words the one that is further on counts');
is(comes_to(qq("productionStatus": "Shipped", "status": "Approved")), 'shipped', 'whichever it is');
is(comes_to(qq($pending, "status": "Progressing Shipment")), 'placed', 'one that nobody knows does not');
is(comes_to($pending . ', ' . history(qw(created cancelled))), 'cancelled', 'the history tells of an end');
is(comes_to('"productionStatus": "OnHold", ' . history('created', 'approved', 'in production', 'inspected')), 'in_production', 'and of progress');
is(comes_to('"productionStatus": "Approved", ' . history(qw(created rejected approved))), 'approved', 'unless it went on');
is(comes_to('"productionStatus": "Rejected", ' . history(qw(created approved))), 'rejected', 'or is behind');
is(comes_to('"productionStatus": "Approved", ' . history(qw(created approved shipped))), 'shipped', 'a shipment');
$id = columns("odd-$n", 'remote_id');
$sandbox->faults({ action => 'body', method => 'GET', path => "/orders/$id\$", content_type => 'application/json',
	text => qq({"success": true, "data": {"orderId": "$id", "productionStatus": "Approved"}}) });
is($node->safe_psql('postgres', "SELECT cs_order_status('odd-$n', '0')"), 'shipped', 'is not undone by an answer that leaves it out');

# An end is not undone, so the history alone tells of one only where nothing else says otherwise.
my $label = '{"at": "2026-05-18T11:00:00Z", "type": "%s", "shipmentId": "s1"}';

sub with_label
{
	my ($status, $type, @types) = @_;

	return comes_to(qq("productionStatus": "$status", ) . history(@types) =~ s/\]$/', ' . sprintf($label, $type) . ']'/er);
}

is(with_label('InProduction', 'cancelled', qw(created approved)), 'in_production', 'a label that was cancelled does not end the order,');
is(with_label('OnHold', 'cancelled', qw(created approved)), 'approved', 'whatever it is shown as,');
is(with_label('InProduction', 'rejected', qw(created approved shipped)), 'shipped', 'nor does a parcel that was refused,');
is(with_label('Approved', 'shipped', qw(created approved)), 'shipped', 'while one that was shipped tells that the order was');
for ('"lastShippedAt": "2026-05-19T11:34:00Z"', '"shipments": [{"shipmentId": "s0"}, {"shipmentId": "s1", "shippedAt": "2026-05-19T11:34:00Z"}]')
{
	is(comes_to(qq("productionStatus": "Approved", $_)), 'shipped', "$_ tells of a shipment as a list does");
}
is(comes_to('"productionStatus": "Approved", "shipments": [{"shipmentId": "s1", "trackingNumber": "9400111", "shippedAt": null}, {"shipmentId": "s2", "status": "Cancelled", '
	. '"shippedAt": "2026-05-19T11:34:00Z"}]'), 'approved', 'a label is no shipment');
is(comes_to('"productionStatus": "InProduction", ' . history(qw(created approved cancelled))), 'in_production', 'what is made was not cancelled');
is(comes_to('"productionStatus": "Approved", ' . history(qw(created approved rejected))), 'approved', 'and what is approved not rejected,');
is(comes_to('"productionStatus": "OnHold", ' . history(qw(created approved rejected))), 'rejected', 'unless nobody knows what it is');

# What does not show the order is seen.
enqueue('hub', 'unshown');
wait_for_state($node, 'unshown', 'placed');
$sandbox->faults({ action => 'body', method => 'GET', path => '/orders/.+', content_type => 'application/json', text => '{"success": true, "data": {}}' });
is(query_state($node, q{SELECT cs_order_status('unshown', '0')}), 'PA006', 'an answer without the order says nothing');
is(columns('unshown', qw(state error_sqlstate error_message)),
	'placed|PA006|malformed answer from server "hub": resource "order", row 1, field "orderId": required, but missing', 'and the order tells why');

# ---- refused before it was sent ----

$sandbox->no_faults;
$sandbox->revoke_tokens;
$sandbox->forget;
$sandbox->faults({ action => 'html', status => 422, path => '/api/PartnerAuthentication/auth', times => 1 });
enqueue('hub', 'unsent');
wait_for_state($node, 'unsent', 'failed');
is(columns('unsent', 'error_sqlstate'), 'PA401', 'credentials that are refused by any 4xx');
$node->safe_psql('postgres', q{SELECT cs_resolve_order('unsent', 'retry')});
wait_for_state($node, 'unsent', 'placed');
is(at_partner('unsent'), 'ApprovalPending', 'refuse no order for good');

# ---- told once ----

$sandbox->no_faults;
$sandbox->faults({ action => 'drop_after', method => 'POST', path => '/orders$', times => 1 });
enqueue('shop_v1', 'dropped');
wait_for_state($node, 'dropped', 'uncertain');
like(columns('dropped', qw(error_message error_detail)), qr/\Ait is unknown whether order "dropped" was placed\|The request failed: POST \/orders on /,
	'that an outcome is unknown is said once');

done_testing();
