# One call: what is tried again and what is not, counted at the partner; pages
# to the end; rows, or the field that is wrong.
use strict;
use warnings;

use CupsourceTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('calls', conf => "cupsource.max_retries = 2\n");

create_accounts($node, $sandbox, options => { rate_limit => 0 });

my $one = q{SELECT sku FROM cs_products(max_rows => 1, server => 'shop_v1')};
my $json = 'application/json';

# The rows of a statement, or its error's SQLSTATE, message and detail.
sub outcome
{
	my ($sql) = @_;
	my (undef, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	return $out if $err eq '';
	$err =~ s/^(?:LOCATION|CONTEXT|HINT):.*\n?//mg;
	$err =~ s/^psql:<stdin>:\d+: ERROR: +//mg;
	$err =~ s/\nDETAIL: +/ | /;
	return $err =~ s/\n\z//r;
}

# What came of it, under these faults, and how many requests it took.
sub under
{
	my ($sql, @faults) = @_;

	$sandbox->forget;
	$sandbox->faults(@faults) if @faults;
	my $outcome = outcome($sql);
	$sandbox->no_faults if @faults;
	return $outcome . ' (' . $sandbox->count . ')';
}

sub products
{
	my (%fault) = @_;

	return { path => '/v1/products', %fault };
}

#
# What is tried again
#
is(under($one), 'CS-CF-12DW (1)', 'a read is one request');
is(under($one, products(action => 'status', status => 500, times => 2)), 'CS-CF-12DW (3)',
	'5xx: again, until it is well');
like(under($one, products(action => 'status', status => 500, body => '')),
	qr/^PA500: Server Error \| Server "shop_v1", GET \/products: HTTP status 500\. \(3\)$/, '5xx: as often as cupsource.max_retries says');
is(under($one, products(action => 'status', status => 503, headers => { 'Retry-After' => '1' }, times => 1)),
	'CS-CF-12DW (2)', '503 with Retry-After');
my @at = map { $_->{at} } $sandbox->requests;
cmp_ok($at[1] - $at[0], '>=', 1, 'which is waited for');
is(under($one, products(action => 'drop_after', times => 1)), 'CS-CF-12DW (2)', 'a connection that is lost');
my $limit_ms = 200 * $CupsourceTest::patience;
is(under("SET cupsource.timeout = $limit_ms; $one", products(action => 'hang', times => 1)), 'CS-CF-12DW (2)',
	'a time limit');
like(under("SET cupsource.timeout = $limit_ms; $one", products(action => 'hang')),
	qr/^PA004: GET \/products on server "shop_v1": no complete answer from "127\.0\.0\.1:\d+" within $limit_ms ms \| .* \(3\)$/,
	'a time limit, each time');

# A 429 pauses the account, for as long as the partner says.
for my $form (1, 'date')
{
	is(under($one, products(action => 'rate_limited', retry_after => $form, times => 1)), 'CS-CF-12DW (2)',
		"429 with Retry-After: $form");
}
@at = map { $_->{at} } $sandbox->requests;
cmp_ok($at[1] - $at[0], '<', 10, 'a date is read as what it is');

#
# What is not
#
my $malformed = qr/PA006: malformed answer from server "shop_v1"/;
my %once = (
	'status 404' => [ { action => 'status', status => 404, body => '' },
		qr/PA404: Not Found \| Server "shop_v1", GET \/products: HTTP status 404\./ ],
	'an unlisted status' => [ { action => 'status', status => 418, body => '{"message":"I am a teapot"}' },
		qr/PA418: I am a teapot \| Server "shop_v1", GET \/products: HTTP status 418\./ ],
	'a 401 to a key' => [ { action => 'status', status => 401, body => '{"error":"bad key"}' },
		qr/PA401: bad key \| Server "shop_v1", GET \/products: HTTP status 401\./ ],
	'an HTML page' => [ { action => 'body', content_type => 'text/html', text => '<html>Sorry</html>' },
		qr/$malformed: GET \/products: expected JSON, got text\/html \(HTTP status 200\) \| The answer begins with: <html>Sorry<\/html>/ ],
	'JSON that breaks off' => [ { action => 'body', content_type => $json, text => '{"data": [' },
		qr/$malformed: GET \/products: unsound JSON: .* at byte 11 \(HTTP status 200\) \| The answer begins with: \{"data": \[/ ],
	'nothing at all' => [ { action => 'body', content_type => $json, text => '' },
		qr/$malformed: GET \/products: the answer is empty \(HTTP status 200\)/ ],
	'JSON of another shape' => [ { action => 'body', content_type => $json, text => '{"data": 7}' },
		qr/$malformed: resource "products", row 1: expected an object, got a number/ ],
	'a refusal with status 200' => [ { action => 'body', content_type => $json,
			text => '{"success":false,"error":{"code":"NO","message":"not today"}}' },
		qr/PA200: not today \| Server "shop_v1", GET \/products: HTTP status 200, error code NO\./ ],
	'a refusal without a reason' => [ { action => 'body', content_type => $json, text => '{"success":false}' },
		qr/$malformed: GET \/products: "success" is false without an error \(HTTP status 200\)/ ],
	'a redirect' => [ { action => 'redirect', location => 'https://elsewhere.example/v1/products?page=1' },
		qr/PA008: GET \/products on server "shop_v1": "[\d.:]+" answered with a redirect \(HTTP 30\d\) \| The redirect leads to "https:\/\/elsewhere\.example"\./ ],
);
for my $name (sort keys %once)
{
	my ($fault, $expected) = @{ $once{$name} };

	like(under($one, products(%$fault)), qr/^$expected \(1\)$/, $name);
}
like(under("SET cupsource.max_response_size = '1MB'; $one", products(action => 'huge', mbytes => 3)),
	qr/^PA007: .* \(1\)$/, 'an answer that is too large');

# The SQLSTATE can be caught.
is($node->safe_psql('postgres', q{
	CREATE FUNCTION caught() RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM * FROM cs_variations('gone', server => 'hub');
	EXCEPTION WHEN SQLSTATE 'PA404' THEN
		RETURN SQLERRM;
	END $$;
	SELECT caught()}), 'model not found', 'a refusal is caught by its SQLSTATE');

# Nobody there
$node->safe_psql('postgres', q{
	CREATE SERVER closed FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', base_url 'http://127.0.0.1:1/v1');
	CREATE USER MAPPING FOR PUBLIC SERVER closed OPTIONS (api_key 'cs_live_v1_demo')});
like(outcome(q{SELECT count(*) FROM cs_products(server => 'closed')}),
	qr/^PA002: GET \/products on server "closed": could not connect to "127\.0\.0\.1:1" \| /, 'no connection');

#
# The account's budget
#
sub account
{
	my ($name, %options) = @_;

	$sandbox->control(POST => 'keys', { api => 'cupsource-v1', key => "cs_live_$name" });
	create_accounts($node, $sandbox, only => ['shop_v1'], database => 'postgres',
		options => \%options, secrets => { api_key => "cs_live_$name" });
	return;
}

$node->safe_psql('postgres', 'DROP SERVER shop_v1 CASCADE');
account('paused', rate_limit => 0);
like(under($one, products(action => 'rate_limited', retry_after => 3600)), qr/^PA429: .* \(1\)$/,
	'a Retry-After that is too long is not waited for');
like(under($one), qr/^PA010: GET \/products on server "shop_v1": the partner has asked for a pause \| The next request may go out in 3[56]\d\d\.\d s, and 0 others wait for it; this one has waited 0\.0 s of the 60\.0 s that cupsource\.rate_limit_wait allows\. \(0\)$/,
	'and holds for the whole account');

$node->safe_psql('postgres', 'DROP SERVER shop_v1 CASCADE');
account('limited', rate_limit => 4);
my $used = 0;
$used++ while under("SET cupsource.rate_limit_wait = 0; $one") eq 'CS-CF-12DW (1)' && $used < 9;
cmp_ok($used, '<=', 4, 'the budget is kept');
cmp_ok($used, '>=', 1, 'and can be used');
like(under("SET cupsource.rate_limit_wait = 0; $one"),
	qr/^PA010: GET \/products on server "shop_v1": no place yet in the budget of 4 requests a minute \| .* \(0\)$/,
	'beyond it: PA010, and nothing is sent');
$node->safe_psql('postgres', 'DROP SERVER shop_v1 CASCADE');
create_accounts($node, $sandbox, only => ['shop_v1'], options => { rate_limit => 0 });

#
# Pages
#
my $all = q{SELECT count(*), count(DISTINCT sku) FROM cs_products(server => 'shop_v2')};
is(under($all), '142|142 (2)', 'two pages of a hundred');
my @pages = $sandbox->requests;
is($pages[0]{query}{limit} // $pages[0]{query}, $pages[1]{query}{limit} // 'limit=100', 'of the largest size');
is(under(q{SELECT count(*) > 0 FROM cs_products(category => 'coffee_cups', eco_certified => true, server => 'shop_v2')}),
	't (1)', 'filters');
my $query = ($sandbox->requests)[0]{query};
$query = join('&', map { "$_=$query->{$_}" } sort keys %$query) if ref $query;
is(join('&', sort split /&/, $query), 'category=coffee_cups&eco_certified=true&limit=100', 'are sent as they are');

sub page_of_v2
{
	my ($items, %pagination) = @_;

	return { path => '/v2/products', action => 'body', content_type => $json,
		text => encode_json({ data => $items, pagination => \%pagination }) };
}
my $item = { id => 'p1', sku => 's1', name => 'Cup', pricing => { unit_price => 1, currency => 'USD' } };
like(under($all, page_of_v2([$item], has_more => JSON::PP::true, next_cursor => 'again')),
	qr/^PA006: malformed answer from server "shop_v2": resource "products", page 2: its cursor for the next page leads back to an earlier one \(2\)$/,
	'a cursor that leads in a circle');
like(under($all, page_of_v2([$item], has_more => JSON::PP::true)),
	qr/^PA006: .* page 1: more pages are said to follow, but there is no cursor \(1\)$/, 'no cursor');
like(under($all, page_of_v2([$item], has_more => 'yes', next_cursor => 'x')),
	qr/^PA006: .* page 1: field "pagination.has_more": expected true or false, got string \(1\)$/, 'has_more that is no boolean');
like(under(q{SELECT count(*) FROM cs_products(server => 'shop_v1')},
		products(action => 'body', content_type => $json, text => '{"success":true,"data":[],"meta":{"page":1,"per_page":20,"total":142}}')),
	qr/^PA006: .* page 1: it is empty, but more rows are said to follow \(1\)$/, 'an empty page that is not the last');
$sandbox->faults(products(action => 'body', content_type => $json, text => '{"success":true,"data":[],"meta":{"page":1,"per_page":20,"total":142}}'));
like(($node->psql('postgres', q{SELECT count(*) FROM cs_products(server => 'shop_v1')}))[2],
	qr/HINT: +Try again later, and tell the partner if it stays so\. A live call with max_rows gives what is listed\./, 'and what to do then');
$sandbox->no_faults;

#
# Rows
#
sub rows_of
{
	my (@items) = @_;
	my $sql = q{SELECT product_id, sku, unit_price, min_order_qty, certifications, raw FROM cs_products(server => 'shop_v2')};

	return under($sql, { path => '/v2/products', action => 'body', content_type => $json,
			text => '{"data":[' . join(',', @items) . '],"pagination":{"has_more":false}}' });
}
my $wrong = 'PA006: malformed answer from server "shop_v2": resource "products", row';
is(rows_of('{"id":"p1"}'), 'p1||||| (1)', 'what is missing is null');
is(rows_of('{"id":7,"sku":null,"pricing":null,"certifications":["a",null]}'), '7||||{a,NULL}| (1)', 'what is null is null');
is(rows_of('{"id":"p1","pricing":{"unit_price":12345678901234.56},"certifications":[]}'), 'p1||12345678901234.56||{}| (1)', 'money is exact');
is(rows_of('{"id":"p1","colour":"red"}'), 'p1|||||{"id": "p1", "colour": "red"} (1)', 'a field that no column holds keeps the element');
is(rows_of('{"id":"p1"}', '{"id":"p2","colour":"red"}', '{"id":"p3"}'), "p1|||||\np2|||||{\"id\": \"p2\", \"colour\": \"red\"}\np3||||| (1)", 'and no other');
is(rows_of('{"id":"p1","pricing":{"unit_price":1,"vat":2}}'), 'p1||1|||{"id": "p1", "pricing": {"vat": 2, "unit_price": 1}} (1)', 'also further inside');
is(rows_of('{"sku":"s","id":"p1"}', '{"id":"p2","sku":"t"}', '{"sku":"u","extra":1,"id":"p3"}'),
	"p1|s||||\np2|t||||\np3|u||||{\"id\": \"p3\", \"sku\": \"u\", \"extra\": 1} (1)", 'in whatever order');
is(rows_of('{"id":"p1","pricing":{"unit_price":"12.50"}}'), 'p1||12.50||| (1)', 'a number may be written as a string');
is(rows_of('{"id":"p1"}', '{"id":"p2"}', '{"id":"p3","pricing":{"unit_price":"12.50 USD"}}'),
	"$wrong 3, field \"pricing.unit_price\": expected a number, got a string (1)", 'a string where money belongs');
is(rows_of('{"id":"p1","pricing":"free"}'), "$wrong 1, field \"pricing\": expected an object, got a string (1)", 'no object');
is(rows_of('{"sku":"s"}'), "$wrong 1, field \"id\": required, but missing (1)", 'a required field');
is(rows_of('"p1"'), "$wrong 1: expected an object, got a string (1)", 'no row');
is(rows_of('{"id":"p1"}', 'null'), "$wrong 2: expected an object, got null (1)", 'null for a row');
is(rows_of(), ' (1)', 'no rows');

# A session compiles the columns once.
$node->safe_psql('postgres', q{
	CREATE SERVER twin FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2', base_url '} . $sandbox->url . q{/v2', rate_limit '0');
	CREATE USER MAPPING FOR PUBLIC SERVER twin OPTIONS (api_key 'twin')});
$sandbox->faults(
	map({ { path => '/v2/products', action => 'body', content_type => $json, text => $_, times => 1 } }
		'{"data":[{"id":"p1","sku":"s1","colour":"red","pricing":{"unit_price":1}}]}',
		'{"data":[{"id":"p2","sku":"s2","pricing":{"unit_price":"2"}}]}',
		'{"data":[{"id":"p3"}]}', ('{"data":[{"id":"p3","sku":"s3"}]}') x 2));
is(outcome(q{
		SELECT server, product_id, sku, unit_price, raw ->> 'colour' FROM cs_products(server => 'shop_v2');
		DO $$ BEGIN PERFORM * FROM cs_products(server => 'shop_v2'); EXCEPTION WHEN SQLSTATE 'PA006' THEN NULL; END $$;
		SELECT server, product_id, sku, unit_price, raw FROM cs_products(server => 'twin')}),
	"shop_v2|p1|s1|1|red\ntwin|p3|||", 'nothing of an answer is left for the next, not even after an error');
is(outcome(q{
		BEGIN;
		SELECT product_id, sku FROM cs_products(server => 'shop_v2');
		ALTER VIEW cs_products RENAME COLUMN sku TO code_of_ours;
		SELECT product_id, code_of_ours FROM cs_products(server => 'shop_v2');
		ROLLBACK}),
	"p3|s3\np3|", 'a row type that changes is followed');
$sandbox->no_faults;

#
# What is left behind: nothing, whether a call succeeds or ends in an ERROR
#
$sandbox->faults(products(action => 'body', content_type => $json, every => 2,
		text => '{"data":[{"id":"p1","price":"wrong","note":"' . ('x' x 2000) . '"}]}'));
like($node->safe_psql('postgres', q{
	CREATE FUNCTION many(n int) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		failed int := 0;
		rows int := 0;
	BEGIN
		FOR i IN 1..n LOOP
			BEGIN
				rows := rows + (SELECT count(*) FROM cs_products(max_rows => 1, server => 'shop_v1'));
			EXCEPTION WHEN SQLSTATE 'PA006' THEN
				failed := failed + 1;
			END;
		END LOOP;
		RETURN failed || ' ' || rows;
	END $$;
	CREATE FUNCTION resident_pages() RETURNS bigint LANGUAGE sql AS
		$$ SELECT split_part(pg_read_file('/proc/self/statm'), ' ', 2)::bigint $$;
	SELECT many(200);
	SELECT resident_pages() AS before \gset
	SELECT many(600);
	SELECT resident_pages() - :before < 256;
	SELECT count(*) FROM pg_backend_memory_contexts WHERE name ~ '^cupsource (call|attempt|pager|page|rows)'}),
	qr/^100 100\n300 300\n@{[ $memory_is_ours ? 't' : '[tf]' ]}\n0$/, 'hundreds of calls leave no memory behind');
$sandbox->no_faults;

#
# Statistics
#
is($node->safe_psql('postgres', q{
	SELECT bool_and(calls > 0), sum(retries) > 0, sum(rate_limited_429) >= 3, sum(refused_5xx) > 0, sum(timeouts) > 0, sum(malformed) > 0
	  FROM cs_stat_requests WHERE endpoint = 'GET /products'}), 't|t|t|t|t|t', 'every attempt is counted');

$sandbox->stop;
$node->stop;
done_testing();
