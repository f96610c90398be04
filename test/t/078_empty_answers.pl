#!/usr/bin/perl
#
# A success without a body says nothing: it is an answer of its own only where
# there may be nothing to say, and never a list in which something is missing.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('empty', conf => "cupsource.max_retries = 0\n");
create_accounts($node, $sandbox, only => [qw(shop_v1 hub)], options => { rate_limit => 0, poll_interval => '1d' });

my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my %address = (
	hub => '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}',
	shop_v1 => '{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}',
);
my %options = (hub => '{}', shop_v1 => '{"currency": "USD"}');
my %sku = (hub => 'BC-3001-L-BLACK', shop_v1 => 'CS-8OZ-ECO');

sub place
{
	my ($server, $external_id) = @_;

	return query_state($node, qq{SELECT FROM cs_create_order('[{"sku": "$sku{$server}", "quantity": 5000}]', '$address{$server}',
		'$external_id', '$options{$server}', '$server')});
}

# What the partner answers to such requests from now on.
sub answers_nothing
{
	my ($status, $method, $path, %more) = @_;

	$sandbox->faults({ action => 'body', status => $status, text => '', $method ? (method => $method) : (), path => $path, %more });
	$sandbox->forget;
	return;
}

sub answer_of
{
	my ($sql) = @_;
	my (undef, $out, $problem) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	return $problem =~ /ERROR:  (.*)/ ? $1 : $out;
}

my $nothing = qr/^PA006: malformed answer from server "hub": .*: the answer is empty \(HTTP status 20[04]\)$/;

# The calls of a session.
place('hub', 'designed');
for my $status (200, 204)
{
	answers_nothing($status, undef, '/api/v1/');
	for (
		[ 'models', 'SELECT * FROM cs_models(server => $$hub$$)' ],
		[ 'a model', 'SELECT * FROM cs_model($$m$$, $$hub$$)' ],
		[ 'a balance', 'SELECT * FROM cs_balance($$hub$$)' ],
		[ 'orders', 'SELECT * FROM cs_orders(server => $$hub$$)' ],
		[ 'a quote', qq{SELECT * FROM cs_quote_order('[{"sku": "x", "quantity": 1}]', '$address{hub}', NULL, 'hub')} ],
		[ 'a refresh', 'CALL cs_refresh_catalog($$hub$$)' ],
		[ 'the order that designs are for', q{SELECT cs_add_designs('designed', 1,
			'[{"url": "https://cdn.partner.com/a.png", "placement": "width1", "width_inches": 1, "height_inches": 1}]')} ])
	{
		like(answer_of($_->[1] =~ s/\n\s*/ /gr), $nothing, "$_->[0], status $status");
	}
}
$sandbox->no_faults;

# What the worker asks.  A list that is empty shows no order, one that is not there does not.
place('hub', "listed $_") for 1 .. 3;
answers_nothing(200, 'GET', '/orders', times => 1);
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET poll_at = now() WHERE server = 'hub'});
$node->safe_psql('postgres', q{SELECT cs_resume('hub')});
$sandbox->wait_for_requests(1, method => 'GET', path => '/api/v1/orders');
wait_for($node, q{SELECT failures > 0 FROM cs_stat_workers WHERE database = current_database()});
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT state, ' ') FROM cs_orders WHERE server = 'hub'}), 'placed',
	'a list that is not there changes no order');
like(answer_of(q{SELECT cs_order_status('listed 1', '0')}), qr/^placed$/, 'and the next look has its answer');

is(place('shop_v1', 'tracked'), '00000', 'an order of which only the parcels can be asked for');
for my $status (200, 204)
{
	answers_nothing($status, 'GET', '/tracking');
	is(answer_of(q{SELECT count(*) FROM cs_order_tracking('tracked')}), '0', "status $status without a body: nothing is under way");
	is($sandbox->count(method => 'GET', path => '/v1/orders/[^/]+/tracking'), 1, 'it was asked for once');
}
$sandbox->no_faults;

# Whether an order is there, long after it was sent.
sub seen
{
	my ($external_id) = @_;

	return join ' ', $sandbox->count(method => 'POST', path => '/api/v1/orders', status => 201),
	  scalar(my @orders = $sandbox->orders(external_id => $external_id));
}

$sandbox->faults({ action => 'drop_after', method => 'POST', path => '/orders$', times => 1 },
	{ action => 'rate_limited', retry_after => 3600, method => 'POST', path => '/orders$', times => 1 });
$node->safe_psql('postgres', qq{SELECT cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '$address{hub}', 'old', NULL, 'hub')});
wait_for($node, q{SELECT state = 'queued' AND attempts = 2 FROM cs_orders WHERE external_id = 'old'});
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET sent_at = sent_at - interval '91 days' WHERE external_id = 'old'});
$sandbox->advance_clock(91 * 86400);
answers_nothing(200, 'GET', '/orders$', times => 2);
$node->safe_psql('postgres', q{SELECT cs_resume('hub')});
wait_for_state($node, 'old', 'placed');
is($sandbox->count(method => 'GET', path => '/api/v1/orders', status => 200), 3, 'a look-up that says nothing is repeated');
is(seen('old'), '0 1', 'and nothing is sent for it');

is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server has not been down');
done_testing();
