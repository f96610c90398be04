#!/usr/bin/perl
#
# pg_upgrade from an older PostgreSQL with orders in the queue: they go along,
# are held until somebody says that the old cluster is gone, and are then sent
# once; what was stored is there.
#
# scripts/matrix.sh runs it where two versions are: CUPSOURCE_OLD is the
# directory of the older one's programs.
use strict;
use warnings;
use CupsourceTest;
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--rate-limit' => 0);
my $conf = <<'END';
shared_preload_libraries = 'cupsource'
timezone = 'UTC'
cupsource.worker_linger = '1s'
END
my $order = q{SELECT state FROM cs_enqueue_order('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way",
	"city": "Portland", "state": "OR", "postal_code": "97201"}', '%s', '{"currency": "USD"}', 'shop_v1')};

my $old = PostgreSQL::Test::Cluster->new('old', install_path => dirname($ENV{CUPSOURCE_OLD}));
my @same = ('--no-locale', '--encoding=UTF8');
$old->init(extra => \@same);
$old->append_conf('postgresql.conf', $conf);
$old->start;
$old->safe_psql('postgres', 'CREATE EXTENSION cupsource');
create_accounts($old, $sandbox, options => { rate_limit => 0 });
$old->safe_psql('postgres', q{CALL cs_refresh_catalog('shop_v1')});
$old->safe_psql('postgres', sprintf $order, 'was-placed');
$old->poll_query_until('postgres', q{SELECT state = 'placed' FROM cs_orders WHERE external_id = 'was-placed'}) or die;
$sandbox->faults({ action => 'rate_limited', method => 'POST', retry_after => 600 });
$old->safe_psql('postgres', sprintf $order, $_) for 'waits-1', 'waits-2';
$old->poll_query_until('postgres', q{SELECT count(*) = 2 FROM cs_queue WHERE external_id LIKE 'waits%'}) or die;
my $content = q{SELECT string_agg(x::text, chr(10)) FROM (SELECT external_id, state, remote_id, total, lines FROM cs_orders ORDER BY id) AS x
	UNION ALL SELECT string_agg(p::text, chr(10)) FROM (SELECT * FROM cs_prices ORDER BY sku) AS p};
my $version = $old->safe_psql('postgres', 'SHOW server_version_num');
$old->stop;
$sandbox->no_faults;
$old->start;
my $before = $old->safe_psql('postgres', $content);
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(extra => [ @same, $new->pg_version >= 18 ? '--no-data-checksums' : () ]);
$new->append_conf('postgresql.conf', $conf);
chdir $new->basedir or die;
my $sent = $sandbox->count(method => 'POST');
command_ok(
	[ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $ENV{CUPSOURCE_OLD},
		'-B', $new->config_data('--bindir'), '-p', $old->port, '-P', $new->port, '-s', $new->host ],
	"pg_upgrade from $version");
$new->start;
cmp_ok($new->safe_psql('postgres', 'SHOW server_version_num'), '>', $version, 'to a newer version');
is($new->safe_psql('postgres', $content), $before, 'orders and prices are there');
is($sandbox->count(method => 'POST'), $sent, 'nothing was sent by it');
is($new->safe_psql('postgres', q{SELECT string_agg(DISTINCT reason, ', ') FROM cs_queue}),
	'held: this database is a copy, see cs_adopt_queue', 'what waits is held');
is($new->safe_psql('postgres', q{SELECT status FROM cs_health() WHERE check_name = 'hold'}), 'warn', 'which cs_health() says');
$new->safe_psql('postgres', 'SELECT cs_adopt_queue()');
$new->safe_psql('postgres', q{SELECT cs_resume('shop_v1')});
$new->poll_query_until('postgres', q{SELECT count(*) = 2 FROM cs_orders WHERE external_id LIKE 'waits%' AND state = 'placed'}) or die;
is($sandbox->orders(api => 'cupsource-v1') + 0, 3, 'until it is adopted: then each is placed, once');
is($new->safe_psql('postgres', sprintf $order, 'new'), 'queued', 'and new ones can be queued');
$new->poll_query_until('postgres', q{SELECT state = 'placed' FROM cs_orders WHERE external_id = 'new'}) or die;

$new->stop;
$sandbox->stop;
done_testing();
