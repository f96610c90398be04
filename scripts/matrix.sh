#!/bin/bash
#
# matrix.sh: the tests on each PostgreSQL that Debian ships, each in a whole
# system of its own.
#
#   VERSIONS="15 17 18"   only these
#   ONLY="build regress"  only these parts of the tests
#   CHROOTS=/var/tmp/x    keeps the systems there, for the next time
#
# A system is made by debootstrap below a temporary directory.  The checkout is
# copied into it and "make test" runs there, which installs what it needs from
# that Debian's packages.  Where two versions meet, pg_upgrade is tested as
# well.  All of it happens in namespaces of its own: mounts and processes end
# with it, whatever happens.  Needs root, debootstrap and Debian's archive.

. "$(dirname "$0")/stage.sh"

mirror=${MIRROR:-http://deb.debian.org/debian}
parts=${ONLY:-build unit regress isolation pgtap tap}
versions=${VERSIONS:-15 17 18}

[ "$(id -u)" -eq 0 ] || stage_die "only root can make a system in a directory: run this as root"
if ! command -v debootstrap >/dev/null; then
	stage_die "debootstrap is missing: apt-get install debootstrap"
fi

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

made=
if [ -n "${CHROOTS:-}" ]; then
	mkdir -p "$CHROOTS" && chroots=$(cd "$CHROOTS" && pwd) || exit 1
else
	chroots=$(mktemp -d "${TMPDIR:-/var/tmp}/cupsource-matrix.XXXXXX") || exit 1
	made=yes
fi
log=$chroots/log
mkdir -p "$log" || exit 1

close_matrix()
{
	[ -z "$made" ] || rm -rf --one-file-system "$chroots"
}
trap close_matrix EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Run a command in that system, with its own /proc and shared memory; what it
# started and mounted is gone when it ends.
inside()
{
	local root=$1

	shift
	unshare --mount --propagation private --pid --fork --kill-child \
		sh -c 'mount -t proc proc "$0/proc" && mount -t tmpfs -o mode=1777 tmpfs "$0/dev/shm" &&
			exec chroot "$0" "$@"' "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

make_system()
{
	local suite=$1 root=$chroots/$1

	[ ! -e "$root/matrix.complete" ] || return 0
	rm -rf --one-file-system "$root"
	debootstrap --variant=minbase --include=make "$suite" "$root" "$mirror" >"$log/$suite.system" 2>&1 ||
		{ tail -20 "$log/$suite.system"; return 1; }

	# A mirror may be behind its own dates; the signatures count all the same.
	echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/90matrix"
	echo 'APT::Install-Recommends "false";' >>"$root/etc/apt/apt.conf.d/90matrix"
	touch "$root/matrix.complete"
}

copy_checkout()
{
	local root=$1

	rm -rf "$root/src/cupsource"
	mkdir -p "$root/src/cupsource" || return 1
	stage_files | tar -C "$stage_top" --null -T - -cf - | tar -C "$root/src/cupsource" --no-same-owner -xf -
}

# pg_upgrade from the PostgreSQL of bookworm, whose packages come beside those of
# the newer system; of its development package only the files, because nothing
# of what it depends on is needed.
add_bookworm()
{
	local root=$1

	[ ! -e "$root/matrix.bookworm" ] || return 0
	echo "deb $mirror bookworm main" >"$root/etc/apt/sources.list.d/bookworm.list"
	printf 'Package: *\nPin: release n=bookworm\nPin-Priority: 100\n' >"$root/etc/apt/preferences.d/bookworm"
	inside "$root" sh -ec '
		mkdir -p /etc/postgresql-common/createcluster.d
		echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/matrix.conf
		apt-get -qq update
		apt-get -qq -y install --no-install-recommends postgresql-15
		cd /tmp
		apt-get -qq download postgresql-server-dev-15
		dpkg -x postgresql-server-dev-15_*.deb /
		touch /matrix.bookworm' || return 1
}

upgrade_from_15()
{
	local root=$1

	add_bookworm "$root" &&
		inside "$root" bash -c '
			cd /src/cupsource
			scripts/stage.sh /src/new >/dev/null || exit 1
			PG_CONFIG=/usr/lib/postgresql/15/bin/pg_config scripts/stage.sh /src/old >/dev/null || exit 1
			/src/new/run env CUPSOURCE_OLD=/src/old/pg/usr/lib/postgresql/15/bin prove -I test/t/lib test/matrix/pg_upgrade.pl'
}

passed=0
failed=0

for version in $versions; do
	suite=$(suite_of "$version")
	printf '%-24s' "PostgreSQL $version, $suite"
	if ! make_system "$suite" || ! copy_checkout "$chroots/$suite"; then
		echo "no system"
		failed=$((failed + 1))
		continue
	fi
	inside "$chroots/$suite" make -C /src/cupsource test ONLY="$parts" >"$log/$suite" 2>&1
	sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log/$suite" | tail -1)
	read -r good _ bad _ <<<"${sum:-0 passed, 1 failed}"
	passed=$((passed + good))
	failed=$((failed + bad))
	echo "${sum:-it ended without a result}"
	[ "$bad" -eq 0 ] || sed 's/^/    /' "$log/$suite"
	[ "$version" = 17 ] || continue
	printf '%-24s' "  pg_upgrade 15 to 17"
	upgrade_from_15 "$chroots/$suite" >"$log/$suite.upgrade" 2>&1
	bad=$?
	good=$(sed -n 's/^Files=.*Tests=\([0-9]*\),.*/\1/p' "$log/$suite.upgrade")
	if [ "$bad" -eq 0 ] && [ "${good:-0}" -gt 0 ]; then
		echo "$good passed, 0 failed"
		passed=$((passed + good))
	else
		echo "failed"
		failed=$((failed + 1))
		sed 's/^/    /' "$log/$suite.upgrade"
	fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
