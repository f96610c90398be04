"""The catalogue: what a refresh takes, and how long a search.

Memory is what the backend has for itself (RssAnon), shared buffers left out.
"""

import statistics
import subprocess
import time

MILLION = 1000000
SEARCHES = 2000
OTHERS = 39

EMPTY = """
    TRUNCATE cs_internal.products, cs_internal.price_history, cs_internal.list_pages,
      cs_internal.catalog_runs;
    """
QUIET = "SET client_min_messages = warning;"

# The store alone: the page's rows lie in a table already, in the order in which the
# partner sends them; a page is a statement.
STORE = """
    DROP TABLE IF EXISTS bench_source, bench_store;
    CREATE TABLE bench_source AS SELECT (row_number() OVER (ORDER BY p.ctid) - 1) / 100 AS page, p.*
      FROM cs_internal.products AS p WHERE server = '%s';
    CREATE INDEX ON bench_source (page);
    CREATE TABLE bench_store (LIKE cs_internal.products INCLUDING ALL);
    VACUUM ANALYZE bench_source;
    """
STORE_PAGES = """
    DO $$
    BEGIN
      FOR n IN (SELECT min(page) FROM bench_source)..(SELECT max(page) FROM bench_source) LOOP
        %s
      END LOOP;
    END $$;
    """
COMPARE = STORE_PAGES % """
    PERFORM 1 FROM bench_source AS s
       LEFT JOIN bench_store AS t ON t.server = s.server AND t.product_id = s.product_id
      WHERE s.page = n AND t.fingerprint IS DISTINCT FROM s.fingerprint;
    """


def call(server):
    """The statement that refreshes."""
    return "CALL cs_refresh_catalog('%s');" % server


def cold(bench, server):
    """Seconds of a first refresh."""
    bench.sql(EMPTY)
    return bench.timed(call(server), QUIET + "CHECKPOINT;")


def against_least(bench, median_of, server, products, rounds):
    """The whole catalogue, cold and unchanged, against fetch + parse + store."""
    url = bench.options.http + ("/v2/products" if server == "big" else "/%s/v2/products" % server)
    columns = bench.sql("""
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = 'cs_internal.products'::regclass AND attnum > 0 AND NOT attisdropped;""")
    insert = STORE_PAGES % ("INSERT INTO bench_store (%s) SELECT %s FROM bench_source WHERE page = n;"
                            % (columns, columns))
    cold(bench, server)
    bench.sql(STORE % server)

    def least(store, before):
        return lambda: (bench.limits("fetch", url) + bench.limits("parse", url)
                        + bench.timed(store, before))

    took, yardstick = median_of(rounds, lambda: cold(bench, server),
                                least(insert, "TRUNCATE bench_store; CHECKPOINT;"))
    name = "refresh of %d products, " % products
    bench.row(name + "cold", took, yardstick, "s", ("1.25 x least", 1.25 * yardstick))
    bench.sql("VACUUM ANALYZE cs_internal.products; VACUUM ANALYZE bench_store;")
    again, yardstick = median_of(rounds, lambda: bench.timed(call(server), QUIET), least(COMPARE, ""))
    bench.row(name + "unchanged", again, yardstick, "s", ("1.25 x least", 1.25 * yardstick))
    bench.sql("DROP TABLE bench_source, bench_store;")


def refresh(bench, median_of):
    """The catalogue of everyday size."""
    against_least(bench, median_of, "big", bench.options.products, bench.options.rounds)


