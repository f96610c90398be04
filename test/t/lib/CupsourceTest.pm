
=head1 NAME

CupsourceTest - a cluster with cupsource, and partners to talk to

=head1 SYNOPSIS

  use CupsourceTest;
  use Test::More;

  my $sandbox = CupsourceTest::Sandbox->start('--products' => 500);
  my $node = cupsource_node('shop');
  create_accounts($node, $sandbox);

  $sandbox->faults({ action => 'drop_after', method => 'POST', times => 1 });
  is($node->safe_psql('postgres', 'SELECT count(*) FROM cs_products(server => $$shop_v1$$)'), 500);
  is($sandbox->count(api => 'cupsource-v1', method => 'GET'), 5, 'a request per page');
  wait_for_state($node, 'po-1', 'placed');

=head1 DESCRIPTION

PostgreSQL::Test::Cluster and the sandbox in test/sandbox, which stands in for
all three partners on one port.  Whatever is started here ends with the test,
however that ends: the sandbox leaves when its standard input does.

=cut

package CupsourceTest;

use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(
  cupsource_node create_accounts wait_for wait_for_state journal
  query_state order_count $memory_is_ours
);

# A sanitizer or memcheck has memory of its own in each process, much of it.
our $memory_is_ours = !$ENV{CUPSOURCE_WATCHED};

