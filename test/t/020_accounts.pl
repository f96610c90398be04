# An account is a server and a role's mapping: which one is meant, whose keys
# are used, and one token for all sessions.
use strict;
use warnings;

use CupsourceTest;
use HTTP::Tiny;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $auth = '/api/PartnerAuthentication/auth';
my $balance = q{SELECT balance FROM cs_balance(server => 'hub')};
my $sandbox = CupsourceTest::Sandbox->start('--rate-limit' => 0);
my $node = cupsource_node('accounts');

create_accounts($node, $sandbox, options => { rate_limit => 0 });

# A psql that stays; ask() gives the rows, or the SQLSTATE and message of the error.
sub session
{
	my ($user) = @_;
	my %session = (in => '', out => '', err => '', asked => 0);

	$session{psql} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), $user ? ('-U', $user) : () ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return \%session;
}

# Send without waiting; what it answers is collected by answer().
sub send_to
{
	my ($session, $sql) = @_;

	$session->{asked}++;
	$session->{out} = '';
	$session->{in} .= "$sql;\n\\if :ERROR\n\\echo :LAST_ERROR_SQLSTATE :LAST_ERROR_MESSAGE\n\\endif\n"
	  . "\\echo answered-$session->{asked}-\n";
	$session->{psql}->pump_nb;
	return;
}

sub answer
{
	my ($session) = @_;

	until ($session->{out} =~ s/^answered-$session->{asked}-\n//m)
	{
		$session->{psql}->pump;
	}
	return $session->{out} =~ s/\n\z//r;
}

sub ask
{
	my ($session, $sql) = @_;

	send_to($session, $sql);
	return answer($session);
}

sub bye
{
	my ($session) = @_;

	$session->{in} .= "\\q\n";
	$session->{psql}->finish;
	return;
}

# All that psql says about a statement that fails.
sub refusal
{
	my ($sql, %opt) = @_;
	my (undef, undef, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql",
		extra_params => [ $opt{user} ? ('-U', $opt{user}) : () ]);

	$err =~ s/^(?:LOCATION|CONTEXT):.*\n?//mg;
	$err =~ s/^psql:<stdin>:\d+: //mg;
	return $err =~ s/\n\z//r;
}

#
# One token for all
#
my @sessions = map { session() } 1 .. 8;
$sandbox->faults({ path => $auth, action => 'delay', ms => 300 });
send_to($_, $balance) for @sessions;
is(join(' ', map { answer($_) } @sessions), join(' ', ('1240.50') x 8), 'eight sessions are served');
is($sandbox->count(path => $auth), 1, 'by one token exchange');
is($sandbox->count(path => '/api/v1/balance'), 8, 'and a request each');
$sandbox->no_faults;
my ($exchange) = $sandbox->requests(path => $auth);
is($exchange->{body}, '{"apiKey":"ek_live_demo","secretKey":"esk_live_demo"}', 'as documented');
is($exchange->{headers}{authorization}, undef, 'without an Authorization header');
like($exchange->{headers}{'idempotency-key'}, qr/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
	'every POST has an Idempotency-Key');
my ($read) = $sandbox->requests(path => '/api/v1/balance');
like($read->{headers}{'user-agent'}, qr{^cupsource/\d+\.\d+\.\d+$}, 'User-Agent');
is($read->{headers}{accept}, 'application/json', 'Accept');
is($read->{headers}{'content-type'}, undef, 'no Content-Type without a body');

# Revoked tokens: one renewal, and the call goes on.
$sandbox->forget;
$sandbox->revoke_tokens;
is(ask($sessions[0], $balance), '1240.50', 'a refused token is renewed');
is($sandbox->count(path => $auth), 1, 'once');
is(join(' ', map { $_->{status} } $sandbox->requests(path => '/api/v1/balance')), '401 200', 'on a 401');
is(ask($sessions[1], $balance), '1240.50', 'another session');
is($sandbox->count(path => $auth), 1, 'has the new token too');

# A 401 that stays is an error, after one renewal.
$sandbox->forget;
$sandbox->faults({ path => '/api/v1/balance', action => 'status', status => 401,
		body => '{"success":false,"error":{"code":"UNAUTHORIZED","message":"Missing or invalid JWT"}}' });
is(ask($sessions[0], $balance), 'PA401 Missing or invalid JWT', 'a 401 that stays');
is($sandbox->count(path => '/api/v1/balance'), 2, 'is tried twice');
is($sandbox->count(path => $auth), 1, 'with one new token');
$sandbox->no_faults;

# A token is renewed before it expires: no request is ever refused.
$sandbox->settings(token_ttl => 2);
$sandbox->revoke_tokens;
is(ask($sessions[0], $balance), '1240.50', 'a token with a short life');
$sandbox->forget;
wait_for($node, "SELECT count(*) = 1 FROM cs_balance(server => 'hub')") until $sandbox->count(path => $auth) > 0;
is($sandbox->count(path => '/api/v1/balance', status => 401), 0, 'is renewed before it ends');
is(ask($sessions[0], $balance), '1240.50', 'and the next one is used');
$sandbox->settings(token_ttl => 86400);

# A session that dies in its turn does not hold the others up.
$sandbox->revoke_tokens;
$sandbox->forget;
$sandbox->faults({ path => $auth, action => 'hang', times => 1 });
send_to($sessions[0], $balance);
$sandbox->wait_for_requests(1, path => $auth);
send_to($sessions[1], $balance);
my $start = time;
$node->safe_psql('postgres',
	q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity
	   WHERE state = 'active' AND query LIKE 'SELECT balance%' ORDER BY query_start LIMIT 1});
