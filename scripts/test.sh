#!/bin/bash
#
# test.sh: every test there is.
#
#   ONLY="regress tap"   only these parts
#   TESTS="test/t/0*.pl" of the TAP tests only these
#   STAGE=/tmp/x         in that stage (kept) instead of a temporary one
#   STAGED=yes           which is built already
#
# Each part is a function test_PART; it writes what it prints to a log of its
# own and "PASSED FAILED" to a count file.  One line per part while it runs,
# what failed in full at the end, and last the sum.  A part that ran no test has
# failed: a test that is not found must not look like one that holds.

. "$(dirname "$0")/stage.sh"

# What is over in seconds comes first.
parts="checks unit sandbox regress isolation pgtap build lint fuzz tap"
only=${ONLY:-$parts}
for part in $only; do
	case " $parts " in
		*" $part "*) ;;
		*) stage_die "there is no part \"$part\" of the tests; there are: $parts" ;;
	esac
done

"$stage_top"/scripts/packages.sh test $only || exit 1

trap 'close_test' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

cluster=

close_test()
{
	[ ! -s "$cluster/postmaster.pid" ] || stage_run pg_ctl -D "$cluster" -s -m immediate stop
	[ -z "${sandbox_pid:-}" ] || exec {sandbox_in}>&-
	stage_close
}

# Write the count file of the part that runs.
count()
{
	echo "$1 $2" >"$STAGE/log/$part.count"
}

# A single test that is a command; what it prints is seen if it fails.
check()
{
	local what=$1 output

	shift
	if output=$("$@" 2>&1); then
		good=$((good + 1))
	else
		bad=$((bad + 1))
		printf -- '--- %s\n%s\n' "$what" "$output"
	fi
}

# Test programs that print TAP.
harness()
{
	stage_run tee "$STAGE/log/$part.count" </dev/null >/dev/null
	stage_run perl test/harness.pl --count "$STAGE/log/$part.count" "$@"
}

# The value of a variable of the Makefile.
make_variable()
{
	stage_run make -s PG_CONFIG="$stage_bin/pg_config" "print-$1"
}

# The sandbox for tests that cannot start one themselves; it leaves when this
# script does, because its standard input ends.
start_sandbox()
{
	local line

	[ -z "${sandbox_pid:-}" ] || return 0
	coproc SANDBOX { stage_run python3 test/sandbox/server.py --parent --rate-limit 0 2>>"$STAGE/log/sandbox.server"; }
	sandbox_pid=$SANDBOX_PID
	exec {sandbox_in}>&"${SANDBOX[1]}" {SANDBOX[1]}>&-
	read -r -t 20 line <&"${SANDBOX[0]}" || { echo "the sandbox did not start"; return 1; }
	CUPSOURCE_SANDBOX_PORT=$(sed -n 's/.*"port": *\([0-9]*\).*/\1/p' <<<"$line")
	export CUPSOURCE_SANDBOX_PORT
}

