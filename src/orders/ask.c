/*
 * ask.c
 *	  What a session asks the partner itself about orders: the partner's list;
 *	  and adding designs to a placed order.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/api/form.h"
#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/client/call.h"
#include "src/client/page.h"
#include "src/client/rows.h"
#include "src/client/server.h"
#include "src/orders/answer.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"
#include "src/wire/datum.h"

PG_FUNCTION_INFO_V1(cs_sql_add_designs);
PG_FUNCTION_INFO_V1(cs_sql_orders);

static void
unsupported(const CsAccount *account, const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s, the API of server \"%s\", %s", account->api->title, account->server, what),
			 hint ? errhint("%s", hint) : 0));
}

static Datum
json_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? (Datum) 0 : JsonbPGetDatum(PG_GETARG_JSONB_P(n));
}

static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* ---- designs ---- */

/* The partner's id of an order. */
static char *
remote_id_of(int64 id)
{
	static CsStatement knowledge = {
		"SELECT * FROM cs_internal.order_knowledge($1)", 1, {INT8OID}
	};
	MemoryContext cxt = CurrentMemoryContext;
	CsStateScope scope;
	Datum		value = Int64GetDatum(id);
	char	   *state;
	char	   *remote_id;

	cs_state_enter(&scope);
	cs_state_read_latest(&knowledge, &value, NULL);
	state = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	remote_id = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3);
	if (remote_id == NULL)
		ereport(ERROR,
				(errcode(CS_ERRCODE_WRONG_STATE),
				 errmsg("order %lld is %s and not at the partner", (long long) id, state)));
	remote_id = MemoryContextStrdup(cxt, remote_id);
	cs_state_leave(&scope);
	return cs_utf8_from_server(remote_id);
}

/* A copy changes nothing at the partner. */
static void
refuse_copy(void)
{
	CsStateScope scope;

	cs_state_enter(&scope);
	if (!cs_queue_is_ours())
		cs_queue_refuse();
	cs_state_leave(&scope);
}

/* The partner's id of the line's item. */
static char *
item_id_of(CsAccount *account, int64 id, const char *remote_id, int line)
{
	static CsStatement order_item = {
		"SELECT cs_internal.order_item($1, $2, $3, $4, $5, $6)", 6,
		{INT8OID, INT4OID, TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, INT8ARRAYOID}
	};
	CsAnswerColumn items[] = {
		{"item_id", TEXTOID}, {"sku", TEXTOID}, {"variation_id", TEXTOID}, {"quantity", INT8OID}
	};
	MemoryContext cxt = CurrentMemoryContext;
	CsCallSpec	spec = {0};
	CsStateScope scope;
	Datum		values[2 + lengthof(items)];
	char	   *item_id;

	spec.method = "GET";
	spec.endpoint = psprintf("GET %s", account->api->orders->get_path);
	spec.path = cs_path_expand(account->api->orders->get_path, "id", remote_id, NULL);
	spec.repeatable = true;
	spec.priority = CS_PRIORITY_ORDER;
	spec.max_retries = cs_guc_max_retries;
	spec.timeout_ms = cs_guc_timeout;
	cs_answer_list(account->api, "order_items",
				   cs_call_read(CurrentMemoryContext, account, &spec), account->server,
				   items, lengthof(items), 0);
	values[0] = Int64GetDatum(id);
	values[1] = Int32GetDatum(line);
	for (int i = 0; i < (int) lengthof(items); i++)
		values[2 + i] = items[i].array;
	cs_state_enter(&scope);
	cs_state_run(&order_item, values, NULL);
	item_id = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	item_id = MemoryContextStrdup(cxt, item_id);
	cs_state_leave(&scope);
	return cs_utf8_from_server(item_id);
}

/* The partner's answer has the designs as it re-hosts them; nothing else shows all of it. */
static void
keep_answer(int64 id, int line, const CsJson *document)
{
	static CsStatement designs_added = {
		"SELECT cs_internal.order_designs_added($1, $2, $3, $4)", 4,
		{INT8OID, INT4OID, TEXTOID, JSONBOID}
	};
	CsStateScope scope;
	Datum		values[4];
	char		nulls[] = "    ";

	values[0] = Int64GetDatum(id);
	values[1] = Int32GetDatum(line);
	values[2] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	values[3] = cs_answer_raw(document, &nulls[3]);
	cs_state_enter(&scope);
	cs_state_run(&designs_added, values, nulls);
	cs_state_leave(&scope);
}

