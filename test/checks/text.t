#!/usr/bin/perl
#
# What a reader sees first: no trailing blanks, lines that fit, a header in each
# C file, C comments only, no unfinished business, nothing of a developer's own
# machine and no key that could be real.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

sub tidy
{
	my ($name, $text) = @_;
	my @findings;
	my $line = 0;

	for (split /\n/, $text, -1)
	{
		$line++;
		push @findings, "line $line: trailing blanks" if /[ \t\r]$/;
	}
	push @findings, 'no newline at the end' if length $text && $text !~ /\n\z/;
	push @findings, 'empty lines at the end' if $text =~ /\n\n\z/;
	return @findings;
}

sub c_layout
{
	my ($name, $text) = @_;
	my ($file) = $name =~ m{([^/]+)$};
	my @findings;
	my $line = 0;

	push @findings, 'no header comment that begins with its name'
	  unless $text =~ m{\A/\*\n \* \Q$file\E\n};
	for (split /\n/, without_comments($text))
	{
		$line++;
		push @findings, "line $line: // comment" if m{//};
	}
	# Not every database can hold more in what it stores, or sends, of a message.
	push @findings, "a message that is no ASCII: $_"
	  for grep {/[^\x00-\x7f]/} $text =~ s{/\*.*?\*/}{}gsr =~ /("(?:\\.|[^"\\\n])*")/g;
	$line = 0;
	for (split /\n/, $text)
	{
		$line++;
		push @findings, "line $line: indented with blanks" if /^ {4}/;

		# As pgindent does: a message stays in one piece, so that it can be
		# searched for, and what explains a line may stand behind it.
		my $code = s/"(?:\\.|[^"\\])*"/""/gr;
		my $limit = $code =~ m{\S\s*/\*.*\*/$} ? 120 : 100;
		my $columns = width($code);
		push @findings, "line $line: $columns columns" if $columns > $limit;
	}
	return @findings;
}

sub width
{
	my $width = 0;

	for my $character (split //, shift)
	{
		$width = $character eq "\t" ? $width + 4 - $width % 4
		  : (ord($character) & 0xc0) == 0x80 ? $width : $width + 1;
	}
	return $width;
}

# Written so that this file does not contain them.
my $unfinished = join '|', map {"\\b$_\\b"} 'TO' . 'DO', 'FIX' . 'ME', 'X' . 'XX', 'HA' . 'CK';
my $machine = join '|', map {"(?<![\\w.])/$_"} 'work/(?:main|shared|\.)', 'tmp/cs/', 'root/', 'home/\w';

sub finished
{
	my ($name, $text) = @_;
	my @findings;

	push @findings, "unfinished: $1" if $text =~ /($unfinished)/;
	push @findings, "a path of somebody's machine: $1" if $text =~ /($machine)/;
	return @findings;
}

# The documents' and the sandbox's own keys are known; others do not belong here.
sub keys_known
{
	my ($name, $text) = @_;

	return map {"a key that is not the sandbox's: $_"}
	  grep { !/^cs_live_(?:v1_demo|sk_8f7d6c5b4a3e2d1f|forbidden|\.\.\.)|^e(?:s?)k_live_(?:demo|readonly|noscope)/ }
	  $text =~ /\b((?:cs|ek|esk|sk)_live_[A-Za-z0-9]{16,})\b/g;
}

my @all = grep { !/\.(?:out|svg|png|gz)$/ } files(qr{.});
catches(\&tidy, 'a trailing blank', 'a', "x \n");
catches(\&tidy, 'a carriage return', 'a', "x\r\n");
catches(\&tidy, 'a missing newline', 'a', 'x');
passes(\&tidy, 'a tidy file', 'a', "x\n\ny\n");
holds('tidy to the end of the line', \&tidy, @all);

my $header = "/*\n * a.c\n *\t  Why.\n */\n";
catches(\&c_layout, 'a missing header', 'src/a.c', "int a;\n");
catches(\&c_layout, 'a // comment', 'src/a.c', "$header// no\n");
catches(\&c_layout, 'a long line', 'src/a.c', $header . 'x' x 101 . "\n");
catches(\&c_layout, 'blanks for tabs', 'src/a.c', "$header    int a;\n");
catches(\&c_layout, 'an ellipsis in a message', 'src/a.c', $header . qq{f("and so on \xe2\x80\xa6");\n});
passes(\&c_layout, 'one in a comment', 'src/a.c', "$header/* and so on \xe2\x80\xa6 */\n");
passes(\&c_layout, 'a long message', 'src/a.c', $header . 'f("' . 'x' x 101 . qq{");\n});
passes(\&c_layout, 'a URL in a string', 'src/a.c', qq{${header}char *a = "https://x";\n});
holds('C is laid out', \&c_layout, files(qr{^(?:src|test)/.*\.[ch]$}));

catches(\&finished, 'unfinished business', 'a', '/* ' . 'TO' . "DO: more */\n");
catches(\&finished, 'a path of a machine', 'a', 'see /' . "work/main/x\n");
holds('finished, and of no machine', \&finished, @all);

catches(\&keys_known, 'a key', 'a', 'ek_' . "live_0123456789abcdef0\n");
holds('no key that could be real', \&keys_known, @all);
done_testing;
