/*
 * answer.c
 *	  Answers about orders → arguments of the transitions.
 *
 * The descriptor's columns are read by name, so an API that says less about
 * an order leaves NULLs, and one that says more needs nothing here.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "pgtime.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "src/client/rows.h"
#include "src/orders/answer.h"
#include "src/wire/datum.h"

/* cs_internal.remote_order */
static const struct
{
	const char *name;
	Oid			type;
}			order_columns[CS_ANSWER_COLUMNS] =
{
	{"remote_id", TEXTOID},
	{"external_id", TEXTOID},
	{"order_number", TEXTOID},
	{"remote_status", TEXTOID},
	{"currency", TEXTOID},
	{"items_subtotal", NUMERICOID},
	{"shipping_cost", NUMERICOID},
	{"shipping_category_fee", NUMERICOID},
	{"discount_amount", NUMERICOID},
	{"rush_fee", NUMERICOID},
	{"total", NUMERICOID},
	{"cost", JSONBOID},
	{"item_count", INT4OID},
	{"remote_created_at", TIMESTAMPTZOID},
	{"last_shipped_at", TIMESTAMPTZOID},
	{"cancelled_at", TIMESTAMPTZOID},
	{"rejection_reason", TEXTOID},
};

/* Their places above. */
#define REMOTE_ID 0
#define EXTERNAL_ID 1
#define REMOTE_STATUS 3
#define REMOTE_CREATED_AT 13

static Datum
copied(Datum value, Oid type)
{
	int16		typlen;
	bool		typbyval;

	get_typlenbyval(type, &typlen, &typbyval);
	return datumCopy(value, typbyval, typlen);
}

typedef struct OneOrder
{
	CsOrderAnswer *answer;
	MemoryContext cxt;
	const char *external_id;	/* NULL: the first will do */
	bool		found;			/* one */
	bool		ours;			/* the one with that external id */
} OneOrder;

static void
take_order(Datum *values, bool *nulls, void *arg)
{
	OneOrder   *one = arg;
	bool		ours = one->external_id != NULL && !nulls[EXTERNAL_ID] &&
		strcmp(TextDatumGetCString(values[EXTERNAL_ID]), one->external_id) == 0;
	MemoryContext old;

	if (one->ours || (one->found && !ours))
		return;
	one->ours = ours;
	old = MemoryContextSwitchTo(one->cxt);
	for (int i = 0; i < CS_ANSWER_COLUMNS; i++)
	{
		one->answer->nulls[i] = nulls[i] ? 'n' : ' ';
		one->answer->values[i] = nulls[i] ? (Datum) 0 : copied(values[i], order_columns[i].type);
	}
	one->found = true;
	MemoryContextSwitchTo(old);
}

bool
cs_answer_order(const CsApi *api, const char *resource, const CsJson *document,
				const char *server, CsOrderAnswer *answer)
{
	return cs_answer_order_of(api, resource, document, server, NULL, answer);
}

bool
cs_answer_order_of(const CsApi *api, const char *resource_name, const CsJson *document,
				   const char *server, const char *external_id, CsOrderAnswer *answer)
{
	const CsResource *resource = cs_api_resource(api, resource_name);
	TupleDesc	tupdesc;
	OneOrder	one = {NULL, CurrentMemoryContext, external_id};

	memset(answer, 0, sizeof(*answer));
	memset(answer->nulls, 'n', sizeof(answer->nulls));
	one.answer = answer;
	if (resource == NULL || document == NULL)
		return false;
	tupdesc = CreateTemplateTupleDesc(CS_ANSWER_COLUMNS);
	for (int i = 0; i < CS_ANSWER_COLUMNS; i++)
		TupleDescInitEntry(tupdesc, i + 1, order_columns[i].name, order_columns[i].type, -1, 0);
	cs_rows_each(cs_rows_reader(resource, tupdesc, server), document, external_id ? -1 : 1,
				 take_order, &one);
	if (!one.found || (answer->nulls[REMOTE_ID] != ' ' && answer->nulls[REMOTE_STATUS] != ' '))
		return false;
	if (answer->nulls[REMOTE_STATUS] == ' ')
		cs_answer_set_status(api, answer, answer->values[REMOTE_STATUS]);
	else if (api->orders->created_status && strcmp(resource_name, "created") == 0)
		cs_answer_set_status(api, answer, CStringGetTextDatum(api->orders->created_status));
	return true;
}

