#!/usr/bin/perl
#
# harness.pl: run test programs that print TAP, count every single test, and
# show all that a failing one printed.
#
#   harness.pl [--jobs N] [--exec COMMAND] --count FILE TEST...
#
# FILE gets "PASSED FAILED".  A program that dies, exits with an error or breaks
# its plan is at least one failure, whatever its tests said.
use strict;
use warnings;
use File::Temp qw(tempdir);
use Getopt::Long;
use TAP::Harness;

my ($jobs, $exec, $count) = (1);
GetOptions('jobs=i' => \$jobs, 'exec=s' => \$exec, 'count=s' => \$count) && $count
  or die "usage: harness.pl [--jobs N] [--exec COMMAND] --count FILE TEST...\n";

my $raw = tempdir(CLEANUP => 1);
$ENV{PERL_TEST_HARNESS_DUMP_TAP} = $raw;

my $harness = TAP::Harness->new(
	{
		verbosity => -3,
		merge => 1,
		jobs => $jobs,
		(defined $exec ? (exec => [ split ' ', $exec ]) : ()),
	});
my $all = $harness->runtests(@ARGV);

my ($passed, $failed) = (0, 0);
for my $parser ($all->parsers)
{
	my ($good, $bad) = (scalar $parser->passed, scalar $parser->failed);

	$bad ||= 1 if $parser->has_problems;
	$bad ||= 1 if !$good && !$parser->skip_all;
	$passed += $good;
	$failed += $bad;
}

for my $name ($all->descriptions)
{
	my ($parser) = $all->parsers($name);

	next unless $parser->has_problems || (!$parser->passed && !$parser->skip_all);
	print "--- $name", ($parser->exit ? " (exit status " . ($parser->wait >> 8) . ")" : ''), "\n";
	print "$_\n" for $parser->parse_errors;
	if (open my $tap, '<', "$raw/$name")
	{
		print while <$tap>;
	}
}

open my $out, '>', $count or die "could not write $count: $!\n";
print $out "$passed $failed\n";
close $out or die "could not write $count: $!\n";
exit($failed ? 1 : 0);
