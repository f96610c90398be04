# No secret leaves the user mapping: not in an error, a log line, a view or
# pg_stat_activity, even if the partner sends it back to us.
use strict;
use warnings;

use CupsourceTest;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $auth = '/api/PartnerAuthentication/auth';
my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);

# The statement that makes a user mapping is the user's own to log or not.
my $node = cupsource_node('secrets', conf => "log_statement = none\n");

create_accounts($node, $sandbox, options => { rate_limit => 0 });

# From here on everything is said that can be said.
$node->append_conf('postgresql.conf', <<'END');
log_min_messages = debug5
log_error_verbosity = verbose
debug_print_plan = on
cupsource.log_requests = on
cupsource.max_retries = 1
cupsource.timeout = '400ms'
END
$node->reload;

# A token whose text we know
my $issued = HTTP::Tiny->new->post($sandbox->url . $auth, {
	headers => { 'content-type' => 'application/json' },
	content => '{"apiKey":"ek_live_demo","secretKey":"esk_live_demo"}' });
my $token = JSON::PP->new->utf8->decode($issued->{content})->{accessToken};
my @token_fault = ({ path => $auth, action => 'body', content_type => 'application/json',
	text => qq({"accessToken":"$token","expired":"2099-01-01T00:00:00Z"}) });

my %secret = (
	'the API key of Cup Source v1' => 'cs_live_v1_demo',
	'the API key of Cup Source v2' => 'cs_live_sk_8f7d6c5b4a3e2d1f',
	'the webhook secret' => 'whsec_demo',
	'the API key of CustomHub' => 'ek_live_demo',
	'the secret of CustomHub' => 'esk_live_demo',
	'the token of CustomHub' => $token,
	'any token' => substr($token, 0, 20),
);
my $read = {
	shop_v1 => q{SELECT count(*) FROM cs_products(category => 'wanted', max_rows => 1, server => 'shop_v1')},
	shop_v2 => q{SELECT count(*) FROM cs_products(category => 'wanted', max_rows => 1, server => 'shop_v2')},
	hub => q{SELECT count(*) FROM cs_balance(server => 'hub')},
};
my $said = '';

# Which secrets are in a text
sub secrets_in
{
	my ($text) = @_;

	return join(', ', grep { index($text, $secret{$_}) >= 0 } sort keys %secret);
}

# The first exchange brings the token that we know.
$sandbox->faults(@token_fault);
$node->safe_psql('postgres', $read->{hub});

# What psql says about it, as loud as it can
sub said
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres',
		"\\set VERBOSITY verbose\nSET client_min_messages = debug5;\n$sql");

	$said .= "$out\n$err\n";
	return $err;
}

#
# A partner that sends back what it knows
#
my %known = (
	shop_v1 => [ 'the API key of Cup Source v1' ],
	shop_v2 => [ 'the API key of Cup Source v2', 'the webhook secret' ],
	hub => [ 'the API key of CustomHub', 'the secret of CustomHub', 'the token of CustomHub' ],
	identity => [ 'the API key of CustomHub', 'the secret of CustomHub' ],
);

# Each way of saying it, as a fault
sub echoes
{
	my ($partner) = @_;
	my $all = join(' and ', map { $secret{$_} } @{ $known{$partner} });
	my $json = sub { return encode_json($_[0]) };

	return (
		[ 'in its message', action => 'status', status => 400,
			body => $json->({ error => { code => 'BAD', message => "you sent $all" } }) ],
		[ 'in its code and details', action => 'status', status => 422,
			body => $json->({ error => { code => "KEY $all", message => 'no',
						details => [ { field => $all, message => $all } ] } }) ],
		[ 'where the message is cut', action => 'status', status => 403,
			body => $json->({ message => ('x' x 490) . $all }) ],
		[ 'as text', action => 'status', status => 500, body => "you sent $all" ],
		[ 'as HTML with status 200', action => 'body', content_type => 'text/html',
			text => "<html>$all</html>" ],
		[ 'where the text is cut', action => 'body', content_type => 'text/plain',
			text => ('x' x 110) . $all ],
		[ 'in a refusal with status 200', action => 'body', content_type => 'application/json',
			text => $json->({ success => JSON::PP::false, error => { code => 'X', message => $all } }) ],
		[ 'in the content type', action => 'body', content_type => "text/$secret{$known{$partner}[0]}",
			text => 'x' ],
		[ 'in a redirect', action => 'redirect', location => "https://elsewhere.example/?key=$all" ]);
}

# A part of a secret is too much as well.
sub pieces_in
{
	my ($text, $partner) = @_;

	return join(', ', grep { index($text, substr($secret{$_}, 0, 8)) >= 0 } @{ $known{$partner} });
}

