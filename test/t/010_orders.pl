# Orders against all three partners, by the call path and by a trigger: what
# the partner gets, what comes back, and that nothing is sent that should not be.
use strict;
use warnings;
use CupsourceReplay qw(refusal);
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('orders', conf => "cupsource.max_retries = 2\ncupsource.rollback_grace = '1s'\n");
create_accounts($node, $sandbox, options => { poll_interval => '1s', rate_limit => 0 });

my $v1_lines = q{'[{"sku": "CS-8OZ-ECO", "quantity": 5000}, {"sku": "CS-DOME-LID", "quantity": 5000}]'};
my $v1_address = q{'{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}'};
my $v2_lines = q{'[{"product_id": "prod_8x92k4m", "quantity": 5000}]'};
my $v2_address = q{'{"line1": "123 Warehouse Blvd", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}'};
my $hub_lines = q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]'};
my $hub_address = q{'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}'};
my %order = (
	shop_v1 => [ $v1_lines, $v1_address, q{'{"currency": "USD"}'} ],
	shop_v2 => [ $v2_lines, $v2_address, q{'{"shipping_method": "freight_pallet"}'} ],
	hub => [ $hub_lines, $hub_address, 'NULL' ]);
my %api = (shop_v1 => 'cupsource-v1', shop_v2 => 'cupsource-v2', hub => 'customhub-v1');

