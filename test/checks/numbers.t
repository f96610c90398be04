#!/usr/bin/perl
#
# Numbers keep their text: no binary floating point touches what a partner sent.
# Only durations and rates may be doubles, in the files that measure them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

# Durations, rates and planner costs.
my $measures = qr{^src/(?:shared/(?:limiter|stats|shmem|handoff)|wire/http\w*|client/(?:call|attempt)|ops/\w+
	|catalog/run|worker/\w+|fdw/\w+|orders/follow)\.[ch]$}x;

sub numbers
{
	my ($name, $text) = @_;
	my $code = without_comments($text);
	my @findings;

	for my $word (qw(strtod strtof strtold atof atoi atol sscanf float float4 float8 json_object_get_double
		json_object_new_double DatumGetFloat8))
	{
		push @findings, "uses $word" if $code =~ /\b$word\b/;
	}
	for my $word (qw(double Float8GetDatum))
	{
		push @findings, "uses $word" if $code =~ /\b$word\b/ && $name !~ $measures;
	}
	return @findings;
}

catches(\&numbers, 'a double price', 'src/wire/datum.c', "double price;\n");
catches(\&numbers, 'strtod', 'src/shared/limiter.c', "x = strtod(s, NULL);\n");
catches(\&numbers, 'json-c as a double', 'src/wire/json.c', "json_object_get_double(o);\n");
catches(\&numbers, 'an unchecked integer', 'src/client/options.c', "atoi(s);\n");
catches(\&numbers, 'a price as float8', 'src/wire/datum.c', "return Float8GetDatum(price);\n");
passes(\&numbers, 'a duration as float8', 'src/ops/ops.c', "return Float8GetDatum(ms);\n");
passes(\&numbers, 'a rate', 'src/shared/limiter.c', "double tokens;\n");
passes(\&numbers, 'a comment', 'src/wire/datum.c', "/* never a double */\n");
holds('no binary floating point on the way of a number', \&numbers, files(qr{^src/.*\.[ch]$}));
done_testing;
