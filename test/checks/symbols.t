#!/usr/bin/perl
#
# Exported symbols have the project's prefix, and none is json-c's, libcurl's or
# the server's: PostgreSQL 15 does not hide a library's symbols.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

my $allowed = qr{^(?:cs_\w+|_PG_(?:init|fini)|Pg_magic_func|pg_finfo_cs_\w+)$};

# 'text' is what nm prints.
sub symbols
{
	my ($name, $text) = @_;

	return map {"exports $_"} grep { $_ !~ $allowed && !/^_(?:init|fini)$/ }
	  $text =~ /^[0-9a-f]+ [A-Z] (\S+)$/mg;
}

catches(\&symbols, 'a bare function', 'nm', "0000000000001100 T limiter_take\n");
catches(\&symbols, 'a bare variable', 'nm', "0000000000001100 B cache\n");
catches(\&symbols, 'a function record without prefix', 'nm', "0000000000001100 T pg_finfo_orders\n");
passes(\&symbols, 'ours', 'nm', "0000000000001100 T cs_call\n0000000000001100 T pg_finfo_cs_sql_version\n");

my $nm = `nm --dynamic --defined-only cupsource.so 2>&1`;
is($?, 0, 'the library is built') or diag($nm);
ok($nm =~ / T _PG_init$/m, 'and is a module');
my @found = symbols('cupsource.so', $nm);
ok(!@found, 'exported symbols have the prefix') or diag(join "\n", @found);

# What is missing shows only when the server loads the library.
my @missing = map { / U (cs_\w+)$/ ? $1 : () } `nm --dynamic --undefined-only cupsource.so`;
ok(!@missing, 'every function that is called is there') or diag("missing: @missing");
done_testing;