# A call of cs_create_order, or of another function with its arguments.
sub order
{
	my ($server, $external_id, $function) = @_;
	my ($lines, $address, $options) = @{ $order{$server} };

	return ($function // 'cs_create_order')
	  . "($lines, $address, '$external_id', $options, '$server')";
}

sub posts
{
	my $server = shift;

	return scalar grep { $_->{path} =~ m{/orders$} } $sandbox->requests(api => $api{$server}, method => 'POST');
}

sub at_partner
{
	my $server = shift;

	return scalar $sandbox->orders(api => $api{$server});
}

# ---- the call path ----

for my $server (qw(shop_v1 shop_v2 hub))
{
	is($node->safe_psql('postgres', 'SELECT state, remote_id IS NOT NULL, server FROM ' . order($server, 'call-1')),
		"placed|t|$server", "$server: cs_create_order places an order");
	is(posts($server), 1, "$server: with one request");
	is($node->safe_psql('postgres', 'SELECT state FROM ' . order($server, 'call-1')),
		'placed', "$server: the same order again is the same order");
	is(posts($server), 1, "$server: without a request");
}
is($node->safe_psql('postgres', q{SELECT total, currency, cost->>'grandTotal' FROM cs_orders WHERE server = 'hub'}),
	'10.38|USD|10.38', 'the cost is what the partner said');

like(($node->psql('postgres', 'SELECT ' . order('hub', 'call-1') =~ s/"quantity": 1/"quantity": 2/r))[2],
	qr/order "call-1" exists on server "hub" with a different content/, 'other content under the same id is refused');
is(query_state($node, 'SELECT ' . order('hub', 'call-1') =~ s/"quantity": 1/"quantity": 2/r), '23505', 'with 23505');
is(posts('hub'), 1, 'without a request');

my ($sent) = grep { $_->{path} eq '/v1/orders' } $sandbox->requests(api => 'cupsource-v1', method => 'POST');
is($sent->{body}, '{"items":[{"sku":"CS-8OZ-ECO","qty":5000},{"sku":"CS-DOME-LID","qty":5000}],'
	  . '"shipping_address":{"line1":"123 Commerce Way","city":"Portland","state":"OR","zip":"97201"},"currency":"USD"}',
	'the body is the document\'s example');
is($node->safe_psql('postgres', q{SELECT convert_from(body, 'UTF8') FROM cs_internal.orders WHERE server = 'shop_v1'}),
	$sent->{body}, 'and what is stored is what was sent');
like($sent->{headers}{'idempotency-key'}, qr/^[0-9a-f]{32}$/, 'an idempotency key goes along');

# Refusals: the partner's words, its status as SQLSTATE, and the state of the order.
$node->safe_psql('postgres', "SELECT 1");
my $bad = order('hub', 'bad-sku') =~ s/BC-3001-L-BLACK/NO-SUCH-SKU/r;
my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT $bad");
like($err, qr/ERROR: +PA400: one or more skus are not found or not orderable/, 'a refusal is an error with the partner\'s message');
like($err, qr/DETAIL: .*SKU_NOT_FOUND.*items\[0\]\.sku/, 'its code and fields are the detail');
is($node->safe_psql('postgres', q{SELECT state, error_sqlstate, error_code FROM cs_orders WHERE external_id = 'bad-sku'}),
	'failed|PA400|SKU_NOT_FOUND', 'and it is stored with the order');
is(query_state($node, "SELECT $bad"), 'PA400', 'a refusal that the partner keeps is answered from the journal');
is(posts('hub'), 2, 'without asking again');

for my $case ([ 401, 'PA401' ], [ 403, 'PA403' ], [ 404, 'PA404' ], [ 500, 'PA500' ])
{
	my ($http, $sqlstate) = @$case;

	$sandbox->faults({ action => 'status', status => $http, method => 'POST', path => '/v2/orders', times => 1 });
	is(query_state($node, 'SELECT ' . order('shop_v2', "status-$http")), $sqlstate, "HTTP $http is $sqlstate");
}
$sandbox->no_faults;
is($node->safe_psql('postgres', q{SELECT string_agg(state, ' ' ORDER BY external_id) FROM cs_orders WHERE external_id LIKE 'status-%'}),
	'failed failed failed uncertain', 'a refusal has failed; a server error is uncertain');

$sandbox->settings(wallet => { credit_limit => 1, balance => 0 });
is(query_state($node, 'SELECT ' . order('hub', 'poor')), 'PA402', 'an empty wallet is PA402');
$sandbox->settings(wallet => { credit_limit => 1000000, balance => 0 });
is(query_state($node, 'SELECT ' . order('hub', 'poor')), 'PA402', 'for good under this external id');
is($node->safe_psql('postgres', q{SELECT state, replaces IS NOT NULL FROM cs_resubmit_order('poor', 'rich')}),
	'queued|t', 'it is submitted again under another');
wait_for_state($node, 'rich', 'placed');
my (undef, undef, $refused) = $node->psql('postgres', 'SELECT ' . order('hub', 'poor'));
like($refused, qr/HINT: +It was submitted again as "rich"\.$/m, 'and who calls for it is not advised to order it once more');

# 429 and 503 with Retry-After were not processed.
$sandbox->faults({ action => 'rate_limited', retry_after => 1, method => 'POST', path => '/v1/orders', times => 1 });
is($node->safe_psql('postgres', 'SELECT state FROM ' . order('shop_v1', 'limited')), 'placed', 'after a 429 the order is sent again');
is($node->safe_psql('postgres', q{SELECT string_agg(status::text, ' ' ORDER BY attempt) FROM cs_order_attempts WHERE external_id = 'limited'}),
	'429 201', 'each attempt is kept');

# A request of several kilobytes reaches the worker by another way than a short one.
is($node->safe_psql('postgres', q{SELECT state FROM cs_create_order(
	(SELECT jsonb_agg('{"sku": "CS-8OZ-ECO", "quantity": 1000}'::jsonb) FROM generate_series(1, 100)),
	} . $order{shop_v1}[1] . q{, 'long', '{"currency": "USD"}', 'shop_v1')}), 'placed', 'a long order is placed');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_order_lines WHERE external_id = 'long'}), 100, 'whole');

