#!/usr/bin/perl
#
# One door per library: libcurl's and json-c's headers are included in one place
# each, PostgreSQL's version is asked in one place, and it waits in few.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

# [what, pattern in the code, files that may]
my @doors = (
	[ 'libcurl', qr{^\s*#\s*include\s*[<"]curl/}m, qr{^src/wire/http\w*\.[ch]$} ],
	[ 'json-c', qr{^\s*#\s*include\s*[<"](?:json-c/|json\.h|json_)}m, qr{^src/wire/json\w*\.[ch]$} ],
	[ 'the version of PostgreSQL', qr{\bPG_VERSION_NUM\b}, qr{^src/base/compat\.h$} ],
	[ 'the version of libcurl', qr{\bLIBCURL_VERSION_NUM\b}, qr{^src/wire/http\w*\.[ch]$} ],
	[
		'waiting',
		qr{\b(?:WaitLatch|WaitLatchOrSocket|WaitEventSetWait)\s*\(},
		qr{^src/(?:wire/http_wait|base/compat|shared/\w+|worker/\w+)\.[ch]$}
	],
	[ 'sleeping', qr{\b(?:pg_usleep|usleep|nanosleep|sleep)\s*\(}, qr{^src/base/crash\.h$} ],
	[ 'poll, select and system', qr{(?<![\w>.])(?:poll|ppoll|select|system|popen)\s*\(}, qr{^$} ],
	[ 'a blocking transfer', qr{\bcurl_easy_perform\s*\(}, qr{^$} ],
	[ 'ending libcurl for the process', qr{\bcurl_global_(?:cleanup|init_mem)\s*\(}, qr{^$} ],
	[ 'a server function of json-c\'s name', qr{^\s*#\s*include\s*"utils/(?:builtins|fmgrprotos)\.h"}m,
		qr{^src/(?!wire/json\w*\.[ch]$)} ],
);

sub doors
{
	my ($name, $text) = @_;
	my @findings;

	# Includes are in quotes, which the strings' removal would empty.
	my $includes = join "\n", $text =~ m{^\s*#\s*include.*$}mg;
	my $code = without_comments($text) . "\n" . $includes;
	for my $door (@doors)
	{
		my ($what, $pattern, $allowed) = @$door;

		push @findings, "$what has another door" if $code =~ $pattern && $name !~ $allowed;
	}
	return @findings;
}

catches(\&doors, 'curl elsewhere', 'src/client/call.c', "#include <curl/curl.h>\n");
catches(\&doors, 'json-c elsewhere', 'src/api/form.c', "#include <json-c/json.h>\n");
catches(\&doors, 'json-c by its short name', 'src/api/form.c', "#include <json.h>\n");
catches(\&doors, 'the name clash', 'src/wire/json.c', qq{#include "utils/builtins.h"\n});
catches(\&doors, 'a version switch', 'src/fdw/fdw.c', "#if PG_VERSION_NUM >= 160000\n");
catches(\&doors, 'a sleep', 'src/worker/worker.c', "pg_usleep(1000L);\n");
catches(\&doors, 'a second wait', 'src/orders/create.c', "WaitLatch(MyLatch, 0, 0, 0);\n");
catches(\&doors, 'poll()', 'src/worker/worker.c', "(void) poll(&fd, 1, 10);\n");
passes(\&doors, 'a word in a comment', 'src/worker/worker.c', "/* no usleep() here */\n");
passes(\&doors, 'a name that ends so', 'src/orders/follow.c', "orders_poll(1); x->select(2);\n");
passes(\&doors, 'the door itself', 'src/wire/http.c', "#include <curl/curl.h>\n");
holds('one door per library', \&doors, files(qr{^src/.*\.[ch]$}));
done_testing;
