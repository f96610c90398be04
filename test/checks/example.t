#!/usr/bin/perl
#
# The partner of CONTRIBUTING.md compiles as it is printed.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use File::Temp qw(tempfile);
use Test::More;

my ($flags) = `make -s print-CPPFLAGS`;
chomp $flags;

# What the compiler says; nothing if it is content.
sub complaints
{
	my ($name, $text) = @_;
	my ($file, $path) = tempfile(SUFFIX => '.c', UNLINK => 1);

	print {$file} $text;
	close $file;
	my $said = `cc -fsyntax-only -Wall -Werror -Wno-missing-field-initializers $flags $path 2>&1`;
	return $? == 0 ? () : "does not compile:\n$said";
}

my ($example) = text('CONTRIBUTING.md') =~ /^ *```c\n(.*?)^ *```$/ms;
ok(defined $example, 'CONTRIBUTING.md shows a partner') or BAIL_OUT('there is no example');
catches(\&complaints, 'a member that there is not', 'example', $example =~ s/\.rate_limit/.speed_limit/r);
catches(\&complaints, 'a type that there is not', 'example', $example =~ s/CS_TYPE_NUMERIC/CS_TYPE_MONEY/r);
my @found = complaints('CONTRIBUTING.md', $example);
ok(!@found, 'and it compiles') or diag(@found);
unlike($example, qr/^ {7}/m, 'and is laid out as the sources are, with tabs');

# The steps name what is there.
my ($steps) = text('CONTRIBUTING.md') =~ /^## Adding a partner\n(.*)\z/ms;
my @lost = grep { !-e && !/teashop/ } $steps =~ m{`((?:src|test|expected)/[\w./]+)`}g;
ok(!@lost, 'what its steps name exists') or diag("@lost");
like(text('src/api/api.c'), qr/\bcs_apis\[\]/, 'cs_apis is in src/api/api.c');
like(text('Makefile'), qr/^API\s+= .*\bcupsource_v1\b/m, 'and API in the Makefile');
done_testing;
