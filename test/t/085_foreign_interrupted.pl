#!/usr/bin/perl
#
# Scans of foreign tables that do not come to their end, or are gone back to:
# nothing is asked for that nobody wants, nothing leaks, and the session and
# its connections stay in order.
use strict;
use warnings;
use CupsourceTest;
use Test::More;

my $sandbox = CupsourceTest::Sandbox->start('--products' => 350, '--models' => 27, '--rate-limit' => 0);
my $node = cupsource_node('interrupted', conf => "cupsource.max_retries = 0\n");
create_accounts($node, $sandbox, options => { rate_limit => 0 });

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

sql("CREATE SCHEMA $_; IMPORT FOREIGN SCHEMA api FROM SERVER $_ INTO $_") for qw(hub shop_v1 shop_v2);

# What a session has left in memory of its scans and requests.
sql(q{CREATE VIEW leaked AS SELECT string_agg(DISTINCT name, ', ') AS names FROM pg_backend_memory_contexts
	WHERE name ~ '^cupsource (scan|answer|detail|finder|pager|page|call|attempt|rows$)'});

# Statements of one session, errors and all: what they put out, and the SQLSTATEs of what failed.
sub session
{
	my (@statements) = @_;
	my ($status, $out, $err) = $node->psql('postgres', join("\n", '\set VERBOSITY verbose', @statements), on_error_stop => 0);

	return join ' ', (split /\n/, $out), ($err =~ /(?:ERROR|FATAL): +([0-9A-Z]{5}):/g);
}
my $after = 'SELECT coalesce(names, $$nothing$$) FROM leaked; SELECT count(*) FROM shop_v2.products;';

# ---- Errors and cancels, at the second of four pages ----

my %faults = (
	'a refusal' => [ { action => 'status', status => 403 }, 'PA403' ],
	'a server error' => [ { action => 'status', status => 500 }, 'PA500' ],
	'an answer that is cut off' => [ { action => 'truncate' }, 'PA005' ],
	'an answer that is no JSON' => [ { action => 'html' }, 'PA006' ],
	'a partner that hangs' => [ { action => 'hang' }, '57014' ]);
for my $what (sort keys %faults)
{
	my ($fault, $sqlstate) = @{ $faults{$what} };
	my $timeout = $sqlstate eq '57014' ? '1s' : '0';

	$sandbox->faults({ %$fault, method => 'GET', nth => [2] });
	is(session("SET statement_timeout = '$timeout';", 'SELECT count(*) FROM shop_v2.products;', 'RESET statement_timeout;', $after),
		"nothing 350 $sqlstate", "$what in the middle of a scan");
	$sandbox->faults({ %$fault, method => 'GET', nth => [3] });
	is(session("SET statement_timeout = '$timeout';", 'SELECT count(material) FROM hub.models;', 'RESET statement_timeout;', $after),
		"nothing 350 $sqlstate", '    and of its details');
}
$sandbox->no_faults;
$sandbox->faults({ action => 'status', status => 500, method => 'GET', nth => [2] });
is(session(q{DO $$ BEGIN PERFORM count(*) FROM shop_v2.products; EXCEPTION WHEN OTHERS THEN NULL; END $$;}, $after), 'nothing 350',
	'an error that is caught');
$sandbox->faults({ action => 'status', status => 500, method => 'GET', nth => [2] });
is(session('BEGIN; DECLARE c CURSOR FOR SELECT 1 FROM shop_v2.products; SAVEPOINT s;', 'SELECT count(*) FROM (SELECT) AS x;',
		'FETCH 150 FROM c \g /dev/null', 'ROLLBACK TO s; SELECT count(*) FROM shop_v2.products;', 'COMMIT;', $after),
	'1 350 nothing 350 PA500', 'an error of a cursor in a savepoint');
$sandbox->no_faults;

# ---- Scans that are left ----

# How many requests the statements make.
sub requests
{
	my ($expected, $count, $what, @statements) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$sandbox->forget;
	is(session(@statements), $expected, $what);
	is($sandbox->count(method => 'GET'), $count, "    with $count requests");
	return;
}

