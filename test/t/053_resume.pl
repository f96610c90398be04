#!/usr/bin/perl
#
# cs_resume(): the owner of a server ends what its orders wait for.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('resume', conf => "cupsource.rate_limit_wait = '50s'\n");
create_accounts($node, $sandbox, only => [qw(shop_v1 hub)], options => { rate_limit => 0, poll_interval => '1d' });
$node->safe_psql('postgres', q{
	CREATE ROLE keeper; CREATE ROLE buyer;
	GRANT USAGE ON FOREIGN DATA WRAPPER cupsource TO keeper;
	ALTER SERVER hub OWNER TO keeper;
	GRANT USAGE ON FOREIGN SERVER hub, shop_v1 TO buyer, keeper});

sub enqueue
{
	my ($external_id) = @_;

	return $node->safe_psql('postgres', qq{SET ROLE buyer; SELECT cs_enqueue_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]',
		'{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}',
		'$external_id', NULL, 'hub')});
}

# A pause of an hour keeps the first order, and the second one because of it; the third has not been tried.
my @posts = (method => 'POST', path => '/api/v1/orders');
$sandbox->faults({ action => 'rate_limited', retry_after => 3600, method => 'POST', path => '/orders$', times => 1 });
enqueue('first');
wait_for($node, q{SELECT attempts = 1 AND state = 'queued' FROM cs_orders WHERE external_id = 'first'});
enqueue('second');
wait_for($node, q{SELECT attempts = 1 AND state = 'queued' FROM cs_orders WHERE external_id = 'second'});
is($node->safe_psql('postgres', q{SELECT bool_and(next_attempt_at > now() + '59 min') FROM cs_orders}), 't', 'after a 429 the orders of the account wait');
is($sandbox->count(@posts), 1, 'and nothing is sent');
is(query_state($node, q{SET ROLE buyer; SELECT cs_resume('hub')}), '42501', 'who may only use the server cannot end that');
is($node->safe_psql('postgres', q{SELECT cs_resume('shop_v1')}), '0', 'another account has nothing to resume');
is($sandbox->count(@posts), 1, 'and that changes nothing here');
is($node->safe_psql('postgres', q{SET ROLE keeper; SELECT cs_resume('hub')}), '2', 'its owner can');
wait_for_state($node, $_, 'placed') for qw(first second);
is($sandbox->count(@posts), 3, 'and they are sent, each once more');

# A shorter pause is waited for by a transfer; it notices that it is over.
$sandbox->faults({ action => 'rate_limited', retry_after => 40, method => 'POST', path => '/orders$', times => 1 });
enqueue('third');
wait_for($node, q{SELECT attempts = 1 AND state = 'queued' FROM cs_orders WHERE external_id = 'third'});
enqueue('fourth');
wait_for_state($node, 'fourth', 'sending');
my $began = time;
$node->safe_psql('postgres', q{SET ROLE keeper; SELECT cs_resume('hub')});
wait_for_state($node, $_, 'placed') for qw(third fourth);
cmp_ok(time - $began, '<', 20, 'an order that was waiting for the end of the pause goes on, too');

# What was delayed because something of ours was missing.
$node->safe_psql('postgres', q{DROP USER MAPPING FOR PUBLIC SERVER hub});
enqueue('unmapped');
wait_for($node, q{SELECT error_message IS NOT NULL AND next_attempt_at > now() FROM cs_orders WHERE external_id = 'unmapped'});
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR PUBLIC SERVER hub OPTIONS (api_key 'ek_live_demo', secret_key 'esk_live_demo')});
is($node->safe_psql('postgres', q{SET ROLE keeper; SELECT cs_resume('hub')}), '1', 'an order that waited for its user mapping is resumed');
wait_for_state($node, 'unmapped', 'placed');

# A cancellation.
$sandbox->faults({ action => 'status', status => 500, method => 'DELETE', times => 10 });
my (undef, undef, $told) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT cs_cancel_order('first')");
like($told, qr/ERROR: +PA500: .*\nHINT: +The order stays to be cancelled, and the partner is asked again\./s, 'a cancellation does not come through, and goes on');
$sandbox->no_faults;
is($node->safe_psql('postgres', q{SET ROLE keeper; SELECT cs_resume('hub')}), '1', 'and is resumed');
wait_for_state($node, 'first', 'cancelled');


is($node->safe_psql('postgres', q{SELECT cs_resume('hub')}), '0', 'where nothing waits there is nothing to resume');

done_testing();
