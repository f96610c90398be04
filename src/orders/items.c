/*
 * items.c
 *	  What the cached catalogue knows of the items that are ordered.
 *
 * An order is checked in the transaction of whoever inserts it, so what was
 * read once is kept in the process: an ERP orders the same items again and
 * again, and even one statement an order would cost as much as inserting it.
 * All that is kept is forgotten when a refresh has changed any catalogue,
 * after some seconds in any case (somebody may have written the tables
 * otherwise), and when it has become too much.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/base/state.h"
#include "src/orders/items.h"
#include "src/shared/changes.h"
#include "src/wire/parse.h"

#define KEPT_SECONDS 10
#define KEPT_ITEMS 2000
#define BUCKETS 1024			/* a power of two */

/* As cs_internal.items_known calls them. */
static const char *const names[CS_ITEM_NAMES] =
{
	[CS_ITEM_SKU] = "sku",
	[CS_ITEM_PRODUCT_ID] = "product_id",
	[CS_ITEM_VARIATION_ID] = "variation_id",
};

typedef struct Kept
{
	MemoryContext cxt;			/* holds all of the following */
	CsItem	  **buckets;
	int			n;
	uint64		changes;		/* of the catalogues, when the first was read */
	TimestampTz since;
} Kept;

static Kept kept = {0};

static void
forget(void)
{
	if (kept.cxt == NULL)
		kept.cxt = AllocSetContextCreate(TopMemoryContext, "cupsource items",
										 ALLOCSET_DEFAULT_SIZES);
	kept.buckets = NULL;
	kept.n = 0;
	MemoryContextReset(kept.cxt);
	kept.changes = cs_catalog_changes();
	kept.since = GetCurrentStatementStartTimestamp();
	kept.buckets = MemoryContextAllocZero(kept.cxt, sizeof(CsItem *) * BUCKETS);
}

static bool
is_old(void)
{
	return kept.buckets == NULL || kept.n >= KEPT_ITEMS ||
		kept.changes != cs_catalog_changes() ||
		TimestampDifferenceExceeds(kept.since, GetCurrentStatementStartTimestamp(),
								   KEPT_SECONDS * 1000);
}

static CsItem **
bucket_of(Oid serverid, const CsItemRequest *request)
{
	uint32		hash = hash_bytes((const unsigned char *) request->value,
								  (int) strlen(request->value));

	return &kept.buckets[(hash ^ serverid ^ request->name) & (BUCKETS - 1)];
}

static const CsItem *
find_kept(Oid serverid, const CsItemRequest *request)
{
	for (const CsItem *item = *bucket_of(serverid, request); item; item = item->next)
		if (item->serverid == serverid && item->name == request->name &&
			strcmp(item->value, request->value) == 0)
			return item;
	return NULL;
}

/* ---- reading ---- */

/* The columns of cs_internal.items_known. */
typedef enum Column
{
	COLUMN_N = 1,
	COLUMN_ON_OFFER,
	COLUMN_MINIMUM,
	COLUMN_PLACEMENT,
	COLUMN_MAX_WIDTH,
	COLUMN_MAX_HEIGHT,
	COLUMN_METHODS
} Column;

static Datum
value_of(uint64 row, Column column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

/* A number of more digits than a measure has is taken for none. */
static CsItemLimit
limit_of(uint64 row, Column column)
{
	CsItemLimit limit = {NULL};
	bool		isnull;
	Datum		value = value_of(row, column, &isnull);
	const char *text;

	if (isnull)
		return limit;
	text = DatumGetCString(DirectFunctionCall1(numeric_out, value));
	if (cs_parse_decimal(text, &limit.digits, &limit.scale) == CS_DECIMAL_SHORT)
		limit.text = text;
	return limit;
}

static void
read_methods(uint64 row, CsItemPlacement *placement)
{
	bool		isnull;
	Datum		array = value_of(row, COLUMN_METHODS, &isnull);
	Datum	   *elements;

	if (isnull)
		return;
	deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, NULL, &placement->nmethods);
	placement->methods = palloc(sizeof(char *) * Max(placement->nmethods, 1));
	for (int i = 0; i < placement->nmethods; i++)
		placement->methods[i] = TextDatumGetCString(elements[i]);
}

