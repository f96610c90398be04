#!/bin/bash
#
# fuzz.sh: libFuzzer's targets (test/fuzz/*.c), two at a time.
#
#   SECONDS_EACH=60     how long each runs
#   TARGETS="json rows"  only these
#   CORPUS=DIR          what was found is kept there, a folder for each, and gone on from
#   STAGE=/tmp/x        in that stage (kept) instead of a temporary one
#   STAGED=yes          which is built already
#
# A target runs in a single-user server of its own, with AddressSanitizer.  An
# input that breaks a promise is printed in base64, and ends this with a failure.

. "$(dirname "$0")/stage.sh"

seconds=${SECONDS_EACH:-60}
targets=${TARGETS:-$(cd "$stage_top/test/fuzz/corpus" && ls)}
corpus=${CORPUS:-}

[ -n "${STAGED:-}" ] || "$stage_top"/scripts/packages.sh fuzz || exit 1

trap 'stage_close' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

if [ -z "${STAGED:-}" ]; then
	stage_make "${STAGE:-}" || exit 1
else
	stage_temporary=
	stage_prefix
fi
directory=$STAGE/tmp/fuzz
stage_user rm -rf "$directory"
stage_user mkdir -p "$directory"
stage_run make -s -j2 PG_CONFIG="$stage_bin/pg_config" test/fuzz/build/fuzz.so test/sanitize/first.so || exit 1
stage_run initdb -D "$directory/data" -A trust -N -E UTF8 --no-locale >"$STAGE/log/fuzz.initdb" || exit 1
stage_run tee -a "$directory/data/postgresql.conf" >/dev/null <<END
fsync = off
shared_buffers = '16MB'
log_checkpoints = off
END

# The fields' names, as words to build inputs of.
stage_run bash -c "grep -oh '\"[A-Za-z_.|]*\"' src/api/*.c | tr -d '\"' | tr '|.' '\n\n' | sort -u |
	sed '/./!d; s/.*/\"&\"/'" | stage_user tee "$directory/words" >/dev/null

# One target; what it printed is shown if it failed.
fuzz()
{
	local target=$1 found=$directory/$1.found log=$directory/$1.log

	if [ -n "$corpus" ]; then
		mkdir -p "$corpus/$target"
		stage_user cp -r "$corpus/$target" "$found"
	else
		stage_user mkdir "$found"
	fi
	stage_user cp -r "$directory/data" "$directory/$target.data"
	stage_run env LD_PRELOAD="$(clang -print-file-name=libclang_rt.asan-x86_64.so) $STAGE/src/test/sanitize/first.so" \
		ASAN_OPTIONS=detect_stack_use_after_return=0:detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
		postgres --single -j -D "$directory/$target.data" postgres >"$log" 2>&1 <<END
CREATE FUNCTION fuzz(text, text) RETURNS void LANGUAGE c STRICT AS '$STAGE/src/test/fuzz/build/fuzz.so';

SELECT fuzz('$target', '-max_total_time=$seconds -max_len=4096 -timeout=20 -print_final_stats=1 -dict=$directory/words -artifact_prefix=$directory/$target- $found $STAGE/src/test/fuzz/corpus/$target');
END
	[ -z "$corpus" ] || cp "$found"/* "$corpus/$target" 2>/dev/null
	if ! grep -q "^stat::number_of_executed_units" "$log" || grep -qE "^==[0-9]+==|runtime error|cupsource: does not" "$log"; then
		echo "not ok - $target"
		cat "$log"
		return 1
	fi
	sed -n 's/^#.*DONE *cov: \([0-9]*\).*/\1/p' "$log" | tail -1 |
		{ read -r edges; echo "ok - $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, $edges edges"; }
}

failed=0
running=()
for target in $targets; do
	fuzz "$target" &
	running+=($!)
	if [ ${#running[@]} -eq 2 ]; then
		wait "${running[0]}" || failed=1
		running=("${running[1]}")
	fi
done
for pid in "${running[@]}"; do
	wait "$pid" || failed=1
done
exit $failed
