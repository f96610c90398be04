"""The trigger in make bench: what an order costs whoever inserts the ERP row.

The yardstick is what anybody would write instead: a trigger in PL/pgSQL that
puts the order as one jsonb into a logged outbox table with an identity as its
primary key, a unique external id, a state, a time, and a partial index by which
a worker would find what is queued.  Whoever writes it has no form checked, no
server's privileges asked, and no worker woken.

What a user pays must be the same whether the partner answers at once, late or
never.  First nothing is sent at all: the queue belongs to another cluster, so
the worker is woken at every commit, but holds it; that is the trigger alone.
Then the worker sends, to partner.c, what was inserted.  It takes processor and
disk from whoever inserts, on two cores more than on many; so both sides are
measured while it works, in turn, and neither always first.
"""

import os
import statistics
import subprocess
import sys
import tempfile

import orders

SINGLE = 1000       # transactions of a round, ours and the yardstick's at random
BULK = 2000         # rows of one INSERT
BULK_REPEATS = 20   # a round: a statement is over in 50 ms, which a slow moment of the machine makes 90

HELD = """
    DROP EXTENSION IF EXISTS cupsource CASCADE;
    CREATE EXTENSION cupsource;
    CREATE SERVER partner FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
    CREATE USER MAPPING FOR PUBLIC SERVER partner OPTIONS (api_key 'bench', secret_key 'bench');
    INSERT INTO cs_internal.queue_claim (origin) VALUES ('another cluster');
    """
SENT = """
    DROP EXTENSION IF EXISTS cupsource CASCADE;
    CREATE EXTENSION cupsource;
    CREATE SERVER partner FOREIGN DATA WRAPPER cupsource
      OPTIONS (api 'cupsource-v2', base_url 'http://127.0.0.1:{0}/{1}/v2', rate_limit '0', poll_interval '1h');
    CREATE USER MAPPING FOR PUBLIC SERVER partner OPTIONS (api_key 'bench');
    """
TABLES = """
    DROP TABLE IF EXISTS outbox, erp_outbox, erp_cupsource;
    DROP SEQUENCE IF EXISTS po_number;
    DROP FUNCTION IF EXISTS outbox_insert();
    CREATE TABLE outbox (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      external_id text NOT NULL UNIQUE,
      payload jsonb NOT NULL,
      state text NOT NULL DEFAULT 'queued',
      created_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX ON outbox (created_at) WHERE state = 'queued';

    CREATE FUNCTION outbox_insert() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO outbox (external_id, payload)
      VALUES (NEW.po_number, jsonb_build_object('lines', NEW.lines, 'ship_to', NEW.address));
      RETURN NULL;
    END $$;

    CREATE SEQUENCE po_number;
    CREATE TABLE erp_outbox (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      po_number text NOT NULL,
      lines jsonb NOT NULL,
      address jsonb NOT NULL
    );
    CREATE TABLE erp_cupsource (LIKE erp_outbox INCLUDING ALL);
    CREATE TRIGGER submit AFTER INSERT ON erp_outbox
      FOR EACH ROW EXECUTE FUNCTION outbox_insert();
    CREATE TRIGGER submit AFTER INSERT ON erp_cupsource
      FOR EACH ROW EXECUTE FUNCTION
        cs_submit_order('server=partner', 'external_id=po_number', 'lines=lines', 'ship_to=address');
    """

INSERT = """
    INSERT INTO erp_{{0}} (po_number, lines, address)
    SELECT '{0}' || nextval('po_number'),
           '{1}',
           '{{{{{2}"line1": "1400 Commerce Street, Dock 4",
             "city": "Portland", "state": "OR", "postal_code": "97205", "country": "US"}}}}'
    {{1}};
    """
DESIGNED = """[{{"sku": "CH-CUP-12-WHT", "quantity": 5000, "designs": [{{
                "url": "https://files.coffeehouse.example/artwork/2026/spring-front.png",
                "placement": "front", "width_inches": 3.5, "height_inches": 4.25}}]}},
             {{"sku": "CH-LID-90-BLK", "quantity": 5000, "designs": [{{
                "url": "https://files.coffeehouse.example/artwork/2026/lid-emboss.png",
                "placement": "top", "width_inches": 2, "height_inches": 2}}]}}]"""