/* One item from its rows, one for each placement; at least one. */
static void
read_item(uint64 row, uint64 nrows, CsItem *item)
{
	bool		isnull;
	Datum		value;

	value = value_of(row, COLUMN_ON_OFFER, &isnull);
	item->known = !isnull;
	item->on_offer = !isnull && DatumGetBool(value);
	value = value_of(row, COLUMN_MINIMUM, &isnull);
	item->minimum = isnull ? 0 : DatumGetInt64(value);
	(void) value_of(row, COLUMN_PLACEMENT, &isnull);
	if (isnull)
		return;
	item->placements = palloc0(sizeof(CsItemPlacement) * nrows);
	for (uint64 i = 0; i < nrows; i++)
	{
		CsItemPlacement *placement = &item->placements[i];

		placement->placement = TextDatumGetCString(value_of(row + i, COLUMN_PLACEMENT, &isnull));
		placement->max_width = limit_of(row + i, COLUMN_MAX_WIDTH);
		placement->max_height = limit_of(row + i, COLUMN_MAX_HEIGHT);
		read_methods(row + i, placement);
	}
	item->nplacements = (int) nrows;
}

static void
keep(Oid serverid, CsItemRequest *request, uint64 row, uint64 nrows)
{
	MemoryContext old = MemoryContextSwitchTo(kept.cxt);
	CsItem	   *item = palloc0(sizeof(CsItem));
	CsItem	  **bucket = bucket_of(serverid, request);

	item->serverid = serverid;
	item->name = request->name;
	item->value = pstrdup(request->value);
	read_item(row, nrows, item);
	item->next = *bucket;
	*bucket = item;
	kept.n++;
	request->item = item;
	MemoryContextSwitchTo(old);
}

/* How many of the rows, from this one on, are of the same item. */
static uint64
rows_of_item(uint64 row, uint64 nrows)
{
	bool		isnull;
	Datum		n = value_of(row, COLUMN_N, &isnull);
	uint64		same = 1;

	while (row + same < nrows && value_of(row + same, COLUMN_N, &isnull) == n)
		same++;
	return same;
}

/* Those that have no item yet, by one statement. */
static void
read_missing(const ForeignServer *server, CsItemRequest *requests, int n)
{
	static CsStatement items_known = {
		"SELECT * FROM cs_internal.items_known($1, $2, $3)", 3,
		{TEXTOID, TEXTARRAYOID, TEXTARRAYOID}
	};
	Datum	   *wanted_names = palloc(sizeof(Datum) * n);
	Datum	   *wanted_values = palloc(sizeof(Datum) * n);
	CsItemRequest **missing = palloc(sizeof(CsItemRequest *) * n);
	CsStateScope scope;
	Datum		values[3];
	uint64		nrows;
	int			nmissing = 0;

	for (int i = 0; i < n; i++)
	{
		if (requests[i].item)
			continue;
		wanted_names[nmissing] = CStringGetTextDatum(names[requests[i].name]);
		wanted_values[nmissing] = CStringGetTextDatum(requests[i].value);
		missing[nmissing++] = &requests[i];
	}
	if (nmissing == 0)
		return;
	values[0] = CStringGetTextDatum(server->servername);
	values[1] = PointerGetDatum(construct_array(wanted_names, nmissing, TEXTOID, -1, false,
												TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(wanted_values, nmissing, TEXTOID, -1, false,
												TYPALIGN_INT));
	cs_state_enter(&scope);
	nrows = cs_state_read_latest(&items_known, values, NULL);
	for (uint64 row = 0; row < nrows;)
	{
		uint64		same = rows_of_item(row, nrows);
		bool		isnull;
		CsItemRequest *request = missing[DatumGetInt32(value_of(row, COLUMN_N, &isnull)) - 1];

		/* It may have been asked for twice. */
		request->item = find_kept(server->serverid, request);
		if (request->item == NULL)
			keep(server->serverid, request, row, same);
		row += same;
	}
	cs_state_leave(&scope);
}

void
cs_items_find(const ForeignServer *server, CsItemRequest *requests, int n, bool fresh)
{
	bool		all = true;

	if (fresh || is_old())
		forget();
	for (int i = 0; i < n; i++)
	{
		requests[i].item = find_kept(server->serverid, &requests[i]);
		all &= requests[i].item != NULL;
	}
	if (!all)
		read_missing(server, requests, n);
}
