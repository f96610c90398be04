#!/usr/bin/perl
#
# A file has one subject, and fits into the head: at most 600 lines, of the
# sandbox at most 500.  The install scripts of earlier versions are kept whole.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

sub size
{
	my ($name, $text) = @_;
	my $wall = $name =~ m{^test/sandbox/(?!test_)} ? 500 : 600;
	my $lines = () = $text =~ /\n/g;

	return $lines > $wall ? "has $lines lines, $wall are enough" : ();
}

catches(\&size, '601 lines', 'src/wire/http.c', "\n" x 601);
catches(\&size, '501 lines of the sandbox', 'test/sandbox/store.py', "\n" x 501);
passes(\&size, '600 lines', 'src/wire/http.c', "\n" x 600);
holds('no file is longer than 600 lines', \&size,
	grep { !m{^src/update/cupsource--[0-9.]+\.sql$} } files(qr{^(?:src|sql|test|scripts)/.*\.(?:[ch]|sql|py|pl|pm|t|sh)$}));
done_testing;