# A partner that processes and does not answer.
for my $fault (qw(drop_after hang_after))
{
	my $before = posts('shop_v1');

	$sandbox->faults({ action => $fault, method => 'POST', path => 'orders', times => 1 });
	my $limit_ms = 500 * $CupsourceTest::patience;
	$node->safe_psql('postgres', "ALTER SYSTEM SET cupsource.order_timeout = $limit_ms; SELECT pg_reload_conf()");
	is(query_state($node, 'SELECT ' . order('shop_v1', $fault)), 'PA009', "shop_v1: $fault leaves the outcome unknown");
	is(posts('shop_v1') - $before, 1, 'and the order is not sent twice');
	is($node->safe_psql('postgres', "SELECT state FROM cs_orders WHERE external_id = '$fault'"), 'uncertain', 'it is uncertain');

	$before = at_partner('hub');
	$sandbox->faults({ action => $fault, method => 'POST', path => 'orders', times => 1 });
	is($node->safe_psql('postgres', 'SELECT state FROM ' . order('hub', $fault)), 'placed', "hub: $fault is sent again");
	is(at_partner('hub') - $before, 1, 'and is one order there');
	is($node->safe_psql('postgres', "SELECT string_agg(delivery, ' ' ORDER BY attempt) FROM cs_order_attempts WHERE external_id = '$fault' AND server = 'hub'"),
		'unknown answered', 'with both attempts kept');
	my @bodies = map { $_->{body} } grep { ($_->{body} // '') =~ /"externalOrderId":"$fault"/ } $sandbox->requests(api => 'customhub-v1', method => 'POST');
	is($bodies[0], $bodies[1], 'byte for byte the same');
}
$sandbox->no_faults;
$node->safe_psql('postgres', "ALTER SYSTEM RESET cupsource.order_timeout; SELECT pg_reload_conf()");

# A person finds out.
is($node->safe_psql('postgres', q{SELECT state, remote_id FROM cs_resolve_order('drop_after', 'placed', 'ord_found', 'shop_v1')}),
	'placed|ord_found', 'an uncertain order is resolved as placed');
is(query_state($node, q{SELECT cs_resolve_order('drop_after', 'retry', NULL, 'shop_v1')}), 'PA012', 'but a placed one cannot be');
is($node->safe_psql('postgres', q{SELECT state FROM cs_resolve_order('hang_after', 'retry', NULL, 'shop_v1')}), 'queued', 'or is sent again');
wait_for_state($node, "hang_after' AND server = 'shop_v1", 'placed');

# libcurl repeats nothing: kept connections that die unanswered.
my $before = posts('shop_v1');
$sandbox->faults({ action => 'close_every_second_unanswered', path => '/v1/orders' });
query_state($node, 'SELECT ' . order('shop_v1', "kept-$_")) for 1 .. 6;
$sandbox->no_faults;
is(posts('shop_v1') - $before, 6, 'six orders over dying connections are six requests');
# All of them, if it is tracking that has the other half of a connection's requests.
like($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT state, ' ' ORDER BY state) FROM cs_orders WHERE external_id LIKE 'kept-%'}),
	qr/^(?:placed )?uncertain$/, 'each is placed or uncertain');

# ---- rolled back callers ----

$before = at_partner('hub');
$node->psql('postgres', 'BEGIN; SELECT ' . order('hub', 'rolled-back') . '; ROLLBACK');
is(at_partner('hub') - $before, 1, 'an order whose transaction rolls back is at the partner');
wait_for_state($node, 'rolled-back', 'cancelled');
is((grep { $_->{external_id} eq 'rolled-back' } $sandbox->orders(api => 'customhub-v1'))[0]{state}, 'Cancelled', 'and is cancelled there');
$node->psql('postgres', 'BEGIN; SELECT ' . order('shop_v1', 'orphan') . '; ROLLBACK');
wait_for_state($node, 'orphan', 'orphaned');
is($node->safe_psql('postgres', 'SELECT state FROM ' . order('shop_v1', 'orphan')), 'placed', 'whoever asks for an orphan has it');
$node->psql('postgres', 'BEGIN; SAVEPOINT a; SELECT ' . order('hub', 'savepoint') . '; ROLLBACK TO a; COMMIT');
wait_for_state($node, 'savepoint', 'cancelled');
$node->psql('postgres', 'BEGIN; SAVEPOINT a; SELECT ' . order('hub', 'again') . '; ROLLBACK TO a; SELECT '
	  . order('hub', 'again') . '; COMMIT');
wait_for($node, q{SELECT caller_xids IS NULL FROM cs_internal.orders WHERE external_id = 'again'});
is($node->safe_psql('postgres', q{SELECT state FROM cs_orders WHERE external_id = 'again'}), 'placed', 'who comes back for it keeps it');

is(query_state($node, 'BEGIN; SELECT ' . order('hub', 'own', 'cs_enqueue_order') . '; SELECT ' . order('hub', 'own')),
	'55P03', 'an order that the caller itself has not committed is an error, not a wait');

# ---- the queue path ----

$node->safe_psql('postgres', q{
	CREATE SCHEMA erp;
	CREATE TABLE erp.purchase (po_number text PRIMARY KEY, lines jsonb, address jsonb, terms integer);
	CREATE TRIGGER submit AFTER INSERT ON erp.purchase FOR EACH ROW
	  EXECUTE FUNCTION cs_submit_order('server=shop_v1', 'external_id=po_number', 'lines=lines', 'ship_to=address',
	    'currency=''USD''')});
