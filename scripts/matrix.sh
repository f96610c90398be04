#!/bin/bash
#
# matrix.sh: the tests on each PostgreSQL that Debian ships, each in a whole
# system of its own.
#
#   VERSIONS="15 17 18"   only these
#   ONLY="build regress"  only these parts of the tests
#   TESTS="test/t/0*.pl"  of the TAP tests only these
#   CHROOTS=/var/tmp/x    keeps the systems there, for the next time
#
# The checkout is copied into a system (system.sh) and "make test" runs there,
# which installs what it needs from that Debian's packages.  Where two versions
# meet, pg_upgrade is tested as well.

. "$(dirname "$0")/system.sh"

parts=${ONLY:-build unit regress isolation pgtap tap}
versions=${VERSIONS:-15 17 18}

suite_of()
{
	case $1 in
		15) echo bookworm ;;
		17) echo trixie ;;
		18) echo sid ;;
		*) stage_die "no Debian ships PostgreSQL $1: there are 15, 17 and 18" ;;
	esac
}
for version in $versions; do
	suite_of "$version" >/dev/null || exit 1
done
system_open matrix

# pg_upgrade from the PostgreSQL of bookworm, whose packages come beside those of
# the newer system; of its development package only the files, because nothing
# of what it depends on is needed.
add_bookworm()
{
	local suite=$1 root=$systems/$1

	[ ! -e "$root/matrix.bookworm" ] || return 0
	echo "deb $system_mirror bookworm main" >"$root/etc/apt/sources.list.d/bookworm.list"
	printf 'Package: *\nPin: release n=bookworm\nPin-Priority: 100\n' >"$root/etc/apt/preferences.d/bookworm"
	system_inside "$suite" sh -ec '
		apt-get -qq update
		apt-get -qq -y install --no-install-recommends postgresql-15
		cd /tmp
		apt-get -qq download postgresql-server-dev-15
		dpkg -x postgresql-server-dev-15_*.deb /
		touch /matrix.bookworm' || return 1
}

upgrade_from_15()
{
	local suite=$1

	add_bookworm "$suite" &&
		system_inside "$suite" bash -c '
			cd /src/cupsource && rm -rf /src/new /src/old
			scripts/stage.sh /src/new >/dev/null || exit 1
			PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config scripts/stage.sh /src/old >/dev/null || exit 1
			/src/new/run env CUPSOURCE_OLD=/src/old/pg/usr/lib/postgresql/15/bin prove -I test/t/lib test/matrix/pg_upgrade.pl'
}

passed=0
failed=0

for version in $versions; do
	suite=$(suite_of "$version")
	printf '%-24s' "PostgreSQL $version, $suite"
	if ! system_make "$suite" "$suite" --include=make || ! system_copy_checkout "$suite"; then
		echo "no system"
		failed=$((failed + 1))
		continue
	fi
	system_inside "$suite" make -C /src/cupsource test ONLY="$parts" TESTS="${TESTS:-}" >"$system_log/$suite" 2>&1
	sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$system_log/$suite" | tail -1)
	read -r good _ bad _ <<<"${sum:-0 passed, 1 failed}"
	passed=$((passed + good))
	failed=$((failed + bad))
	echo "${sum:-it ended without a result}"
	[ "$bad" -eq 0 ] || sed 's/^/    /' "$system_log/$suite"
	[ "$version" = 17 ] || continue
	printf '%-24s' "  pg_upgrade 15 to 17"
	upgrade_from_15 "$suite" >"$system_log/$suite.upgrade" 2>&1
	bad=$?
	good=$(sed -n 's/^Files=.*Tests=\([0-9]*\),.*/\1/p' "$system_log/$suite.upgrade")
	if [ "$bad" -eq 0 ] && [ "${good:-0}" -gt 0 ]; then
		echo "$good passed, 0 failed"
		passed=$((passed + good))
	else
		echo "failed"
		failed=$((failed + 1))
		sed 's/^/    /' "$system_log/$suite.upgrade"
	fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
