/*
 * receive.c
 *	  A webhook comes in: verified, stored once, applied to its order.
 *
 * Who calls is nobody in particular, a gateway that passes on what anybody may
 * have sent: the signature is the authorization, so USAGE on the server is not
 * asked for, and nothing is done with a payload before it is known to be the
 * partner's.  Everything happens in the caller's transaction; a delivery that
 * is not committed has to be delivered again, as partners do.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/client/account.h"
#include "src/client/options.h"
#include "src/client/secret.h"
#include "src/shared/wake.h"
#include "src/webhooks/webhooks.h"

PG_FUNCTION_INFO_V1(cs_sql_receive_webhook);
PG_FUNCTION_INFO_V1(cs_sql_receive_webhook_text);
PG_FUNCTION_INFO_V1(cs_sql_remote_state);

#define WRAPPER_NAME "cupsource"

/* ---- which server is meant ---- */

static bool
has_webhooks(const ForeignServer *server)
{
	const char *name = cs_option_text(server->options, "api");
	const CsApi *api = name ? cs_api_find(name) : NULL;

	return api != NULL && api->orders->webhooks_path != NULL;
}

/* The only server whose API has webhooks, whoever may use it. */
static const ForeignServer *
only_server(void)
{
	Oid			wrapper = get_foreign_data_wrapper_oid(WRAPPER_NAME, true);
	const ForeignServer *only = NULL;
	int			count = 0;
	Relation	rel = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server form = (Form_pg_foreign_server) GETSTRUCT(tuple);
		const ForeignServer *server;

		if (form->srvfdw != wrapper)
			continue;
		server = GetForeignServer(form->oid);
		if (!has_webhooks(server))
			continue;
		only = server;
		count++;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	if (count != 1)
		ereport(ERROR,
				(errcode(count == 0 ? ERRCODE_UNDEFINED_OBJECT : ERRCODE_AMBIGUOUS_PARAMETER),
				 count == 0 ? errmsg("there is no server whose API has webhooks") :
				 errmsg("it is not clear which server is meant"),
				 errhint("Name one by the argument \"server\".")));
	return only;
}

/* 'name' may be NULL.  USAGE is not checked. */
static const ForeignServer *
server_meant(const char *name)
{
	const ForeignServer *server;

	if (name == NULL && cs_guc_server[0] != '\0')
		name = cs_guc_server;
	if (name == NULL)
		return only_server();
	server = GetForeignServerByName(name, true);
	if (server == NULL ||
		server->fdwid != get_foreign_data_wrapper_oid(WRAPPER_NAME, true))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no cupsource server \"%s\"", name)));
	return server;
}

/* ---- is it the partner's? ---- */

static void
refuse_size(const CsPayload *payload)
{
	if (payload->length > CS_WEBHOOK_MAX_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the payload of the webhook is too large"),
				 errdetail("It has %zu bytes; at most %d are looked at.", payload->length,
						   CS_WEBHOOK_MAX_SIZE)));
}

static void
refuse_forgery(const ForeignServer *server, const CsPayload *payload, const char *signature)
{
	List	   *secrets = cs_webhook_secrets(server, InvalidOid);

	if (secrets == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("there is no webhook secret for server \"%s\"", server->servername),
				 errdetail("A webhook cannot be told from a forgery without it."),
				 errhint("ALTER USER MAPPING FOR ... SERVER %s OPTIONS (ADD webhook_secret '...');",
						 quote_identifier(server->servername))));
	if (!cs_webhook_verify(payload, signature, secrets))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("the signature of the webhook is not valid"),
				 signature == NULL ? errdetail("There is none.") :
				 errdetail("It is not the HMAC-SHA256 of this payload with a webhook secret of server \"%s\".",
						   server->servername),
				 errhint("The signature is over the body's bytes as they came: pass them on unchanged.")));
}

/* ---- storing and applying ---- */

static void
set(Datum *values, char *nulls, int n, Datum value)
{
	values[n] = value;
	nulls[n] = value ? ' ' : 'n';
}