/* cs_add_designs(order_id, line, designs, server) */
Datum
cs_sql_add_designs(PG_FUNCTION_ARGS)
{
	CsCallSpec	spec = {0};
	CsWriter	writer;
	CsDesign   *designs;
	CsAccount  *account;
	Oid			serverid;
	int			ndesigns;
	char	   *remote_id;
	char	   *item_id;
	int64		id;

	cs_require_preload();
	PreventCommandIfReadOnly("cs_add_designs()");
	PreventCommandIfParallelMode("cs_add_designs()");
	id = cs_order_argument(fcinfo, 0, 3, &serverid);
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("line and designs must not be null")));
	account = cs_account_get(CurrentMemoryContext, serverid, GetUserId());
	if (account->api->orders->designs_path == NULL)
		unsupported(account, "cannot add designs to an order", NULL);
	designs = cs_form_read_designs(CurrentMemoryContext, json_argument(fcinfo, 2), &ndesigns);
	remote_id = remote_id_of(id);
	refuse_copy();
	item_id = item_id_of(account, id, remote_id, PG_GETARG_INT32(1));

	cs_writer_init(&writer);
	account->api->orders->write_designs(&writer, designs, ndesigns);
	spec.method = "POST";
	spec.endpoint = psprintf("POST %s", account->api->orders->designs_path);
	spec.path = cs_path_expand(account->api->orders->designs_path, "id", remote_id,
							   "item", item_id, NULL);
	spec.body = writer.out.data;
	spec.body_length = writer.out.len;
	spec.repeatable = true;		/* the same designs again replace themselves */
	spec.priority = CS_PRIORITY_ORDER;
	spec.max_retries = cs_guc_max_retries;
	spec.timeout_ms = cs_guc_order_timeout;
	keep_answer(id, PG_GETARG_INT32(1), cs_call_read(CurrentMemoryContext, account, &spec));

	/* The new cost is the order's own; its answer has all of it. */
	cs_order_ask(id);
	return cs_order_row(id, true);
}

/* ---- the partner's list ---- */

/* Rows on their way into the tuplestore. */
typedef struct Listing
{
	const CsAccount *account;
	ReturnSetInfo *rsinfo;
	int			status_column;	/* 0-based; what the partner calls it */
	int			state_column;	/* and what that means here */
	const char **shown;			/* of each row of the page, what is said beside its status */
	int			nshown;
	int			row;			/* of the page */
	int			id_column;		/* of the external id */
	const char *external_id;	/* the only one that is wanted, or NULL */
	int64		left;			/* rows that are still wanted */
} Listing;

static int
column_of(TupleDesc tupdesc, const char *name)
{
	int			attnum = SPI_fnumber(tupdesc, name);

	if (attnum <= 0)
		elog(ERROR, "row type has no column \"%s\"", name);
	return attnum - 1;
}

const char **
cs_order_shown_states(const CsApi *api, const char *resource, const CsJson *document,
					  const char *server, int *n)
{
	CsAnswerColumn columns[] = {{"shown_status", TEXTOID}, {"last_shipped_at", TIMESTAMPTZOID}};
	const char **states;
	Datum	   *times;
	bool	   *nulls;

	*n = 0;
	if (cs_answer_list(api, resource, document, server, columns, lengthof(columns), 0) <= 0)
		return NULL;
	states = cs_answer_states(api, &columns[0], n);
	deconstruct_array(DatumGetArrayTypeP(columns[1].array), TIMESTAMPTZOID, sizeof(TimestampTz),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &times, &nulls, n);
	for (int i = 0; i < *n; i++)
		if (!nulls[i])
			states[i] = cs_api_further_state(states[i], "shipped");
	if (strcmp(resource, "order") == 0 && cs_parcels_left(api, document, server))
		states[0] = cs_api_further_state(states[0], "shipped");
	return states;
}

