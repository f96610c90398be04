#!/usr/bin/perl
#
# Nothing lies about unused: every source is built, every part of the script is
# in it, every test is scheduled and has what it expects.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

sub listed
{
	my $variable = shift;

	return split ' ', `make -s print-$variable`;
}

# Both lists name the same, each once.
sub differences
{
	my ($have, $list) = @_;
	my (%have, %list, @findings);

	$have{$_}++ for @$have;
	$list{$_}++ for @$list;
	push @findings, map {"$_ is not listed"} grep { !$list{$_} } sort keys %have;
	push @findings, map {"$_ is listed and does not exist"} grep { !$have{$_} } sort keys %list;
	push @findings, map {"$_ is listed twice"} grep { $list{$_} > 1 } sort keys %list;
	return @findings;
}

sub same
{
	my ($promise, $have, $list) = @_;
	my @findings = differences($have, $list);

	ok(!@findings, $promise) or diag(join "\n", @findings);
	return;
}

is_deeply([ differences([ 'a', 'b' ], ['a']) ], ['b is not listed'], 'catches a forgotten file');
is_deeply([ differences(['a'], [ 'a', 'b' ]) ], ['b is listed and does not exist'], 'catches a lost file');
is_deeply([ differences(['a'], [ 'a', 'a' ]) ], ['a is listed twice'], 'catches a file listed twice');

sub names
{
	my ($pattern) = @_;

	return [ map { m{([^/]+)\.\w+$}; $1 } files($pattern) ];
}

my $objects = [ map {s/\.o$/.c/r} listed('OBJS') ];
same('every C file is built', [ files(qr{^src/.*\.c$}) ], $objects);
same('every SQL file is in the install script',
	[ files(qr{^src/(?!update/).*\.sql$}) ], [ listed('SQL_PARTS') ]);
same('every regression test is scheduled', names(qr{^sql/[^/]+\.sql$}), [ listed('REGRESS') ]);
same('and expects something', names(qr{^expected/\w+\.out$}), [ listed('REGRESS') ]);
same('every isolation test is scheduled', names(qr{^test/isolation/specs/.*\.spec$}), [ listed('ISOLATION') ]);
same('and expects something', names(qr{^test/isolation/expected/.*\.out$}), [ listed('ISOLATION') ]);
same('every unit test is built', names(qr{^test/unit/[^/]+\.c$}), [ listed('UNITS') ]);


# Whatever else is a program, or is for one, is named by another file: a script
# by the Makefile, a library by a test.
sub orphans
{
	my ($texts, @names) = @_;

	return grep {
		my $name = $_;
		my ($bare) = $name =~ m{([^/]+?)(?:\.(?:pm|py|c|h))?$};
		!grep { $_ ne $name && $texts->{$_} =~ /\b\Q$bare\E\b/ } keys %$texts
	} @names;
}

my %users = map { $_ => text($_) } files(
	qr{^(?:Makefile|\.ci/.*|scripts/.*|debian/.*|sql/.*|test/(?:checks|t|bench|fuzz|isolation|matrix|modules|pgtap|sandbox|sanitize|soak)/[^/]+|test/t/lib/.*|test/[^/]+)$});
is_deeply([ orphans({ Makefile => 'run scripts/a.sh', 'scripts/a.sh' => 'a.sh' }, 'scripts/a.sh', 'scripts/b.sh') ],
	['scripts/b.sh'], 'catches a script that nobody runs');
my @orphans = orphans(\%users, files(
		qr{^(?:scripts/|monitoring/|test/(?:bench|matrix|modules|sanitize|soak)/[^/]+$|test/t/lib/|test/pgtap/run$|test/harness|test/sandbox/(?!test_)\w+\.py$)}));
ok(!@orphans, 'every script is run by something') or diag("nobody runs @orphans");
same('every folder of a corpus is that of a fuzz target',
	[ sort keys %{ { map { m{^test/fuzz/corpus/([^/]+)/} ? ($1 => 1) : () } files(qr{^test/fuzz/corpus/}) } } ],
	[ grep { $_ ne 'fuzz' } @{ names(qr{^test/fuzz/[^/]+\.c$}) } ]);
same('what an example needs belongs to a document',
	[ grep { $_ ne 'every' } @{ names(qr{^test/documentation/\w+\.sql$}) } ],
	[ grep { -e "test/documentation/$_.sql" } map {lc} @{ names(qr{^(?:README|docs/\w+)\.md$}) } ]);

# A target that nobody knows of is not run either.
my @targets = grep { !/^(?:help|stage|docs|dist)$/ } text('Makefile') =~ /^TOOL_GOALS\s*= (.*)$/m ? split(' ', $1) : ();
my @unknown = grep { text('CONTRIBUTING.md') !~ /`make $_\b|^make $_\b/m } @targets;
ok(@targets > 10 && !@unknown, 'CONTRIBUTING.md says what every target is for') or diag("@unknown");

my @tap = files(qr{^test/t/[^/]+\.pl$});
my @numbers = map { m{/(\d{3})_[a-z0-9_]+\.pl$} ? $1 : "unnumbered: $_" } @tap;
my %seen;
ok(@tap && !grep({ !/^\d{3}$/ || $seen{$_}++ } @numbers), 'TAP tests are numbered, each number once')
  or diag("@numbers");

open my $memcheck, '<', 'test/sanitize/memcheck' or die "there is no test/sanitize/memcheck: $!\n";
my @checked = map { /^(\w\S+)/ ? "test/t/$1" : () } <$memcheck>;
ok(@checked && !grep({ !-e } @checked), 'what memcheck watches is there') or diag("@checked");
done_testing;
