#!/usr/bin/perl
#
# Every function, operator, type and relation of pg_catalog has a lookalike in a
# schema that is searched first, by users, by a superuser, by the worker and
# while the extension is created.  None of them is ever used by what is ours.
use strict;
use warnings;
use CupsourceTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--models' => 2, '--rate-limit' => 0);
my $node = cupsource_node('lookalikes', extension => 0, conf => "cupsource.rollback_grace = '100ms'\n");
my $first = 'SET search_path = public, pg_catalog;';

# Each does what the original does, and says so in the log.  A relation has
# no row, and whatever is read there goes wrong.
$node->safe_psql('postgres', 'CREATE ROLE mallory; GRANT CREATE ON SCHEMA public TO mallory;');
$node->safe_psql('postgres', <<'END');
SET check_function_bodies = off;
SET client_min_messages = warning;
SET ROLE mallory;
CREATE FUNCTION public.lookalike(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql SET search_path = pg_catalog AS
$$ BEGIN RAISE LOG 'lookalike % for %', what, current_user; RETURN true; END $$;
DO $do$
DECLARE
	f record;
BEGIN
	FOR f IN
		SELECT p.proname, p.proretset, p.pronargs, format('%I.%I', 'pg_catalog', r.typname) AS result,
		       (SELECT coalesce(string_agg(format('pg_catalog.%I', t.typname), ', ' ORDER BY a.n), '')
		          FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, n) JOIN pg_type AS t ON t.oid = a.type) AS arguments,
		       (SELECT coalesce(string_agg('$' || a.n, ', ' ORDER BY a.n), '')
		          FROM unnest(p.proargtypes) WITH ORDINALITY AS a (type, n)) AS numbers
		  FROM pg_proc AS p JOIN pg_type AS r ON r.oid = p.prorettype
		 WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.proargmodes IS NULL AND r.typtype IN ('b', 'r')
		   AND NOT EXISTS (SELECT FROM unnest(p.proargtypes) AS a (type) JOIN pg_type AS t ON t.oid = a.type
		                    WHERE t.typtype = 'p' OR t.typnamespace <> 'pg_catalog'::regnamespace)
	LOOP
		EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s %s LANGUAGE plpgsql SET search_path = pg_catalog AS %L',
			f.proname, f.arguments, CASE WHEN f.proretset THEN 'SETOF' ELSE '' END, f.result,
			format('BEGIN PERFORM public.lookalike(%L); %s pg_catalog.%I(%s); END', 'function ' || f.proname,
				CASE WHEN f.proretset THEN 'RETURN QUERY SELECT' ELSE 'RETURN' END, f.proname, f.numbers));
	END LOOP;
	FOR f IN
		SELECT o.oid, o.oprname, o.oprleft, l.typname AS l, r.typname AS r, t.typname AS result
		  FROM pg_operator AS o LEFT JOIN pg_type AS l ON l.oid = o.oprleft
		  JOIN pg_type AS r ON r.oid = o.oprright JOIN pg_type AS t ON t.oid = o.oprresult
		 WHERE o.oprnamespace = 'pg_catalog'::regnamespace AND r.typtype IN ('b', 'r') AND t.typtype IN ('b', 'r')
		   AND coalesce(l.typtype, 'b') IN ('b', 'r')
	LOOP
		EXECUTE format('CREATE FUNCTION public.lookalike_%s(%s pg_catalog.%I) RETURNS pg_catalog.%I LANGUAGE plpgsql SET search_path = pg_catalog AS %L',
			f.oid, CASE WHEN f.oprleft <> 0 THEN format('pg_catalog.%I, ', f.l) ELSE '' END, f.r, f.result,
			format('BEGIN PERFORM public.lookalike(%L); RETURN %s OPERATOR(pg_catalog.%s) $%s; END', 'operator ' || f.oprname,
				CASE WHEN f.oprleft <> 0 THEN '$1' ELSE '' END, f.oprname, CASE WHEN f.oprleft <> 0 THEN 2 ELSE 1 END));
		EXECUTE format('CREATE OPERATOR public.%s (%s RIGHTARG = pg_catalog.%I, FUNCTION = public.lookalike_%s)',
			f.oprname, CASE WHEN f.oprleft <> 0 THEN format('LEFTARG = pg_catalog.%I, ', f.l) ELSE '' END, f.r, f.oid);
	END LOOP;
	FOR f IN
		SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')
	LOOP
		BEGIN
			EXECUTE format('CREATE TABLE public.%I (LIKE pg_catalog.%I)', f.relname, f.relname);
		EXCEPTION WHEN OTHERS THEN	-- a pseudo-type, a secret, a reserved name
			EXECUTE format('CREATE TABLE public.%I ()', f.relname);
		END;
	END LOOP;
	FOR f IN
		SELECT t.typname FROM pg_type AS t
		 WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b' AND t.typelem = 0
		   AND NOT EXISTS (SELECT FROM pg_type AS o WHERE o.typnamespace = 'public'::regnamespace AND o.typname = t.typname)
	LOOP
		EXECUTE format('CREATE DOMAIN public.%I AS pg_catalog.%I CHECK (public.lookalike(%L))', f.typname, f.typname, 'type ' || f.typname);
	END LOOP;
