#!/usr/bin/perl
#
# "Stop sending" of docs/operations.md, as it is printed: nothing goes out, what
# is wrong is taken out, and what is left goes out in the end, once.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('stopped', conf => "cupsource.instance = 'production'\n");
create_accounts($node, $sandbox, only => ['hub'], options => { rate_limit => 0, poll_interval => '1d' });

my ($stop, $go_on) = slurp_file('docs/operations.md') =~ /^### Stop sending\n.*?^```sql\n(.*?)^```\n.*?^```sql\n(.*?)^```\n/ms;
my @posts = (method => 'POST', path => '/api/v1/orders$');

sub order
{
	my ($function, $external_id) = @_;

	return qq{SELECT state FROM cs_${function}_order('[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe",
		"line1": "123 Main St", "city": "Brooklyn", "state": "NY", "postal_code": "11201", "country": "US"}', '$external_id')};
}

# psql ends with the block, and the next session begins with the new value.
sub run_block
{
	my ($block, $instance) = @_;

	$node->safe_psql('postgres', $block);
	wait_for($node, q{SELECT current_setting('cupsource.instance')}, $instance);
	return;
}

is($node->safe_psql('postgres', order('create', 'before')), 'placed', 'it sends');
run_block($stop, 'stopped');
$node->safe_psql('postgres', order('enqueue', $_)) for qw(wrong right);
is(query_state($node, order('create', 'called')), '55000', 'whoever calls is refused');
is($node->safe_psql('postgres', q{SELECT string_agg(external_id || ' ' || reason, ', ' ORDER BY external_id) FROM cs_queue}),
	join(', ', map {"$_ held: this database is a copy, see cs_adopt_queue"} qw(right wrong)), 'whoever queues is not, and it is held');
is($node->safe_psql('postgres', q{SELECT state FROM cs_cancel_order('wrong')}), 'cancelled', 'what is wrong is taken out');
run_block($go_on, 'production');
is($sandbox->count(@posts), 1, 'nothing has gone out');
is($node->safe_psql('postgres', 'SELECT cs_adopt_queue()'), 1, 'what was queued meanwhile is taken over');
wait_for_state($node, 'right', 'placed');
is($node->safe_psql('postgres', order('create', 'after')), 'placed', 'it sends again');
is(join(' ', sort map { $_->{external_id} } $sandbox->orders), 'after before right', 'and each was ordered once');

$sandbox->stop;
$node->stop;
done_testing();
