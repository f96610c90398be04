#!/usr/bin/perl
#
# Fifty sessions with one key: the partner, which counts as its document says,
# never has to refuse, hardly a request of the allowance is left unused, orders
# go first, and nobody starves.
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
my $node = cupsource_node('limiter', conf => "max_connections = 100\ncupsource.rate_limit_wait = '10min'\n");
create_accounts($node, $sandbox, only => ['shop_v1']);

# Each call in a transaction of its own, until the time is over; what it waited.
$node->safe_psql('postgres', <<'END');
CREATE TABLE served (kind text, started float8, ended float8, error text);
CREATE PROCEDURE work(kind text, session int, until timestamptz, pause float8) LANGUAGE plpgsql AS $$
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
					format('po-%s-%s', session, i), '{"currency": "USD"}');
			ELSIF kind = 'status' THEN
				PERFORM FROM cs_order_tracking('followed');
			ELSE
				PERFORM FROM cs_products(max_rows => 1);
			END IF;
		EXCEPTION WHEN OTHERS THEN
			error := sqlstate;
		END;
		INSERT INTO served SELECT kind, extract(epoch FROM started), extract(epoch FROM clock_timestamp()), error;
		COMMIT;
		PERFORM pg_sleep(pause);
	END LOOP;
END $$;
END
is($node->safe_psql('postgres', q{SELECT state FROM cs_create_order('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]',
	'{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}', 'followed',
	'{"currency": "USD"}')}), 'placed', 'there is an order to follow');

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
sessions(5, "CALL work('order', SESSION, '$until', $pause)");
sessions(8, "CALL work('status', SESSION, '$until', 0)");
sessions(36, "CALL work('read', SESSION, '$until', 0)");
push @sessions, IPC::Run::start(
	[ 'bash', '-c', 'while [ $(date +%s) -lt $1 ]; do psql -Xq -d "$2" -c "CALL cs_refresh_catalog()"; done', 'refresh',
		int(time + $duration), $node->connstr('postgres') ],
	'<', \undef, '>', \my $out, '2>', \my $err);
is(scalar @sessions, 50, 'fifty sessions');
$_->finish for @sessions;

my @requests = sort { $a->{at} <=> $b->{at} } $sandbox->requests;
is(scalar(grep { ($_->{status} // 0) == 429 } @requests), 0, 'the partner never had to refuse');

# How many came in the minute that ends with each; the first minute begins with a full allowance.
note(scalar(@requests) . " requests");
my $busiest = 0;
my $first = 0;
for my $last (0 .. $#requests)
{
	$first++ while $requests[$first]{at} <= $requests[$last]{at} - $MINUTE;
	$busiest = max($busiest, $last - $first + 1);
}
cmp_ok($busiest, '<=', $LIMIT, "never more than $LIMIT in a minute");
my $begin = $requests[0]{at};
my $two_minutes = grep { $_->{at} < $begin + 2 * $MINUTE } @requests;
cmp_ok($two_minutes, '>=', 0.95 * 2 * $LIMIT, "at least 95 % of the allowance of two minutes is used: $two_minutes of " . 2 * $LIMIT);

is($node->safe_psql('postgres', 'SELECT string_agg(DISTINCT error, $$ $$) FROM served'), '', 'and no caller was refused');
my %served = map { split /\|/, $_, 2 } split /\n/, $node->safe_psql('postgres',
	'SELECT kind, count(*), round(max(ended - started)::numeric, 1),
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ended - started)::numeric, 1) FROM served GROUP BY kind');
note("$_: served|longest s|median s $served{$_}") for sort keys %served;
is(join(' ', sort keys %served), 'order read status', 'reads and the following of orders get their share');
cmp_ok((split /\|/, $served{status})[0], '>=', 8, 'each of them');

# While an order waits, the next to leave is an order; not counted is what left
# with it, for a place each.
my $clock = time - clock_gettime(CLOCK_MONOTONIC);
my @others = grep { $_->{method} ne 'POST' } @requests;
my ($waited, $passed) = (0, 0);
for (split /\n/, $node->safe_psql('postgres', q{SELECT started, ended FROM served WHERE kind = 'order' AND ended - started > 0.5}))
{
	my ($started, $ended) = map { $_ - $clock } split /\|/;

	$waited++;
	$passed += grep { $_->{at} > $started + 0.1 && $_->{at} < $ended - 0.3 } @others;
}
note("$waited orders waited, passed by $passed");
cmp_ok($waited, '>', 0, 'some orders find the minute full');
cmp_ok($passed, '<=', $waited / 4, 'and go out before whatever else waits');
cmp_ok($node->safe_psql('postgres', q{SELECT run + attempts FROM cs_internal.catalog_runs}), '>=', 3, 'the catalogue is refreshed as well');

$sandbox->stop;
$node->stop;
done_testing();
