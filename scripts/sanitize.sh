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
# so.  A finding is a failure, whether or not a test noticed; that findings are
# found is seen first, by faults that are planted.  What UBSan finds is a trap
# that AddressSanitizer reports, because it would tell only the server's log;
# the line is in the report, the kind is not.  memcheck also reports what
# the server does by itself; a finding is what passes through our code.  With
# VALGRIND_OPTS=--track-origins=yes it says where a value came from, and takes
# twice as long.

. "$(dirname "$0")/stage.sh"

with=${WITH:-asan}
only=${ONLY:-regress isolation pgtap tap}
arguments=

# All of them before the stage is made, which has the extensions that are there.
"$stage_top"/scripts/packages.sh "$with" && "$stage_top"/scripts/packages.sh test $only || exit 1

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
		built=(CC=gcc COPT="-fsanitize=address,undefined -fsanitize-undefined-trap-on-error -fno-omit-frame-pointer -g -O1")
		faults="planted_address planted_shift"
		stage_run make -s PG_CONFIG="$stage_bin/pg_config" test/sanitize/first.so || exit 1
		export ASAN_OPTIONS="detect_leaks=0:detect_odr_violation=0:detect_stack_use_after_return=0:abort_on_error=1:handle_sigill=1:log_path=$STAGE/findings/asan"
		watched="LD_PRELOAD=\"$(gcc -print-file-name=libasan.so) $STAGE/src/test/sanitize/first.so \${LD_PRELOAD:-}\" exec -a \"\$0\""

		# That test brings an allocator of its own.
		TESTS=${TESTS:-$(cd "$STAGE/src" && ls test/t/*.pl | grep -v below)}
		;;
	valgrind)
		built=(COPT="-g -O1")
		faults=planted_address

		# LLVM's libraries are large, and are none of ours.
		arguments="-c jit=off"
		watched="exec valgrind --quiet --trace-children=yes --num-callers=40 --fullpath-after= --suppressions='$STAGE/src/test/sanitize/valgrind.supp' --log-file='$STAGE/findings/%p'"
		TESTS=${TESTS:-$(sed -n 's,^[0-9][^ ]*,test/t/&,p' "$STAGE/src/test/sanitize/memcheck" | cut -d' ' -f1)}
		;;
	*) stage_die "WITH=asan or WITH=valgrind" ;;
esac
stage_build "${built[@]}" || exit 1
stage_run make -s PG_CONFIG="$stage_bin/pg_config" "${built[@]}" test/sanitize/planted.so || exit 1

# Making a cluster is not what is tested, and takes long.
[ -e "$stage_bin/postgres.real" ] || stage_user mv "$stage_bin/postgres" "$stage_bin/postgres.real"
stage_user tee "$stage_bin/postgres" >/dev/null <<END
#!/bin/bash
case \${1:-} in
	--boot | --check | --single | -V | --version) exec -a "\$0" "\$0.real" "\$@" ;;
esac
$watched "\$0.real" "\$@" $arguments
END
stage_user chmod 755 "$stage_bin/postgres"

# Show what was found, and forget it.  memcheck separates its reports by a line
# of the process's number alone.
findings()
{
	local report

	for report in $(find "$STAGE/findings" -type f -size +0 | sort); do
		case $with in
			asan) cat "$report" ;;
			valgrind)
				sed 's/^==[0-9]*== *//' "$report" | awk -v RS= -v ours="$STAGE/src/" 'index($0, ours) { print $0 "\n" }'
				;;
		esac
	done
	find "$STAGE/findings" -type f -delete
}

export PG_TEST_TIMEOUT_DEFAULT=600 PGCTLTIMEOUT=600 CUPSOURCE_WATCHED=$with

# Faults that are not found would make all that follows worthless.
cluster=$STAGE/tmp/planted
stage_user rm -rf "$cluster"
stage_run initdb -D "$cluster" -A trust -N --no-locale >"$STAGE/log/initdb" || exit 1
for fault in $faults; do
	stage_run pg_ctl -D "$cluster" -l "$STAGE/log/planted" -s -w -o "-c listen_addresses= -k '$STAGE/tmp' -p 5434" start ||
		{ cat "$STAGE/log/planted"; exit 1; }
	PGPORT=5434 stage_run psql -Xq >"$STAGE/log/planted.psql" 2>&1 <<END
CREATE FUNCTION pg_temp.fault() RETURNS int LANGUAGE c AS '$STAGE/src/test/sanitize/planted', '$fault';
SELECT pg_temp.fault();
END
	stage_run pg_ctl -D "$cluster" -s -m immediate stop
	findings >"$STAGE/log/findings"
	grep -q "$fault .*planted\.c" "$STAGE/log/findings" ||
		{ cat "$STAGE/log"/{planted*,findings}; stage_die "$with does not find a fault that is there: $fault"; }
done

ONLY=$only TESTS=${TESTS:-} STAGED=yes STAGE=$STAGE "$stage_top"/scripts/test.sh
failed=$?

findings >"$STAGE/log/findings"
if [ -s "$STAGE/log/findings" ]; then
	cat "$STAGE/log/findings"
	echo "$with: there are findings"
	exit 1
fi
echo "$with: nothing found"
exit $failed
