"""A small live call on a warm session against the same GET by libcurl.

What is measured is what a user would write: two typed values of the row.  Both
ends are on one core, so that no wake-up of another is measured.
"""

GETS = 2000

# Where the bounds were set, the GET took 16 to 22 us, and the http extension 65 more.
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
        CREATE TEMP TABLE took (us double precision);
        %s
        DO $$
        DECLARE
          start timestamptz;
          number text;
          price numeric;
          took_us double precision;
        BEGIN
          FOR i IN 1..%d LOOP
            start := clock_timestamp();
            %s
            took_us := 1e6 * extract(epoch FROM clock_timestamp() - start);
            INSERT INTO took VALUES (took_us);
            IF (number, price) IS DISTINCT FROM ('CS-CF-000000', 0.05) THEN
              RAISE 'not the product: %%, %%', number, price;
            END IF;
          END LOOP;
        END $$;
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FROM took;
        """ % (before, GETS, statement)))


def get(bench, url, *ca_bundle):
    """What libcurl alone takes for the same."""
    return bench.limits("get", url + "/small/v2/products?limit=100", str(GETS), *ca_bundle)


def measure(bench, median_of):
    """Over http, over https, and reconnecting."""
    options = bench.options
    for what, server, url, ca_bundle, text, bound in (
            ("live call, http", "small", options.http, (), "least + %d us" % ADDED_US, lambda least: least + ADDED_US),
            ("live call, https, system's CA bundle", "small_tls", options.https, (options.bundle,),
             "least + %d us" % ADDED_US, lambda least: least + ADDED_US),
            ("the same, reconnecting (handshake resumed)", "closing_tls", options.closing, (options.bundle,),
             "2 x least", lambda least: 2 * least)):
        mine, least = median_of(options.rounds, lambda server=server: microseconds(bench, OURS % server),
                                lambda url=url, ca_bundle=ca_bundle: get(bench, url, *ca_bundle))
        bench.row(what, mine, least, "us", (text, bound(least)))
    against_function(bench, median_of)


def against_function(bench, median_of):
    """What the limiter, the checks of the answer and all columns of the row take."""
    bench.sql("""
        CREATE OR REPLACE FUNCTION least_products(url cstring, OUT sku text, OUT unit_price numeric) RETURNS SETOF record
        LANGUAGE c STRICT AS '%s';
        """ % bench.options.function)
    mine, least = median_of(bench.options.rounds, lambda: microseconds(bench, OURS % "small"),
                            lambda: microseconds(bench, LEAST_FUNCTION % bench.options.http))
    bench.row("live call, http", mine, least, "us", ("1.25 x least", 1.25 * least), "least function")


def against_http(bench, median_of):
    """What is added to the GET, here and by the http extension, which makes the bound one for any machine."""
    url = bench.options.http
    mine, peer, least = median_of(bench.options.rounds, lambda: microseconds(bench, OURS % "small"),
                                  lambda: microseconds(bench, HTTP_EXTENSION % url, "SET http.keepalive = on;"),
                                  lambda: get(bench, url))
    bench.row("live call, beyond the %.0f us of the GET" % least, mine - least, peer - least, "us",
              ("http x %d / %d" % (ADDED_US, ADDED_BY_HTTP_US), (peer - least) * ADDED_US / ADDED_BY_HTTP_US), "http")
