#!/usr/bin/perl
#
# The launcher and the workers: they run where there is work, leave when there
# is none, and are in nobody's way.
use strict;
use warnings;
use CupsourceTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $LINGER = 500;
my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--rate-limit' => 0);
my $node = cupsource_node('processes',
	streaming => 1,
	conf => <<"END");
max_prepared_transactions = 2
cupsource.worker_linger = '${LINGER}ms'
cupsource.order_timeout = '20s'
END
create_accounts($node, $sandbox, only => ['shop_v1'], options => { rate_limit => 0 });

# A call of cs_create_order or cs_enqueue_order.
sub order
{
	my ($function, $external_id) = @_;

	return "SELECT state FROM $function(" . join(', ',
		q{'[{"sku": "CS-8OZ-ECO", "quantity": 5000}]'},
		q{'{"line1": "123 Commerce Way", "city": "Portland", "state": "OR", "postal_code": "97201"}'},
		"'$external_id'", q{'{"currency": "USD"}'}, q{'shop_v1'}) . ')';
}

sub workers
{
	my $database = shift;

	return "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'cupsource worker'"
	  . (defined $database ? " AND datname = '$database'" : '');
}

sub placed
{
	my ($database, @external_ids) = @_;
	my $list = join(', ', map { "'$_'" } @external_ids);

	return $node->poll_query_until($database,
		"SELECT count(*) FROM cs_orders WHERE state = 'placed' AND external_id IN ($list)",
		scalar @external_ids);
}

sub idle
{
	return wait_for($_[0] // $node, workers(), 0);
}

# A statement whose request is answered by nobody: returns when it has arrived.
sub hanging
{
	my ($database, $sql) = @_;
	my %session = (out => '', err => '');

	$sandbox->no_faults;
	$sandbox->forget;
	$sandbox->faults({ action => 'hang', method => 'POST' });
	$session{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr($database), '-c', $sql ],
		'<', \undef, '>', \$session{out}, '2>', \$session{err});
	$sandbox->wait_for_requests(1, method => 'POST');
	return \%session;
}

sub ended
{
	my $session = shift;

	$session->{run}->finish;
	$sandbox->no_faults;
	return $session->{err};
}

# -- Where there is work, and only there --

is($node->safe_psql('postgres', "SELECT count(*) FROM cs_stat_workers WHERE process = 'launcher' AND pid IS NOT NULL"),
	1, 'there is a launcher');
idle();
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_stat_activity WHERE backend_type = \'cupsource launcher\''),
	0, 'which is connected to nothing');

$node->safe_psql('postgres', order('cs_enqueue_order', 'queued-1'));
ok(placed('postgres', 'queued-1'), 'a commit brings a worker that places the order');
idle();
is($node->safe_psql('postgres', q{
	SELECT database, pid IS NULL, due_at > now(), in_flight FROM cs_stat_workers WHERE process = 'worker'}),
	'postgres|t|t|0', 'it leaves when nothing is to be done, and says when it is due again');

is($node->safe_psql('postgres', order('cs_create_order', 'called-1')), 'placed', 'a caller gets a worker too');
idle();

$node->safe_psql('postgres', 'BEGIN; ' . order('cs_enqueue_order', 'rolled-back') . '; ROLLBACK');
$node->safe_psql('postgres', 'BEGIN; ' . order('cs_enqueue_order', 'prepared') . "; PREPARE TRANSACTION 'order'");
is($node->safe_psql('postgres', workers()), 0, 'neither a rollback nor PREPARE TRANSACTION brings one');
$node->safe_psql('postgres', "COMMIT PREPARED 'order'");
ok(placed('postgres', 'prepared'), 'COMMIT PREPARED does');
is(scalar($sandbox->orders), 3, 'the partner has the three orders that were committed');

# -- Death --

is($node->safe_psql('postgres', order('cs_create_order', 'called-2')), 'placed', 'there is a worker again');
my $old = $node->safe_psql('postgres', "SELECT pid FROM cs_stat_workers WHERE database = 'postgres'");
my $start = time;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($old)");
wait_for($node, "SELECT pid <> $old FROM cs_stat_workers WHERE database = 'postgres' AND pid IS NOT NULL");
cmp_ok(time - $start, '<', 5, 'one that was terminated is followed by another');

my $session = hanging('postgres', order('cs_create_order', 'hanging-1'));
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%hanging-1%' AND wait_event_type = 'Extension'
	   AND pid <> pg_backend_pid()}), 1, 'a caller waits');
$start = time;
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
	WHERE query LIKE '%hanging-1%' AND pid <> pg_backend_pid()");
like(ended($session), qr/ERROR:  57014:/, 'and can be cancelled');
cmp_ok(time - $start, '<', 1, 'at once');

$session = hanging('postgres', order('cs_create_order', 'hanging-2'));
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM cs_stat_workers WHERE database = 'postgres'");
my $error = ended($session);
like($error, qr/ERROR:  PA009:/, 'a caller whose worker ends is told that the outcome is unknown');
like($error, qr/HINT: .*cs_orders/, 'and where to look');

# -- Any number of databases --

my @shops = map { "shop$_" } 1 .. 6;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', 'CREATE EXTENSION cupsource');
create_accounts($node, $sandbox, database => 'shop', only => ['shop_v1'], options => { rate_limit => 0 });
$node->safe_psql('postgres', "CREATE DATABASE $_ TEMPLATE shop") for @shops;
$node->safe_psql('postgres', "CREATE DATABASE empty$_") for 1 .. 8;

$node->safe_psql($_, order('cs_enqueue_order', "$_-1")) for @shops;
is(scalar(grep { placed($_, "$_-1") } @shops), 6, 'each database has its worker');
idle();

