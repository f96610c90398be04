/*
 * quote.c
 *	  What an order would cost: by the partner's quote, or, where the API has
 *	  none, estimated from the prices of the cached catalogue.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "src/api/form.h"
#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/client/call.h"
#include "src/client/rows.h"
#include "src/client/server.h"
#include "src/orders/orders.h"
#include "src/orders/rules.h"
#include "src/wire/datum.h"

PG_FUNCTION_INFO_V1(cs_sql_quote_order);

typedef struct Quote
{
	TupleDesc	tupdesc;
	MemoryContext cxt;
	int			estimated;		/* attribute number */
	Datum		result;			/* composite, or 0 */
} Quote;

static Datum
json_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? (Datum) 0 : JsonbPGetDatum(PG_GETARG_JSONB_P(n));
}

/* ---- the partner's ---- */

static void
take_row(Datum *values, bool *nulls, void *arg)
{
	Quote	   *quote = arg;
	MemoryContext old = MemoryContextSwitchTo(quote->cxt);

	values[quote->estimated - 1] = BoolGetDatum(false);
	nulls[quote->estimated - 1] = false;
	quote->result = HeapTupleGetDatum(heap_form_tuple(quote->tupdesc, values, nulls));
	MemoryContextSwitchTo(old);
}

static void
ask_partner(FunctionCallInfo fcinfo, Oid serverid, Quote *quote)
{
	CsAccount  *account = cs_account_get(quote->cxt, serverid, GetUserId());
	CsCallSpec	spec = {0};
	const CsJson *document;
	CsForm	   *form;

	form = cs_form_read(quote->cxt, account->api, CS_FORM_QUOTE, NULL, json_argument(fcinfo, 0),
						json_argument(fcinfo, 1), json_argument(fcinfo, 2));
	spec.method = "POST";
	spec.path = account->api->orders->quote_path;
	spec.endpoint = psprintf("POST %s", spec.path);
	spec.body = cs_form_quote_body(account->api, form, &spec.body_length);
	spec.repeatable = true;		/* nothing is stored */
	spec.priority = CS_PRIORITY_LIVE;
	spec.max_retries = cs_guc_max_retries;
	spec.timeout_ms = cs_guc_timeout;
	document = cs_call_read(quote->cxt, account, &spec);
	cs_rows_each(cs_rows_reader(cs_api_resource(account->api, "quote"), quote->tupdesc,
								account->server),
				 document, 1, take_row, quote);
	if (quote->result == 0)
		ereport(ERROR,
				(errcode(CS_ERRCODE_MALFORMED),
				 errmsg("the answer of server \"%s\" has no quote", account->server)));
}

/* ---- our own ---- */

/* Names and quantities of the lines, for cs_internal.order_estimate. */
static void
line_arrays(const CsForm *form, Datum *names, Datum *quantities)
{
	Datum	   *name = palloc(sizeof(Datum) * form->nlines);
	Datum	   *quantity = palloc(sizeof(Datum) * form->nlines);

	for (int i = 0; i < form->nlines; i++)
	{
		const CsLine *line = &form->lines[i];
		const char *text = line->product_id ? line->product_id : line->sku;

		name[i] = CStringGetTextDatum(cs_server_from_utf8(text, strlen(text)));
		quantity[i] = DirectFunctionCall1(int8in, CStringGetDatum(line->quantity));
	}
	*names = PointerGetDatum(construct_array(name, form->nlines, TEXTOID, -1, false,
											 TYPALIGN_INT));
	*quantities = PointerGetDatum(construct_array(quantity, form->nlines, INT8OID, sizeof(int64),
												  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* Fills in what cs_internal.order_estimate gives, by the columns' names. */
static void
take_estimate(Quote *quote)
{
	int			natts = quote->tupdesc->natts;
	Datum	   *values = palloc0(sizeof(Datum) * natts);
	bool	   *nulls = palloc(sizeof(bool) * natts);
	MemoryContext old;

	for (int i = 0; i < natts; i++)
	{
		int			column = SPI_fnumber(SPI_tuptable->tupdesc,
										 NameStr(TupleDescAttr(quote->tupdesc, i)->attname));

		nulls[i] = true;
		if (column > 0)
			values[i] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, column,
									  &nulls[i]);
	}
	values[quote->estimated - 1] = BoolGetDatum(true);
	nulls[quote->estimated - 1] = false;
	old = MemoryContextSwitchTo(quote->cxt);
	quote->result = HeapTupleGetDatum(heap_form_tuple(quote->tupdesc, values, nulls));
	MemoryContextSwitchTo(old);
}

static void
estimate(FunctionCallInfo fcinfo, const ForeignServer *server, const CsApi *api, Quote *quote)
{
	static CsStatement order_estimate = {
		"SELECT * FROM cs_internal.order_estimate($1, $2, $3, $4)", 4,
		{TEXTOID, TEXTOID, TEXTARRAYOID, INT8ARRAYOID}
	};
	CsFindings	findings = {0};
	CsStateScope scope;
	Datum		values[4];
	CsForm	   *form;

	form = cs_form_check(quote->cxt, api, CS_FORM_QUOTE, NULL, json_argument(fcinfo, 0),
						 json_argument(fcinfo, 1), json_argument(fcinfo, 2), &findings);
	cs_rules_check(server, api, form, &findings);
	cs_form_throw(api, CS_FORM_QUOTE, &findings);
	values[0] = CStringGetTextDatum(server->servername);
	values[1] = CStringGetTextDatum(form->lines[0].product_id ? "product_id" : "sku");
	line_arrays(form, &values[2], &values[3]);
	cs_state_enter(&scope);
	cs_state_read_latest(&order_estimate, values, NULL);
	take_estimate(quote);
	cs_state_leave(&scope);
}

/* cs_quote_order(lines, ship_to, options, server) */
Datum
cs_sql_quote_order(PG_FUNCTION_ARGS)
{
	Quote		quote = {NULL, CurrentMemoryContext};
	const ForeignServer *server;
	const CsApi *api;
	Oid			serverid;

	cs_require_preload();
	if (get_call_result_type(fcinfo, NULL, &quote.tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "cs_quote_order must return a row");
	quote.tupdesc = BlessTupleDesc(quote.tupdesc);
	quote.estimated = SPI_fnumber(quote.tupdesc, "estimated");
	serverid = cs_server_resolve(PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)));
	server = cs_server_check(serverid, GetUserId());
	api = cs_order_api(server);
	if (api->orders->quote_path)
		ask_partner(fcinfo, serverid, &quote);
	else
		estimate(fcinfo, server, api, &quote);
	return quote.result;
}