$before = posts('shop_v1');
$node->safe_psql('postgres', "INSERT INTO erp.purchase VALUES ('trigger-1', $v1_lines, $v1_address)");
wait_for_state($node, 'trigger-1', 'placed');
is(posts('shop_v1') - $before, 1, 'a row is an order, once');
$node->safe_psql('postgres', "BEGIN; INSERT INTO erp.purchase VALUES ('trigger-2', $v1_lines, $v1_address); ROLLBACK");
$node->safe_psql('postgres', "BEGIN; INSERT INTO erp.purchase VALUES ('trigger-3', $v1_lines, $v1_address); COMMIT");
wait_for_state($node, 'trigger-3', 'placed');
is(posts('shop_v1') - $before, 2, 'a row that is rolled back is none');
is(query_state($node, q{INSERT INTO erp.purchase VALUES ('trigger-4', '[{"sku": "A"}]', '{}')}), '22023', 'a row that is no order is refused');
is(query_state($node, "INSERT INTO erp.purchase VALUES ('trigger-5', NULL, $v1_address)"), '22004', 'and so is null');

for my $case (
	[ "'external_id=nothing', 'lines=lines'", qr/"external_id=nothing".*no column "nothing"/ ],
	[ "'lines=lines'", qr/needs the trigger argument "external_id"/ ],
	[ "'external_id=po_number', 'lines=lines', 'colour=red'", qr/"colour=red".*key is not known/ ],
	[ "'external_id=po_number', 'lines=erp.none()'", qr/"lines=erp\.none\(\)".*does not exist/ ],
	[ "'external_id=po_number', 'lines'", qr/"lines".*there is no "="/ ])
{
	my ($arguments, $expected) = @$case;
	my $error = ($node->psql('postgres', qq{BEGIN;
		CREATE TRIGGER wrong AFTER INSERT ON erp.purchase FOR EACH ROW
		  EXECUTE FUNCTION cs_submit_order('server=shop_v1', $arguments);
		INSERT INTO erp.purchase VALUES ('wrong', $v1_lines, $v1_address)}))[2];

	like($error, $expected, "a wrong mapping names its argument: $arguments");
}

# Columns of the old school: blanks that only fill char(n) are no part of a name.
$node->safe_psql('postgres', qq{
	CREATE DOMAIN erp.po AS char(20);
	CREATE TABLE erp.padded (po erp.po, partner char(10), currency char(5), lines jsonb, address jsonb);
	CREATE TRIGGER submit AFTER INSERT ON erp.padded FOR EACH ROW
	  EXECUTE FUNCTION cs_submit_order('server_column=partner', 'external_id=po', 'lines=lines', 'ship_to=address', 'currency=currency');
	INSERT INTO erp.padded VALUES (' padded-1', 'shop_v1', 'USD', $v1_lines, $v1_address)});
is($node->safe_psql('postgres', q{SELECT '<' || external_id || '>', server, options FROM cs_orders WHERE external_id LIKE '%padded%'}),
	'< padded-1>|shop_v1|{"currency": "USD"}', 'char(n) is read without its filling');

# Domains are what they are made of.
$node->safe_psql('postgres', q{
	CREATE TYPE erp.item AS (sku text, quantity integer);
	CREATE DOMAIN erp.items AS erp.item[] CHECK (cardinality(VALUE) > 0);
	CREATE TYPE erp.place AS (name text, line1 text, city text, state text, postal_code text, country text);
	CREATE DOMAIN erp.whereabouts AS erp.place;
	CREATE TABLE erp.typed (po text, lines erp.items, address erp.whereabouts);
	CREATE TRIGGER submit AFTER INSERT ON erp.typed FOR EACH ROW
	  EXECUTE FUNCTION cs_submit_order('server=hub', 'external_id=po', 'lines=lines', 'ship_to=address');
	INSERT INTO erp.typed VALUES ('typed-1', ARRAY[ROW('BC-3001-L-BLACK', 2)]::erp.item[],
	  ROW('Jane Doe', '123 Main St', 'Brooklyn', 'NY', '11201', 'US'))});
is($node->safe_psql('postgres', q{SELECT lines, ship_to->>'city' FROM cs_orders WHERE external_id = 'typed-1'}),
	'[{"sku": "BC-3001-L-BLACK", "quantity": 2}]|Brooklyn', 'a domain over an array or a composite type is read as that');

