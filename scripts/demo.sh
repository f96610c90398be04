#!/bin/bash
#
# demo.sh: the main job as a story, on a throwaway PostgreSQL and the sandbox
# that stands in for the three partners.
#
#   KEEP=1   leaves it running, and says how to go on and how to end it
#
# Every step shows the SQL as a user would type it, and what comes back.  The
# story itself is demo.sql: a comment line that begins with "--" is told, the
# statements below it are shown and run.

. "$(dirname "$0")/stage.sh"

started=$EPOCHREALTIME
keep=
bold= plain=
if [ -t 1 ] && [ -n "${TERM:-}" ] && [ "$TERM" != dumb ]; then
	bold=$'\e[1m' plain=$'\e[0m'
fi

say()
{
	printf '%s%s%s\n' "$bold" "$*" "$plain"
}

close_demo()
{
	[ -n "$keep" ] && return
	[ -z "${sandbox_in:-}" ] || exec {sandbox_in}>&-
	stage_close
}

trap close_demo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

"$stage_top"/scripts/packages.sh demo || exit 1

say "Building cupsource into a PostgreSQL of its own; nothing is installed into the system."
stage_make || exit 1

# The sandbox.  Kept, it must outlive this script; else it ends with it, because
# its standard input does.
stage_user mkdir -p "$STAGE/tls"
sandbox=("$STAGE/run" python3 test/sandbox/server.py --tls "$STAGE/tls"
	--models 12 --lifecycle auto --step-seconds 0)
mkfifo "$STAGE/ready" "$STAGE/alive"
if [ -n "${KEEP:-}" ]; then
	setsid "${sandbox[@]}" >"$STAGE/ready" 2>"$STAGE/log/sandbox" </dev/null &
	exec {sandbox_out}<"$STAGE/ready"
else
	"${sandbox[@]}" --parent >"$STAGE/ready" 2>"$STAGE/log/sandbox" <"$STAGE/alive" &
	exec {sandbox_out}<"$STAGE/ready" {sandbox_in}>"$STAGE/alive"
fi
read -r -t 20 ready <&"$sandbox_out" || { cat "$STAGE/log/sandbox" >&2; stage_die "the sandbox did not start"; }
tls_port=$(sed -n 's/.*"tls_port": *\([0-9]*\).*/\1/p' <<<"$ready")

stage_run start || { cat "$STAGE/log/server" >&2; stage_die "PostgreSQL did not start"; }
stage_run createdb shop

# One session for the whole story.
coproc PSQL { PGDATABASE=shop stage_run psql -Xq -v ON_ERROR_STOP=1 -P null=- 2>&1; }
exec {psql_in}>&"${PSQL[1]}" {psql_out}<&"${PSQL[0]}"

# Send it to the session; print what comes back, up to the mark.
run_sql()
{
	local line

	printf '%s\n\\echo end-of-step\n' "$1" >&"$psql_in"
	while IFS= read -r line <&"$psql_out"; do
		[ "$line" != end-of-step ] || return 0
		printf '%s\n' "$line"
	done
	echo "--- the server's log" >&2
	tail -20 "$STAGE/log/server" >&2
	stage_die "the demonstration failed at the step above"
}

# Show a step as it would be typed, and run it.
step()
{
	local prompt='shop=# ' line

	while IFS= read -r line; do
		printf '%s%s\n' "$prompt" "$line"
		case $line in
			*\;) prompt='shop=# ' ;;
			*) prompt='shop-# ' ;;
		esac
	done <<<"$1"
	run_sql "$1"
}

# Let the story wait until a condition holds.
await()
{
	run_sql "DO \$\$
	DECLARE
		until timestamptz := clock_timestamp() + interval '20 s';
	BEGIN
		WHILE NOT ($1) LOOP
			IF clock_timestamp() > until THEN
				RAISE 'this did not come true within 20 s: %', \$condition\$$1\$condition\$;
			END IF;
			PERFORM pg_sleep(0.02);
		END LOOP;
	END \$\$;"
}

# demo.sql: blocks divided by empty lines.  A block of comments is told, a line
# "--wait CONDITION" waits, everything else is a step.
tell()
{
	local block=$1

	case $block in
		'') ;;
		--wait\ *) await "${block#--wait }" ;;
		--*) printf '\n'; say "$(sed 's/^-- \{0,1\}//' <<<"$block")" ;;
		*) step "$block" ;;
	esac
}

block=
while IFS= read -r line; do
	if [ -n "$line" ]; then
		block=$block${block:+$'\n'}$line
	else
		tell "$block"
		block=
	fi
done < <(sed -e "s,@PARTNER@,https://localhost:$tls_port,g" -e "s,@CA@,$STAGE/tls/ca.pem,g" \
	"$stage_top/scripts/demo.sql"; echo)

printf '\n'
say "That took $(awk "BEGIN { printf \"%.0f\", $EPOCHREALTIME - $started }") seconds, building included."
if [ -n "${KEEP:-}" ]; then
	keep=yes
	stage_user tee "$STAGE/stop" >/dev/null <<END
#!/bin/bash
. '$stage_top/scripts/stage.sh'
STAGE='$STAGE' stage_temporary=yes
stage_close
END
	stage_user chmod 755 "$STAGE/stop"
	cat <<END
It keeps running.  Go on:   $STAGE/run psql shop
End it, and remove it:      $STAGE/stop
END
else
	cat <<END
Everything is gone again.  To keep it, and go on with psql:   make demo KEEP=1
END
fi