for my $partner (qw(shop_v1 shop_v2 hub))
{
	for my $echo (echoes($partner))
	{
		my ($how, %fault) = @$echo;

		$sandbox->faults({ path => '^/v[12]/products|^/api/v1/balance', %fault }, @token_fault);
		my $error = said($read->{$partner});

		like($error, qr/ERROR: +PA/, "$partner: its secrets $how are an error");
		is(pieces_in($error, $partner), '', "$partner: which does not show them");
	}
}
for my $echo (echoes('identity'))
{
	my ($how, %fault) = @$echo;

	$sandbox->revoke_tokens;
	$sandbox->faults({ path => $auth, %fault });
	said($read->{hub});
	my $error = said($read->{hub});

	like($error, qr/ERROR: +PA\d\d\d: +could not get an access token for server "hub"/,
		"identity host: its secrets $how are an error");
	is(pieces_in($error, 'identity'), '', 'identity host: which does not show them');
}

# Its answer is a secret, whatever is wrong with it.
$sandbox->faults({ path => $auth, action => 'body', content_type => 'text/plain',
		text => 'accessToken=never-seen-before' });
my $error = said($read->{hub});
like($error, qr/ERROR: +PA006/, 'a token in an answer that is not JSON');
unlike($error, qr/never-seen-before/, 'is not shown');

# Failures below HTTP
for my $action ([ action => 'drop_before' ], [ action => 'reset' ], [ action => 'truncate', bytes => 10 ],
	[ action => 'hang' ], [ action => 'gzip_bomb', mbytes => 70 ])
{
	$sandbox->faults({ path => '^/v[12]/products|^/api/v1/balance', @$action }, @token_fault);
	for my $server (qw(shop_v1 hub))
	{
		like(said($read->{$server}), qr/ERROR: +PA00\d/, "$server: $action->[1]");
	}
}

#
# While a request is under way
#
$sandbox->faults({ path => '^/v[12]/products|^/api/v1/balance', action => 'hang' }, @token_fault);
$sandbox->forget;
my ($out, $err) = ('', '');
my $hanging = IPC::Run::start(
	[ 'psql', '-XAt', '-d', $node->connstr('postgres'), '-c', "SET cupsource.timeout = '1min'", '-c', $read->{hub} ],
	'>', \$out, '2>', \$err);
$sandbox->wait_for_requests(1, path => '/api/v1/balance');
my $activity = $node->safe_psql('postgres', 'SELECT a FROM pg_stat_activity AS a');
like($activity, qr/cs_balance/, 'pg_stat_activity shows the call that waits');
is(secrets_in($activity), '', 'and no secret');
$node->safe_psql('postgres',
	q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%cs_balance%' AND pid <> pg_backend_pid()});
$hanging->finish;
like($err, qr/canceling statement due to user request/, 'it is cancelled');
$sandbox->no_faults;

$node->safe_psql('postgres', q{CALL cs_refresh_catalog('shop_v2')});

#
# Orders, which the worker sends and whose refusals are kept
#
my %order = (
	shop_v1 => q{'[{"sku": "CS-8OZ-ECO", "quantity": 1000}]', '{"line1": "1 Way", "city": "Portland", "state": "OR",
	  "postal_code": "97201"}', 'po-shop_v1', '{"currency": "USD"}', 'shop_v1'},
	hub => q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn",
	  "state": "NY", "postal_code": "11201", "country": "US"}', 'po-hub', NULL, 'hub'});
for my $partner (sort keys %order)
{
	my ($echo) = grep { $_->[0] eq 'in its code and details' } echoes($partner);
	my (undef, %fault) = @$echo;

	$sandbox->faults({ path => '/orders$', %fault }, @token_fault);
	$node->safe_psql('postgres', "SELECT cs_enqueue_order($order{$partner})");
	wait_for_state($node, "po-$partner", 'failed');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_orders WHERE error_code LIKE '%<redacted>%'}), '2',
	'a refused order keeps why, redacted');
$sandbox->no_faults;

#
# What the extension keeps
#
my $kept = $node->safe_psql('postgres', q{
	SELECT string_agg(query_to_xml('SELECT * FROM ' || c.oid::regclass, true, false, '')::text, '')
	  FROM pg_extension AS e
	  JOIN pg_depend AS d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.classid = 'pg_class'::regclass
	  JOIN pg_class AS c ON c.oid = d.objid
	 WHERE e.extname = 'cupsource' AND c.relkind IN ('r', 'p', 'v', 'm')});
like($kept, qr/CS-CF-12DW/, 'the tables and views of the extension have content');
is(secrets_in($kept), '', 'and none of it is a secret');

#
# Everything that was said
#
is(secrets_in($said), '', 'no client was told a secret');
like($said, qr/<redacted>/, 'what was sent back to us is redacted');
my $log = slurp_file($node->logfile);
is(secrets_in($log), '', 'no secret is in the log');
my @requests = $log =~ /cupsource request: (.*)$/mg;
cmp_ok(scalar @requests, '>', 50, 'which has the requests');
is(scalar(grep { !m{^[A-Z]+ /[\w/.{}-]+ on server "\w+": [\w ()]+, status \d+, \d+\.\d+ ms$} } @requests), 0,
	'by method, path, outcome, status and time alone');

$sandbox->stop;
$node->stop;
done_testing();
