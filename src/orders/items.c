/*
 * items.c
 *	  What the cached catalogue knows of the items that are ordered.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "src/base/state.h"
#include "src/orders/items.h"
#include "src/wire/parse.h"

/* As cs_internal.items_known calls them. */
static const char *const names[CS_ITEM_NAMES] =
{
	[CS_ITEM_SKU] = "sku",
	[CS_ITEM_PRODUCT_ID] = "product_id",
	[CS_ITEM_VARIATION_ID] = "variation_id",
};

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

void
cs_items_find(const ForeignServer *server, CsItemRequest *requests, int n)
{
	static CsStatement items_known = {
		"SELECT * FROM cs_internal.items_known($1, $2, $3)", 3,
		{TEXTOID, TEXTARRAYOID, TEXTARRAYOID}
	};
	Datum	   *wanted_names = palloc(sizeof(Datum) * n);
	Datum	   *wanted_values = palloc(sizeof(Datum) * n);
	CsItem	   *items = palloc0(sizeof(CsItem) * n);
	MemoryContext cxt = CurrentMemoryContext;
	CsStateScope scope;
	Datum		values[3];
	uint64		nrows;

	for (int i = 0; i < n; i++)
	{
		wanted_names[i] = CStringGetTextDatum(names[requests[i].name]);
		wanted_values[i] = CStringGetTextDatum(requests[i].value);
		items[i].name = requests[i].name;
		items[i].value = requests[i].value;
		requests[i].item = &items[i];
	}
	values[0] = CStringGetTextDatum(server->servername);
	values[1] = PointerGetDatum(construct_array(wanted_names, n, TEXTOID, -1, false,
												TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(wanted_values, n, TEXTOID, -1, false,
												TYPALIGN_INT));
	cs_state_enter(&scope);
	nrows = cs_state_read_latest(&items_known, values, NULL);
	MemoryContextSwitchTo(cxt);
	for (uint64 row = 0; row < nrows;)
	{
		uint64		same = rows_of_item(row, nrows);
		bool		isnull;

		read_item(row, same, &items[DatumGetInt32(value_of(row, COLUMN_N, &isnull)) - 1]);
		row += same;
	}
	cs_state_leave(&scope);
}
