# The extension loads, says what it needs where it is not preloaded, and goes
# without a trace.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = cupsource_node('loaded');

like($node->safe_psql('postgres', 'SELECT cs_version()'),
	qr{^cupsource \d+\.\d+\.\d+, .*libcurl/[0-9.]+ .*OpenSSL/.*, json-c/[0-9.]+$}, 'the version names the libraries');

$node->safe_psql('postgres', 'CREATE DATABASE other');
is($node->safe_psql('other', q{
	CREATE SCHEMA partners;
	CREATE EXTENSION cupsource SCHEMA partners;
	SELECT count(*) FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
	 JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
	 WHERE e.extname = 'cupsource' AND d.deptype = 'e'
	   AND p.pronamespace NOT IN ('partners'::regnamespace, 'cs_internal'::regnamespace)}),
	0, 'everything is in the schema that was chosen, or internal');
is($node->safe_psql('other', q{
	DROP EXTENSION cupsource;
	SELECT count(*) FROM pg_namespace WHERE nspname = 'cs_internal'}),
	0, 'DROP EXTENSION leaves no schema');
is($node->safe_psql('other', q{
	CREATE SCHEMA "Our Partners";
	CREATE EXTENSION cupsource SCHEMA "Our Partners";
	CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
	CREATE SCHEMA hub;
	IMPORT FOREIGN SCHEMA api FROM SERVER hub INTO hub;
	SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class AS c
	 WHERE c.relkind = 'f' AND c.relnamespace = 'hub'::regnamespace}),
	'balance models order_events order_items orders placements print_methods products shipments variations',
	'a schema whose name needs quotes is as good');
for my $encoding (qw(EUC_JP LATIN1 SQL_ASCII))
{
	$node->safe_psql('postgres', "CREATE DATABASE \"$encoding\" ENCODING '$encoding' TEMPLATE template0");
	is(($node->psql($encoding, 'CREATE EXTENSION cupsource; SELECT count(*) FROM cs_products'))[1], 0, "it comes into a database in $encoding");
}

# Nothing of ours is open to everybody but what is meant to be.
is($node->safe_psql('postgres', q{
	SELECT string_agg(c.relname, ' ' ORDER BY c.relname) FROM pg_class c
	 WHERE c.relnamespace = 'cs_internal'::regnamespace AND c.relkind IN ('r', 'v', 'S')
	   AND has_table_privilege('public', c.oid, 'SELECT')}),
	'health_processes', 'no internal table is readable by everybody, but for what cs_health counts');
is($node->safe_psql('postgres', q{
	SELECT string_agg(p.proname, ' ' ORDER BY p.proname) FROM pg_proc p
	 WHERE p.pronamespace = 'cs_internal'::regnamespace
	   AND has_function_privilege('public', p.oid, 'EXECUTE')}),
	'inserted_id next_refresh origin stat_accounts stat_requests stat_workers', 'no internal function either, but for those that public views call');
is($node->safe_psql('postgres', q{SELECT has_schema_privilege('public', 'cs_internal', 'USAGE')}),
	'f', 'and those cannot be named');

my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->start;
my ($status, $out, $err) = $bare->psql('postgres', "\\set VERBOSITY verbose\nCREATE EXTENSION cupsource");
isnt($status, 0, 'without preloading CREATE EXTENSION fails');
like($err, qr/ERROR: +55000: cupsource must be loaded via "shared_preload_libraries"/, 'and says why');
like($err, qr/HINT: .*postgresql\.conf \(shared_preload_libraries = 'cupsource'\).*restart/,
	'and what to add, where, and what then');

done_testing();