# What is generated is read where it is stored; from PostgreSQL 18 on it need not be.
for my $kind ('STORED', $node->pg_version >= 18 ? ('VIRTUAL', '') : ())
{
	my $po = lc "generated-$kind";
	my ($rc, undef, $err) = $node->psql('postgres', qq{
		CREATE TABLE erp."$po" (number text, po text GENERATED ALWAYS AS ('generated-' || number) $kind, lines jsonb, address jsonb);
		CREATE TRIGGER submit AFTER INSERT ON erp."$po" FOR EACH ROW
		  EXECUTE FUNCTION cs_submit_order('server=hub', 'external_id=po', 'lines=lines', 'ship_to=address');
		INSERT INTO erp."$po" (number, lines, address) VALUES ('stored', $hub_lines, $hub_address)});

	if ($kind eq 'STORED') { is($err, '', 'a generated column is read') }
	else { like($err, qr/argument "external_id=po".*: column "po" of table "$po" is not STORED and has no value when triggers fire/, "unless it is virtual: '$kind'") }
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_orders WHERE external_id LIKE 'generated-%'}), '1', 'and queued once');

# Header and lines: a deferred constraint trigger and a function of the row.
$node->safe_psql('postgres', q{
	CREATE TYPE erp.address AS (name text, line1 text, city text, state text, postal_code text, country text);
	CREATE TABLE erp.header (id text PRIMARY KEY, rush boolean, ship_to erp.address, options jsonb);
	CREATE TABLE erp.line (header text REFERENCES erp.header, sku text, quantity integer);
	CREATE FUNCTION erp.order_lines(h erp.header) RETURNS jsonb LANGUAGE sql STABLE AS
	  $$ SELECT jsonb_agg(jsonb_build_object('sku', sku, 'quantity', quantity)) FROM erp.line WHERE header = h.id $$;
	CREATE CONSTRAINT TRIGGER submit AFTER INSERT ON erp.header DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	  EXECUTE FUNCTION cs_submit_order('server=hub', 'external_id=id', 'lines=erp.order_lines()', 'ship_to=ship_to',
	    'is_rush=rush', 'options=options', 'customer=''{"name": "Acme"}''')});
$node->safe_psql('postgres', q{BEGIN;
	INSERT INTO erp.header VALUES ('header-1', true, ROW('Jane Doe', '123 Main St', 'Brooklyn', 'NY', '11201', 'US'),
	  '{"notes": "by hand", "is_rush": false}');
	INSERT INTO erp.line VALUES ('header-1', 'BC-3001-L-BLACK', 2), ('header-1', 'BC-3001-L-BLACK', 3);
	COMMIT});
wait_for_state($node, 'header-1', 'placed');
is($node->safe_psql('postgres', q{SELECT options FROM cs_orders WHERE external_id = 'header-1'}),
	'{"notes": "by hand", "is_rush": true, "customer": {"name": "Acme"}}', 'columns win over the base object');
is($node->safe_psql('postgres', q{SELECT string_agg(line || ':' || quantity, ' ' ORDER BY line) FROM cs_order_lines WHERE external_id = 'header-1'}),
	'1:2 2:3', 'lines that came after their header are in the order');


# A deferred trigger fires for rows that are there at COMMIT, in whichever version.
$node->safe_psql('postgres', qq{
	CREATE TABLE erp.kept (id text, year integer, lines jsonb DEFAULT $hub_lines, ship_to jsonb DEFAULT $hub_address) PARTITION BY LIST (year);
	CREATE TABLE erp.kept_1 PARTITION OF erp.kept FOR VALUES IN (1);
	CREATE TABLE erp.kept_2 PARTITION OF erp.kept FOR VALUES IN (2);
	CREATE CONSTRAINT TRIGGER submit AFTER INSERT ON erp.kept DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
	  EXECUTE FUNCTION cs_submit_order('server=hub', 'external_id=id', 'lines=lines', 'ship_to=ship_to');
	BEGIN;
	INSERT INTO erp.kept VALUES ('deleted', 1), ('updated', 1), ('twice', 1), ('both', 1), ('moved', 1), ('back', 1), ('left', 1);
	UPDATE erp.kept SET year = year WHERE id IN ('updated', 'both');
	UPDATE erp.kept SET id = id WHERE id = 'twice';
	UPDATE erp.kept SET id = id WHERE id = 'twice';
	UPDATE erp.kept SET year = 2 WHERE id = 'moved';
	DELETE FROM erp.kept WHERE id IN ('deleted', 'both');
	SAVEPOINT s;
	DELETE FROM erp.kept WHERE id = 'back';
	ROLLBACK TO s;
	COMMIT});