bool
cs_answer_created_at(const CsOrderAnswer *answer, TimestampTz *at)
{
	*at = DatumGetTimestampTz(answer->values[REMOTE_CREATED_AT]);
	return answer->nulls[REMOTE_CREATED_AT] == ' ';
}

void
cs_answer_set_status(const CsApi *api, CsOrderAnswer *answer, Datum status)
{
	answer->values[REMOTE_STATUS] = status;
	answer->nulls[REMOTE_STATUS] = ' ';
	answer->remote_status = TextDatumGetCString(status);
	answer->state = cs_api_order_state(api, answer->remote_status);
}

typedef struct ListOfRows
{
	CsAnswerColumn *columns;
	ArrayBuildState **arrays;
	int			ncolumns;
	int			nkeep;
	int			nrows;
	MemoryContext cxt;
} ListOfRows;

static void
take_row(Datum *values, bool *nulls, void *arg)
{
	ListOfRows *list = arg;
	bool		keep = list->nkeep == 0;

	for (int i = 0; i < list->nkeep; i++)
		keep |= !nulls[i];
	if (!keep)
		return;
	for (int i = 0; i < list->ncolumns; i++)
		list->arrays[i] = accumArrayResult(list->arrays[i], values[i], nulls[i],
										   list->columns[i].type, list->cxt);
	list->nrows++;
}

int
cs_answer_list(const CsApi *api, const char *resource_name, const CsJson *document,
			   const char *server, CsAnswerColumn *columns, int ncolumns, int nkeep)
{
	const CsResource *resource = cs_api_resource(api, resource_name);
	TupleDesc	tupdesc;
	ListOfRows	list = {columns, NULL, ncolumns, nkeep, 0, CurrentMemoryContext};

	if (resource == NULL || document == NULL)
		return -1;
	list.arrays = palloc0(ncolumns * sizeof(ArrayBuildState *));
	tupdesc = CreateTemplateTupleDesc(ncolumns);
	for (int i = 0; i < ncolumns; i++)
		TupleDescInitEntry(tupdesc, i + 1, columns[i].name, columns[i].type, -1, 0);
	cs_rows_each(cs_rows_reader(resource, tupdesc, server), document, -1, take_row, &list);
	for (int i = 0; i < ncolumns; i++)
		columns[i].array = list.arrays[i] ?
			makeArrayResult(list.arrays[i], CurrentMemoryContext) :
			PointerGetDatum(construct_empty_array(columns[i].type));
	return list.nrows;
}

const char **
cs_answer_states(const CsApi *api, const CsAnswerColumn *words, int *n)
{
	Datum	   *elements;
	bool	   *nulls;
	const char **states;

	deconstruct_array(DatumGetArrayTypeP(words->array), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, n);
	states = palloc0((*n + 1) * sizeof(char *));
	for (int i = 0; i < *n; i++)
		if (!nulls[i])
			states[i] = cs_api_order_state(api, TextDatumGetCString(elements[i]));
	return states;
}

Datum
cs_answer_raw(const CsJson *document, char *null)
{
	char	   *text;

	*null = document ? ' ' : 'n';
	if (document == NULL)
		return (Datum) 0;
	text = cs_json_text(document);
	return cs_jsonb_from_utf8(text, strlen(text));
}

char *
cs_answer_iso_time(TimestampTz at)
{
	pg_time_t	seconds = timestamptz_to_time_t(at);
	struct pg_tm *tm = pg_gmtime(&seconds);

	return psprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", tm->tm_year + 1900, tm->tm_mon + 1,
					tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec);
}
