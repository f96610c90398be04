#!/usr/bin/perl
#
# Several roles with mappings of their own on one server: each order goes, and
# is asked for and cancelled, with the mapping of the role that placed it.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('roles');
create_accounts($node, $sandbox, only => [qw(hub)], options => { rate_limit => 0, poll_interval => '1d' });

my @roles = qw(north south);
for my $role (@roles)
{
	$sandbox->control(POST => 'keys', { api => 'customhub-v1', key => "ek_$role", secret => "esk_$role", dealer => $role, balance => '1000.00' });
	$node->safe_psql('postgres', qq{CREATE ROLE $role LOGIN; GRANT USAGE ON FOREIGN SERVER hub TO $role;
		CREATE USER MAPPING FOR $role SERVER hub OPTIONS (api_key 'ek_$role', secret_key 'esk_$role')});
}

my $form = q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY",
	"postal_code": "11201", "country": "US"}', 'EXTERNAL', NULL, 'hub'};

sub order
{
	my ($function, $external_id) = @_;

	return "SELECT state FROM $function(" . $form =~ s/EXTERNAL/$external_id/r . ');';
}

sub as
{
	my ($role, $sql) = @_;

	return $node->safe_psql('postgres', "SET ROLE $role; $sql");
}

# With which keys a kind of request was sent.
sub keys_of
{
	my (%filter) = @_;

	return join ' ', map { $_->{key} } $sandbox->requests(%filter);
}

sub key_of
{
	my ($external_id) = @_;
	my @orders = $sandbox->orders(external_id => $external_id);

	return join ' ', map { $_->{key} } @orders;
}

# ---- placing ----

is(as('north', order('cs_create_order', 'north-call')), 'placed', 'a call');
as('south', order('cs_enqueue_order', 'south-queue'));
$node->safe_psql('postgres', order('cs_enqueue_order', 'public'));

# A trigger runs as who changes the row, a SECURITY DEFINER function as its owner.
$node->safe_psql('postgres', q{
	CREATE TABLE purchase (po text, lines jsonb, address jsonb);
	GRANT INSERT ON purchase TO PUBLIC;
	CREATE TRIGGER submit AFTER INSERT ON purchase FOR EACH ROW EXECUTE FUNCTION
	  cs_submit_order('server=hub', 'external_id=po', 'lines=lines', 'ship_to=address');
	CREATE FUNCTION buy(external_id text) RETURNS text LANGUAGE sql SECURITY DEFINER AS $$} . order('cs_enqueue_order', 'EXTERNAL') =~
	  s/'EXTERNAL'/external_id/r . q{$$;
	ALTER FUNCTION buy(text) OWNER TO north});
my ($lines, $address) = $form =~ /\A('.*?'), ('.*?'), /s;
as('south', "INSERT INTO purchase VALUES ('south-trigger', $lines, $address); SELECT buy('north-definer')");
wait_for($node, q{SELECT count(*) = 5 FROM cs_orders WHERE state = 'placed'});
is(key_of($_), 'ek_' . (/^(north|south)/ ? $1 : 'live_demo'), "$_: the mapping of the role that placed it")
  for qw(north-call south-queue public south-trigger north-definer);
is($node->safe_psql('postgres', q{SELECT string_agg(created_by, ' ' ORDER BY external_id) FROM cs_orders WHERE external_id <> 'public'}),
	'north north south south', 'who that was is on record');

# ---- asking and cancelling, whoever wants it ----

$sandbox->forget;
is(as('south', q{SELECT cs_order_status('north-call', '0')}), 'placed', 'another role asks');
is(keys_of(method => 'GET', path => '/api/v1/orders/.*'), 'ek_north', 'with the key of the order, which alone shows it');
is(as('north', q{SELECT state FROM cs_cancel_order('south-trigger')}), 'cancelled', 'another role cancels');
is(keys_of(method => 'DELETE', path => '/api/v1/orders/.*'), 'ek_south', 'likewise');

# The list of one account does not show the orders of another.
my %remote = map { split /\|/ } split /\n/, $node->safe_psql('postgres', 'SELECT external_id, remote_id FROM cs_orders');
$sandbox->advance($remote{$_}, 'Approved') for qw(north-call north-definer south-queue public);
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET poll_at = now() WHERE poll_at IS NOT NULL; SELECT cs_resume()});
wait_for_state($node, $_, 'approved') for qw(north-call north-definer south-queue public);
pass('the orders of all accounts are followed');

# ---- a role that may not any more ----

$sandbox->faults({ action => 'rate_limited', retry_after => 3600, method => 'POST', path => '/orders$', times => 1 });
as('south', order('cs_enqueue_order', 'south-late'));
wait_for($node, q{SELECT attempts = 1 AND state = 'queued' FROM cs_orders WHERE external_id = 'south-late'});
is(as('north', order('cs_create_order', 'north-meanwhile')), 'placed', 'the pause of one account is not that of another');
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER hub FROM south; SELECT cs_resume()');
wait_for($node, q{SELECT error_message ~ 'permission denied' FROM cs_orders WHERE external_id = 'south-late'});
is(key_of('south-late'), '', 'an order of a role that may not use the server any more waits');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER hub TO south; DROP USER MAPPING FOR south SERVER hub');
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR south SERVER hub OPTIONS (api_key 'ek_south', secret_key 'esk_south'); SELECT cs_resume()});
wait_for_state($node, 'south-late', 'placed');
is(key_of('south-late'), 'ek_south', 'and is sent with its own mapping when it may again');

# ---- roles that are gone, or may not any more, and have open orders ----

$node->safe_psql('postgres', 'CREATE ROLE east; CREATE ROLE west; GRANT USAGE ON FOREIGN SERVER hub TO east, west');
as($_, order('cs_create_order', "$_-open")) for qw(east west);
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER hub FROM east, west; DROP ROLE west');
%remote = map { split /\|/ } split /\n/, $node->safe_psql('postgres', 'SELECT external_id, remote_id FROM cs_orders');
$sandbox->advance($remote{$_}, 'InProduction') for qw(north-call public east-open);
$node->safe_psql('postgres', q{UPDATE cs_internal.orders SET fetched_at = '2020-01-01' WHERE external_id ~ '-open$';
	UPDATE cs_internal.orders SET poll_at = now() WHERE poll_at IS NOT NULL; SELECT cs_resume()});
wait_for_state($node, $_, 'in_production') for qw(north-call public);
pass('keep nobody else\'s orders from being followed');
wait_for($node, q{SELECT min(poll_at) > now() + '4 min' FROM cs_internal.orders WHERE poll_at IS NOT NULL});
$node->safe_psql('postgres', q{GRANT USAGE ON FOREIGN SERVER hub TO east; UPDATE cs_internal.orders SET poll_at = now()
	WHERE external_id = 'east-open'; SELECT cs_resume()});
wait_for_state($node, 'east-open', 'in_production');
pass('and are followed themselves when they may again');

done_testing();