is($node->safe_psql('postgres', q{SELECT string_agg(external_id, ' ' ORDER BY external_id) FROM cs_orders
	WHERE external_id IN ('deleted', 'updated', 'twice', 'both', 'moved', 'back', 'left')}),
	'back left moved twice updated', 'a row that was deleted again before COMMIT orders nothing');

is($node->safe_psql('postgres', "INSERT INTO cs_orders (server, external_id, lines, ship_to) VALUES ('hub', 'view-1', $hub_lines, $hub_address) RETURNING state, id IS NOT NULL"),
	'queued|t', 'INSERT INTO cs_orders queues, and RETURNING shows the row');
wait_for_state($node, 'view-1', 'placed');
is(query_state($node, "INSERT INTO cs_orders (server, external_id, lines, state) VALUES ('hub', 'view-2', $hub_lines, 'placed')"),
	'0A000', 'a state cannot be inserted');
is(query_state($node, "SET session_replication_role = replica; INSERT INTO cs_orders (server, external_id, lines, ship_to) VALUES ('hub', 'view-3', $hub_lines, $hub_address)"),
	'55000', 'and an INSERT that no trigger would see is refused');
$node->safe_psql('postgres', 'SELECT ' . order('shop_v2', 'queue-1', 'cs_enqueue_order'));
wait_for_state($node, 'queue-1', 'placed');
is(journal($node, 'queue-1'), 'queued sending placed', 'each state leaves an event');

# Listeners are told of every state.
my $told = join ' ', map { /"state" : "(\w+)"/ } grep { /"external_id" : "told"/ }
  split /\n/, $node->safe_psql('postgres', 'LISTEN cupsource; SELECT ' . order('shop_v2', 'told') . '; SELECT 1');
is($told, 'sending placed', 'listeners are told of each state');

# Cancelled in the transaction that queued it: nothing is sent.
$before = posts('hub');
$node->safe_psql('postgres', 'BEGIN; SELECT ' . order('hub', 'no', 'cs_enqueue_order') . q{; SELECT cs_cancel_order('no'); COMMIT});
is($node->safe_psql('postgres', q{SELECT state FROM cs_orders WHERE external_id = 'no'}), 'cancelled', 'a queued order is cancelled here');
is(posts('hub'), $before, 'and not sent');
is($node->safe_psql('postgres', q{SELECT state FROM cs_cancel_order('view-1')}), 'cancelled', 'a placed one at the partner');
is($node->safe_psql('postgres', q{SELECT state FROM cs_cancel_order('view-1')}), 'cancelled', 'cancelling twice is no error');
is(query_state($node, q{SELECT cs_cancel_order('queue-1')}), '0A000', 'an API that cannot cancel says so');

is(query_state($node, 'BEGIN; SELECT ' . order('hub', 'prepared') . q{; PREPARE TRANSACTION 'p'}), '0A000',
	'a transaction that placed an order cannot be prepared');

# ---- following ----

my $remote = $node->safe_psql('postgres', q{SELECT remote_id FROM cs_orders WHERE external_id = 'header-1'});
$sandbox->advance($remote, 'Approved');
is($node->safe_psql('postgres', q{SELECT cs_order_status('header-1', '0 s')}), 'approved', 'cs_order_status asks');
is(query_state($node, q{SELECT cs_cancel_order('header-1')}), 'PA400', 'an approved order cannot be cancelled');
$sandbox->advance($remote, 'Shipped');
wait_for_state($node, 'header-1', 'shipped');
is($node->safe_psql('postgres', q{SELECT string_agg(type, ' ' ORDER BY at, id) FROM cs_order_events WHERE external_id = 'header-1' AND source = 'remote'}),
	'created approved in_production shipped', 'the partner\'s events, once and in order');
is($node->safe_psql('postgres', q{SELECT count(*), min(carrier), bool_and(tracking_url LIKE 'https://%' || tracking_number) FROM cs_shipments WHERE external_id = 'header-1'}),
	'1|USPS|t', 'the parcel');
