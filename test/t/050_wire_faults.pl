#!/usr/bin/perl
#
# Whatever a partner or the network does instead of answering well: the
# statement fails with an error of its own, not a row of it is seen, the session
# goes on, and the partner got exactly the requests that it should.
use strict;
use warnings;
use CupsourceTest;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $certificates = PostgreSQL::Test::Utils::tempdir;
chmod 0755, $certificates;
my $sandbox = CupsourceTest::Sandbox->start(
	'--rate-limit' => 0, '--tls' => $certificates,
	'--tls-wrong-port', '--tls-expired-port', '--tls-untrusted-port');
my $host = '127.0.0.1:' . $sandbox->port;
my $node = cupsource_node('faults', conf => <<'END');
cupsource.max_retries = 0
cupsource.max_response_size = '1MB'
cupsource.order_timeout = '2s'
END
create_accounts($node, $sandbox, options => { rate_limit => 0 });
$node->safe_psql('postgres', <<'END');
CREATE TABLE seen (server text, product_id text);
CREATE FUNCTION outcome(statement text) RETURNS text[] LANGUAGE plpgsql AS $$
DECLARE
	sqlstate_ text;
	message text;
	detail text;
	hint text;
	n bigint;
BEGIN
	EXECUTE statement;
	GET DIAGNOSTICS n = ROW_COUNT;
	RETURN ARRAY['00000', n || ' rows', '', ''];
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS sqlstate_ = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
		detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN ARRAY[sqlstate_, message, detail, hint];
END $$;
END

my $session = $node->background_psql('postgres', on_error_stop => 0);
my $backend = $session->query('SELECT pg_backend_pid()');

# SQLSTATE, message, detail and hint of what a statement comes to.
sub outcome
{
	my ($statement) = @_;

	return @{ JSON::PP->new->decode(
			$session->query("SELECT array_to_json(outcome(\$statement\$$statement\$statement\$))")) };
}

sub products
{
	my ($server) = @_;

	return "INSERT INTO seen SELECT server, product_id FROM cs_products(server => '$server')";
}

# Expected is a string or a pattern.
sub matches
{
	my ($got, $expected, $name) = @_;

	return ref $expected ? like($got, $expected, $name) : is($got, $expected, $name);
}

# What the list of products is called at each partner.
my %list = (
	shop_v1 => { api => 'cupsource-v1', path => '/v1/products', endpoint => 'GET /products' },
	shop_v2 => { api => 'cupsource-v2', path => '/v2/products', endpoint => 'GET /products' },
	hub => { api => 'customhub-v1', path => '/api/v1/models', endpoint => 'GET /api/v1/models' });
my $name_of = { shop_v1 => 'Cup Source v1', shop_v2 => 'Cup Source v2', hub => 'CustomHub v1' };

