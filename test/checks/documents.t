#!/usr/bin/perl
#
# What the documents name is there, and what there is they name: links and
# their anchors, files, targets, objects, settings, options, SQLSTATEs, checks.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Check;
use Test::More;

my @documents = files(qr{^(?:[A-Z]+|docs/\w+|src/\w+/README|test/\w+/README)\.md$});
my $reference = text('docs/reference.md');

# Without blocks of code, in which nothing is a link or a heading.
sub prose { return shift =~ s/^ *```.*?^ *```$//msgr }

# The anchors of a document, as GitHub makes them of its headings.
sub anchors
{
	my %anchors;

	for my $heading (prose(shift) =~ /^#+ (.+)$/mg)
	{
		$anchors{ lc($heading) =~ s/[^\w\- ]//gr =~ tr/ /-/r } = 1;
	}
	return \%anchors;
}

# A link leads to a file that is there, and to a heading of it.
sub links
{
	my ($name, $text) = @_;
	my ($folder) = $name =~ m{^(.*/)};
	my @findings;

	for (prose($text) =~ /\]\(([^)\s]+)\)/g)
	{
		next if m{^https?://};
		my ($file, $anchor) = /^([^#]*)(?:#(.+))?$/;
		my $path = $file eq '' ? $name : ($folder // '') . $file;

		1 while $path =~ s{[^/]+/\.\./}{};
		push @findings, "$_: there is no $path" and next unless $file eq '' || -e $path;
		next unless defined $anchor;
		my $headings = anchors($file eq '' ? $text : text($path));
		push @findings, "$_: $path has no such heading" unless $headings->{$anchor};
	}
	return @findings;
}

# A file that is named, and an object; of a changelog also those that there were.
sub named
{
	my ($name, $text) = @_;
	my @findings;

	push @findings, map {"there is no $_"} grep { !-e && !/teashop|NNN|OLD|VERSION/ }
	  $text =~ m{`((?:src|docs|test|monitoring|scripts|sql|expected)/[\w./-]*\w)`}g;
	push @findings, map {"there is no $_"} grep { $reference !~ /^### \Q$_\E$/m && !/^cs_(?:internal|live)$/ }
	  $text =~ /(?<![\w.])(cs_[a-z_]*[a-z])\b(?![*_])/g
	  unless $name =~ m{^(?:CHANGELOG|CONTRIBUTING)\.md$|^src/};
	return @findings;
}

catches(\&links, 'a lost file', 'docs/a.md', '[it](../b.md)');
catches(\&links, 'a lost heading', 'docs/a.md', "# This one\n[it](#that-one)");
passes(\&links, 'a heading', 'docs/a.md', "## The one, and `cs_only()`\n[it](#the-one-and-cs_only)");
passes(\&links, 'what looks like one in code', 'docs/a.md', "```sql\nSELECT a[1](2);\n```\n");
catches(\&named, 'a function that there is not', 'docs/a.md', 'Call `cs_make_order`.');
catches(\&named, 'a file that there is not', 'docs/a.md', 'See `src/wire/https.c`.');
holds('links lead somewhere', \&links, @documents);
holds('what is named is there', \&named, @documents);

# Two lists of the same things: what is only in one of them.
sub same
{
	my ($promise, $there, $told) = @_;
	my %there = map { $_ => 1 } @$there;
	my %told = map { $_ => 1 } @$told;

	ok(@$there && !grep({ !$told{$_} } @$there) && !grep({ !$there{$_} } @$told), $promise)
	  or diag('not told: ', join(' ', grep { !$told{$_} } sort keys %there),
		"\nnot there: ", join(' ', grep { !$there{$_} } sort keys %told));
	return;
}

# The first column of the table below a heading, or below a line that is like it.
sub first_column
{
	my ($text, $above) = @_;
	my ($table) = $text =~ /$above.*?\n\|[^\n]+\n\|[-|]+\|\n((?:\|[^\n]+\n)+)/s;

	return map { /^\|([^|]+)\|/ ? $1 =~ /`([^`]+)`/g : () } split /\n/, $table // '';
}

my $readme = text('README.md');
my $operations = text('docs/operations.md');
my $options = text('src/client/options.c');
my %options;
push @{ $options{$2} }, $1 while $options =~ /^\t\{"(\w+)", (\w+)RelationId, OPTION_/mg;
my ($mapping_options) = $readme =~ /^(User-mapping options: .*?)\. /ms;
my ($comment) = text('src/fdw/fdw.sql') =~ /COMMENT ON FOREIGN DATA WRAPPER cupsource IS\n(.*)\z/s;
my ($of_servers, $of_mappings) = $comment =~ /Server options: (.*)User mapping options: (.*)Foreign tables: /s;

# The names in a list of options; what is in brackets explains them.
sub in_list
{
	return grep { !/^(?:for|superusers|or)$/ } shift =~ s/\([^)]*\)//gr =~ /\b[a-z][a-z_]+\b/g;
}

same('README has every option of a server', $options{ForeignServer}, [ first_column($readme, '### Server options') ]);
same('and of a user mapping', $options{UserMapping}, [ ($mapping_options // '') =~ /`(\w+)`/g ]);
same('so has the COMMENT of the foreign-data wrapper', $options{ForeignServer}, [ in_list($of_servers // '') ]);
same('and of a user mapping', $options{UserMapping}, [ in_list($of_mappings // '') ]);

my %default = $reference =~ /^\| `(cupsource\.\w+)` \| ([^|]*?) \|/mg;
my %told;
for my $row (grep {/^\| `cupsource\./} split /\n/, $readme)
{
	my ($names, undef, $default) = $row =~ /^\| (.*?) \| (.*?) \| ?(.*?) \|$/ or next;

	$told{$_} = $default =~ s/ \(off\)$/ ms/r for $names =~ /`(cupsource\.\w+)`/g;
}
same('README has every setting', [ keys %default ], [ keys %told ]);
is_deeply([ map {"$_ $told{$_}"} sort keys %told ], [ map {"$_ $default{$_}"} sort keys %default ], 'with its default');

my @codes = text('src/base/errors.h') =~ /MAKE_SQLSTATE\('P', 'A', '(\d)', '(\d)', '(\d)'\)/g;
same('README has every SQLSTATE of what is no answer', [ map {"PA$codes[3 * $_]$codes[3 * $_ + 1]$codes[3 * $_ + 2]"} 0 .. @codes / 3 - 1 ],
	[ grep {/^PA0/} first_column($readme, '\n## Errors') ]);
# Conditions by their names in C and in PL/pgSQL, as PostgreSQL has them.
my ($share) = `pg_config --sharedir`;
chomp $share;
my %sqlstate;
for (split /\n/, text("$share/errcodes.txt"))
{
	next unless /^([0-9A-Z]{5})\s+[ESW]\s+(\w+)(?:\s+(\w+))?/;
	$sqlstate{$2} = $1;
	$sqlstate{$3} = $1 if defined $3;
}
my $sources = join "\n", map { text($_) } files(qr{^src/(?!update/).*\.(?:c|h|sql)$});
my %raised = map { $_ => 1 } (map { $sqlstate{$_} // () }
	  $sources =~ /\b(ERRCODE_\w+)/g, $sources =~ /\bRAISE (?:EXCEPTION )?(\w+) USING/g, $sources =~ /ERRCODE = '(\w+)'/g),
  $sources =~ /ERRCODE = '([0-9A-Z]{5})'/g;
# Those of the server itself: cancelled, read-only, without connections, without a disk, without files.
$raised{$_} = 1 for qw(57014 25006 53300 53100 53000);

sub sqlstates
{
	my ($name, $text) = @_;

	return map {"$_ is raised nowhere"} grep { !$raised{$_} }
	  prose($text) =~ /\b((?:0A|2[12358]|39|4[02]|5[34578]|HV|XX)[0-9A-Z]{3})\b/g;
}

catches(\&sqlstates, 'an SQLSTATE that is not raised', 'README.md', 'It is 23502 then.');
passes(\&sqlstates, 'one that is', 'README.md', 'It is 22004 then, or `HV00J`.');
holds('SQLSTATEs are raised', \&sqlstates, @documents);
my ($states) = text('src/ops/columns.sql') =~ /'cs_orders', 'state', '(.*)'/;
same('README has every state', [ grep { $_ ne 'or' } ($states // '') =~ /\w+/g ],
	[ first_column($readme, '### Follow') ]);
my ($kinds) = text('src/ops/columns.sql') =~ /'cs_order_attempts', 'failure', '(.*)'/;
same('the column failure has every kind', [ (text('src/base/errors.c') =~ /failure_kinds\[\] =\n\{\n(.*?)\n\};/s)[0] =~ /\{"(\w+)"/g ],
	[ grep { $_ ne 'or' } ($kinds // '') =~ /\w+/g ]);
same('docs/operations.md has every check of cs_health()', [ text('src/ops/health.sql') =~ /SELECT \d+, '(\w+)',/g ],
	[ first_column($operations, 'One row per check') ]);
my @said = grep { $_ ne 'too many background workers' && $_ ne 'role … does not exist' } # PostgreSQL's own
  $operations =~ /"([A-Za-z][^"`|\n]+ [^"`|\n]+)"/g;
my @unsaid = grep { $sources !~ join '.*', map {quotemeta} split /…/, $_ } @said;
ok(@said > 3 && !@unsaid, 'what it quotes is said') or diag("@unsaid");
my ($wait_events) = $operations =~ /`pg_stat_activity\.wait_event` (.*?)\n\n/s;
same('and every wait event', [ map { text($_) =~ /"(Cupsource[A-Z]\w+)"/g } files(qr{^src/.*\.c$}) ],
	[ ($wait_events // '') =~ /`(\w+)`/g ]);
done_testing;