RECEIVER = """"name": "Coffee House Roastery, Receiving", "phone": "+1 503 555 0100",
             "email": "receiving@coffeehouse.example", """
PLAIN = """[{{"product_id": "prod_paper_cup_08oz_double_wall", "quantity": 5000}},
             {{"product_id": "prod_paper_cup_12oz_double_wall", "quantity": 10000}},
             {{"product_id": "prod_paper_cup_16oz_double_wall", "quantity": 5000}},
             {{"product_id": "prod_lid_80mm_black_travel", "quantity": 5000}},
             {{"product_id": "prod_lid_90mm_black_travel", "quantity": 15000}}]"""

# What the partner does, how partner.c is asked to, and in which state orders of ours are then.
PARTNERS = (
    ("queue held", HELD, INSERT.format("PO-", DESIGNED, RECEIVER), "queued"),
    ("partner answers in 1 ms", SENT.format("{0}", 1), INSERT.format("PO-", PLAIN, ""), "placed"),
    ("partner answers in 1 s", SENT.format("{0}", 1000), INSERT.format("PO-", PLAIN, ""), "placed"),
    ("partner never answers", SENT.format("{0}", 0), INSERT.format("never-answer-", PLAIN, ""), "sending"),
)

# Ours first: the numbers by which pgbench's log tells the scripts apart.
SIDES = ("cupsource", "outbox")


def single(directory, insert):
    """Microseconds of a transaction, each side's median; both in one session, at random."""
    scripts = []
    for side in SIDES:
        script = os.path.join(directory, side + ".sql")
        with open(script, "w", encoding="utf-8") as out:
            out.write(" ".join(insert.format(side, "").split()) + "\n")
        scripts += ["-f", script]
    done = subprocess.run(["pgbench", "-n", "-M", "prepared", "-t", str(SINGLE), "-l",
                           "--log-prefix", os.path.join(directory, "log")] + scripts,
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(done.stderr)
    took = ([], [])
    for name in os.listdir(directory):
        if not name.startswith("log"):
            continue
        with open(os.path.join(directory, name), encoding="utf-8") as log:
            for line in log:
                _, _, latency, script, *_ = line.split()
                took[int(script)].append(int(latency))
        os.unlink(os.path.join(directory, name))
    return [statistics.median(side) for side in took]


def bulk(bench, insert, order):
    """Microseconds a row of one INSERT of many, each side's; the session has inserted before."""
    took = {side: 1e6 / BULK * bench.timed(insert.format(side, "FROM generate_series(1, %d)" % BULK),
                                           insert.format(side, ""))
            for side in order}
    return [took[side] for side in SIDES]


def with_partner(bench, name, prepare, insert, state):
    """One row in a transaction of its own, and many in one statement."""
    rounds = bench.options.rounds
    bench.sql(prepare + TABLES)
    with tempfile.TemporaryDirectory() as directory:
        taken = [single(directory, insert) for _ in range(rounds)]
    ours, least = [statistics.median(side) for side in zip(*taken)]
    bench.row("insert with trigger, %s" % name, ours, least, "us", ("1.15 x outbox", 1.15 * least))
    taken = [bulk(bench, insert, SIDES if i % 2 else SIDES[::-1]) for i in range(BULK_REPEATS * rounds)]
    ours, least = [statistics.median(side) for side in zip(*taken)]
    bench.row("%d rows in one INSERT, %s" % (BULK, name), ours, least, "us", ("1.20 x outbox", 1.20 * least))
    if bench.sql("SELECT count(*) > 0 FROM cs_internal.orders WHERE state = '%s';" % state) != "t":
        sys.exit("no order is %s (%s)" % (state, name))


def measure(bench):
    """The trigger alone, and beside a worker whose partner is quick, slow or silent."""
    with orders.partner(bench.options.partner) as port:
        for name, prepare, insert, state in PARTNERS:
            with_partner(bench, name, prepare.format(port), insert, state)
        bench.sql("DROP EXTENSION cupsource CASCADE;")
