# Every SQL example of the documentation runs as it is printed.
#
# The ```sql blocks of a document run one after the other in one session of
# psql, each as its readers would type it; only the addresses and keys of
# partners become the sandbox's.  A comment above a block may say more:
#
#   <!-- sql: later -->               the block runs after the others
#   <!-- sql: before STATEMENTS -->   what must be true before, not worth showing
#   <!-- sql: as ROLE -->             who runs it
use strict;
use warnings;

use CupsourceTest;
use File::Basename qw(basename);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = "$ENV{TESTDIR}/src";
my @documents = ('README.md', (map {s{^\Q$root\E/}{}r} grep { !m{/reference\.md$} } sort glob("$root/docs/*.md")), 'test/sandbox/README.md');
my $sandbox = CupsourceTest::Sandbox->start;
my $node = cupsource_node('documents');

# A session of ours is no session of theirs: nobody reads so fast.
$sandbox->settings(rate_limit => 0);

# Text => where the partner is, and its keys, by API.
my %partner = (
	'cupsource-v1' => { path => '/v1', secrets => q{api_key 'cs_live_v1_demo'} },
	'cupsource-v2' => {
		path => '/v2',
		secrets => q{api_key 'cs_live_sk_8f7d6c5b4a3e2d1f', webhook_secret 'whsec_demo'},
	},
	'customhub-v1' => { path => '', secrets => q{api_key 'ek_live_demo', secret_key 'esk_live_demo'} },
);

# The blocks of a document, in the order in which they run.
sub blocks
{
	my ($document) = @_;
	my (@blocks, @later, %say);
	my ($block, $line);

	for my $text (split /^/, slurp_file("$root/$document"))
	{
		$line++;
		if (defined $block)
		{
			if ($text =~ /^```/)
			{
				push @{ $say{later} ? \@later : \@blocks }, { %say, %$block };
				undef $block;
				%say = ();
			}
			else
			{
				$block->{text} .= $text;
			}
		}
		elsif ($text =~ /^```sql$/)
		{
			$block = { line => $line, text => '' };
		}
		elsif ($text =~ /^<!-- sql: (later|before|as)(?: (.*))? -->$/)
		{
			$say{$1} = $2 // 1;
		}
	}
	return @blocks, @later;
}

# The sandbox in the place of the partners.
sub at_the_sandbox
{
	my ($text, $api) = @_;
	my $url = $sandbox->url;

	$text =~ s{http://127\.0\.0\.1:8080}{$url}g;
	$text =~ s{(CREATE SERVER (\w+) FOREIGN DATA WRAPPER cupsource\s+OPTIONS \(api '([^']+)')(?!, base_url)}
		{ $api->{$2} = $3; "$1, base_url '$url$partner{$3}{path}', rate_limit '0'" . ($3 eq 'customhub-v1' ? ", auth_url '$url'" : '') }ge;
	$text =~ s{(CREATE USER MAPPING FOR \w+ SERVER (\w+)\s+OPTIONS) \([^)]*\)}
		{ exists $api->{$2} ? "$1 ($partner{ $api->{$2} }{secrets})" : $& }ge;
	return $text;
}

for my $document (@documents)
{
	my $database = lc(($document =~ m{^test/(.*)/}) ? $1 : basename($document, '.md'));
	my $setup = "$root/test/documentation/$database.sql";
	my @blocks = blocks($document);
	my %api;
	my $script = "\\set ON_ERROR_STOP on\n\\pset pager off\n";

	next unless @blocks;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$script .= slurp_file("$root/test/documentation/every.sql");
	$script .= at_the_sandbox(slurp_file($setup), \%api) if -e $setup;
	for my $block (@blocks)
	{
		my $text = at_the_sandbox($block->{text}, \%api);

		$text = "$block->{before};\n$text" if $block->{before};
		$text = "SET ROLE $block->{as};\n$text;\nRESET ROLE;\n" if $block->{as};
		# A statement that is printed without its end is one statement.
		$script .= "\\echo line $block->{line}\n$text\n;\n";
	}
	my ($status, $out, $err) = $node->psql($database, $script);
	my ($last) = $out =~ /.*^line (\d+)$/ms;

	is($status, 0, "$document: every example runs")
	  or diag("the one that begins at line $last fails:\n$err");
	$node->safe_psql('postgres', "DROP DATABASE $database WITH (FORCE)") if $status == 0;
}

$node->stop;
$sandbox->stop;
done_testing();
