#!/usr/bin/perl
#
# A refresh whose process is killed with -9 at twenty random pages, and the
# server with it, ends as one that was not, row for row: a list, and a list with
# details.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $KILLS = 20;

# The pages or details of a refresh, and what becomes of the catalogue: prices,
# and items that go.  Absence counts at the second time (v1) or when the detail
# is gone, too (hub).
my %CATALOGUE = (
	shop_v1 => { pages => 30, path => '/v1/products', remove => [ 'CS-8OZ-ECO', 'CS-DOME-LID' ] },
	hub => { pages => 30, path => '/api/v1/models.*', remove => ['BC3001'] });

my $sandbox = CupsourceTest::Sandbox->start('--products' => 20 * $CATALOGUE{shop_v1}{pages}, '--models' => $CATALOGUE{hub}{pages} - 1,
	'--variations' => 10, '--rate-limit' => 0);
my $node = cupsource_node('killed', conf => "autovacuum = off\nrestart_after_crash = on\n");
create_accounts($node, $sandbox, only => [ keys %CATALOGUE ], options => { rate_limit => 0, detail_budget => 10 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

my @tables = qw(products models variations placements print_methods price_history list_pages);

# Every stored row, but the times and the numbers of runs; and what a reader sees.
sub stored
{
	return map { sql(<<"END") }
SELECT '$_ ' || count(*) || ' ' || coalesce(md5(string_agg(x::text, ' ' ORDER BY x::text)), '')
  FROM (SELECT to_jsonb(t) - '{fetched_at,price_since,valid_from,ended_at,discontinued_at,absent_run,detail_at,valid}'::text[]
          || jsonb_build_object('gone', to_jsonb(t) ->> 'discontinued_at' IS NOT NULL) FROM $_ AS t) AS y (x)
END
	  (map { "cs_internal.$_" } @tables), qw(cs_price_history),
	  '(SELECT server, state, products, skus FROM cs_catalog_status)';
}

sub change
{
	my ($server) = @_;

	return $sandbox->catalog(
		reprice_fraction => 0.2, api => $server eq 'hub' ? 'customhub-v1' : 'cupsource', remove => $CATALOGUE{$server}{remove});
}

# What happens to each catalogue: read, changed, read; and again, for what was absent.
sub story
{
	my ($refresh) = @_;

	for my $server (sort keys %CATALOGUE)
	{
		$refresh->($server);
		change($server);
		$refresh->($server);
		sql("CALL cs_refresh_catalog('$server', full => true)");
	}
	return;
}

# Without kills.
story(sub { my ($server) = @_; return sql("CALL cs_refresh_catalog('$server')"); });
my @whole = stored();
is(sql(q{SELECT string_agg(products::text, ' ' ORDER BY server) FROM cs_catalog_status}), '28 598', 'refreshes that nobody disturbs');
sql('TRUNCATE cs_internal.catalog_runs, ' . join ', ', map { "cs_internal.$_" } @tables);
$sandbox->reset(catalog => JSON::PP::true);

# With: half of them while it waits for a page, the others when all of the page
# is written and nothing committed; before half of them what was committed is on
# the disk, the others take some of it along.
srand 20;
my ($killed, $in, $out, $err) = (0);
my %positions;

sub killed_refresh
{
	my ($server, $storing, $flush) = @_;
	my $path = $CATALOGUE{$server}{path};
	my $page = 2 + int rand 4;

	$sandbox->faults({ action => 'hang', path => $path, nth => [$page] });
	$sandbox->forget;
	my $call = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "CALL cs_refresh_catalog('$server')" ],
		'<', \undef, '>', \$out, '2>', \$err);
	$sandbox->wait_for_requests($page, path => $path);
	my $pid = sql(q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL%'});
	my $holder;
	if (!$storing)
	{
		# The page before is stored.
		wait_for($node, qq{SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = $pid});
	}
	else
	{
		# The checkpoint comes last.
		$holder = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c',
				'BEGIN; LOCK TABLE cs_internal.catalog_runs IN SHARE MODE; SELECT pg_sleep(1000)' ],
			'<', \undef, '>', \my $none, '2>', \my $lost);
		wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'BEGIN%' AND wait_event = 'PgSleep'});
		$sandbox->no_faults;
		wait_for($node, qq{SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $pid});
	}
	sql('SELECT pg_current_xact_id()') if $flush;
	$killed += kill 'KILL', $pid;
	$_->finish for grep { defined } $call, $holder;
	$sandbox->no_faults;
	# It stands there until the postmaster has noticed, and started all anew.
	wait_for($node, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid");
	$positions{ $server . sql(qq{SELECT concat_ws(' ', run, phase, rows_done) FROM cs_internal.catalog_runs WHERE server = '$server'}) }++;
	return;
}

story(sub {
	my ($server) = @_;

	killed_refresh($server, $_ % 2, int $_ / 2 % 2) for 1 .. $KILLS / 2;
	return sql("CALL cs_refresh_catalog('$server')");
});
is($killed, 2 * $KILLS, 'as many times killed as was wanted');
# Before every second one all is on the disk that was stored, a page more at least; a
# refresh of shop_v1 has five of those, two are made, and hub's come on top.
cmp_ok(scalar keys %positions, '>', 10, 'at many a page');
is_deeply([ stored() ], \@whole, 'they end as those that were not, row for row');
unlike(slurp_file($node->logfile), qr/TRAP:|PANIC:/, 'and without any accident');

$node->stop;
done_testing();
