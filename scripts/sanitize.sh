#!/bin/bash
#
# sanitize.sh: the tests with a server that is watched over.
#
#   WITH=asan        AddressSanitizer and UBSan in the extension, the default
#   WITH=valgrind    memcheck over the whole server
#   ONLY="tap"       only these parts of the tests
#   TESTS="test/t/0*.pl"  of the TAP tests only these
#   STAGE=/tmp/x     in that stage (kept) instead of a temporary one
#
# The program "postgres" of the stage becomes a script that starts the real one
# so.  A finding is a failure, whether or not a test noticed.  memcheck also
# reports what the server does by itself; a finding is what passes through our
# code.

. "$(dirname "$0")/stage.sh"

with=${WITH:-asan}
"$stage_top"/scripts/packages.sh "$with" || exit 1

# A stage that is kept is to be built as usual the next time.
close_sanitize()
{
	[ -n "${stage_temporary:-}" ] || stage_user rm -rf "$STAGE"/{src,files,pg/complete}
	stage_close
}

trap 'close_sanitize' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# What is built here is not what another run in a kept stage expects.
stage_open "${STAGE:-}"
stage_user rm -rf "$STAGE"/{src,files,pg/complete,findings}
stage_user mkdir "$STAGE"/{src,findings}
stage_prefix
stage_copy
stage_runner
case $with in
	asan)
		stage_build COPT="-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1" \
			CC=gcc || exit 1
		stage_run make -s PG_CONFIG="$stage_bin/pg_config" test/sanitize/first.so || exit 1
		export ASAN_OPTIONS="detect_leaks=0:detect_odr_violation=0:detect_stack_use_after_return=0:abort_on_error=1:log_path=$STAGE/findings/asan"
		export UBSAN_OPTIONS="print_stacktrace=1:log_path=$STAGE/findings/ubsan"
		watched="LD_PRELOAD=\"$(gcc -print-file-name=libasan.so) $STAGE/src/test/sanitize/first.so \${LD_PRELOAD:-}\" exec -a \"\$0\""
		only=${ONLY:-regress isolation pgtap tap}

		# That test brings an allocator of its own.
		TESTS=${TESTS:-$(cd "$STAGE/src" && ls test/t/*.pl | grep -v below)}
		;;
	valgrind)
		stage_build COPT="-g -O1" || exit 1
		watched="exec valgrind --quiet --trace-children=yes --track-origins=yes --num-callers=40 --log-file='$STAGE/findings/%p'"
		only=${ONLY:-tap}
		TESTS=${TESTS:-test/t/001_smoke.pl test/t/002_json.pl test/t/003_form.pl test/t/010_orders.pl test/t/042_customhub.pl}
		;;
	*) stage_die "WITH=asan or WITH=valgrind" ;;
esac

# Making a cluster is not what is tested, and takes long.
[ -e "$stage_bin/postgres.real" ] || stage_user mv "$stage_bin/postgres" "$stage_bin/postgres.real"
stage_user tee "$stage_bin/postgres" >/dev/null <<END
#!/bin/bash
case \${1:-} in
	--boot | --check | --single | -V | --version) exec -a "\$0" "\$0.real" "\$@" ;;
esac
$watched "\$0.real" "\$@"
END
stage_user chmod 755 "$stage_bin/postgres"

export PG_TEST_TIMEOUT_DEFAULT=600 PGCTLTIMEOUT=600
ONLY=$only TESTS=${TESTS:-} STAGED=yes STAGE=$STAGE "$stage_top"/scripts/test.sh
failed=$?

# memcheck separates reports by a line of the process's number alone.
for report in $(find "$STAGE/findings" -type f -size +0 | sort); do
	case $with in
		asan) cat "$report" ;;
		valgrind) sed 's/^==[0-9]*== *//' "$report" | awk -v RS= '/cupsource\.so/ { print $0 "\n" }' ;;
	esac
done >"$STAGE/log/findings"
if [ -s "$STAGE/log/findings" ]; then
	cat "$STAGE/log/findings"
	echo "$with: there are findings"
	exit 1
fi
echo "$with: nothing found"
exit $failed
