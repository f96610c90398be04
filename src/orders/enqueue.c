/*
 * enqueue.c
 *	  The queue path: an order is a row that the caller's transaction inserts.
 *
 * It rolls back with that transaction, is seen by nobody before its commit,
 * and is sent after it.  Nothing but the functions here, and the trigger
 * function in submit.c, enqueues.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/client/server.h"
#include "src/orders/insert.h"
#include "src/orders/orders.h"
#include "src/shared/wake.h"
#include "src/wire/datum.h"

PG_FUNCTION_INFO_V1(cs_sql_enqueue_order);
PG_FUNCTION_INFO_V1(cs_sql_orders_insert);
PG_FUNCTION_INFO_V1(cs_sql_resubmit_order);

/* The columns of cs_orders that an INSERT may give. */
static const char *const insertable[] = {"server", "external_id", "lines", "ship_to", "options"};

/* The row, for the INSERT and for the comparison with what is there. */
static void
fill(const ForeignServer *server, const CsOrderForm *form, Datum *values, char *nulls)
{
	memset(nulls, ' ', CS_ORDER_COLUMNS);
	values[CS_ORDER_SERVER] = CStringGetTextDatum(server->servername);
	values[CS_ORDER_EXTERNAL_ID] = CStringGetTextDatum(form->external_id);
	values[CS_ORDER_LINES] = form->lines;
	values[CS_ORDER_SHIP_TO] = form->ship_to;
	nulls[CS_ORDER_SHIP_TO] = form->ship_to ? ' ' : 'n';
	values[CS_ORDER_OPTIONS] = form->options;
	nulls[CS_ORDER_OPTIONS] = form->options ? ' ' : 'n';
	values[CS_ORDER_REPLACES] = Int64GetDatum(form->replaces);
	nulls[CS_ORDER_REPLACES] = form->replaces ? ' ' : 'n';
	values[CS_ORDER_CREATED_BY] = CStringGetTextDatum(GetUserNameFromId(GetUserId(), false));
	values[CS_ORDER_ORIGIN] = cs_order_origin();
}

/*
 * As a statement: waits for others that insert the same external id, and finds
 * the same order if it is there.  Returns whether the worker has to see it:
 * a row that was inserted, or one that was called for in vain, stays only now
 * and was about to be cancelled.
 */
static bool
execute_insert(Datum *values, const char *nulls, int64 *id)
{
	static CsStatement insert_order = {
		"INSERT INTO cs_internal.orders (server, external_id, lines, ship_to, options, replaces, "
		"created_by, origin) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
		"ON CONFLICT (server, external_id) DO NOTHING RETURNING id", 8,
		{TEXTOID, TEXTOID, JSONBOID, JSONBOID, JSONBOID, INT8OID, TEXTOID, TEXTOID}
	};
	static CsStatement order_existing = {
		"SELECT cs_internal.order_existing($1, $2, $3, $4, $5)", 5,
		{TEXTOID, TEXTOID, JSONBOID, JSONBOID, JSONBOID}
	};
	static CsStatement order_wanted = {"SELECT cs_internal.order_wanted($1)", 1, {INT8OID}};
	CsStateScope scope;
	Datum		value;
	bool		isnull;
	bool		seen_to;

	cs_state_enter(&scope);
	seen_to = cs_state_run(&insert_order, values + CS_ORDER_SERVER,
						   nulls + CS_ORDER_SERVER) == 1;
	if (!seen_to)
		cs_state_run(&order_existing, values + CS_ORDER_SERVER, nulls + CS_ORDER_SERVER);
	*id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (!seen_to)
	{
		value = Int64GetDatum(*id);
		cs_state_run(&order_wanted, &value, NULL);
		seen_to = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
											 &isnull));
	}
	cs_state_leave(&scope);
	return seen_to;
}

int64
cs_order_enqueue(Oid serverid, const CsOrderForm *form)
{
	const ForeignServer *server = cs_server_check(serverid, GetUserId());
	Datum		values[CS_ORDER_COLUMNS];
	char		nulls[CS_ORDER_COLUMNS];
	int64		id;

	cs_order_check(server, form);
	fill(server, form, values, nulls);
	if (cs_order_insert(values, nulls, &id) || execute_insert(values, nulls, &id))
		cs_wake_at_commit();

	/* The row's lock on the table keeps the server as it is from here on. */
	cs_server_check_name(serverid, server->servername);
	return id;
}

/* The common arguments (lines, ship_to, external_id, options, server). */
Oid
cs_order_form_arguments(FunctionCallInfo fcinfo, CsOrderForm *form)
{
	memset(form, 0, sizeof(*form));
	form->lines = PG_ARGISNULL(0) ? (Datum) 0 : JsonbPGetDatum(PG_GETARG_JSONB_P(0));
	form->ship_to = PG_ARGISNULL(1) ? (Datum) 0 : JsonbPGetDatum(PG_GETARG_JSONB_P(1));
	form->external_id = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	form->options = PG_ARGISNULL(3) ? (Datum) 0 : JsonbPGetDatum(PG_GETARG_JSONB_P(3));
	return cs_server_resolve(PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4)));
}

