#!/usr/bin/perl
#
# The sets of GRANTs that docs/operations.md gives: each role can do what it is
# for, and is refused all else.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--models' => 2, '--rate-limit' => 0);
my $node = cupsource_node('grants');
create_accounts($node, $sandbox, only => [ 'hub', 'shop_v2' ], options => { rate_limit => 0 });

# The statements as they are printed.
my ($page) = slurp_file('docs/operations.md') =~ /^## Who may do what\n(.*?)^## /ms;
my @blocks = $page =~ /^```sql\n(.*?)^```$/msg;
is(scalar @blocks, 2, 'the page has what PUBLIC loses, and the sets');
$node->safe_psql('postgres', 'CREATE ROLE reader; CREATE ROLE orderer; CREATE ROLE operator; CREATE ROLE receiver; CREATE ROLE nobody');
$node->safe_psql('postgres', $_) for @blocks;
$node->safe_psql('postgres', q{CALL cs_refresh_catalog('hub')});

my $sku = $node->safe_psql('postgres', q{SELECT min(sku) FROM cs_prices WHERE server = 'hub'});
my $form = qq{'[{"sku": "$sku", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn",
	"state": "NY", "postal_code": "11201", "country": "US"}'};
my $number = 0;

sub form
{
	return "$form, 'grants-" . ++$number . q{', server => 'hub'};
}

is($node->safe_psql('postgres', 'SELECT state FROM cs_create_order(' . form() . ')'), 'placed', 'the owner orders');
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET state = 'uncertain', poll_at = NULL});

# Statement => who may.  None of them is refused for another reason.
my %may = (
	read => [ q{SELECT count(*) FROM cs_prices; SELECT count(*) FROM cs_orders; SELECT count(*) FROM cs_order_events}, qw(reader orderer operator receiver nobody) ],
	live => [ q{SELECT count(*) FROM cs_models(server => 'hub')}, qw(reader orderer operator) ],
	check => [ sub { 'SELECT count(*) FROM cs_check_order(' . form() . ')' }, qw(reader orderer operator) ],
	one => [ q{SELECT state FROM cs_order('grants-1', 'hub')}, qw(reader orderer operator) ],
	create => [ sub { 'SELECT state FROM cs_create_order(' . form() . ')' }, 'orderer' ],
	enqueue => [ sub { 'SELECT state FROM cs_enqueue_order(' . form() . ')' }, 'orderer' ],
	insert => [ sub { 'INSERT INTO cs_orders (lines, ship_to, external_id, server) VALUES (' . form() =~ s/server => //r . ')' }, 'orderer' ],
	foreign => [ sub { q{CREATE FOREIGN TABLE pg_temp.own (lines jsonb, ship_to jsonb, external_id text, remote_id text, remote_status text) SERVER hub OPTIONS (resource 'orders');
		INSERT INTO pg_temp.own VALUES (} . form() =~ s/, server => 'hub'//r . ')' }, 'orderer' ],
	foreign_routed => [ sub { q{CREATE FOREIGN TABLE pg_temp.own (lines jsonb, ship_to jsonb, external_id text, remote_id text, remote_status text) SERVER hub OPTIONS (resource 'orders');
		CREATE TEMP TABLE parent (lines jsonb, ship_to jsonb, external_id text, remote_id text, remote_status text) PARTITION BY RANGE (external_id);
		ALTER TABLE parent ATTACH PARTITION pg_temp.own DEFAULT; INSERT INTO parent VALUES (} . form() =~ s/, server => 'hub'//r . ')' }, 'orderer' ],
	foreign_delete => [ q{CREATE FOREIGN TABLE pg_temp.cancelled (external_id text, remote_id text, remote_status text) SERVER hub OPTIONS (resource 'orders');
		DELETE FROM pg_temp.cancelled WHERE remote_id = 'none'}, qw(orderer operator) ],
	trigger => [ q{CREATE TEMP TABLE erp (po text); CREATE TRIGGER submit AFTER INSERT ON erp FOR EACH ROW
		EXECUTE FUNCTION cs_submit_order('server=hub', 'external_id=po')}, 'orderer' ],
	resubmit => [ q{SELECT cs_resubmit_order('fails', 'again', 'hub')}, 'orderer' ],
	cancel => [ q{SELECT cs_cancel_order('grants-1', 'hub')}, qw(orderer operator) ],
	designs => [ q{SELECT cs_add_designs('grants-1', 1, '[{"url": "https://x.example/a.png", "placement": "width1"}]', 'hub')}, 'orderer' ],
	upload => [ q{SELECT cs_upload_asset('x'::bytea, 'logo.png', 'image/png', 'hub')}, 'orderer' ],
	resolve => [ q{BEGIN; SELECT state FROM cs_resolve_order('grants-1', 'failed', server => 'hub'); ROLLBACK}, 'operator' ],
	refresh => [ q{CALL cs_refresh_catalog('hub')}, 'operator' ],
	reset => [ 'SELECT cs_stat_reset()', 'operator' ],
	prune => [ q{SELECT cs_prune('10 years')}, 'operator' ],
	figures => [ q{DO $$ BEGIN IF NOT EXISTS (SELECT FROM cs_stat_orders WHERE server = 'shop_v2') THEN
		RAISE insufficient_privilege; END IF; END $$}, 'operator' ],
	webhook => [ q{SELECT cs_receive_webhook('{}', 'sha256=00', 'shop_v2')}, 'receiver' ],
	register => [ q{SELECT cs_register_webhook('https://erp.example/hook', server => 'shop_v2')} ],
	adopt => [ 'SELECT cs_adopt_queue()' ],
	resume => [ q{SELECT cs_resume('hub')} ],
	tables => [ 'SELECT count(*) FROM cs_internal.orders' ],
	keys => [ q{DO $$ BEGIN IF (SELECT bool_and(umoptions IS NULL) FROM pg_user_mappings) THEN
		RAISE insufficient_privilege; END IF; END $$} ],
	server => [ q{ALTER SERVER hub OPTIONS (SET rate_limit '1')} ]);

for my $what (sort keys %may)
{
	my ($statement, @roles) = @{ $may{$what} };
	my %allowed = map { $_ => 1 } @roles;

	for my $role (qw(reader orderer operator receiver nobody))
	{
		my $state = query_state($node, "SET ROLE $role; " . (ref $statement ? $statement->() : $statement));

		if ($allowed{$role})
		{
			isnt($state, '42501', "$role may $what" . ($state eq '00000' ? '' : " ($state)"));
		}
		else
		{
			is($state, '42501', "$role may not $what");
		}
	}
}
is($node->safe_psql('postgres', q{SET ROLE nobody; SELECT count(*) FROM cs_orders}), 0, 'who has no account sees no order');
is($node->safe_psql('postgres', q{SET ROLE receiver; SELECT count(*) FROM cs_orders}), 0, 'neither does a receiver');
is($node->safe_psql('postgres', q{SET ROLE reader; SELECT count(DISTINCT server) FROM cs_stat_orders}), 1, 'a reader sees its account only');

$sandbox->stop;
$node->stop;
done_testing();
