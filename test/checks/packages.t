#!/usr/bin/perl
#
# What scripts/packages.sh finds missing, on machines that are made up: a
# pg_config that leads into a folder of ours, and no apt-get to install with.
use strict;
use warnings;
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $script = "$FindBin::Bin/../../scripts/packages.sh";
my $root = tempdir(CLEANUP => 1);

sub put
{
	my ($name, $text, $mode) = @_;
	my $path = "$root/$name";

	make_path($path =~ s{/[^/]*$}{}r);
	open my $file, '>', $path or die "$path: $!";
	print $file $text;
	close $file;
	chmod $mode // 0644, $path;
	return $path;
}

# The programs that the script itself runs, found by their names only.
make_path("$root/bin");
for my $program (qw(bash sed sort tail id perl))
{
	my ($path) = grep { -x } map { "$_/$program" } split /:/, $ENV{PATH};
	symlink $path, "$root/bin/$program" or die "$program: $!";
}
put('bin/pg_config', <<"END", 0755);
#!$root/bin/bash
case \$1 in
	--version) echo 'PostgreSQL 15.18' ;;
	--bindir) echo $root/server ;;
	--pgxs) echo $root/pgxs/pgxs.mk ;;
	--includedir-server) echo $root/include ;;
esac
END
put('server/initdb', '', 0755);

# The names of what is missing.
sub missing
{
	my ($for) = @_;
	local $ENV{PATH} = "$root/bin";
	local $ENV{PG_CONFIG} = "$root/bin/pg_config";
	my @lines = split /\n/, `bash $script $for 2>&1`;

	return map { /^  ([\w-]+)  / ? $1 : () } @lines;
}

sub misses { return scalar grep { $_ eq $_[0] } missing('build') }

ok(misses('gcc'), 'what is not there is missing');
ok(!misses('postgresql'), 'a server that is there is not');
ok(misses('postgresql-server-dev'), 'neither headers nor PGXS');
put('pgxs/pgxs.mk', '');
ok(misses('postgresql-server-dev'), 'PGXS without the headers, as Debian\'s client package has it');
put('include/postgres.h', '');
ok(!misses('postgresql-server-dev'), 'headers and PGXS');
is((grep { $_ eq 'clang' } missing('test')), 1, 'what is needed twice is named once');
done_testing;
