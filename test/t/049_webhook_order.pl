# A thousand deliveries of webhooks, shuffled, some twice and some never, against
# a hundred orders: they end as if each had been delivered once and in order.
use strict;
use warnings;

use CupsourceTest;
use Digest::SHA qw(hmac_sha256_hex);
use IPC::Run;
use JSON::PP;
use List::Util qw(shuffle);
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $orders = 100;
my $deliveries = 1000;
my $json = JSON::PP->new->canonical;
my $node = cupsource_node('order');

# The same account three times: what differs is how the events are delivered.
# Nobody is asked for these orders.
my %secret = map { $_ => "whsec_$_" } qw(tidy messy crowd);
for my $server (sort keys %secret)
{
	$node->safe_psql('postgres', qq{
		CREATE SERVER $server FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2', base_url 'http://127.0.0.1:9/v2');
		CREATE USER MAPPING FOR PUBLIC SERVER $server OPTIONS (api_key 'k', webhook_secret '$secret{$server}');
		INSERT INTO cs_internal.orders (server, external_id, state, lines, created_by, origin, remote_id, remote.remote_status, fetched_at, next_attempt_at)
		SELECT '$server', 'po-' || n, 'placed', '[]', 'erp', cs_internal.origin(), 'ord_' || n, 'submitted',
		       '2036-01-01 00:00Z'::timestamptz + (n % 4) * interval '2 hours', NULL
		  FROM generate_series(1, $orders) AS n});
}
$node->safe_psql('postgres', 'CREATE ROLE webhook; GRANT EXECUTE ON FUNCTION cs_receive_webhook(text, text, text) TO webhook');

#
# The events: lives of orders, with steps back, words that nobody knows, several
# events in one second, and parcels of which each event tells a part.
#
srand 20360101;
my @steps = qw(approved in_production shipped delivered);
my @events;

for my $n (1 .. $orders)
{
	my $at = 2082758400 + int rand 7200;    # 2036-01-01
	my $step = 0;
	my @parcels = map {"1Z$n-$_"} 1 .. 1 + int rand 2;

	for my $k (1 .. 6 + int rand 8)
	{
		my $chance = rand;
		my %data = (order_id => "ord_$n", order_number => "N$n");
		my $type = 'production.milestone';

		$at += rand() < 0.3 ? 0 : int rand 3600;
		if ($chance < 0.06) { $data{order_status} = 'quality_hold'; }
		elsif ($chance < 0.10) { $type = "vendor.note.$k"; }
		elsif ($chance < 0.13) { $data{order_status} = rand() < 0.5 ? 'rejected' : 'cancelled'; $data{reason} = "reason $k"; }
		elsif ($chance < 0.20) { $step-- if $step > 0; $data{order_status} = $steps[$step]; }
		else { $data{order_status} = $steps[$step]; $step++ if $step < $#steps && rand() < 0.7; }
		if (rand() < 0.5)
		{
			$type = 'logistics.update';
			$data{tracking_number} = $parcels[ rand @parcels ];
			$data{shipment_id} = "s-$data{tracking_number}" if rand() < 0.3;
			$data{carrier} = (qw(UPS DHL FedEx))[ rand 3 ] if rand() < 0.5;
			$data{logistics_status} = "status $k" if rand() < 0.7;
			$data{tracking_url} = "https://track.example/$n/$k" if rand() < 0.3;
			$data{estimated_delivery} = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime($at + 86400)) if rand() < 0.3;
			$data{shipped_at} = strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $at) if rand() < 0.2;
		}
		push @events, { id => sprintf('evt_%03d_%02d', $n, $k), type => $type, at => $at,
			payload => $json->encode({ id => sprintf('evt_%03d_%02d', $n, $k), type => $type,
				created_at => strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $at), data => \%data }) };
	}
}
my $made = @events;

# Gaps: one in ten is never delivered.  The rest comes once, and what is missing
# to a thousand comes again.
@events = grep { rand() >= 0.1 } @events;
my @messy = shuffle(@events, map { $events[ rand @events ] } 1 .. $deliveries - @events);
my @tidy = sort { $a->{at} <=> $b->{at} || $a->{id} cmp $b->{id} } @events;

cmp_ok(scalar(@events), '<', $made, "gaps: $made events, " . @events . ' of them delivered');
cmp_ok(scalar(@events), '<', $deliveries, 'duplicates: the rest of a thousand');
is(scalar(@messy), $deliveries, 'a thousand deliveries');

