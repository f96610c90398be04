#!/usr/bin/perl
#
# A refresh is in no reader's way, and in nobody's: it blocks no query at any
# moment, no snapshot of it is older than its batch, the next page is on the wire
# while one is stored, and where it fails, what it did not reach stays.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $PRODUCTS = 1000;
my $PAGE = 100;

my $sandbox = CupsourceTest::Sandbox->start('--products' => $PRODUCTS, '--models' => 40, '--rate-limit' => 0);
my $node = cupsource_node('readers', conf => "autovacuum = off\n");
create_accounts($node, $sandbox, only => [qw(shop_v2 hub)], options => { rate_limit => 0 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# Statements in a session of their own.
sub session
{
	my (@statements) = @_;
	my %session = (out => '', err => '');

	$session{run} = IPC::Run::start(
		[ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), map { ('-c', $_) } @statements ],
		'<', \undef, '>', \$session{out}, '2>', \$session{err});
	return \%session;
}

# Everything that readers ask; each must be answered without waiting for any lock.
my @questions = map { "SELECT count(x) FROM $_ AS x" } (
	qw(cs_products cs_models cs_variations cs_placements cs_print_methods cs_prices cs_price_history cs_balance
	  cs_catalog_status cs_progress),
	q{cs_search('cup')}, q{cs_search(sku_prefix => 'CS')}, q{cs_search(min_price => 0.1, max_price => 1)},
	q{cs_offers('cup', 5000)}, q{cs_offers('{CS-8OZ-ECO}'::text[], 5000)}, q{cs_price_changes('-infinity')},
	q{cs_price_at('CS-8OZ-ECO', now(), 'shop_v2')}, q{cs_item_cost('BC-3001-L-BLACK', '{width1}', 'DTF')});

# The youngest transaction whose products are to be seen, and the oldest whose
# effects the refresh does not see: the latter is of a later batch, or the
# refresh holds its snapshot over the end of one.
my $newest = q{SELECT coalesce(max(xmin::text::bigint), 0) FROM cs_internal.products};
my $oldest = q{SELECT backend_xmin::text::bigint FROM pg_stat_activity WHERE query LIKE 'CALL cs_refresh%'};

sql(q{CALL cs_refresh_catalog('shop_v2'); CALL cs_refresh_catalog('hub')});
my %price = map { split /\|/ } split /\n/, sql('SELECT product_id, unit_price FROM cs_products WHERE unit_price IS NOT NULL');

# ---- In the middle of storing a page ----

# Every price has changed.  Two pages are stored; somebody has a row of the third one.
my @listed = split /\n/, sql(q{SELECT product_id FROM cs_products(server => 'shop_v2')});
my $third = $listed[ 2 * $PAGE + 50 ];
$sandbox->catalog(reprice_fraction => 1, api => 'cupsource');
my %new = map { split /\|/ } split /\n/, sql(q{SELECT product_id, unit_price FROM cs_products(server => 'shop_v2')});
is(scalar(grep { $new{$_} != $price{$_} } @listed), $PRODUCTS, 'every price has changed');
$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [3] });
$sandbox->forget;
my $call = session(q{CALL cs_refresh_catalog('shop_v2')});
$sandbox->wait_for_requests(3, path => '/v2/products');
wait_for($node, qq{SELECT done = 2 * $PAGE FROM cs_progress});

my $holder = $node->background_psql('postgres');
$holder->query_safe(qq{BEGIN; UPDATE cs_internal.products SET fetched_at = fetched_at WHERE product_id = '$third'});
$sandbox->no_faults;
$sandbox->forget;
wait_for($node, q{SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE query LIKE 'CALL cs_refresh%'});
$sandbox->wait_for_requests(2, path => '/v2/products');
is($sandbox->count(path => '/v2/products'), 2, 'while the third page is stored the fourth one is on the wire, and no other');
is(query_state($node, "SET lock_timeout = '1ms'; $_"), '00000', "$_ waits for nobody") for @questions;
sub current
{
	return { map { split /\|/ } split /\n/, sql(q{SELECT product_id, unit_price FROM cs_products WHERE server = 'shop_v2' AND discontinued_at IS NULL}) };
}
my %stored = (%price, map { $_ => $new{$_} } @listed[ 0 .. 2 * $PAGE - 1 ]);
is_deeply(current(), { map { $_ => $stored{$_} } @listed }, 'readers see two pages as they are, and the rest as it was');
my ($youngest, $held) = split /\|/, sql("SELECT ($newest), ($oldest)");
cmp_ok($held, '>', $youngest, 'the snapshot is that of the batch: it sees all that was committed');
$holder->query_safe('ROLLBACK');
$holder->quit;
$call->{run}->finish;
is_deeply(current(), \%new, 'then the refresh comes to its end');

# ---- All the time ----