test_checks()
{
	harness $(cd "$STAGE/src" && ls test/checks/*.t)
}

# Both compilers, every warning an error.  In a copy, because objects of one
# are not those of the other.
test_build()
{
	local cc good=0 bad=0

	for cc in gcc clang; do
		stage_user rm -rf "$STAGE/tmp/build"
		stage_user cp -r "$STAGE/src" "$STAGE/tmp/build"
		stage_user find "$STAGE/tmp/build" -name '*.[od]' -delete -o -name '*.so' -delete
		check "$cc -Wall -Wextra -Werror" stage_run make -s -j2 -C "$STAGE/tmp/build" \
			PG_CONFIG="$stage_bin/pg_config" CC="$cc" COPT="-Wall -Wextra -Werror"
		check "$cc: what is installed has no crash points" stage_run \
			bash -c "nm '$STAGE/tmp/build/cupsource.so' >/dev/null && ! grep -q 'cupsource\.crash' '$STAGE/tmp/build/cupsource.so'"
	done
	stage_user rm -rf "$STAGE/tmp/build"
	count $good $bad
}

test_lint()
{
	local good=0 bad=0 file

	. "$stage_top"/scripts/lint.sh
	count $good $bad
}

test_unit()
{
	local good=0 bad=0

	check "compile the drivers" stage_run make -s -j2 PG_CONFIG="$stage_bin/pg_config" unit
	[ $bad -eq 0 ] || { count 0 1; return; }
	harness --exec "" $(cd "$STAGE/src" && find test/unit/build -type f -executable | sort)
}

# A quarter of a minute for each target; "make fuzz" has more time.
test_fuzz()
{
	STAGED=yes STAGE=$STAGE SECONDS_EACH=15 "$stage_top"/scripts/fuzz.sh 2>&1 | tee "$STAGE/log/fuzz.lines"
	count "$(grep -c '^ok ' "$STAGE/log/fuzz.lines")" "$(grep -c '^not ok ' "$STAGE/log/fuzz.lines")"
}

test_sandbox()
{
	local ran bad

	stage_run python3 -m unittest discover -s test/sandbox -t test/sandbox 2>&1 | tee "$STAGE/log/unittest"
	ran=$(sed -n 's/^Ran \([0-9]*\) tests\{0,1\} .*/\1/p' "$STAGE/log/unittest")
	bad=$(sed -n 's/^FAILED (\(.*\))$/\1/p' "$STAGE/log/unittest" | tr ',' '\n' |
		sed -n 's/.*\(failures\|errors\|successes\)=\([0-9]*\).*/\2/p' | paste -sd+)
	bad=$((${bad:-0}))
	[ -n "$ran" ] || { ran=0; bad=1; }
	count $((ran > bad ? ran - bad : 0)) $bad
}

# pg_regress and its sibling count one test a line, from PostgreSQL 16 on as TAP.
regress()
{
	local program=$1 good bad status

	shift
	stage_run "$stage_pgxs/src/test/$program" --bindir="$stage_bin" --temp-instance="$STAGE/tmp/instance" \
		--temp-config=cupsource.conf --no-locale --encoding=UTF8 "$@" 2>&1 | tee "$STAGE/log/$part.lines"
	status=${PIPESTATUS[0]}
	good=$(grep -cE '^((test| {5}) *[^ ]+ +\.\.\. ok |ok [0-9])' "$STAGE/log/$part.lines")
	bad=$(grep -cE '^((test| {5}) *[^ ]+ +\.\.\. FAILED|not ok [0-9])' "$STAGE/log/$part.lines")
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
		cat "$STAGE/tmp/log/postmaster.log"
	fi
	count "$good" "$bad"
}

test_regress()
{
	start_sandbox || { count 0 1; return; }
	regress regress/pg_regress --inputdir=. --outputdir="$STAGE/tmp" --load-extension=cupsource \
		$(make_variable REGRESS)
	cat "$STAGE/tmp/regression.diffs" 2>/dev/null
}

test_isolation()
{
	start_sandbox || { count 0 1; return; }
	regress isolation/pg_isolation_regress --inputdir=test/isolation --outputdir="$STAGE/tmp" \
		--load-extension=cupsource $(make_variable ISOLATION)
	cat "$STAGE/tmp/regression.diffs" 2>/dev/null
}

# Each file in a database of its own, made from a template that has both
# extensions.
test_pgtap()
{
	local good=0 bad=0

	cluster=$STAGE/tmp/pgtap
	stage_user rm -rf "$cluster"
	stage_run initdb -D "$cluster" -A trust -N -E UTF8 --no-locale >/dev/null &&
		stage_run tee -a "$cluster/postgresql.conf" <"$STAGE/src/cupsource.conf" >/dev/null &&
		stage_run pg_ctl -D "$cluster" -l "$STAGE/log/pgtap.server" -s -w \
			-o "-c listen_addresses= -k '$STAGE/tmp' -p 5433" start &&
		stage_run env PGPORT=5433 psql -Xq -v ON_ERROR_STOP=1 -c "CREATE DATABASE pgtap_template" \
			-c "\\c pgtap_template" -c "CREATE SCHEMA tap" -c "CREATE EXTENSION pgtap SCHEMA tap" \
			-c "CREATE EXTENSION cupsource" ||
		{ cat "$STAGE/log/pgtap.server"; count 0 1; return; }
	PGPORT=5433 harness --exec test/pgtap/run $(cd "$STAGE/src" && ls test/pgtap/*.sql)
	stage_run pg_ctl -D "$cluster" -s -m fast stop
	cluster=
}

test_tap()
{
	stage_user rm -rf "$STAGE/tmp_check"
	harness --jobs 2 ${TESTS:-$(cd "$STAGE/src" && ls test/t/*.pl)}
}

# Run a part and add up.
run_part()
{
	local part=$1 start=$EPOCHREALTIME good bad

	printf '%-10s ' "$part"
	rm -f "$STAGE/log/$part.count"
	"test_$part" >"$STAGE/log/$part" 2>&1
	read -r good bad <"$STAGE/log/$part.count" || { good=0; bad=1; }
	if [ $((good + bad)) -eq 0 ]; then
		bad=1
		echo "FAILED: no test was run" >>"$STAGE/log/$part"
	fi
	printf '%5d passed  %3d failed  %6.1f s\n' "$good" "$bad" \
		"$(awk "BEGIN { print $EPOCHREALTIME - $start }")"
	passed=$((passed + good))
	failed=$((failed + bad))
	[ "$bad" -eq 0 ] || failures="$failures $part"
}

passed=0
failed=0
failures=

if [ -n "${STAGED:-}" ]; then
	stage_open "$STAGE"
	stage_prefix
elif ! stage_make "${STAGE:-}"; then
	echo "0 passed, 1 failed"
	exit 1
fi
for part in $parts; do
	case " $only " in
		*" $part "*) run_part "$part" ;;
	esac
done

for part in $failures; do
	printf '\n=== %s\n' "$part"
	cat "$STAGE/log/$part"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
