#!/bin/bash
#
# package.sh: the Debian package, built in one system, installed and tested in
# another that never saw a compiler of ours.
#
#   CHROOTS=/var/tmp/x   keeps the systems and the package there
#
# Both are made by system.sh, and always anew.

. "$(dirname "$0")/system.sh"

suite=bookworm
system_open package

# One step; what it printed is seen if it failed.
step()
{
	local what=$1

	shift
	printf '%-48s' "$what"
	if "$@" >"$system_log/step" 2>&1; then
		echo ok
	else
		echo FAILED
		sed 's/^/    /' "$system_log/step"
		exit 1
	fi
}

rm -rf --one-file-system "$systems"/{build,test}
step "a system to build in ($suite)" system_make build "$suite"
step "its lists of packages" system_inside build apt-get -qq update
step "a copy of it to test in" cp -a "$systems/build" "$systems/test"
step "the sources" system_copy_checkout build
step "what the build needs" system_inside build \
	sh -c 'apt-get -qqy install build-essential debhelper && apt-get -qqy build-dep /src/cupsource'
step "debian/control is that of this PostgreSQL" system_inside build sh -c '
	cd /src/cupsource && cp debian/control /src/control && pg_buildext updatecontrol && diff /src/control debian/control'
step "debian/changelog is that of this version" system_inside build sh -c '
	cd /src/cupsource && test "$(dpkg-parsechangelog -S Version | sed "s/-.*//")" = "$(sed -n "s/^default_version *= *.\([0-9.]*\).*/\1/p" cupsource.control)"'
step "dpkg-buildpackage" system_inside build sh -c 'cd /src/cupsource && dpkg-buildpackage -us -uc -b'
mkdir "$systems/test/package"
step "the package" sh -c 'cp "$0"/build/src/postgresql-*-cupsource_*.deb "$0"/test/package && ls "$0"/test/package' "$systems"
step "is installed" system_inside test sh -c 'apt-get -qqy install /package/*.deb'
step "holds nothing but the extension" system_inside test sh -c '
	dpkg -L postgresql-15-cupsource | while read -r file; do test -d "$file" || echo "$file"; done |
		grep -vE "^/usr/share/doc/|/cupsource(\.so|\.control|--[0-9.]+(--[0-9.]+)?\.sql)$" && exit 1
	exit 0'
step "the tests' sources" system_copy_checkout test
step "what the tests need" system_inside test \
	apt-get -qqy install make pkg-config python3 openssl postgresql-server-dev-15 libcurl4-openssl-dev libjson-c-dev
step "debian/tests/installcheck" system_inside test sh -c 'cd /src/cupsource && debian/tests/installcheck'
step "is removed" system_inside test sh -c 'apt-get -qqy purge postgresql-15-cupsource && ! find /usr -name "cupsource*" | grep .'
echo "the package was built, installed and tested: $(ls "$systems/test/package")"
