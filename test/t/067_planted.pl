#!/usr/bin/perl
#
# CREATE EXTENSION where somebody was before: objects that lie in wait in the
# chosen schema become part of nothing, and names that are taken are errors.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = cupsource_node('planted', extension => 0);
my $fresh = q{
	SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend AS d
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'cupsource') ORDER BY 1};

$node->safe_psql('postgres', 'CREATE DATABASE clean');
$node->safe_psql('clean', 'CREATE EXTENSION cupsource');

# What a user who may create objects in the schema would plant: functions,
# operators and types that fit the script's calls better than the server's own.
$node->safe_psql('postgres', q{
	CREATE ROLE mallory;
	GRANT CREATE ON SCHEMA public TO mallory;
	SET ROLE mallory;
	CREATE TABLE public.caught (who text, what text);
	GRANT ALL ON public.caught TO PUBLIC;
	CREATE FUNCTION public.note(what text) RETURNS void LANGUAGE sql AS $$ INSERT INTO public.caught VALUES (current_user, what) $$;});
for my $function (
	'concat_ws(text, text, text, text)', 'concat(text, text)', 'concat(text)', 'format(text, text)', 'format(text, bigint)',
	'format(text, text, text)', 'now()', 'count(text)', 'quote_ident(text)', 'max(text)', 'coalesce_text(text)',
	'jsonb_array_elements(jsonb)', 'current_setting(text)', 'nextval(text)', 'pg_extension_config_dump(text, text)',
	'num_nonnulls(numeric, numeric, numeric, numeric)', 'round(numeric, integer)', 'date_trunc(text, interval)', 'to_jsonb(text)',
	'string_agg(text, text)', 'tstzrange(timestamptz, timestamptz)', 'pg_has_role(text, text)', 'has_server_privilege(oid, text)')
{
	$node->safe_psql('postgres', qq{SET ROLE mallory; CREATE FUNCTION public.$function RETURNS text LANGUAGE plpgsql AS \$\$
		BEGIN PERFORM public.note('$function'); RETURN '1'; END \$\$});
}
for my $operands ([ 'text', 'text' ], [ 'text', 'name' ], [ 'name', 'text' ], [ 'name', 'name' ], [ 'oid', 'oid' ], [ 'interval', 'integer' ],
	[ 'integer', 'interval' ], [ 'numeric', 'integer' ], [ 'text', 'unknown_text' ], [ 'timestamptz', 'interval' ])
{
	my ($left, $right) = @$operands;

	$node->safe_psql('postgres', q{SET ROLE mallory; CREATE DOMAIN public.unknown_text AS text}) if $right eq 'unknown_text';
	for my $operator ('=', '<>', '>', '||', '+', '-', '*')
	{
		my $name = "planted_${left}_${right}_" . ord($operator) . length $operator;

		$node->safe_psql('postgres', qq{SET ROLE mallory; CREATE FUNCTION public.$name($left, $right) RETURNS boolean LANGUAGE plpgsql AS \$\$
			BEGIN PERFORM public.note('$operator'); RETURN true; END \$\$;
			CREATE OPERATOR public.$operator (LEFTARG = $left, RIGHTARG = $right, FUNCTION = public.$name)});
	}
}
$node->safe_psql('postgres', q{SET ROLE mallory;
	CREATE DOMAIN public.text AS pg_catalog.text; CREATE DOMAIN public.jsonb AS pg_catalog.jsonb;
	CREATE DOMAIN public.bigint_ AS pg_catalog.int8; CREATE TABLE public.orders (id int); CREATE TABLE public.pg_foreign_server (oid int);
	CREATE TABLE public.products (id int); CREATE VIEW public.pg_locks AS SELECT 1 AS pid});

is(query_state($node, 'SET search_path = public, pg_catalog; CREATE EXTENSION cupsource'), '00000', 'it is created all the same');
is($node->safe_psql('postgres', $fresh), $node->safe_psql('clean', $fresh), 'with the objects that it has in a clean database');
is($node->safe_psql('postgres', 'SELECT count(*) FROM public.caught'), 0, 'none of what was planted ran meanwhile');
is($node->safe_psql('postgres', q{
	WITH planted AS (
	  SELECT 'pg_proc'::regclass AS classid, oid FROM pg_proc WHERE proowner = 'mallory'::regrole
	  UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator WHERE oprowner = 'mallory'::regrole
	  UNION ALL SELECT 'pg_type'::regclass, oid FROM pg_type WHERE typowner = 'mallory'::regrole
	  UNION ALL SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relowner = 'mallory'::regrole)
	SELECT count(*) FROM pg_depend AS d JOIN planted AS p ON p.classid = d.refclassid AND p.oid = d.refobjid
	 WHERE d.classid NOT IN ('pg_operator'::regclass, 'pg_type'::regclass)
	   AND NOT EXISTS (SELECT FROM planted AS q WHERE q.classid = d.classid AND q.oid = d.objid)
	   AND NOT (d.classid = 'pg_rewrite'::regclass AND (SELECT r.ev_class FROM pg_rewrite AS r WHERE r.oid = d.objid)
	            = 'public.pg_locks'::regclass)
	   AND d.classid <> 'pg_constraint'::regclass}), 0, 'and nothing of it depends on what was planted');

