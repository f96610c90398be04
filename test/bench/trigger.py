"""The trigger in make bench: what an order costs whoever inserts the ERP row.

The yardstick is what anybody would write instead: a trigger in PL/pgSQL that
puts the order as one jsonb into a logged outbox table with an identity as its
primary key, a unique external id, a state, a time, and a partial index by which
a worker would find what is queued.  Whoever writes it has no form checked, no
server's privileges asked, and no worker woken.

Nothing is sent meanwhile: the queue belongs to another cluster, so the worker
is woken at every commit, but holds it.  What a user pays is the same whether
the partner answers at once, late or never.
"""

import os
import statistics
import subprocess
import sys
import tempfile

SINGLE = 1000       # transactions of a round, ours and the yardstick's at random
BULK = 2000         # rows of one INSERT

TABLES = """
    DROP EXTENSION IF EXISTS cupsource CASCADE;
    CREATE EXTENSION cupsource;
    CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
    CREATE USER MAPPING FOR PUBLIC SERVER hub OPTIONS (api_key 'bench', secret_key 'bench');
    INSERT INTO cs_internal.queue_claim (origin) VALUES ('another cluster')
    ON CONFLICT (one) DO UPDATE SET origin = excluded.origin;

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
        cs_submit_order('server=hub', 'external_id=po_number', 'lines=lines', 'ship_to=address');
    """

INSERT = """
    INSERT INTO erp_{0} (po_number, lines, address)
    SELECT 'PO-' || nextval('po_number'),
           '[{{"sku": "CH-CUP-12-WHT", "quantity": 5000, "designs": [{{
                "url": "https://files.coffeehouse.example/artwork/2026/spring-front.png",
                "placement": "front", "width_inches": 3.5, "height_inches": 4.25}}]}},
             {{"sku": "CH-LID-90-BLK", "quantity": 5000, "designs": [{{
                "url": "https://files.coffeehouse.example/artwork/2026/lid-emboss.png",
                "placement": "top", "width_inches": 2, "height_inches": 2}}]}}]',
           '{{"name": "Coffee House Roastery, Receiving", "line1": "1400 Commerce Street, Dock 4",
             "city": "Portland", "state": "OR", "postal_code": "97205", "country": "US",
             "phone": "+1 503 555 0100", "email": "receiving@coffeehouse.example"}}'
    {1};
    """

# Ours first: the numbers by which pgbench's log tells the scripts apart.
SIDES = ("cupsource", "outbox")


def single(directory):
    """Microseconds of a transaction, each side's median; both in one session, at random."""
    scripts = []
    for side in SIDES:
        script = os.path.join(directory, side + ".sql")
        with open(script, "w", encoding="utf-8") as out:
            out.write(" ".join(INSERT.format(side, "").split()) + "\n")
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


def bulk(bench, side):
    """Microseconds a row of one INSERT of many; the session has inserted before."""
    many = INSERT.format(side, "FROM generate_series(1, %d)" % BULK)
    return 1e6 * bench.timed(many, INSERT.format(side, "")) / BULK


def measure(bench):
    """One row in a transaction of its own, and many in one statement."""
    bench.sql(TABLES)
    rounds = bench.options.rounds
    with tempfile.TemporaryDirectory() as directory:
        taken = [single(directory) for _ in range(rounds)]
    ours, least = [statistics.median(side) for side in zip(*taken)]
    bench.row("insert of an ERP row with trigger, single", ours, least, "us",
              ("1.15 x outbox", 1.15 * least))
    taken = [[bulk(bench, side) for side in SIDES] for _ in range(rounds)]
    ours, least = [statistics.median(side) for side in zip(*taken)]
    bench.row("the same, %d rows in one INSERT" % BULK, ours, least, "us",
              ("1.20 x outbox", 1.20 * least))
