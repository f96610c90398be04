"""Orders in make bench: how fast the worker sends them, and what it adds.

The partner is partner.c: it answers every order, as late as its URL says, and
tells when the request came in.  Nothing here is pinned to a processor: the
worker, the sessions and the partner are several processes, as they are in life.
"""

import contextlib
import statistics
import subprocess

ORDERS = 2000
LATENCY_MS = 50
CALLS = 200
FLUSHES = 100

# An order waits for the disk twice: the intent is committed before the request,
# the outcome before the caller has it.  The bounds are for a disk that takes no
# longer than this to flush; what a slower one takes more is added to them.
FLUSH_US = 200
COMMITS = 50
STARTS = 10

ORDER = """'[{"product_id": "prod_1", "quantity": 500}]',
    '{"line1": "1 Way", "city": "Portland", "state": "OR", "postal_code": "97201", "country": "US"}'"""

# Nobody may see the table in one long snapshot: old versions would pile up.
SETTLED = """
    DO $$
    BEGIN
      WHILE EXISTS (SELECT FROM cs_internal.orders AS o JOIN pg_foreign_server AS s ON s.srvname::text = o.server
                     WHERE o.state IN ('queued', 'sending') AND o.next_attempt_at IS NOT NULL
                       AND o.external_id NOT LIKE 'never-answer%') LOOP
        COMMIT;
        PERFORM pg_sleep(0.02);
      END LOOP;
      IF EXISTS (SELECT FROM cs_internal.orders
                  WHERE state <> 'placed' AND external_id NOT LIKE 'never-answer%') THEN
        RAISE 'an order was not placed';
      END IF;
    END $$;
    """

EMPTY = """
    TRUNCATE cs_internal.orders, cs_internal.order_events, cs_internal.order_attempts;
    CHECKPOINT;
    """

# The worker's transactions, in its order, without a worker and without a partner.
BOOKKEEPING = """
    DO $$
    DECLARE
      o record;
    BEGIN
      FOR i IN 1..%d LOOP
        SELECT * INTO STRICT o FROM cs_internal.orders_claim('at_once', 1, '{}');
        PERFORM cs_internal.orders_sending(ARRAY[o.id], ARRAY[convert_to(o.lines::text || o.ship_to::text, 'UTF8')]);
        COMMIT;
        PERFORM cs_internal.order_placed(o.id, 'placed',
          jsonb_populate_record(NULL::cs_internal.remote_order,
            jsonb_build_object('remote_id', 'P-' || i, 'order_number', 'PO-' || i, 'remote_status', 'submitted')),
          jsonb_build_object('id', 'P-' || i), '1 hour', clock_timestamp(), 1, 201);
        COMMIT;
      END LOOP;
    END $$;
    """