# A superuser looks at everything, and calls what needs no partner.
$node->safe_psql('postgres', q{SET search_path = public, pg_catalog;
	CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', base_url 'http://127.0.0.1:9/v1');
	CREATE USER MAPPING FOR PUBLIC SERVER shop OPTIONS (api_key 'unused');
	INSERT INTO cs_internal.queue_claim (origin) VALUES ('another cluster')});
my @views = split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relkind = 'v' AND relname LIKE 'cs\_%'});
cmp_ok(scalar @views, '>=', 15, 'all views');
for my $statement ((map {"SELECT count(*) FROM $_"} @views), 'SELECT * FROM cs_health()', 'SELECT cs_version()',
	q{SELECT state FROM cs_enqueue_order('[{"sku": "a", "quantity": 1000}]', '{"line1": "1 Way", "city": "P", "state": "OR",
	"postal_code": "97201"}', 'po-1', '{"currency": "USD"}')}, q{SELECT * FROM cs_check_order('[]', '{}', 'x')},
	q{SELECT cs_price_at('x', pg_catalog.now())}, q{SELECT cs_cancel_order('po-1')}, 'SELECT * FROM cs_search($$x$$::pg_catalog.text)')
{
	my $state = query_state($node, "SET search_path = public, pg_catalog; $statement");

	is($node->safe_psql('postgres', q{SELECT string_agg(what, ' ') FROM public.caught}), '', substr($statement, 0, 60) . " ($state)");
}

# What somebody grants by default on his own tables and functions is not on ours.
my $rights = q{
	WITH member AS (
	  SELECT d.classid, d.objid FROM pg_depend AS d
	   WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	     AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'cupsource')),
	object AS (
	  SELECT classid, objid, coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, c.relowner)) AS acl
	    FROM member JOIN pg_class AS c ON classid = 'pg_class'::regclass AND objid = c.oid
	   UNION ALL
	  SELECT classid, objid, coalesce(p.proacl, acldefault('f', p.proowner)) FROM member JOIN pg_proc AS p ON classid = 'pg_proc'::regclass AND objid = p.oid
	   UNION ALL
	  SELECT classid, objid, coalesce(t.typacl, acldefault('T', t.typowner)) FROM member JOIN pg_type AS t ON classid = 'pg_type'::regclass AND objid = t.oid
	   UNION ALL
	  SELECT classid, objid, coalesce(n.nspacl, acldefault('n', n.nspowner)) FROM member JOIN pg_namespace AS n
	      ON classid = 'pg_namespace'::regclass AND objid = n.oid)
	SELECT pg_describe_object(classid, objid, 0), grantee, privilege_type, is_grantable FROM object, aclexplode(acl) ORDER BY 1, 2, 3};
my $generous = join '; ', map { my $what = $_; map {"ALTER DEFAULT PRIVILEGES GRANT ALL ON $what TO $_"} qw(PUBLIC app) }
  qw(TABLES SEQUENCES FUNCTIONS TYPES SCHEMAS);
$node->safe_psql('postgres', 'CREATE DATABASE generous');
$node->safe_psql('generous', "CREATE ROLE app; $generous; CREATE EXTENSION cupsource");
is($node->safe_psql('generous', $rights), $node->safe_psql('clean', $rights), 'rights that are given by default do not reach ours');
cmp_ok(scalar(split /\n/, $node->safe_psql('clean', $rights)), '>', 300, 'of all objects');
my (undef, undef, $refusal) = $node->psql('generous', q{SET ROLE app; SELECT cs_prune('1 day')});
like($refusal, qr/ERROR:  permission denied for function cs_prune/, 'as one of them finds');

# Names that are taken.
for my $taken ('SCHEMA cs_internal', 'FUNCTION public.cs_version() RETURNS text LANGUAGE sql AS $$ SELECT 1::text $$', 'VIEW public.cs_orders AS SELECT 1 AS id',
	'FUNCTION public.cs_health(interval, interval) RETURNS text LANGUAGE sql AS $$ SELECT 1::text $$')
{
	my ($kind, $name) = $taken =~ /^(\w+) ([\w.]+(?:\([^)]*\))?)/;

	$node->safe_psql('postgres', "DROP EXTENSION IF EXISTS cupsource CASCADE; CREATE $taken; ALTER $kind $name OWNER TO mallory");
	isnt(query_state($node, 'CREATE EXTENSION cupsource'), '00000', "$kind $name is in the way");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_extension WHERE extname = 'cupsource'}), 0, 'and nothing is created');
	$node->safe_psql('postgres', "DROP $kind $name");
}

$node->stop;
done_testing();
