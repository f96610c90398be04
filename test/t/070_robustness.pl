# What is changed under a running session or worker, and settings that were not
# made for us: nothing crashes, and no order is lost or doubled.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);

# Without the worker's own care an asynchronous commit stays in memory this long.
my $node = cupsource_node('robust',
	conf => "restart_after_crash = on\nsynchronous_commit = off\nwal_writer_delay = '10s'\n");
create_accounts($node, $sandbox, options => { poll_interval => '1h', rate_limit => 0 });

my $lines = q{'[{"sku": "CS-8OZ-ECO", "quantity": 1000}]'};
my $address = q{'{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}'};

sub enqueue
{
	my $external_id = shift;

	return qq{SELECT cs_enqueue_order($lines, $address, '$external_id', '{"currency": "USD"}', 'shop_v1')};
}

#
# A mapping's function that is replaced by one of another type
#
is($node->safe_psql('postgres', qq{
	CREATE TABLE erp (po text, lines jsonb, address jsonb);
	CREATE FUNCTION lines_of(erp) RETURNS jsonb LANGUAGE sql AS 'SELECT \$1.lines';
	CREATE TRIGGER submit AFTER INSERT ON erp FOR EACH ROW EXECUTE FUNCTION
	  cs_submit_order('server=shop_v1', 'external_id=po', 'lines=lines_of()', 'ship_to=address', 'currency=''USD''');
	INSERT INTO erp VALUES ('typed-1', $lines, $address);
	DROP FUNCTION lines_of(erp);
	CREATE FUNCTION lines_of(erp) RETURNS integer LANGUAGE sql AS 'SELECT 42';
	DO \$do\$ BEGIN
	  INSERT INTO erp VALUES ('typed-2', $lines, $address);
	EXCEPTION WHEN invalid_parameter_value THEN
	  NULL;
	END \$do\$;
	DROP FUNCTION lines_of(erp);
	CREATE FUNCTION lines_of(erp) RETURNS text LANGUAGE sql AS 'SELECT \$1.lines::text';
	INSERT INTO erp VALUES ('typed-3', $lines, $address);
	SELECT string_agg(external_id, ' ' ORDER BY id) FROM cs_orders WHERE external_id LIKE 'typed-%'}),
	'typed-1 typed-3', 'a function of the mapping may change its type within a session');
wait_for_state($node, 'typed-3', 'placed');

#
# A database that is read-only, or serializable, by default
#
for my $setting ('default_transaction_read_only = on', "default_transaction_isolation = 'serializable'")
{
	my ($name) = split / /, $setting;

	$node->safe_psql('postgres', "ALTER DATABASE postgres SET $setting");
	wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'cupsource worker'});
	$node->safe_psql('postgres', 'BEGIN READ WRITE; ' . enqueue($name) . '; COMMIT');
	wait_for_state($node, $name, 'placed');
	pass("orders are sent where $setting");
	$node->safe_psql('postgres', "BEGIN READ WRITE; ALTER DATABASE postgres RESET $name; COMMIT");
}

#
# A session in which a backslash is one only if it is written twice
#
$sandbox->faults({ action => 'drop_after', method => 'POST', path => 'orders$', times => 1 });
$node->safe_psql('postgres', enqueue('backslash'));
wait_for_state($node, 'backslash', 'uncertain');
is($node->safe_psql('postgres', q{SET standard_conforming_strings = off; SET escape_string_warning = off;
	SELECT state, remote_id FROM cs_resolve_order('backslash', 'placed', 'ord_777')}), 'placed|ord_777',
	'an order is resolved where standard_conforming_strings is off');

#
# A crash after the request, where commits need not be on disk
#
$sandbox->forget;
$sandbox->faults({ action => 'hang_after', method => 'POST', path => 'orders$', times => 1 });
$node->safe_psql('postgres', 'SET synchronous_commit = on; ' . enqueue('crash'));
$sandbox->wait_for_requests(1, method => 'POST', path => '.*/orders');
$node->stop('immediate');
$sandbox->no_faults;
$node->start;
wait_for_state($node, 'crash', 'uncertain');
is($sandbox->count(method => 'POST', path => '.*/orders'), 1,
	'an order that was on the wire is known to have been, also with synchronous_commit = off');