@contextlib.contextmanager
def partner(program):
    """The partner's port, while it runs."""
    with subprocess.Popen((program,), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield int(process.stdout.readline())
        process.stdin.close()


def accounts(bench, port):
    """The extension anew, and one account per kind of partner."""
    bench.sql("DROP EXTENSION IF EXISTS cupsource CASCADE; CREATE EXTENSION cupsource;")
    for name, latency, concurrency in (("at_once", 0, 8), ("late_8", LATENCY_MS, 8), ("late_64", LATENCY_MS, 64)):
        bench.sql("""
            CREATE SERVER {0} FOREIGN DATA WRAPPER cupsource
              OPTIONS (api 'cupsource-v2', base_url 'http://127.0.0.1:{1}/{2}/v2', rate_limit '0',
                       concurrency '{3}', poll_interval '1h');
            CREATE USER MAPPING FOR PUBLIC SERVER {0} OPTIONS (api_key 'bench');
            """.format(name, port, latency, concurrency))


def queue(server, count, first="1"):
    """Statements that queue orders; the first one's external id can be told."""
    return """
        SELECT count(cs_enqueue_order({0}, CASE i WHEN 1 THEN '{3}' ELSE i::text END, server => '{1}'))
          FROM generate_series(1, {2}) AS i;
        """.format(ORDER, server, count, first)


def drain(bench, server, count=ORDERS, first="1"):
    """Seconds from COMMIT until the last answer is stored."""
    return float(bench.sql(EMPTY + "BEGIN;" + queue(server, count, first) + """
        SELECT clock_timestamp() AS start \\gset
        COMMIT;
        """ + SETTLED + """
        SELECT extract(epoch FROM max(placed_at) - :'start'::timestamptz) FROM cs_internal.orders;
        """))


def bookkeeping(bench):
    """Seconds for the transactions alone, one order at a time."""
    bench.sql(EMPTY + """
        INSERT INTO cs_internal.queue_claim (origin) VALUES ('nobody');
        """ + queue("at_once", ORDERS))
    took = bench.timed(BOOKKEEPING % ORDERS)
    bench.sql(EMPTY + "DELETE FROM cs_internal.queue_claim;")
    return took


def arrivals(bench, count, before):
    """Milliseconds from COMMIT to the request at the partner, one order at a time."""
    script = EMPTY + "CREATE TEMP TABLE asked (external_id text, at timestamptz);"
    for i in range(count):
        script += before + """
            BEGIN;
            SELECT cs_enqueue_order({0}, '{1}', server => 'at_once');
            SELECT clock_timestamp() AS start \\gset
            COMMIT;
            INSERT INTO asked VALUES ('{1}', :'start');
            """.format(ORDER, i)
    lines = bench.sql(script + SETTLED + """
        SELECT string_agg((coalesce(o.raw->'data', o.raw)->>'received_us')::numeric / 1000
                          - extract(epoch FROM a.at) * 1000 || '', ' ')
          FROM cs_internal.orders AS o JOIN asked AS a USING (external_id);
        """)
    taken = [float(word) for word in lines.split()]
    assert len(taken) == count
    return taken


def calls(bench):
    """Median microseconds of an order by the call path, each in its own transaction."""
    return float(bench.sql(EMPTY + """
        CREATE TEMP TABLE took (us double precision);
        DO $$
        DECLARE
          start timestamptz;
        BEGIN
          FOR i IN 1..%d LOOP
            start := clock_timestamp();
            PERFORM cs_create_order(%s, i::text, server => 'at_once');
            INSERT INTO took VALUES (1e6 * extract(epoch FROM clock_timestamp() - start));
            COMMIT;
          END LOOP;
        END $$;
        SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY us) FROM took;
        """ % (CALLS, ORDER)))


# A worker that runs: its first order of the session does not count.
RUNNING = "SELECT pg_sleep(0.02 + 0.08 * random());"
# No worker runs.
GONE = """
    DO $$
    BEGIN
      WHILE EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'cupsource worker') LOOP
        PERFORM pg_sleep(0.01);
        PERFORM pg_stat_clear_snapshot();
      END LOOP;
    END $$;
    """


def slow_flushes(bench):
    """Microseconds that two flushes take more than on a quick disk."""
    return 2 * max(0, bench.limits("flush", bench.options.partner + ".flush", str(FLUSHES), pinned=False) - FLUSH_US)


def from_commit(bench, exchange_ms):
    """From COMMIT to the request, with a worker and without."""
    drain(bench, "at_once", 1)
    before = slow_flushes(bench)
    taken = arrivals(bench, COMMITS, RUNNING)
    bound = 5 + (before + slow_flushes(bench)) / 2000
    bench.row("COMMIT to request, worker running, median", statistics.median(taken), exchange_ms, "ms",
              ("%.1f ms" % bound, bound))
    bench.row("COMMIT to request, worker running, maximum", max(taken), exchange_ms, "ms", ("50 ms", 50))
    bench.sql("ALTER SYSTEM SET cupsource.worker_linger = 0;")
    bench.sql("SELECT pg_reload_conf();")
    taken = arrivals(bench, STARTS, GONE)
    bench.sql("ALTER SYSTEM RESET cupsource.worker_linger;")
    bench.sql("SELECT pg_reload_conf();")
    bench.row("COMMIT to request, no worker running, median", statistics.median(taken), exchange_ms, "ms",
              ("50 ms", 50))
    bench.row("COMMIT to request, no worker running, maximum", max(taken), exchange_ms, "ms", ("50 ms", 50))


def turns(count, transfers):
    """Seconds that so many orders take on so many transfers that are never idle."""
    return count / transfers * LATENCY_MS / 1000


def measure(bench, median_of):
    """All of it."""
    with partner(bench.options.partner) as port:
        accounts(bench, port)
        url = "http://127.0.0.1:%d/0/v2/orders" % port
        called, exchange, slow = median_of(bench.options.rounds, lambda: calls(bench),
                                           lambda: bench.limits("post", url, str(CALLS), pinned=False),
                                           lambda: slow_flushes(bench))
        bench.row("order by the call path", called, exchange, "us",
                  ("least + %.0f us" % (1200 + slow), exchange + 1200 + slow))
        from_commit(bench, exchange / 1000)

        drained, kept = median_of(bench.options.rounds, lambda: drain(bench, "at_once"), lambda: bookkeeping(bench))
        bench.row("drain of %d orders, answered at once" % ORDERS, drained, kept, "s", ("2 x least", 2 * kept))
        for concurrency, rounds in ((64, bench.options.rounds), (8, 1)):
            server = "late_%d" % concurrency
            drained, = median_of(rounds, lambda server=server: drain(bench, server))
            least = turns(ORDERS, concurrency)
            bench.row("drain, %d ms, concurrency %d" % (LATENCY_MS, concurrency), drained, least, "s",
                      ("least / 0.9", least / 0.9))

        # One transfer is taken for good; the others share the rest.
        drained = drain(bench, "late_8", 400, "never-answer")
        least = turns(399, 7)
        bench.row("drain, %d ms, concurrency 8, one never answered" % LATENCY_MS, drained, least, "s",
                  ("least / 0.9", least / 0.9))