my $leaked = 'SELECT coalesce(names, $$nothing$$) FROM leaked;';
requests('10 nothing', 1, 'a cursor that is closed early',
	'BEGIN; DECLARE c CURSOR FOR SELECT 1 FROM shop_v2.products; MOVE 10 FROM c;', 'SELECT 10;', "CLOSE c; $leaked COMMIT;");
requests('nothing', 2, 'or forgotten', 'BEGIN; DECLARE c CURSOR FOR SELECT 1 FROM shop_v2.products; MOVE 101 FROM c; COMMIT;', $leaked);
requests('nothing', 1, 'or rolled back', 'BEGIN; DECLARE c CURSOR FOR SELECT 1 FROM shop_v1.products; MOVE 20 FROM c; ROLLBACK;', $leaked);
requests('351 nothing', 18, 'a cursor that goes to the end and back',
	'BEGIN; DECLARE c SCROLL CURSOR FOR SELECT 1 FROM shop_v1.products; MOVE ALL FROM c; MOVE BACKWARD ALL FROM c;',
	"DO \$\$ DECLARE c refcursor := 'c'; n int := 1; BEGIN LOOP FETCH c INTO n; EXIT WHEN NOT FOUND; END LOOP; END \$\$;",
	'SELECT 351;', "COMMIT; $leaked");
requests('nothing 345', 4, 'WITH HOLD reads all at COMMIT',
	"BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT sku FROM shop_v2.products; MOVE 5 FROM c; COMMIT; $leaked",
	'CREATE TEMP TABLE t (n int);',
	'DO $$ DECLARE c refcursor := $c$c$c$; r record; BEGIN LOOP FETCH c INTO r; EXIT WHEN NOT FOUND; INSERT INTO t VALUES (1); END LOOP; END $$;',
	'SELECT count(*) FROM t;');
requests('nothing', 1, 'DISCARD ALL ends what is prepared or held',
	'PREPARE p AS SELECT count(*) FROM shop_v2.products;',
	'BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1 FROM hub.products; COMMIT; DISCARD ALL;', $leaked);
requests('nothing', 1, 'a loop that is left',
	'DO $$ DECLARE r record; BEGIN FOR r IN SELECT sku FROM shop_v2.products LOOP EXIT; END LOOP; END $$;', $leaked);
requests('5 nothing', 1, 'a function that reads a few rows',
	'CREATE FUNCTION pg_temp.few() RETURNS SETOF text LANGUAGE sql AS $$ SELECT sku FROM shop_v2.products $$;',
	'SELECT count(*) FROM (SELECT pg_temp.few() LIMIT 5) AS x;', $leaked);

# ---- Prepared statements ----

my ($model, $other) = split /\n/, sql(q{SELECT model_id FROM cs_models(max_rows => 2, server => 'hub')});
my $variations = sql("SELECT count(*) FROM cs_variations('$model', 'hub')");
requests(join(' ', ($variations) x 20, 'nothing'), 20, 'a generic plan asks for what its parameter says',
	'SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT count(*) FROM hub.variations WHERE product_id = $1;',
	("EXECUTE p('$model');") x 20, $leaked);
requests('1 1 0 0', 2, 'also by what it is compared with',
	'SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT count(*) FROM hub.models WHERE name ILIKE $1;',
	q{EXECUTE p('%bella%'); EXECUTE p('bella%'); EXECUTE p(NULL);}, q{SELECT 0;});
my $second = CupsourceTest::Sandbox->start('--products' => 42, '--rate-limit' => 0);
my $urls = sub { return "ALTER SERVER shop_v2 OPTIONS (SET base_url '@{[ $_[0]->url ]}/v2');" };
is(session('PREPARE p AS SELECT count(*) FROM shop_v2.products; EXECUTE p;', $urls->($second), 'EXECUTE p;', $urls->($sandbox), 'EXECUTE p;'),
	'350 42 350', 'a prepared statement follows ALTER SERVER');
