#!/usr/bin/perl
#
# Orders as a foreign table: INSERT places, DELETE cancels, by the call path;
# everything else is refused by name.
use strict;
use warnings;
use CupsourceTest;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('foreign_orders', conf => "cupsource.rollback_grace = '1s'\n");
create_accounts($node, $sandbox, options => { rate_limit => 0, poll_interval => '1h' });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sql("CREATE SCHEMA $_; IMPORT FOREIGN SCHEMA api FROM SERVER $_ INTO $_") for qw(hub shop_v1 shop_v2);
my $lines = q{'[{"sku": "BC-3001-L-BLACK", "quantity": 2}]'};
my $address = q{'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}'};

# ---- INSERT ----

$sandbox->forget;
is(sql(qq{INSERT INTO hub.orders (external_id, lines, ship_to) VALUES ('po-1', $lines, $address)
	RETURNING id, server, external_id, path, state, remote_status, total, lines}),
	'1|hub|po-1|call|placed|ApprovalPending|16.06|[{"sku": "BC-3001-L-BLACK", "quantity": 2}]', 'an order is placed and returned');
is($sandbox->count(method => 'POST', path => '.*/orders'), 1, 'with one request');
is(sql(qq{INSERT INTO hub.orders (external_id, lines, ship_to) VALUES ('po-1', $lines, $address) RETURNING id, state}),
	'1|placed', 'the same again returns the order that is there');
is($sandbox->count(method => 'POST', path => '.*/orders'), 1, 'without another request');
sql(qq{CREATE TABLE erp (po text, quantity int); INSERT INTO erp VALUES ('po-2', 1), ('po-3', 3);
	INSERT INTO hub.orders (external_id, lines, ship_to)
	SELECT po, jsonb_build_array(jsonb_build_object('sku', 'BC-3001-L-BLACK', 'quantity', quantity)), $address FROM erp});
is(sql(q{SELECT string_agg(concat_ws(' ', external_id, state, item_count), ', ' ORDER BY external_id) FROM hub.orders}),
	'po-1 placed 1, po-2 placed 1, po-3 placed 1', 'from a table of the ERP, and as the partner has them');
is(sql(q{SELECT string_agg(concat_ws(' ', external_id, order_number IS NOT NULL, items_subtotal, shipping_cost), ', ' ORDER BY external_id) FROM hub.orders}),
	'po-1 t 11.36 4.20, po-2 t 5.68 4.20, po-3 t 17.04 4.20', 'with what only their details say');
is(sql(q{SELECT string_agg(concat_ws(' ', o.external_id, i.sku, i.quantity), ', ' ORDER BY o.external_id)
	FROM cs_orders AS o JOIN hub.order_items AS i ON i.remote_id = o.remote_id}),
	'po-1 BC-3001-L-BLACK 2, po-2 BC-3001-L-BLACK 1, po-3 BC-3001-L-BLACK 3', 'and their items');
is(sql(q{SELECT string_agg(DISTINCT type, ' ') FROM hub.order_events}), 'created', 'and events');
is(sql(q{SELECT string_agg(concat_ws(' ', external_id, items_subtotal), ', ' ORDER BY external_id) FROM hub.orders
	WHERE state = 'placed' AND external_id <> 'po-2'}), 'po-1 11.36, po-3 17.04', 'a condition on the state, judged before the details');
is(sql(qq{INSERT INTO shop_v1.orders (external_id, lines, ship_to, options)
	VALUES ('po-1', '[{"sku": "CS-8OZ-ECO", "quantity": 1000}]', '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}',
	  '{"currency": "USD"}') RETURNING server, state, remote_status}), 'shop_v1|placed|submitted',
	'also where the partner lists no orders');
