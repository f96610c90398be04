#!/bin/bash
#
# system.sh: a whole Debian in a directory, for what this machine's own cannot
# show.
#
#   . scripts/system.sh     gives the functions below to other scripts, and
#                           those of stage.sh
#
# A system is made by debootstrap below a temporary directory, or below the one
# that CHROOTS names, where it stays for the next time.  What runs in it does so
# in namespaces of its own: mounts and processes end with it, whatever happens.
# Needs root, debootstrap and Debian's archive (MIRROR).

. "$(dirname "${BASH_SOURCE[0]}")/stage.sh"

system_mirror=${MIRROR:-http://deb.debian.org/debian}

# Name the directory of the systems, $systems, which goes when the script ends
# unless CHROOTS names it, and that of their logs, $system_log.
system_open()
{
	[ "$(id -u)" -eq 0 ] || stage_die "only root can make a system in a directory: run this as root"
	"$stage_top"/scripts/packages.sh system || exit 1
	system_temporary=
	if [ -n "${CHROOTS:-}" ]; then
		mkdir -p "$CHROOTS" && systems=$(cd "$CHROOTS" && pwd) || exit 1
	else
		systems=$(mktemp -d "${TMPDIR:-/var/tmp}/cupsource-$1.XXXXXX") || exit 1
		system_temporary=yes
	fi
	trap system_close EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	system_log=$systems/log
	mkdir -p "$system_log" || exit 1
}

system_close()
{
	[ -z "$system_temporary" ] || rm -rf --one-file-system "$systems"
}

# Run a command in the system $1, with its own /proc and shared memory; what it
# started and mounted is gone when it ends.
system_inside()
{
	local root=$systems/$1

	shift
	unshare --mount --propagation private --pid --fork --kill-child \
		sh -c 'mount -t proc proc "$0/proc" && mount -t tmpfs -o mode=1777 tmpfs "$0/dev/shm" &&
			exec chroot "$0" "$@"' "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

# Make the system $1 of the Debian $2, unless it is there; the rest is for
# debootstrap.  No service is started in it, and no cluster made.
system_make()
{
	local root=$systems/$1 suite=$2

	[ ! -e "$root/system.complete" ] || return 0
	shift 2
	rm -rf --one-file-system "$root"
	debootstrap --variant=minbase "$@" "$suite" "$root" "$system_mirror" >"$system_log/$suite.system" 2>&1 ||
		{ tail -20 "$system_log/$suite.system"; return 1; }

	# A mirror may be behind its own dates; the signatures count all the same.
	echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/90cupsource"
	echo 'APT::Install-Recommends "false";' >>"$root/etc/apt/apt.conf.d/90cupsource"
	mkdir -p "$root/etc/postgresql-common/createcluster.d"
	echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.d/none.conf"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	touch "$root/system.complete"
}

# The checkout as /src/cupsource of the system $1.
system_copy_checkout()
{
	local root=$systems/$1

	rm -rf "$root/src/cupsource"
	mkdir -p "$root/src/cupsource" &&
		stage_files | tar -C "$stage_top" --null -T - -cf - |
		tar -C "$root/src/cupsource" --no-same-owner -xf -
}
