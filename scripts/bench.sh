#!/bin/bash
#
# bench.sh: the measurements, as ratios in one run.
#
#   PRODUCTS=100000 ROUNDS=5 ONLY="live cost refresh catalog trigger orders", or ONLY=http
#   ONLY=million         the catalogue with 1,000,000 products, against the one above; takes long
#
# The partner is nginx with generated pages, over http and https; the yardstick
# is the least program that does the same (test/bench/limits.c).  What is
# measured, and how the table is printed, is test/bench/bench.py's; what concerns
# orders is in orders.py, with partner.c as the partner.

. "$(dirname "$0")/stage.sh"

products=${PRODUCTS:-100000}
rounds=${ROUNDS:-5}

"$stage_top"/scripts/packages.sh bench ${ONLY:-} || exit 1
case " ${ONLY:-} " in
	*" http "*) "$stage_top"/scripts/packages.sh http || exit 1 ;;
esac

# A million products lie in so much of shared memory that the processor spends a
# tenth of a refresh on finding the pages, unless they are huge, as PostgreSQL's
# documentation advises ("Linux Huge Pages").  Root reserves them for that run.
huge_pages=/proc/sys/vm/nr_hugepages
huge_pages_before=

reserve_huge_pages()
{
	local wanted

	[ "$(id -u)" -eq 0 ] && [ -w $huge_pages ] || return
	wanted=$(stage_run postgres -D "$directory/data" -C shared_memory_size_in_huge_pages) || return
	huge_pages_before=$(cat $huge_pages)
	echo $((huge_pages_before + wanted)) >$huge_pages
	[ "$(cat $huge_pages)" -eq $((huge_pages_before + wanted)) ]
}

give_back_huge_pages()
{
	[ -z "$huge_pages_before" ] || echo "$huge_pages_before" >$huge_pages
}

trap 'stage_close; give_back_huge_pages' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# As it is installed: without the points at which tests crash it.
stage_make '' CRASH_POINTS= || exit 1
directory=$STAGE/bench
stage_user mkdir -p "$directory"

stage_run gcc -O2 -Wall -o "$directory/limits" test/bench/limits.c \
	$(pkg-config --cflags --libs libcurl json-c) || exit 1
stage_run gcc -O2 -Wall -o "$directory/partner" test/bench/partner.c || exit 1
stage_run gcc -O2 -Wall -fPIC -shared -o "$directory/least.so" test/bench/least.c \
	-I"$("${PG_CONFIG:-pg_config}" --includedir-server)" $(pkg-config --cflags --libs libcurl json-c) || exit 1
stage_run rm -rf "$directory/pages"
stage_run python3 test/bench/pages.py "$directory/pages/v2" "$products" || exit 1
stage_run python3 test/bench/pages.py "$directory/pages/tenth/v2" $(((products + 9) / 10)) || exit 1
stage_run python3 test/bench/pages.py "$directory/pages/small/v2" 1 || exit 1
case " ${ONLY:-} " in
	*" million "*) stage_run python3 test/bench/pages.py "$directory/pages/million/v2" 1000000 || exit 1 ;;
esac

# The sandbox makes the certificates; it has nothing else to do here.
stage_run python3 test/sandbox/server.py --parent --tls "$directory/tls" </dev/null >/dev/null || exit 1

# The system's bundle with one authority more: what a verified connection costs.
stage_run sh -c 'cat /etc/ssl/certs/ca-certificates.crt "$1/ca.pem" >"$1/bundle.pem"' sh \
	"$directory/tls" || exit 1

# Three free ports.
read -r port tls_port closing_port < <(stage_run python3 -c '
import socket
free = [socket.socket() for _ in range(3)]
for one in free:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in free))')
sed -e "s,@DIR@,$directory,g" -e "s,@TLS@,$directory/tls,g" -e "s,@PORT@,$port,g" \
	-e "s,@TLS_PORT@,$tls_port,g" -e "s,@CLOSING_PORT@,$closing_port,g" "$STAGE/src/test/bench/nginx.conf" |
	stage_user tee "$directory/nginx.conf" >/dev/null
# On the core of those who ask, so that no wake-up of another core is measured.
stage_run taskset -c 0 /usr/sbin/nginx -e "$directory/nginx.error" -p "$directory" -c "$directory/nginx.conf" &
nginx_ready=
for try in {1..1000}; do
	if stage_run "$directory/limits" get "http://127.0.0.1:$port/small/v2/products" 1 >/dev/null 2>&1; then
		nginx_ready=yes
		break
	fi
	kill -0 $! 2>/dev/null || break
done
[ -n "$nginx_ready" ] || { cat "$directory/nginx.error" >&2; stage_die "nginx did not start"; }

# As a user would run it: durable, nothing tuned but the memory.  WAL files that are
# there stay: a run with more WAL than the one before is not measured making them.
stage_run initdb -D "$directory/data" -A trust -E UTF8 --no-locale >"$STAGE/log/bench.initdb" || exit 1
stage_run tee -a "$directory/data/postgresql.conf" >/dev/null <<END
shared_preload_libraries = 'cupsource'
listen_addresses = ''
unix_socket_directories = '$STAGE/tmp'
shared_buffers = '1GB'
max_wal_size = '16GB'
min_wal_size = '2GB'
checkpoint_timeout = '1h'
autovacuum = off
END
case " ${ONLY:-} " in
	*" million "*)
		if reserve_huge_pages; then
			echo "huge_pages = on" | stage_run tee -a "$directory/data/postgresql.conf" >/dev/null
			echo "The shared buffers are in huge pages, which are reserved for this run."
		else
			echo "The shared buffers are not in huge pages: those are reserved by root."
		fi ;;
esac
stage_run pg_ctl -D "$directory/data" -l "$STAGE/log/server" -s -w start ||
	{ cat "$STAGE/log/server" >&2; exit 1; }

stage_run /usr/bin/python3 test/bench/bench.py --limits "$directory/limits" --http "http://127.0.0.1:$port" \
	--https "https://localhost:$tls_port" --closing "https://localhost:$closing_port" \
	--partner "$directory/partner" --function "$directory/least.so" --bundle "$directory/tls/bundle.pem" \
	--products "$products" --rounds "$rounds" --only "${ONLY:-}"
