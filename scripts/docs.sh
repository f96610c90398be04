#!/bin/bash
#
# docs.sh: writes docs/reference.md from what CREATE EXTENSION makes.
#
#   STAGE=/tmp/x   builds in that stage (kept) instead of a temporary one
#
# A cluster of its own is asked, because a developer's may have an older
# extension in it.

. "$(dirname "$0")/stage.sh"

cluster=

close_docs()
{
	[ ! -s "$cluster/postmaster.pid" ] || stage_run pg_ctl -D "$cluster" -s -m immediate stop
	[ -z "$cluster" ] || stage_user rm -rf "$cluster"
	stage_close
}

trap close_docs EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

stage_make "${STAGE:-}" || exit 1
cluster=$STAGE/tmp/docs
stage_user rm -rf "$cluster"
stage_run initdb -D "$cluster" -A trust -N -E UTF8 --no-locale >/dev/null &&
	stage_run tee -a "$cluster/postgresql.conf" <"$STAGE/src/cupsource.conf" >/dev/null &&
	stage_run pg_ctl -D "$cluster" -l "$STAGE/log/docs.server" -s -w \
		-o "-c listen_addresses= -k '$STAGE/tmp' -p 5434" start ||
	{ cat "$STAGE/log/docs.server" >&2; exit 1; }
export PGPORT=5434
stage_run psql -Xq -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION cupsource' &&
	stage_run psql -Xq -f scripts/reference.sql >"$stage_top/docs/reference.md.tmp" ||
	{ rm -f "$stage_top/docs/reference.md.tmp"; exit 1; }
mv "$stage_top/docs/reference.md.tmp" "$stage_top/docs/reference.md"
