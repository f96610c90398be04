#!/usr/bin/perl
#
# A dump holds every order, event and price.  What is restored from it orders
# nothing until somebody says that it is to.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0, '--products' => 20, '--models' => 3, '--variations' => 5);
my $node = cupsource_node('source');
create_accounts($node, $sandbox, options => { rate_limit => 0, poll_interval => '1d' });

my %order = (
	shop_v1 => q{'[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way", "city": "Portland", "state": "OR",
	  "postal_code": "97201"}', 'EXTERNAL', '{"currency": "USD"}', 'shop_v1'},
	hub => q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn",
	  "state": "NY", "postal_code": "11201", "country": "US"}', 'EXTERNAL', NULL, 'hub'});

sub order
{
	my ($function, $server, $external_id) = @_;

	return "SELECT $function(" . $order{$server} =~ s/EXTERNAL/$external_id/r . ');';
}

# ---- something of everything ----

$node->safe_psql('postgres', "CALL cs_refresh_catalog('$_')") for qw(shop_v1 hub);
$sandbox->catalog(reprice => { 'CS-8OZ-ECO' => '0.11' });
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('shop_v1')});
$node->safe_psql('postgres', order('cs_create_order', 'hub', $_)) for qw(placed shipped cancelled);
$node->safe_psql('postgres', q{SELECT cs_cancel_order('cancelled')});
$sandbox->advance($node->safe_psql('postgres', q{SELECT remote_id FROM cs_orders WHERE external_id = 'shipped'}), 'Shipped');
is($node->safe_psql('postgres', q{SELECT cs_order_status('shipped', '0 s')}), 'shipped', 'an order with a parcel');
$sandbox->faults({ action => 'drop_after', method => 'POST', path => 'orders$', times => 1 });
is(query_state($node, order('cs_create_order', 'shop_v1', 'uncertain')), 'PA009', 'an order that nobody knows of');
wait_for($node, q{SELECT count(*) = 0 FROM cs_internal.orders WHERE caller_xids IS NOT NULL AND lost_at IS NULL});

# Three that cannot be sent; then the queue stands still, so that both sides can be compared.
$node->safe_psql('postgres', q{ALTER SERVER hub OPTIONS (SET base_url 'http://127.0.0.1:1')});
$node->safe_psql('postgres', join ' ', map { order('cs_enqueue_order', 'hub', "queued-$_") } 1 .. 3);
wait_for($node, q{SELECT min(attempts) > 0 FROM cs_orders WHERE external_id LIKE 'queued-%'});
$node->append_conf('postgresql.conf', "cupsource.instance = 'closed'");
$node->reload;
$node->wait_for_log(qr/order queue of database "postgres" belongs to another cluster and is on hold/);
wait_for($node, q{SELECT count(*) = 3 FROM cs_orders WHERE external_id LIKE 'queued-%' AND state = 'queued'});
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (ADD refresh_interval '1 day')});

# ---- dumped and restored ----

my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
my $restored = cupsource_node('restored', extension => 0, conf => "cupsource.worker_linger = '0'\nlog_min_messages = debug1\n");
command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr('postgres') ], 'dumped');

# As slowly as can be: before the first row comes, a worker has looked at what is to be sent and refreshed, twice.
sub restore_part
{
	my ($part) = @_;

	return command_ok([ 'pg_restore', '--exit-on-error', "--section=$part", '-d', $restored->connstr('postgres'), $dump ], "restored: $part");
}
my $ended = qr/DEBUG:  background worker "cupsource worker[^"]*" \(PID \d+\) exited with exit code 0/;
my $requests = $sandbox->count;
my $looked = -s $restored->logfile;
restore_part('pre-data');
$restored->wait_for_log($ended, $looked);
$looked = -s $restored->logfile;
$restored->restart;
$restored->wait_for_log($ended, $looked);
is($restored->safe_psql('postgres', q{SELECT (SELECT count(*) FROM cs_internal.queue_claim) + (SELECT count(*) FROM cs_internal.catalog_runs)}), 0,
	'meanwhile the queue and the schedule are nobody\'s');
