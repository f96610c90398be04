#!/usr/bin/perl
#
# Behind Debian's pgbouncer in transaction mode, where two statements of a
# client need not come to the same session: reads, orders and their rollback.
use strict;
use warnings;
use CupsourceTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--rate-limit' => 0);
my $node = cupsource_node('pooled', conf => "cupsource.rollback_grace = '100ms'\n");
create_accounts($node, $sandbox, options => { rate_limit => 0 });

my $directory = PostgreSQL::Test::Utils::tempdir;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $user = $node->safe_psql('postgres', 'SELECT current_user');
append_to_file("$directory/users", qq{"$user" ""\n});
append_to_file("$directory/pgbouncer.ini", <<END);
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=postgres user=$user
[pgbouncer]
listen_addr =
unix_socket_dir = $directory
listen_port = $port
auth_type = any
auth_file = $directory/users
pool_mode = transaction
default_pool_size = 2
server_reset_query_always = 0
END
my $pooler = IPC::Run::start([ 'pgbouncer', "$directory/pgbouncer.ini" ], '<', \undef, '>', \my $out, '2>', \my $err);

# A client of the pooler: what psql says.
sub client
{
	my ($sql) = @_;
	my ($stdout, $stderr);

	IPC::Run::run([ 'psql', '-XAtq', '-h', $directory, '-p', $port, '-U', $user, '-d', 'postgres', '-f', '-' ],
		'<', \"\\set VERBOSITY verbose\n$sql", '>', \$stdout, '2>', \$stderr);
	chomp $stdout;
	return ($stdout, $stderr);
}
my $ready;
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{

	# A psql that finds no pooler ends without reading what it is given.
	last if ($ready) = ((eval { client('SELECT 1') })[0] // '') =~ /^(1)$/;
	select undef, undef, undef, 0.1;
}
is($ready, 1, 'the pooler runs');

sub order
{
	my ($function, $id) = @_;

	return qq{SELECT state FROM $function('[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way", "city": "Portland",
		"state": "OR", "postal_code": "97201"}', '$id', '{"currency": "USD"}', 'shop_v1');\n};
}

is((client(q{SELECT count(*) FROM cs_products(server => 'shop_v1')}))[0], 5, 'a live read');
is((client(order('cs_create_order', 'pool-1')))[0], 'placed', 'an order');
is((client('BEGIN; ' . order('cs_enqueue_order', 'pool-2') . 'COMMIT;'))[0], 'queued', 'a queued order');
wait_for_state($node, 'pool-2', 'placed');
is((client('BEGIN; ' . order('cs_enqueue_order', 'pool-3') . 'ROLLBACK;'))[0], 'queued', 'one that is rolled back');
is(order_count($node, q{external_id = 'pool-3'}), 0, 'is not there');
my $hub = order('cs_create_order', 'pool-4') =~ s/CS-8OZ-ECO/BC-3001-L-BLACK/r =~ s/5000/1/r =~ s/shop_v1/hub/r
  =~ s/, '\{"currency": "USD"\}'/, NULL/r =~ s/"line1"/"name": "Jane", "country": "US", "line1"/r;
is((client("BEGIN; ${hub}ROLLBACK;"))[0], 'placed', 'a placed one whose transaction is rolled back');
wait_for_state($node, 'pool-4', 'cancelled');

# Clients at once, more than sessions: each has its own answer.
my (@clients, @said);
for my $client (1 .. 10)
{
	my $in = join '', map { order('cs_create_order', "many-$client-$_") } 1 .. 3;

	push @clients, IPC::Run::start([ 'psql', '-XAtq', '-h', $directory, '-p', $port, '-U', $user, '-d', 'postgres', '-f', '-' ],
		'<', \$in, '>', \$said[ $client - 1 ], '2>', \my $complaint);
}
$_->finish for @clients;
is(join('', @said), "placed\n" x 30, 'ten clients over two sessions');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'}), '<=', 3,
	'which are two, and this one');
is(order_count($node, q{external_id LIKE 'many%' AND state = 'placed'}), 30, 'thirty orders');
is($sandbox->count(api => 'cupsource-v1', method => 'POST'), 32, 'each was sent once');

# A setting for one transaction stays in it; an error belongs to who made it.
is((client(q{BEGIN; SET LOCAL cupsource.server = 'shop_v2'; SELECT min(server) FROM cs_products(max_rows => 1); COMMIT;
	SELECT current_setting('cupsource.server') = '';}))[0], "shop_v2\nt", 'SET LOCAL');
$sandbox->faults({ action => 'status', status => 403 });
like((client(q{SELECT * FROM cs_products(server => 'shop_v1')}))[1], qr/PA403/, 'a refusal');
$sandbox->no_faults;
is((client(q{SELECT count(*) FROM cs_products(server => 'shop_v1')}))[0], 5, 'and the next client reads');

# A client that goes away in the middle.
$sandbox->faults({ action => 'hang', method => 'GET' });
my $reader = IPC::Run::start([ 'psql', '-XAtq', '-h', $directory, '-p', $port, '-U', $user, '-d', 'postgres', '-c', q{SELECT * FROM cs_products(server => 'shop_v1')} ],
	'<', \undef, '>', \my $nothing, '2>', \my $nobody);
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%cs_products%'
	AND pid <> pg_backend_pid()}) or die;
$reader->kill_kill;
$sandbox->no_faults;
is((client(q{SELECT count(*) FROM cs_products(server => 'shop_v1')}))[0], 5, 'leaves the pool usable');

$pooler->kill_kill;
$sandbox->stop;
$node->stop;
done_testing();
