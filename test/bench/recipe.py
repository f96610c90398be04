"""cupsource against what users would write today: the http extension and jsonb.

Both are in one server and read the same pages from the same partner, in turn.
The recipe is http.sql.  What a refresh takes is, cold, mostly what the indexes
of the table take; so the tables have the same ones: once those that cupsource
comes with and a user makes who searches as cs_search does, once the primary key
alone, on both sides.  The bound for a cold one is for the latter, where it was
set.

cupsource also keeps the history of prices, marks what is no longer offered, and
commits as it goes, so that it can go on where it stopped; the recipe does not.
"""

import os

import catalog
import live

# By SKU, by price, by words and attributes: what users make, and what they do without.
SEARCHES = """
    CREATE INDEX products_sku ON products (sku COLLATE "C");
    CREATE INDEX products_price ON products (unit_price);
    CREATE INDEX products_terms ON products USING gin (to_tsvector('simple', name || ' ' || material));
    CREATE INDEX products_certifications ON products USING gin (certifications);
    """
# The end of a refresh looks at the last one, so it has to be there.
NO_SEARCHES = """
    DROP INDEX products_sku, products_price, products_terms, products_certifications;
    DROP INDEX cs_internal.products_sku, cs_internal.products_price, cs_internal.products_terms;
    CREATE INDEX products_terms ON cs_internal.products USING gin (certifications) WHERE server = '';
    """
QUIET = "SET client_min_messages = warning;"


def install(bench):
    """The recipe, as it stands in its file."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "http.sql")
    bench.sql(QUIET + "DROP TABLE IF EXISTS products; DROP PROCEDURE IF EXISTS refresh_products;"
              "DROP TYPE IF EXISTS pricing; DROP EXTENSION IF EXISTS http CASCADE;")
    with open(path, encoding="utf-8") as file:
        bench.sql(file.read())


def cold(bench, call, empty):
    """Seconds of a first refresh."""
    bench.sql(empty)
    return bench.timed(call, QUIET + "CHECKPOINT;")


def written(bench, call):
    """Megabytes of WAL, whatever was written since the last checkpoint being there already."""
    return max(float(bench.sql("""
        %s
        SELECT pg_current_wal_insert_lsn() AS before \\gset
        %s
        SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), :'before') / 1048576.0;
        """ % (QUIET, call))), 0.001)


def same(bench):
    """Both have stored the same rows."""
    both = " UNION ALL ".join("""
        (SELECT %s EXCEPT ALL SELECT %s)""" % pair for pair in (
            ("* FROM ours", "* FROM theirs"), ("* FROM theirs", "* FROM ours")))
    columns = ("product_id, sku, name, material, certifications, unit_price, currency, min_order_qty, stock_status, "
               "lead_time_days")
    differing, rows = bench.sql("""
        WITH ours AS (SELECT %s FROM cs_products WHERE server = 'big'), theirs AS (SELECT %s FROM products)
        SELECT (SELECT count(*) FROM (%s) AS d) || ' ' || (SELECT count(*) FROM theirs);
        """ % (columns, columns, both)).split()
    if (int(differing), int(rows)) != (0, bench.options.products):
        raise SystemExit("not the same %s rows: %s differ" % (rows, differing))


def measure(bench, median_of):
    """A small call, and the same list, cold and unchanged."""
    install(bench)
    live.against_http(bench, median_of)
    ours = "CALL cs_refresh_catalog('big');"
    theirs = "CALL refresh_products('%s/v2', 'bench');" % bench.options.http
    for indexes, what, least_cold in ((SEARCHES, "with searches", None), (NO_SEARCHES, "primary key alone", 1.4)):
        def row(name, mine, peer, unit, least, what=what):
            text, bound = ("http / %g" % least, peer / least) if least else ("", mine)
            bench.row("%s, %s" % (name, what), mine, peer, unit, (text, bound), "http")

        bench.sql(indexes)
        mine, peer = median_of(bench.options.rounds, lambda: cold(bench, ours, catalog.EMPTY),
                               lambda: cold(bench, theirs, "TRUNCATE products;"))
        same(bench)
        row("%d products, cold" % bench.options.products, mine, peer, "s", least_cold)
        bench.sql("VACUUM ANALYZE cs_internal.products; VACUUM ANALYZE products;")
        mine, peer = median_of(bench.options.rounds, lambda: bench.timed(ours, QUIET),
                               lambda: bench.timed(theirs, QUIET))
        row("unchanged", mine, peer, "s", 2)
        mine, peer = median_of(bench.options.rounds, lambda: written(bench, ours), lambda: written(bench, theirs))
        row("WAL of unchanged", mine, peer, "MB", 100)
