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

# ---- The identity host has lost its way ----

for my $status (404, 400)
{
	$sandbox->revoke_tokens;
	$sandbox->faults({ action => 'html', status => $status, path => '/api/PartnerAuthentication/auth' });
	sql(q{UPDATE cs_internal.models SET detail_due = true WHERE server = 'hub'});
	my $sqlstate = query_state($node, q{CALL cs_refresh_catalog('hub')});
	is($sqlstate, 'PA401', "a $status to the credentials ends a refresh");
	is(query_state($node, qq{SELECT * FROM cs_model('$model', 'hub')}), 'PA401', 'and says nothing of a model');
	$sandbox->no_faults;

	# In the midst of it.
	$sandbox->faults({ action => 'status', status => 401, path => '/api/v1/models/.*' },
		{ action => 'html', status => $status, path => '/api/PartnerAuthentication/auth' });
	is(query_state($node, q{CALL cs_refresh_catalog('hub')}), 'PA401', 'also in the midst of it');
	is(sql(q{SELECT products FROM cs_catalog_status WHERE server = 'hub'}), 30, 'which takes no model away');
	$sandbox->no_faults;
	sql(q{CALL cs_refresh_catalog('hub')});
}

# ---- So has a gateway before the API, for details ----

$sandbox->faults({ action => 'html', status => 404, path => '/api/v1/models/.*' });
is(query_state($node, q{CALL cs_refresh_catalog('hub', "full" => true)}), 'PA404', 'if no detail is found, it is not the models that are gone');
is(sql(q{SELECT products FROM cs_catalog_status WHERE server = 'hub'}), 30, 'none is taken away');
$sandbox->no_faults;
sql(q{CALL cs_refresh_catalog('hub')});

# ---- One model among others ----

create_account($node, 'models', api => 'customhub-v1', base_url => $partner->url, auth_url => $partner->url, detail_budget => 0,
	secrets => { api_key => 'ek', secret_key => 'esk' });

# The list of models with this revision, and their details; JSON, or a status.  What the refresh told.
sub refreshed_models
{
	my ($revision, %details) = @_;
	my @models = map {qq({"id": "$_", "code": "C-$_", "name": "Shirt $revision"})} sort keys %details;

	$partner->clear;
	$partner->answers('POST /api/PartnerAuthentication/auth' => '{"accessToken": "t", "expired": "2099-05-19T19:00:00+00:00"}');
	$partner->answers('GET /api/v1/balance' => '{"data": {"balance": 0}}');
	$partner->answers('GET /api/v1/models?pageSize=100&page=1' => sprintf('{"data": {"models": [%s], "pagination": {"totalCount": %d, "hasMore": false}}}',
			join(', ', @models), scalar @models));
	$partner->answers("GET /api/v1/models/$_" => $details{$_} =~ /^\d+$/ ? ('{}', status => $details{$_}) : $details{$_}) for keys %details;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nCALL cs_refresh_catalog('models')", on_error_stop => 0);
	return $err =~ s/^psql:<stdin>:\d+: //mgr;
}

