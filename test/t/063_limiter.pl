#!/usr/bin/perl
#
# Fifty sessions with one key: the partner, which counts as its document says,
# never has to refuse, hardly a request of the allowance is left unused, orders
# go first, and nobody starves.  Thirty others with another key only read, and
# one orders: it does not wait for them.
#
# A minute is shorter here, for the budget's clock and for the partner alike; but
# by how much our minute is longer than the partner's, because requests do not
# take equally long to arrive, is as ever (CS_BUDGET_WINDOW_US).
use strict;
use warnings;
use CupsourceTest;
use IPC::Run ();
use List::Util qw(max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time clock_gettime CLOCK_MONOTONIC);

my $SPEED = $ENV{CUPSOURCE_CLOCK_SPEED} //= 5;
my $MINUTE = 60.25 / $SPEED - 0.25;
my $LIMIT = 120;
my $MINUTES = 2.2;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5);
$sandbox->settings(minute => $MINUTE);
my $node = cupsource_node('limiter', conf => "max_connections = 120\ncupsource.rate_limit_wait = '10min'\n");
create_accounts($node, $sandbox, only => ['shop_v1']);
$sandbox->control(POST => 'keys', { api => 'cupsource-v1', key => 'cs_live_readers' });
$node->safe_psql('postgres', q{CREATE SERVER readers FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', base_url '} . $sandbox->url . q{/v1');
	CREATE USER MAPPING FOR PUBLIC SERVER readers OPTIONS (api_key 'cs_live_readers')});
my %KEY = (shop_v1 => 'cs_live_v1_demo', readers => 'cs_live_readers');

# Each call in a transaction of its own, until the time is over; what it waited.
$node->safe_psql('postgres', <<'END');
CREATE TABLE served (server text, kind text, started float8, ended float8, error text);
CREATE PROCEDURE work(server text, kind text, session int, until timestamptz, pause float8) LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz;
	error text;
BEGIN
	FOR i IN 1 .. 1000000 LOOP
		started := clock_timestamp();
		EXIT WHEN started >= until;
		error := NULL;
		BEGIN
			IF kind = 'order' THEN
				PERFORM cs_create_order('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]',
					'{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}',
					format('po-%s-%s', session, i), '{"currency": "USD"}', server);
			ELSIF kind = 'status' THEN
				PERFORM FROM cs_order_tracking('followed', server);
			ELSE
				PERFORM FROM cs_products(max_rows => 1, server => server);
			END IF;
		EXCEPTION WHEN OTHERS THEN
			error := sqlstate;
		END;
		INSERT INTO served SELECT server, kind, extract(epoch FROM started), extract(epoch FROM clock_timestamp()), error;
		COMMIT;
		PERFORM pg_sleep(pause);
	END LOOP;
END $$;
END
is($node->safe_psql('postgres', q{SELECT state FROM cs_create_order('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]',
	'{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}', 'followed',
	'{"currency": "USD"}', 'shop_v1')}), 'placed', 'there is an order to follow');

my $duration = $MINUTE * $MINUTES;
my $until = $node->safe_psql('postgres', "SELECT now() + interval '$duration s'");
my @sessions;
my $number = 0;

sub sessions
{
	my ($count, $sql) = @_;

	push @sessions, map {
		my $statement = $sql =~ s/SESSION/$number++/er;

		IPC::Run::start([ 'psql', '-Xq', '-d', $node->connstr('postgres'), '-c', $statement ], '<', \undef, '>', \my $out, '2>', \my $err)
	} 1 .. $count;
	return;
}

my $pause = $MINUTE / 10;
sessions(5, "CALL work('shop_v1', 'order', SESSION, '$until', $pause)");
sessions(8, "CALL work('shop_v1', 'status', SESSION, '$until', 0)");
sessions(36, "CALL work('shop_v1', 'read', SESSION, '$until', 0)");
push @sessions, IPC::Run::start(
	[ 'bash', '-c', q{while [ $(date +%s) -lt $1 ]; do psql -Xq -d "$2" -c "CALL cs_refresh_catalog('shop_v1')"; done}, 'refresh',
		int(time + $duration), $node->connstr('postgres') ],
	'<', \undef, '>', \my $out, '2>', \my $err);
is(scalar @sessions, 50, 'fifty sessions');
sessions(30, "CALL work('readers', 'read', SESSION, '$until', 0)");
sessions(1, "CALL work('readers', 'order', SESSION, '$until', $pause)");
$_->finish for @sessions;