Datum
cs_sql_enqueue_order(PG_FUNCTION_ARGS)
{
	CsOrderForm form;
	Oid			serverid;

	cs_require_preload();
	PreventCommandIfReadOnly("cs_enqueue_order()");
	PreventCommandIfParallelMode("cs_enqueue_order()");
	serverid = cs_order_form_arguments(fcinfo, &form);
	return cs_order_row(cs_order_enqueue(serverid, &form), false);
}

/* What the partner or the worker says about an order cannot be inserted. */
static void
check_inserted_columns(TupleDesc tupdesc, HeapTuple tuple)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(tupdesc, i)->attname);
		bool		allowed = false;

		for (size_t j = 0; j < lengthof(insertable); j++)
			allowed |= strcmp(name, insertable[j]) == 0;
		if (!allowed && !heap_attisnull(tuple, i + 1, tupdesc))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot insert into column \"%s\" of view \"cs_orders\"", name),
					 errhint("Give server, external_id, lines, ship_to and options.")));
	}
}

static Datum
inserted_value(TupleDesc tupdesc, HeapTuple tuple, const char *name, bool *isnull)
{
	return SPI_getbinval(tuple, tupdesc, SPI_fnumber(tupdesc, name), isnull);
}

/* INSERT INTO cs_orders; the row that RETURNING sees is the stored one. */
Datum
cs_sql_orders_insert(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	tupdesc;
	HeapTuple	tuple;
	CsOrderForm form = {0};
	Oid			serverid;
	Datum		value;
	bool		isnull;
	HeapTupleHeader stored;
	HeapTupleData result;

	cs_require_preload();
	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_INSTEAD(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("cs_internal.orders_insert is the trigger function of view \"cs_orders\"")));
	PreventCommandIfParallelMode("INSERT INTO cs_orders");

	tupdesc = RelationGetDescr(trigger->tg_relation);
	tuple = trigger->tg_trigtuple;
	check_inserted_columns(tupdesc, tuple);
	value = inserted_value(tupdesc, tuple, "server", &isnull);
	serverid = cs_server_resolve(isnull ? NULL : TextDatumGetCString(value));
	value = inserted_value(tupdesc, tuple, "external_id", &isnull);
	form.external_id = isnull ? NULL : TextDatumGetCString(value);
	value = inserted_value(tupdesc, tuple, "lines", &isnull);
	form.lines = isnull ? (Datum) 0 : JsonbPGetDatum(DatumGetJsonbP(value));
	value = inserted_value(tupdesc, tuple, "ship_to", &isnull);
	form.ship_to = isnull ? (Datum) 0 : JsonbPGetDatum(DatumGetJsonbP(value));
	value = inserted_value(tupdesc, tuple, "options", &isnull);
	form.options = isnull ? (Datum) 0 : JsonbPGetDatum(DatumGetJsonbP(value));

	stored = DatumGetHeapTupleHeader(cs_order_row(cs_order_enqueue(serverid, &form), false));
	result.t_len = HeapTupleHeaderGetDatumLength(stored);
	ItemPointerSetInvalid(&result.t_self);
	result.t_tableOid = InvalidOid;
	result.t_data = stored;
	return PointerGetDatum(heap_copytuple(&result));
}

/* cs_resubmit_order(id, external_id, server) */
Datum
cs_sql_resubmit_order(PG_FUNCTION_ARGS)
{
	static CsStatement resubmission = {
		"SELECT * FROM cs_internal.order_to_resubmit($1, $2)", 2, {INT8OID, TEXTOID}
	};
	CsOrderForm form = {0};
	CsStateScope scope;
	Oid			serverid;
	Datum		values[2];
	char		nulls[] = "  ";

	cs_require_preload();
	PreventCommandIfReadOnly("cs_resubmit_order()");
	PreventCommandIfParallelMode("cs_resubmit_order()");
	form.replaces = cs_order_argument(fcinfo, 0, 2, &serverid);
	form.external_id = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	values[0] = Int64GetDatum(form.replaces);
	values[1] = PG_ARGISNULL(1) ? (Datum) 0 : PG_GETARG_DATUM(1);
	nulls[1] = PG_ARGISNULL(1) ? 'n' : ' ';
	cs_state_enter(&scope);
	cs_state_run(&resubmission, values, nulls);
	for (int i = 0; i < 3; i++)
	{
		Datum	   *part = i == 0 ? &form.lines : i == 1 ? &form.ship_to : &form.options;
		bool		isnull;

		*part = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull);
		*part = isnull ? (Datum) 0 : SPI_datumTransfer(*part, false, -1);
	}
	cs_state_leave(&scope);
	return cs_order_row(cs_order_enqueue(serverid, &form), false);
}
