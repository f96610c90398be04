#!/usr/bin/perl
#
# The wire alone: each way an HTTP exchange can fail has its own failure, says
# whether the partner can have seen the request, and leaves the session as it
# was; nothing that must not be repeated is sent twice.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IPC::Open2;
use JSON::PP;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use CupsourceTest;

my $certificates = PostgreSQL::Test::Utils::tempdir;
chmod 0755, $certificates;
my $sandbox = CupsourceTest::Sandbox->start(
	'--rate-limit' => 0, '--tls' => $certificates,
	'--tls-wrong-port', '--tls-expired-port', '--tls-untrusted-port');
my $authority = $sandbox->ca_file;
my $host = '127.0.0.1:' . $sandbox->port;
my $key = 'Authorization: Bearer cs_live_v1_demo';

my $node = PostgreSQL::Test::Cluster->new('http');
$node->init(extra => [ '--no-locale', '--encoding=UTF8' ]);
$node->start;
$node->safe_psql('postgres', <<'END');
CREATE FUNCTION http_send(method text, urls text[], headers text[], body text, parts text[],
    repeatable boolean, connect_timeout integer, timeout integer, max_size bigint, ca_file text)
  RETURNS TABLE (request integer, kind text, delivery text, status integer, sqlstate text,
    message text, detail text, hint text, content text, length bigint, content_type text,
    retry_after integer, server_time bigint, http_version integer, new_connection boolean,
    bytes_sent bigint, bytes_received bigint, connect_ms integer, first_byte_ms integer,
    total_ms integer)
  LANGUAGE c AS 'http_test';
CREATE FUNCTION http_wait(timeout integer) RETURNS integer LANGUAGE c AS 'http_test';
CREATE FUNCTION http_active() RETURNS integer LANGUAGE c AS 'http_test';
CREATE FUNCTION http_close_idle() RETURNS void LANGUAGE c AS 'http_test';
CREATE FUNCTION http_escape(text) RETURNS text LANGUAGE c AS 'http_test';
END

# One session for everything, so that each test runs after the failures of those before.
my $session = $node->background_psql('postgres', on_error_stop => 0);

sub literal
{
	my ($value) = @_;

	return 'NULL' unless defined $value;
	return 'ARRAY[' . join(', ', map { literal($_) } @$value) . ']::text[]' if ref $value;
	$value =~ s/'/''/g;
	return "'$value'";
}

