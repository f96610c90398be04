/*
 * create.c
 *	  The call path: what a session has the worker do while it waits.
 *
 * The worker journals, sends and records in transactions of its own, so what
 * it did does not depend on what becomes of the caller's.  The caller's
 * subtransaction goes along: if it rolls back, the worker finds out and takes
 * the order back where the partner allows it.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "access/xloginsert.h"
#include "catalog/pg_control.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "src/base/crash.h"
#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/client/options.h"
#include "src/client/server.h"
#include "src/orders/orders.h"
#include "src/shared/handoff.h"
#include "src/shared/wake.h"

PG_FUNCTION_INFO_V1(cs_sql_create_order);
PG_FUNCTION_INFO_V1(cs_sql_cancel_order);
PG_FUNCTION_INFO_V1(cs_sql_cancel_order_local);
PG_FUNCTION_INFO_V1(cs_sql_order_status);
PG_FUNCTION_INFO_V1(cs_sql_order_status_local);
PG_FUNCTION_INFO_V1(cs_sql_order_tracking);

/* This transaction has placed an order that would not roll back with it. */
static bool placed_in_transaction = false;

/*
 * A prepared transaction may stay undecided for ever, and its order with it;
 * an order of the queue path waits for COMMIT PREPARED instead.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_PRE_PREPARE && placed_in_transaction)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot PREPARE a transaction that has placed an order with cs_create_order"),
				 errhint("Use cs_enqueue_order: the order is sent after COMMIT PREPARED.")));
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		placed_in_transaction = false;
}

/*
 * PostgreSQL lets the COMMIT of a transaction that has written nothing be lost
 * in a crash, and would then say that it has rolled back.  This one has said
 * that its order stays, so it writes something.
 */
static void
log_placing(void)
{
	char		nothing = 0;

	XLogBeginInsert();
	XLogRegisterData(&nothing, sizeof(nothing));
	(void) XLogInsert(RM_XLOG_ID, XLOG_NOOP);
}

static void
remember_placing(void)
{
	static bool registered = false;

	if (!registered)
		RegisterXactCallback(at_transaction_end, NULL);
	registered = true;
	if (!placed_in_transaction)
		log_placing();
	placed_in_transaction = true;
}

/* Throws what the worker said went wrong. */
static void
throw_reply(const CsHandoffReply *reply)
{
	CsFailure	failure = {CS_FAILURE_REFUSED, CS_DELIVERY_UNKNOWN};

	failure.sqlstate = reply->sqlstate;
	failure.message = pstrdup(reply->message);
	failure.detail = reply->detail[0] ? pstrdup(reply->detail) : NULL;
	failure.hint = reply->hint[0] ? pstrdup(reply->hint) : NULL;
	cs_failure_throw(&failure);
}

/* Hands the text over and waits; returns the order's local id. */
static int64
hand_over(CsHandoffKind kind, const char *payload)
{
	CsHandoffReply *reply = palloc0(sizeof(CsHandoffReply));
	int64		id;

	cs_handoff_call(kind, payload, strlen(payload) + 1, reply);
	CS_CRASH_POINT("told");
	if (reply->sqlstate != 0)
		throw_reply(reply);
	id = reply->order_id;
	pfree(reply);
	return id;
}

static void
append_member(StringInfo out, const char *key, const char *value)
{
	appendStringInfo(out, "%s\"%s\": ", out->len > 1 ? ", " : "", key);
	escape_json(out, value);
}

static void
append_part(StringInfo out, const char *key, Datum part)
{
	if (part == 0)
		return;
	appendStringInfo(out, ", \"%s\": ", key);
	JsonbToCString(out, &DatumGetJsonbP(part)->root, VARSIZE(DatumGetJsonbP(part)));
}

/* What cs_internal.order_take() reads. */
static char *
order_request(const ForeignServer *server, const CsOrderForm *form)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	append_member(&out, "server", server->servername);
	append_member(&out, "external_id", form->external_id);
	append_member(&out, "created_by", GetUserNameFromId(GetUserId(), false));
	append_member(&out, "xid", psprintf(UINT64_FORMAT,
										U64FromFullTransactionId(GetCurrentFullTransactionId())));
	append_part(&out, "lines", form->lines);
	append_part(&out, "ship_to", form->ship_to);
	append_part(&out, "options", form->options);
	appendStringInfoChar(&out, '}');
	return out.data;
}

int64
cs_order_place(Oid serverid, const CsOrderForm *form)
{
	const ForeignServer *server = cs_server_check(serverid, GetUserId());

	cs_order_check(server, form);

	/* A missing mapping or secret is the caller's to know, before anything is written. */
	(void) cs_account_get(CurrentMemoryContext, serverid, GetUserId());
	remember_placing();
	return hand_over(CS_HANDOFF_CREATE, order_request(server, form));
}

Datum
cs_sql_create_order(PG_FUNCTION_ARGS)
{
	CsOrderForm form;
	Oid			serverid;

	cs_require_preload();
	PreventCommandIfReadOnly("cs_create_order()");
	PreventCommandIfParallelMode("cs_create_order()");
	serverid = cs_order_form_arguments(fcinfo, &form);
	return cs_order_row(cs_order_place(serverid, &form), true);
}

/* ---- cancelling ---- */

static bool
cancel_queued(int64 id, const char *by)
{
	static CsStatement cancel_queued = {
		"SELECT cs_internal.order_cancel_queued($1, $2)", 2, {INT8OID, TEXTOID}
	};
	CsStateScope scope;
	Datum		values[2];
	bool		isnull;
	bool		cancelled;

	values[0] = Int64GetDatum(id);
	values[1] = CStringGetTextDatum(by);
	cs_state_enter(&scope);
	cs_state_run(&cancel_queued, values, NULL);
	cancelled = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1,
										   &isnull));
	cs_state_leave(&scope);
	return cancelled;
}

