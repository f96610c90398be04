#!/usr/bin/perl
#
# The install script: bare CREATE, names qualified, every object commented,
# every function labelled, every definer's search_path pinned.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

# SQL without comments; what stands in quotes and in function bodies stays.
sub bare
{
	my $text = shift;

	$text =~ s{/\*.*?\*/}{ }gs;
	$text =~ s{--[^\n]*}{}g;
	return $text;
}

# The statements of a script.
sub statements
{
	my $text = bare(shift);
	my @statements;

	while ($text =~ /\G\s*((?:'(?:[^']|'')*'|(\$\w*\$).*?\2|BEGIN\s+ATOMIC\b.*?\bEND\b|[^;])+);/gs)
	{
		push @statements, $1;
	}
	return @statements;
}

# What a CREATE makes, as COMMENT ON names it without arguments: 'FUNCTION s.f'.
sub created
{
	my $statement = shift;

	return unless $statement =~ m{^CREATE\s+(?:(?:UNIQUE|CONSTRAINT|EVENT|RECURSIVE|UNLOGGED)\s+)*
		(FUNCTION|PROCEDURE|AGGREGATE|VIEW|MATERIALIZED\s+VIEW|TABLE|TYPE|DOMAIN|SEQUENCE|SCHEMA
		|FOREIGN\s+DATA\s+WRAPPER|OPERATOR|CAST|TRIGGER)\s+([\w\@".]+)}xi;
	my ($kind, $name) = (uc $1, $2);

	$kind =~ s/\s+/ /g;
	return "$kind $name";
}

sub statement_findings
{
	my $statement = shift;
	my ($head) = $statement =~ /^(.{0,70})/;
	my @findings;

	push @findings, "OR REPLACE: $head" if $statement =~ /^CREATE\s+OR\s+REPLACE/i;
	push @findings, "IF NOT EXISTS: $head" if $statement =~ /^(?:CREATE|ALTER)\b[^(]*\bIF\s+NOT\s+EXISTS/i;
	my $made = created($statement);
	return @findings unless defined $made;
	my ($kind, $name) = $made =~ /^(.*) (\S+)$/;
	push @findings, "not qualified: $head"
	  if $kind =~ /^(?:FUNCTION|PROCEDURE|VIEW|TABLE|TYPE|DOMAIN|SEQUENCE)$/ && $name !~ /\./;

	if ($kind eq 'FUNCTION' || $kind eq 'PROCEDURE')
	{
		my $labels = $statement =~ s/(\$\w*\$).*?\1/ /sgr =~ s/'(?:[^']|'')*'/''/gr;
		my $c = $labels =~ /LANGUAGE\s+'?c\b/i;
		my $atomic = $labels =~ /BEGIN\s+ATOMIC/i;

		if ($kind eq 'FUNCTION')
		{
			push @findings, "no volatility: $head" unless $labels =~ /\b(?:IMMUTABLE|STABLE|VOLATILE)\b/i;
			push @findings, "no parallel label: $head" unless $labels =~ /\bPARALLEL\s+(?:SAFE|RESTRICTED|UNSAFE)\b/i;
		}
		push @findings, "no pinned search_path: $head"
		  if !$c && !$atomic && $labels !~ /\bSET\s+search_path\s*(?:=|TO)\s*'?pg_catalog'?\s*,\s*'?pg_temp\b/i;
		push @findings, "a definer without search_path: $head"
		  if $labels =~ /SECURITY\s+DEFINER/i && $labels !~ /SET\s+search_path/i;
		push @findings, "LEAKPROOF: $head" if $labels =~ /(?<!NOT )\bLEAKPROOF\b/i;
	}
	push @findings, "varchar: $head" if $statement =~ /\b(?:varchar|character varying)\b/i;
	push @findings, "double precision or real: $head"
	  if $kind eq 'TABLE' && $statement =~ /\b(?:double precision|real|float[48]?|money)\b/i;
	return @findings;
}

# A whole script: each statement, and a comment for each object.
sub script
{
	my ($name, $text) = @_;
	my @statements = statements($text);
	my (@findings, %commented);

	for my $statement (@statements)
	{
		next
		  unless $statement =~
		  m{^COMMENT\s+ON\s+((?:FOREIGN\s+DATA\s+WRAPPER|MATERIALIZED\s+VIEW|\w+))\s+([\w\@".]+)}i;
		my ($kind, $object) = (uc $1, $2);
		$kind =~ s/\s+/ /g;
		$commented{"$kind $object"} = 1;
	}
	for my $statement (@statements)
	{
		my $made = created($statement);

		push @findings, statement_findings($statement);
		push @findings, "no COMMENT ON $made" if defined $made && !$commented{$made};
	}
	return @findings;
}

my $body = '() RETURNS int LANGUAGE plpgsql';
my $pinned = 'SET search_path = pg_catalog, pg_temp';
my $labels = "STABLE PARALLEL SAFE $pinned";
my $code = q{AS $$ BEGIN RETURN 1; END; $$;};
my $comment = "COMMENT ON FUNCTION s.f() IS 'It.';";
passes(\&script, 'a good function', 'a', "CREATE FUNCTION s.f$body $labels $code\n$comment");
catches(\&script, 'a missing comment', 'a', "CREATE FUNCTION s.f$body $labels $code");
catches(\&script, 'a missing volatility', 'a', "CREATE FUNCTION s.f$body PARALLEL SAFE $pinned $code $comment");
catches(\&script, 'a missing parallel label', 'a', "CREATE FUNCTION s.f$body STABLE $pinned $code $comment");
catches(\&script, 'a loose search_path', 'a', "CREATE FUNCTION s.f$body STABLE PARALLEL SAFE $code $comment");
catches(\&script, 'OR REPLACE', 'a', "CREATE OR REPLACE FUNCTION s.f$body $labels $code $comment");
catches(\&script, 'IF NOT EXISTS', 'a', "CREATE TABLE IF NOT EXISTS s.t (a int); COMMENT ON TABLE s.t IS 'It.';");
catches(\&script, 'a bare name', 'a', "CREATE TABLE t (a int); COMMENT ON TABLE t IS 'It.';");
catches(\&script, 'money as a double', 'a', "CREATE TABLE s.t (p double precision); COMMENT ON TABLE s.t IS 'It.';");
passes(\&script, 'a word in a body', 'a', "CREATE FUNCTION s.f$body $labels AS \$\$ BEGIN RETURN 1; -- CREATE TABLE t\nEND; \$\$; $comment");

holds('each part of the script is qualified, labelled and pinned',
	sub { my ($name, $text) = @_; return map { statement_findings($_) } statements($text) },
	files(qr{^src/(?!update/).*\.sql$}));

# Comments, too: the whole script has to be in the database's encoding.
sub ascii
{
	my ($name, $text) = @_;

	return map {"no ASCII: $_"} $text =~ /([^\n]{0,20}[^\x00-\x7f])/g;
}

catches(\&ascii, 'an ellipsis', 'a', "-- cs_\xe2\x80\xa6\n");
holds('the scripts are for databases of all encodings', \&ascii, files(qr{^src/(?!update/cupsource--[0-9.]+\.sql).*\.sql$}));

my @parts = split ' ', `make -s print-SQL_PARTS`;
my $whole = join "\n", map { text($_) } @parts;
my @found = script('all parts', $whole);
ok(@parts && !@found, 'every object has a COMMENT') or diag(join "\n", @found);
done_testing;
