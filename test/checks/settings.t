#!/usr/bin/perl
#
# The settings: each table sorted by name, each with a full sentence, in the
# header in the same order, and the prefix reserved after the last.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

sub settings
{
	my ($name, $text) = @_;
	my (@findings, $tables);

	while ($text =~ /(\w+_settings)\[\]\s*=\s*\{(.*?)\n\};/sg)
	{
		my ($table, $body) = ($1, $2);
		my @names = $body =~ /^\s*\{"(cupsource\.\w+)"/mg;

		$tables++;
		push @findings, "$table is empty" unless @names;
		push @findings, "$table is not sorted: @names" if "@names" ne join ' ', sort @names;
		while ($body =~ /\{"(cupsource\.\w+)",\s*"([^"]*)"/sg)
		{
			push @findings, "$1: the description is no sentence" unless $2 =~ /^[A-Z].*\.$/;
		}
	}
	push @findings, 'there is no table of settings' unless $tables;
	push @findings, 'the prefix is not reserved'
	  unless $text =~ /MarkGUCPrefixReserved\("cupsource"\)/;
	return @findings;
}

sub header
{
	my ($name, $text) = @_;
	my @names = $text =~ /\b(cs_guc_(?!init)\w+);/g;

	return "not sorted: @names" if "@names" ne join ' ', sort @names;
	return @names ? () : 'no setting is declared';
}

my $reserved = qq{MarkGUCPrefixReserved("cupsource");\n};
my $a = qq{\t{"cupsource.a", "Sets a.", 1},\n};
my $b = qq{\t{"cupsource.b", "Sets b.", 1},\n};
catches(\&settings, 'an unsorted table', 'guc.c', "x_settings[] =\n{\n$b$a};\n$reserved");
catches(\&settings, 'a description without period', 'guc.c',
	qq(x_settings[] =\n{\n\t{"cupsource.a", "Sets a", 1},\n};\n$reserved));
catches(\&settings, 'an unreserved prefix', 'guc.c', "x_settings[] =\n{\n$a$b};\n");
passes(\&settings, 'a good table', 'guc.c', "x_settings[] =\n{\n$a$b};\n$reserved");
holds('the settings are sorted and described', \&settings, 'src/base/guc.c');
catches(\&header, 'an unsorted header', 'guc.h', "extern int cs_guc_b;\nextern int cs_guc_a;\n");
holds('and declared in the same order', \&header, 'src/base/guc.h');
done_testing;
