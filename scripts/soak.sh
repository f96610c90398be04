#!/bin/bash
#
# soak.sh: what runs for long does not grow.
#
#   CALLS=200000   so many calls in one session, and so many orders in one worker
#   STAGE=/tmp/x   in that stage (kept) instead of a temporary one
#
# A tenth of each is to warm up.  From then on a process's own pages, where
# libcurl and json-c live, too, may not grow by more than 1 MB, nor the session's
# memory contexts; those of the worker only it could tell.  The partner is that
# of the benchmarks: it answers at once.

. "$(dirname "$0")/stage.sh"

"$stage_top"/scripts/packages.sh demo || exit 1

close_soak()
{
	[ -z "${partner_in:-}" ] || exec {partner_in}>&-
	[ ! -s "${cluster:-}/postmaster.pid" ] || stage_run pg_ctl -D "$cluster" -s -m immediate stop
	stage_close
}

trap close_soak EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

stage_make "${STAGE:-}" || exit 1
stage_run gcc -O2 -Wall -o "$STAGE/tmp/partner" test/bench/partner.c || exit 1
coproc PARTNER { stage_run "$STAGE/tmp/partner"; }
exec {partner_in}>&"${PARTNER[1]}" {PARTNER[1]}>&-
read -r -t 20 port <&"${PARTNER[0]}" || stage_die "the partner did not start"

cluster=$STAGE/tmp/soak
stage_user rm -rf "$cluster"
stage_run initdb -D "$cluster" -A trust -N -E UTF8 --no-locale >"$STAGE/log/soak.initdb" &&
	stage_run tee -a "$cluster/postgresql.conf" <"$STAGE/src/cupsource.conf" >/dev/null &&
	stage_run pg_ctl -D "$cluster" -l "$STAGE/log/soak" -s -w -o "-c listen_addresses= -k '$STAGE/tmp' -p 5435" start ||
	{ cat "$STAGE/log/soak" >&2; exit 1; }
if ! PGPORT=5435 stage_run psql -XqAt -v ON_ERROR_STOP=1 -v calls="${CALLS:-200000}" -v port="$port" \
	-f test/soak/soak.sql; then
	tail -20 "$STAGE/log/soak" >&2
	exit 1
fi