my @everything = sort { $a->{at} <=> $b->{at} } $sandbox->requests;
is(scalar(grep { ($_->{status} // 0) == 429 } @everything), 0, 'the partner never had to refuse');

# How many came in the minute that ends with each; the first minute begins with a full allowance.
for my $account ([ 'shop_v1', 'the fifty' ], [ 'readers', 'readers with hardly an order' ])
{
	my ($server, $who) = @$account;
	my @these = grep { $_->{key} eq $KEY{$server} } @everything;
	my ($busiest, $first) = (0, 0);

	for my $last (0 .. $#these)
	{
		$first++ while $these[$first]{at} <= $these[$last]{at} - $MINUTE;
		$busiest = max($busiest, $last - $first + 1);
	}
	cmp_ok($busiest, '<=', $LIMIT, "$who: never more than $LIMIT in a minute");
	my $begin = $these[0]{at};
	my $two_minutes = grep { $_->{at} < $begin + 2 * $MINUTE } @these;
	cmp_ok($two_minutes, '>=', 0.95 * 2 * $LIMIT, "$who: at least 95 % of the allowance of two minutes is used: $two_minutes of " . 2 * $LIMIT);
}

is($node->safe_psql('postgres', 'SELECT string_agg(DISTINCT error, $$ $$) FROM served'), '', 'and no caller was refused');
my %served = map { my ($key, @figures) = split /\|/; $key => \@figures } split /\n/, $node->safe_psql('postgres', q{
	SELECT concat_ws(' ', server, kind), count(*), round(max(ended - started)::numeric, 1),
	       round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ended - started)::numeric, 1) FROM served GROUP BY server, kind});
note(sprintf '%s: %d served, the longest in %s s, half of them in %s s', $_, @{ $served{$_} }) for sort keys %served;
is(join(', ', sort keys %served), 'readers order, readers read, shop_v1 order, shop_v1 read, shop_v1 status',
	'reads and the following of orders get their share');
cmp_ok($served{'shop_v1 status'}[0], '>=', 8, 'each of them');
cmp_ok($node->safe_psql('postgres', q{SELECT run + attempts FROM cs_internal.catalog_runs}), '>=', 3, 'the catalogue is refreshed as well');

# While an order waits, the next to leave is an order, or one of a kind of which
# none has left for as long as twenty places last.  Not counted is what left
# with it, for a place each.
my $clock = time - clock_gettime(CLOCK_MONOTONIC);
my $PATIENCE = 20 / $LIMIT * $MINUTE;

# What waited in a row: where it came from, and how many others passed.
sub passed
{
	my ($server, $longer) = @_;
	my @others = grep { $_->{method} ne 'POST' && $_->{key} eq $KEY{$server} } @everything;
	my ($waited, $passed) = (0, 0);
	my %last;

	for my $other (@others)
	{
		my $kind = $other->{path} =~ m{/orders} ? 'status' : ($other->{query} // '') =~ /limit=1\b/ ? 'read' : 'refresh';

		$other->{overdue} = $other->{at} - ($last{$kind} // 0) > 0.9 * $PATIENCE;
		$last{$kind} = $other->{at};
	}
	for (split /\n/, $node->safe_psql('postgres',
			"SELECT started, ended FROM served WHERE server = '$server' AND kind = 'order' AND ended - started > $longer"))
	{
		my ($started, $ended) = map { $_ - $clock } split /\|/;

		$waited++;
		$passed += grep { !$_->{overdue} && $_->{at} > $started + 0.1 && $_->{at} < $ended - 0.3 } @others;
	}
	note("$server: $waited orders waited, passed by $passed");
	return ($waited, $passed);
}

my ($waited, $passed) = passed('shop_v1', 0.5);
cmp_ok($waited, '>', 0, 'where every third is one, some orders find the minute full');
# By their turn, each would be passed by at least one.
cmp_ok($passed, '<=', $waited / 2, 'and go out before whatever else waits');

my $orders = $served{'readers order'}[0];
cmp_ok($orders, '>=', 15, 'where others only read, there are orders all the time');
my $place_ms = 1000 * $MINUTE / $LIMIT;
my ($mean_ms) = $node->safe_psql('postgres', q{SELECT limiter_ms / calls FROM cs_stat_requests WHERE server = 'readers' AND endpoint = 'POST /orders'});
cmp_ok($mean_ms, '<', $place_ms, "which wait for no more than a place: $mean_ms ms");
cmp_ok((passed('readers', 0))[1], '<=', $orders, 'and are not passed by more than one read each');

$sandbox->stop;
$node->stop;
done_testing();
