"""What a live call pays for being counted, watched and kept within a budget.

In instructions, which are the same in every run: a server of one process makes
the calls under valgrind's callgrind.  The bound stands for 5 us, an instruction
in a nanosecond; current cores do two to four.  What is counted is the limiter
(at the higher of the documented rates; with the second half of its window used
it has most to do, and is asked twice), the statistics, and what cs_health() knows of the
partner; the clock's readings within them included.
"""

import os
import re
import subprocess
import sys
import tempfile

RATE = 120
BURST = RATE // 2
PACED = 10
PARTS = ("cs_limiter_acquire", "cs_stats_count", "cs_contact_count")
BOUND = 5000


def instructions(data, out, calls):
    """So many calls in a session of their own: {function: instructions, callees included}."""
    done = subprocess.run(
        ("valgrind", "--quiet", "--tool=callgrind", "--callgrind-out-file=" + out,
         "postgres", "--single", "-D", data, "-c", "cupsource.rate_limit_wait=1min", "postgres"),
        input="DO $$ BEGIN FOR i IN 1..%d LOOP PERFORM sku, unit_price FROM cs_products(server => 'counted'); "
              "IF NOT FOUND THEN RAISE 'no product'; END IF; END LOOP; END $$\n" % calls,
        capture_output=True, text=True, check=True)
    if "ERROR" in done.stderr:
        sys.exit(done.stderr)
    table = subprocess.run(("callgrind_annotate", "--inclusive=yes", "--threshold=100", out),
                           capture_output=True, text=True, check=True).stdout
    counted = {}
    for count, name in re.findall(r"^\s*([\d,]+) .*?:(\w+)(?:'2)? \[", table, re.MULTILINE):
        counted[name] = max(counted.get(name, 0), int(count.replace(",", "")))
    return counted


def measure(bench):
    """A line for calls that find the budget free, and one for those that are paced."""
    bench.sql("""
        CREATE SERVER counted FOREIGN DATA WRAPPER cupsource
          OPTIONS (api 'cupsource-v2', base_url '%s/small/v2', rate_limit '%d');
        CREATE USER MAPPING FOR PUBLIC SERVER counted OPTIONS (api_key 'counted');
        """ % (bench.options.http, RATE))
    data = bench.sql("SHOW data_directory")
    subprocess.run(("pg_ctl", "-D", data, "-s", "-w", "-m", "fast", "stop"), check=True)
    with tempfile.TemporaryDirectory() as directory:
        few, burst, all_of_them = (instructions(data, os.path.join(directory, "callgrind"), calls)
                                   for calls in (BURST // 10, BURST, BURST + PACED))
    subprocess.run(("pg_ctl", "-D", data, "-s", "-w", "-l", os.path.join(data, "log"), "start"), check=True)

    for what, before, after, calls in (
            ("instructions: budget, statistics, health", few, burst, BURST - BURST // 10),
            ("the same where the budget is paced", burst, all_of_them, PACED)):
        parts = sum(after[part] - before[part] for part in PARTS) / calls
        call = (after["cs_sql_products"] - before["cs_sql_products"]) / calls
        bench.row(what, parts, call, "", ("%d, of a whole call" % BOUND, BOUND))