# The query that sends; options as http_send's arguments, url or urls.
sub sending
{
	my (%opt) = @_;

	$opt{urls} //= [ $opt{url} // "http://$host/v1/products?per_page=1" ];
	return 'http_send(' . join(', ',
		literal($opt{method} // 'GET'), literal($opt{urls}), literal($opt{headers} // [$key]),
		literal($opt{body}), literal($opt{parts}), ($opt{repeatable} // 1) ? 'true' : 'false',
		$opt{connect_timeout} // 4000 * $CupsourceTest::patience, $opt{timeout} // 8000 * $CupsourceTest::patience, $opt{max_size} // 1048576,
		literal($opt{ca_file})) . ')';
}

# The answers, as a list of hashes.
sub answers
{
	my $rows = $session->query('SELECT to_json(a) FROM ' . sending(@_) . ' AS a');

	return map { JSON::PP->new->decode($_) } split /\n/, $rows;
}

sub answer
{
	return (answers(@_))[0];
}

# The error that a request throws before it is sent.
sub refusal
{
	my (undef, undef, $error) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM " . sending(@_));

	return $error =~ /ERROR: +(.*)/ ? $1 : $error;
}

sub raw
{
	return { action => 'raw', base64 => encode_base64($_[0], '') };
}

my $order = '{"items":[{"sku":"CS-8OZ-ECO","qty":5000}],"shipping_address":{"line1":"1 Way",'
  . '"city":"Portland","state":"OR","zip":"97201"},"currency":"USD"}';
my @order = (
	method => 'POST', url => "http://$host/v1/orders", body => $order, repeatable => 0,
	headers => [ $key, 'Content-Type: application/json' ]);

# What goes well.

my $got = answer();
is_deeply(
	[ @$got{qw(kind delivery status sqlstate message http_version content_type)} ],
	[ 'none', 'answered', 200, undef, undef, 11, 'application/json' ],
	'a good answer');
ok($got->{new_connection}, 'over a new connection');
like($got->{content}, qr/"data"/, 'with its body');
cmp_ok(abs($got->{server_time} - time), '<', 60, 'and the time of the server');
$got = answer();
ok(!$got->{new_connection}, 'the next one goes over the same connection');

$sandbox->forget;
answer(headers => [ $key, 'X-Test: one two' ]);
my ($seen) = $sandbox->requests;
is($seen->{headers}{'x-test'}, 'one two', 'headers are sent');
like($seen->{headers}{'accept-encoding'}, qr/gzip/, 'compression is asked for');
ok(!exists $seen->{headers}{expect}, 'no 100-continue');
ok(!exists $seen->{headers}{'content-type'}, 'no content type that nobody gave');

$got = answer(url => "http://$host/v1/products?per_page=20");
cmp_ok($got->{bytes_received}, '<', $got->{length}, 'a large answer came compressed');
is(length $got->{content}, $got->{length}, 'and is whole');
is(@{ JSON::PP->new->decode($got->{content})->{data} }, 20, 'and readable');

$got = answer(@order);
is($got->{status}, 201, 'a body that cannot be sent twice arrives');
($seen) = grep { $_->{method} eq 'POST' } $sandbox->requests;
is($seen->{body}, $order, 'byte for byte');
is($got->{bytes_sent} > length $order, 1, 'and is counted');

for my $repeatable (0, 1)
{
	$sandbox->forget;
	answer(@order, body => '"' . 'x' x 300000 . '"', repeatable => $repeatable);
	is(length(($sandbox->requests)[0]{body}), 300002, 'a large body arrives whole');
}

$sandbox->forget;
for my $repeatable (0, 1)
{
	answer(
		method => 'POST', url => "http://$host/v2/assets", parts => [ 'first part', 'second' ],
		headers => ['Authorization: Bearer cs_live_sk_8f7d6c5b4a3e2d1f'], repeatable => $repeatable);
	$seen = ($sandbox->requests)[$repeatable];
	like($seen->{headers}{'content-type'}, qr{^multipart/form-data; boundary=}, 'multipart');
	like($seen->{body}, qr/name="part1"; filename="art.png"\r\nContent-Type: image\/png\r\n\r\nfirst part\r\n/,
		'with its first part');
	like($seen->{body}, qr/name="part2".*\r\n\r\nsecond\r\n/s, 'and its second');
}

# What is refused before a byte is sent.

$sandbox->forget;
for (
	[ [ url => 'http://192.0.2.1/' ], '"http://192.0.2.1" is not an https URL', 'plain http' ],
	[ [ url => "http://localhost.example:1/" ], '"http://localhost.example:1" is not an https URL', 'a host that looks like this one' ],
	[ [ url => 'ftp://127.0.0.1/' ], '"ftp://127.0.0.1" is not an https URL', 'another protocol' ],
	[ [ url => 'https://user:secret@partner.example/' ], 'a user name or password in a URL is not allowed', 'a password in the URL' ],
	[ [ url => "http://127.0.0.1\@partner.example/" ], 'a user name or password in a URL is not allowed', 'a host that hides behind another' ],
	[ [ url => "http://$host/a b" ], 'a space or control character in a URL is not allowed', 'a space in the URL' ],
	[ [ url => "http://$host/a\r\nX: y" ], 'a space or control character in a URL is not allowed', 'a second header in the URL' ],
	[ [ url => 'partner' ], 'invalid URL', 'no URL' ],
	[ [ headers => ["Authorization: Bearer x\r\nX-Other: y"] ], 'invalid request header', 'a second header in a header' ],
	[ [ headers => ['no colon'] ], 'invalid request header', 'no header' ])
{
	my ($arguments, $message, $name) = @$_;

	is(refusal(@$arguments), "22023: $message", "$name is refused");
}
is($sandbox->count, 0, 'and nothing was sent');
is(answer(url => "http://localhost:" . $sandbox->port . '/v1/products', headers => [$key])->{status},
	200, 'localhost is this host');

# Every failure of the exchange.

my $closed = do
{
	my $socket = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
	$socket->sockport;
};
my $url = "http://$host/v1/products?per_page=1";
my $lost = qq(connection to "$host" was lost before a complete answer arrived);
my $malformed = qq(answer of "$host" is not valid HTTP);
my $too_large = qq(answer of "$host" is larger than 1048576 bytes);
my @status = (200, '"hello"');

# name, fault, arguments; kind, delivery, SQLSTATE, status, message, detail
for (
	[ 'a name without address', undef, [ url => 'https://partner.invalid/' ],
		'resolve', 'not_sent', 'PA001', 0, 'could not find the address of "partner.invalid"',
		qr/^libcurl says: Could not resolve host: partner.invalid\.$/ ],
	[ 'a closed port', undef, [ url => "http://127.0.0.1:$closed/" ],
		'connect', 'not_sent', 'PA002', 0, qq(could not connect to "127.0.0.1:$closed"),
		qr/^libcurl says: Failed to connect .*\.$/ ],
	[ 'a hang', { action => 'hang' }, [ timeout => 300 ],
		'timeout', 'unknown', 'PA004', 0, qq(no complete answer from "$host" within 300 ms),
		qr/^The request went out after \d+ ms, and no byte of an answer arrived\.$/ ],
	[ 'a drip', { action => 'drip', interval_ms => 20 }, [ timeout => 300 ],
		'timeout', 'unknown', 'PA004', 200, qq(no complete answer from "$host" within 300 ms),
		qr/^The answer began after \d+ ms, and \d+ bytes of its body arrived\.$/ ],
	[ 'a close', { action => 'drop_before' }, [],
		'connection_lost', 'unknown', 'PA005', 0, $lost, 'libcurl says: Empty reply from server.' ],
	[ 'a reset', { action => 'reset' }, [],
		'connection_lost', 'unknown', 'PA005', 0, $lost,
		'libcurl says: Recv failure: Connection reset by peer.' ],
	[ 'a short body', { action => 'truncate', bytes => 20 }, [],
		'connection_lost', 'unknown', 'PA005', 200, $lost,
		qr/^libcurl says: (?:transfer closed with \d+ bytes remaining to read|end of response with \d+ bytes missing)\.$/ ],
	[ 'short chunks', raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), [],
		'connection_lost', 'unknown', 'PA005', 200, $lost,
		'libcurl says: transfer closed with outstanding read data remaining.' ],
	[ 'short headers', raw("HTTP/1.1 200 OK\r\nContent-Le"), [],
		'connection_lost', 'unknown', 'PA005', 200, $lost, 'The headers of the answer broke off.' ],
	[ 'an interim answer alone', raw("HTTP/1.1 103 Early Hints\r\n\r\n"), [],
		'connection_lost', 'unknown', 'PA005', 103, $lost, qr/./ ],
	[ 'no HTTP', raw("\x16\x03\x01 nothing of the kind\r\n\r\n"), [],
		'malformed', 'unknown', 'PA006', 0, $malformed,
		qr/^libcurl says: (?:Received HTTP\/0\.9 when not allowed|Invalid status line)\.$/ ],
	[ 'an unknown compression', { action => 'body', text => 'x', headers => { 'Content-Encoding' => 'snappy' } }, [],
		'malformed', 'unknown', 'PA006', 200, $malformed, qr/^libcurl says: Unrecognized content encoding type\./ ],
	[ 'broken compression', { action => 'body', text => 'not so', headers => { 'Content-Encoding' => 'gzip' } }, [],
		'malformed', 'unknown', 'PA006', 200, $malformed, qr/^libcurl says: Error while processing content/ ],
	[ 'a large body', { action => 'huge', mbytes => 3 }, [],
		'too_large', 'unknown', 'PA007', 200, $too_large,
		'Receiving was broken off; what counts is the size after decompression.' ],
	[ 'a large body in chunks', { action => 'chunked_huge', mbytes => 3 }, [],
		'too_large', 'unknown', 'PA007', 200, $too_large,
		'Receiving was broken off; what counts is the size after decompression.' ],
	[ 'a compressed bomb', { action => 'gzip_bomb', mbytes => 50 }, [],
		'too_large', 'unknown', 'PA007', 200, $too_large,
		'Receiving was broken off; what counts is the size after decompression.' ],
	[ 'headers without end', raw("HTTP/1.1 200 OK\r\n" . "X-Filler: abcdefghijklmnopqrstuvwxyz\r\n" x 10000), [],
		'too_large', 'unknown', 'PA007', 200, qq(headers of the answer of "$host" are too large),
		'One may have 102400 bytes, all together 262144.' ],
	[ 'a header without end', raw("HTTP/1.1 200 OK\r\nX-Filler: " . 'x' x 150000 . "\r\n\r\n"), [],
		'too_large', 'unknown', 'PA007', 200, qq(headers of the answer of "$host" are too large),
		'One may have 102400 bytes, all together 262144.' ],
	[ 'a redirect to nowhere', { action => 'body', status => 304, text => '' }, [],
		'redirect', 'answered', 'PA008', 304, qq("$host" answered with a redirect (HTTP 304)), 'It does not say where to.' ],
	[ 'a redirect', { action => 'redirect', location => 'https://elsewhere.example/x?token=1' }, [],
		'redirect', 'answered', 'PA008', 302, qq("$host" answered with a redirect (HTTP 302)),
		'The redirect leads to "https://elsewhere.example".' ])
{
	my ($name, $fault, $arguments, $kind, $delivery, $sqlstate, $status, $message, $detail) = @$_;

	if ($fault)
	{
		$sandbox->faults($fault);
		$sandbox->forget;
	}
	$got = answer(url => $url, @$arguments);
	is_deeply(
		[ @$got{qw(kind delivery sqlstate status message)} ],
		[ $kind, $delivery, $sqlstate, $status, $message ], $name);
	ref $detail ? like($got->{detail}, $detail, "$name: detail") : is($got->{detail}, $detail, "$name: detail");
	next unless $fault;
	is($sandbox->count, 1, "$name: one request") unless $name =~ /^a (close|reset)$/;
	$sandbox->no_faults;
	is(answer()->{status}, 200, "after $name the session goes on");
}

# The limits of connecting: a listener whose queue is full takes no connection.
{
	my $full = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
	my @queued = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $full->sockport, Blocking => 0) } 1 .. 4;
	my $address = '127.0.0.1:' . $full->sockport;

	$got = answer(url => "http://$address/", connect_timeout => 200);
	is_deeply(
		[ @$got{qw(kind delivery sqlstate message detail hint)} ],
		[ 'timeout', 'not_sent', 'PA004', qq(could not connect to "$address" within 200 ms),
			$got->{detail}, 'The limit is the setting "cupsource.connect_timeout".' ],
		'no connection in time');
	like($got->{detail}, qr/^The host name was found after \d+ ms, but the host did not answer\.$/, 'and why');
	$got = answer(url => "http://$address/", connect_timeout => 5000, timeout => 200);
	is_deeply(
		[ @$got{qw(kind delivery message)} ],
		[ 'timeout', 'not_sent', qq(no complete answer from "$address" within 200 ms) ],
		'the whole limit can be the shorter one');
}
{
	my $silent = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1');

	$got = answer(url => 'https://127.0.0.1:' . $silent->sockport . '/', connect_timeout => 200);
	is($got->{delivery}, 'not_sent', 'a TLS handshake that hangs has sent nothing');
	like($got->{detail}, qr/^The host name was found after \d+ ms, but no TLS connection came about\.$/, 'and says so');
	my @all = answers(urls => [ ('https://127.0.0.1:' . $silent->sockport . '/') x 3 ], connect_timeout => 1000);

	# Under memcheck it takes seconds to read the certificates that the system trusts.
	is((grep { $_->{total_ms} < 2000 } @all), 3, 'and no other waits for it') if $memory_is_ours;
}

