# Assets of Cup Source v2: artwork goes up as multipart, once, and its id is
# what an order's branding names.
use strict;
use warnings;

use CupsourceReplay;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $partner = CupsourceReplay->start;
my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0, '--products' => 50);
my $node = cupsource_node('assets', conf => 'cupsource.max_retries = 2');
my $key = 'cs_live_sk_8f7d6c5b4a3e2d1f';

create_account($node, 'doc', api => 'cupsource-v2', base_url => $partner->url . '/v2', secrets => { api_key => $key });
create_accounts($node, $sandbox, options => { rate_limit => 0 });

# The form as it arrived: name, file name, type and content of each part.
sub form
{
	my ($request) = @_;
	my ($boundary) = $request->{headers}{'content-type'} =~ m{^multipart/form-data; boundary=([-\w]+)$}
	  or return 'no form: ' . ($request->{headers}{'content-type'} // 'no type');
	my ($before, @parts) = split /(?:\A|\r\n)--\Q$boundary\E/, $request->{body};

	return 'no end' unless pop(@parts) eq "--\r\n";
	return join "\n", map {
		my ($head, $content) = /\A\r\n(.*?)\r\n\r\n(.*)\z/s;
		($head =~ s/\r\n/ | /gr) . " | $content";
	} @parts;
}

#
# What is sent
#
my $answer = '{"data": {"asset_id": "art_9f3m2x"}}';

sub uploaded
{
	my ($arguments, $given) = @_;

	$partner->clear;
	$partner->answers('POST /v2/assets' => $given // $answer, status => 201);
	return $node->safe_psql('postgres', "SELECT cs_upload_asset($arguments, server => 'doc')");
}

is(uploaded(q{content => '<svg>cup</svg>', filename => 'logo.svg'}), 'art_9f3m2x', 'the asset\'s id is returned');
my @arrived = $partner->arrived;
is_deeply([ map {"$_->{method} $_->{target}"} @arrived ], ['POST /v2/assets'], 'by one POST');
is($arrived[0]{headers}{authorization}, "Bearer $key", 'with the key');
is(form($arrived[0]), 'Content-Disposition: form-data; name="file"; filename="logo.svg" | Content-Type: image/svg+xml | <svg>cup</svg>',
	'a form with one file');
like($arrived[0]{headers}{'idempotency-key'}, qr/^[0-9a-f]{8}-/, 'and an idempotency key, documented or not');

for (
	[ q{'\x89504e470d0a1a0a00ff'}, 'image/png', "\\x89PNG\r\n\x1a\n\0\\xff" ],
	[ q{'\xffd8ffe0'}, 'image/jpeg', '\\xff\\xd8\\xff\\xe0' ],
	[ q{'\x255044462d312e37'}, 'application/pdf', '%PDF-1.7' ],
	[ q{'\x2521'}, 'application/octet-stream', '%!' ],
	[ q{'\x49492a00'}, 'image/tiff', "II*\0" ],
  )
{
	uploaded("content => $_->[0], filename => 'a'");
	is(form($partner->arrived), qq(Content-Disposition: form-data; name="file"; filename="a" | Content-Type: $_->[1] | $_->[2]),
		"the content tells the type: $_->[1]");
}
uploaded(q{content => 'x', filename => 'a "b"; ä.ai', content_type => 'application/illustrator; version=3'});
is(form($partner->arrived), 'Content-Disposition: form-data; name="file"; filename="a %22b%22; ' . "\x{e4}"
	  . '.ai" | Content-Type: application/illustrator; version=3 | x', 'a type of one\'s own, and a name that needs quoting');

for ('{"id": "art_1"}', '{"data": {"assetId": "art_1"}}', '{"success": true, "data": {"asset": {"id": "art_1"}}}')
{
	is(uploaded(q{content => 'x', filename => 'a'}, $_), 'art_1', "read: $_");
}
for (
	[ '{"data": {}}', 'PA006: malformed answer from server "doc": resource "asset", row 1, field "asset_id": required, but missing' ],
	[ '', 'PA009: the outcome is unknown: malformed answer from server "doc": POST /assets: the answer is empty (HTTP status 201)' ],
	[ '[]', 'PA006: malformed answer from server "doc": resource "asset", row 1: expected an object, got an array' ],
  )
{
	$partner->clear;
	$partner->answers('POST /v2/assets' => $_->[0], status => 201);
	like(refusal($node, q{SELECT cs_upload_asset('x'::bytea, 'a', server => 'doc')}), qr/^ERROR:  \Q$_->[1]\E\n/, "an unreadable answer: $_->[0]");
	is(scalar($partner->arrived), 1, 'and one POST');
}

#
# What is refused before anything is sent
#
$partner->clear;
for (
	[ '22004', q{NULL::bytea, 'a'} ], [ '22004', q{'x'::bytea, NULL} ], [ '22023', q{''::bytea, 'a'} ],
	[ '22023', q{'x'::bytea, ''} ], [ '22023', q{'x'::bytea, 'a/b'} ], [ '22023', q{'x'::bytea, E'a\r\nX: y'} ],
	[ '22023', q{'x'::bytea, repeat('a', 256)} ], [ '22023', q{'x'::bytea, 'a', 'png'} ],
	[ '22023', q{'x'::bytea, 'a', '/png'} ], [ '22023', q{'x'::bytea, 'a', E'image/png\r\nX: y'} ],
	[ '22023', q{file => 'relative.png'} ], [ '58P01', q{file => '/nowhere/at/all.png'} ], [ '42809', q{file => '/dev/null'} ],
	[ '42809', q{file => '/'} ], [ '22004', q{file => NULL} ],
  )
{
	is(query_state($node, "SELECT cs_upload_asset($_->[1], server => 'doc')"), $_->[0], "$_->[0]: $_->[1]");
}
is(query_state($node, q{SELECT cs_upload_asset('x'::bytea, 'a', server => 'hub')}), '0A000', '0A000: an API without assets');
is(query_state($node, q{BEGIN READ ONLY; SELECT cs_upload_asset('x'::bytea, 'a', server => 'doc')}), '25006', 'a read-only transaction');
is_deeply([ $partner->lines ], [], 'nothing was sent');

#
# Files of the server, for those who may read them
#
my $file = PostgreSQL::Test::Utils::tempdir() . '/art work.png';
my $content = "\x89PNG\r\n\x1a\n" . join '', map { chr($_ * 7 % 256) } 1 .. 3_000_000;
open my $handle, '>:raw', $file or die "$file: $!";
print $handle $content;
close $handle or die "$file: $!";
$node->safe_psql('postgres', q{CREATE ROLE buyer; CREATE ROLE designer; GRANT pg_read_server_files TO designer;
	GRANT USAGE ON FOREIGN SERVER shop_v2 TO buyer, designer});
is(refusal($node, qq{SET ROLE buyer; SELECT cs_upload_asset(file => '$file', server => 'shop_v2')}), <<'END', 'not everybody may');
ERROR:  42501: permission denied to read a file of the database server
DETAIL:  Only roles with privileges of the role "pg_read_server_files" may do so.
HINT:  Pass the content itself: cs_upload_asset(content => ..., filename => ...).
END
is(query_state($node, q{SET ROLE buyer; SELECT cs_upload_asset('x'::bytea, 'a', server => 'doc')}), '42501', 'nor without USAGE');
is($sandbox->count(path => '/v2/assets'), 0, 'and nothing was sent');
my $asset = $node->safe_psql('postgres', qq{SET ROLE designer; SELECT cs_upload_asset(file => '$file', server => 'shop_v2')});
like($asset, qr/^art_\w{6}$/, 'a member of pg_read_server_files may');
my ($request) = $sandbox->requests(path => '/v2/assets');
cmp_ok($request->{body_bytes}, '>', length $content, 'the whole file went up');
like($request->{body}, qr/filename="art work\.png"\r\nContent-Type: image\/png\r\n/, 'under its name');
is($node->safe_psql('postgres', qq{SET ROLE buyer; SELECT cs_upload_asset(pg_catalog.decode('ff', 'hex'), 'a', server => 'shop_v2') LIKE 'art_%'}),
	't', 'content needs USAGE alone');

#
# An asset in an order
#
is(fields($node, <<"END"), "state: placed\n", 'its id goes into the branding of an order');
SELECT state FROM cs_create_order(external_id => 'branded', server => 'shop_v2',
    lines => (SELECT jsonb_build_array(jsonb_build_object('product_id', product_id, 'quantity', min_order_qty))
                FROM cs_products(max_rows => 1, server => 'shop_v2')),
    ship_to => '{"line1": "123 Warehouse Blvd", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}',
    options => '{"branding": {"asset_id": "$asset", "print_method": "flexography"}}')
END
is(query_state($node, q{SELECT cs_create_order('[{"product_id": "p", "quantity": 1}]', '{"line1": "1 Way", "city": "Portland",
	"state": "OR", "postal_code": "97201", "country": "US"}', 'unknown art', '{"branding": {"asset_id": "art_unknown", "print_method": "flexography"}}', 'shop_v2')}),
	'PA400', 'one that the partner does not know is refused');

#
# Never sent twice
#
sub tried
{
	my ($fault, $expected, $count, $what) = @_;

	$sandbox->forget;
	$sandbox->faults({ method => 'POST', path => '/assets$', times => 1, %$fault });
	is(query_state($node, q{SELECT cs_upload_asset('x'::bytea, 'a', server => 'shop_v2')}), $expected, $what);
	is($sandbox->count(path => '/v2/assets'), $count, "... POSTs: $count");
	return;
}

tried({ action => 'drop_after' }, 'PA009', 1, 'an answer that was lost leaves the outcome unknown');
tried({ action => 'drop_before' }, 'PA009', 1, 'so does a connection that broke before it');
tried({ action => 'status', status => 500 }, 'PA500', 1, 'an error is told');
tried({ action => 'status', status => 403 }, 'PA403', 1, 'a refusal is told');
tried({ action => 'rate_limited', retry_after => 0 }, '00000', 2, 'only what was turned away unread is sent again');

# A kept connection that dies: libcurl alone would send the body again.
$sandbox->forget;
$sandbox->faults({ action => 'close_every_second_unanswered' });
is(query_state($node, q{SELECT count(*) FROM cs_products(max_rows => 1, server => 'shop_v2') \g /dev/null
	SELECT cs_upload_asset('x'::bytea, 'a', server => 'shop_v2')}), 'PA009', 'nor is it when a kept connection dies');
is(join(' ', map {"$_->{method} $_->{request_on_connection}"} $sandbox->requests), 'GET 1 POST 2', '... on which it was the second request');

# Cancelled while it waits
$sandbox->faults({ method => 'POST', path => '/assets$', action => 'hang' });
is(query_state($node, q{SET statement_timeout = '500ms'; SELECT cs_upload_asset('x'::bytea, 'a', server => 'shop_v2')}),
	'57014', 'an upload can be cancelled');
$sandbox->no_faults;

$node->stop;
done_testing;
