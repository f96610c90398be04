=head1 NAME

CupsourceFaults - faults below the server, which a test sets and lifts

=head1 SYNOPSIS

  my $faults = CupsourceFaults->new;
  $faults->start($node);                  # with faults.c in all its processes
  $faults->set(disk_full => 1);           # from now on, and nothing else
  $faults->none;

The faults are those of F<faults.c>, which is compiled here.

=cut

package CupsourceFaults;

use strict;
use warnings;

use File::Basename qw(dirname);
use PostgreSQL::Test::Utils ();

# In the order of the struct in faults.c.
my @NAMES = qw(disk_full from to address clock process countdown);

sub new
{
	my $class = shift;
	my $directory = PostgreSQL::Test::Utils::tempdir();
	my $self = bless { library => "$directory/faults.so", file => "$directory/faults" }, $class;

	chmod 0755, $directory;
	PostgreSQL::Test::Utils::system_or_bail('cc', '-O1', '-shared', '-fPIC', '-o', $self->{library},
		dirname(__FILE__) . '/faults.c', '-ldl');
	PostgreSQL::Test::Utils::append_to_file($self->{file}, pack('l*', (0) x (@NAMES - 1), -1));
	chmod 0666, $self->{file};
	return $self;
}

sub start
{
	my ($self, $node) = @_;

	local $ENV{LD_PRELOAD} = $self->{library};
	local $ENV{CUPSOURCE_FAULTS} = $self->{file};
	return $node->start;
}

sub set
{
	my ($self, %fault) = @_;
	my %known = map { $_ => 1 } @NAMES;

	$known{$_} or die "there is no fault \"$_\"\n" for keys %fault;
	$fault{countdown} //= -1;
	open my $file, '+<', $self->{file} or die "could not open $self->{file}: $!\n";
	syswrite $file, pack('l*', map { $fault{$_} // 0 } @NAMES);
	close $file;
	return;
}

sub none
{
	my $self = shift;

	return $self->set;
}

# What is left of the countdown; -1 when it has failed.
sub countdown
{
	my $self = shift;

	return (unpack 'l*', PostgreSQL::Test::Utils::slurp_file($self->{file}))[-1];
}

1;
