# lint.sh: clang-tidy and cppcheck; part of test.sh, which has check() and the
# stage.  What is excepted, and why, stands in .clang-tidy and beside the
# options below.

lint_clean()
{
	[ ! -e "$1" ] || { cat "$1"; return 1; }
}

# Two at a time, each with its own log; then one test each.
flags=$(make_variable CPPFLAGS)
sources=$(cd "$STAGE/src" && find src -name '*.c' | sort)
stage_user rm -rf "$STAGE/tmp/lint"
stage_user mkdir "$STAGE/tmp/lint"
printf '%s\n' $sources | stage_run xargs -P2 -I{} sh -c '
	log=$1/$(echo "$2" | tr / _)
	shift 2
	clang-tidy --quiet --warnings-as-errors="*" "$@" >"$log" 2>/dev/null && rm "$log"
	' lint "$STAGE/tmp/lint" {} {} -- $flags -Wno-ignored-attributes
for file in $sources; do
	log=$STAGE/tmp/lint/${file//\//_}
	check "clang-tidy $file" lint_clean "$log"
done

# PostgreSQL's headers are not analysed, only ours, so cppcheck is told what it
# must know of them: what does not return, and the lowest versions supported.
#   unknownMacro     other macros of those headers
#   varFuncNullUB    NULL is a pointer in every C that PostgreSQL is built with
check "cppcheck src" stage_run cppcheck --quiet --enable=warning,performance,portability -j2 -I. \
	-DPG_VERSION_NUM=150000 -DLIBCURL_VERSION_NUM=0x075700 \
	-D"pg_noreturn=__attribute__((noreturn))" \
	-D'ereport(level,...)=((level) >= ERROR ? abort() : (void) 0)' \
	-DLOG=15 -DNOTICE=18 -DWARNING=19 -DERROR=21 -DFATAL=22 -DPANIC=23 \
	--suppress=missingInclude --suppress=unknownMacro --suppress=varFuncNullUB \
	--inline-suppr --error-exitcode=1 --template='{file}:{line}: {severity}: {message} [{id}]' src