is(session('BEGIN; DECLARE c CURSOR FOR SELECT 1 FROM shop_v2.products; MOVE 100 FROM c;', $urls->($second), 'MOVE ALL FROM c; COMMIT;',
		'SELECT count(*) FROM shop_v2.products;', $urls->($sandbox)),
	'42', 'an open cursor stays with the account that it began with');
is(session('PREPARE p AS SELECT count(*) FROM hub.models; EXECUTE p; ALTER FOREIGN TABLE hub.models OPTIONS (ADD search $$bella$$); EXECUTE p;',
		'ALTER FOREIGN TABLE hub.models OPTIONS (DROP search); EXECUTE p;'),
	'27 1 27', 'and the options of its table');

# ---- Whose rights ----

sql(q{CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA hub TO guest; GRANT SELECT ON ALL TABLES IN SCHEMA hub TO guest;
	CREATE VIEW shown AS SELECT code FROM hub.models; GRANT SELECT ON shown TO guest});
is(session('SET ROLE guest; SELECT count(*) FROM hub.models;'), '42501', 'a table alone does not allow to use the account');
is(session('SET ROLE guest; SELECT count(*) FROM shown;'), '27', 'a view has the rights of its owner');
sql('GRANT USAGE ON FOREIGN SERVER hub TO guest');
is(session('SET ROLE guest; SELECT count(*) FROM hub.models;'), '27', 'USAGE on the server does');
is(session(q{CREATE FUNCTION pg_temp.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$ BEGIN RAISE NOTICE 'told %', $1; RETURN true; END $$;
		CREATE VIEW careful WITH (security_barrier) AS SELECT code, name FROM hub.models WHERE material LIKE '%52%' AND code = 'none';
		SELECT count(*) FROM careful WHERE pg_temp.tell(name);}), '0', 'a security barrier');
my ($status, $out, $err) = $node->psql('postgres', q{CREATE FUNCTION tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001
	AS $$ BEGIN RAISE NOTICE 'told %', $1; RETURN true; END $$; SELECT count(*) FROM careful WHERE tell(name)});
unlike($err, qr/told/, '    lets nothing out');

# ---- Waiting for the budget ----

$sandbox->faults({ action => 'rate_limited', retry_after => 1, method => 'GET', nth => [2] });
my ($waited) = sql('SET cupsource.max_retries = 3; EXPLAIN (ANALYZE, COSTS OFF) SELECT sku FROM shop_v2.products') =~ /Limiter Wait: ([\d.]+) ms/;
cmp_ok($waited, '>=', 900, 'EXPLAIN ANALYZE says how long the limiter kept a scan waiting');
$sandbox->no_faults;

# ---- 100,000 rows ----

$_->stop for $sandbox, $second;
my $large = CupsourceTest::Sandbox->start('--products' => 100_000, '--rate-limit' => 0);
sql("ALTER SERVER shop_v2 OPTIONS (SET base_url '@{[ $large->url ]}/v2')");
($status, $out, $err) = $node->psql('postgres', <<'END');
SELECT pg_backend_pid() AS pid \gset
\setenv PID :pid
SET jit = off;
SELECT count(sku) FROM (SELECT sku FROM shop_v2.products LIMIT 100) AS x;
\! grep VmHWM /proc/$PID/status
SELECT count(p) FROM shop_v2.products AS p;
\! grep VmHWM /proc/$PID/status
SELECT sum((SELECT count(p) FROM shop_v2.products AS p WHERE length(name) > n)) FROM generate_series(1, 2) AS n;
\! grep VmHWM /proc/$PID/status
END
my ($small, $once, $twice) = $out =~ /VmHWM:\s+(\d+) kB/g;
like($out, qr/^100\n.*^100000\n.*^200000\n/ms, '100,000 rows') or diag($err);
if ($memory_is_ours)
{
	cmp_ok($once - $small, '<', 8 * 1024, 'grow the backend by less than 8 MB, as a page does');
	cmp_ok($twice - $small, '<', 24 * 1024, 'and scanned twice by work_mem more');
}
is($large->count(method => 'GET'), 1 + 1000 + 1000, 'the second time without asking again');

done_testing;
