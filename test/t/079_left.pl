#!/usr/bin/perl
#
# A caller who leaves before his order was sent rolls back: then it is not sent,
# whatever it waited for, unless somebody comes back for it.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('left', conf => "cupsource.rollback_grace = '500ms'\ncupsource.rate_limit_wait = '1min'\n");
create_accounts($node, $sandbox, only => [qw(shop_v2 hub)], options => { rate_limit => 0, poll_interval => '1d' });

my @posts = (method => 'POST', path => '/v2/orders');

sub order
{
	my ($external_id) = @_;

	return qq{cs_create_order('[{"product_id": "prod_8x92k4m", "quantity": 5000}]', '{"line1": "123 Warehouse Blvd", "city": "Portland",
		"state": "OR", "postal_code": "97201", "country": "US"}', '$external_id', '{"shipping_method": "freight_pallet"}', 'shop_v2')};
}

# The partner asks for a pause, in which the next order waits for its place.
sub paused
{
	my ($seconds) = @_;

	$sandbox->faults({ action => 'rate_limited', retry_after => $seconds, method => 'GET', path => '/products', times => 1 });
	is(query_state($node, q{SET cupsource.max_retries = 0; SELECT * FROM cs_products(server => 'shop_v2', max_rows => 1)}), 'PA429', 'a pause');
	$sandbox->forget;
	return;
}

sub history
{
	my ($external_id) = @_;

	return $node->safe_psql('postgres', qq{SELECT string_agg(type, ' ' ORDER BY id) FROM cs_order_events WHERE external_id = '$external_id'});
}

paused(2);
is(query_state($node, q{SET statement_timeout = '300ms'; SELECT } . order('given up')), '57014', 'its caller does not wait so long');
wait_for($node, q{SELECT state = 'cancelled' FROM cs_orders WHERE external_id = 'given up'});
is(history('given up'), 'queued rolled_back cancelled', 'it is cancelled');
is($sandbox->count(@posts), 0, 'and never sent');

# Where a token has to come before the place, the order stands as sending by then.
$sandbox->faults({ action => 'rate_limited', retry_after => 2, method => 'GET', path => '.*', times => 1 });
is(query_state($node, q{SET cupsource.max_retries = 0; SELECT * FROM cs_products(server => 'hub', max_rows => 1)}), 'PA429', 'a pause at CustomHub');
$sandbox->forget;
is(query_state($node, q{SET statement_timeout = '300ms'; SELECT cs_create_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
	'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}',
	'given up there', NULL, 'hub')}), '57014', 'where a caller gives up as well');
wait_for($node, q{SELECT state = 'cancelled' FROM cs_orders WHERE external_id = 'given up there'});
like(history('given up there'), qr/^queued sending (?:rolled_back queued|queued rolled_back) cancelled$/, 'it is put back, and cancelled');
is($sandbox->count(method => 'POST', path => '.*/orders'), 0, 'and never sent either');

paused(2);
is(query_state($node, q{SET statement_timeout = '300ms'; SELECT } . order('wanted again')), '57014', 'another');
is(query_state($node, 'SELECT state FROM ' . order('wanted again')), '00000', 'a caller who comes back for it has it placed');
is($sandbox->count(@posts), 1, 'once');

# The same after an attempt that was turned away.
$sandbox->faults({ action => 'rate_limited', retry_after => 2, @posts[ 0, 1 ], path => '/orders$', times => 1 });
$sandbox->forget;
is(query_state($node, q{SET statement_timeout = '300ms'; SELECT } . order('turned away')), '57014', 'its caller does not wait for another try');
wait_for($node, q{SELECT state = 'cancelled' FROM cs_orders WHERE external_id = 'turned away'});
is($sandbox->count(@posts), 1, 'it is not tried again');

# Nor when somebody has all that wait tried at once.
$sandbox->faults({ action => 'rate_limited', retry_after => 2, @posts[ 0, 1 ], path => '/orders$', times => 1 });
$sandbox->forget;
my $open = $node->background_psql('postgres', on_error_stop => 0);
$open->query_safe('BEGIN; SAVEPOINT s; SET statement_timeout = 300');
$open->query('SELECT state FROM ' . order('resumed'));
wait_for($node, q{SELECT state = 'queued' FROM cs_orders WHERE external_id = 'resumed'});
$node->safe_psql('postgres', q{SELECT cs_resume('shop_v2')});
is(query_state($node, 'SELECT state FROM ' . order('another')), '00000', 'after the pause another order is placed');
is($sandbox->count(@posts), 2, 'and the one whose caller is undecided waits');
$open->query('ROLLBACK');
wait_for($node, q{SELECT state = 'cancelled' FROM cs_orders WHERE external_id = 'resumed'});
is($sandbox->count(@posts), 2, 'for nothing, as he rolls back');
$open->quit;

done_testing();
