#!/usr/bin/perl
#
# Includes go down: a file may include its own folder and the folders below.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

# What each folder may include besides itself.
my @client = qw(client api shared wire base);
my @features = qw(catalog orders webhooks ops);
my %below = (
	base => [],
	shared => ['base'],
	wire => ['base'],
	api => [qw(wire base)],
	client => [qw(api shared wire base)],
	(map { $_ => [@client] } @features),
	fdw => [ @features, @client ],
	worker => [ @features, @client ],
	'' => [ qw(fdw worker), @features, @client ],
);

sub layers
{
	my ($name, $text) = @_;
	my ($folder) = $name =~ m{^src/(?:(\w+)/)?[^/]+$} or return "is not in a folder of its own layer";
	my @findings;

	$folder //= '';
	return "there is no layer \"$folder\"" unless $below{$folder};
	while ($text =~ m{^\s*#\s*include\s+"([^"]+)"}mg)
	{
		my $included = $1;

		if ($included =~ m{^src/(\w+)/\w+\.h$})
		{
			push @findings, "$folder must not include $included"
			  unless $1 eq $folder || grep { $_ eq $1 } @{ $below{$folder} };
		}
		elsif (-e "src/$folder/$included" || $included =~ m{^(?:src/|\.)})
		{
			push @findings, "write \"$included\" from the root: \"src/FOLDER/NAME.h\"";
		}
	}
	return @findings;
}

catches(\&layers, 'an include upwards', 'src/wire/http.c', qq{#include "src/client/call.h"\n});
catches(\&layers, 'an include between features', 'src/orders/claim.c', qq{#include "src/catalog/live.h"\n});
catches(\&layers, 'a relative include', 'src/wire/http.c', qq{#include "../base/errors.h"\n});
catches(\&layers, 'an unknown layer', 'src/misc/a.c', '');
passes(\&layers, 'an include downwards', 'src/client/call.c', qq{#include "src/wire/http.h"\n});
passes(\&layers, 'PostgreSQL', 'src/base/state.c', qq{#include "catalog/pg_extension.h"\n});
holds('includes go down', \&layers, files(qr{^src/.*\.[ch]$}));
done_testing;