restore_part($_) for qw(data post-data);
$restored->append_conf('postgresql.conf', "cupsource.worker_linger = '60s'");
$restored->reload;

# Whatever the extension keeps, row by row; of sequences, where they stand.
sub contents
{
	my ($in, $database) = @_;
	my %contents;

	for (split /\n/, $in->safe_psql($database, q{
		SELECT c.oid::regclass, c.relkind FROM pg_extension AS e, unnest(e.extconfig) AS t (id) JOIN pg_class AS c ON c.oid = t.id
		 WHERE e.extname = 'cupsource'}))
	{
		my ($relation, $kind) = split /\|/;

		$contents{$relation} = $in->safe_psql($database, $kind eq 'S' ? "SELECT 1, last_value FROM $relation" :
			"SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM $relation AS t");
	}
	return \%contents;
}

is($sandbox->count, $requests, 'no partner was asked for anything');
my $before = contents($node, 'postgres');
is_deeply(contents($restored, 'postgres'), $before, 'every row is there, as it was');
for my $relation (qw(orders order_events order_attempts shipments queue_claim))
{
	cmp_ok($before->{"cs_internal.$relation"} =~ s/\|.*//sr, '>', 0, "rows of $relation among them");
}
is($restored->safe_psql('postgres', q{SELECT count(*) FROM cs_products}), $node->safe_psql('postgres', q{SELECT count(*) FROM cs_products}),
	'the catalogue');
my $history = q{SELECT count(*), count(DISTINCT unit_price) FROM cs_price_history WHERE sku = 'CS-8OZ-ECO'};
is($restored->safe_psql('postgres', $history), '2|2', 'and what it cost before');

# ---- on hold ----

my $held = 'held: this database is a copy, see cs_adopt_queue';
my $posts = $sandbox->count(method => 'POST', path => '.*/orders');
my $deletions = $sandbox->count(method => 'DELETE', path => '.*/orders/.*');
$restored->safe_psql('postgres', "ALTER SERVER hub OPTIONS (SET base_url '" . $sandbox->url . "');" . order('cs_enqueue_order', 'hub', 'here'));
$restored->wait_for_log(qr/order queue of database "postgres" belongs to another cluster and is on hold/);
is($restored->safe_psql('postgres', q{SELECT string_agg(DISTINCT reason, '; ') FROM cs_queue WHERE state = 'queued'}), $held,
	'a restored queue is on hold, and says so');
is(query_state($restored, order('cs_create_order', 'hub', 'called')), '55000', 'nothing is placed by a call either');
is($sandbox->count(method => 'POST', path => '.*/orders'), $posts, 'nothing was sent');

# In the same cluster it is a copy all the same.
$node->safe_psql('postgres', 'CREATE DATABASE second');
command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('second'), $dump ], 'restored beside the original');
is($node->safe_psql('second', q{SELECT string_agg(DISTINCT reason, '; ') FROM cs_queue WHERE state = 'queued'}), $held,
	'that queue is on hold, too');

# ---- adopted ----

# One of them was on the wire when the dump was made, and the worker that holds the queue still runs.
$restored->safe_psql('postgres', q{UPDATE cs_internal.orders SET state = 'sending', attempts = attempts + 1 WHERE external_id = 'queued-3'});
is($restored->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'cupsource worker'}), 1,
	'there is a worker');
is($restored->safe_psql('postgres', q{SELECT reason FROM cs_queue WHERE external_id = 'queued-3'}), $held, 'nothing of a copy is on the wire');
is(query_state($restored, "SET statement_timeout = '20s'; SELECT cs_cancel_order('$_')"), '55000', "a copy cancels nothing at the partner: $_")
  for qw(placed queued-3);
