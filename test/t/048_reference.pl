# docs/reference.md is what "make docs" would write now.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = cupsource_node('reference');
my ($status, $written, $errors) = $node->psql('postgres', undef, extra_params => [ '-f', 'scripts/reference.sql' ]);

is($errors, '', 'the reference can be written');
is($status, 0, 'to its end');
cmp_ok(scalar(() = $written =~ /^### /mg), '>=', 30, 'it has an entry for every name');

# Bytes, as they stand in the file; psql's last line end is cut off.
my @kept = split /\n/, slurp_file('docs/reference.md');
my @now = split /\n/, $written;
my @differences;

while ((@kept || @now) && @differences < 10)
{
	my ($kept, $now) = (shift @kept // '', shift @now // '');

	push @differences, "  kept: $kept\n  now:  $now" if $kept ne $now;
}
ok(!@differences, 'docs/reference.md is current') or diag(join("\n", 'run "make docs":', @differences));

is($node->safe_psql('postgres', <<'SQL'), '', 'every public object has a COMMENT');
SELECT pg_describe_object(d.classid, d.objid, 0)
  FROM pg_depend AS d JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'cupsource'
 WHERE d.deptype = 'e' AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass)
   AND coalesce(obj_description(d.objid, d.classid::regclass::text::name), '') = ''
SQL
is($node->safe_psql('postgres', <<'SQL'), '', 'and every column of a public view, or of the rows that a function returns');
SELECT pg_describe_object('pg_class'::regclass, c.oid, a.attnum)
  FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
 WHERE (c.relkind = 'v' AND c.relnamespace = 'public'::regnamespace AND c.relname LIKE 'cs\_%'
        OR c.oid IN (SELECT t.typrelid FROM pg_type AS t JOIN pg_proc AS p ON p.prorettype = t.oid
                      WHERE p.pronamespace = 'public'::regnamespace AND p.proname LIKE 'cs\_%' AND t.typtype = 'c'))
   AND col_description(c.oid, a.attnum) IS NULL
SQL
$node->stop;
done_testing;
