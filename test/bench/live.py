"""A small live call on a warm session against the same GET by libcurl.

What is measured is what a user would write: two typed values of the row.  Both
ends are on one core, so that no wake-up of another is measured.

What we add to the GET is to be at most 40 us.  That was set where the GET takes
16 to 22 and the http extension adds 65; where the GET takes 60 to 110, the least
function adds as much by itself (below).
"""

GETS = 2000

ADDED_US = 40
ADDED_BY_HTTP_US = 65

OURS = "SELECT sku, unit_price INTO number, price FROM cs_products(server => '%s');"
# The same two values by the least function (least.c): what PostgreSQL, libcurl and
# json-c take by themselves, in a process that has more to do than one GET.
LEAST_FUNCTION = "SELECT sku, unit_price INTO number, price FROM least_products('%s/small/v2/products?limit=100');"
# With the connection kept.
HTTP_EXTENSION = """
    SELECT p ->> 'sku', (p #>> '{pricing,unit_price}')::numeric INTO number, price
      FROM (SELECT content::jsonb -> 'data' -> 0 AS p
              FROM http(('GET', '%s/small/v2/products?limit=100', ARRAY[http_header('Authorization', 'Bearer bench')],
                         NULL, NULL)::http_request)) AS answer;
    """


def microseconds(bench, statement, before=""):
    """The median of many; the session is one process, which is pinned as the yardstick is."""
    return float(bench.sql("""
        SELECT pg_backend_pid() AS pid \\gset
        \\setenv PID :pid
        \\! taskset -cp 0 $PID >/dev/null
        %s
        CREATE TEMP TABLE took (us double precision);
        DO $$
        DECLARE
          start timestamptz;
          number text;
          price numeric;
          took_us double precision[] := array_fill(0, ARRAY[%d]);
        BEGIN
          FOR i IN 1..%d LOOP
            start := clock_timestamp();
            %s
            took_us[i] := 1e6 * extract(epoch FROM clock_timestamp() - start);
            IF (number, price) IS DISTINCT FROM ('CS-CF-000000', 0.05) THEN
              RAISE 'not the product: %%, %%', number, price;
            END IF;
          END LOOP;
          INSERT INTO took SELECT unnest(took_us);
        END $$;
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FROM took;
        """ % (before, GETS, GETS, statement)))


def get(bench, url, *ca_bundle):
    """What libcurl alone takes for the same."""
    return bench.limits("get", url + "/small/v2/products?limit=100", str(GETS), *ca_bundle)


def against_get(bench, median_of, server, url, *ca_bundle):
    """Medians of a call and of the GET that it makes, taken in turn."""
    return median_of(bench.options.rounds, lambda: microseconds(bench, OURS % server),
                     lambda: get(bench, url, *ca_bundle))


def measure(bench, median_of):
    """Over http, over https, and reconnecting."""
    options = bench.options
    for what, server, url, ca_bundle in (
            ("a live call, http", "small", options.http, ()),
            ("a live call, https, system's CA bundle", "small_tls", options.https, (options.bundle,))):
        mine, least = against_get(bench, median_of, server, url, *ca_bundle)
        bench.row(what, mine, least, "us", ("least + %d us" % ADDED_US, least + ADDED_US))
    mine, least = against_get(bench, median_of, "closing_tls", options.closing, options.bundle)
    bench.row("a live call, reconnecting (handshake resumed)", mine, least, "us", ("2 x least", 2 * least))
    against_function(bench, median_of)


def against_function(bench, median_of):
    """What the limiter, the checks of the answer and all columns of the row take."""
    bench.sql("""
        CREATE OR REPLACE FUNCTION least_products(url cstring, OUT sku text, OUT unit_price numeric) RETURNS SETOF record
        LANGUAGE c STRICT AS '%s';
        """ % bench.options.function)
    mine, least = median_of(bench.options.rounds, lambda: microseconds(bench, OURS % "small"),
                            lambda: microseconds(bench, LEAST_FUNCTION % bench.options.http))
    bench.row("a live call, http", mine, least, "us", ("1.25 x least", 1.25 * least), "least function")


def against_http(bench, median_of):
    """What is added to the GET, here and by the http extension, which makes the bound one for any machine."""
    url = bench.options.http
    mine, peer, least = median_of(bench.options.rounds, lambda: microseconds(bench, OURS % "small"),
                                  lambda: microseconds(bench, HTTP_EXTENSION % url, "SET http.keepalive = on;"),
                                  lambda: get(bench, url))
    bench.row("a live call, beyond the %.0f us of the GET" % least, mine - least, peer - least, "us",
              ("http x %d / %d" % (ADDED_US, ADDED_BY_HTTP_US), (peer - least) * ADDED_US / ADDED_BY_HTTP_US), "http")