is(sql(q{COPY hub.orders (external_id, lines, ship_to) FROM stdin;
po-4	[{"sku": "BC-3001-L-BLACK", "quantity": 1}]	{"name": "Jane", "line1": "1 St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}
\.
SELECT state FROM cs_orders WHERE external_id = 'po-4' AND server = 'hub'}), 'placed', 'also by COPY');

# What goes wrong is said as cs_create_order says it.
is(query_state($node, qq{INSERT INTO hub.orders (external_id, lines, ship_to) VALUES ('po-1', '[{"sku": "BC-3001-L-BLACK", "quantity": 9}]', $address)}),
	'23505', 'another content under the same id');
is(query_state($node, qq{INSERT INTO hub.orders (lines, ship_to) VALUES ($lines, $address)}), '22004', 'no external id');
is(query_state($node, qq{INSERT INTO hub.orders (external_id, lines, ship_to) VALUES ('po-x', '[{"sku": "none", "quantity": 1}]', $address)}),
	'PA400', 'a refusal of the partner');
is(query_state($node, qq{INSERT INTO hub.orders (external_id, lines, ship_to, total) VALUES ('po-x', $lines, $address, 1)}),
	'0A000', 'a column that is the partner\'s to say');
is(query_state($node, qq{INSERT INTO hub.orders (server, external_id, lines, ship_to) VALUES ('shop_v1', 'po-x', $lines, $address)}),
	'22023', 'another server');

# A transaction that rolls back.
sql(qq{BEGIN; INSERT INTO hub.orders (external_id, lines, ship_to) VALUES ('po-5', $lines, $address); ROLLBACK});
wait_for_state($node, 'po-5', 'cancelled');
is(sql(q{SELECT state FROM hub.orders WHERE external_id = 'po-5'}), 'cancelled', 'an order of a transaction that rolls back is cancelled');

# ---- DELETE ----

$sandbox->forget;
is(sql(q{DELETE FROM hub.orders WHERE external_id = 'po-2' RETURNING external_id, state, remote_status}), 'po-2|cancelled|Cancelled',
	'DELETE cancels');
is($sandbox->count(method => 'DELETE'), 1, 'with one request');
is(sql(q{SELECT state FROM cs_orders WHERE external_id = 'po-2'}), 'cancelled', 'as the journal has it');
is(sql(q{WITH gone AS (DELETE FROM hub.orders AS o USING erp WHERE erp.po = o.external_id AND o.state = 'placed' RETURNING o.external_id)
	SELECT string_agg(external_id, ' ') FROM gone}), 'po-3', 'by a join with a local table');
$sandbox->advance((sql(q{SELECT remote_id FROM cs_orders WHERE server = 'hub' AND external_id = 'po-1'})), 'InProduction');
is(query_state($node, q{DELETE FROM hub.orders WHERE external_id = 'po-1'}), 'PA400', 'what cannot be cancelled any more is an error');

# By its remote id and nothing else: here another program's order has one that is an external id of ours.
sql(q{CREATE SERVER elsewhere FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1', base_url '} . $sandbox->url . q{', auth_url '} . $sandbox->url . q{');
	CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (api_key 'ek_live_demo', secret_key 'esk_live_demo')});
my $theirs = sql(qq{SELECT remote_id FROM cs_create_order($lines, $address, 'theirs', server => 'elsewhere')});
sql(qq{INSERT INTO hub.orders (external_id, lines, ship_to) VALUES ('$theirs', $lines, $address)});
$sandbox->forget;
like(($node->psql('postgres', "DELETE FROM hub.orders WHERE remote_id = '$theirs'"))[2],
	qr/ERROR: +order "$theirs" on server "hub" was not placed from this database\nHINT: +Only orders in cs_orders can be cancelled here/,
	"another program's order is not cancelled");
is($sandbox->count(method => 'DELETE'), 0, 'nothing is asked for,');
is(sql(qq{SELECT state FROM cs_orders WHERE external_id = '$theirs'}), 'placed', 'and ours, which has its id, stays');

# ---- Everything else ----

my %refused = (
	q{UPDATE hub.orders SET state = 'x'} => qr/cannot update foreign table "orders"/,
	q{DELETE FROM shop_v1.orders} => qr/foreign table "orders" does not allow deletes/,
	q{TRUNCATE hub.orders} => qr/cannot truncate foreign table "orders"/,
	q{INSERT INTO hub.models (name) VALUES ('x')} => qr/foreign table "models" does not allow inserts/,
	q{DELETE FROM hub.products} => qr/foreign table "products" does not allow deletes/,
	q{UPDATE shop_v2.products SET sku = 'x'} => qr/cannot update foreign table "products"/,
	q{INSERT INTO hub.orders (external_id) VALUES ('x') ON CONFLICT DO NOTHING} => qr/INSERT into foreign table "orders" cannot have ON CONFLICT/,
	q{SET default_transaction_read_only = on; INSERT INTO hub.orders (external_id) VALUES ('x')} => qr/cannot execute INSERT in a read-only transaction/);
$sandbox->forget;
for my $statement (sort keys %refused)
{
	my ($status, $out, $err) = $node->psql('postgres', $statement);

	like($err, $refused{$statement}, $statement);
}
is($sandbox->count(method => 'POST') + $sandbox->count(method => 'DELETE'), 0, 'nothing is sent for these');
like(sql("EXPLAIN (VERBOSE, COSTS OFF) INSERT INTO hub.orders (external_id) VALUES ('x')"), qr/^Insert on hub\.orders\n +Remote Request: POST \/api\/v1\/orders\n/,
	'EXPLAIN shows the request of an INSERT');
like(sql("EXPLAIN (VERBOSE, COSTS OFF) DELETE FROM hub.orders WHERE external_id = 'x'"), qr/Remote Request: DELETE \/api\/v1\/orders\/\{id\}\n/, 'and of a DELETE');

# The column by which orders are known does not go, not by a table that hands its columns down either.
sql(q{CREATE SCHEMA part; IMPORT FOREIGN SCHEMA api LIMIT TO (orders) FROM SERVER hub INTO part;
	CREATE TABLE all_orders (LIKE part.orders) PARTITION BY LIST (server);
	ALTER TABLE all_orders ATTACH PARTITION part.orders FOR VALUES IN ('hub')});
is(query_state($node, 'ALTER TABLE all_orders DROP COLUMN remote_id'), 'HV005', 'remote_id is not taken from a partition');
is(query_state($node, 'ALTER TABLE all_orders ALTER COLUMN remote_id TYPE varchar'), 'HV004', 'nor is its type changed');

# A table without it, from before that was so.
sql(q{CREATE SCHEMA bare; IMPORT FOREIGN SCHEMA api LIMIT TO (orders) FROM SERVER hub INTO bare;
	UPDATE pg_attribute SET attname = 'lost' WHERE attrelid = 'bare.orders'::regclass AND attname = 'remote_id'});
$sandbox->forget;
like(($node->psql('postgres', q{DELETE FROM bare.orders WHERE external_id = 'po-1'}))[2],
	qr/ERROR: +cannot delete from foreign table "orders" without a column "remote_id"\nHINT: +Import the table anew, or cancel the order with cs_cancel_order\(\)\./,
	'without remote_id nothing can be deleted');
is($sandbox->count(method => 'DELETE'), 0, 'nor is it');

# ---- Rights ----

sql(q{CREATE ROLE clerk LOGIN; GRANT USAGE ON SCHEMA hub TO clerk; GRANT SELECT, INSERT, DELETE ON hub.orders TO clerk;
	CREATE VIEW desk AS SELECT external_id, lines, ship_to FROM hub.orders; GRANT INSERT ON desk TO clerk});
is(query_state($node, qq{SET ROLE clerk; INSERT INTO hub.orders (external_id, lines, ship_to) VALUES ('po-6', $lines, $address)}),
	'42501', 'without USAGE on the server there is no order');
is(query_state($node, qq{SET ROLE clerk; INSERT INTO desk VALUES ('po-6', $lines, $address)}),
	'00000', 'through a view it is one of its owner');
is(sql(q{SELECT created_by = current_user FROM cs_orders WHERE external_id = 'po-6'}), 't', 'who has placed it');

done_testing;