is($node->safe_psql('postgres', q{SELECT s.shipment_id = e.detail->>'shipment_id' FROM cs_shipments s JOIN cs_order_events e USING (order_id)
	WHERE s.external_id = 'header-1' AND e.type = 'shipped' AND e.source = 'remote'}), 't', 'and the event that names it');

$remote = $node->safe_psql('postgres', q{SELECT remote_id FROM cs_orders WHERE external_id = 'trigger-1'});
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_order_tracking('trigger-1')}), '0', 'v1: nothing is under way yet');
$sandbox->advance($remote, 'shipped');
is($node->safe_psql('postgres', q{SELECT carrier, tracking_number IS NOT NULL, signature_required FROM cs_order_tracking('trigger-1')}),
	'USPS|t|f', 'v1: cs_order_tracking asks');
is($node->safe_psql('postgres', q{SELECT cs_order_status('trigger-1')}), 'shipped', 'v1: the status is the parcels\'');

is($node->safe_psql('postgres', q{SELECT state, remote_status FROM cs_orders(external_id => 'header-1', server => 'hub')}),
	'shipped|Shipped', 'cs_orders() is the partner\'s list');
is(query_state($node, q{SELECT * FROM cs_orders(server => 'shop_v1')}), '0A000', 'where there is one');
is($node->safe_psql('postgres', "SELECT total, items_subtotal + shipping_cost + shipping_category_fee FROM cs_quote_order($hub_lines, $hub_address, server => 'hub')"),
	'10.38|10.38', 'a quote');
$node->safe_psql('postgres', 'SELECT ' . order('hub', 'designed'));
is($node->safe_psql('postgres', q{SELECT state, total > 10.38 FROM cs_add_designs('designed', 1,
	'[{"url": "https://cdn.partner.com/a.png", "placement": "width1", "width_inches": 11, "height_inches": 11, "print_method": "DTF"}]')}),
	'placed|t', 'designs change the cost');

# A partner without an answer delays nobody else's order.
$sandbox->faults({ action => 'hang', method => 'POST', path => '/v1/orders', times => 1 });
$node->safe_psql('postgres', 'SELECT ' . order('shop_v1', 'hangs', 'cs_enqueue_order'));
wait_for_state($node, 'hangs', 'sending');
is($node->safe_psql('postgres', 'SELECT state FROM ' . order('shop_v1', 'passes')), 'placed', 'another order of the account passes one that hangs');
is($node->safe_psql('postgres', q{SELECT state, reason FROM cs_queue WHERE external_id = 'hangs'}), 'sending|on the wire', 'and cs_queue tells why that one waits');

# What cannot go out does not keep the worker busy, and delays nobody else either.
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (ADD concurrency '1')});
$node->safe_psql('postgres', join(";\n", (map { 'SELECT ' . order('shop_v1', "crowd-$_", 'cs_enqueue_order') } 1 .. 40),
	'SELECT ' . order('hub', 'beside-the-crowd', 'cs_enqueue_order')));
wait_for_state($node, 'beside-the-crowd', 'placed');
is($node->safe_psql('postgres', q{SELECT state, reason, count(*) FROM cs_queue WHERE external_id LIKE 'crowd-%' GROUP BY 1, 2}),
	'queued|waits for its turn|40', 'an order passes those of an account that has no room');
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (DROP concurrency)});
wait_for($node, q{SELECT count(*) FROM cs_orders WHERE external_id LIKE 'crowd-%' AND state = 'placed'}, 40);
$sandbox->no_faults;

# A database that another cluster's queue came with sends nothing until told.
$node->safe_psql('postgres', q{UPDATE cs_internal.queue_claim SET origin = 'another cluster'});
$before = posts('hub');
$node->safe_psql('postgres', 'SELECT ' . order('hub', 'held', 'cs_enqueue_order'));
is(query_state($node, 'SELECT ' . order('hub', 'held-call')), '55000', 'a queue on hold takes no call');
is($node->safe_psql('postgres', q{SELECT state, reason FROM cs_queue WHERE external_id = 'held'}),
	'queued|held: this database is a copy, see cs_adopt_queue', 'and says why an order waits');
is(posts('hub'), $before, 'nothing is sent');
$node->safe_psql('postgres', 'SELECT cs_adopt_queue()');
wait_for_state($node, 'held', 'placed');

