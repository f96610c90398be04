#!/bin/bash
#
# bench-http.sh: cupsource against the http extension, in the same server.
#
#   PRODUCTS=100000 ROUNDS=5
#   CHROOTS=/var/tmp/x    keeps the system there, for the next time
#
# The http extension is Debian's, for PostgreSQL 17; so the server is that of a
# trixie made for the purpose (system.sh).  There it is "make bench ONLY=http",
# which can be asked for wherever that package is to be had: what users would
# write is test/bench/http.sql, what is measured test/bench/recipe.py.

. "$(dirname "$0")/system.sh"

system_open http
system_make trixie trixie --include=make && system_copy_checkout trixie || exit 1
system_inside trixie make -s -C /src/cupsource bench ONLY=http PRODUCTS="${PRODUCTS:-}" ROUNDS="${ROUNDS:-}"