sub calls
{
	my ($server, @deliveries) = @_;

	return map {
		my $payload = $_->{payload};

		sprintf "SELECT cs_receive_webhook('%s', 'sha256=%s', '$server');", $payload =~ s/'/''/gr, hmac_sha256_hex($payload, $secret{$server});
	} @deliveries;
}

# Their outcomes, counted.
sub deliver
{
	my ($server, @deliveries) = @_;
	my %count;

	$count{$_}++ for split /\n/, $node->safe_psql('postgres', join "\n", 'SET ROLE webhook;', calls($server, @deliveries));
	return \%count;
}

is_deeply(deliver('tidy', @tidy), { applied => scalar @events }, 'in order, each once');
is_deeply(deliver('messy', @messy), { applied => scalar @events, duplicate => $deliveries - @events }, 'shuffled, with duplicates and gaps');

# By several at a time: the deliveries are dealt out to files, one for each client.
my $scripts = PostgreSQL::Test::Utils::tempdir();
my $clients = 5;
my @running;

$node->safe_psql('postgres', "UPDATE cs_internal.orders SET remote_id = NULL WHERE server = 'crowd' AND external_id LIKE 'po-%7'");
for my $client (0 .. $clients - 1)
{
	my @mine = @messy[ grep { $_ % $clients == $client } 0 .. $#messy ];

	append_to_file("$scripts/$client", join "\n", calls('crowd', @mine), '');
	push @running, IPC::Run::start([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-f', "$scripts/$client" ],
		'>', "$scripts/$client.out", '2>', "$scripts/$client.err");
}
for my $client (0 .. $clients - 1)
{
	ok($running[$client]->finish, "client $client delivered its share") or diag(slurp_file("$scripts/$client.err"));
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_webhook_events WHERE server = 'crowd'}), scalar(@events), 'by five at once, each event is there once');
$node->safe_psql('postgres', q{
	UPDATE cs_internal.orders SET remote_id = replace(external_id, 'po-', 'ord_') WHERE server = 'crowd' AND remote_id IS NULL;
	SELECT cs_internal.webhooks_waiting(id, '1 min') FROM cs_internal.orders WHERE server = 'crowd'});

#
# What has become of the orders
#
sub ended
{
	my ($server) = @_;

	return [ split /\n/, $node->safe_psql('postgres', qq{
		SELECT o.external_id, o.state, o.remote_status, o.order_number, o.rejection_reason, o.cancelled_at, o.last_shipped_at,
		       (SELECT string_agg(concat_ws(' ', s.shipment_id, s.tracking_number, s.carrier, s.status, s.tracking_url, s.estimated_delivery, s.shipped_at), '; '
		                          ORDER BY s.shipment_id) FROM cs_shipments AS s WHERE s.order_id = o.id),
		       (SELECT string_agg(concat_ws(' ', e.at, e.type, e.detail), '; ' ORDER BY e.at, e.type, e.detail::text) FROM cs_order_events AS e
		         WHERE e.order_id = o.id AND e.source = 'remote')
		  FROM cs_orders AS o WHERE o.server = '$server' ORDER BY o.external_id}) ];
}

my $tidy = ended('tidy');
is(scalar(@$tidy), $orders, 'all orders are there');
is_deeply(ended('messy'), $tidy, 'each ended as if its events had come in order, each once: state, parcels, history');
is_deeply(ended('crowd'), $tidy, 'and so did those whose events came from several at once, or before the order');
is($node->safe_psql('postgres', q{SELECT count(DISTINCT state) > 4 AND bool_or(last_shipped_at IS NOT NULL) AND bool_or(rejection_reason IS NOT NULL)
	AND bool_or(remote_status = 'quality_hold') FROM cs_orders}), 't', 'the lives were various');
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_webhook_events WHERE outcome <> 'applied'}), 0, 'every event was applied');

# Everything again changes nothing.
my $before = $node->safe_psql('postgres', q{SELECT md5(string_agg(o::text, '' ORDER BY id)) FROM cs_internal.orders AS o});
is_deeply(deliver('messy', shuffle @messy), { duplicate => $deliveries }, 'the same thousand again are duplicates');
is($node->safe_psql('postgres', q{SELECT md5(string_agg(o::text, '' ORDER BY id)) FROM cs_internal.orders AS o}), $before, 'and change nothing');

$node->stop;
done_testing;