# -- In nobody's way --

$node->append_conf('postgresql.conf', "cupsource.worker_linger = '1h'\n");
$node->reload;
$node->safe_psql($_, order('cs_create_order', "$_-2")) for qw(shop1 shop2 shop3);
is($node->safe_psql('postgres', workers()), 3, 'three workers linger');
$start = time;
$node->safe_psql('postgres', 'DROP DATABASE shop1');
$node->safe_psql('postgres', 'ALTER DATABASE shop2 RENAME TO shop2_renamed');
$node->safe_psql('postgres', 'CREATE DATABASE shop3_copy TEMPLATE shop3');
cmp_ok(time - $start, '<', 5, 'and do not hold up DROP DATABASE, RENAME, or a copy');
is($node->safe_psql('postgres', "SELECT count(*) FROM cs_stat_workers WHERE process = 'worker' AND database IS NULL"),
	0, 'the dropped database is forgotten');
is($node->safe_psql('shop2_renamed', order('cs_create_order', 'renamed')), 'placed', 'the renamed one goes on');
$node->safe_psql('shop3', order('cs_create_order', 'shop3-3'));
$node->safe_psql('shop3_copy', order('cs_enqueue_order', 'from-the-copy'));
is($node->safe_psql('shop3_copy', 'SELECT reason FROM cs_queue'), 'held: this database is a copy, see cs_adopt_queue',
	'the copy orders nothing by itself');

# Whom PostgreSQL refuses the command, he does not send the worker away with it.
$node->safe_psql('postgres', 'CREATE ROLE maker LOGIN CREATEDB');
my $worker_of_shop3 = q{SELECT pid FROM cs_stat_workers WHERE database = 'shop3'};
my $undisturbed = $node->safe_psql('postgres', $worker_of_shop3);
for my $command ('DROP DATABASE shop3', 'ALTER DATABASE shop3 RENAME TO mine', 'CREATE DATABASE mine TEMPLATE shop3')
{
	is(query_state($node, "SET ROLE maker; $command"), '42501', "$command by a role that may not");
	is($node->safe_psql('postgres', $worker_of_shop3), $undisturbed, 'leaves the worker alone');
}

$session = hanging('shop3', order('cs_create_order', 'hanging-3'));
my ($status, $out, $err) = $node->psql('postgres', "SET statement_timeout = '30s'; DROP DATABASE shop2_renamed");
is($err, '', 'a hanging request elsewhere is no matter');
($status, $out, $err) = $node->psql('shop3', "SET lock_timeout = '2s'; DROP EXTENSION cupsource CASCADE");
is($err =~ /ERROR/ ? $err : '', '', 'DROP EXTENSION does not wait for a request on the wire');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%hanging-3%'
	AND pid <> pg_backend_pid()");
ended($session);
$node->safe_psql('postgres', 'DROP DATABASE shop3');

# -- No room --

$node->append_conf('postgresql.conf', "cupsource.worker_linger = '${LINGER}ms'\nmax_worker_processes = 2\n");
$node->restart;
pass('pg_ctl stop -m fast ends all');
my $offset = -s $node->logfile;
$node->safe_psql($_, order('cs_enqueue_order', "$_-4")) for qw(shop4 shop5 shop6);
($status, $out, $err) = $node->psql('shop4', "\\set VERBOSITY verbose\n" . order('cs_create_order', 'no-room'));
like($err, qr/ERROR:  PA011: .*no free background worker slot/, 'without a slot a caller is refused');
like($err, qr/HINT: .*max_worker_processes/, 'and told what to raise');
my $log = slurp_file($node->logfile, 0);
is(() = $log =~ /LOG:  no free background worker slot for a cupsource worker\n/g, 1, 'the log says it once');
$node->append_conf('postgresql.conf', "max_worker_processes = 3\n");
$node->restart;
is(scalar(grep { placed($_, "$_-4") } qw(shop4 shop5 shop6)), 3,
	'one slot serves all databases, which nobody woke after the restart');

# -- No entry --

$node->append_conf('postgresql.conf', "max_worker_processes = 16\ncupsource.max_databases = 1\n");
$node->restart;
wait_for($node, q{SELECT count(*) FROM cs_stat_workers WHERE database = 'postgres'}, 1);
$log = $node->wait_for_log(qr/LOG:  more than 1 databases use cupsource\n/);
($status, $out, $err) = $node->psql('shop', order('cs_enqueue_order', 'shop-1'));
like($err, qr/WARNING:  more than 1 databases use cupsource\n.*HINT:  Raise "cupsource.max_databases"/s,
	'who queues where no worker can come is warned');
$node->safe_psql('postgres', 'DROP EXTENSION cupsource CASCADE');
ok(placed('shop', 'shop-1'), 'and is served when there is room');

# -- Standby --

$node->append_conf('postgresql.conf', "cupsource.max_databases = 256\n");
$node->restart;
$node->safe_psql('postgres', 'CREATE EXTENSION cupsource');
create_accounts($node, $sandbox, only => ['shop_v1'], options => { rate_limit => 0 });
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT process, pid IS NULL FROM cs_stat_workers"), 'launcher|t',
	'on a standby nothing runs');
($status, $out, $err) = $standby->psql('postgres', order('cs_create_order', 'on-standby'));
isnt($status, 0, 'and nothing can be ordered');
$node->stop('fast');
$standby->promote;
is($standby->safe_psql('postgres', order('cs_create_order', 'promoted')), 'placed', 'after promotion the launcher runs');
$standby->stop('fast');
unlike(slurp_file($standby->logfile), qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'nowhere');

done_testing();
