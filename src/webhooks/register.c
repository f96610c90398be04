/*
 * register.c
 *	  Asking the partner to send webhooks to a URL.
 *
 * The answer is the caller's alone: it may hold the secret that webhooks will
 * be signed with, so no message shows any of it and nothing of it is stored.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/client/call.h"
#include "src/client/rows.h"
#include "src/client/server.h"
#include "src/webhooks/webhooks.h"
#include "src/wire/datum.h"
#include "src/wire/writer.h"

PG_FUNCTION_INFO_V1(cs_sql_register_webhook);

#define URL_MAX_LENGTH 2048

/* The partner decides which URLs it calls; this is what no URL can be. */
static void
check_url(const char *url)
{
	bool		sound = strlen(url) <= URL_MAX_LENGTH &&
		(pg_strncasecmp(url, "https://", 8) == 0 || pg_strncasecmp(url, "http://", 7) == 0);

	for (const char *p = url; *p && sound; p++)
		sound = *p > ' ' && *p < 0x7f;
	if (!sound)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("url is not the URL of a webhook"),
				 errhint("It begins with https://, and has at most %d characters of visible ASCII.",
						 URL_MAX_LENGTH)));
}

static void
write_events(CsWriter *writer, ArrayType *events)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	deconstruct_array(events, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	cs_write_open(writer, "events", '[');
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("events must not contain null")));
		cs_write_string(writer, NULL, cs_utf8_from_server(TextDatumGetCString(elements[i])));
	}
	cs_write_close(writer, ']');
}

typedef struct Answer
{
	MemoryContext cxt;
	char	   *id;				/* or NULL */
} Answer;

static void
take_answer(Datum *values, bool *nulls, void *arg)
{
	Answer	   *answer = arg;
	MemoryContext old = MemoryContextSwitchTo(answer->cxt);

	answer->id = TextDatumGetCString(values[0]);
	MemoryContextSwitchTo(old);
}

/* The result: webhook_id, answer.  Throws PA006 for an answer without an id. */
static Datum
read_answer(const CsAccount *account, TupleDesc result, const CsJson *document)
{
	TupleDesc	tupdesc = CreateTemplateTupleDesc(1);
	Answer		answer = {CurrentMemoryContext};
	char	   *text;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	TupleDescInitEntry(tupdesc, 1, "webhook_id", TEXTOID, -1, 0);
	if (document)
		cs_rows_each(cs_rows_reader(cs_api_resource(account->api, "webhook"), tupdesc,
									account->server),
					 document, 1, take_answer, &answer);
	if (answer.id == NULL)
		ereport(ERROR,
				(errcode(CS_ERRCODE_MALFORMED),
				 errmsg("the answer of server \"%s\" does not show the webhook", account->server)));
	text = cs_json_text(document);
	values[0] = CStringGetTextDatum(answer.id);
	values[1] = cs_jsonb_from_utf8(text, strlen(text));
	return HeapTupleGetDatum(heap_form_tuple(result, values, nulls));
}

/* cs_register_webhook(url, events, server) */
Datum
cs_sql_register_webhook(PG_FUNCTION_ARGS)
{
	const char *server = PG_ARGISNULL(2) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(2));
	CsCallSpec	spec = {0};
	CsWriter	writer;
	CsAccount  *account;
	TupleDesc	tupdesc;
	char	   *url;

	cs_require_preload();
	PreventCommandIfReadOnly("cs_register_webhook()");
	PreventCommandIfParallelMode("cs_register_webhook()");
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "cs_register_webhook must return a row");
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("url must not be null")));
	account = cs_account_get(CurrentMemoryContext, cs_server_resolve(server), GetUserId());
	(void) cs_webhook_api(GetForeignServer(account->serverid));
	url = text_to_cstring(PG_GETARG_TEXT_PP(0));
	check_url(url);

	cs_writer_init(&writer);
	cs_write_open(&writer, NULL, '{');
	cs_write_string(&writer, "url", url);
	if (!PG_ARGISNULL(1))
		write_events(&writer, PG_GETARG_ARRAYTYPE_P(1));
	cs_write_close(&writer, '}');
	spec.method = "POST";
	spec.path = account->api->orders->webhooks_path;
	spec.endpoint = psprintf("POST %s", spec.path);
	spec.body = writer.out.data;
	spec.body_length = writer.out.len;
	spec.confidential = true;
	spec.priority = CS_PRIORITY_LIVE;
	spec.max_retries = cs_guc_max_retries;
	spec.timeout_ms = cs_guc_timeout;
	return read_answer(account, BlessTupleDesc(tupdesc),
					   cs_call_read(CurrentMemoryContext, account, &spec));
}