is(query_state($node, q{SELECT cs_order_status('nobody')}), 'PA404', 'an unknown order is PA404');
is(query_state($node, q{SELECT cs_order('call-1')}), '21000', 'an id of several accounts is not guessed');
is($node->safe_psql('postgres', q{SELECT external_id FROM cs_order('call-1', 'hub')}), 'call-1', 'the server decides');
is(query_state($node, "SELECT $_"), '42704', "a server that is not there: $_") for map {sprintf $_, 'call-1', 'hubb'} q{cs_order('%s', '%s')},
  q{cs_order_status('%s', server => '%s')}, q{cs_order_tracking('%s', '%s')}, q{cs_cancel_order('%s', '%s')},
  q{cs_resolve_order('%s', 'retry', server => '%s')}, q{cs_resubmit_order('%s', 'call-1b', '%s')};

# External ids that are numbers, as local ids are.
my ($local, $other) = split /\|/, $node->safe_psql('postgres', q{
	SELECT o.id, (SELECT max(p.id) FROM cs_orders AS p WHERE p.server = 'hub' AND p.id <> o.id) FROM cs_orders AS o WHERE o.external_id = 'held'});
$node->safe_psql('postgres', 'SELECT ' . order('hub', $local));
my ($number) = split /\|/, $node->safe_psql('postgres', "SELECT id FROM cs_orders WHERE external_id = '$local'");
is(refusal($node, "SELECT cs_order('$local')") =~ s/^SQL statement.*\n//mr, <<"END", 'a number that is one order\'s external and another\'s local id is not guessed');
ERROR:  21000: "$local" means more than one order
DETAIL:  Their local ids are $local, $number.
HINT:  Pass the local id as bigint, or name the server.
END
is($node->safe_psql('postgres', "SELECT id FROM cs_order($local)"), $local, 'a bigint is the local id');
is($node->safe_psql('postgres', "SELECT id FROM cs_order('$local', 'hub')"), $number, 'the server makes it the external one');
is(query_state($node, "SELECT cs_cancel_order('$other', 'hub')"), 'PA404', 'also where there is no order of that number');
is($node->safe_psql('postgres', "SELECT cs_order_status($local), cs_order_status('$local', server => 'hub')"), 'placed|placed', 'their states,');
is($node->safe_psql('postgres', "SELECT count(*) FROM cs_order_tracking($number)"), 0, 'their parcels,');
is($node->safe_psql('postgres', qq{SELECT id FROM cs_add_designs($number, 1, '[{"url": "https://x.example/a.png", "placement": "width1",
	"width_inches": 1, "height_inches": 1}]')}), $number, 'their designs,');
is($node->safe_psql('postgres', "SELECT id FROM cs_cancel_order($number)"), $number, 'their end');
is($node->safe_psql('postgres', "SELECT replaces FROM cs_resubmit_order($number, '$local again')"), $number, 'and what follows are asked for by the local id,');
my $unclear = $node->safe_psql('postgres', q{UPDATE cs_internal.orders SET state = 'uncertain', poll_at = NULL WHERE external_id = 'hang_after' AND server = 'shop_v1' RETURNING id});
is($node->safe_psql('postgres', "SELECT id, state, remote_id FROM cs_resolve_order($unclear, 'placed', 'ord_81723')"), "$unclear|placed|ord_81723", 'as hints say');
is(query_state($node, "SELECT $_"), '22004', "no id: $_") for "cs_resolve_order(NULL::bigint, 'retry')", "cs_resubmit_order(NULL::bigint, 'x')",
  'cs_order_tracking(NULL::bigint)', "cs_add_designs(NULL::bigint, 1, '[]')";

# Nobody sees or uses an account without USAGE.
$node->safe_psql('postgres', 'CREATE ROLE guest LOGIN');
is($node->safe_psql('postgres', 'SELECT count(*) FROM cs_orders', extra_params => [ '-U', 'guest' ]), '0', 'without USAGE no order is seen');
like(($node->psql('postgres', 'SELECT ' . order('hub', 'guest'), extra_params => [ '-U', 'guest' ]))[2],
	qr/permission denied|not usable|no usable|USAGE/, 'and none is placed');
like(($node->psql('postgres', q{SELECT cs_order('call-1', 'hub')}, extra_params => [ '-U', 'guest' ]))[2],
	qr/permission denied for foreign server hub\n/, 'nor asked for');

done_testing();