# Readers of everything, one question after the other, through a first refresh
# and one with changes, absences and returns; and the snapshots meanwhile.
my $asked = join '; ', map { s/^SELECT/PERFORM/r } grep { !/cs_item_cost/ } @questions;
my $reader = <<"END";
DO \$\$
DECLARE
  rounds bigint := 0;
  newest bigint;
  oldest bigint;
BEGIN
  LOOP
    $asked;
    newest := ($newest);
    PERFORM pg_stat_clear_snapshot();
    oldest := ($oldest);
    IF oldest <= newest THEN
      RAISE 'a snapshot from before % is held after %', oldest, newest;
    END IF;
    rounds := rounds + 1;
    EXIT WHEN EXISTS (SELECT FROM done);
    COMMIT;
  END LOOP;
  RAISE NOTICE '% rounds', rounds;
END \$\$
END
sql('CREATE TABLE done ()');
for my $what ('a first refresh', 'one with changes')
{
	sql('TRUNCATE done');
	if ($what eq 'a first refresh')
	{
		sql("DELETE FROM cs_internal.$_") for qw(products models variations placements print_methods list_pages catalog_runs);
	}
	else
	{
		$sandbox->catalog(reprice_fraction => 0.5, remove => [qw(CS-8OZ-ECO CS-DOME-LID BC3001)]);
	}
	my $session = session(q{SET lock_timeout = '1ms'}, $reader);
	sql(q{CALL cs_refresh_catalog('shop_v2')});
	sql(q{CALL cs_refresh_catalog('hub')});
	sql('INSERT INTO done DEFAULT VALUES');
	$session->{run}->finish;
	like($session->{err}, qr/^NOTICE:  \d+ rounds$/, "readers wait for nobody, and no snapshot grows old, during $what");
}

# ---- Half-way ----

# It fails at the seventh page, of which nobody knows yet that it lacks anything.
%price = %{ current() };
$sandbox->catalog(reprice_fraction => 1, api => 'cupsource', remove => ['CS-CF-12DW']);
%new = map { split /\|/ } split /\n/, sql(q{SELECT product_id, unit_price FROM cs_products(server => 'shop_v2')});
@listed = split /\n/, sql(q{SELECT product_id FROM cs_products(server => 'shop_v2')});
my $complete = sql(q{SELECT last_complete_at FROM cs_catalog_status WHERE server = 'shop_v2'});
$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [7] });
is(query_state($node, q{SET cupsource.max_retries = 0; SET cupsource.timeout = '1s'; CALL cs_refresh_catalog('shop_v2')}), 'PA004',
	'a refresh fails half-way');
%stored = (%price, map { $_ => $new{$_} } @listed[ 0 .. 6 * $PAGE - 1 ]);
is_deeply(current(), \%stored, 'what it read is there, what it did not reach stays as it was, and nothing has vanished');
is(sql(q{SELECT concat_ws('|', state, pages_done, rows_done, last_complete_at) FROM cs_catalog_status WHERE server = 'shop_v2'}),
	join('|', 'failed', 6, 6 * $PAGE, $complete), 'which is said');
$sandbox->no_faults;
sql(q{CALL cs_refresh_catalog('shop_v2')});
is_deeply(current(), \%new, 'until the next one comes to its end');

# One price changes: so many rows are written.
my $sku = sql(q{SELECT max(sku) FROM cs_prices WHERE server = 'shop_v2'});
$sandbox->catalog(reprice => { $sku => '77.77' });
my $xid = sql('SELECT pg_current_xact_id()');
sql(q{CALL cs_refresh_catalog('shop_v2')});
is(join(' ', map { sql("SELECT '$_:' || count(*) FROM cs_internal.$_ WHERE xmin::text::bigint > $xid") }
	qw(products price_history list_pages)), 'products:1 price_history:1 list_pages:1', 'of what has changed the rows are written, and no other');
is(sql(qq{SELECT unit_price FROM cs_prices WHERE server = 'shop_v2' AND sku = '$sku'}), '77.77', 'with the new price');

# A model half-way: its detail, with its variations, is one thing.
my $variations = q{SELECT string_agg(concat_ws(' ', sku, blank_cost, discontinued_at), ',' ORDER BY sku) FROM cs_variations WHERE server = 'hub'};
my $before = sql($variations);
$sandbox->catalog(reprice_fraction => 1, api => 'customhub-v1');
$sandbox->faults({ action => 'status', status => 500, path => '/api/v1/models/.*' });
is(query_state($node, q{SET cupsource.max_retries = 0; CALL cs_refresh_catalog('hub')}), 'PA500', 'a refresh that has the list, but no detail,');
is(sql($variations), $before, 'leaves every variation as it was');
$sandbox->no_faults;
sql(q{CALL cs_refresh_catalog('hub')});
isnt(sql($variations), $before, 'until it has them');

$node->stop;
done_testing();
