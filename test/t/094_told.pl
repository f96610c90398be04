#!/usr/bin/perl
#
# What Cup Source v2's webhooks tell of an order while its partner is asked, and
# where it cannot be asked at all, whatever they call the order.
use strict;
use warnings;
use CupsourceReplay;
use CupsourceTest;
use Digest::SHA qw(hmac_sha256_hex);
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partner = CupsourceReplay->start;
my $node = cupsource_node('told', conf => "cupsource.max_retries = 0\n");
create_account($node, 'shop', api => 'cupsource-v2', base_url => $partner->url . '/v2', poll_interval => '1min',
	secrets => { api_key => 'k', webhook_secret => 's' });

# The call that takes in an event of that id, type and data.
my $minute = 0;

sub receives
{
	my ($id, $type, $data) = @_;
	my $payload = sprintf '{"id": "%s", "type": "%s", "created_at": "2036-03-01T%02d:%02d:00Z", "data": {%s}}', $id, $type, int($minute / 60), $minute % 60, $data;

	$minute++;
	return "SELECT cs_receive_webhook('$payload', '" . hmac_sha256_hex($payload, 's') . "', 'shop')";
}

sub received { return $node->safe_psql('postgres', receives(@_)) }

my $form = q{'[{"product_id": "p", "quantity": 1}]', '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}'};

# An order that is placed as ord_NAME with the number N-NAME.
sub placed
{
	my ($name) = @_;

	$partner->answers('POST /v2/orders' => qq({"data": {"id": "ord_$name", "order_number": "N-$name", "status": "submitted"}}), status => 201);
	$node->safe_psql('postgres', "SELECT cs_create_order($form, '$name', server => 'shop')");
	return;
}

sub columns
{
	my ($name, @columns) = @_;

	return $node->safe_psql('postgres', 'SELECT concat_ws(' . join(', ', "' '", @columns) . ") FROM cs_orders WHERE external_id = '$name'");
}

sub state_of { return columns($_[0], qw(state remote_status)) }

# ---- while the partner is asked ----

placed('asked');
wait_for($node, q{SELECT caller_xids IS NULL FROM cs_internal.orders WHERE external_id = 'asked'});
$partner->clear;
$partner->answers('GET /v2/orders/ord_asked' => '{"data": {"id": "ord_asked", "status": "submitted"}}');
$partner->answers('GET /v2/orders/ord_asked' => '{"data": {"id": "ord_asked", "status": "shipped"}}');
my $gateway = $node->background_psql('postgres');
$gateway->query_safe(q{BEGIN; SELECT FROM cs_internal.orders WHERE external_id = 'asked' FOR NO KEY UPDATE});
my $asker = IPC::Run::start([ 'psql', '-XAt', '-d', $node->connstr('postgres'), '-c', q{SELECT cs_order_status('asked', '0')} ], '>', \my $status, '2>&1');
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'cupsource worker' AND wait_event_type = 'Lock'});
is_deeply([ $partner->lines ], ['GET /v2/orders/ord_asked'], 'the partner has answered, which cannot be recorded yet');
is($gateway->query_safe(receives('meanwhile', 'shipment.created', '"order_id": "ord_asked", "status": "shipped", "tracking_number": "1Z1"')), 'applied',
	'an event comes');
$gateway->query_safe('COMMIT');
$gateway->quit;
$asker->finish;
is($status, "placed\n", 'the answer does not know of it');
wait_for_state($node, 'asked', 'shipped');
is_deeply([ $partner->lines ], ['GET /v2/orders/ord_asked'], 'so the partner is asked again at once');

# ---- after looks that failed ----

# A new order at the partner that answers like that: its look fails, and the order tells why.
sub fails
{
	my ($name) = @_;

	placed($name);
	$partner->answers("GET /v2/orders/ord_$name" => '{"message": "maintenance"}', status => 500);
	is(query_state($node, "SELECT cs_order_status('$name', '0')"), 'PA500', 'a look fails');
	is(columns($name, qw(state error_message)), 'placed maintenance', 'and the order tells why');
	return;
}

fails('over');
is(received('over-1', 'order.updated', '"order_id": "ord_over", "status": "shipped"'), 'applied', 'an event');
is(columns('over', qw(state error_message)), 'shipped maintenance', 'that does not end it leaves this,');
is(received('over-2', 'order.delivered', '"order_id": "ord_over"'), 'applied', 'its end');
is(columns('over', qw(state poll_at error_code error_message)), 'delivered', 'does not');
fails('unasked');
$partner->answers('GET /v2/orders/ord_unasked' => '{"message": "no such way"}', status => 405);
is($node->safe_psql('postgres', q{SELECT cs_order_status('unasked', '0')}), 'placed', 'another one cannot be asked for at all now');
is(columns('unasked', qw(state poll_at error_code error_message)), 'placed', 'which leaves nothing either');

# ---- by other names ----