is(answer($sessions[0]), '57014 canceling statement due to user request', 'a cancelled exchange');
is(answer($sessions[1]), '1240.50', 'gives its turn to the next session');
cmp_ok(time - $start, '<', 5, 'at once');
is($sandbox->count(path => $auth), 2, 'which exchanges again');
$sandbox->no_faults;

# Exchanges that fail
my %failure = (
	'an identity host that is down' => [
		[ { path => $auth, action => 'status', status => 503, body => '' } ],
		'PA503 could not get an access token for server "hub": CustomHub v1 answered with HTTP status 503', 3 ],
	'an answer without a token' => [
		[ { path => $auth, action => 'body', text => '{"success":true}', content_type => 'application/json' } ],
		'PA006 could not get an access token for server "hub": malformed answer from server "hub": '
		  . "POST $auth: no \"accessToken\"", 3 ],
	'a token that no header can hold' => [
		[ { path => $auth, action => 'body', text => '{"accessToken":"a\r\nb"}', content_type => 'application/json' } ],
		'PA006 could not get an access token for server "hub": malformed answer from server "hub": '
		  . "POST $auth: the \"accessToken\" has characters that no token has", 3 ],
	'an answer that is not JSON' => [
		[ { path => $auth, action => 'body', text => 'accessToken=hidden', content_type => 'text/plain' } ],
		'PA006 could not get an access token for server "hub": malformed answer from server "hub": '
		  . "POST $auth: expected JSON, got text/plain (HTTP status 200)", 3 ],
);
for my $name (sort keys %failure)
{
	my ($faults, $message, $requests) = @{ $failure{$name} };

	$sandbox->revoke_tokens;
	ask($sessions[0], 'SET cupsource.max_retries = 0');
	$sandbox->faults(@$faults);
	ask($sessions[0], $balance);
	$sandbox->forget;
	is(ask($sessions[0], $balance), $message, $name);
	is($sandbox->count(path => $auth), 1, "$name: one exchange");
	is($sandbox->count(path => '/api/v1/balance'), 0, "$name: no request");
	$sandbox->no_faults;
}
ask($sessions[0], 'RESET cupsource.max_retries');
$sandbox->forget;
$sandbox->faults({ path => $auth, action => 'status', status => 503, body => '', times => 2 });
is(ask($sessions[0], $balance), '1240.50', 'an exchange that fails for a while is tried again');
is($sandbox->count(path => $auth), 3, 'until it succeeds');
$sandbox->no_faults;

