package Check;

# What the checks share: the project's files, and a check that shows that it
# does catch what it is for before it looks at anything.
#
# A check is a function of a file's name and text that returns its findings as
# strings.  Run from the top of a checkout or of a stage: prove test/checks
use strict;
use warnings;
use Exporter qw(import);
use File::Find;
use Test::More;

our @EXPORT = qw(files text without_comments catches passes holds);

# What make and the tests leave behind.
my $built = qr{^(?:cupsource--[^/]*\.sql|results/|dist/|tmp_check/|regression\.)
	|/results/|^test/(?:unit|fuzz)/build/|__pycache__|\.(?:o|d|so|bc)$|^\.git/}x;

# Names of the project's files that match, sorted.
sub files
{
	my $pattern = shift;
	my @names;

	find(
		{
			no_chdir => 1,
			wanted => sub {
				my $name = $File::Find::name =~ s{^\./}{}r;

				push @names, $name if -f && $name =~ $pattern && $name !~ $built;
			}
		},
		'.');
	return sort @names;
}

sub text
{
	my $name = shift;

	open my $file, '<', $name or die "could not read $name: $!\n";
	local $/;
	my $text = <$file>;
	return $text // '';
}

# C without comments and without the inside of strings; lines stay lines.
sub without_comments
{
	my $text = shift;

	$text =~ s{(/\*.*?\*/)|("(?:\\.|[^"\\])*")|('(?:\\.|[^'\\])*')}
		{defined $1 ? $1 =~ s/[^\n]//gr : defined $2 ? '""' : "' '"}egs;
	return $text;
}

# The check finds something in this text, named so.
sub catches
{
	my ($check, $what, $name, $text) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @findings = $check->($name, $text);
	return ok(scalar @findings, "catches $what");
}

# The check finds nothing in this text.
sub passes
{
	my ($check, $what, $name, $text) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @findings = $check->($name, $text);
	ok(!@findings, "passes $what") or diag(@findings);
	return;
}

# One test for all the files: the promise, and which of them break it.
sub holds
{
	my ($promise, $check, @names) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return fail("$promise: there is no file to look at") unless @names;
	my @findings = map { my $name = $_; map {"$name: $_"} $check->($name, text($name)) } @names;
	ok(!@findings, "$promise (" . scalar(@names) . ' files)') or diag(join "\n", @findings);
	return;
}

1;