void
cs_order_row_state(const CsApi *api, Datum *values, bool *nulls, int status_column,
				   int state_column, const char *shown)
{
	const char *state = NULL;

	if (!nulls[status_column])
		state = cs_api_order_state(api, TextDatumGetCString(values[status_column]));
	state = cs_api_further_state(state, shown);
	nulls[state_column] = state == NULL;
	if (state)
		values[state_column] = CStringGetTextDatum(state);
}

static void
list_row(Datum *values, bool *nulls, void *arg)
{
	Listing    *listing = arg;
	int			row = listing->row++;

	/* Partners are found that overlook the filter; an order of another id is no answer. */
	if (listing->external_id &&
		(nulls[listing->id_column] ||
		 strcmp(TextDatumGetCString(values[listing->id_column]), listing->external_id) != 0))
		return;
	if (listing->left <= 0)
		return;
	listing->left--;
	cs_order_row_state(listing->account->api, values, nulls, listing->status_column,
					   listing->state_column,
					   row < listing->nshown ? listing->shown[row] : NULL);
	tuplestore_putvalues(listing->rsinfo->setResult, listing->rsinfo->setDesc, values, nulls);
	nulls[listing->state_column] = true;
}

static void
add_argument(CsArgument *arguments, int *n, const char *name, const char *value)
{
	if (value == NULL)
		return;
	arguments[*n].name = name;
	arguments[(*n)++].value = cs_utf8_from_server(value);
}

/* The argument "since"; where there is none, the first time there is. */
static TimestampTz
since_argument(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1);
}

static void
read_list(FunctionCallInfo fcinfo, Listing *listing, CsAccount *account)
{
	const CsResource *orders = cs_api_resource(account->api, "orders");
	MemoryContext page_cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource list of orders",
												   ALLOCSET_DEFAULT_SIZES);
	TimestampTz since = since_argument(fcinfo);
	CsArgument	arguments[3];
	int			n = 0;
	CsRowReader *reader;
	CsPager    *pager;
	const CsPage *page;

	add_argument(arguments, &n, "status", text_argument(fcinfo, 0));
	if (since >= CS_ISO_TIME_FIRST)
		add_argument(arguments, &n, "since", cs_answer_iso_time(since));
	add_argument(arguments, &n, "external_id", listing->external_id);
	pager = cs_pager_begin(CurrentMemoryContext, account, orders, arguments, n, NULL,
						   (int) Min(listing->left, orders->page_size), CS_PRIORITY_LIVE, false);
	reader = cs_rows_reader(orders, listing->rsinfo->setDesc, account->server);
	while (listing->left > 0 && (page = cs_pager_next(pager)) != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(page_cxt);

		listing->row = 0;
		listing->shown = cs_order_shown_states(account->api, "listed", page->document,
											   account->server, &listing->nshown);
		cs_rows_each(reader, page->document, listing->external_id ? -1 : listing->left,
					 list_row, listing);
		MemoryContextSwitchTo(old);
		MemoryContextReset(page_cxt);
	}
}

/* cs_orders(status, since, external_id, max_rows, server) */
Datum
cs_sql_orders(PG_FUNCTION_ARGS)
{
	Listing		listing = {0};
	CsAccount  *account;
	int64		max_rows = PG_ARGISNULL(3) ? PG_INT64_MAX : PG_GETARG_INT64(3);

	cs_require_preload();
	if (max_rows < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must not be negative")));
	account = cs_account_get(CurrentMemoryContext, cs_server_resolve(text_argument(fcinfo, 4)),
							 GetUserId());
	if (cs_api_resource(account->api, "orders") == NULL)
		unsupported(account, "has no list of orders", "The view cs_orders has those placed from here.");
	InitMaterializedSRF(fcinfo, 0);
	listing.account = account;
	listing.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	listing.status_column = column_of(listing.rsinfo->setDesc, "remote_status");
	listing.state_column = column_of(listing.rsinfo->setDesc, "state");
	listing.id_column = column_of(listing.rsinfo->setDesc, "external_id");
	listing.external_id = text_argument(fcinfo, 2);
	listing.left = max_rows;
	if (max_rows > 0 && since_argument(fcinfo) < CS_ISO_TIME_END)
		read_list(fcinfo, &listing, account);
	return (Datum) 0;
}
