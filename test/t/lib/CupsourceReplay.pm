
=head1 NAME

CupsourceReplay - a partner that says what its document says

=head1 SYNOPSIS

  use CupsourceReplay;

  my $partner = CupsourceReplay->start;
  my $node = cupsource_node('shop');
  create_account($node, 'shop', api => 'cupsource-v2', base_url => $partner->url . '/v2');

  $partner->answers('GET /v2/products?limit=20' => $example);
  is(fields($node, 'SELECT * FROM cs_products(max_rows => 20)'), $expected, 'rows');
  is_deeply([ $partner->lines ], ['GET /v2/products?limit=20'], 'one request');

=head1 DESCRIPTION

The examples of the partners' documents go through the extension against this
instead of the sandbox: the answers are copied from the documents, and what
arrives is compared with the documents' requests.  See replay.py for how a
request is matched; one that is not in the script is answered with 599.

=cut

package CupsourceReplay;

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename qw(dirname);
use IPC::Open2;
use JSON::PP;

our @EXPORT = qw(create_account fields documented canonical refusal);

my $server = abs_path(dirname(__FILE__) . '/replay.py');

=head1 THE PARTNER

=over

=item CupsourceReplay->start, ->url, ->stop

=cut

sub start
{
	my ($class) = @_;
	my $pid = open2(my $out, my $in, '/usr/bin/python3', $server);
	my $line = <$out>;

	croak "the scripted partner did not start" unless defined $line;
	return bless {
		pid => $pid,
		in => $in,
		out => $out,
		port => JSON::PP->new->decode($line)->{port},
	}, $class;
}

sub url { return 'http://127.0.0.1:' . $_[0]{port} }

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

sub command
{
	my ($self, $do, %arguments) = @_;
	my $out = $self->{out};

	print { $self->{in} } JSON::PP->new->ascii->encode({ do => $do, %arguments }), "\n";
	$self->{in}->flush;
	my $line = <$out>;
	croak "the scripted partner is gone" unless defined $line;
	return JSON::PP->new->decode($line)->{result};
}

=item $partner->answers($request, $body, %more)

Answer 'METHOD /target' with that body.  More: C<status>, C<headers>, C<times>
(undef: always).

=cut

sub answers
{
	my ($self, $request, $body, %more) = @_;
	my ($method, $target) = split ' ', $request, 2;

	$self->command('answer', method => $method, target => $target, body => $body // '', %more);
	return;
}

=item $partner->arrived, ->lines, ->left, ->clear

The requests since the last time (hashes); the same as 'METHOD /target'; the
answers that were not asked for; forget everything.

=cut

sub arrived { return @{ $_[0]->command('arrived') } }
sub left    { return @{ $_[0]->command('left') } }
sub clear   { return $_[0]->command('clear') }
sub lines   { return map {"$_->{method} $_->{target}"} $_[0]->arrived }

=back

=head1 FUNCTIONS

=over

=item create_account($node, $name, secrets => {...}, %options)

A server with these options and a mapping for PUBLIC.

=cut

sub create_account
{
	my ($node, $name, %options) = @_;
	my $secrets = delete $options{secrets} // { api_key => 'YOUR_API_KEY' };

	$options{rate_limit} //= 0;
	$node->safe_psql('postgres',
		    "CREATE SERVER $name FOREIGN DATA WRAPPER cupsource OPTIONS ("
		  . join(', ', map {"$_ '$options{$_}'"} sort keys %options) . ');'
		  . "CREATE USER MAPPING FOR PUBLIC SERVER $name OPTIONS ("
		  . join(', ', map {"$_ '$secrets->{$_}'"} sort keys %$secrets) . ');');
	return;
}

=item fields($node, $query)

The rows as lines "column: value", NULLs left out, a blank line between rows;
without the time of fetching.

=cut

sub fields
{
	my ($node, $query) = @_;
	my $lines = $node->safe_psql('postgres', <<"END");
SELECT coalesce(string_agg(f.key || ': ' || f.value, E'\\n' ORDER BY f.n), '') || E'\\n'
  FROM (SELECT row_to_json(q) AS line, row_number() OVER () AS n FROM ($query) AS q) AS r
  LEFT JOIN LATERAL json_each_text(r.line) WITH ORDINALITY AS f (key, value, n)
       ON f.value IS NOT NULL AND f.key <> 'fetched_at'
 GROUP BY r.n ORDER BY r.n
END

	return $lines =~ s/\n*\z/\n/r;
}

=item documented($text)

An example of the v2 document, which writes JSON with single quotes, as JSON.

=cut

sub documented
{
	my ($text) = @_;

	return $text =~ tr/'/"/r;
}

=item canonical($json)

Equal for equal JSON values.

=cut

sub canonical
{
	my ($json) = @_;

	return JSON::PP->new->canonical->allow_nonref->encode(
		JSON::PP->new->allow_nonref->decode($json));
}

=item refusal($node, $statement)

SQLSTATE and message, DETAIL and HINT of a statement that is to fail, a line
each as psql prints them.

=cut

sub refusal
{
	my ($node, $statement) = @_;
	my (undef, undef, $err) =
	  $node->psql('postgres', "\\set VERBOSITY verbose\n$statement", on_error_stop => 0);

	$err =~ s/^(?:LOCATION|CONTEXT|LINE \d+):.*\n?//mg;
	$err =~ s/^psql:<stdin>:\d+: //mg;
	return $err =~ s/\n*\z/\n/r;
}

=back

=cut

1;
