"""The measurements of make bench: each against the least that must be done.

Every number is the median of the rounds; what is compared is measured in turn,
round by round, so that a slow minute of the machine hits both.  The exit status
says whether each ratio is within its bound.
"""

import argparse
import os
import statistics
import subprocess
import sys

import catalog
import cost
import live
import orders
import recipe
import trigger


class Bench:
    """One run: where things are, and the table that grows."""

    def __init__(self, options):
        self.options = options
        self.rows = []

    def limits(self, *arguments, pinned=True):
        """The yardstick's number, pinned to one core as the server is."""
        done = subprocess.run((("taskset", "-c", "0") if pinned else ()) + (self.options.limits,) + arguments,
                              capture_output=True, text=True, check=True)
        return float(done.stdout)

    @staticmethod
    def sql(text):
        """Run statements in one session; the last line of what they print."""
        done = subprocess.run(("psql", "-XqAt", "-v", "ON_ERROR_STOP=1"), input=text,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit("%s\n%s" % (text, done.stderr))
        lines = done.stdout.strip().splitlines()
        return lines[-1] if lines else ""

    def timed(self, statement, before=""):
        """Seconds that one statement takes on the server's clock."""
        return float(self.sql("""%s
            SELECT clock_timestamp() AS start \\gset
            %s
            SELECT extract(epoch FROM clock_timestamp() - :'start'::timestamptz);
            """ % (before, statement)))

    def row(self, what, ours, least, unit, allowed, against="least"):
        """A line of the table.  'allowed' is (text, bound on ours, given least)."""
        text, bound = allowed
        self.rows.append((against, what, ours, least, unit, ours / least, text, ours <= bound))

    def table(self):
        """Print it."""
        heading = None
        for against, what, ours, least, unit, ratio, text, good in self.rows:
            if against != heading:
                print("%-64s %12s %12s %8s  %-22s" % ("", "cupsource", against, "ratio", "bound"))
                heading = against
            print("%-64s %9.2f %-2s %9.2f %-2s %7.2fx  %-22s %s" % (
                what, ours, unit, least, unit, ratio, text, "" if good else "MISSED"))
        return all(row[-1] for row in self.rows)


def median_of(rounds, *measures):
    """Medians of several measures taken in turn."""
    taken = [[measure() for measure in measures] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*taken)]


def prepare(bench):
    """The extension anew, and accounts: the whole catalogue, and one of a single product."""
    options = bench.options
    bench.sql("DROP EXTENSION IF EXISTS cupsource CASCADE; CREATE EXTENSION cupsource;")
    for name, base, extra in (
            ("big", options.http + "/v2", ""),
            ("tenth", options.http + "/tenth/v2", ""),
            ("million", options.http + "/million/v2", ""),
            ("small", options.http + "/small/v2", ""),
            ("small_tls", options.https + "/small/v2", ", ca_file '%s'" % options.bundle),
            ("closing_tls", options.closing + "/small/v2", ", ca_file '%s'" % options.bundle)):
        bench.sql("""
            CREATE SERVER {0} FOREIGN DATA WRAPPER cupsource
              OPTIONS (api 'cupsource-v2', base_url '{1}', rate_limit '0'{2});
            CREATE USER MAPPING FOR PUBLIC SERVER {0} OPTIONS (api_key 'bench');
            """.format(name, base, extra))


def main():
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limits", required=True)
    parser.add_argument("--http", required=True)
    parser.add_argument("--https", required=True)
    parser.add_argument("--closing", required=True)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--partner", required=True)
    parser.add_argument("--function", required=True)
    parser.add_argument("--products", type=int, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="of live, cost, refresh, catalog, trigger, orders; million or http by its name alone")
    bench = Bench(parser.parse_args())
    print("cupsource against %s; medians of %d rounds, %d processors"
          % ("the http extension" if bench.options.only == "http" else "the least that must be done",
             bench.options.rounds, os.cpu_count()))
    measures = {"live": lambda it: live.measure(it, median_of), "cost": cost.measure, "refresh": lambda it: catalog.refresh(it, median_of),
                "catalog": catalog.measure,
                "trigger": trigger.measure, "orders": lambda it: orders.measure(it, median_of),
                "million": lambda it: catalog.million(it, median_of),
                # Needs an extension that is not everywhere.
                "http": lambda it: recipe.measure(it, median_of)}
    prepare(bench)
    for name in bench.options.only.split() or [name for name in measures if name not in ("million", "http")]:
        measures[name](bench)
    sys.exit(0 if bench.table() else 1)


if __name__ == "__main__":
    main()
