#!/bin/bash
#
# packages.sh: install the Debian packages that something needs and that are
# missing; where nothing is missing, say nothing and need nothing.
#
#   scripts/packages.sh build|demo|fuzz|http|sqlsmith|asan|valgrind|system
#   scripts/packages.sh test|bench [PART...]     for these parts of them; default: all
#
# It looks for the thing (a program, a header), not for the package, so that a
# PostgreSQL from elsewhere is as good.  A PostgreSQL that is new on the machine
# does not get its usual cluster "main", and nothing that is installed here is
# started.

set -u

missing=()
names=()

# need PACKAGE WHY COMMAND...: the package is missing if the command fails.
need()
{
	local package=$1 why=$2

	shift 2
	case " ${missing[*]} " in
		*" $package "*) return ;;
	esac
	"$@" >/dev/null 2>&1 && return
	missing+=("$package")
	names+=("$(printf '  %-26s %s' "$package" "$why")")
}

have() { command -v "$1"; }
perl_has() { perl -e 'for (@INC) { exit 0 if -e "$_/$ARGV[0]" } exit 1' "$1"; }
curl_is_openssl() { pkg-config --exists libcurl && curl-config --ssl-backends | grep -q OpenSSL; }
# Debian's client package has PGXS without the headers, and libpq-dev a pg_config.
pgxs() { [ -e "$("$config" --pgxs)" ] && [ -e "$("$config" --includedir-server)/postgres.h" ]; }
server() { [ -x "$bindir/initdb" ]; }
gcc_has() { [ "$(gcc -print-file-name="$1")" != "$1" ]; }
fuzzer() { [ -e "$(clang -print-file-name="libclang_rt.fuzzer_no_main-$(uname -m).a")" ]; }

# part PART test [WANTED...]: is it wanted?
part()
{
	[ $# -eq 2 ] || case " ${*:3} " in
		*" $1 "*) ;;
		*) return 1 ;;
	esac
}

extension() { [ -e "$("$config" --sharedir)/extension/$1.control" ]; }

# The major version: that of pg_config, else of the newest server here, else
# what the distribution offers.
config=${PG_CONFIG:-pg_config}
if [ -x "$(command -v "$config")" ]; then
	bindir=$("$config" --bindir)
	major=$("$config" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
else
	bindir=
	major=$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sed -n 's,.*/\([0-9]*\)/bin.*,\1,p' |
		sort -n | tail -1)
fi

build()
{
	need gcc "compiles the extension" have gcc
	need libc6-dev "the C library's headers" test -e /usr/include/stdio.h
	need pkg-config "finds libcurl and json-c" have pkg-config
	need postgresql "the server" server
	need postgresql-server-dev "the server's headers and PGXS" pgxs
	need libcurl4-openssl-dev "HTTP" curl_is_openssl
	need libjson-c-dev "JSON" pkg-config --exists json-c
}

sandbox()
{
	need python3 "runs the sandbox that stands in for the partners" have python3
	need openssl "makes the sandbox's certificates" have openssl
}

case ${1:-} in
	build)
		build
		;;
	demo)
		build
		sandbox
		;;
	test)
		build
		sandbox
		need perl "runs the tests" have prove
		need libipc-run-perl "PostgreSQL's test modules use it" perl_has IPC/Run.pm
		part tap "$@" && need prometheus-postgres-exporter "monitoring" have prometheus-postgres-exporter
		part tap "$@" && need prometheus "tests the alert rules and the dashboard" have promtool
		part tap "$@" && need pgbouncer "a connection pool before the server" have pgbouncer
		part pgtap "$@" && need pgtap "tests of the state transitions" extension pgtap
		part build "$@" && need clang "the second compiler" have clang
		part fuzz "$@" && need clang "compiles what is fuzzed" have clang
		part fuzz "$@" && need libclang-rt-dev "libFuzzer and AddressSanitizer" fuzzer
		part lint "$@" && need clang-tidy "static analysis" have clang-tidy
		part lint "$@" && need cppcheck "static analysis" have cppcheck
		;;
	fuzz)
		build
		need clang "compiles what is fuzzed" have clang
		need libclang-rt-dev "libFuzzer and AddressSanitizer" fuzzer
		;;
	asan)
		build
		need libgcc-12-dev "AddressSanitizer and UBSan" gcc_has libasan.so
		;;
	valgrind)
		build
		need valgrind "memcheck" have valgrind
		;;
	sqlsmith)
		build
		sandbox
		need sqlsmith "makes queries" have sqlsmith
		;;
	system)
		need debootstrap "makes a system of its own in a directory" have debootstrap
		;;
	bench)
		build
		sandbox
		need nginx "the server that is measured against" test -x /usr/sbin/nginx
		need ca-certificates "the authorities of whom one more is trusted" test -e /etc/ssl/certs/ca-certificates.crt
		part cost "$@" && need valgrind "counts instructions" have valgrind
		;;
	http)
		need postgresql-http "the extension that is measured against" extension http
		;;
	*)
		echo "usage: scripts/packages.sh build|demo|test|fuzz|bench|http|sqlsmith|asan|valgrind|system" >&2
		exit 2
		;;
esac

[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
	{
		echo "cupsource: these are missing, by their Debian names; there is no apt-get to install them:"
		printf '%s\n' "${names[@]}"
	} >&2
	exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
	as_root=sudo
	if ! command -v sudo >/dev/null; then
		{
			echo "cupsource: these packages are missing, and without sudo only root can install them:"
			printf '%s\n' "${names[@]}"
			echo "As root: scripts/packages.sh $1"
		} >&2
		exit 1
	fi
fi

echo "cupsource installs from Debian what is missing here:"
printf '%s\n' "${names[@]}"

log=$(mktemp) || exit 1
cluster_conf=/etc/postgresql-common/createcluster.d/cupsource.conf
policy=/usr/sbin/policy-rc.d
policy_made=

# Undo what was only for the time of the installation.
restore()
{
	$as_root rm -f "$cluster_conf"
	$as_root rmdir "${cluster_conf%/*}" 2>/dev/null
	[ -z "$policy_made" ] || $as_root rm -f "$policy"
	rm -f "$log"
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

$as_root mkdir -p "${cluster_conf%/*}" || exit 1
echo "create_main_cluster = false" | $as_root tee "$cluster_conf" >/dev/null
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
	policy_made=yes
	$as_root chmod 755 "$policy"
fi

apt()
{
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 \
		-o Dpkg::Use-Pty=0 "$@" </dev/null >>"$log" 2>&1
}

# Lists may be absent or old; without a network the ones that are there may do.
apt update
[ -n "$major" ] ||
	major=$(apt-cache show postgresql | sed -n 's/^Version: \([0-9]*\).*/\1/p' | sort -n | tail -1)
for i in "${!missing[@]}"; do
	case ${missing[$i]} in
		postgresql) missing[$i]=postgresql-$major ;;
		postgresql-server-dev) missing[$i]=postgresql-server-dev-$major ;;
		pgtap) missing[$i]=postgresql-$major-pgtap ;;
		postgresql-http) missing[$i]=postgresql-$major-http ;;
	esac
done
if ! apt install --no-install-recommends "${missing[@]}"; then
	cat "$log" >&2
	echo "cupsource: could not install ${missing[*]}" >&2
	exit 1
fi

# Ours are started by hand, on ports of their own; the services are not wanted.
for service in nginx pgbouncer prometheus prometheus-postgres-exporter; do
	case " ${missing[*]} " in
		*" $service "*) $as_root systemctl disable "$service.service" >/dev/null 2>&1 ;;
	esac
done
exit 0
