#!/usr/bin/perl
#
# ALTER EXTENSION cupsource UPDATE from each earlier version: afterwards the
# catalogues say what they say of a fresh installation, and what was stored,
# waiting orders too, is there and goes on.
use strict;
use warnings;
use CupsourceTest;
use File::Copy qw(copy);
use PostgreSQL::Test::Utils;
use Test::More;

chomp(my $directory = `pg_config --sharedir`);
my @old = map { m{/cupsource--([0-9.]+)\.sql$} ? $1 : () } glob 'src/update/cupsource--*.sql';
my @copies = map {"$directory/extension/cupsource--$_.sql"} @old;
copy("src/update/cupsource--$old[$_].sql", $copies[$_]) or die for 0 .. $#old;

END
{
	unlink @copies if @copies;
}

# All that makes the extension, as text; columns by name, because added ones are the last.
my $describe = q{
	WITH member AS (
	  SELECT d.classid, d.objid FROM pg_depend AS d
	   WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	     AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'cupsource')),
	relation AS (SELECT c.* FROM pg_class AS c JOIN member AS m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid),
	described (what) AS (
	  SELECT format('%s: %s', pg_describe_object(m.classid, m.objid, 0), obj_description(m.objid, m.classid::regclass::text)) FROM member AS m
	  UNION ALL
	  SELECT format('function %s: %s %s %s', p.oid::regprocedure, p.proacl, array_to_string(p.proconfig, ','), pg_get_functiondef(p.oid))
	    FROM pg_proc AS p JOIN member AS m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
	  UNION ALL
	  SELECT format('relation %s: %s %s %s %s %s %s', c.oid::regclass, c.relkind, c.relpersistence, c.relreplident, c.reloptions, c.relacl,
	                CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END)
	    FROM relation AS c
	  UNION ALL
	  SELECT format('column %s.%s: %s %s %s %s %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod),
	                a.attnotnull, a.attcollation::regcollation, pg_get_expr(f.adbin, f.adrelid), col_description(a.attrelid, a.attnum))
	    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	    LEFT JOIN pg_attrdef AS f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
	   WHERE c.oid IN (SELECT oid FROM relation UNION SELECT t.typrelid FROM pg_type AS t JOIN member AS m
	                     ON m.classid = 'pg_type'::regclass AND m.objid = t.oid WHERE t.typtype = 'c')
	  UNION ALL
	  SELECT format('index: %s', pg_get_indexdef(i.indexrelid)) FROM pg_index AS i JOIN relation AS c ON c.oid = i.indrelid
	  UNION ALL
	  SELECT format('constraint %s of %s: %s', k.conname, k.conrelid::regclass, pg_get_constraintdef(k.oid))
	    FROM pg_constraint AS k JOIN relation AS c ON c.oid = k.conrelid WHERE k.contype <> 'n'
	  UNION ALL
	  SELECT format('trigger: %s', pg_get_triggerdef(g.oid)) FROM pg_trigger AS g JOIN relation AS c ON c.oid = g.tgrelid
	  UNION ALL
	  SELECT format('wrapper %s: %s %s %s', w.fdwname, w.fdwhandler::regproc, w.fdwvalidator::regproc, w.fdwacl)
	    FROM pg_foreign_data_wrapper AS w WHERE w.fdwname = 'cupsource'
	  UNION ALL
	  SELECT format('dumped: %s %s', u.id::regclass, u.condition)
	    FROM pg_extension AS e, unnest(e.extconfig, e.extcondition) AS u (id, condition) WHERE e.extname = 'cupsource'
	  UNION ALL
	  SELECT format('version %s', e.extversion) FROM pg_extension AS e WHERE e.extname = 'cupsource')
	SELECT what FROM described ORDER BY what COLLATE "C"};

my $sandbox = CupsourceTest::Sandbox->start('--products' => 5, '--rate-limit' => 0);
my $node = cupsource_node('upgrade');
my $fresh = $node->safe_psql('postgres', $describe);
cmp_ok(scalar(split /\n/, $fresh), '>', 500, 'a fresh installation is described');
cmp_ok(scalar @old, '>=', 1, 'there is an earlier version');

