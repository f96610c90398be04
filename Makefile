# cupsource: order at wholesale partners from SQL.
#
# "make" and "make install" need PostgreSQL's server headers, libcurl (its
# OpenSSL flavour, the library that PostgreSQL itself uses) and json-c, and
# nothing else.  "make help" lists what else there is; those targets fetch what
# they need by themselves.

EXTENSION   = cupsource
EXTVERSION := $(shell sed -n "s/^default_version *= *'\([^']*\)'.*/\1/p" cupsource.control)

# The files of each folder, without the ending, in the order of the layers:
# nothing depends on what comes after it.
# [0] PostgreSQL only
BASE     = errors guc state
# [1] memory that all processes share
SHARED   = shmem budget limiter stats contact tokens changes wake launch serve refreshers handoff
# [1] one door per library
WIRE     = http_wait http_transfer http_answer http json_scan json_tree json parse datum writer sign signature
# [2] what the partners' documents say
API      = api country finding form_value form form_reader cupsource_v1 cupsource_v2 customhub_v1
# [3] one call, with account, limits and retries
CLIENT   = options server secret account attempt auth call shape list rows facts page
# [4] features
CATALOG  = rowset terms search load run absent details refresh live
ORDERING = answer work transfer prepare places claim look record doubt cancel outcome follow parcels listing take lookup items rules check insert enqueue mapping submit create ask quote asset resume
WEBHOOKS = verify event receive register
OPS      = version codes ops servers
# [5] what runs them
FDW      = table filter estimate plan fetch choose scan async explain import check modify fdw
WORKER   = launcher utility refresher schedule worker
# [6] the module itself
MODULE   = cupsource

OBJS = $(BASE:%=src/base/%.o) $(SHARED:%=src/shared/%.o) $(WIRE:%=src/wire/%.o) \
	$(API:%=src/api/%.o) $(CLIENT:%=src/client/%.o) $(CATALOG:%=src/catalog/%.o) \
	$(ORDERING:%=src/orders/%.o) $(WEBHOOKS:%=src/webhooks/%.o) $(OPS:%=src/ops/%.o) \
	$(FDW:%=src/fdw/%.o) $(WORKER:%=src/worker/%.o) $(MODULE:%=src/%.o)

# The install script is these, one after the other.
SQL_PARTS = src/base/schema.sql src/fdw/fdw.sql src/catalog/terms.sql src/catalog/tables.sql src/catalog/merge.sql \
	src/catalog/runs.sql src/catalog/schedule.sql src/catalog/views.sql src/catalog/search.sql src/catalog/live.sql \
	src/orders/tables.sql src/orders/transitions.sql src/orders/outcome.sql src/orders/following.sql src/orders/claim.sql src/orders/queue.sql \
	src/orders/clock.sql src/orders/views.sql src/orders/check.sql src/orders/functions.sql src/orders/assets.sql \
	src/webhooks/tables.sql src/webhooks/apply.sql src/webhooks/functions.sql \
	src/ops/ops.sql src/ops/progress.sql src/ops/health.sql src/ops/servers.sql src/fdw/tables.sql src/ops/codes.sql src/ops/rights.sql src/ops/columns.sql

# One topic each: sql/TOPIC.sql, test/isolation/specs/TOPIC.spec.
REGRESS = options errors servers
ISOLATION = orders_same_id orders_claim orders_races orders_resubmit servers_dropped webhooks

# C drivers that print TAP: test/unit/NAME.c.
UNITS = budget tokens parse signature

REGRESS_OPTS   = --temp-config=$(srcdir)/cupsource.conf --load-extension=cupsource
ISOLATION_OPTS = --temp-config=$(srcdir)/cupsource.conf --load-extension=cupsource \
	--inputdir=$(srcdir)/test/isolation --outputdir=test/isolation