/* What cs_internal.webhook_received says, in the current context. */
static char *
store(const ForeignServer *server, const CsEvent *event)
{
	static CsStatement webhook_received = {
		"SELECT cs_internal.webhook_received($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
		"$14)",
		14, {TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID,
		JSONBOID, TEXTOID, JSONBOID, INTERVALOID, TEXTOID}
	};
	MemoryContext cxt = CurrentMemoryContext;
	Interval   *poll_interval = palloc0(sizeof(Interval));
	CsStateScope scope;
	Datum		values[14];
	char		nulls[14 + 1] = "              ";
	char	   *outcome;

	poll_interval->time = USECS_PER_SEC *
		(TimeOffset) cs_option_seconds(server->options, "poll_interval",
									   CS_ACCOUNT_POLL_INTERVAL_S);
	set(values, nulls, 0, CStringGetTextDatum(server->servername));
	set(values, nulls, 1, event->id);
	set(values, nulls, 2, event->type);
	set(values, nulls, 3, event->at);
	set(values, nulls, 4, event->remote_id);
	set(values, nulls, 5, event->order_number);
	set(values, nulls, 6, event->remote_status);
	set(values, nulls, 7, event->state ? CStringGetTextDatum(event->state) : (Datum) 0);
	set(values, nulls, 8, event->rejection_reason);
	set(values, nulls, 9, event->parcels);
	set(values, nulls, 10, event->problem);
	set(values, nulls, 11, event->payload);
	set(values, nulls, 12, IntervalPGetDatum(poll_interval));
	set(values, nulls, 13, event->doubted);
	cs_state_enter(&scope);
	cs_state_run(&webhook_received, values, nulls);
	outcome = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	outcome = MemoryContextStrdup(cxt, outcome);
	cs_state_leave(&scope);
	return outcome;
}

/* The arguments after the payload: signature, server. */
static Datum
receive(FunctionCallInfo fcinfo, const CsPayload *payload)
{
	const char *signature = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	const char *name = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	const ForeignServer *server;
	const CsApi *api;
	CsEvent		event;
	char	   *outcome;

	PreventCommandIfReadOnly("cs_receive_webhook()");
	PreventCommandIfParallelMode("cs_receive_webhook()");
	refuse_size(payload);
	server = server_meant(name);
	api = cs_webhook_api(server);
	refuse_forgery(server, payload, signature);
	cs_event_read(api, payload, &event);
	outcome = store(server, &event);

	/* Its order is to be asked for, or may be about to be recorded, which the worker knows. */
	if (event.doubted || strcmp(outcome, "waiting") == 0)
		cs_wake_at_commit();
	PG_RETURN_TEXT_P(cstring_to_text(outcome));
}

/* cs_receive_webhook(payload bytea, signature, server) */
Datum
cs_sql_receive_webhook(PG_FUNCTION_ARGS)
{
	CsPayload	payload;

	cs_require_preload();
	payload = cs_payload_from_bytea(fcinfo, 0);
	return receive(fcinfo, &payload);
}

/* cs_receive_webhook(payload text, signature, server) */
Datum
cs_sql_receive_webhook_text(PG_FUNCTION_ARGS)
{
	CsPayload	payload;

	cs_require_preload();
	payload = cs_payload_from_text(fcinfo, 0);
	return receive(fcinfo, &payload);
}

/* cs_internal.remote_state(server text, status text) */
Datum
cs_sql_remote_state(PG_FUNCTION_ARGS)
{
	const ForeignServer *server;
	const char *name;
	const CsApi *api;
	const char *state;

	cs_require_preload();
	server = GetForeignServerByName(text_to_cstring(PG_GETARG_TEXT_PP(0)), true);
	name = server ? cs_option_text(server->options, "api") : NULL;
	api = name ? cs_api_find(name) : NULL;
	state = api ? cs_api_order_state(api, text_to_cstring(PG_GETARG_TEXT_PP(1))) : NULL;
	if (state == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(state));
}
