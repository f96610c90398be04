#!/usr/bin/perl
#
# A standby is promoted in the middle of a drain: it goes on by itself where
# the primary ended, loses no order that was committed and sends none twice.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0, '--latency-ms' => 50);
my $primary = cupsource_node('primary', streaming => 1, conf => "cupsource.instance = 'production'\n");
create_accounts($primary, $sandbox, only => [qw(shop_v1 hub)], options => { rate_limit => 0, poll_interval => '1d', concurrency => 4 });
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

# What is committed is on the standby: the orders of this test do not depend on luck.
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'\nsynchronous_commit = remote_apply\n");
$primary->reload;
wait_for($primary, q{SELECT sync_state = 'sync' FROM pg_stat_replication});

is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'cupsource%'}), '0',
	'nobody of ours runs on a standby');
is(query_state($standby, q{SELECT cs_enqueue_order('[]', NULL, 'no', NULL, 'hub')}), '25006', 'it queues nothing');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM cs_orders'), '0', 'and can be read');

my $total = 150;
for my $server (qw(hub shop_v1))
{
	my $lines = $server eq 'hub' ? q{jsonb_build_array(jsonb_build_object('sku', 'BC-3001-L-BLACK', 'quantity', 1))} :
	  q{jsonb_build_array(jsonb_build_object('sku', 'CS-8OZ-ECO', 'quantity', 5000 + n))};
	my $options = $server eq 'hub' ? 'NULL' : q{'{"currency": "USD"}'};

	$primary->safe_psql('postgres', qq{
		SELECT cs_enqueue_order($lines, '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY",
		  "postal_code": "11201", "country": "US"}'::jsonb - CASE WHEN '$server' = 'hub' THEN '{}' ELSE ARRAY['name', 'country'] END,
		  '$server-' || n, $options, '$server') FROM generate_series(1, $total) AS n});
}

# In the middle: some have been placed, some are on the wire, some wait.
$sandbox->wait_for_requests(30, method => 'POST', path => '.*/orders');
$primary->stop('immediate');
my $before = $standby->safe_psql('postgres', q{SELECT count(*) FROM cs_orders WHERE state = 'queued'});
cmp_ok($before, '>', 0, 'the primary ends in the middle of the drain');
$standby->promote;

wait_for($standby, q{SELECT count(*) = 0 FROM cs_orders WHERE state IN ('queued', 'sending')});
is($standby->safe_psql('postgres', q{SELECT count(*), count(DISTINCT remote_id) FROM cs_orders WHERE server = 'hub' AND state = 'placed'}),
	"$total|$total", 'CustomHub: every order is placed');
is(join(' ', sort map { $_->{external_id} } $sandbox->orders(api => 'customhub-v1')), join(' ', sort map { "hub-$_" } 1 .. $total),
	'and is there once');

my %there;
$there{ $_->{body}{items}[0]{qty} - 5000 }++ for $sandbox->orders(api => 'cupsource-v1');
is(scalar(grep { $_ > 1 } values %there), 0, 'Cup Source: none is there twice');
my %state = map { split /\|/ } split /\n/,
  $standby->safe_psql('postgres', q{SELECT substr(external_id, 9), state FROM cs_orders WHERE server = 'shop_v1'});
is(scalar(keys %state), $total, 'none is lost');
is(join(' ', grep { $state{$_} eq 'placed' && !$there{$_} } sort keys %state), '', 'what is placed is there');
is(join(' ', grep { $state{$_} ne 'placed' && $state{$_} ne 'uncertain' } sort keys %state), '', 'what is not placed is uncertain');
# Four are on the wire, and as many answers may have come that were not recorded yet.
cmp_ok(scalar(grep { $_ eq 'uncertain' } values %state), '<=', 8, 'and that is what was on the wire, or just answered');

is($standby->safe_psql('postgres', q{SELECT state FROM cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
	'{"name": "J", "line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}', 'after', NULL, 'hub')}),
	'queued', 'the promoted one queues');
wait_for_state($standby, 'after', 'placed');

# The same files elsewhere, without the setting that names production, are a copy.
$standby->backup('later');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($standby, 'later');
$copy->append_conf('postgresql.conf', "cupsource.instance = ''\n");
$copy->start;
my $posts = $sandbox->count(method => 'POST', path => '.*/orders');
$copy->safe_psql('postgres', q{SELECT cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
	'{"name": "J", "line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}', 'of a copy', NULL, 'hub')});
$copy->wait_for_log(qr/order queue of database "postgres" belongs to another cluster and is on hold/);
is($copy->safe_psql('postgres', q{SELECT reason FROM cs_queue WHERE external_id = 'of a copy'}), 'held: this database is a copy, see cs_adopt_queue',
	'a copy under another name holds its queue, and says so');
is($sandbox->count(method => 'POST', path => '.*/orders'), $posts, 'nothing was sent');

done_testing();
