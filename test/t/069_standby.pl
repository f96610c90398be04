#!/usr/bin/perl
#
# On a hot standby: every view and what only reads works, for a role that may
# only read as well; statistics and health are the standby's own; what would
# send or store is refused with the usual error.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--models' => 2, '--rate-limit' => 0);
my $node = cupsource_node('primary', streaming => 1);
create_accounts($node, $sandbox, options => { rate_limit => 0 });
my $order = q{'[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way", "city": "Portland", "state": "OR",
	"postal_code": "97201"}', 'ID', '{"currency": "USD"}', 'shop_v1'};
$node->safe_psql('postgres', "SELECT state FROM cs_create_order($order)");
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('shop_v1')});
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('hub')});
$node->safe_psql('postgres', q{CREATE ROLE reader; GRANT USAGE ON FOREIGN SERVER hub, shop_v1 TO reader});
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);

sub state_of
{
	my ($sql) = @_;
	my (undef, undef, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	return $err =~ /ERROR: +([0-9A-Z]{5}):/ ? $1 : '00000';
}

# Every view shows what it shows on the primary, figures of processes apart.
my @views = split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relkind = 'v' AND relname LIKE 'cs\_%' ORDER BY 1});
cmp_ok(scalar @views, '>=', 20, 'all views');
for my $view (@views)
{
	my $rows = "SELECT count(*) FROM $view";

	is(state_of($rows), '00000', "$view can be read");
	is(state_of("SET ROLE reader; $rows"), '00000', "$view: by a reader as well");
	next if $view =~ /^cs_stat_(?:requests|accounts|workers)$|^cs_progress$/;
	is($standby->safe_psql('postgres', $rows), $node->safe_psql('postgres', $rows), "$view has the rows of the primary");
}

# Health and statistics.
is($standby->safe_psql('postgres', q{SELECT string_agg(check_name || ' ' || status, ', ') FROM cs_health() WHERE status <> 'ok'}), '', 'all is well');
is($standby->safe_psql('postgres', q{SELECT detail FROM cs_health() WHERE check_name = 'worker'}), 'this is a standby, which sends nothing', 'and needs no worker');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM cs_stat_requests'), 0, 'no request was made here');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM cs_products(server => 'shop_v1')}), 5, 'a live read works');
is($standby->safe_psql('postgres', q{SELECT count(*) FROM cs_models(server => 'hub')}), 2, 'with a token of its own, too');
is($standby->safe_psql('postgres', q{SELECT server, calls FROM cs_stat_requests WHERE endpoint = 'GET /products'}), 'shop_v1|1', 'and is counted');
like($standby->safe_psql('postgres', q{SELECT detail FROM cs_health() WHERE check_name = 'clock'}), qr/differ by [01]\.\d s$/, 'the partner has told its time');
is(state_of('SELECT cs_stat_reset()'), '00000', 'the counters can be reset');

# Other reads.
for my $read (q{SELECT state FROM cs_order('ID', 'shop_v1')}, q{SELECT cs_item_cost('CS-8OZ-ECO', server => 'shop_v1')},
	q{SELECT cs_price_at('CS-8OZ-ECO', now(), 'shop_v1')}, q{SELECT count(*) FROM cs_search('cup')}, q{SELECT count(*) FROM cs_offers('cup')},
	"SELECT count(*) FROM cs_check_order($order)", q{SELECT count(*) FROM cs_price_changes(now() - interval '1 day')},
	q{SELECT count(*) FROM cs_balance('hub')}, q{SELECT cs_version()})
{
	is(state_of($read), '00000', substr($read, 0, 60));
}

# What would send or store.
for my $refused ("SELECT cs_create_order($order)", "SELECT cs_enqueue_order($order)", q{SELECT cs_cancel_order('ID', 'shop_v1')},
	q{CALL cs_refresh_catalog('shop_v1')}, q{SELECT cs_resolve_order('ID', 'failed', server => 'shop_v1')},
	'SELECT cs_adopt_queue()', q{SELECT cs_prune('1 day')}, q{SELECT cs_resubmit_order('ID', 'ID-2', 'shop_v1')})
{
	is(state_of($refused), '25006', substr($refused, 0, 40) . ' is refused');
}
is($sandbox->count(method => 'POST', path => '.*orders'), 1, 'and nothing was sent');

$standby->stop;
$sandbox->stop;
$node->stop;
done_testing();
