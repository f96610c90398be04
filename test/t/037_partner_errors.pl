#!/usr/bin/perl
#
# What a partner's mistakes must not do to the cached catalogue.
use strict;
use warnings;
use CupsourceReplay;
use CupsourceTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partner = CupsourceReplay->start;
my $node = cupsource_node('mistakes', conf => "cupsource.max_retries = 0\n");
create_account($node, 'shop', api => 'cupsource-v2', base_url => $partner->url . '/v2');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sub product
{
	my ($id, %more) = @_;

	return { id => "prod_$id", sku => "CS-$id", name => "Cup $id", pricing => { unit_price => 0.14, currency => 'USD' }, %more };
}

# The list as the partner has it now, in one page; the refresh of it: what it told.
sub refreshed
{
	my ($products, %more) = @_;
	my $page = JSON::PP->new->canonical->encode({ data => $products, pagination => { total => scalar @$products, has_more => JSON::PP::false } });

	$page =~ s/"(0\.\d{200,})"/$1/;
	$partner->clear;
	$partner->answers('GET /v2/products?limit=100' => $page);
	my $full = $more{full} ? ', "full" => true' : '';
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nCALL cs_refresh_catalog('shop'$full)", on_error_stop => 0);
	return $err;
}

sub offered { return sql('SELECT count(*) FROM cs_prices'); }

my @all = map { product($_) } 1 .. 40;
refreshed(\@all);
is(offered(), 40, 'a catalogue');

# ---- Too much is missing ----

for my $time ('the first', 'the second', 'the third')
{
	my $told = refreshed([]);
	like($told, qr/WARNING: .*the list of server "shop" lacks 40 of 40 items of its catalogue; they are kept/, "an empty list, $time time, is told");
	is(offered(), 40, 'and not believed');
}
like(refreshed([ @all[ 0 .. 18 ] ]), qr/lacks 21 of 40 items/, 'nor is a list without the greater part');
is(offered(), 40, 'which stays');
unlike(refreshed([ @all[ 0 .. 19 ] ]), qr/WARNING/, 'the smaller part may go');
is(offered(), 20, 'and goes');
refreshed([], full => 1);
is(offered(), 20, 'a user who asks for all of it believes the list: once it may be a mistake,');
refreshed([], full => 1);
is(offered(), 0, 'twice it is none');
refreshed(\@all);
is(offered(), 40, 'what returns is on offer again');
unlike(refreshed([ @all[ 10 .. 39 ] ]), qr/WARNING/, 'ten may always go');

# ---- What no index can hold ----

for my $case (
	[ 'id', { id => 'x' x 1_000_000 }, qr/field "id": an identifier of 1000000 bytes is too long/ ],
	[ 'SKU', { sku => join '', map { chr(33 + $_ * 7 % 90) } 1 .. 5000 }, qr/field "sku": an identifier of 5000 bytes is too long/ ],
	[ 'price', { pricing => { unit_price => join('', '0.', map { 1 + $_ * 7 % 9 } 1 .. 9000), currency => 'USD' } },
		qr/field "pricing.unit_price": number 0\.\d+\.\.\. is out of range/ ])
{
	my ($what, $field, $message) = @$case;
	my $told = refreshed([ @all, product(41, %$field) ]);

	like($told, qr/ERROR: +PA006: malformed answer from server "shop": resource "products", row 41, $message/, "a $what that is too long names itself");
	is(sql(q{SELECT state FROM cs_catalog_status}), 'failed', 'and fails the refresh');
}
is(refreshed([ @all, product(41, name => 'Cup ' . join ' ', map { 'w' . $_ x 20 } 1 .. 20000) ]) =~ /ERROR/, '', 'a name may be as long as it likes');
is(sql(q{SELECT string_agg(sku, ' ') FROM cs_search('cup 41', sku_prefix => 'CS-41')}), '', 'and is found by its first words');
is(sql(q{SELECT string_agg(sku, ' ') FROM cs_search('cup', sku_prefix => 'CS-41')}), 'CS-41', 'only');

# ---- Listed, but gone ----

my $sandbox = CupsourceTest::Sandbox->start('--models' => 30, '--rate-limit' => 0);
create_accounts($node, $sandbox, only => ['hub'], options => { rate_limit => 0, detail_budget => 3 });
sql(q{CALL cs_refresh_catalog('hub')});
is(sql(q{SELECT products FROM cs_catalog_status WHERE server = 'hub'}), 30, 'models');
my $model = sql(q{SELECT model_id FROM cs_models WHERE code = 'BC3001'});
my $skus = sql(qq{SELECT count(*) FROM cs_variations WHERE product_id = '$model'});
$sandbox->faults({ action => 'status', status => 404, path => "/api/v1/models/$model\$" });
sql(qq{UPDATE cs_internal.models SET detail_due = true WHERE model_id = '$model'});
sql(q{CALL cs_refresh_catalog('hub')});
is(sql(q{SELECT products FROM cs_catalog_status WHERE server = 'hub'}), 29, 'one that is listed while its detail is gone is not on offer');
my $versions = q{SELECT md5(string_agg(concat_ws(' ', ctid, xmin, xmax), ' ' ORDER BY ctid)) FROM cs_internal.};
my @before = map { sql("$versions$_") } qw(models variations price_history);
sql(q{CALL cs_refresh_catalog('hub')}) for 1 .. 12;
is_deeply([ map { sql("$versions$_") } qw(models variations price_history) ], \@before, 'refresh after refresh, without being written again');
cmp_ok($sandbox->count(path => "/api/v1/models/$model\$"), '>=', 2, 'it is asked for in its turn');
is(sql(q{SELECT products FROM cs_catalog_status WHERE server = 'hub'}), 29, 'and counted');
$sandbox->no_faults;
sql(q{CALL cs_refresh_catalog('hub')}) for 1 .. 10;
is(sql(qq{SELECT count(*) FROM cs_variations WHERE product_id = '$model' AND discontinued_at IS NULL}), $skus, 'until its detail is there again');
is(sql(q{SELECT products = 30 AND skus = (SELECT count(*) FROM cs_variations WHERE server = 'hub' AND discontinued_at IS NULL) FROM cs_catalog_status WHERE server = 'hub'}), 't', 'which counts');

done_testing();
