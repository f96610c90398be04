#!/bin/bash
#
# sqlsmith.sh: random queries on everything that cupsource has.
#
#   MINUTES=10     for so long
#   SEED=1         the same queries again
#   STAGE=/tmp/x   in that stage (kept) instead of a temporary one
#
# Debian's sqlsmith makes them of what is in the catalogues, in the role of
# somebody who may use the sandbox's accounts.  Their errors are as random as
# they are; what counts is that no process crashes and none fails an assertion.

. "$(dirname "$0")/stage.sh"

minutes=${MINUTES:-10}
seed=${SEED:-$RANDOM}

"$stage_top"/scripts/packages.sh sqlsmith || exit 1

close_sqlsmith()
{
	[ -z "${sandbox_in:-}" ] || exec {sandbox_in}>&-
	[ ! -s "${cluster:-}/postmaster.pid" ] || stage_run pg_ctl -D "$cluster" -s -m immediate stop
	stage_close
}

trap close_sqlsmith EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

stage_make "${STAGE:-}" || exit 1
coproc SANDBOX { stage_run python3 test/sandbox/server.py --parent --rate-limit 0 2>"$STAGE/log/sandbox.server"; }
exec {sandbox_in}>&"${SANDBOX[1]}" {SANDBOX[1]}>&-
read -r -t 20 line <&"${SANDBOX[0]}" || stage_die "the sandbox did not start"
port=$(sed -n 's/.*"port": *\([0-9]*\).*/\1/p' <<<"$line")

# A query may wait for itself; the statement's timeout is part of what is tested.
cluster=$STAGE/tmp/sqlsmith
stage_user rm -rf "$cluster" "$STAGE/log/sqlsmith.server"
stage_run initdb -D "$cluster" -A trust -N -E UTF8 --no-locale >"$STAGE/log/sqlsmith.initdb" &&
	stage_run tee -a "$cluster/postgresql.conf" <"$STAGE/src/cupsource.conf" >/dev/null &&
	stage_run tee -a "$cluster/postgresql.conf" >/dev/null <<END &&
restart_after_crash = off
log_min_error_statement = panic
log_min_messages = log
cupsource.timeout = '1s'
cupsource.max_retries = 0
END
	stage_run pg_ctl -D "$cluster" -l "$STAGE/log/sqlsmith.server" -s -w \
		-o "-c listen_addresses= -k '$STAGE/tmp' -p 5436" start ||
	{ cat "$STAGE/log/sqlsmith.server" >&2; exit 1; }
PGPORT=5436 stage_run psql -Xq -v ON_ERROR_STOP=1 -v url="http://127.0.0.1:$port" >/dev/null <<'END' || exit 1
CREATE EXTENSION cupsource;
SELECT :'url' || '/v1' AS v1, :'url' || '/v2' AS v2 \gset
CREATE SERVER shop_v1 FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v1', base_url :'v1', rate_limit '0');
CREATE SERVER shop_v2 FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2', base_url :'v2', rate_limit '0');
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1', base_url :'url', auth_url :'url', rate_limit '0');
CREATE USER MAPPING FOR PUBLIC SERVER shop_v1 OPTIONS (api_key 'cs_live_v1_demo');
CREATE USER MAPPING FOR PUBLIC SERVER shop_v2 OPTIONS (api_key 'cs_live_sk_8f7d6c5b4a3e2d1f', webhook_secret 'whsec_demo');
CREATE USER MAPPING FOR PUBLIC SERVER hub OPTIONS (api_key 'ek_live_demo', secret_key 'esk_live_demo');
CREATE ROLE smith LOGIN;
GRANT USAGE ON FOREIGN SERVER shop_v1, shop_v2, hub TO smith;
ALTER ROLE smith SET statement_timeout = '2s';
ALTER ROLE smith SET cupsource.server = 'hub';
CREATE SCHEMA live AUTHORIZATION smith;
IMPORT FOREIGN SCHEMA api FROM SERVER hub INTO live;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA live TO smith;
CALL cs_refresh_catalog('shop_v1');
SELECT cs_enqueue_order('[{"sku": "CS-8OZ-ECO", "quantity": 1000}]', '{"line1": "1 Way", "city": "Portland", "state": "OR",
	"postal_code": "97201"}', 'smith-' || i, '{"currency": "USD"}', 'shop_v1') FROM generate_series(1, 20) AS i;
END

echo "SEED=$seed"
stage_run timeout "$((minutes * 60))" sqlsmith --seed="$seed" --verbose \
	--target="host=$STAGE/tmp port=5436 dbname=postgres user=smith" >"$STAGE/log/sqlsmith" 2>&1
status=$?
tail -30 "$STAGE/log/sqlsmith"
if [ "$status" -ne 124 ] || grep -E "PANIC|TRAP|terminated by signal" "$STAGE/log/sqlsmith.server"; then
	cat "$STAGE/log/sqlsmith.server"
	echo "sqlsmith: the server did not come through (SEED=$seed)"
	exit 1
fi
echo "sqlsmith: no crash in $minutes minutes"
