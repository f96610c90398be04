#!/usr/bin/perl
#
# CustomHub, one percent changed: what a refresh asks for, counted at the
# partner, and that the cache then is what the partner has.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $MODELS = 5000;
my $PAGES = $MODELS / 100;
my $BUDGET = 250;

my $sandbox = CupsourceTest::Sandbox->start('--models' => $MODELS, '--variations' => 2, '--rate-limit' => 0);
my $node = cupsource_node('scale', conf => "shared_buffers = '64MB'\nautovacuum = off\n");
create_accounts($node, $sandbox, only => ['hub'], options => { rate_limit => 0, detail_budget => $BUDGET });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# What a reader sees, but the times.
sub content
{
	return map { sql(<<"END") }
SELECT md5(string_agg(x::text, ' ' ORDER BY x::text))
  FROM (SELECT to_jsonb(t) - 'fetched_at' - 'server' FROM $_ AS t WHERE to_jsonb(t) ->> 'discontinued_at' IS NULL) AS y (x)
END
	  qw(cs_models cs_variations cs_placements cs_print_methods);
}

sql(q{CALL cs_refresh_catalog('hub')});
is($sandbox->count(method => 'GET'), $PAGES + $MODELS + 1, 'the first refresh asks for each page of the list, each detail, and the wallet');
is(sql(q{SELECT count(*) FROM cs_models}), $MODELS, 'and has all models');

my $changed = $sandbox->catalog(reprice_fraction => 0.01, api => 'customhub-v1');
my $models = scalar @{ $changed->{changed} };
is($models, $MODELS / 100, 'one percent changes');
$sandbox->forget;
sql(q{CALL cs_refresh_catalog('hub')});
is($sandbox->count(path => '/api/v1/models$'), $PAGES, 'then the list is read again');
cmp_ok($sandbox->count(path => '/api/v1/models/.*'), '<=', $models + $BUDGET, 'with the details of what has changed, and of as many of the others as the budget says');
is($sandbox->count, $sandbox->count(path => '/api/v1/models.*') + 1, 'and nothing else is asked for, but the wallet');

# Truth: everything read again.
my @cached = content();
my ($status, $out, $err) = $node->psql('postgres', q{CALL cs_refresh_catalog('hub', "full" => true)});
like($err, qr/ 0 new, 0 changed, 0 discontinued/, 'reading everything again changes nothing:');
is_deeply([ content() ], \@cached, 'the cache was what the partner has, row for row');

# The others come in their turn: none twice before each has been read once.
my %seen;
for my $turn (1 .. 4)
{
	$sandbox->forget;
	sql(q{CALL cs_refresh_catalog('hub')});
	$seen{ $_->{path} }++ for $sandbox->requests(method => 'GET', path => '/api/v1/models/.*');
}
is(scalar keys %seen, 4 * $BUDGET, 'those unseen for longest come first');
sql(q{ALTER SERVER hub OPTIONS (SET detail_budget '0')});
$sandbox->forget;
sql(q{CALL cs_refresh_catalog('hub')});
is($sandbox->count(method => 'GET', path => '/api/v1/models/.*'), 0, 'without a budget none is read again');

done_testing();