# A person may know an order by its number; what the partner calls it is seen when that is asked.
$partner->answers('POST /v2/orders' => 'what?', status => 201);
is(query_state($node, "SELECT cs_create_order($form, 'resolved', server => 'shop')"), 'PA009', 'an order of unknown outcome');
is(received('early', 'order.approved', '"order_id": "ord_9"'), 'waiting', 'its event');
is(received('number-9', 'order.updated', '"order_number": "CS-9", "status": "approved"'), 'waiting', 'and another one by its number');
$partner->answers('GET /v2/orders/CS-9' => '{"data": {"id": "ord_9", "order_number": "CS-9", "status": "approved"}}');
$node->safe_psql('postgres', q{SELECT cs_resolve_order('resolved', 'placed', 'CS-9')});
wait_for($node, q{SELECT remote_id = 'ord_9' FROM cs_orders WHERE external_id = 'resolved'});
is(columns('resolved', qw(state remote_status order_number)), 'approved approved CS-9', 'it is resolved by its number, and gets its id and its events');
is(received('late', 'order.shipped', '"order_id": "ord_9", "order_number": "CS-9"'), 'applied', 'as every later one');
is(state_of('resolved'), 'shipped shipped', 'which counts');

# What has an id of its own is no other order's for that.
placed('numbered');
is(received('own-id', 'order.shipped', '"id": "chg_77", "order_number": "N-numbered"'), 'applied', 'data with an id of their own and the order\'s number');
is(state_of('numbered'), 'shipped shipped', 'are the order\'s');

# By its number alone, before the order is known here.
is(received('too-early', 'order.approved', '"order_number": "N-early"'), 'waiting', 'an event that names by number an order that nobody knows');
wait_for($node, 'SELECT count(*) = 0 FROM cs_internal.webhook_events WHERE unseen');
placed('early');
is(state_of('early'), 'approved approved', 'is applied when it is placed');
$gateway = $node->background_psql('postgres');
is($gateway->query_safe('BEGIN; ' . receives('racing', 'order.approved', '"order_number": "N-race"')), 'waiting', 'one is not committed yet');
placed('race');
is(state_of('race'), 'placed submitted', 'while its order is placed');
$gateway->query_safe('COMMIT');
$gateway->quit;
wait_for_state($node, 'race', 'approved');
pass('after both it is applied');
$partner->answers('POST /v2/orders' => '{"data": {"id": "ord_nameless"}}', status => 201);
$node->safe_psql('postgres', "SELECT cs_create_order($form, 'nameless', server => 'shop')");
is(received('no-name', 'order.shipped', '"order_number": "N-nameless"'), 'waiting', 'where the partner tells the number later,');
is(received('name', 'production.started', '"order_id": "ord_nameless", "order_number": "N-nameless"'), 'applied', 'in another event,');
is(state_of('nameless'), 'shipped shipped', 'the order gets what waited for it');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_webhook_events WHERE outcome <> 'applied'}), '0', 'nothing waits any more');

# ---- where it cannot be asked ----

# An order for which the partner has no way to be asked.
sub deaf
{
	my ($name) = @_;

	placed($name);
	$partner->answers("GET /v2/orders/ord_$name" => '{"message": "no such way"}', status => 405, times => undef);
	$node->safe_psql('postgres', "SELECT cs_order_status('$name', '0')");
	return is(columns($name, 'poll_at'), '', "$name: nobody asks");
}

for (
	[ 'logistics', [ 'logistics.shipped', '"status": "shipped", "tracking_number": "1Z1", "carrier": "UPS"' ], 'shipped shipped' ],
	[ 'shipment', [ 'logistics.update', '"status": "in_transit", "tracking_number": "1Z1"' ],
		[ 'shipment.delivered', '"status": "delivered", "tracking_number": "1Z1"' ], 'delivered delivered' ],
	[ 'two', [ 'logistics.update', '"shipments": [{"id": "s1", "status": "in_transit"}, {"id": "s2", "status": "label_created"}]' ], 'shipped in_transit',
		[ 'shipment.delivered', '"shipment_id": "s1", "status": "delivered"' ], 'shipped in_transit',
		[ 'shipment.delivered', '"shipment_id": "s2", "status": "delivered"' ], 'delivered delivered' ],
	[ 'label', [ 'shipment.cancelled', '"shipment_id": "s1", "status": "cancelled"' ], 'placed submitted',
		[ 'shipment.delivered', '"shipment_id": "s2", "status": "delivered"' ], 'delivered delivered' ],
	[ 'proof', [ 'proof.rejected', '"proof_id": "x", "status": "rejected"' ], [ 'proof.approved', '"status": "approved"' ], 'placed submitted' ],
	[ 'line', [ 'order.item.cancelled', '"sku": "CS-1", "status": "cancelled"' ], 'placed submitted',
		[ 'order.item.delivered', '"sku": "CS-2", "status": "delivered"' ], 'shipped submitted' ],
	[ 'batch', [ 'milestone.reached', '"status": "in_production"' ], 'in_production in_production',
		[ 'orders/cancelled', '"status": "cancelled"' ], 'cancelled cancelled' ],
  )
{
	my ($name, @told) = @$_;
	my $n = 0;

	deaf($name);
	for my $told (@told)
	{
		if (ref $told) { received("$name-" . ++$n, $told->[0], qq("order_id": "ord_$name", $told->[1])); }
		else { is(state_of($name), $told, "$name: after $n events it is $told"); }
	}
}

# What was in doubt before that was known.
placed('doubted');
$partner->answers('GET /v2/orders/ord_doubted' => '{"message": "no such way"}', status => 405);
received('doubted-1', 'shipment.created', '"order_id": "ord_doubted", "tracking_number": "1Z1", "status": "shipped"');
wait_for_state($node, 'doubted', 'shipped');
pass('an event for which the partner was to be asked counts when it turns out that it cannot be');

$node->stop;
done_testing();
