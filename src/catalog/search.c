/*
 * search.c
 *	  Searches of the cached catalogue: cs_search, cs_offers, cs_price_changes;
 *	  and the end of its history: cs_prune.
 *
 * They are SQL (search.sql), run as the extension's owner with the user who
 * asks as their first argument.  Rows go from a cursor to the result a
 * thousand at a time, so that a long answer takes no memory.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"

#include "src/base/state.h"

#define ROWS_AT_ONCE 1000

PG_FUNCTION_INFO_V1(cs_sql_search);
PG_FUNCTION_INFO_V1(cs_sql_offers_by_words);
PG_FUNCTION_INFO_V1(cs_sql_offers_by_skus);
PG_FUNCTION_INFO_V1(cs_sql_price_changes);
PG_FUNCTION_INFO_V1(cs_sql_prune);

/* The statement's rows; 'order' says which of the function's arguments follow the user. */
static Datum
return_rows(FunctionCallInfo fcinfo, CsStatement *statement, const int *order)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		values[CS_STATEMENT_MAX_ARGS];
	char		nulls[CS_STATEMENT_MAX_ARGS + 1] = {0};
	CsStateScope scope;
	Portal		cursor;

	InitMaterializedSRF(fcinfo, 0);
	values[0] = ObjectIdGetDatum(GetUserId());
	nulls[0] = ' ';
	for (int i = 1; i < statement->nargs; i++)
	{
		int			argument = order[i - 1];

		nulls[i] = argument < 0 || PG_ARGISNULL(argument) ? 'n' : ' ';
		values[i] = nulls[i] == 'n' ? (Datum) 0 : PG_GETARG_DATUM(argument);
	}
	cs_state_enter(&scope);
	cursor = cs_state_open(statement, values, nulls);
	for (;;)
	{
		SPI_cursor_fetch(cursor, true, ROWS_AT_ONCE);
		for (uint64 i = 0; i < SPI_processed; i++)
			tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
		SPI_freetuptable(SPI_tuptable);
		if (SPI_processed < ROWS_AT_ONCE)
			break;
	}
	SPI_cursor_close(cursor);
	cs_state_leave(&scope);
	return (Datum) 0;
}

Datum
cs_sql_search(PG_FUNCTION_ARGS)
{
	static CsStatement search = {
		"SELECT * FROM cs_internal.search($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)", 12,
		{OIDOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, NUMERICOID,
		NUMERICOID, INT8OID, TEXTOID}
	};
	static const int order[] = {1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10};

	return return_rows(fcinfo, &search, order);
}

static CsStatement offers = {
	"SELECT * FROM cs_internal.offers($1, $2, $3, $4, $5, $6)", 6,
	{OIDOID, TEXTOID, TEXTARRAYOID, INT8OID, INT8OID, TEXTOID}
};

Datum
cs_sql_offers_by_words(PG_FUNCTION_ARGS)
{
	static const int order[] = {0, -1, 1, 2, 3};

	return return_rows(fcinfo, &offers, order);
}

Datum
cs_sql_offers_by_skus(PG_FUNCTION_ARGS)
{
	static const int order[] = {-1, 0, 1, 2, 3};

	return return_rows(fcinfo, &offers, order);
}

Datum
cs_sql_price_changes(PG_FUNCTION_ARGS)
{
	static CsStatement changes = {
		"SELECT * FROM cs_internal.price_changes($1, $2, $3)", 3,
		{OIDOID, TIMESTAMPTZOID, TEXTOID}
	};
	static const int order[] = {0, 1};

	return return_rows(fcinfo, &changes, order);
}

Datum
cs_sql_prune(PG_FUNCTION_ARGS)
{
	static CsStatement prune = {
		"SELECT * FROM cs_internal.prune($1, $2)", 2, {OIDOID, INTERVALOID}
	};
	CsStateScope scope;
	TupleDesc	desc;
	Datum		values[3];
	char		nulls[] = "  ";
	bool		isnull[3];

	PreventCommandIfReadOnly("cs_prune()");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = ObjectIdGetDatum(GetUserId());
	values[1] = PG_ARGISNULL(0) ? (Datum) 0 : PG_GETARG_DATUM(0);
	nulls[1] = PG_ARGISNULL(0) ? 'n' : ' ';
	cs_state_enter(&scope);
	cs_state_run(&prune, values, nulls);
	for (int i = 0; i < 3; i++)
		values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull[i]);
	cs_state_leave(&scope);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull));
}
