#!/usr/bin/perl
#
# A refresh that is killed at twenty pages ends as one that was not; readers
# wait for nobody meanwhile, and no snapshot is older than a batch.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $PAGES = 50;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 20 * $PAGES, '--rate-limit' => 0);
my $node = cupsource_node('killed', conf => "autovacuum = off\n");
create_accounts($node, $sandbox, only => ['shop_v1'], options => { rate_limit => 0 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# Every stored row, but the times.
sub stored
{
	return join "\n", map { sql(<<"END") }
SELECT count(*) || ' ' || coalesce(md5(string_agg(x::text, ' ' ORDER BY x::text)), '')
  FROM (SELECT to_jsonb(t) - 'fetched_at' - 'price_since' - 'valid_from' - 'ended_at' - 'discontinued_at' - 'absent_run'
          || jsonb_build_object('gone', to_jsonb(t) ->> 'discontinued_at' IS NOT NULL) FROM cs_internal.$_ AS t) AS y (x)
END
	  qw(products price_history list_pages);
}

my ($in, $out, $err);
sub call
{
	($in, $out, $err) = ('', '', '');
	return IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', q{CALL cs_refresh_catalog('shop_v1')} ],
		'<', \$in, '>', \$out, '2>', \$err);
}

# The story: a first refresh, then one of a list where much has changed.
sub change
{
	my ($back) = @_;

	return $sandbox->reset(catalog => JSON::PP::true) if $back;
	return $sandbox->catalog(reprice_fraction => 0.2, remove => [ 'CS-8OZ-ECO', 'CS-DOME-LID' ]);
}
sql(q{CALL cs_refresh_catalog('shop_v1')});
change();
sql(q{CALL cs_refresh_catalog('shop_v1')}) for 1, 2;
my $whole = stored();
sql(q{TRUNCATE cs_internal.products, cs_internal.price_history, cs_internal.list_pages, cs_internal.catalog_runs});
change(1);

# Ended by a signal while it waits for a page, which is another one each time:
# in the first refresh, and in the second.
srand 20;
my $kills = 0;
my %positions;
for my $refresh (1, 2)
{
	change() if $refresh == 2;
	for my $kill (1 .. 10)
	{
		my $page = 1 + int rand 4;

		$sandbox->faults({ action => 'hang', path => '/v1/products', nth => [$page] });
		$sandbox->forget;
		my $call = call();
		$sandbox->wait_for_requests($page, path => '/v1/products');
		my $pid = sql(q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'CALL%'});

		if ($kill == 5)
		{
			# Others meanwhile.
			is(sql(q{SET lock_timeout = '1ms'; SELECT count(*) = count(unit_price) FROM cs_prices}), 't', 'a reader waits for no lock');
			wait_for($node, qq{SELECT backend_xmin IS NULL AND backend_xid IS NULL FROM pg_stat_activity WHERE pid = $pid});
			is(sql(qq{SELECT count(*) FROM pg_locks WHERE pid = $pid AND locktype = 'relation'}), 0,
				'while it waits for a page it holds no snapshot, no transaction id, no lock on a table');
		}
		sql("SELECT pg_terminate_backend($pid, 10000)");
		$call->finish;
		$kills++ if sql(q{SELECT state FROM cs_catalog_status}) eq 'failed';
		$positions{ sql(q{SELECT coalesce("position", '1') FROM cs_internal.catalog_runs}) }++;
		$sandbox->no_faults;
	}
	sql(q{CALL cs_refresh_catalog('shop_v1')});
}
is($kills, 20, 'twenty times killed');
cmp_ok(scalar keys %positions, '>', 10, 'at many a page');
sql(q{CALL cs_refresh_catalog('shop_v1')});
is(stored(), $whole, 'it ends as one that was not, row for row');

# One that fails half-way.
my $prices = sql(q{SELECT md5(string_agg(sku || unit_price, ' ' ORDER BY sku)) FROM cs_prices});
$sandbox->faults({ action => 'status', status => 500, path => '/v1/products', after => 20 });
$sandbox->forget;
is(query_state($node, q{SET cupsource.max_retries = 0; CALL cs_refresh_catalog('shop_v1')}), 'PA500', 'one that fails half-way');
is(sql(q{SELECT md5(string_agg(sku || unit_price, ' ' ORDER BY sku)) FROM cs_prices}), $prices, 'leaves readers what they had');

done_testing();
