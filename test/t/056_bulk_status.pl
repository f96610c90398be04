#!/usr/bin/perl
#
# Following many orders: the partner's list is read page by page, and only what
# it shows changed is asked for by itself.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('bulk', conf => "cupsource.max_retries = 0\n");
create_accounts($node, $sandbox, only => [qw(hub)], options => { rate_limit => 0, poll_interval => '1d', concurrency => 32 });

my $total = 250;
$node->safe_psql('postgres', qq{SELECT cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
	'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}',
	'po-' || n, NULL, 'hub') FROM generate_series(1, $total) AS n});
wait_for($node, "SELECT count(*) = $total FROM cs_orders WHERE state = 'placed'");

my @list = (method => 'GET', path => '/api/v1/orders');
my @single = (method => 'GET', path => '/api/v1/orders/.+');

# What the partner has, the newest first, as its list does.
my @there = map { $_->{external_id} } reverse $sandbox->orders(api => 'customhub-v1');
my %remote = map { split /\|/ } split /\n/, $node->safe_psql('postgres', 'SELECT external_id, remote_id FROM cs_orders');

# These orders are to be looked at now; whoever places an order has the worker look.
sub look
{
	my (@external_ids) = @_;
	my $ids = join ', ', map {"'$_'"} @external_ids;

	$sandbox->forget;
	return $node->safe_psql('postgres', "UPDATE cs_internal.orders SET poll_at = now() WHERE external_id IN ($ids); SELECT cs_resume()");
}

# All are known, and the worker has left: the next one begins with the list.
sub wait_until_looked
{
	return wait_for($node, q{
		SELECT NOT EXISTS (SELECT FROM cs_internal.orders WHERE poll_at <= now())
		   AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'cupsource worker')});
}

sub pages   { return join ' ', map { $_->{query}{page} } $sandbox->requests(@list) }
sub singles { return join ' ', sort map { $_->{path} =~ s{.*/}{}r } $sandbox->requests(@single) }

# ---- all of them ----

my @changed = @there[ 3, 120, 240 ];
$sandbox->advance($remote{$_}, 'Approved') for @changed;
my $before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
look(@there);
wait_until_looked();
is(pages(), '1 2 3', "$total orders are three pages");
is_deeply([ map { $_->{query}{pageSize} } $sandbox->requests(@list) ], [ (100) x 3 ], 'of a hundred');
is(singles(), join(' ', sort @remote{@changed}), 'and only what changed on them is asked for');
is($node->safe_psql('postgres', q{SELECT string_agg(external_id, ' ' ORDER BY external_id) FROM cs_orders WHERE state = 'approved'}),
	join(' ', sort @changed), 'which is known now');
is(order_count($node, q{state = 'placed'}), $total - 3, 'the others are as they were');
is($node->safe_psql('postgres', qq{SELECT bool_and(poll_at > now() + '12 hours'), count(*) FILTER (WHERE fetched_at > '$before') FROM cs_orders}),
	't|3', 'and all are put off; what is known of those is as old as it was');

# ---- a few ----

# Pages more than there are orders to look at are not worth reading.
look(@there[ -2, -1 ]);
wait_until_looked();
is(pages(), '1 2', 'for two old orders no third page is read');
is(singles(), join(' ', sort @remote{ @there[ -2, -1 ] }), 'they are asked for by themselves');
look($there[0]);
wait_until_looked();
is(pages(), '', 'for a single one no list is read');
is(singles(), $remote{ $there[0] }, 'but itself');

# ---- more, while what a list left open is still asked for ----

$sandbox->advance($remote{ $there[10] }, 'Approved');
$sandbox->faults({ action => 'hang', method => 'GET', path => '/orders/.+' });
look(@there[ 10, 11 ]);
$sandbox->wait_for_requests(1, @single);
is(singles(), $remote{ $there[10] }, 'the order that the list shows changed is asked for, and not answered yet');
look(@there[ 20 .. 29 ]);
wait_for($node, q{SELECT NOT EXISTS (SELECT FROM cs_internal.orders WHERE poll_at <= now() AND external_id <> '} . $there[10] . q{')});
like(pages(), qr/^1/, 'orders that become due meanwhile are looked up in a list of their own');
is(singles(), '', 'and not one by one');
$node->stop('immediate');
$sandbox->no_faults;
$node->start;
$node->safe_psql('postgres', 'SELECT cs_resume()');
wait_until_looked();

# ---- a page that does not come ----