def anonymous_kb(pid):
    """RssAnon of a process; 0: it has ended."""
    try:
        with open("/proc/%d/status" % pid, encoding="ascii") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("RssAnon")), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def growth(bench, server):
    """Megabytes by which a first refresh makes its backend grow at most, beyond a small call."""
    bench.sql(EMPTY)
    with subprocess.Popen(("psql", "-XqAt", "-v", "ON_ERROR_STOP=1"), stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as session:
        session.stdin.write("""
            SET client_min_messages = warning;
            SELECT sum(0) FROM cs_products(server => 'small');
            SELECT pg_backend_pid();
            """)
        session.stdin.flush()
        session.stdout.readline()
        pid = int(session.stdout.readline())
        before = most = anonymous_kb(pid)
        session.stdin.write(call(server))
        session.stdin.close()
        while session.poll() is None:
            most = max(most, anonymous_kb(pid))
            time.sleep(0.02)
    if session.returncode:
        raise SystemExit("the refresh of %s failed" % server)
    return max((most - before) / 1024, 0.01)


def unchanged(bench, server):
    """Megabytes of WAL, and rows written, of an unchanged refresh right after a checkpoint."""
    wal, rows = bench.sql("""
        SET client_min_messages = warning;
        CHECKPOINT;
        CREATE TEMP TABLE before AS SELECT relid, n_tup_ins + n_tup_upd + n_tup_del AS n FROM pg_stat_user_tables;
        SELECT pg_current_wal_lsn() AS before \\gset
        %s
        SELECT greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), :'before') / 1048576.0, 0.001) AS wal \\gset
        SELECT pg_stat_force_next_flush();
        SELECT :wal, sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del - b.n) FROM pg_stat_user_tables AS s
          JOIN before AS b USING (relid)
         WHERE s.relid IN ('cs_internal.products'::regclass, 'cs_internal.price_history'::regclass, 'cs_internal.list_pages'::regclass);
        """ % call(server)).split("|")
    return float(wal), int(rows)


def slowest(bench, search, products, role):
    """Median and 99th percentile of searches, in milliseconds, in a warm session of a role."""
    return [float(number) for number in bench.sql("""
        SET ROLE %s;
        CREATE TEMP TABLE took (number integer, ms double precision);
        DO $$
        DECLARE
          start timestamptz;
          n integer;
          found bigint;
        BEGIN
          FOR i IN -100..%d LOOP
            n := (i + 100)::bigint * 245489 %% %d;
            start := clock_timestamp();
            SELECT count(*) INTO found FROM cs_search(%s);
            INSERT INTO took VALUES (i, 1e3 * extract(epoch FROM clock_timestamp() - start));
            IF found = 0 THEN
              RAISE 'nothing found: %%', n;
            END IF;
          END LOOP;
        END $$;
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms), percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)
          FROM took WHERE number > 0;
        """ % (role, SEARCHES, products // 100 * 100, search)).split("|")]


# As pages.py makes them.
MATERIAL = "material => (ARRAY['Kraft Paper + PLA Lining', 'Bagasse', 'rPET', 'PLA', 'Recycled Paper'])[1 + n % 5]"
KINDS_OF_SEARCH = (
    ("the beginning of a SKU", "sku_prefix => 'CS-CF-' || lpad((n / 10)::text, 5, '0')"),
    ("a rare word", "'series ' || n"),
    ("a rare word and a frequent one", "n || ' coffee'"),
    ("words that all have", "'double wall coffee cup'"),
    ("words of one in 28", "(4 + n % 28) || 'oz cup'"),
    ("an attribute", MATERIAL),
    ("attributes of one in 15", MATERIAL + ", certification => (ARRAY['fsc', 'bpi compostable'])[1 + n % 2]"),
    ("words and an attribute", "(4 + n % 28) || 'oz cup', certification => 'fsc'"),
    ("a range of prices", "min_price => (5 + n * 7919::bigint % 99995) / 100.0, "
                          "max_price => (10 + n * 7919::bigint % 99995) / 100.0"),
    ("words, attribute and price", "'coffee cup', %s, max_price => (500 + n * 7919::bigint %% 99495) / 100.0" % MATERIAL),
)


def searches(bench, server, products):
    """Each kind of search, of an account by its name and for a role that sees one of many."""
    bench.sql("""
        DO $$
        BEGIN
          FOR i IN 1..%d LOOP
            EXECUTE format('CREATE SERVER other_%%s FOREIGN DATA WRAPPER cupsource OPTIONS (api ''cupsource-v2'')', i);
            INSERT INTO cs_internal.products (server, product_id, sku, name, material, unit_price, currency, fetched_at, price_since,
                   fingerprint)
            SELECT 'other_' || i, 'p' || n, 'OT-' || n, 'Coffee Cup, series ' || n, 'PLA', n, 'USD', now(), now(), n
              FROM generate_series(1, 1000) AS n;
          END LOOP;
        END $$;
        CREATE ROLE one_of_many;
        GRANT USAGE ON FOREIGN SERVER %s TO one_of_many;
        """ % (OTHERS, server))
    bench.sql("VACUUM ANALYZE cs_internal.products;")
    for what, search in KINDS_OF_SEARCH:
        for whose, role, named in (("", "NONE", ", server => '%s'" % server), (", one account", "one_of_many", "")):
            p50, p99 = slowest(bench, search + named, products, role)
            bench.row("p99 (p50 %.2f), %s%s" % (p50, what, whose), p99, 5, "ms", ("5 ms", 5))
    bench.sql("DROP OWNED BY one_of_many; DROP ROLE one_of_many;")
    bench.sql(" ".join("DROP SERVER other_%d;" % i for i in range(1, OTHERS + 1)))


def scale(bench, server, products, smaller, rounds):
    """What grows with the catalogue, and what does not.  'smaller' is another account and its size."""
    name, size = smaller
    # As many SKUs on both sides, half of the small ones before and half after: the machine
    # has slow minutes, which so weigh alike.
    half = max(products // size // 2, 1)

    def some():
        return statistics.mean(1e6 * cold(bench, name) / size for _ in range(half))

    turns = [(some(), 1e6 * cold(bench, server) / products, some()) for _ in range(rounds)]
    big = statistics.median(turn[1] for turn in turns)
    small = statistics.median((turn[0] + turn[2]) / 2 for turn in turns)
    bench.row("a SKU of %d, against one of %d" % (products, size), big, small, "us", ("1.1 x", 1.1 * small))
    bench.row("memory of a first refresh", growth(bench, server), 64, "MB", ("64 MB", 64))
    bench.sql("VACUUM ANALYZE cs_internal.products;")
    wal, rows = unchanged(bench, server)
    bench.row("WAL of an unchanged refresh, %d rows written" % rows, wal, 1, "MB", ("1 MB, no row", 1 if rows == 0 else 0))
    searches(bench, server, products)


def measure(bench):
    """All of it, against the promises."""
    products = bench.options.products
    scale(bench, "big", products, ("tenth", (products + 9) // 10), bench.options.rounds)


def million(bench, median_of):
    """The same with 1,000,000 products; rounds take minutes."""
    rounds = min(bench.options.rounds, 3)
    started = time.monotonic()
    against_least(bench, median_of, "million", MILLION, rounds)
    scale(bench, "million", MILLION, ("big", bench.options.products), rounds)
    print("1,000,000 products: %d rounds in %d s" % (rounds, time.monotonic() - started))