#
# A transaction whose snapshot is older than the order that it has placed
#
for my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
	my $call = enqueue($level) =~ s/enqueue/create/r;

	is($node->safe_psql('postgres', qq{BEGIN ISOLATION LEVEL $level; SELECT FROM cs_orders; ${call} IS NULL;
		SELECT state, cs_order_status(id), cs_order_status(external_id, '0') FROM cs_order('$level'); COMMIT}) =~ s/.*\n//sr,
		'placed|placed|placed', "$level: its own order is found");
}
my ($ret, $out, $err) = $node->psql('postgres', 'SELECT cs_order(0)');
like($err, qr/order "0" does not exist/, 'an id that no order has is named');

#
# A partner that gives the first page for ever
#
$sandbox->forget;
$sandbox->faults({ action => 'body', method => 'GET', path => 'products$', content_type => 'application/json',
		text => '{"success": true, "data": [{"id": "p1", "unit_price": 1}, {"id": "p2"}], "meta": {"page": 1, "per_page": 2, "total": 27}}' });
is(query_state($node, q{SELECT * FROM cs_products(server => 'shop_v1')}), 'PA006', 'an overlooked page number is an error of a live call');
is($sandbox->count(path => '/v1/products'), 2, 'by its second page');
is(query_state($node, q{CALL cs_refresh_catalog('shop_v1')}), 'PA006', 'and of a refresh');
# The refresh has asked for four pages at once when it sees that the second is the first.
cmp_ok($sandbox->count(path => '/v1/products'), '<=', 2 + 1 + 4, 'and not an endless loop');

#
# A partner that says strange things about an order
#
$sandbox->faults({ action => 'body', method => 'POST', path => 'orders$', status => 201, times => 1,
		content_type => 'application/json', text => '{"data": {"id": "", "status": "submitted"}}' });
$node->safe_psql('postgres', enqueue('nameless'));
wait_for_state($node, 'nameless', 'uncertain');
is($node->safe_psql('postgres', q{SELECT error_detail FROM cs_orders WHERE external_id = 'nameless'}),
	'The request failed: malformed answer from server "shop_v1": resource "created", row 1, field "id": required, but empty',
	'an order without an id is not taken for placed');
$sandbox->faults({ action => 'rate_limited', retry_after => 1763720000, method => 'POST', path => 'orders$', times => 1 });
$node->safe_psql('postgres', q{SELECT cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
	'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}',
	'paused', NULL, 'hub')});
wait_for($node, q{SELECT attempts = 1 AND state = 'queued' FROM cs_orders WHERE external_id = 'paused'});
is($node->safe_psql('postgres', q{SELECT next_attempt_at - changed_at BETWEEN '23 h 59 min' AND '24 h 1 min'
	FROM cs_orders WHERE external_id = 'paused'}), 't', 'a Retry-After of years is one of a day');

#
# A server that is renamed or dropped
#
$sandbox->faults({ action => 'rate_limited', retry_after => 3600, method => 'POST', path => 'orders$', times => 1 });
$node->safe_psql('postgres', enqueue('waits'));
wait_for($node, q{SELECT count(*) = 1 FROM cs_queue WHERE external_id = 'waits' AND reason LIKE 'tried again: %'});
my $before = scalar(my @known = $sandbox->orders(api => 'cupsource-v1'));
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 RENAME TO "Cup's"});
is($node->safe_psql('postgres', q{SELECT DISTINCT server FROM cs_orders WHERE server <> 'hub'}), q{Cup's}, 'orders follow their renamed server');
is($node->safe_psql('postgres', enqueue('typed-3') =~ s/'shop_v1'/'Cup''s'/r =~ s/SELECT/SELECT state FROM/r),
	'placed', 'and are the same orders');
is(query_state($node, q{DROP SERVER "Cup's" CASCADE}), '55006', 'a server that an order waits for cannot be dropped');
$node->safe_psql('postgres', q{SELECT cs_cancel_order('waits'); SELECT cs_resolve_order('crash', 'failed');
	SELECT cs_resolve_order('nameless', 'failed')});
is(query_state($node, q{DROP SERVER "Cup's" CASCADE}), '00000', 'one that none waits for can');
is(scalar(@known = $sandbox->orders(api => 'cupsource-v1')), $before, 'nothing was ordered by all that');

$sandbox->stop;
$node->stop;
done_testing();