# One that is asked for patience, after a 401 of the API.
$sandbox->revoke_tokens;
$sandbox->forget;
$sandbox->faults({ path => $auth, action => 'rate_limited', retry_after => 2, times => 1 });
$start = time;
is(ask($sessions[0], $balance), '1240.50', 'an exchange that is turned away is tried again');
is($sandbox->count(path => $auth), 2, 'once');
cmp_ok(time - $start, '>=', 2, 'after Retry-After');
$sandbox->no_faults;

# An expiry that cannot be read, or is over: the token is used, for a short while.
for my $expired ('soon', '0001-01-01T00:00:00+00:00')
{
	$sandbox->revoke_tokens;
	my $issued = HTTP::Tiny->new->post($sandbox->url . $auth, {
		headers => { 'content-type' => 'application/json' },
		content => '{"apiKey":"ek_live_demo","secretKey":"esk_live_demo"}' });
	my ($token) = $issued->{content} =~ /"accessToken":"([^"]+)"/;
	$sandbox->forget;
	$sandbox->faults({ path => $auth, action => 'body', content_type => 'application/json',
			text => qq({"accessToken":"$token","expired":"$expired"}) });
	is(ask($sessions[0], $balance), '1240.50', "a token whose end is $expired is used");
	is(ask($sessions[1], $balance), '1240.50', 'by the others too');
	is($sandbox->count(path => $auth), 1, 'without another exchange');
	$sandbox->no_faults;
}

bye($_) for @sessions;

#
# Which server is meant
#
$node->safe_psql('postgres', q{
CREATE ROLE buyer LOGIN;
CREATE ROLE nobody LOGIN;
GRANT USAGE ON FOREIGN SERVER hub TO buyer;
CREATE FOREIGN DATA WRAPPER other;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER other;
});
my $buyer = session('buyer');
is(ask($buyer, 'SELECT balance FROM cs_balance()'), '1240.50', 'the only usable server is found');
is(refusal('SELECT * FROM cs_balance()'),
	"ERROR:  42P08: it is not clear which server is meant\n"
	  . "DETAIL:  Usable servers are \"hub\", \"shop_v1\", \"shop_v2\".\n"
	  . "HINT:  Name one by the argument \"server\", or SET cupsource.server.",
	'several: the message lists them');
is($node->safe_psql('postgres', "SET cupsource.server = 'hub'; SELECT balance FROM cs_balance()"),
	'1240.50', 'cupsource.server chooses');
is($node->safe_psql('postgres', "SET cupsource.server = 'shop_v1'; SELECT balance FROM cs_balance(server => 'hub')"),
	'1240.50', 'the argument comes first');
is(refusal("SET cupsource.server = 'gone'; SELECT * FROM cs_balance()"),
	"ERROR:  42704: server \"gone\" does not exist\n"
	  . "DETAIL:  It is named by the setting \"cupsource.server\".\n"
	  . "HINT:  Usable servers are \"hub\", \"shop_v1\", \"shop_v2\".",
	'a setting that leads nowhere');
is(refusal("SELECT * FROM cs_balance(server => 'gone')", user => 'nobody'),
	"ERROR:  42704: server \"gone\" does not exist\n"
	  . "HINT:  Connect a partner account: CREATE SERVER gone FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1').",
	'a server that does not exist');
is(refusal("SELECT * FROM cs_balance(server => 'elsewhere')"),
	"ERROR:  42809: server \"elsewhere\" is not a cupsource server\n"
	  . "DETAIL:  It belongs to the foreign-data wrapper \"other\".",
	"another wrapper's server");
is(refusal("SELECT * FROM cs_balance(server => 'hub')", user => 'nobody'),
	"ERROR:  42501: permission denied for foreign server hub\nDETAIL:  Role \"nobody\" has no USAGE on it.",
	'no USAGE');
