#!/bin/bash
#
# stage.sh: cupsource built into a private PostgreSQL.
#
#   scripts/stage.sh DIR [COPT=... CC=...]    builds into DIR; again: only what changed
#   . scripts/stage.sh                        gives the functions below to other scripts
#
# Nothing is written to the system's PostgreSQL.  Its programs find share/ and
# lib/ relative to where they themselves stand, so copies of them in a tree of
# the same shape, whose other entries lead back to the system's by symbolic
# links, are an installation of its own, with extension and library directories
# that are ours.
#
# PostgreSQL does not run as root.  Root therefore gives the whole stage to the
# user postgres and runs everything in it as that user; the sources are copied,
# because that user need not be able to read the checkout.

set -u

stage_top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
STAGE=${STAGE:-}

# A caller's settings are about his own server, his own make and his own git.
unset PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGSERVICE PGDATA PGOPTIONS PGSSLMODE
unset PGCLIENTENCODING PGPASSFILE PGSERVICEFILE PGTZ PGDATESTYLE PGAPPNAME PSQLRC PERL5LIB
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES GIT_DIR GIT_WORK_TREE
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY

stage_die()
{
	echo "cupsource: $*" >&2
	exit 1
}

# Run a command as the user who owns the stage.
stage_user()
{
	if [ "$(id -u)" -eq 0 ]; then
		runuser -u postgres -- "$@"
	else
		"$@"
	fi
}

# Run a command inside the stage: its programs first in PATH, its sources the
# current directory, everything temporary below it.
stage_run()
{
	stage_user "$STAGE/run" "$@"
}

# Name the stage: the directory given, or a temporary one, which stage_close
# removes.  It must be reachable for the user who is to own it.
stage_open()
{
	local base

	stage_temporary=
	if [ -n "${1:-}" ]; then
		mkdir -p "$1" || exit 1
		STAGE=$(cd "$1" && pwd)
	else
		for base in "${TMPDIR:-/tmp}" /tmp; do
			# A socket's path has to fit into 107 bytes.
			[ ${#base} -le 50 ] || continue
			STAGE=$(mktemp -d "$base/cupsource.XXXXXX") || exit 1
			stage_temporary=yes
			chmod 755 "$STAGE"
			stage_user test -x "$STAGE" 2>/dev/null && break
			rmdir "$STAGE"
		done
	fi
	[ "$(id -u)" -ne 0 ] || chown postgres: "$STAGE"
	cd "$STAGE" || exit 1
	stage_user mkdir -p "$STAGE"/{log,src,tmp} 2>/dev/null ||
		stage_die "the user postgres cannot write to $STAGE: choose a directory that it can reach"
}

# The private PostgreSQL.
stage_prefix()
{
	local config=${PG_CONFIG:-pg_config} version contents bindir sharedir pkglibdir pkgincludedir

	version=$("$config" --version) || stage_die "there is no pg_config: install postgresql-server-dev-15"
	bindir=$("$config" --bindir)
	sharedir=$("$config" --sharedir)
	pkglibdir=$("$config" --pkglibdir)
	pkgincludedir=$("$config" --pkgincludedir)
	stage_bin=$STAGE/pg$bindir
	stage_pgxs=$STAGE/pg$pkglibdir/pgxs
	[ -x "$bindir/initdb" ] || stage_die "there is no PostgreSQL server in $bindir"
	# Packages may have come since.
	contents="$version $(ls "$bindir" "$sharedir/extension" "$pkglibdir" | cksum)"
	[ "$(cat "$STAGE/pg/complete" 2>/dev/null)" = "$contents" ] && return

	stage_user bash -e -s "$STAGE/pg" "$bindir" "$sharedir" "$pkglibdir" "$pkgincludedir" <<'END'
		pg=$1 bindir=$2 sharedir=$3 pkglibdir=$4 pkgincludedir=$5
		rm -rf "$pg"
		mkdir -p "$pg$bindir" "$pg$sharedir/extension" "$pg$pkglibdir" "$pg$(dirname "$pkgincludedir")"
		cp -L "$bindir"/* "$pg$bindir"
		ln -s "$pkglibdir"/* "$pg$pkglibdir"
		ln -s "$pkgincludedir" "$pg$pkgincludedir"
		ln -s "$sharedir"/extension/* "$pg$sharedir/extension"
		for entry in "$sharedir"/*; do
			case ${entry##*/} in
				extension) ;;
				*) ln -s "$entry" "$pg$sharedir" ;;
			esac
		done
		# A cupsource that is installed in the system is not the one to be staged.
		rm -f "$pg$sharedir"/extension/cupsource* "$pg$pkglibdir"/cupsource.so
END
	[ $? -eq 0 ] || exit 1
	echo "$contents" | stage_user tee "$STAGE/pg/complete" >/dev/null
}

# What belongs to the project: what git tracks or would track, or everything
# where there is no repository (a release).  NUL-terminated, relative names.
stage_files()
{
	(
		cd "$stage_top" || exit 1
		{ git -c safe.directory="$stage_top" ls-files -coz --exclude-standard . 2>/dev/null ||
			find . -type f -not -path './.git/*' -printf '%P\0'; } |
			while IFS= read -r -d '' file; do
				[ -e "$file" ] && printf '%s\0' "$file"
			done | LC_ALL=C sort -zu
	)
}

