# Webhooks of Cup Source v2: what is signed by the partner is stored once and
# applied to its order, whenever it comes; everything else is refused and
# changes nothing.  Signatures are made with the openssl command, payloads by
# hand; the sandbox's own come last.
use strict;
use warnings;

use CupsourceReplay;
use CupsourceTest;
use IPC::Open2;
use IPC::Run;
use JSON::PP ();
use MIME::Base64 qw(encode_base64);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'whsec_Zm9yIHRlc3Rz';
my $partner = CupsourceReplay->start;
my $node = cupsource_node('webhooks', conf => 'cupsource.max_retries = 0');

create_account($node, 'shop', api => 'cupsource-v2', base_url => $partner->url . '/v2',
	secrets => { api_key => 'cs_live_sk_8f7d6c5b4a3e2d1f', webhook_secret => $secret });

# The signature of a payload, in hexadecimal, by the openssl command.
sub signed
{
	my ($payload, $key) = @_;
	my ($hex, $err);

	IPC::Run::run([ 'openssl', 'dgst', '-sha256', '-mac', 'HMAC', '-macopt', 'key:' . ($key // $secret) ],
		'<', \$payload, '>', \$hex, '2>', \$err)
	  or die "openssl: $err";
	return $hex =~ s/.*= //sr =~ s/\s+//gr;
}

sub quoted
{
	my ($text) = @_;

	return 'NULL' unless defined $text;
	return "'" . ($text =~ s/'/''/gr) . "'";
}

# The bytes of a payload as a literal.
sub bytes
{
	return "'\\x" . unpack('H*', $_[0]) . "'::bytea";
}

# A signed payload is received: what comes of it.
sub received
{
	my ($payload) = @_;

	return $node->safe_psql('postgres', 'SELECT cs_receive_webhook(' . bytes($payload) . ', ' . quoted(signed($payload)) . ", 'shop')");
}

# The SQLSTATE of a call that is to fail.
sub refused
{
	my ($payload, $signature, $before) = @_;

	return query_state($node, ($before // '') . 'SELECT cs_receive_webhook(' . bytes($payload) . ', ' . quoted($signature) . ", 'shop')");
}

# All that a webhook could change.
sub everything
{
	return $node->safe_psql('postgres', q{
		SELECT md5(string_agg(t, ' ' ORDER BY t)) FROM (SELECT e::text FROM cs_internal.webhook_events AS e
		  UNION ALL SELECT o::text FROM cs_internal.orders AS o UNION ALL SELECT v::text FROM cs_internal.order_events AS v
		  UNION ALL SELECT s::text FROM cs_internal.shipments AS s) AS x (t)});
}

# An order that is placed as ord_NAME.
sub placed
{
	my ($name) = @_;

	$partner->answers('POST /v2/orders' => qq({"data": {"id": "ord_$name", "status": "submitted"}}), status => 201);
	$node->safe_psql('postgres', qq{SELECT cs_create_order('[{"product_id": "p", "quantity": 1}]', '{"line1": "1 Way", "city": "Portland",
		"state": "OR", "postal_code": "97201", "country": "US"}', '$name', server => 'shop')});
	return;
}

sub state_of
{
	my ($name) = @_;

	return $node->safe_psql('postgres', "SELECT concat_ws(' ', state, remote_status) FROM cs_orders WHERE external_id = '$name'");
}

#
# Signatures
#
my $body = '{"id": "evt_1", "type": "production.milestone", "note": "caf' . "\xc3\xa9" . ' /"}';
my $hex = signed($body);
my $base64 = encode_base64(pack('H*', $hex), '');

for (
	[ $hex, 't', 'hexadecimal' ], [ uc $hex, 't', 'in capitals' ], [ "sha256=$hex", 't', 'with its prefix' ], [ $base64, 't', 'base64' ],
	[ "sha256=$base64", 't', 'with its prefix' ], [ $base64 =~ s/=//r, 't', 'without padding' ], [ " $hex ", 't', 'with blanks around' ],
	[ signed($body, 'another'), 'f', 'another secret' ], [ signed("$body "), 'f', 'another payload' ],
	[ substr($hex, 0, 62), 'f', 'cut' ], [ $hex . '00', 'f', 'too long' ], [ '', 'f', 'empty' ], [ undef, 'f', 'none' ],
	[ "md5=$hex", 'f', 'another prefix' ],
  )
{
	my ($signature, $valid, $what) = @$_;

	is($node->safe_psql('postgres', 'SELECT cs_verify_signature(' . bytes($body) . ', ' . quoted($signature) . ", 'shop')"),
		$valid, "a signature: $what");
}
is($node->safe_psql('postgres', 'SELECT cs_verify_signature(' . quoted($body) . ', ' . quoted($hex) . ')'), 't', 'a payload as text');
is($node->safe_psql('postgres', "SELECT cs_verify_signature(payload => ''::bytea, signature => " . quoted(signed('')) . ')'), 't', 'an empty one');
$node->safe_psql('postgres', q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$node->safe_psql('latin', q{CREATE EXTENSION cupsource; CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');
	CREATE USER MAPPING FOR PUBLIC SERVER shop OPTIONS (api_key 'k', webhook_secret } . quoted($secret) . ')');
is($node->safe_psql('latin', q{SET client_encoding = 'UTF8'; SELECT cs_verify_signature(} . quoted($body) . ', ' . quoted($hex)
		. '), cs_receive_webhook(' . quoted($body) . ', ' . quoted($hex) . ')'),
	't|kept', 'text is signed in UTF-8, whatever the database\'s encoding');
is($node->safe_psql('latin', q{SELECT payload->>'note' = U&'caf\00e9 /' FROM cs_webhook_events}), 't', 'and stored in that');

#
# One event, once
#
placed('one');
$partner->clear;
my $event = '{"id": "evt_1", "type": "production.milestone", "created_at": "2036-03-01T10:00:00Z", "data": '
  . '{"order_id": "ord_one", "order_number": "CS-1", "status": "in_production", "milestone": "printing_started"}}';
is(received($event), 'applied', 'an event is applied to its order');
is(state_of('one'), 'in_production in_production', 'which is in production now');
is(fields($node, q{SELECT event_id, type, at, outcome, external_id, remote_id, remote_status, problem, payload->'data'->>'milestone' AS milestone
	FROM cs_webhook_events}), <<'END', 'and it is kept');
event_id: evt_1
type: production.milestone
at: 2036-03-01T10:00:00+00:00
outcome: applied
external_id: one
remote_id: ord_one
remote_status: in_production
milestone: printing_started
END
is(fields($node, q{SELECT source, type, by, at, detail->>'milestone' AS milestone FROM cs_order_events WHERE external_id = 'one' AND source = 'remote'}),
	"source: remote\ntype: production.milestone\nby: webhook\nat: 2036-03-01T10:00:00+00:00\nmilestone: printing_started\n", 'in the order\'s history, too');
is(journal($node, 'one') =~ s/production\.milestone ?//r =~ s/ $//r, 'queued sending placed in_production', 'with the state that it entered');
my $before = everything();
is(received($event), 'duplicate', 'delivered again it is a duplicate') for 1 .. 2;
is(received($event =~ s/in_production/shipped/r), 'duplicate', 'by its id, whatever it says');
is(everything(), $before, 'which changes nothing');
is_deeply([ $partner->lines ], [], 'and asks nobody');

#
# What is refused, and changes nothing
#
for (
	[ '28000', $event =~ s/evt_1/evt_2/r, signed($event), 'forged' ],
	[ '28000', $event, signed($event, 'whsec_guessed'), 'signed with another secret' ],
	[ '28000', substr($event, 0, 100), signed($event), 'truncated' ],
	[ '28000', "$event\n", signed($event), 'altered by a newline' ],
	[ '28000', $event, undef, 'without a signature' ], [ '28000', $event, '', 'with an empty one' ],
	[ '28000', $event, 'sha256=' . ('0' x 63) . 'g', 'with what is no signature' ],
	[ '22P02', substr($event, 0, 100), signed(substr $event, 0, 100), 'no JSON, although it is signed' ],
	[ '22P02', '[1]', signed('[1]'), 'no object' ], [ '22P02', '', signed(''), 'nothing' ],
	[ '22P02', '{"id": "a\u0000b"}', signed('{"id": "a\u0000b"}'), 'a NUL' ], [ '22P02', "{\"id\": \"\xff\"}", signed("{\"id\": \"\xff\"}"), 'not UTF-8' ],
	[ '22P02', '[' x 100, signed('[' x 100), 'nested' ],
	[ '22P02', '{"id": 1e99999999}', signed('{"id": 1e99999999}'), 'a number that jsonb cannot hold' ],
  )
{
	is(refused(@$_[ 1, 2 ]), $_->[0], "$_->[0]: $_->[3]");
}
my $large = '{"id": "evt_l", "x": "' . ('x' x 1048576) . '"}';
is(query_state($node, q{SELECT cs_receive_webhook('{"id": "evt_l", "x": "' || repeat('x', 1048576) || '"}', } . quoted(signed($large)) . ", 'shop')"),
	'54000', '54000: oversized');
is(refused($event, signed($event), 'BEGIN READ ONLY; '), '25006', 'in a read-only transaction');
is(query_state($node, q{SELECT cs_receive_webhook(NULL::text, 'x', 'shop')}), '22004', 'no payload');
is(refusal($node, q{SELECT cs_receive_webhook('{}', '00', 'shop')}), <<'END', 'said clearly, and without the secret');
ERROR:  28000: the signature of the webhook is not valid
DETAIL:  It is not the HMAC-SHA256 of this payload with a webhook secret of server "shop".
HINT:  The signature is over the body's bytes as they came: pass them on unchanged.
END
is(everything(), $before, 'nothing has changed');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cs_webhook_events'), '1', 'and nothing was kept');

#
# Other shapes of payloads, of types that no document knows
#
sub kept
{
	my ($payload, $columns) = @_;
	my $outcome = received($payload);

	return "$outcome\n" . fields($node, "SELECT $columns FROM cs_webhook_events ORDER BY received_at DESC LIMIT 1");
}

is(kept('{"event": "catalog.retired", "data": {"sku": "CS-1"}}', q{type, event_id, at = received_at AS at_receipt, outcome}),
	"kept\ntype: catalog.retired\nevent_id: sha256:" . $node->safe_psql('postgres', q{SELECT encode(sha256('{"event": "catalog.retired", "data": {"sku": "CS-1"}}'), 'hex')})
	  . "\nat_receipt: true\noutcome: kept\n", 'an unknown type, without id and time');
is(received('{"event": "catalog.retired", "data": {"sku": "CS-1"}}'), 'duplicate', 'the same bytes are the same event');
is(received('{"event": "catalog.retired", "data": {"sku":  "CS-1"}}'), 'kept', 'others are not');
is(kept('{"event_id": 77, "eventType": "order.shipped", "timestamp": 2100000000, "orderId": "ord_one"}', 'event_id, type, at, remote_id, remote_status'),
	"applied\nevent_id: 77\ntype: order.shipped\nat: 2036-07-18T13:20:00+00:00\nremote_id: ord_one\nremote_status: shipped\n",
	'camel case, seconds since 1970, a state in the type');
is(state_of('one'), 'shipped shipped', 'is applied');
is(kept('{"type": "order.shipped", "created_at": "2036-07-18T14:00:00Z", "data": {"object": {"id": "ord_one", "status": "shipped"}}}', 'remote_id, remote_status'),
	"applied\nremote_id: ord_one\nremote_status: shipped\n", 'the data of an event of an order may be the order');
is(kept('{"type": "parcel.shipped", "created_at": "2036-07-18T14:00:00Z", "data": {"id": "ord_one", "status": "lost"}}', 'outcome, remote_id'),
	"kept\noutcome: kept\n", 'but that of another is not');
is(kept('{"id": "evt_w", "type": 5, "created_at": "yesterday", "data": {"order_id": ["x"], "status": {"code": 1}, "tracking_number": {}}}', 'type, remote_id, problem'),
	qq{kept\nproblem: field "type": expected a string, got a number; field "at": expected a date and time in ISO 8601; }
	  . qq{field "remote_id": expected a string or an integer, got an array; field "status": expected a string, got an object; }
	  . qq{field "tracking_number": expected a string or an integer, got an object\n}, 'fields of a wrong type are left out, and said');
is(kept('{"id": "' . ('i' x 1001) . '", "data": {"order_id": "' . ('o' x 1001) . '"}}', 'length(event_id), remote_id, problem'),
	qq{kept\nlength: 71\nproblem: field "event_id": an identifier of 1001 bytes is too long; field "remote_id": an identifier of 1001 bytes is too long\n}, 'so are ids that no index holds');
is(kept('{"id": "evt_t", "created_at": "2036-07-19T00:00:00Z", "data": {"order_id": "ord_one", "shipments": [{"tracking_number": "' . ('t' x 3000) . '"}, {"id": ""}]}}', 'problem'),
	qq{applied\nproblem: field "tracking_number": an identifier of 3000 bytes is too long\n}, 'of parcels, too');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cs_shipments'), 0, 'which are none then');
is(kept('{"id": "evt_u", "type": "proof.review", "created_at": "2036-08-01T00:00:00Z", "data": {"order_id": "ord_one", "order_status": "proof_hold"}}', 'outcome'),
	"applied\noutcome: applied\n", 'a status that no document knows');
is(state_of('one'), 'shipped proof_hold', 'is kept as the partner\'s word');

#
# Parcels
#
sub logistics
{
	my ($id, $at, $more, $status) = @_;

	return qq({"id": "$id", "type": "logistics.update", "created_at": "$at", "data": {"order_id": "ord_parcel", "order_status": ")
	  . ($status // 'shipped') . qq(", $more}});
}
my $parcels = q{SELECT shipment_id, carrier, tracking_number, tracking_url, status, estimated_delivery, signature_required, shipped_at
	FROM cs_shipments WHERE external_id = 'parcel' ORDER BY shipment_id};
placed('parcel');
is(received(logistics('l2', '2036-03-02T00:00:00Z', '"tracking_number": "1Z1", "logistics_status": "in_transit", "estimated_delivery": "2036-03-05T00:00:00+02:00"')),
	'applied', 'a parcel is on its way');
is(received(logistics('l1', '2036-03-01T00:00:00Z', '"carrier": "UPS", "tracking_number": "1Z1", "logistics_status": "label_created", "tracking_url": "https://ups.example/1Z1"')),
	'applied', 'what was said before comes later');
is(fields($node, $parcels), <<'END', 'it adds to the parcel what was not said since');
shipment_id: 1Z1
carrier: UPS
tracking_number: 1Z1
tracking_url: https://ups.example/1Z1
status: in_transit
estimated_delivery: 2036-03-04T22:00:00+00:00
END
received(logistics('l3', '2036-03-03T00:00:00Z', '"shipments": [{"id": "s1", "trackingNumber": "1Z1", "status": "out_for_delivery", "signature_required": true},
	{"tracking_number": 99, "carrier": "DHL", "shipped_at": "2036-03-03T00:00:00Z"}, {"carrier": "nobody"}]'));
is(fields($node, $parcels), <<'END', 'a list of parcels; one that gets an id is the same parcel');
shipment_id: 99
carrier: DHL
tracking_number: 99
shipped_at: 2036-03-03T00:00:00+00:00

shipment_id: s1
carrier: UPS
tracking_number: 1Z1
tracking_url: https://ups.example/1Z1
status: out_for_delivery
estimated_delivery: 2036-03-04T22:00:00+00:00
signature_required: true
END
received(logistics('l4', '2036-03-02T12:00:00Z', '"tracking_number": "1Z1", "logistics_status": "delayed"'));
is($node->safe_psql('postgres', q{SELECT status, (SELECT last_shipped_at FROM cs_orders WHERE external_id = 'parcel') FROM cs_shipments
	WHERE external_id = 'parcel' AND shipment_id = 's1'}), 'out_for_delivery|2036-03-03 00:00:00+00', 'an older word does not replace a newer one');

#
# Whose a status is: an event about a proof, a parcel or a line says nothing
# of the whole order, and least of all its end.  The partner is asked instead.
#
$node->safe_psql('postgres', q{ALTER SERVER shop OPTIONS (ADD poll_interval '1 h')});
my $moment = 0;

# A new order that an event of that type and data comes to: what becomes of it, and whether the partner was asked.
sub comes
{
	my ($type, $data, $answer) = @_;
	my $name = 'whose-' . ++$moment;

	placed($name);
	$partner->clear;
	$partner->answers("GET /v2/orders/ord_$name" => qq({"data": {"id": "ord_$name", "status": "$answer"}})) if $answer;
	received(qq({"id": "$name", $type "created_at": "2036-04-01T00:00:00Z", "data": {"order_id": "ord_$name", $data}}));
	wait_for_state($node, $name, $answer) if $answer;
	return state_of($name) . ($partner->lines ? ' asked' : '');
}

for (
	[ 'proof.rejected', '"proof_id": "x", "status": "rejected"' ],
	[ 'proof.approved', '"status": "approved"' ],
	[ 'proof_review.rejected', '"proof": {"id": "x"}, "status": "rejected"' ],
	[ 'shipment.updated', '"shipment_id": "s1", "tracking_number": "A", "status": "delivered"' ],
	[ 'shipment.cancelled', '"tracking_number": "A", "status": "cancelled"' ],
	[ 'order.item.cancelled', '"sku": "CS-1", "status": "cancelled"' ],
	[ 'order.shipment_delivered', '"tracking_number": "A", "status": "delivered"' ],
	[ 'order_line.updated', '"line": 1, "status": "rejected"' ],
	[ 'order.updated', '"id": "line_1", "status": "cancelled"' ],
	[ 'production.batch', '"batch": 7, "status": "rejected"' ],
	[ undef, '"tracking_number": "A", "status": "delivered"' ],
  )
{
	my ($type, $data) = @$_;

	is(comes(defined $type ? qq("type": "$type",) : '', $data, 'in_production'), 'in_production in_production asked',
		($type // 'no type') . ": $data is in doubt, and the order is asked for");
}
for (
	[ 'proof.submitted', '"status": "awaiting"', 'placed submitted' ],
	[ 'shipment.updated', '"tracking_number": "B", "status": "in_customs"', 'placed submitted' ],
	[ 'proof.rejected', '"proof": {"status": "rejected"}', 'placed submitted' ],
	[ 'proof.rejected', '"proof_id": "x", "status": "rejected", "order_status": "approved"', 'approved approved' ],
	[ 'shipment.updated', '"tracking_number": "B", "status": "delivered", "order": {"status": "shipped"}', 'shipped shipped' ],
	[ 'production.started', '"status": "in_production"', 'in_production in_production' ],
	[ 'order.updated', '"status": "delivered", "tracking_number": "B"', 'delivered delivered' ],
	[ 'order', '"status": "cancelled"', 'cancelled cancelled' ],
	[ 'order_status.changed', '"status": "rejected"', 'rejected rejected' ],
	[ 'order.delivered', '"tracking_number": "B"', 'delivered delivered' ],
  )
{
	my ($type, $data, $becomes) = @$_;

	is(comes(qq("type": "$type",), $data), $becomes, "$type: $data is clear");
}
is($node->safe_psql('postgres', q{SELECT string_agg(concat_ws(' ', shipment_id, status), ', ' ORDER BY external_id COLLATE "C") FROM cs_shipments
	WHERE tracking_number IN ('A', 'B')}),
	'A delivered, B in_customs, B delivered, B, B, s1 delivered, A cancelled, A delivered', 'and what is not the order\'s is the parcel\'s');

# Types are spelled in more than one way.
for (
	[ 'orders/cancelled', '"status": "cancelled"', 'cancelled cancelled' ], [ 'orders/updated', '"status": "delivered"', 'delivered delivered' ],
	[ 'Order.Delivered', '"total": 1', 'delivered Delivered' ], [ 'order_rejected', '"total": 1', 'rejected rejected' ],
	[ 'orders/in_transit', '"total": 1', 'shipped in_transit' ], [ 'order_line.cancelled', '"total": 1', 'placed submitted' ],
	[ 'order-line-cancelled', '"total": 1', 'placed submitted' ],
  )
{
	my ($type, $data, $becomes) = @$_;

	is(comes(qq("type": "$type",), $data), $becomes, "$type: $data is clear as well");
}
is(comes(qq("type": "$_",), '"status": "cancelled"', 'in_production'), 'in_production in_production asked', "$_ is in doubt as well")
  for 'orders/line/cancelled', 'order_item_cancelled', 'ordering.cancelled';
is(received('{"type": "orders/approved", "data": {"id": "ord_parcel"}}'), 'applied', 'and the data are the order as well');
$node->safe_psql('postgres', q{ALTER SERVER shop OPTIONS (DROP poll_interval)});

#
# A role that can do nothing else
#
$node->safe_psql('postgres', q{CREATE ROLE webhook; CREATE ROLE buyer; CREATE ROLE nobody;
	GRANT EXECUTE ON FUNCTION cs_receive_webhook(bytea, text, text), cs_receive_webhook(text, text, text) TO webhook;
	GRANT USAGE ON FOREIGN SERVER shop TO buyer});
my $by_webhook = '{"id": "evt_r", "data": {"order_id": "ord_one", "status": "delivered"}, "created_at": "2036-09-01T00:00:00Z"}';
is($node->safe_psql('postgres', 'SET ROLE webhook; SELECT cs_receive_webhook(' . bytes($by_webhook) . ', ' . quoted(signed($by_webhook)) . ')'),
	'applied', 'EXECUTE is all that receiving needs; the only server with webhooks is the one that is meant');
is(state_of('one'), 'delivered delivered', 'and does it');
is($node->safe_psql('postgres', 'SET ROLE webhook; SELECT count(*) FROM cs_webhook_events'), 0, 'that role sees nothing');
for (
	[ '42501', 'webhook', q{SELECT cs_verify_signature('x', 'x', 'shop')} ], [ '42501', 'webhook', q{SELECT * FROM cs_internal.webhook_events} ],
	[ '42501', 'webhook', q{SELECT cs_register_webhook('https://x.example', server => 'shop')} ],
	[ '42501', 'webhook', q{SELECT cs_internal.webhooks_settle()} ], [ '28000', 'webhook', q{SELECT cs_receive_webhook('{}', 'x', 'shop')} ],
	[ '42704', 'webhook', q{SELECT cs_receive_webhook('{}', 'x', 'none')} ],
	[ '42501', 'buyer', q{SELECT cs_receive_webhook('{}', 'x', 'shop')} ], [ '42501', 'nobody', q{SELECT cs_receive_webhook('{}', 'x', 'shop')} ],
	[ '42501', 'nobody', q{SELECT cs_verify_signature('x', 'x', 'shop')} ], [ '00000', 'buyer', q{SELECT cs_verify_signature('x', 'x', 'shop')} ],
  )
{
	is(query_state($node, "SET ROLE $_->[1]; $_->[2]"), $_->[0], "$_->[0]: $_->[2] as $_->[1]");
}
is($node->safe_psql('postgres', 'SET ROLE buyer; SELECT count(*) > 5 FROM cs_webhook_events'), 't', 'who may use the server sees its events');

# As the README shows it, through PostgREST.
my ($readme) = slurp_file('README.md') =~ /^```sql\n([^`]*request\.headers[^`]*)^```$/m;
$readme =~ s/^(?:GRANT webhook TO|CREATE ROLE webhook).*\n//mg;
$node->safe_psql('postgres', $readme);
my $through = '{"id":"evt_p","type":"x" , "data":{"n":1.50,"caf' . "\xc3\xa9" . '":"\u00e9"}}';
my $headers = '{"host": "erp.example", "x-cupsource-signature": "sha256=' . signed($through) . '"}';
is($node->safe_psql('postgres', "SET ROLE webhook; SELECT set_config('request.headers', " . quoted($headers) . ', false) \g /dev/null
	SELECT hooks.cupsource(' . quoted($through) . ')'), 'kept', 'the README\'s example: the raw body, the header from request.headers');
is(query_state($node, 'SET ROLE webhook; SELECT hooks.cupsource(' . quoted($through) . ')'), '28000', 'and without the header it is a forgery');

#
# Secrets: of any mapping of the server whose role may use it, never another
#
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER shop OPTIONS (DROP webhook_secret)});
is(query_state($node, q{SELECT cs_receive_webhook('{}', 'x', 'shop')}), 'HV00J', 'without a secret nothing is received');
is(query_state($node, q{SELECT cs_verify_signature('{}', 'x', 'shop')}), 'HV00J', 'nor verified');
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR buyer SERVER shop OPTIONS (api_key 'k', webhook_secret 'whsec_of_buyer')});
is(refused('{}', signed('{}', $secret)), '28000', 'another role\'s secret counts alone');
is(query_state($node, 'SELECT cs_receive_webhook(' . bytes('{"b": 1}') . ', ' . quoted(signed('{"b": 1}', 'whsec_of_buyer')) . ", 'shop')"), '00000', 'and it does');
$node->safe_psql('postgres', q{REVOKE USAGE ON FOREIGN SERVER shop FROM buyer});
is(query_state($node, 'SELECT cs_receive_webhook(' . bytes('{"b": 2}') . ', ' . quoted(signed('{"b": 2}', 'whsec_of_buyer')) . ", 'shop')"),
	'HV00J', 'but not when the role may not use the server any more');
my $file = PostgreSQL::Test::Utils::tempdir() . '/webhook';
append_to_file($file, "$secret\n");
$node->safe_psql('postgres', qq{ALTER USER MAPPING FOR PUBLIC SERVER shop OPTIONS (ADD webhook_secret_file '$file')});
is(received('{"b": 3}'), 'kept', 'a secret in a file');
unlink $file;
is(query_state($node, q{SELECT cs_receive_webhook('{}', 'x', 'shop')}), 'F0000', 'which has to be there');
append_to_file($file, $secret);
$node->safe_psql('postgres', q{CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
	CREATE USER MAPPING FOR PUBLIC SERVER hub OPTIONS (api_key 'k', secret_key 's');
	CREATE SERVER other FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2')});
is(query_state($node, q{SELECT cs_receive_webhook('{}', 'x', 'hub')}), '0A000', 'an API without webhooks');
is(query_state($node, q{SELECT cs_receive_webhook('{}', 'x')}), '42P08', 'several servers with webhooks');
is(query_state($node, q{SET cupsource.server = 'shop'; SELECT cs_receive_webhook('{}', 'x')}), '28000', 'and the setting');

#
# An order that is named by its number alone
#
sub numbered
{
	my ($name, $number) = @_;

	$partner->answers('POST /v2/orders' => qq({"data": {"id": "ord_$name", "order_number": "$number"}}), status => 201);
	$node->safe_psql('postgres', qq{SELECT cs_create_order('[{"product_id": "p", "quantity": 1}]', '{"line1": "1 Way", "city": "Portland",
		"state": "OR", "postal_code": "97201", "country": "US"}', '$name', server => 'shop')});
	return;
}

numbered('by-number', 'N77');
is(received('{"id": "n1", "type": "order.updated", "data": {"order_number": "N77", "status": "shipped"}}'), 'applied', 'an event names its order by the number');
is(state_of('by-number'), 'shipped shipped', 'which is shipped');
is($node->safe_psql('postgres', q{SELECT external_id FROM cs_webhook_events WHERE event_id = 'n1'}), 'by-number', 'and is shown as its');
is(received('{"id": "n2", "data": {"order_number": "N78", "status": "delivered"}}'), 'waiting', 'a number that no order has');
is(kept('{"id": "n3", "data": {"order_id": "ord_one", "order_number": "N77", "status": "delivered"}}', 'external_id'),
	"applied\nexternal_id: one\n", 'an id comes before the number');
numbered('same-number', 'N77');
is(received('{"id": "n4", "data": {"order_number": "N77", "status": "delivered"}}'), 'waiting', 'a number that two have');
is(state_of('by-number') . ', ' . state_of('same-number'), 'shipped shipped, placed submitted', 'moves neither');

#
# Before its order is known here
#
is(received('{"id": "early_1", "created_at": "2036-01-01T00:00:00Z", "data": {"order_id": "ord_early", "status": "approved"}}'), 'waiting', 'an event of an order that nobody knows');
is(received('{"id": "early_2", "created_at": "2036-01-02T00:00:00Z", "data": {"order_id": "ord_early", "status": "in_production", "tracking_number": "1Z2"}}'), 'waiting', 'another');
wait_for($node, 'SELECT count(*) = 0 FROM cs_internal.webhook_events WHERE unseen');
placed('early');
is(state_of('early'), 'in_production in_production', 'are applied when it is placed');
is($node->safe_psql('postgres', q{SELECT string_agg(event_id || ' ' || outcome, ', ' ORDER BY at) FROM cs_webhook_events WHERE remote_id = 'ord_early'}),
	'early_1 applied, early_2 applied', 'and say so');
is($node->safe_psql('postgres', q{SELECT tracking_number FROM cs_shipments WHERE external_id = 'early'}), '1Z2', 'with their parcels');

# Neither the event nor the order sees the other before both are committed.
my $session = $node->background_psql('postgres');
my $racing = '{"id": "race", "created_at": "2036-01-01T00:00:00Z", "data": {"order_id": "ord_race", "status": "shipped"}}';
is($session->query_safe('BEGIN; SELECT cs_receive_webhook(' . bytes($racing) . ', ' . quoted(signed($racing)) . ", 'shop')"), 'waiting',
	'an event is received, and not committed yet');
placed('race');
is(state_of('race'), 'placed submitted', 'while its order is placed');
$session->query_safe('COMMIT');
$session->quit;
wait_for_state($node, 'race', 'shipped');
pass('after both it is applied');

# An outcome that was not known, and is by the webhook's word.
$partner->answers('POST /v2/orders' => 'what?', status => 201);
is(query_state($node, q{SELECT cs_create_order('[{"product_id": "p", "quantity": 1}]', '{"line1": "1 Way", "city": "Portland",
	"state": "OR", "postal_code": "97201", "country": "US"}', 'lost', server => 'shop')}), 'PA009', 'an order of unknown outcome');
is(received('{"id": "lost", "created_at": "2036-01-01T00:00:00Z", "data": {"order_id": "ord_lost", "status": "approved"}}'), 'waiting', 'its webhook names it');
$partner->answers('GET /v2/orders/ord_lost' => '{"data": {"id": "ord_lost", "status": "approved"}}');
$node->safe_psql('postgres', q{SELECT cs_resolve_order('lost', 'placed', (SELECT remote_id FROM cs_webhook_events WHERE outcome = 'waiting' AND remote_id IS NOT NULL))});
is(state_of('lost'), 'approved approved', 'resolved, it is as far as the webhook says');
wait_for($node, q{SELECT fetched_at IS NOT NULL FROM cs_orders WHERE external_id = 'lost'});
pass('and is asked for nevertheless');

#
# Registration
#
$partner->clear;
$partner->answers('POST /v2/webhooks' => '{"data": {"id": "wh_1", "secret": "whsec_new", "active": true}}', status => 201);
is(fields($node, q{SELECT * FROM cs_register_webhook('https://erp.example/rpc/cupsource?k=1', ARRAY['production.milestone', 'é'], 'shop')}),
	qq(webhook_id: wh_1\nanswer: {"data": {"id": "wh_1", "active": true, "secret": "whsec_new"}}\n), 'the partner\'s answer, with the secret, is the caller\'s');
my @sent = $partner->arrived;
is(canonical($sent[0]{body}), canonical('{"url": "https://erp.example/rpc/cupsource?k=1", "events": ["production.milestone", "\u00e9"]}'), 'the URL and the events were sent');
is(scalar(@sent), 1, 'once');
for (
	[ '22023', q{'erp.example', NULL} ], [ '22023', q{'https://erp example', NULL} ], [ '22023', q{'ftp://erp.example', NULL} ],
	[ '22023', q{'https://' || repeat('x', 3000), NULL} ], [ '22004', 'NULL, NULL' ], [ '22004', q{'https://erp.example', ARRAY[NULL]} ],
  )
{
	is(query_state($node, "SELECT cs_register_webhook($_->[1], 'shop')"), $_->[0], "$_->[0]: $_->[1]");
}
is(query_state($node, q{SELECT cs_register_webhook('https://erp.example', server => 'hub')}), '0A000', 'an API without webhooks');
is_deeply([ $partner->lines ], [], 'nothing was sent');
$partner->answers('POST /v2/webhooks' => '{"secret": "whsec_garbled', status => 201);
unlike(refusal($node, q{SELECT cs_register_webhook('https://erp.example', server => 'shop')}), qr/whsec/, 'no message shows an answer that may hold a secret');
is(scalar($partner->arrived), 1, 'and it is not asked for again');

$node->stop;

#
# The sandbox's own, through a gateway: registered, signed and posted by it
#
my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0, '--products' => 20, '--order-status' => 'on');
$node = cupsource_node('gateway');
create_accounts($node, $sandbox, only => ['shop_v2'], options => { rate_limit => 0, poll_interval => '1 d' });
$node->safe_psql('postgres', q{CREATE ROLE webhook; GRANT EXECUTE ON FUNCTION cs_receive_webhook(bytea, text, text) TO webhook});
my $gateway = open2(my $said, my $hold, '/usr/bin/python3', 'test/t/lib/gateway.py', $node->connstr('postgres'), 'shop_v2');
my $url = 'http://127.0.0.1:' . (<$said> =~ /"port": (\d+)/)[0] . '/hook';

# An order; of one with branding a webhook tells at once.
sub ordered
{
	my ($name, $options) = @_;

	return $node->safe_psql('postgres', qq{SELECT remote_id FROM cs_create_order(external_id => '$name',
		lines => (SELECT jsonb_build_array(jsonb_build_object('product_id', product_id, 'quantity', min_order_qty)) FROM cs_products(max_rows => 1)),
		ship_to => '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}', options => $options)});
}
my $branding = q{'{"branding": {"asset_id": "art_9f3m2x", "print_method": "flexography"}}'};

like($node->safe_psql('postgres', "SELECT webhook_id FROM cs_register_webhook('$url')"), qr/^wh_/, 'the sandbox is told of the gateway');
my $first = ordered('first', $branding);
$sandbox->advance($first, 'delivered', shipment => { carrier => 'UPS', trackingNumber => '1Z9' });
wait_for_state($node, 'first', 'delivered');
is($node->safe_psql('postgres', q{SELECT string_agg(type || ' ' || remote_status, ', ' ORDER BY at, remote_status = 'delivered', received_at)
	FROM cs_webhook_events WHERE external_id = 'first'}),
	'proof.review submitted, production.milestone in_production, logistics.update shipped, logistics.update delivered',
	'an order is followed from its proof to its door by webhooks alone');
is($node->safe_psql('postgres', q{SELECT carrier, tracking_number, status FROM cs_shipments WHERE external_id = 'first'}), 'UPS|1Z9|delivered', 'with its parcel');
is($sandbox->count(method => 'GET', path => '/v2/orders/.*'), 0, 'and the partner was never asked');
for my $form ([ 'hex', 0 ], [ 'hex', 1 ], [ 'base64', 0 ], [ 'base64', 1 ])
{
	my $emitted = $sandbox->control(POST => 'webhooks/emit', { type => 'sandbox.' . join('.', @$form), deliver => JSON::PP::true, times => 2,
		signature => { encoding => $form->[0], prefix => $form->[1] ? JSON::PP::true : JSON::PP::false } });

	is(join(' ', map { $_->{status} } @{ $emitted->{deliveries} }), '200 200', "signed in $form->[0]" . ($form->[1] ? ' with its prefix' : '') . ', delivered twice');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_webhook_events WHERE type LIKE 'sandbox.%'}), 4, 'each is there once');

# Registering is never sent twice.
for ([ { action => 'drop_after' }, 'PA009' ], [ { action => 'drop_before' }, 'PA009' ], [ { action => 'status', status => 403 }, 'PA403' ],
	[ { action => 'status', status => 500 }, 'PA500' ])
{
	my ($fault, $expected) = @$_;

	$sandbox->forget;
	$sandbox->faults({ method => 'POST', path => '/webhooks$', times => 1, %$fault });
	is(query_state($node, q{SELECT cs_register_webhook('https://erp.example/hook')}), $expected, "$expected: registering, " . join(' ', map {"$_ $fault->{$_}"} sort keys %$fault));
	is($sandbox->count(path => '/v2/webhooks'), 1, '... and one POST');
}
$sandbox->no_faults;

# Polling is what remains for that which no webhook told.
$node->safe_psql('postgres', q{ALTER SERVER shop_v2 OPTIONS (SET poll_interval '30 s')});
ordered('told', $branding);
wait_for($node, q{SELECT poll_at > clock_timestamp() + interval '50 min' FROM cs_orders WHERE external_id = 'told'});
$node->safe_psql('postgres', q{ALTER SERVER shop_v2 OPTIONS (SET poll_interval '1 s')});
ordered('silent', 'NULL');
wait_for($node, q{SELECT fetched_at > placed_at + interval '500 ms' FROM cs_orders WHERE external_id = 'silent'});
is(join(' ', map { $_->{path} } $sandbox->requests(method => 'GET', path => '/v2/orders/.*')),
	'/v2/orders/' . $node->safe_psql('postgres', q{SELECT remote_id FROM cs_orders WHERE external_id = 'silent'}),
	'while webhooks arrive, only what they do not tell of is asked for');
is($node->safe_psql('postgres', q{SELECT string_agg(external_id, ' ' ORDER BY external_id) FROM cs_orders WHERE poll_at > clock_timestamp() + interval '50 min'}),
	'silent told', 'and then in an hour');
$node->safe_psql('postgres', q{UPDATE cs_internal.webhook_events SET received_at = received_at - interval '2 days';
	UPDATE cs_internal.orders SET poll_at = now() WHERE external_id = 'silent'});
$node->safe_psql('postgres', q{SELECT cs_order_status('silent', '0')});
$sandbox->wait_for_requests(4, method => 'GET', path => '/v2/orders/.*');
pass('when none came for a day, it is asked for as before');
close $hold;
waitpid $gateway, 0;
$node->stop;
done_testing;