is(refusal('SELECT * FROM cs_balance()', user => 'nobody'),
	"ERROR:  42704: role \"nobody\" may not use any cupsource server\n"
	  . "HINT:  Let the owner of a server GRANT USAGE ON FOREIGN SERVER ... TO nobody.",
	'nothing usable');
$node->safe_psql('postgres', 'CREATE DATABASE empty');
$node->safe_psql('empty', 'CREATE EXTENSION cupsource');
my (undef, undef, $none) = $node->psql('empty', 'SELECT * FROM cs_balance()');
like($none, qr/HINT:  Connect a partner account: CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS \(api 'cupsource-v1'\); then CREATE USER MAPPING FOR \S+ SERVER hub OPTIONS \(api_key '\.\.\.'\)\./,
	'no server at all: how to make one');

#
# Whose keys
#
$node->safe_psql('postgres', 'REVOKE USAGE ON FOREIGN SERVER hub FROM buyer');
is(ask($buyer, $balance), '42501 permission denied for foreign server hub', 'USAGE revoked in a running session');
$node->safe_psql('postgres', 'GRANT USAGE ON FOREIGN SERVER hub, shop_v1 TO buyer');
$node->safe_psql('postgres', 'DROP USER MAPPING FOR PUBLIC SERVER hub');
is(refusal($balance, user => 'buyer'),
	"ERROR:  42704: there is no user mapping for role \"buyer\" on server \"hub\"\n"
	  . "HINT:  CREATE USER MAPPING FOR buyer SERVER hub OPTIONS (api_key '...', secret_key '...');",
	'no mapping: what to write');
is(ask($buyer, $balance), '42704 there is no user mapping for role "buyer" on server "hub"',
	'a dropped mapping is not used any more');
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR buyer SERVER hub OPTIONS (api_key 'ek_live_demo')});
is(refusal($balance, user => 'buyer'),
	"ERROR:  HV00J: the user mapping for role \"buyer\" on server \"hub\" lacks the option \"secret_key\"\n"
	  . "HINT:  ALTER USER MAPPING FOR buyer SERVER hub OPTIONS (ADD secret_key '...'); "
	  . "if the mapping is that of PUBLIC, alter it FOR PUBLIC.",
	'half a mapping: what to add');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR buyer SERVER hub OPTIONS (ADD secret_key 'wrong_secret')});
is(refusal($balance, user => 'buyer'),
	"ERROR:  PA401: could not get an access token for server \"hub\": invalid API key or secret\n"
	  . "DETAIL:  Server \"hub\", POST $auth: HTTP status 401, error code UNAUTHORIZED.\n"
	  . 'HINT:  Check the options "api_key" and "secret_key" of the user mapping on server "hub".',
	'wrong credentials');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR buyer SERVER hub OPTIONS (SET secret_key 'esk_live_demo')});
is(ask($buyer, $balance), '1240.50', 'a corrected mapping');

# A rotated key, and a role's own mapping beside that of PUBLIC, act in running sessions.
my $products = q{SELECT count(*) FROM cs_products(max_rows => 1, server => 'shop_v1')};
$sandbox->control(POST => 'keys', { api => 'cupsource-v1', key => 'cs_live_v1_second' });
$sandbox->control(POST => 'keys', { api => 'cupsource-v1', key => 'cs_live_v1_third' });
sub key_used
{
	my ($sql) = @_;

	$sandbox->forget;
	my $result = ask($buyer, $sql);
	my ($request) = $sandbox->requests(path => '/v1/products');

	return "$result $request->{key}";
}
is(key_used($products), '1 cs_live_v1_demo', 'the key of PUBLIC');
$node->safe_psql('postgres', q{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (SET api_key 'cs_live_v1_second')});
is(key_used($products), '1 cs_live_v1_second', 'a rotated key');
$node->safe_psql('postgres', q{CREATE USER MAPPING FOR buyer SERVER shop_v1 OPTIONS (api_key 'cs_live_v1_third')});
is(key_used($products), '1 cs_live_v1_third', "a role's own mapping");
$node->safe_psql('postgres', q{DROP USER MAPPING FOR buyer SERVER shop_v1});
is(key_used($products), '1 cs_live_v1_second', 'and that of PUBLIC again');