$sandbox->advance($remote{$_}, 'Approved') for @there[ 0, 130 ];
$sandbox->faults({ action => 'status', status => 500, method => 'GET', path => '/orders$', nth => [2] });
look(@there);
wait_until_looked();
is(pages(), '1 2', 'after a page that fails the list is left');
is(order_count($node, q{state = 'approved'}), 6, 'and what it did not show is asked for one by one');
$sandbox->no_faults;
look(@there);
wait_until_looked();
is(pages(), '1 2 3', 'once: the next time it is a list');

# ---- a time that says nothing ----

# A partner's "no time" is year 1, and a minute earlier is no year at all.
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET remote.remote_created_at = '0001-01-01 00:00:00Z' WHERE external_id = '} . $there[7] . q{'});
look(@there[ 7, 8 ]);
wait_until_looked();
is(join(' ', map { $_->{query}{since} } $sandbox->requests(@list)), '2000-01-01T00:00:00Z 2000-01-01T00:00:00Z',
	'the list is asked for since a time that any API can read');

# ---- an end, and an unknown word ----

$sandbox->advance($remote{ $there[5] }, 'Shipped');
$sandbox->advance($remote{ $there[205] }, 'OnTheMoon');
look(@there);
wait_for_state($node, $there[5], 'shipped');
wait_for($node, q{SELECT remote_status = 'OnTheMoon' FROM cs_orders WHERE external_id = '} . $there[205] . q{'});
is($node->safe_psql('postgres', q{SELECT state, poll_at IS NOT NULL FROM cs_orders WHERE external_id = '} . $there[205] . q{'}), 'placed|t',
	'a status that no document knows is stored, and followed on');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_shipments WHERE external_id = '} . $there[5] . q{'}), '1', 'a parcel is found by the list');

# ---- parcels, which no list shows ----

# A shipped order that changed two days ago, and was asked for so long ago.
sub shipped_and_asked
{
	my ($ago) = @_;

	$node->safe_psql('postgres', qq{UPDATE cs_internal.orders SET changed_at = now() - interval '2 days', fetched_at = now() - interval '$ago'
		WHERE external_id = '$there[5]'});
	look(@there[ 5, 6 ]);
	return wait_until_looked();
}

shipped_and_asked('5 hours');
is(singles(), '', 'a shipped order is followed by the list');
my $parcel = $node->safe_psql('postgres', qq{SELECT shipment_id FROM cs_shipments WHERE external_id = '$there[5]'});
$sandbox->faults({ action => 'body', method => 'GET', path => "/orders/$remote{$there[5]}\$", content_type => 'application/json',
	text => qq({"success": true, "data": {"orderId": "$remote{$there[5]}", "productionStatus": "Shipped",
		"shipments": [{"shipmentId": "$parcel", "trackingNumber": "9400222"}]}}) });
shipped_and_asked('7 hours');
is(singles(), $remote{ $there[5] }, 'and asked for by itself from time to time,');
is($node->safe_psql('postgres', qq{SELECT tracking_number FROM cs_shipments WHERE external_id = '$there[5]'}), '9400222', 'because only that shows its tracking');
look(@there[ 5, 6 ]);
wait_until_looked();
is(singles(), '', 'not each time');
$sandbox->no_faults;

# ---- rows that cannot be read ----

# What is answered to the next lists.
sub list_says
{
	my ($data) = @_;

	return $sandbox->faults({ action => 'body', method => 'GET', path => '/orders$', content_type => 'application/json',
		text => qq({"success": true, "data": {$data}}) });
}

my @mine = @there[ 30, 31 ];
my ($changed, $unchanged) = @remote{@mine};
my $known = $node->safe_psql('postgres', qq{SELECT remote_status FROM cs_orders WHERE remote_id = '$unchanged'});

$sandbox->advance($changed, 'Approved');
list_says(qq("orders": [{"orderId": "theirs", "productionStatus": "Shipped", "lastShippedAt": "soon"}, {"orderId": null}, {"orderId": ""}, null, 7,
	{"orderId": "$unchanged", "productionStatus": "$known", "lastShippedAt": ""}, {"orderId": "$changed", "productionStatus": "Approved", "total": {}}]));
look(@mine);
wait_until_looked();
is(singles(), $changed, 'a list is read whatever is wrong with single rows of it');
is($node->safe_psql('postgres', qq{SELECT state FROM cs_orders WHERE remote_id = '$changed'}), 'approved', 'and what it shows changed is known');

list_says(qq("orders": [{"orderId": "$unchanged", "productionStatus": "$known", "status": "Cancelled"},
	{"orderId": "$changed", "productionStatus": "Approved", "status": "Progressing Shipment"}]));