END $do$;
END
my ($functions, $operators, $types, $relations) = split /\|/, $node->safe_psql('postgres', q{SELECT
	(SELECT count(*) FROM pg_proc WHERE proowner = 'mallory'::regrole), (SELECT count(*) FROM pg_operator WHERE oprowner = 'mallory'::regrole),
	(SELECT count(*) FROM pg_type WHERE typowner = 'mallory'::regrole AND typtype = 'd'),
	(SELECT count(*) FROM pg_class WHERE relowner = 'mallory'::regrole AND relkind = 'r')});
note("$functions functions, $operators operators, $types types, $relations relations");
cmp_ok($functions, '>', 2000, 'there are many of them');
cmp_ok($operators, '>', 600, 'operators as well');

# What the test asks for itself is not to use them; what runs without a session of ours does.
$node->safe_psql('postgres', 'ALTER DATABASE postgres SET search_path = public, pg_catalog');
$ENV{PGOPTIONS} = '-c search_path=pg_catalog,public';

my $offset = 0;

sub lookalikes
{
	my $log = slurp_file($node->logfile, $offset);

	$offset = -s $node->logfile;
	return join "\n", $log =~ /(lookalike .*)/g;
}

lookalikes();
$node->safe_psql('postgres', "$first SELECT 'a' || 'b', pg_catalog.upper('x'), upper('x'::pg_catalog.text), 1::text");
is(lookalikes(), join("\n", map {"lookalike $_ for " . $node->safe_psql('postgres', 'SELECT current_user')} 'operator ||', 'function upper', 'type text'),
	'whoever is careless uses them');

is(query_state($node, "$first CREATE EXTENSION cupsource"), '00000', 'the extension is created');
is(lookalikes(), '', 'without one of them');
$node->safe_psql('postgres', 'CREATE ROLE buyer');
create_accounts($node, $sandbox, options => { rate_limit => 0 });
$node->safe_psql('postgres', q{GRANT USAGE ON FOREIGN SERVER shop_v1, shop_v2, hub TO buyer; GRANT CREATE ON SCHEMA public TO buyer;
	GRANT EXECUTE ON FUNCTION cs_receive_webhook(text, text, text) TO buyer});