# One fault at one partner, after a good call and before another.
sub fails
{
	my ($server, $name, $fault, $sqlstate, $message, $detail, $requests) = @_;
	my $list = $list{$server};

	$session->query("SELECT count(*) FROM cs_products(server => '$server')");
	$sandbox->faults({ %$fault, path => "$list->{path}\$" });
	$sandbox->forget;
	$session->query("SET cupsource.timeout = '" . ($fault->{action} =~ /^(?:hang|drip)$/ ? '300ms' : '10s') . "'");
	my @got = outcome(products($server));
	is($got[0], $sqlstate, "$server, $name: SQLSTATE");
	matches($got[1], $message, "$server, $name: message");
	matches($got[2], $detail, "$server, $name: detail");
	is($sandbox->count(path => $list->{path}), $requests // 1, "$server, $name: requests");
	$sandbox->no_faults;
	is($session->query('SELECT count(*) FROM seen'), 0, "$server, $name: not a row");
	return;
}

sub raw
{
	return { action => 'raw', base64 => encode_base64($_[0], '') };
}

for my $server (sort keys %list)
{
	my $call = "$list{$server}{endpoint} on server \"$server\"";
	my $lost = qq($call: connection to "$host" was lost before a complete answer arrived);
	my $late = qq($call: no complete answer from "$host" within 300 ms);
	my $large = qq($call: answer of "$host" is larger than 1048576 bytes);
	my $broken_off = 'Receiving was broken off; what counts is the size after decompression.';

	# libcurl sends a read again when a kept connection dies without a word.
	fails($server, 'a close', { action => 'drop_before' }, 'PA005', $lost,
		'libcurl says: Empty reply from server.', 2);
	fails($server, 'a reset', { action => 'reset' }, 'PA005', $lost,
		'libcurl says: Recv failure: Connection reset by peer.', 2);
	fails($server, 'a hang', { action => 'hang' }, 'PA004', $late,
		qr/^The request went out after \d+ ms, and no byte of an answer arrived\.$/);
	fails($server, 'a drip', { action => 'drip', interval_ms => 20 }, 'PA004', $late,
		qr/^The answer began after \d+ ms, and \d+ bytes of its body arrived\.$/);
	fails($server, 'a short body', { action => 'truncate', bytes => 200 }, 'PA005', $lost,
		qr/^libcurl says: (?:transfer closed with \d+ bytes remaining to read|end of response with \d+ bytes missing)\.$/);
	fails($server, 'short headers', raw("HTTP/1.1 200 OK\r\nContent-Ty"), 'PA005', $lost,
		'The headers of the answer broke off.');
	fails($server, 'no HTTP', raw("220 mail.example ESMTP\r\n"), 'PA006',
		qq($call: answer of "$host" is not valid HTTP), qr{^libcurl says: (?:Received HTTP/0\.9 when not allowed|Invalid status line)\.$});
	fails($server, 'a large body', { action => 'huge', mbytes => 3 }, 'PA007', $large, $broken_off);
	fails($server, 'a large body in chunks', { action => 'chunked_huge', mbytes => 3 }, 'PA007',
		$large, $broken_off);
	fails($server, 'a large body compressed', { action => 'gzip_bomb', mbytes => 10 }, 'PA007',
		$large, $broken_off);
	fails($server, 'a redirect', { action => 'redirect', location => 'https://elsewhere.example/a?b' },
		'PA008', qq($call: "$host" answered with a redirect (HTTP 302)),
		'The redirect leads to "https://elsewhere.example".');
	fails($server, 'an HTML page', { action => 'html' }, 'PA006',
		qr/^malformed answer from server "$server": $list{$server}{endpoint}: .*text\/html/,
		qr/<title>Maintenance<\/title>/);
	fails($server, 'an HTML error page', { action => 'html', status => 502 }, 'PA502',
		"$name_of->{$server} answered with HTTP status 502",
		qq(Server "$server", $list{$server}{endpoint}: HTTP status 502.));
	fails($server, 'an empty body', { action => 'body', text => '' }, 'PA006',
		qr/^malformed answer from server "$server": /, qr//);

	# The partner's refusals: by their status, listed or not.
	for my $status (400, 403, 404, 500, 503, 418, 599)
	{
		fails($server, "HTTP $status",
			{ action => 'status', status => $status, body => '{"error":{"code":"SOME_CODE","message":"some words"}}' },
			"PA$status", 'some words',
			qr/^Server "$server", $list{$server}{endpoint}: .*$status.*SOME_CODE/);
	}
}

# A 401 is worth a second try where a token can be had, and only there.
fails('shop_v1', 'HTTP 401', { action => 'status', status => 401 }, 'PA401', 'invalid API key',
	qr/HTTP status 401/, 1);
fails('hub', 'HTTP 401', { action => 'status', status => 401 }, 'PA401', 'missing or invalid JWT',
	qr/HTTP status 401/, 2);

# What is not JSON, or not what PostgreSQL could store.

my $depth = 10000;
for (
	[ 'an end too soon', '{"data":[' ],
	[ 'nothing but blanks', "  \n" ],
	[ 'two documents', '{"data":[]}{"data":[]}' ],
	[ 'something behind it', '{"data":[]}x' ],
	[ 'a comma too many', '{"data":[],}' ],
	[ 'a comma missing', '{"data":[] "meta":{}}' ],
	[ 'a colon missing', '{"data" []}' ],
	[ 'a value missing', '{"data":}' ],
	[ 'single quotes', "{'data':[]}" ],
	[ 'a name without quotes', '{data:[]}' ],
	[ 'a comment', '/* none */{"data":[]}' ],
	[ 'the wrong bracket', '{"data":[}]' ],
	[ 'a string without end', '{"data":"a}' ],
	[ 'a raw line feed in a string', "{\"data\":\"a\nb\"}" ],
	[ 'an unknown escape', '{"data":"\x"}' ],
	[ 'a NUL escape', '{"data":"\u0000"}' ],
	[ 'a raw NUL', "{\"data\":\"a\0b\"}" ],
	[ 'half a surrogate pair', '{"data":"\ud800"}' ],
	[ 'a number with a leading zero', '{"data":01}' ],
	[ 'a number with a leading plus', '{"data":+1}' ],
	[ 'a hexadecimal number', '{"data":0x10}' ],
	[ 'NaN', '{"data":NaN}' ],
	[ 'Infinity', '{"data":-Infinity}' ],
	[ 'a Python constant', '{"data":None}' ],
	[ 'True', '{"data":True}' ],
	[ 'a byte order mark', "\xef\xbb\xbf{\"data\":[]}" ],
	[ 'invalid UTF-8', "{\"data\":\"\xff\"}" ],
	[ 'an overlong character', "{\"data\":\"\xc0\x80\"}" ],
	[ 'a surrogate in UTF-8', "{\"data\":\"\xed\xa0\x80\"}" ],
	[ "$depth levels of arrays", '[' x $depth . ']' x $depth ],
	[ "$depth levels of objects", '{"a":' x $depth . '1' . '}' x $depth ])
{
	my ($name, $body) = @$_;

	fails('shop_v1', $name, { action => 'body', base64 => encode_base64($body, '') }, 'PA006',
		qr/^malformed answer from server "shop_v1": GET \/products: /, qr/./);
}

# JSON of the wrong shape.

for (
	[ 'no list', '{"meta":{}}', qr/^malformed answer from server "shop_v2": / ],
	[ 'a string for the list', '{"data":"none"}', qr/^malformed answer from server "shop_v2": / ],
	[ 'a number for the document', '7', qr/^malformed answer from server "shop_v2": / ],
	[ 'a list of numbers', '{"data":[1,2]}',
		'malformed answer from server "shop_v2": resource "products", row 1: expected an object, got a number' ],
	[ 'a row without its id', '{"data":[{"sku":"A"}]}',
		'malformed answer from server "shop_v2": resource "products", row 1, field "id": required, but missing' ],
	[ 'the second row wrong', '{"data":[{"id":"p1"},{"id":"p2","name":{}}]}',
		'malformed answer from server "shop_v2": resource "products", row 2, field "name": expected a string, got an object' ],
	[ 'a price as text', '{"data":[{"id":"p1","pricing":{"unit_price":"12,50"}}]}',
		qr/^malformed answer from server "shop_v2": resource "products", row 1, field "pricing\.unit_price": expected a number, got a string$/ ],
	[ 'a quantity that is too large', '{"data":[{"id":"p1","min_order_qty":99999999999999999999999}]}',
		qr/^malformed answer from server "shop_v2": / ],
	[ 'no success', '{"success":false}',
		'malformed answer from server "shop_v2": GET /products: "success" is false without an error (HTTP status 200)' ])
{
	my ($name, $body, $message) = @$_;

	fails('shop_v2', $name, { action => 'body', text => $body }, 'PA006', $message, qr//);
}

# A failure after a good page takes the good page along.

for my $server ('shop_v1', 'shop_v2')
{
	for my $fault ({ action => 'truncate', bytes => 500 }, { action => 'status', status => 500 }, { action => 'html' })
	{
		fails($server, "$fault->{action} on the second page", { %$fault, nth => [2] },
			{ truncate => 'PA005', status => 'PA500', html => 'PA006' }->{ $fault->{action} }, qr/./, qr/./, 2);
	}
}

# Certificates.

my $ready = $sandbox->ready;
for (
	[ 'wrong', $ready->{tls_wrong_port}, 'of another host', qr/no alternative certificate subject name/ ],
	[ 'expired', $ready->{tls_expired_port}, 'that has expired', qr/certificate has expired/ ],
	[ 'untrusted', $ready->{tls_untrusted_port}, 'of an unknown authority', qr/unable to get local issuer certificate/ ])
{
	my ($server, $port, $name, $detail) = @$_;

	$node->safe_psql('postgres', "CREATE SERVER $server FOREIGN DATA WRAPPER cupsource OPTIONS
		(api 'cupsource-v1', base_url 'https://localhost:$port/v1', ca_file '$certificates/ca.pem');
		CREATE USER MAPPING FOR PUBLIC SERVER $server OPTIONS (api_key 'cs_live_v1_demo')");
	$sandbox->forget;
	my @got = outcome(products($server));
	is("@got[0, 1]", qq(PA003 GET /products on server "$server": could not verify the certificate of "localhost:$port"),
		"a certificate $name");
	like($got[2], $detail, "a certificate $name: detail");
	is($sandbox->count, 0, "a certificate $name: nothing was sent");
}
$node->safe_psql('postgres', "CREATE SERVER right_one FOREIGN DATA WRAPPER cupsource OPTIONS
	(api 'cupsource-v1', base_url 'https://localhost:$ready->{tls_port}/v1', ca_file '$certificates/ca.pem');
	CREATE USER MAPPING FOR PUBLIC SERVER right_one OPTIONS (api_key 'cs_live_v1_demo')");
is($session->query("SELECT count(*) FROM cs_products(server => 'right_one')"), 142, 'the right certificate will do');

# Nobody there.
{
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
	my $closed = '127.0.0.1:' . $socket->sockport;

	close $socket;
	$node->safe_psql('postgres', "CREATE SERVER closed FOREIGN DATA WRAPPER cupsource OPTIONS
		(api 'cupsource-v1', base_url 'http://$closed');
		CREATE SERVER nowhere FOREIGN DATA WRAPPER cupsource OPTIONS
		(api 'cupsource-v1', base_url 'https://partner.invalid');
		CREATE USER MAPPING FOR PUBLIC SERVER closed OPTIONS (api_key 'key1');
		CREATE USER MAPPING FOR PUBLIC SERVER nowhere OPTIONS (api_key 'key1')");
	my @got = outcome(products('closed'));
	is("@got[0, 1]", qq(PA002 GET /products on server "closed": could not connect to "$closed"), 'a closed port');
	@got = outcome(products('nowhere'));
	is("@got[0, 1]", 'PA001 GET /products on server "nowhere": could not find the address of "partner.invalid"',
		'a name without address');
}

is($session->query('SELECT pg_backend_pid()'), $backend, 'all that in one session');
$session->quit;

# Orders: a POST that is not idempotent by document is sent once, whatever happens;
# CustomHub's is sent again with the same bytes, and is one order.

my %order = (
	shop_v1 => [ 'cupsource-v1', '/v1/orders', '[{"sku":"CS-8OZ-ECO","quantity":5000}]',
		'{"line1":"1 Way","city":"Portland","state":"OR","postal_code":"97201"}',
		'{"currency":"USD"}' ],
	hub => [ 'customhub-v1', '/api/v1/orders', '[{"sku":"BC-3001-L-BLACK","quantity":1}]',
		'{"name":"A","line1":"1 Way","city":"Portland","state":"OR","postal_code":"97201","country":"US"}',
		'{}' ]);

sub place
{
	my ($server, $id) = @_;
	my (undef, undef, $lines, $address, $options) = @{ $order{$server} };
	my $statement = 'SELECT state FROM cs_create_order('
	  . "'$lines', '$address', '$id', '$options', server => '$server')";
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$statement");

	return $err =~ /^(?:psql:[^\n]*?)?ERROR: +([0-9A-Z]{5}):/m ? $1 : $out;
}

for my $server (sort keys %order)
{
	my ($api, $path) = @{ $order{$server} };

	is(place($server, "$server-warm"), 'placed', "$server: an order over what is then a kept connection");
	for (
		[ 'taken_and_lost', { action => 'drop_after' } ],
		[ 'lost', { action => 'drop_before' } ],
		[ 'reset', { action => 'reset' } ],
		[ 'taken_and_silent', { action => 'hang_after' } ],
		[ 'truncated', { action => 'truncate', bytes => 10 } ])
	{
		my ($name, $fault) = @$_;

		$sandbox->forget;
		$sandbox->faults({ %$fault, method => 'POST', path => "$path\$", times => 1 });
		my $got = place($server, "$server-$name");
		if ($server eq 'shop_v1')
		{
			is($got, 'PA009', "$server, $name: the outcome is unknown");
			is($sandbox->count(method => 'POST', path => $path), 1, "$server, $name: one POST");
			is($node->safe_psql('postgres', "SELECT state FROM cs_orders WHERE external_id = '$server-$name'"),
				'uncertain', "$server, $name: uncertain");
		}
		else
		{
			wait_for_state($node, "$server-$name", 'placed');
			my @posts = map { $_->{body} } $sandbox->requests(method => 'POST', path => $path);
			is(scalar(@posts), 2, "$server, $name: a second POST");
			is($posts[0], $posts[1], "$server, $name: with the same bytes");
			is($sandbox->orders(external_id => "$server-$name"), 1, "$server, $name: one order");
		}
		$sandbox->no_faults;
	}
}

done_testing;
