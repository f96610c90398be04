#!/bin/bash
#
# package.sh: the Debian package, built in one system, installed and tested in
# another that never saw a compiler of ours.
#
#   CHROOTS=/var/tmp/x   keeps the systems and the package there
#
# Both are made by debootstrap below a temporary directory, and everything runs
# in namespaces of its own, as in matrix.sh.  Needs root, debootstrap and
# Debian's archive.

. "$(dirname "$0")/stage.sh"

mirror=${MIRROR:-http://deb.debian.org/debian}
suite=bookworm

[ "$(id -u)" -eq 0 ] || stage_die "only root can make a system in a directory: run this as root"
"$stage_top"/scripts/packages.sh package || exit 1

made=
if [ -n "${CHROOTS:-}" ]; then
	mkdir -p "$CHROOTS" && chroots=$(cd "$CHROOTS" && pwd) || exit 1
else
	chroots=$(mktemp -d "${TMPDIR:-/var/tmp}/cupsource-package.XXXXXX") || exit 1
	made=yes
fi
log=$chroots/log
mkdir -p "$log" || exit 1

close_package()
{
	[ -z "$made" ] || rm -rf --one-file-system "$chroots"
}
trap close_package EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Run a command in that system, with its own /proc and shared memory; what it
# started and mounted is gone when it ends.
inside()
{
	local root=$chroots/$1

	shift
	unshare --mount --propagation private --pid --fork --kill-child \
		sh -c 'mount -t proc proc "$0/proc" && mount -t tmpfs -o mode=1777 tmpfs "$0/dev/shm" &&
			exec chroot "$0" "$@"' "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

# One step; what it printed is seen if it failed.
step()
{
	local what=$1

	shift
	printf '%-48s' "$what"
	if "$@" >"$log/step" 2>&1; then
		echo ok
	else
		echo FAILED
		sed 's/^/    /' "$log/step"
		exit 1
	fi
}

base_system()
{
	debootstrap --variant=minbase "$suite" "$chroots/build" "$mirror" || return 1

	# A mirror may be behind its own dates; the signatures count all the same.
	echo 'Acquire::Check-Valid-Until "false";' >"$chroots/build/etc/apt/apt.conf.d/90package"
	echo 'APT::Install-Recommends "false";' >>"$chroots/build/etc/apt/apt.conf.d/90package"

	# No cluster, no service.
	mkdir -p "$chroots/build/etc/postgresql-common/createcluster.d"
	echo 'create_main_cluster = false' >"$chroots/build/etc/postgresql-common/createcluster.d/none.conf"
	printf '#!/bin/sh\nexit 101\n' >"$chroots/build/usr/sbin/policy-rc.d"
	chmod 755 "$chroots/build/usr/sbin/policy-rc.d"
	inside build apt-get -qq update
}

copy_checkout()
{
	mkdir -p "$chroots/$1/src/cupsource" &&
		stage_files | tar -C "$stage_top" --null -T - -cf - |
		tar -C "$chroots/$1/src/cupsource" --no-same-owner -xf -
}

rm -rf --one-file-system "$chroots"/{build,test}
step "a system to build in ($suite)" base_system
step "a copy of it to test in" cp -a "$chroots/build" "$chroots/test"
step "the sources" copy_checkout build
step "what the build needs" inside build \
	sh -c 'apt-get -qqy install build-essential debhelper && apt-get -qqy build-dep /src/cupsource'
step "debian/control is that of this PostgreSQL" inside build sh -c '
	cd /src/cupsource && cp debian/control /src/control && pg_buildext updatecontrol && diff /src/control debian/control'
step "debian/changelog is that of this version" inside build sh -c '
	cd /src/cupsource && test "$(dpkg-parsechangelog -S Version | sed "s/-.*//")" = "$(sed -n "s/^default_version *= *.\([0-9.]*\).*/\1/p" cupsource.control)"'
step "dpkg-buildpackage" inside build sh -c 'cd /src/cupsource && dpkg-buildpackage -us -uc -b'
mkdir "$chroots/test/package"
step "the package" sh -c 'cp "$0"/build/src/postgresql-*-cupsource_*.deb "$0"/test/package && ls "$0"/test/package' "$chroots"
step "is installed" inside test sh -c 'apt-get -qqy install /package/*.deb'
step "holds nothing but the extension" inside test sh -c '
	dpkg -L postgresql-15-cupsource | while read -r file; do test -d "$file" || echo "$file"; done |
		grep -vE "^/usr/share/doc/|/cupsource(\.so|\.control|--[0-9.]+(--[0-9.]+)?\.sql)$" && exit 1
	exit 0'
step "the tests' sources" copy_checkout test
step "what the tests need" inside test \
	apt-get -qqy install make pkg-config python3 openssl postgresql-server-dev-15 libcurl4-openssl-dev libjson-c-dev
step "debian/tests/installcheck" inside test sh -c 'cd /src/cupsource && debian/tests/installcheck'
step "is removed" inside test sh -c 'apt-get -qqy purge postgresql-15-cupsource && ! find /usr -name "cupsource*" | grep .'
echo "the package was built, installed and tested: $(ls "$chroots/test/package")"