is(query_state($restored, q{SELECT cs_add_designs('placed', 1, '[{"url": "https://cdn.partner.com/a.png", "placement": "width1", "width_inches": 11,
	"height_inches": 11}]')}), '55000', 'nor does it change anything there');
is($sandbox->count(method => 'DELETE', path => '.*/orders/.*'), $deletions, 'nothing of that kind was asked for');

my $open = $restored->safe_psql('postgres',
	q{SELECT count(*) FROM cs_orders WHERE state IN ('queued', 'sending', 'uncertain', 'placed', 'shipped', 'orphaned') AND external_id <> 'here'});
is($restored->safe_psql('postgres', 'SELECT cs_adopt_queue()'), $open,
	'adopting says how many open orders came along');
wait_for($restored, q{SELECT count(*) = 0 FROM cs_orders WHERE state IN ('queued', 'sending')});
is($restored->safe_psql('postgres', q{SELECT string_agg(external_id, ' ' ORDER BY external_id) FROM cs_orders WHERE state = 'placed' AND server = 'hub'}),
	'here placed queued-1 queued-2 queued-3', 'then they are placed');
is(join(' ', sort map { $_->{external_id} } $sandbox->orders(api => 'customhub-v1')),
	'cancelled here placed queued-1 queued-2 queued-3 shipped', 'each once');
is($restored->safe_psql('postgres', q{SELECT state FROM cs_orders WHERE external_id = 'uncertain'}), 'uncertain',
	'what nobody knew of still waits for a person');

# ---- restored over itself ----

# Last night's dump has an order that was placed since, and the database that it comes into is the same one.
$restored->safe_psql('postgres', q{SELECT cs_resolve_order('uncertain', 'failed'); ALTER SERVER hub OPTIONS (SET base_url 'http://127.0.0.1:1')}
	  . q{; ALTER SERVER shop_v1 OPTIONS (SET base_url 'http://127.0.0.1:1', DROP refresh_interval);} . order('cs_enqueue_order', 'shop_v1', 'night'));
wait_for($restored, q{SELECT attempts > 0 AND state = 'queued' FROM cs_orders WHERE external_id = 'night'});
command_ok([ 'pg_dump', '-Fc', '-f', "$dump.night", '-d', $restored->connstr('postgres') ], 'dumped at night');
$restored->safe_psql('postgres', "ALTER SERVER shop_v1 OPTIONS (SET base_url '" . $sandbox->url . "/v1'); SELECT cs_resume('shop_v1')");
wait_for_state($restored, 'night', 'placed');
$posts = $sandbox->count(method => 'POST', path => '.*/orders');
$looked = -s $restored->logfile;
command_ok([ 'pg_restore', '--exit-on-error', '--clean', '--if-exists', '-d', $restored->connstr('postgres'), "$dump.night" ], 'restored over itself');
$restored->safe_psql('postgres', "ALTER SERVER shop_v1 OPTIONS (SET base_url '" . $sandbox->url . "/v1'); SELECT cs_resume('shop_v1');"
	  . order('cs_enqueue_order', 'shop_v1', 'morning'));
$restored->wait_for_log(qr/order queue of database "postgres" belongs to another cluster and is on hold/, $looked);
is($restored->safe_psql('postgres', q{SELECT external_id, reason FROM cs_queue WHERE state = 'queued' ORDER BY 1}), "morning|$held\nnight|$held",
	'what is restored over itself is a copy, too');
is($sandbox->count(method => 'POST', path => '.*/orders'), $posts, 'and sends nothing');
$restored->safe_psql('postgres', q{SELECT cs_cancel_order('night'); SELECT cs_adopt_queue()});
wait_for_state($restored, 'morning', 'placed');
is($restored->safe_psql('postgres', q{SELECT state FROM cs_orders WHERE external_id = 'night'}), 'cancelled',
	'what was placed since can be taken out before it is adopted');

done_testing();