#
# Keys in files
#
my $dir = $node->basedir;
my $file = "$dir/api_key";

# As a secret manager does it: the new file replaces the old one.
sub write_key
{
	my ($key) = @_;

	open my $handle, '>', "$file.new" or die "$file.new: $!";
	print $handle $key;
	close $handle or die "$file.new: $!";
	rename "$file.new", $file or die "$file: $!";
	return;
}

sub file_problem
{
	my $refusal = refusal($products);

	return $refusal =~ /^ERROR:  F0000: could not read the file of option "api_key_file" of the user mapping on server "shop_v1"\nDETAIL:  (.*)$/ ? $1 : $refusal;
}

$node->safe_psql('postgres', qq{ALTER USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (DROP api_key, ADD api_key_file '$file')});
is(file_problem(), 'The file cannot be opened: No such file or directory.', 'a file that is not there');
like(slurp_file($node->logfile), qr/\Qcannot be opened: No such file or directory. The file is "$file"./,
	'its name is in the log only');
write_key("cs_live_v1_demo\n");
is(key_used($products), '1 cs_live_v1_demo', 'a key in a file, with a newline at its end');
write_key('cs_live_v1_second');
is(key_used($products), '1 cs_live_v1_second', 'a file that was replaced is read again');
write_key("cs_live_v1_third\r\n");
is(key_used($products), '1 cs_live_v1_third', 'a line as Windows ends it');
write_key("hidden in\nlines");
is(file_problem(), 'It must consist of visible ASCII characters without spaces.', 'more than a key');
write_key("\n");
is(file_problem(), 'It must not be empty.', 'an empty file');
write_key('x' x 5000);
is(file_problem(), 'It must not be longer than 4096 bytes.', 'too long a file');
write_key('x' x 4096);
like(file_problem(), qr/^ERROR:  PA401/, 'the longest');
unlink $file;
mkdir $file;
is(file_problem(), 'It is not a regular file.', 'a directory');
rmdir $file;
system('mkfifo', $file) == 0 or die 'mkfifo';
is(file_problem(), 'It is not a regular file.', 'a pipe, on which nobody waits');
unlink $file;
write_key('cs_live_v1_demo');
is(key_used($products), '1 cs_live_v1_demo', 'the session goes on');
bye($buyer);

#
# What belongs to an account
#
$sandbox->forget;
$node->safe_psql('postgres', q{SELECT count(*) FROM cs_products(max_rows => 1, server => 'shop_v2')});
is(($sandbox->requests(path => '/v2/products'))[0]{headers}{'x-environment'}, undef, 'live says nothing');
$node->safe_psql('postgres', q{ALTER SERVER shop_v2 OPTIONS (ADD environment 'sandbox')});
$sandbox->forget;
$node->safe_psql('postgres', q{SELECT count(*) FROM cs_products(max_rows => 1, server => 'shop_v2')});
is(($sandbox->requests(path => '/v2/products'))[0]{headers}{'x-environment'}, 'sandbox', 'sandbox says so');

$node->safe_psql('postgres', "ALTER SERVER shop_v1 OPTIONS (SET base_url 'HTTP://LocalHost:" . $sandbox->port . "/v1//')");
$sandbox->forget;
is($node->safe_psql('postgres', $products), '1', 'a base URL with capitals and slashes at its end');
is(join(' ', map { "$_->{path} $_->{headers}{host}" } $sandbox->requests),
	'/v1/products localhost:' . $sandbox->port, 'is used in its one form');

$sandbox->stop;
$node->stop;
done_testing();
