"""The catalogue at scale: what a refresh takes besides time, and how long a search.

Memory is what the backend has for itself (RssAnon), shared buffers left out.
"""

import subprocess

EMPTY = """
    TRUNCATE cs_internal.products, cs_internal.price_history, cs_internal.list_pages,
      cs_internal.catalog_runs;
    """
SEARCHES = 2000


def growth(bench):
    """Megabytes by which a first refresh makes its backend grow, beyond a small call."""
    bench.sql(EMPTY)
    done = subprocess.run(("psql", "-XqAt", "-v", "ON_ERROR_STOP=1"), input="""
        SET client_min_messages = warning;
        SELECT pg_backend_pid() AS pid \\gset
        \\setenv PID :pid
        SELECT count(*) FROM cs_products(server => 'small');
        \\! grep RssAnon /proc/$PID/status
        CALL cs_refresh_catalog('big');
        \\! grep RssAnon /proc/$PID/status
        """, capture_output=True, text=True, check=True)
    before, after = (int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("RssAnon"))
    return max((after - before) / 1024, 0.01)


def cold(bench, server):
    """Seconds of a first refresh."""
    bench.sql(EMPTY)
    return bench.timed("CALL cs_refresh_catalog('%s');" % server,
                       "SET client_min_messages = warning; CHECKPOINT;")


def unchanged_wal(bench):
    """Megabytes of WAL of an unchanged refresh, right after a checkpoint."""
    return float(bench.sql("""
        SET client_min_messages = warning;
        CHECKPOINT;
        SELECT pg_current_wal_lsn() AS before \\gset
        CALL cs_refresh_catalog('big');
        SELECT greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), :'before') / 1048576.0, 0.001);
        """))


def slowest(bench, search):
    """Milliseconds of the 99th percentile of searches, in a warm session."""
    return float(bench.sql("""
        CREATE TEMP TABLE took (ms double precision);
        DO $$
        DECLARE
          start timestamptz;
          n integer;
          found bigint;
        BEGIN
          FOR i IN 1..%d LOOP
            n := i::bigint * 7919 %% %d;
            start := clock_timestamp();
            SELECT count(*) INTO found FROM cs_search(%s, server => 'big');
            INSERT INTO took VALUES (1e3 * extract(epoch FROM clock_timestamp() - start));
            IF found = 0 THEN
              RAISE 'nothing found: %%', n;
            END IF;
          END LOOP;
        END $$;
        SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) FROM took;
        """ % (SEARCHES, bench.options.products // 100 * 100, search)))


def measure(bench, median_of):
    """All of it, against the promises."""
    products = bench.options.products
    tenth = max(products // 10, 1)
    big, small = median_of(bench.options.rounds, lambda: cold(bench, "big"), lambda: cold(bench, "tenth"))
    bench.row("a SKU of %d, against one of %d" % (products, tenth), 1e6 * big / products, 1e6 * small / tenth,
              "us", ("1.1 x", 1.1 * 1e6 * small / tenth))
    bench.row("memory of a first refresh", growth(bench), 64, "MB", ("64 MB", 64))
    bench.sql("VACUUM ANALYZE cs_internal.products;")
    bench.row("WAL of an unchanged refresh", unchanged_wal(bench), 1, "MB", ("1 MB", 1))
    for what, search in (("the beginning of a SKU", "sku_prefix => 'CS-CF-' || lpad((n / 10)::text, 5, '0')"),
                         ("words of the name", "'series ' || n"),
                         # As pages.py makes them.
                         ("a range of prices", "min_price => (5 + n * 7919::bigint % 99995) / 100.0, "
                                               "max_price => (10 + n * 7919::bigint % 99995) / 100.0")):
        slowest(bench, search)
        bench.row("p99 of a search by " + what, slowest(bench, search), 5, "ms", ("5 ms", 5))