# A detail; what is given replaces a list.
sub detail
{
	my ($id, %more) = @_;
	my %lists = (
		variations => qq([{"id": "v-$id", "sku": "S-$id"}]),
		placements => '[{"code": "width1", "printMethods": [{"code": "DTF", "price": 2.50}]}]', %more);

	return qq({"data": {"id": "$id") . join('', map {qq(, "$_": $lists{$_})} grep { defined $lists{$_} } sort keys %lists) . '}}';
}

# Of each model what is on offer, and how many placements and print methods it has.
sub models_known
{
	return sql(q{SELECT string_agg(concat_ws(' ', model_id, (SELECT sku FROM cs_variations WHERE server = 'models' AND product_id = model_id AND discontinued_at IS NULL),
		(SELECT count(*) FROM cs_placements WHERE server = 'models' AND product_id = model_id), (SELECT count(*) FROM cs_print_methods WHERE server = 'models' AND product_id = model_id)),
		', ' ORDER BY model_id) FROM cs_models WHERE server = 'models'});
}

my @asked;
sub details_asked { @asked = $partner->lines; return join ' ', sort map { m{/models/(\w+)$} ? $1 : () } @asked; }

my @letters = 'a' .. 'f';
refreshed_models(1, map { $_ => detail($_) } @letters);
is(models_known(), join(', ', map {"$_ S-$_ 1 1"} @letters), 'models with their details');

my %odd = (
	a => detail('a', variations => '[{"id": "v-a", "sku": null}]'),
	b => '{"data": null}',
	c => 500,
	d => detail('d', variations => undef, placements => 'null'),
	e => detail('e', variations => '[]', placements => '[]'),
	f => detail('f', images => '[{"url": "u"}]'));
my $told = refreshed_models(2, %odd, g => detail('g'));
my %why = (
	a => 'PA006: the detail of model "a" (C-a) was not read: malformed answer from server "models": resource "variations", row 1, field "sku": required, but missing',
	b => 'PA006: the detail of model "b" (C-b) was not read: malformed answer from server "models": resource "model": the answer is empty',
	c => 'PA500: the detail of model "c" (C-c) was not read: CustomHub v1 answered with HTTP status 500',
	f => 'PA006: the detail of model "f" (C-f) was not read: malformed answer from server "models": resource "model", row 1, field "images": ');
like($told, qr/^WARNING:  \Q$why{$_}\E/m, "the detail of $_ cannot be had or read: that is told") for sort keys %why;
is(() = $told =~ /^WARNING/mg, 4, 'of no other');
is(() = $told =~ /^HINT:  What is known of it is kept; the next refresh asks for it again\.$/mg, 4, 'with what becomes of it');
unlike($told, qr/ERROR/, 'and the refresh goes on');
is(models_known(), 'a S-a 1 1, b S-b 1 1, c S-c 1 1, d S-d 1 1, e 0 0, f S-f 1 1, g S-g 1 1',
	'what is not told stays as it was known, also a list that is not there; one that is empty says that there are none');
is(sql(q{SELECT state, last_error ~ '^the detail of model "f" was not read: malformed' FROM cs_catalog_status WHERE server = 'models'}), 'complete|t', 'the status has the last one');
details_asked();
$told = refreshed_models(2, %odd, g => detail('g'), map { $_ => detail($_, variations => qq([{"id": "v-$_", "sku": "T-$_"}])) } qw(a b c f));
is(details_asked(), 'a b c f', 'they alone are asked for again');
unlike($told, qr/WARNING|ERROR/, 'in peace');
is(models_known(), 'a T-a 1 1, b T-b 1 1, c T-c 1 1, d S-d 1 1, e 0 0, f T-f 1 1, g S-g 1 1', 'and taken');
$partner->answers('GET /api/v1/models/d' => $odd{d}, times => 3);
is(sql("SELECT count(*) FROM cs_$_('d', server => 'models')"), 0, "live, a list that is not there has no rows: $_") for qw(variations placements print_methods);

# ---- All of them ----

my %details = map { $_ => 500 } 'a' .. 'p';
$told = refreshed_models(3, %details);
is(() = $told =~ /^WARNING/mg, 9, 'so many in a row');
like($told, qr/^ERROR:  PA500: /m, 'are not about single models');
cmp_ok(() = split(/ /, details_asked()), '<=', 10 + 4, 'which are not all asked for');
is(sql(q{SELECT state FROM cs_catalog_status WHERE server = 'models'}), 'failed', 'and fail the refresh');
$told = refreshed_models(3, %details, j => 403);
like($told, qr/^ERROR:  PA403: /m, 'a key that may not is about none');
unlike($told, qr/WARNING/, 'at once');
is(details_asked() =~ s/ .*//r, 'j', 'while those that have failed are not asked for first');
is(scalar(grep {/models\?/} @asked), 1, 'and the list is read although no detail could be');
$told = refreshed_models(3, %details, m => detail('m'), p => detail('p'));
unlike($told, qr/ERROR/, 'a model that is there between them');
is(() = $told =~ /^WARNING/mg, 14, 'shows that they are single ones');

# ---- Those that have failed before ----

$told = refreshed_models(3, %details, q => detail('q'));
details_asked();
unlike($told, qr/ERROR/, 'whatever becomes of those that have failed before, the refresh is complete');
is(() = $told =~ /^WARNING/mg, 10, 'though so many in a row are not asked for once more');
is((split / /, join ' ', map { m{/models/(\w+)$} ? $1 : () } @asked)[0], 'q', 'and they go last');
is(sql(q{SELECT state FROM cs_catalog_status WHERE server = 'models'}), 'complete', 'time after time');
my %tried = map { $_ => 1 } $told =~ /^WARNING: .* model "(\w)"/mg;
$told = refreshed_models(3, %details, q => detail('q'));
$tried{$_}++ for $told =~ /^WARNING: .* model "(\w)"/mg;
is(join(' ', sort keys %tried), join(' ', grep { sql("SELECT detail_due FROM cs_internal.models WHERE server = 'models' AND model_id = '$_'") eq 't' } 'a' .. 'q'),
	'but each in its turn');
$told = refreshed_models(3, map { $_ => detail($_) } 'a' .. 'q');
unlike($told, qr/ERROR|WARNING/, 'until they are there');
is(sql(q{SELECT count(*) FROM cs_internal.models WHERE server = 'models' AND (detail_due OR detail_failed_at IS NOT NULL)}), 0, 'and as all others');

# ---- No answer ----

sub refreshed_hub { $sandbox->forget; return ($node->psql('postgres', "\\set VERBOSITY verbose\nCALL cs_refresh_catalog('hub')", on_error_stop => 0))[2] =~ s/^psql:<stdin>:\d+: //mgr; }
my $silent = sql(q{SELECT min(model_id) FROM cs_internal.models WHERE server = 'hub'});
sql(q{UPDATE cs_internal.models SET detail_due = true WHERE server = 'hub'});
$sandbox->faults({ action => 'drop_after', method => 'GET', path => "/models/$silent" });
$told = refreshed_hub();
like($told, qr/^WARNING:  PA00\d: the detail of model "\Q$silent\E" .* was not read: /m, 'a model of which no answer comes');
unlike($told, qr/ERROR/, 'is one model');
is(sql(q{SELECT count(*) FROM cs_internal.models WHERE server = 'hub' AND detail_due}), 1, 'and all others are read');
sql(q{UPDATE cs_internal.models SET detail_due = true WHERE server = 'hub'});
$sandbox->faults({ action => 'drop_after', method => 'GET', path => '/models/.' });
$told = refreshed_hub();
like($told, qr/^ERROR:  PA00\d: /m, 'a partner that does not answer at all');
cmp_ok($sandbox->count(path => '/api/v1/models/.*'), '<=', 3 + 4, 'is not waited for so often');

done_testing();