for my $version (@old)
{
	my $database = 'from_' . $version =~ s/\./_/gr;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, "CREATE EXTENSION cupsource VERSION '$version'");
	create_accounts($node, $sandbox, database => $database, only => ['shop_v1'], options => { rate_limit => 0 });

	# What people have there: a queued order, prices and their history, rights of their own, a trigger.
	$node->safe_psql($database, q{
		INSERT INTO cs_internal.orders (server, external_id, lines, ship_to, options, created_by, origin)
		VALUES ('shop_v1', 'waits', '[{"sku": "CS-8OZ-ECO", "quantity": 5000}]', '{"line1": "123 Commerce Way", "city": "Portland",
		  "state": "OR", "postal_code": "97201"}', '{"currency": "USD"}', current_user, cs_internal.origin());
		INSERT INTO cs_internal.queue_claim (origin) VALUES (cs_internal.origin());
		INSERT INTO cs_internal.order_events (order_id, at, source, type, by) SELECT id, now(), 'local', 'queued', 'me' FROM cs_internal.orders;
		INSERT INTO cs_internal.products (server, product_id, sku, unit_price, fetched_at, price_since, fingerprint)
		VALUES ('shop_v1', 'p', 's', 3, now(), '2026-03-01', 1);
		INSERT INTO cs_internal.price_history (server, item_id, valid_from, unit_price)
		VALUES ('shop_v1', 'p', '2026-01-01', 1), ('shop_v1', 'p', '2026-02-01', 2);
		REVOKE INSERT ON cs_orders FROM PUBLIC;
		CREATE TABLE erp (po text);
		CREATE TRIGGER submit AFTER INSERT ON erp FOR EACH ROW EXECUTE FUNCTION cs_submit_order('server=shop_v1', 'external_id=po',
		  'lines=''[{"sku": "CS-8OZ-ECO", "quantity": 5000}]''', 'currency=''USD''',
		  'ship_to=''{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201"}''')});

	# That version's library named its database without the schema.
	$node->safe_psql($database, "UPDATE cs_internal.$_ SET origin = regexp_replace(origin, '^([0-9]+/[0-9]+)/[0-9]+', '\\1')") for qw(orders queue_claim);

	# The package is new, and the server restarted with it; until the update orders wait.
	my $log = -s $node->logfile;
	$node->restart;
	my $advice = qr/HINT:  The extension is at version \Q$version\E in this database.*use ALTER EXTENSION cupsource UPDATE in each database/;
	$node->wait_for_log(qr/ERROR:  function cs_internal\.\w+\(.*\) does not exist[^\n]*\n[^\n]*$advice/, $log);
	like(($node->psql($database, q{CALL cs_refresh_catalog('shop_v1')}))[2], $advice, 'who meets the older version is told what to do');
	my (undef, undef, $err) = $node->psql($database, 'ALTER EXTENSION cupsource UPDATE');
	is($err =~ /ERROR/ ? $err : '', '', "$version is updated");
	is($node->safe_psql($database, 'SELECT has_table_privilege($$public$$, $$cs_orders$$, $$INSERT$$)'), 'f', 'with the rights that a DBA has set');
	$node->safe_psql($database, 'GRANT INSERT ON cs_orders TO PUBLIC');

	my %here = map { $_ => 1 } split /\n/, $node->safe_psql($database, $describe);
	my %there = map { $_ => 1 } split /\n/, $fresh;
	is(join("\n", grep { !$there{$_} } sort keys %here), '', "$version: nothing is there that is not in a fresh one");
	is(join("\n", grep { !$here{$_} } sort keys %there), '', "$version: and nothing is missing");

	is($node->safe_psql($database, q{SELECT string_agg(unit_price || ' ' || valid, ', ' ORDER BY valid) FROM cs_price_history}),
		'1 ["2026-01-01 00:00:00+00","2026-02-01 00:00:00+00"), 2 ["2026-02-01 00:00:00+00","2026-03-01 00:00:00+00"), 3 ["2026-03-01 00:00:00+00",)',
		'prices have their history');
	$node->poll_query_until($database, q{SELECT count(*) = 1 FROM cs_orders WHERE state = 'placed'}) or die 'the order that waited is not sent';
	$node->safe_psql($database, q{INSERT INTO erp VALUES ('new')});
	$node->poll_query_until($database, q{SELECT count(*) = 2 FROM cs_orders WHERE state = 'placed'}) or die 'the orders are not sent';
	is($node->safe_psql($database, q{SELECT string_agg(external_id, ' ' ORDER BY id) FROM cs_orders}), 'waits new', 'the order that waited goes out, and a new one');
	$node->safe_psql($database, q{CALL cs_refresh_catalog('shop_v1')});
	is($node->safe_psql($database, q{SELECT count(*) FROM cs_products WHERE discontinued_at IS NULL AND product_id <> 'p'}), 5, 'and the catalogue is refreshed');
}

$sandbox->stop;
$node->stop;
done_testing();
