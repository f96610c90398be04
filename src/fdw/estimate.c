/*
 * estimate.c
 *	  How many rows a partner has, as far as is known here: from what it said
 *	  to this process, from the cached catalogue, or by rule of thumb.
 *
 * The planner must never ask a partner.  What the cache says is kept for a
 * minute, so that planning does not read tables each time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "src/base/state.h"
#include "src/fdw/fdw.h"

#define DEFAULT_ROWS 1000.0
#define DEFAULT_ORDERS 1000.0
#define DEFAULT_VARIATIONS 50.0
#define ROWS_PER_DETAIL 5.0		/* placements, shipments and the like */

#define CACHE_MS 60000

/* What a partner itself said about a whole list. */
typedef struct Learnt
{
	struct
	{
		Oid			serverid;
		char		resource[32];
	}			key;
	double		rows;
} Learnt;

/* What the cached catalogue of a server has. */
typedef struct Cached
{
	Oid			serverid;
	TimestampTz read_at;
	double		products;		/* or models; -1: unknown */
	double		skus;
} Cached;

static HTAB *learnt_table = NULL;
static HTAB *cached_table = NULL;

static Learnt *
find_learnt(const CsTable *table, bool enter)
{
	HASHCTL		ctl = {.keysize = sizeof(((Learnt *) NULL)->key), .entrysize = sizeof(Learnt)};
	Learnt		entry;

	if (learnt_table == NULL)
		learnt_table = hash_create("cupsource row counts", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	memset(&entry, 0, sizeof(entry));
	entry.key.serverid = table->serverid;
	strlcpy(entry.key.resource, table->list->name, sizeof(entry.key.resource));
	return hash_search(learnt_table, &entry.key, enter ? HASH_ENTER : HASH_FIND, NULL);
}

void
cs_estimate_learn(const CsTable *table, double listed)
{
	find_learnt(table, true)->rows = listed;
}

static double
column_or_unknown(int column)
{
	SPITupleTable *rows = SPI_tuptable;
	bool		isnull;
	Datum		value = SPI_getbinval(rows->vals[0], rows->tupdesc, column, &isnull);

	return isnull ? -1 : (double) DatumGetInt64(value);
}

static void
read_cached(const CsTable *table, Cached *cached)
{
	static CsStatement size_statement = {
		"SELECT s.products, s.skus FROM cs_internal.catalog_size($1) AS s", 1, {TEXTOID}
	};
	CsStateScope scope;
	Datum		value = CStringGetTextDatum(table->server);

	cached->read_at = GetCurrentTimestamp();
	cached->products = cached->skus = -1;
	if (!ActiveSnapshotSet())
		return;
	cs_state_enter(&scope);
	cs_state_read_latest(&size_statement, &value, NULL);
	cached->products = column_or_unknown(1);
	cached->skus = column_or_unknown(2);
	cs_state_leave(&scope);
}

static const Cached *
cached_sizes(const CsTable *table)
{
	HASHCTL		ctl = {.keysize = sizeof(Oid), .entrysize = sizeof(Cached)};
	Cached	   *cached;
	Cached		fresh;

	if (cached_table == NULL)
		cached_table = hash_create("cupsource catalogue sizes", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	cached = hash_search(cached_table, &table->serverid, HASH_FIND, NULL);
	if (cached && !TimestampDifferenceExceeds(cached->read_at, GetCurrentTimestamp(), CACHE_MS))
		return cached;
	read_cached(table, &fresh);
	cached = hash_search(cached_table, &table->serverid, HASH_ENTER, NULL);
	fresh.serverid = table->serverid;
	*cached = fresh;
	return cached;
}

static double
rows_listed(const CsTable *table)
{
	const CsResource *list = table->list;
	const Learnt *learnt;
	const Cached *cached;

	if (list == NULL)
		return table->detail ? 1 : DEFAULT_ORDERS;
	if (list->paging == CS_PAGING_NONE)
		return list->lists[0] ? ROWS_PER_DETAIL : 1;
	learnt = find_learnt(table, false);
	if (learnt)
		return learnt->rows;
	if (strcmp(list->name, "orders") == 0)
		return DEFAULT_ORDERS;
	cached = cached_sizes(table);
	return cached->products > 0 ? cached->products : DEFAULT_ROWS;
}

static double
rows_per_id(const CsTable *table, double listed)
{
	const Cached *cached;

	if (table->detail == NULL || table->completes || table->detail->lists[0] == NULL)
		return 1;
	if (strcmp(table->detail->name, "variations") != 0)
		return ROWS_PER_DETAIL;
	cached = cached_sizes(table);
	return cached->skus > 0 && listed > 0 ? Max(1, cached->skus / listed) : DEFAULT_VARIATIONS;
}

void
cs_estimate(const CsTable *table, CsEstimate *estimate)
{
	estimate->listed = rows_listed(table);
	estimate->per_id = rows_per_id(table, estimate->listed);
}