# By how much longer a time limit has to be within which something is to be reached.
our $patience = ($ENV{CUPSOURCE_WATCHED} // '') eq 'valgrind' ? 40 : 1;

# Each account's server, API and path below the sandbox.
my %ACCOUNT = (
	shop_v1 => {
		api => 'cupsource-v1',
		path => '/v1',
		secrets => { api_key => 'cs_live_v1_demo' },
	},
	shop_v2 => {
		api => 'cupsource-v2',
		path => '/v2',
		secrets => {
			api_key => 'cs_live_sk_8f7d6c5b4a3e2d1f',
			webhook_secret => 'whsec_demo',
		},
	},
	hub => {
		api => 'customhub-v1',
		path => '',
		secrets => { api_key => 'ek_live_demo', secret_key => 'esk_live_demo' },
	},
);

=head1 FUNCTIONS

=over

=item cupsource_node($name, %opt)

A started cluster with cupsource preloaded, short timeouts and the extension in
database postgres.  Options: C<conf> (more lines of postgresql.conf), C<start>
(0: only initialised), C<extension> (0: not created), C<streaming> (1: can have
standbys).

=cut

sub cupsource_node
{
	my ($name, %opt) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init(
		allows_streaming => $opt{streaming} // 0,
		extra => [ '--no-locale', '--encoding=UTF8' ]);
	my ($connect_s, $call_s) = (5 * $patience, 10 * $patience);
	$node->append_conf('postgresql.conf', <<"END");
shared_preload_libraries = 'cupsource'
max_worker_processes = 16
timezone = 'UTC'
cupsource.connect_timeout = '${connect_s}s'
cupsource.timeout = '${call_s}s'
cupsource.order_timeout = '${call_s}s'
cupsource.worker_linger = '1s'
END
	$node->append_conf('postgresql.conf', $opt{conf}) if defined $opt{conf};
	return $node unless $opt{start} // 1;
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION cupsource')
	  if $opt{extension} // 1;
	return $node;
}

=item create_accounts($node, $sandbox, %opt)

The servers shop_v1, shop_v2 and hub with the sandbox's demo keys, mapped for
PUBLIC.  Options: C<only> (names), C<database>, C<user> (mapped instead of
PUBLIC), C<options> (hash of server options for all of them), C<secrets> (hash
of mapping options that replace the demo keys), C<tls> (1: https, trusting the
sandbox's own CA).

=cut

sub create_accounts
{
	my ($node, $sandbox, %opt) = @_;
	my $base = $opt{tls} ? $sandbox->tls_url : $sandbox->url;
	my $sql = '';

	for my $name (@{ $opt{only} // [qw(shop_v1 shop_v2 hub)] })
	{
		my $account = $ACCOUNT{$name} or die "there is no account $name\n";
		my %options = (
			api => $account->{api},
			base_url => $base . $account->{path},
			($name eq 'hub' ? (auth_url => $base) : ()),
			($opt{tls} ? (ca_file => $sandbox->ca_file) : ()),
			%{ $opt{options} // {} });
		my %secrets = %{ $opt{secrets} // $account->{secrets} };
		my $user = $opt{user} // 'PUBLIC';

		$sql .= "CREATE SERVER $name FOREIGN DATA WRAPPER cupsource"
		  . option_list(%options) . ";\n";
		$sql .= "CREATE USER MAPPING FOR $user SERVER $name"
		  . option_list(%secrets) . ";\n";
	}
	$node->safe_psql($opt{database} // 'postgres', $sql);
	return;
}

# OPTIONS (...) with every value quoted.
sub option_list
{
	my %options = @_;
	my @items;

	for my $name (sort keys %options)
	{
		my $value = $options{$name};

		$value =~ s/'/''/g;
		push @items, "$name '$value'";
	}
	return @items ? ' OPTIONS (' . join(', ', @items) . ')' : '';
}

=item wait_for($node, $query, $expected = 't')

Poll until the query answers what is expected; fail with what it answers
instead.

=cut

sub wait_for
{
	my ($node, $query, $expected) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return 1 if $node->poll_query_until('postgres', $query, $expected // 't');
	die "timed out waiting for: $query\n";
}

=item wait_for_state($node, $external_id, $state)

Wait until that order is in that state.

=cut

sub wait_for_state
{
	my ($node, $external_id, $state) = @_;

	return wait_for($node,
		"SELECT coalesce((SELECT state::text FROM cs_orders WHERE external_id = '$external_id'), 'none')",
		$state);
}

=item query_state($node, $sql)

Run a statement that is to fail: its SQLSTATE, or '00000'.

=cut

sub query_state
{
	my ($node, $sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	return $err =~ /^(?:psql:[^\n]*?)?(?:ERROR|FATAL): +([0-9A-Z]{5}):/m ? $1 : '00000';
}

=item order_count($node, $where = 'true')

How many orders the database knows.

=cut

sub order_count
{
	my ($node, $where) = @_;

	return $node->safe_psql('postgres',
		'SELECT count(*) FROM cs_orders WHERE ' . ($where // 'true'));
}

=item journal($node, $external_id)

The order's own history: one line per event, its types joined by spaces.

=cut

sub journal
{
	my ($node, $external_id) = @_;

	return $node->safe_psql('postgres',
		"SELECT coalesce(string_agg(e.type::text, ' ' ORDER BY e.at, e.id), '')"
		  . ' FROM cs_order_events e JOIN cs_orders o ON o.id = e.order_id'
		  . " WHERE o.external_id = '$external_id'");
}

=back

=cut

package CupsourceTest::Sandbox;

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use HTTP::Tiny;
use IPC::Open2;
use JSON::PP;
use PostgreSQL::Test::Utils ();

my $server = abs_path(dirname(__FILE__) . '/../../sandbox/server.py');

=head1 THE SANDBOX

=over

=item CupsourceTest::Sandbox->start(@options)

Start it on a free port with these options of test/sandbox/server.py.

=cut

sub start
{
	my ($class, @options) = @_;
	my $pid = open2(my $out, my $in, '/usr/bin/python3', $server, '--parent', @options);
	my $line = <$out>;

	croak "the sandbox did not start" unless defined $line;
	my $ready = JSON::PP->new->decode($line);
	return bless {
		pid => $pid,
		in => $in,
		out => $out,
		ready => $ready,
		http => HTTP::Tiny->new(
			proxy => undef, http_proxy => undef, timeout => $PostgreSQL::Test::Utils::timeout_default),
	}, $class;
}

=item $sandbox->stop

End it; a test that does not call this gets it when the object goes.

=cut

sub stop
{
	my $self = shift;

	return unless defined $self->{pid};
	close $self->{in};
	local ($?, $!);
	waitpid delete $self->{pid}, 0;
	return;
}

sub DESTROY
{
	my $self = shift;

	$self->stop;
	return;
}

=item $sandbox->port, ->tls_port, ->ca_file, ->url, ->tls_url, ->ready

Where it listens; C<ready> is all that it said when it started.

=cut

sub ready    { return $_[0]{ready} }
sub port     { return $_[0]{ready}{port} }
sub tls_port { return $_[0]{ready}{tls_port} }
sub ca_file  { return $_[0]{ready}{ca_file} }
sub url      { return 'http://127.0.0.1:' . $_[0]->port }
sub tls_url  { return 'https://localhost:' . $_[0]->tls_port }

=item $sandbox->control($method, $path, $body), ->control_text

A call of its control API; dies unless it is answered with 2xx.  The answer, or
its text as it came.

=cut

sub control_text
{
	my ($self, $method, $path, $body) = @_;
	my %request = (headers => { 'content-type' => 'application/json' });

	$request{content} = JSON::PP->new->canonical->utf8->encode($body) if defined $body;
	my $answer = $self->{http}->request($method, $self->url . "/_control/$path", \%request);
	croak "sandbox: $method $path: $answer->{status} $answer->{content}" unless $answer->{success};
	return $answer->{content};
}

sub control
{
	my ($self, @call) = @_;
	my $text = $self->control_text(@call);

	return undef unless length $text;
	return JSON::PP->new->utf8->decode($text);
}

sub with_query
{
	my ($self, $path, %filter) = @_;
	my $query = $self->{http}->www_form_urlencode(\%filter);

	return length $query ? "$path?$query" : $path;
}

=item $sandbox->requests(%filter), ->count(%filter), ->forget

The journal of requests that arrived, in order; their number; empty it.  The
filter's keys: api ('cupsource-v1' and so on), path, method.

=cut

sub requests
{
	my ($self, %filter) = @_;
	my $answer = $self->control(GET => $self->with_query('requests', %filter));

	return @{ ref $answer eq 'HASH' ? $answer->{requests} : $answer };
}

sub count
{
	my ($self, %filter) = @_;

	return $self->control(GET => $self->with_query('count', %filter))->{count};
}

sub forget
{
	my $self = shift;

	return $self->control(DELETE => 'requests');
}

=item $sandbox->wait_for_requests($count, %filter)

Block until so many have arrived, without polling.

=cut

sub wait_for_requests
{
	my ($self, $count, %filter) = @_;

	return $self->control(
		GET => $self->with_query('wait',
			%filter, count => $count, timeout => $PostgreSQL::Test::Utils::timeout_default));
}

=item $sandbox->faults(@rules), ->no_faults

Replace the fault plan; end it.

=cut

sub faults
{
	my ($self, @rules) = @_;

	return $self->control(POST => 'faults', \@rules);
}

sub no_faults
{
	my $self = shift;

	return $self->control(DELETE => 'faults');
}

=item $sandbox->orders(%filter), ->advance($id, $to, %more), ->advance_all(%what)

What the partners have; move it along its life.

=cut

sub orders
{
	my ($self, %filter) = @_;
	my $answer = $self->control(GET => $self->with_query('orders', %filter));

	return @{ ref $answer eq 'HASH' ? $answer->{orders} : $answer };
}

sub advance
{
	my ($self, $id, $to, %more) = @_;

	return $self->control(POST => "orders/$id/advance", { to => $to, %more });
}

sub advance_all
{
	my ($self, %what) = @_;

	return $self->control(POST => 'orders/advance_all', \%what);
}

=item $sandbox->settings(%new), ->catalog(%change), ->advance_clock($seconds), ->reset(%what), ->revoke_tokens

=back

=cut

sub settings
{
	my ($self, %new) = @_;

	return $self->control(POST => 'settings', \%new);
}

sub catalog
{
	my ($self, %change) = @_;

	return $self->control(POST => 'catalog', \%change);
}

sub advance_clock
{
	my ($self, $seconds) = @_;

	return $self->control(POST => 'clock', { advance_seconds => $seconds });
}

sub reset
{
	my ($self, %what) = @_;

	return $self->control(POST => 'reset', \%what);
}

sub revoke_tokens
{
	my $self = shift;

	return $self->control(POST => 'tokens/revoke');
}

1;