# Copy the sources, times included, so that make compiles only what changed;
# what is gone from the checkout goes from the stage.
stage_copy()
{
	stage_files | stage_user tee "$STAGE/tmp/files" >/dev/null
	[ ! -e "$STAGE/files" ] || LC_ALL=C comm -z23 "$STAGE/files" "$STAGE/tmp/files" |
		(cd "$STAGE/src" && stage_user xargs -0r rm -f)
	tar -C "$stage_top" --null -T "$STAGE/tmp/files" -cf - | stage_user tar -C "$STAGE/src" -xf - ||
		stage_die "could not copy the sources to $STAGE/src"
	stage_user mv "$STAGE/tmp/files" "$STAGE/files"
}

# The programme that runs a command in the stage.  It also starts and stops a
# cluster of the developer's own.
stage_runner()
{
	stage_user tee "$STAGE/run" >/dev/null <<END
#!/bin/bash
#
# run COMMAND...  runs it in this stage: its PostgreSQL first in PATH
# run start       starts a cluster in it (again after a build: restarts it)
# run stop        stops it
#
[ "\$(id -u)" -ne 0 ] || exec runuser -u postgres -- "\$0" "\$@"
cd '$STAGE/src' || exit 1
export PATH='$stage_bin':\$PATH HOME='$STAGE' TMPDIR='$STAGE/tmp' LC_ALL=C.UTF-8
export PGHOST='$STAGE/tmp' PGPORT=\${PGPORT:-5432} PGDATABASE=\${PGDATABASE:-postgres}
export PG_REGRESS='$stage_pgxs/src/test/regress/pg_regress'
export PERL5LIB='$stage_pgxs/src/test/perl:$STAGE/src/test/t/lib'
export TESTDIR='$STAGE' TESTDATADIR='$STAGE/tmp_check' TESTLOGDIR='$STAGE/tmp_check/log'
export PG_TEST_TIMEOUT_DEFAULT=\${PG_TEST_TIMEOUT_DEFAULT:-60}
case "\$*" in
	start)
		[ -s '$STAGE/data/PG_VERSION' ] ||
			{ initdb -D '$STAGE/data' -A trust -N -E UTF8 --no-locale >'$STAGE/log/initdb' &&
				cat cupsource.conf >>'$STAGE/data/postgresql.conf'; } || exit 1
		exec pg_ctl -D '$STAGE/data' -l '$STAGE/log/server' -s -w -m fast \\
			-o "-c listen_addresses= -k '$STAGE/tmp' -p 5432" restart 2>/dev/null
		;;
	prove\ *)
		# A failed test keeps its clusters; the next one must find its place free.
		rm -rf '$STAGE/tmp_check'
		;;
	stop) exec pg_ctl -D '$STAGE/data' -s -m fast stop ;;
esac
exec "\$@"
END
	stage_user chmod 755 "$STAGE/run"
}

# Build and install into the private PostgreSQL, with the points at which tests
# crash it (src/base/crash.h); arguments go to make.  What the build prints is
# seen if it fails; warnings are always seen.
stage_build()
{
	if ! stage_run make -j2 PG_CONFIG="$stage_bin/pg_config" CRASH_POINTS=1 "$@" install install-tests \
			2>&1 >"$STAGE/log/build" | tee -a "$STAGE/log/warnings" >&2 ||
		[ "${PIPESTATUS[0]}" -ne 0 ]; then
		cat "$STAGE/log/build" >&2
		return 1
	fi
}

# Everything at once: $1 is the directory or nothing, the rest is for make.
stage_make()
{
	local dir=${1:-}

	[ $# -eq 0 ] || shift
	stage_open "$dir"
	stage_prefix
	stage_copy
	stage_runner
	stage_build "$@"
}

# The processes of this stage: those whose program or current directory lies in
# it.  Other people's are never touched.
stage_processes()
{
	local process link

	for process in /proc/[0-9]*; do
		for link in exe cwd; do
			case "$(readlink "$process/$link" 2>/dev/null)/" in
				"$STAGE"/*)
					[ "${process#/proc/}" = $$ ] || [ "${process#/proc/}" = "$BASHPID" ] ||
						echo "${process#/proc/}"
					break
					;;
			esac
		done
	done
}

# Stop what was started in the stage.  Servers first and in an orderly way, so
# that they give back their shared memory.
stage_stop()
{
	local pidfile process left

	[ -x "$STAGE/run" ] || return
	cd /
	find "$STAGE" -name postmaster.pid 2>/dev/null | while read -r pidfile; do
		# In a stage that is kept, this one is a developer's.
		[ -n "${stage_temporary:-}" ] || [ "${pidfile%/*}" != "$STAGE/data" ] || continue
		stage_run pg_ctl -D "${pidfile%/*}" -s -m immediate stop >/dev/null 2>&1
	done
	[ -n "${stage_temporary:-}" ] || return
	left=$(stage_processes)
	[ -n "$left" ] || return
	kill $left 2>/dev/null
	for process in $left; do
		timeout 3 tail -s 0.1 --pid="$process" -f /dev/null || kill -9 "$process" 2>/dev/null
	done
}

# Stop, and remove what was temporary; a second signal is not to end that halfway.
stage_close()
{
	trap '' INT TERM HUP
	[ -n "$STAGE" ] && [ -d "$STAGE" ] || return
	stage_stop
	cd /
	[ -z "${stage_temporary:-}" ] || rm -rf "$STAGE"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
	[ -n "${1:-}" ] || stage_die "say where: make stage DIR=/tmp/x"
	"$stage_top"/scripts/packages.sh build || exit 1
	stage_make "$@" || exit 1
	cat <<END
cupsource is built into $STAGE; nothing was installed into the system.
  $STAGE/run start                    a cluster with cupsource preloaded
  $STAGE/run psql                     a session in it
  $STAGE/run prove test/t/NAME.pl     any command, with that PostgreSQL first in PATH
  make test STAGE=$STAGE ONLY=regress
  $STAGE/run stop
END
fi