# Statements without an operator or a function of their own, as a user and as a superuser.
my %form = (
	shop_v1 => q{'[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way", "city": "Portland", "state": "OR",
		"postal_code": "97201"}', 'ID', '{"currency": "USD"}', 'shop_v1'},
	hub => q{'[{"sku": "BC-3001-L-BLACK", "quantity": 1}]', '{"name": "Jane Doe", "line1": "123 Main St", "city": "Brooklyn", "state": "NY",
		"postal_code": "11201", "country": "US"}', 'ID', NULL, 'hub'});

sub statements
{
	my ($who) = @_;

	return (
		(map {"TABLE $_"} split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relkind = 'v' AND relname LIKE 'cs\_%'})),
		(map {"SELECT * FROM cs_products(server => '$_')"} qw(shop_v1 shop_v2)),
		"SELECT * FROM cs_product('prod_8x92k4m', 'shop_v1')", q{SELECT * FROM cs_models(server => 'hub')}, q{SELECT * FROM cs_balance('hub')},
		(map {"CALL cs_refresh_catalog('$_')"} qw(shop_v1 shop_v2 hub)),
		(map { my $server = $_; map {"SELECT state FROM $_(" . $form{$server} =~ s/ID/$who-$_/r . ')'} qw(cs_create_order cs_enqueue_order) } sort keys %form),
		"SELECT * FROM cs_check_order($form{hub})", "SELECT * FROM cs_quote_order(" . $form{hub} =~ s/'ID', //r . ')',
		"INSERT INTO cs_orders (lines, ship_to, external_id, options, server) VALUES (" . $form{hub} =~ s/ID/$who-insert/r . ')',
		"SELECT state FROM cs_order('$who-cs_create_order', 'hub')", "SELECT cs_order_status('$who-cs_create_order', '0', 'hub')",
		q{SELECT * FROM cs_orders(server => 'hub')}, "SELECT * FROM cs_order_tracking('$who-cs_create_order', 'shop_v1')",
		"SELECT state FROM cs_cancel_order('$who-cs_create_order', 'hub')", q{SELECT cs_item_cost('BC-3001-L-BLACK', server => 'hub')},
		q{SELECT * FROM cs_search('cup')}, q{SELECT * FROM cs_offers('cup')}, q{SELECT cs_price_at('CS-8OZ-ECO', '2026-01-01', 'shop_v1')},
		q{SELECT * FROM cs_price_changes('2026-01-01')}, 'SELECT * FROM cs_health()', 'SELECT * FROM cs_error_codes()',
		q{SELECT cs_receive_webhook('{}', 'sha256=00', 'shop_v2')}, q{SELECT cs_verify_signature('{}', 'sha256=00', 'shop_v2')},
		"CREATE SCHEMA ${who}_live; IMPORT FOREIGN SCHEMA api FROM SERVER hub INTO ${who}_live; TABLE ${who}_live.models; "
		  . "SELECT FROM ${who}_live.orders LIMIT 1",
		"CREATE TABLE public.${who}_erp (po pg_catalog.text); CREATE TRIGGER submit AFTER INSERT ON public.${who}_erp FOR EACH ROW EXECUTE FUNCTION "
		  . q{cs_submit_order('server=shop_v1', 'external_id=po', 'lines=''[{"sku": "CS-8OZ-ECO", "quantity": 5000}]''', 'currency=''USD''',
		'ship_to=''{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}''');}
		  . "INSERT INTO public.${who}_erp VALUES ('$who-trigger')");
}

$node->safe_psql('postgres', 'GRANT CREATE ON DATABASE postgres TO buyer');
for my $who (qw(buyer chief))
{
	for my $statement (statements($who))
	{
		my $state = query_state($node, ($who eq 'buyer' ? 'SET ROLE buyer; ' : '') . "$first $statement");
		my ($what) = $statement =~ /^(\S+ [^(]*)/;

		like($state, qr/^(?:00000|PA0?4..|28000)$/, "$who: $what");
		is(lookalikes(), '', 'uses none of them') or diag($statement);
	}
	wait_for_state($node, "$who-$_", 'placed') for qw(insert trigger);
	wait_for($node, qq{SELECT count(*) FROM cs_orders WHERE external_id LIKE '$who-cs_enqueue%' AND state = 'placed'}, 2);
}
for my $statement ('SELECT cs_stat_reset()', q{SELECT cs_prune('10 years')}, q{SELECT cs_resume('hub')}, 'SELECT cs_adopt_queue()',
	q{ALTER SERVER hub RENAME TO hub2}, q{ALTER SERVER hub2 RENAME TO hub}, q{SELECT state FROM cs_resolve_order('chief-insert', 'failed', server => 'hub')},
	q{SELECT state FROM cs_resubmit_order('chief-insert', 'chief-again', 'hub')}, 'DROP SERVER shop_v2 CASCADE')
{
	like(query_state($node, "$first $statement"), qr/^(?:00000|PA012)$/, $statement);
	is(lookalikes(), '', 'uses none of them');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM cs_orders WHERE state = 'placed' AND external_id LIKE 'chief-%'}), 5, 'and what is ours does what it should');

$sandbox->stop;
$node->stop;
done_testing();
