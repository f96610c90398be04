#!/usr/bin/perl
#
# Several pages and details at once: where pages are numbered, and never more
# requests than pages.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 250, '--models' => 1000, '--rate-limit' => 0);
my $node = cupsource_node('ahead', conf => "autovacuum = off\n");
create_accounts($node, $sandbox, options => { rate_limit => 0 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

my ($in, $out, $err);
sub call
{
	my ($server) = @_;

	($in, $out, $err) = ('', '', '');
	return IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "CALL cs_refresh_catalog('$server')" ],
		'<', \$in, '>', \$out, '2>', \$err);
}

# Nobody is answered until so many have asked: they ask at once.
my $list = '/api/v1/models$';
my $detail = '/api/v1/models/.*';
$sandbox->faults({ action => 'hang', path => $list, nth => [ 2 .. 5 ] });
my $call = call('hub');
ok($sandbox->wait_for_requests(5, path => $list)->{reached}, 'after the first page of a list, four are on the wire at once');
is($sandbox->count(path => $list), 5, 'and not more');

$sandbox->faults({ action => 'hang', path => $detail, nth => [ 1 .. 4 ] });
ok($sandbox->wait_for_requests(4, path => $detail)->{reached}, 'then four details');
is($sandbox->count(path => $detail), 4, 'and not more');
cmp_ok($sandbox->count(path => $list), '>=', 10 + 4, 'each page is asked for, and those without an answer again');
is(sql(q{SELECT count(*) FROM cs_models}), 1000, 'all are there');
sql(q{SELECT pg_terminate_backend(pid, 10000) FROM cs_progress});
$call->finish;

# By cursor there is one at a time.
$sandbox->faults({ action => 'hang', path => '/v2/products', nth => [2] });
$sandbox->forget;
$call = call('shop_v2');
$sandbox->wait_for_requests(2, path => '/v2/products');
wait_for($node, q{SELECT done = 100 FROM cs_progress});
is($sandbox->count(path => '/v2/products'), 2, 'by cursor there is one at a time');
$sandbox->no_faults;
$call->finish;

# A budget is not exceeded.
sql(q{ALTER SERVER hub OPTIONS (SET rate_limit '4'); DELETE FROM cs_internal.catalog_runs WHERE server = 'hub'});
$sandbox->no_faults;
$sandbox->forget;
is(query_state($node, q{SET cupsource.rate_limit_wait = '1s'; CALL cs_refresh_catalog('hub')}), 'PA010', 'beyond the budget nobody asks');
cmp_ok($sandbox->count(path => $list), '<=', 4, 'neither for one page nor for several');

# The list may become shorter while it is read.
sql(q{ALTER SERVER hub OPTIONS (SET rate_limit '0'); DELETE FROM cs_internal.catalog_runs WHERE server = 'hub'});
my @codes = split /\n/, sql(q{SELECT code FROM cs_models ORDER BY code LIMIT 450});
$sandbox->faults({ action => 'hang', path => $list, nth => [ 2 .. 5 ] }, { action => 'hang', path => $detail });
$sandbox->forget;
$call = call('hub');
$sandbox->wait_for_requests(5, path => $list);
$sandbox->catalog(remove => \@codes);
$sandbox->faults({ action => 'hang', path => $detail });
ok($sandbox->wait_for_requests(1, path => $detail)->{reached}, 'a list that becomes shorter meanwhile is read to its new end');
is(sql(q{SELECT phase FROM cs_progress}), 'details', 'and then its details');
sql(q{SELECT pg_terminate_backend(pid, 10000) FROM cs_progress});
$call->finish;

done_testing();
