# lint.sh: clang-tidy and cppcheck; part of test.sh, which has check() and the
# stage.  What is excepted, and why, stands in .clang-tidy and beside the
# options below.

flags=$(make_variable CPPFLAGS)
for file in $(cd "$STAGE/src" && find src -name '*.c' | sort); do
	check "clang-tidy $file" stage_run clang-tidy --quiet --warnings-as-errors='*' "$file" -- \
		$flags -Wno-ignored-attributes 2>/dev/null
done

# PostgreSQL's headers are not analysed, only ours; that some of their macros
# are then unknown is no finding.
check "cppcheck src" stage_run cppcheck --quiet --enable=warning,performance,portability \
	--inline-suppr --error-exitcode=1 --suppress=missingInclude --suppress=unknownMacro \
	--template='{file}:{line}: {severity}: {message} [{id}]' -I. -j2 src