# What an answer tells beside its body.

for (
	[ 'seconds', 'Retry-After' => '7', 7000 ],
	[ 'a large number', 'Retry-After' => '99999999999999999999', 2147483000 ],
	[ 'a date', 'Retry-After' => 'Sun, 06 Nov 1994 08:50:07 GMT', 30000 ],
	[ 'an old form of date', 'Retry-After' => 'Sunday, 06-Nov-94 08:50:07 GMT', 30000 ],
	[ 'a date gone by', 'Retry-After' => 'Sun, 06 Nov 1994 08:00:00 GMT', 0 ],
	[ 'a word', 'Retry-After' => 'soon', -1 ],
	[ 'a fraction', 'Retry-After' => '59.87', 60000 ],
	[ 'less than a second', 'Retry-After' => '0.5', 1000 ],
	[ 'a fraction that is none', 'Retry-After' => '2.00', 2000 ],
	[ 'half a number', 'Retry-After' => '1.', -1 ],
	[ 'more than a number', 'Retry-After' => '1.5s', -1 ],
	[ 'no number', 'Retry-After' => '.5', -1 ],
	[ 'a negative number', 'Retry-After' => '-1', -1 ],
	[ 'nothing', 'X-None' => '1', -1 ])
{
	my ($name, $header, $value, $expected) = @$_;

	$sandbox->faults(raw("HTTP/1.1 429 Slow\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
		  . "$header: $value\r\nContent-Length: 2\r\n\r\n{}"));
	$got = answer();
	is_deeply([ @$got{qw(kind status retry_after server_time)} ],
		[ 'none', 429, $expected, 784111777 ], "Retry-After: $name");
}
for (
	[ 'no content', "HTTP/1.1 204 No Content\r\n\r\n", 204, '', 11 ],
	[ 'after an interim answer', "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 200, '{}', 11 ],
	[ 'until the end of the connection', "HTTP/1.0 200 OK\r\n\r\n{}", 200, '{}', 10 ],
	[ 'an unlisted status', "HTTP/1.1 599 Strange\r\nContent-Length: 2\r\n\r\n{}", 599, '{}', 11 ])
{
	my ($name, $bytes, $status, $content, $version) = @$_;

	$sandbox->faults(raw($bytes));
	$got = answer();
	is_deeply([ @$got{qw(kind status content http_version)} ], [ 'none', $status, $content, $version ], $name);
}
$sandbox->no_faults;

# Nothing twice: the partner closes every second use of a connection unanswered,
# or takes the order and closes.

for my $action ('close_every_second_unanswered', 'drop_after')
{
	my %fault = (name => 'no answer', method => 'POST', action => $action);

	$fault{every} = 2 if $action eq 'drop_after';
	answer();
	$sandbox->forget;
	$sandbox->faults(\%fault);
	my %outcomes;
	my $orders = $sandbox->orders;
	for (1 .. 10)
	{
		$got = answer(@order);
		$outcomes{"$got->{kind} $got->{delivery}"}++;
	}
	is($sandbox->count(method => 'POST'), 10, "$action: 10 orders are 10 requests");
	is_deeply(\%outcomes, { 'none answered' => 5, 'connection_lost unknown' => 5 },
		"$action: of which 5 have an unknown outcome");
	is($sandbox->orders - $orders, $action eq 'drop_after' ? 10 : 5, "$action: what the partner did");
	$sandbox->no_faults;
}

# Without a body there is nothing that could not be rewound.
$sandbox->faults({ action => 'drop_after', method => 'DELETE' });
$sandbox->forget;
answer();
$got = answer(method => 'DELETE', repeatable => 0, url => "http://$host/v1/orders/1");
is_deeply([ @$got{qw(kind delivery)} ], [ 'connection_lost', 'unknown' ], 'a lost DELETE');
is($sandbox->count(method => 'DELETE'), 1, 'was sent once');

# A read is repeated over a new connection, however often that was needed before.
$sandbox->faults({ action => 'close_every_second_unanswered' });
answer();
is_deeply([ map { answer()->{kind} } 1 .. 8 ], [ ('none') x 8 ], 'a read survives dead connections');
$sandbox->no_faults;

# Several at once.

$sandbox->faults({ action => 'hang', path => '/orders/7' });
my @got = answers(
	timeout => 500,
	urls => [ "http://$host/v1/orders/7/tracking", map { "$url&page=$_" } 1 .. 3 ]);
is_deeply([ sort { $a <=> $b } map { $_->{request} } @got[ 0 .. 2 ] ], [ 2, 3, 4 ],
	'one that hangs delays no other');
is($got[3]{kind}, 'timeout', 'and fails by itself');
$sandbox->no_faults;
is($session->query('SELECT http_active()'), 0, 'nothing is left under way');
cmp_ok($session->query('SELECT http_wait(50)'), '>=', 49, 'a wait for nothing lasts as long as it should');

$session->query('SELECT http_close_idle()');
is(answer()->{new_connection}, JSON::PP::true, 'after closing, a new connection is made');

# TLS.

my $tls = $sandbox->tls_url;
$got = answer(url => "$tls/v1/products?per_page=1", ca_file => $authority);
is_deeply([ @$got{qw(kind status)} ], [ 'none', 200 ], 'TLS with a certificate that can be trusted');
ok(!answer(url => "$tls/v1/products?per_page=1", ca_file => $authority)->{new_connection}, 'is kept, too');
my $ready = $sandbox->ready;
my $sentence = qr/^To trust a certificate authority of your own, name its file in the server's option "ca_file"\.$/;
my $clock = qr/^The clock of this server says \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.$/;
for (
	[ 'of another host', $ready->{tls_wrong_port}, $authority, qr/^$/,
		qr/^libcurl says: SSL: no alternative certificate subject name matches target host ?name 'localhost'\.$/ ],
	[ 'that has expired', $ready->{tls_expired_port}, $authority, $clock,
		qr/^libcurl says: SSL certificate (?:problem|OpenSSL verify result): certificate has expired(?: \(10\))?\.$/ ],
	[ 'of another authority', $ready->{tls_untrusted_port}, $authority, $sentence,
		qr/^libcurl says: SSL certificate (?:problem|OpenSSL verify result): unable to get local issuer certificate(?: \(20\))?\.$/ ],
	[ 'of an authority that the system does not know', $ready->{tls_port}, undef, $sentence,
		qr/^libcurl says: SSL certificate (?:problem|OpenSSL verify result): unable to get local issuer certificate(?: \(20\))?\.$/ ])
{
	my ($name, $port, $file, $hint, $detail) = @$_;

	$sandbox->forget;
	$got = answer(url => "https://localhost:$port/v1/products", ca_file => $file);
	is_deeply(
		[ @$got{qw(kind delivery sqlstate message)} ],
		[ 'tls', 'not_sent', 'PA003', qq(could not verify the certificate of "localhost:$port") ],
		"a certificate $name");
	like($got->{hint} // '', $hint, "a certificate $name: hint");
	like($got->{detail}, $detail, "a certificate $name: detail");
	is($sandbox->count, 0, "a certificate $name: nothing was sent");
}
$got = answer(url => "https://localhost:$ready->{tls_untrusted_port}/", ca_file => "$certificates/none.pem");
is_deeply(
	[ @$got{qw(kind message hint)} ],
	[ 'tls', qq(could not read the certificates to trust for "localhost:$ready->{tls_untrusted_port}"),
		qq(The server's option "ca_file" names "$certificates/none.pem".) ],
	'a file of certificates that is not there');

# HTTP/2, and a version of TLS that is not to be used any more.

sub http2_server
{
	my (@options) = @_;
	my $program = abs_path(dirname(__FILE__) . '/lib/http2.py');
	my $pid = open2(my $out, my $in, '/usr/bin/python3', $program,
		"$certificates/server.pem", "$certificates/server.key", @options);

	chomp(my $port = <$out>);
	return ("localhost:$port", sub { close $in; waitpid $pid, 0 });
}

my ($address, $end) = http2_server();
$got = answer(url => "https://$address/", ca_file => $authority);
is_deeply([ @$got{qw(kind http_version content)} ], [ 'none', 20, '{"connection":1,"stream":1}' ],
	'HTTP/2 where it is offered');
@got = answers(urls => [ ("https://$address/") x 3 ], ca_file => $authority);
is_deeply([ sort map { $_->{content} } @got ],
	[ map { qq({"connection":1,"stream":$_}) } 3, 5, 7 ], 'then several requests share a connection');
$got = answer(@order, url => "https://$address/", ca_file => $authority);
is_deeply([ @$got{qw(kind status content)} ], [ 'none', 200, '{"connection":1,"stream":9}' ], 'a POST, too');
$end->();

($address, $end) = http2_server('old');
$got = answer(url => "https://$address/", ca_file => $authority);
is_deeply([ @$got{qw(kind delivery message)} ],
	[ 'tls', 'not_sent', qq(could not make a TLS connection to "$address") ], 'TLS 1.1 is too old');
like($got->{detail}, qr/^libcurl says: .*protocol version\.$/, 'and that is said');
$end->();

is($session->query(q{SELECT http_escape('a/b c?d=e&f+%:é~-_.') || ' ' || http_escape('..')}),
	'a%2Fb%20c%3Fd%3De%26f%2B%25%3A%C3%A9~-_. %2E%2E', 'what is sent as a value cannot be taken for syntax');
$session->quit;

# With few file descriptors there are fewer connections, not failures.
$node->append_conf('postgresql.conf', 'max_files_per_process = 64');
$node->restart;
$sandbox->faults({ action => 'delay', ms => 100 });
is($node->safe_psql('postgres',
		'SELECT string_agg(DISTINCT kind, $$,$$), count(*), count(*) FILTER (WHERE new_connection) < 20 FROM '
		  . sending(urls => [ ($url) x 64 ])),
	'none|64|t', 'out of file descriptors, requests take turns');

done_testing;