void
cs_order_cancel(int64 id)
{
	const char *by = GetUserNameFromId(GetUserId(), false);

	/* Somebody may wait for it. */
	if (cancel_queued(id, by))
		cs_wake_at_commit();
	else
		(void) hand_over(CS_HANDOFF_CANCEL, psprintf("%lld %s", (long long) id, by));
}

static Datum
cancel_order(int64 id)
{
	cs_order_cancel(id);
	return cs_order_row(id, true);
}

Datum
cs_sql_cancel_order(PG_FUNCTION_ARGS)
{
	Oid			serverid;

	cs_require_preload();
	PreventCommandIfReadOnly("cs_cancel_order()");
	PreventCommandIfParallelMode("cs_cancel_order()");
	return cancel_order(cs_order_argument(fcinfo, 0, 1, &serverid));
}

Datum
cs_sql_cancel_order_local(PG_FUNCTION_ARGS)
{
	Oid			serverid;

	cs_require_preload();
	PreventCommandIfReadOnly("cs_cancel_order()");
	PreventCommandIfParallelMode("cs_cancel_order()");
	return cancel_order(cs_order_find_local(PG_GETARG_INT64(0), &serverid));
}

/* ---- asking ---- */

/* What is stored about an order, uncommitted changes of others apart. */
typedef struct Knowledge
{
	char	   *state;
	TimestampTz fetched_at;		/* 0: never asked */
	bool		askable;
} Knowledge;

static void
read_knowledge(int64 id, Knowledge *known)
{
	static CsStatement knowledge = {
		"SELECT * FROM cs_internal.order_knowledge($1)", 1, {INT8OID}
	};
	MemoryContext cxt = CurrentMemoryContext;
	CsStateScope scope;
	Datum		value = Int64GetDatum(id);
	bool		isnull;

	cs_state_enter(&scope);
	cs_state_read_latest(&knowledge, &value, NULL);
	known->state = MemoryContextStrdup(cxt, SPI_getvalue(SPI_tuptable->vals[0],
														 SPI_tuptable->tupdesc, 2));
	value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 5, &isnull);
	known->fetched_at = isnull ? 0 : DatumGetTimestampTz(value);
	known->askable = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 6,
												&isnull));
	cs_state_leave(&scope);
}

static bool
is_settled(const char *state)
{
	return strcmp(state, "delivered") == 0 || strcmp(state, "rejected") == 0 ||
		strcmp(state, "cancelled") == 0;
}

/* Is what is known older than that, or from the future?  'max_age' NULL: than cupsource.max_age. */
static bool
is_stale(const Knowledge *known, Interval *max_age)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz until;

	if (known->fetched_at == 0 || known->fetched_at > now)
		return true;
	if (max_age == NULL)
		return TimestampDifferenceExceeds(known->fetched_at, now, cs_guc_max_age);
	until = DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													TimestampTzGetDatum(known->fetched_at),
													IntervalPGetDatum(max_age)));
	return until < now;
}

void
cs_order_ask(int64 id)
{
	if (!RecoveryInProgress())
		(void) hand_over(CS_HANDOFF_FOLLOW, psprintf("%lld", (long long) id));
}

static Datum
order_status(int64 id, Interval *max_age)
{
	Knowledge	known;

	read_knowledge(id, &known);
	if (known.askable && !is_settled(known.state) && is_stale(&known, max_age))
	{
		cs_order_ask(id);
		read_knowledge(id, &known);
	}
	return CStringGetTextDatum(known.state);
}

Datum
cs_sql_order_status(PG_FUNCTION_ARGS)
{
	Oid			serverid;

	cs_require_preload();
	PreventCommandIfParallelMode("cs_order_status()");
	return order_status(cs_order_argument(fcinfo, 0, 2, &serverid),
						PG_ARGISNULL(1) ? NULL : PG_GETARG_INTERVAL_P(1));
}

Datum
cs_sql_order_status_local(PG_FUNCTION_ARGS)
{
	Oid			serverid;

	cs_require_preload();
	PreventCommandIfParallelMode("cs_order_status()");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the order's id must not be null")));
	return order_status(cs_order_find_local(PG_GETARG_INT64(0), &serverid),
						PG_ARGISNULL(1) ? NULL : PG_GETARG_INTERVAL_P(1));
}

Datum
cs_sql_order_tracking(PG_FUNCTION_ARGS)
{
	static CsStatement shipment_rows = {
		"SELECT * FROM cs_internal.shipment_rows($1)", 1, {INT8OID}
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CsStateScope scope;
	Knowledge	known;
	Oid			serverid;
	const ForeignServer *server;
	const CsApi *api;
	int64		id;
	Datum		value;

	cs_require_preload();
	PreventCommandIfParallelMode("cs_order_tracking()");
	id = cs_order_argument(fcinfo, 0, 1, &serverid);
	server = cs_server_check(serverid, GetUserId());
	api = cs_api_find(cs_option_text(server->options, "api"));
	if (api->orders->tracking_path == NULL && api->orders->get_path == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot be asked for shipments", api->title)));
	read_knowledge(id, &known);
	if (known.askable)
		cs_order_ask(id);

	InitMaterializedSRF(fcinfo, 0);
	value = Int64GetDatum(id);
	cs_state_enter(&scope);
	cs_state_read_latest(&shipment_rows, &value, NULL);
	for (uint64 row = 0; row < SPI_processed; row++)
		tuplestore_puttuple(rsinfo->setResult, SPI_tuptable->vals[row]);
	cs_state_leave(&scope);
	return (Datum) 0;
}