look(@mine);
wait_until_looked();
is(singles(), $unchanged, 'a word beside it that tells of more is news, one that nobody knows is not');

# ---- an order that somebody has locked ----

my $locker = $node->background_psql('postgres');

$sandbox->no_faults;
$locker->query_safe(qq{UPDATE cs_internal.orders SET poll_at = now() WHERE remote_id = '$unchanged'});
$locker->query_safe(qq{BEGIN; SELECT FROM cs_internal.orders WHERE remote_id = '$unchanged' FOR UPDATE});
$sandbox->advance($changed, 'InProduction');
look($mine[0], $there[32]);
wait_for($node, qq{SELECT NOT EXISTS (SELECT FROM cs_internal.orders WHERE poll_at <= now() AND remote_id <> '$unchanged')});
is($node->safe_psql('postgres', qq{SELECT state FROM cs_orders WHERE remote_id = '$changed'}), 'in_production', 'an order that is locked keeps no other one waiting');
is($node->safe_psql('postgres', qq{SELECT poll_at <= now() FROM cs_orders WHERE remote_id = '$unchanged'}), 't', 'it is still to be looked at,');
$locker->query_safe('COMMIT');
$locker->quit;
wait_until_looked();
like(singles(), qr/\Q$unchanged\E/, 'and is, when it is free');

# ---- a list that cannot be read ----

my $log_size = -s $node->logfile;

list_says('"list": []');
look(@mine);
wait_until_looked();
is(pages(), '1', 'a list that is none');
is(singles(), join(' ', sort $changed, $unchanged), 'is as good as an empty one: all are asked for by themselves');
like(slurp_file($node->logfile, $log_size), qr/could not follow orders by the list of server "hub": malformed answer/, 'and the log tells why');
$sandbox->faults({ action => 'html', status => 200, method => 'GET', path => '/orders$' });
look(@mine);
wait_until_looked();
is(singles(), join(' ', sort $changed, $unchanged), 'so is what is no JSON');
$sandbox->no_faults;

# ---- a list that fails ----

for my $fault ({ action => 'status', status => 500 }, { action => 'drop_after' })
{
	$log_size = -s $node->logfile;
	$sandbox->faults({ %$fault, method => 'GET', path => '/orders$' });
	look(@mine);
	wait_until_looked();
	is(pages(), '1', "a list that fails ($fault->{action})");
	is(singles(), join(' ', sort $changed, $unchanged), 'while the orders can be had is given up for them');
	like(slurp_file($node->logfile, $log_size), qr/could not follow orders by the list of server "hub": /, 'which is told');

	# All of the partner fails: it is not asked for each of many orders.
	$sandbox->faults({ %$fault, method => 'GET', path => '/orders' });
	look(@there);
	wait_until_looked();
	is(pages(), '1', 'if all fails');
	cmp_ok(scalar(my @asked = $sandbox->requests(@single)), '<=', 2 * 32, 'not every order is asked for');
	$sandbox->no_faults;
	$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET error = NULL, failing_since = NULL WHERE failing_since IS NOT NULL});
}

# ---- an order that cannot be asked for ----

my $gone = $there[40];

# What is known of it, and whether it is left alone for that long at least.
sub in_vain
{
	my ($pause) = @_;

	return $node->safe_psql('postgres', qq{SELECT concat_ws(' ', state, error_sqlstate, error_code), poll_at > now() + interval '$pause'
		FROM cs_orders WHERE external_id = '$gone'});
}

$node->safe_psql('postgres', q{ALTER SERVER hub OPTIONS (SET poll_interval '1min')});
$sandbox->faults({ action => 'status', status => 404, method => 'GET', path => "/orders/$remote{$gone}\$" });
look($gone);
wait_until_looked();
is(in_vain('55 s'), 'placed PA404 NOT_FOUND|t', 'an order that the partner does not find stays as it was, and tells why');
like(slurp_file($node->logfile, $log_size), qr/could not follow order \d+ on server "hub": /, 'as the log does');
$node->safe_psql('postgres', qq{UPDATE cs_internal.orders SET failing_since = now() - interval '2 hours' WHERE external_id = '$gone'});
look($gone);
wait_until_looked();
is(in_vain('115 min'), 'placed PA404 NOT_FOUND|t', 'it is asked for ever more rarely');
$sandbox->no_faults;
look($gone);
wait_until_looked();
is(in_vain('55 s'), 'placed|t', 'until it is found again');

done_testing();
