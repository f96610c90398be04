#!/usr/bin/perl
#
# What is altered counts from the next request on, in every process that is
# there already: keys, addresses, budgets, settings.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--rate-limit' => 0);
my $node = cupsource_node('rotation', conf => "cupsource.worker_linger = '10min'\ncupsource.max_retries = 0\n");
create_accounts($node, $sandbox, options => { rate_limit => 0 });

my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 3;

# The keys that a statement in every session, and an order of the worker, were sent with.
my $number = 0;

sub order
{
	my ($id) = @_;

	return qq{SELECT state FROM cs_enqueue_order('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way",
		"city": "Portland", "state": "OR", "postal_code": "97201"}', '$id', '{"currency": "USD"}', 'shop_v1')};
}

sub keys_used
{
	$sandbox->forget;
	$_->query(q{SELECT count(*) FROM cs_products(server => 'shop_v1')}) for @sessions;
	my $id = 'rotation-' . ++$number;
	$node->safe_psql('postgres', order($id));
	$node->poll_query_until('postgres', "SELECT state <> 'queued' AND state <> 'sending' FROM cs_orders WHERE external_id = '$id'");
	return join ' ', map { $_->{key} // 'none' } $sandbox->requests;
}

is(keys_used(), join(' ', ('cs_live_v1_demo') x 4), 'three sessions and the worker have the first key');
my $worker = $node->safe_psql('postgres', q{SELECT pid FROM cs_stat_workers WHERE process = 'worker'});
$sandbox->control(POST => 'keys', { api => 'cupsource-v1', key => 'cs_live_second' });
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'cs_live_second')});
$sandbox->control(DELETE => 'keys/cupsource-v1/cs_live_v1_demo');
is(keys_used(), join(' ', ('cs_live_second') x 4), 'the next requests of all of them go with the second');
is($node->safe_psql('postgres', q{SELECT pid FROM cs_stat_workers WHERE process = 'worker'}), $worker, 'the worker is the same');

# A request that is on the wire ends as it began.
$sandbox->control(POST => 'keys', { api => 'cupsource-v1', key => 'cs_live_third' });
$sandbox->forget;
$sandbox->faults({ action => 'hang', method => 'GET', times => 1 });
my $call = $sessions[0];
$call->query_until(qr/begun/, "\\echo begun\nSELECT count(*) FROM cs_products(server => 'shop_v1');\n");
$sandbox->wait_for_requests(1);
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'cs_live_third')});
is($sessions[1]->query(q{SELECT count(*) FROM cs_products(server => 'shop_v1')}), 5, 'while one call hangs another one reads');
is(join(' ', map { $_->{key} // 'none' } grep { defined $_->{status} } $sandbox->requests), 'cs_live_third', 'with the new key');
$sandbox->control(DELETE => 'faults');
$call->query_until(qr/done/, "\\echo done\n");

# In a transaction that is open, too.
$sessions[2]->query('BEGIN; SELECT count(*) FROM cs_orders');
$sandbox->control(POST => 'keys', { api => 'cupsource-v1', key => 'cs_live_fourth' });
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'cs_live_fourth')});
$sandbox->forget;
$sessions[2]->query(q{SELECT count(*) FROM cs_products(server => 'shop_v1')});
is(join(' ', map { $_->{key} // 'none' } $sandbox->requests), 'cs_live_fourth', 'in an open transaction');
$sessions[2]->query('COMMIT');

# In the middle of a statement that reads page by page.
my $paged = CupsourceTest::Sandbox->start('--products' => 450, '--rate-limit' => 0);
$paged->control(POST => 'keys', { api => 'cupsource-v2', key => "cs_live_$_" }) for qw(one other);
$sessions[0]->query(q{CREATE SERVER paged FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2', base_url '} . $paged->url . q{/v2');
	CREATE USER MAPPING FOR PUBLIC SERVER paged OPTIONS (api_key 'cs_live_one');
	IMPORT FOREIGN SCHEMA api LIMIT TO (products) FROM SERVER paged INTO public; BEGIN; DECLARE pages CURSOR FOR SELECT sku FROM products});
$sessions[0]->query('FETCH 1 FROM pages');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER paged OPTIONS (SET api_key 'cs_live_other')});
$paged->control(DELETE => 'keys/cupsource-v2/cs_live_one');
is(scalar(split /\n/, $sessions[0]->query('FETCH ALL FROM pages')), 449, 'a scan goes on');
is(join(' ', map { $_->{key} // 'none' } ($paged->requests)[-1]), 'cs_live_other', 'with the new key');
$sessions[0]->query('COMMIT');
$paged->stop;

# A token belongs to its key.
$sessions[0]->query(q{SELECT count(*) FROM cs_models(server => 'hub')});
$sandbox->control(POST => 'keys', { api => 'customhub-v1', key => 'ek_live_second', secret => 'esk_live_second' });
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER hub OPTIONS (SET api_key 'ek_live_second', SET secret_key 'esk_live_second')});
$sandbox->forget;
$sessions[0]->query(q{SELECT count(*) FROM cs_models(server => 'hub')});
$sessions[1]->query(q{SELECT count(*) FROM cs_models(server => 'hub')});
is(join(' ', map { $_->{path} =~ /auth$/ ? 'auth' : $_->{key} } $sandbox->requests), 'auth ek_live_second ek_live_second',
	'one token for the new key, and no request with the old one');

# The server's options.
my $other = CupsourceTest::Sandbox->start('--products' => 7, '--rate-limit' => 0);
$other->control(POST => 'keys', { api => 'cupsource-v1', key => 'cs_live_fourth' });
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (SET base_url '} . $other->url . q{/v1')});
is($_->query(q{SELECT count(*) FROM cs_products(server => 'shop_v1')}), 7, 'a new address') for @sessions;
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (SET rate_limit '1')});
$_->query(q{SET cupsource.rate_limit_wait = 0}) for @sessions;
$other->forget;
$_->query(q{SELECT count(*) FROM cs_products(server => 'shop_v1', max_rows => 1)}) for @sessions;
is($other->count, 1, 'a new budget: one of three sessions reads');

# Settings, by reload.
$node->safe_psql('postgres', q{ALTER SERVER shop_v1 OPTIONS (SET rate_limit '0'); ALTER SYSTEM SET cupsource.timeout = '150ms'; SELECT pg_reload_conf()});
$node->poll_query_until('postgres', q{SELECT setting = '150' FROM pg_settings WHERE name = 'cupsource.timeout'});
$other->faults({ action => 'hang', method => 'GET' });
my (undef, undef, $err) = $node->psql('postgres', q{SELECT count(*) FROM cs_products(server => 'shop_v1')});
like($err, qr/within 150 ms/, 'a new timeout');
my @restart = split /\n/, $node->safe_psql('postgres', q{SELECT name FROM pg_settings WHERE name LIKE 'cupsource.%' AND context = 'postmaster' ORDER BY 1});
is("@restart", 'cupsource.max_accounts cupsource.max_databases', 'only the sizes of shared memory need a restart');

$_->quit for @sessions;
$other->stop;
$sandbox->stop;
$node->stop;
done_testing();