TAP_TESTS      = 1
PROVE_TESTS    = test/t/*.pl
PROVE_FLAGS    = -I $(srcdir)/test/t/lib

ifneq ($(strip $(OBJS)),)
MODULE_big  = cupsource
endif
# From which earlier versions "ALTER EXTENSION cupsource UPDATE" comes here.
UPDATES     = 0.1.0
DATA_built  = cupsource--$(EXTVERSION).sql $(UPDATES:%=cupsource--%--$(EXTVERSION).sql)
PGFILEDESC  = "cupsource - order at wholesale partners from SQL"
EXTRA_CLEAN = $(OBJS:.o=.d) test/unit/build test/modules/*.o test/modules/*.d test/modules/*.so test/fuzz/build test/sanitize/*.so test/isolation/results test/isolation/output_iso

PKG_CONFIG  ?= pkg-config
PG_CPPFLAGS  = $(shell $(PKG_CONFIG) --cflags libcurl json-c) -MMD -MP \
	-DCUPSOURCE_VERSION='"$(EXTVERSION)"' $(if $(CRASH_POINTS),-DCUPSOURCE_CRASH_POINTS)
SHLIB_LINK   = $(shell $(PKG_CONFIG) --libs libcurl json-c)

# PostgreSQL's own flags and printf attributes are gcc's; clang is not to
# stumble over them.  Unused parameters are the rule with fmgr, callbacks and
# hooks, and a table's sentinel is {0}.
CLANG_CFLAGS = -Wno-unknown-warning-option -Wno-ignored-optimization-argument -Wno-ignored-attributes
PG_CFLAGS    = -Wno-unused-parameter -Wno-missing-field-initializers \
	$(if $(findstring clang,$(CC)),$(CLANG_CFLAGS))

# Calls from file to file go straight there, and those of libraries without the
# procedure linkage table: a live call runs through 130 cache lines of code less.
ifeq ($(shell uname -s),Linux)
PG_CFLAGS   += -fno-plt
SHLIB_LINK  += -Wl,-Bsymbolic-functions
endif

# These run before anything is installed, so they must not need PGXS.
TOOL_GOALS   = help stage demo test test-matrix test-sanitize test-valgrind test-package torture fuzz soak sqlsmith bench bench-http docs dist

.PHONY: $(TOOL_GOALS)

help:   ## this list
	@echo "cupsource $(EXTVERSION)"
	@echo "  make                builds the library and the install script"
	@echo "  make install        installs them into the PostgreSQL of PG_CONFIG (default: pg_config)"
	@echo "  make clean          removes what was built"
	@sed -n 's/^\([a-z-]*\): *## \(.*\)/\1:\2/p' Makefile | \
		while IFS=: read -r t d; do printf '  make %-14s %s\n' "$$t" "$$d"; done

stage:  ## DIR=/tmp/x: builds into a private PostgreSQL there; again: only what changed
	@scripts/stage.sh '$(DIR)' $(if $(COPT),COPT='$(COPT)') $(if $(filter command line,$(origin CC)),CC='$(CC)')

demo:   ## the whole story on a throwaway PostgreSQL and the sandbox; KEEP=1 leaves it running
	@KEEP='$(KEEP)' scripts/demo.sh

test:   ## every test; ONLY="checks unit sandbox regress isolation pgtap build lint fuzz tap"; STAGE=/tmp/x
	@ONLY='$(ONLY)' STAGE='$(STAGE)' scripts/test.sh

test-matrix: ## the tests on PostgreSQL 15, 17 and 18, each in a Debian of its own; VERSIONS="17 18" ONLY=tap TESTS=test/t/010_orders.pl CHROOTS=/var/tmp/x
	@ONLY='$(ONLY)' TESTS='$(TESTS)' VERSIONS='$(VERSIONS)' CHROOTS='$(CHROOTS)' scripts/matrix.sh

torture: ## kills everything at random for longer than "make test" does; ORDERS=10000 SEED=1
	@ORDERS='$(ORDERS)' SEED='$(SEED)' scripts/torture.sh

fuzz:   ## libFuzzer on answers, headers, webhooks and order forms; SECONDS=60 each; CORPUS=/tmp/x keeps what it finds
	@SECONDS_EACH='$(SECONDS)' CORPUS='$(CORPUS)' STAGE='$(STAGE)' scripts/fuzz.sh

test-sanitize: ## the tests with AddressSanitizer and UBSan; ONLY=tap TESTS=test/t/010_orders.pl
	@WITH=asan ONLY='$(ONLY)' TESTS='$(TESTS)' STAGE='$(STAGE)' scripts/sanitize.sh

test-valgrind: ## the tests with valgrind's memcheck, of TAP those in test/sanitize/memcheck; TESTS="test/t/010_orders.pl ..."
	@WITH=valgrind ONLY='$(ONLY)' TESTS='$(TESTS)' STAGE='$(STAGE)' scripts/sanitize.sh

test-package: ## builds the Debian package in a Debian of its own, installs it there and tests it; CHROOTS=/var/tmp/x keeps that
	@CHROOTS='$(CHROOTS)' scripts/package.sh

soak:   ## calls in one session and orders in one worker, with memory that does not grow; CALLS=200000
	@CALLS='$(CALLS)' STAGE='$(STAGE)' scripts/soak.sh

sqlsmith: ## random queries on everything that cupsource has, without a crash; MINUTES=10 SEED=1
	@MINUTES='$(MINUTES)' SEED='$(SEED)' STAGE='$(STAGE)' scripts/sqlsmith.sh

bench:  ## the measurements, as ratios in one run; PRODUCTS=100000 ROUNDS=5 ONLY="live cost catalog"
	@PRODUCTS='$(PRODUCTS)' ROUNDS='$(ROUNDS)' ONLY='$(ONLY)' scripts/bench.sh

bench-http: ## the catalogue against the http extension and jsonb, in a Debian of its own; PRODUCTS ROUNDS CHROOTS=/var/tmp/x
	@PRODUCTS='$(PRODUCTS)' ROUNDS='$(ROUNDS)' CHROOTS='$(CHROOTS)' scripts/bench-http.sh

docs:   ## docs/reference.md, from the objects' COMMENTs and signatures; STAGE=/tmp/x
	@STAGE='$(STAGE)' scripts/docs.sh

dist:   ## dist/cupsource-VERSION.zip from the last commit, as PGXN wants it
	@mkdir -p dist
	git archive --format=zip --prefix=cupsource-$(EXTVERSION)/ -o dist/cupsource-$(EXTVERSION).zip HEAD

ifneq ($(filter-out $(TOOL_GOALS),$(or $(MAKECMDGOALS),all)),)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(wildcard $(PGXS)),)
$(error $(PG_CONFIG) does not lead to PGXS: install postgresql-server-dev-15, or set PG_CONFIG)
endif
ifneq ($(filter-out clean distclean,$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell $(PKG_CONFIG) --exists libcurl json-c && echo found),found)
$(error pkg-config does not find libcurl and json-c: install libcurl4-openssl-dev, libjson-c-dev and pkg-config)
endif
ifeq ($(findstring OpenSSL,$(shell curl-config --ssl-backends)),)
$(error libcurl must be the one that uses OpenSSL, as the server does: install libcurl4-openssl-dev)
endif
endif

# Bitcode would need the clang that PostgreSQL was built with, and there is
# nothing here that inlining into a query would speed up.
override with_llvm := no

# "make" alone builds, whatever stands first above.
.DEFAULT_GOAL := all
include $(PGXS)

cupsource--$(EXTVERSION).sql: $(SQL_PARTS) cupsource.control Makefile
	{ printf '%s\n' '\echo Use "CREATE EXTENSION cupsource" to load this file. \quit'; \
	  for part in $(SQL_PARTS); do echo; cat "$(srcdir)/$$part" || exit 1; done; } >$@.tmp
	mv $@.tmp $@

# The install script of an earlier version is kept, and what the two do not tell.
$(UPDATES:%=cupsource--%--$(EXTVERSION).sql): cupsource--%--$(EXTVERSION).sql: \
		src/update/cupsource--%.sql src/update/cupsource--%--$(EXTVERSION).sql cupsource--$(EXTVERSION).sql scripts/update.awk
	awk -f $(srcdir)/scripts/update.awk $(srcdir)/src/update/cupsource--$*.sql \
		$(srcdir)/src/update/$@ cupsource--$(EXTVERSION).sql >$@.tmp
	mv $@.tmp $@

# A driver is a program of its own; it brings what it needs of the server.  The
# encodings' functions are called by other names from PostgreSQL 16 on, which
# only the libraries of programs have.
UNIT_LIBS = $(if $(filter 15,$(MAJORVERSION)),-lpgcommon_shlib -lpgport_shlib,-lpgcommon -lpgport)

.PHONY: unit
unit: $(UNITS:%=test/unit/build/%)
test/unit/build/%: test/unit/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -o $@ $< -L$(pkglibdir) $(UNIT_LIBS) $(SHLIB_LINK)

# Functions for tests alone, from the same objects; see test/modules/*_test.c.
# Their own copies of them are called, whatever else the server has loaded.
TEST_MODULES = $(addprefix test/modules/,wire_test http_test)
test/modules/wire_test.so: src/base/errors.o $(API:%=src/api/%.o) \
	$(addprefix src/wire/,json_scan.o json_tree.o json.o parse.o datum.o writer.o sign.o)
test/modules/http_test.so: src/base/errors.o \
	$(addprefix src/wire/,http_wait.o http_transfer.o http_answer.o http.o)
$(TEST_MODULES:%=%.so): %.so: %.o
	$(CC) $(CFLAGS) -shared -Wl,-Bsymbolic -o $@ $^ $(LDFLAGS) $(SHLIB_LINK)

.PHONY: install-tests
install-tests: $(TEST_MODULES:%=%.so)
	$(INSTALL_SHLIB) $^ '$(DESTDIR)$(pkglibdir)/'

# libFuzzer's targets, in one module that a single-user server loads: the
# sources once more, by clang and with the sanitizers (scripts/fuzz.sh).
FUZZ_FLAGS   = -g -O1 -fPIC -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all -shared-libasan
FUZZ_SOURCES = $(wildcard test/fuzz/*.c) src/base/errors.c $(WIRE:%=src/wire/%.c) $(API:%=src/api/%.c) \
	src/client/rows.c src/client/list.c src/client/shape.c src/webhooks/event.c
# Those that test/fuzz/headers.c includes are not compiled for themselves.
FUZZ_SOURCES := $(filter-out src/wire/http_transfer.c src/wire/http_answer.c,$(FUZZ_SOURCES))
FUZZ_OBJS    = $(FUZZ_SOURCES:%.c=test/fuzz/build/%.o)
test/fuzz/build/fuzz.so: $(FUZZ_OBJS)
	clang $(FUZZ_FLAGS) -shared -Wl,-Bsymbolic -o $@ $^ \
		"$$(clang -print-file-name=libclang_rt.fuzzer_no_main-$$(uname -m).a)" -lstdc++ $(SHLIB_LINK)
test/sanitize/first.so: test/sanitize/first.c
	$(CC) -O1 -fPIC -shared -Wl,-z,initfirst -o $@ $<
test/sanitize/planted.so: test/sanitize/planted.c
	$(CC) $(CFLAGS) $(CPPFLAGS) -shared -o $@ $<
test/fuzz/build/%.o: %.c
	@mkdir -p $(@D)
	clang $(FUZZ_FLAGS) $(CLANG_CFLAGS) $(CPPFLAGS) -c -o $@ $<

print-%:
	@echo $($*)

-include $(OBJS:.o=.d) $(TEST_MODULES:%=%.d) $(UNITS:%=test/unit/build/%.d) $(FUZZ_OBJS:.o=.d)
endif
