/*
 * http_test.c
 *	  SQL functions for tests alone: plain requests through src/wire/http.h,
 *	  without accounts, budgets or JSON.
 *
 * Built from the project's own objects and never installed by "make install".
 * It has a multi handle of its own.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "src/wire/http.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(http_send);
PG_FUNCTION_INFO_V1(http_wait);
PG_FUNCTION_INFO_V1(http_active);
PG_FUNCTION_INFO_V1(http_close_idle);
PG_FUNCTION_INFO_V1(http_escape);

/* http_send's arguments */
enum
{
	ARG_METHOD, ARG_URLS, ARG_HEADERS, ARG_BODY, ARG_PARTS, ARG_REPEATABLE, ARG_CONNECT_TIMEOUT,
	ARG_TIMEOUT, ARG_MAX_SIZE, ARG_CA_FILE
};

static const char *const delivery_names[] = {"not_sent", "answered", "unknown"};

/* A text[] as a NULL-terminated array of C strings. */
static const char **
strings(ArrayType *array, int *count)
{
	Datum	   *datums;
	const char **result;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &datums, NULL, count);
	result = palloc0((*count + 1) * sizeof(char *));
	for (int i = 0; i < *count; i++)
		result[i] = TextDatumGetCString(datums[i]);
	return result;
}

static char *
text_argument(FunctionCallInfo fcinfo, int number)
{
	return PG_ARGISNULL(number) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(number));
}

/* What the arguments say of all requests. */
static CsHttpSpec
spec_from(FunctionCallInfo fcinfo)
{
	CsHttpSpec	spec = {0};
	int			count;

	spec.method = text_argument(fcinfo, ARG_METHOD);
	if (!PG_ARGISNULL(ARG_HEADERS))
		spec.headers = strings(PG_GETARG_ARRAYTYPE_P(ARG_HEADERS), &count);
	spec.body = text_argument(fcinfo, ARG_BODY);
	spec.body_length = spec.body ? strlen(spec.body) : 0;
	if (!PG_ARGISNULL(ARG_PARTS))
	{
		const char **data = strings(PG_GETARG_ARRAYTYPE_P(ARG_PARTS), &spec.nparts);
		CsHttpPart *parts = palloc0(spec.nparts * sizeof(CsHttpPart));

		for (int i = 0; i < spec.nparts; i++)
		{
			parts[i].name = psprintf("part%d", i + 1);
			parts[i].filename = "art.png";
			parts[i].content_type = "image/png";
			parts[i].data = data[i];
			parts[i].length = strlen(data[i]);
		}
		spec.parts = parts;
	}
	spec.repeatable = PG_GETARG_BOOL(ARG_REPEATABLE);
	spec.connect_timeout_ms = PG_GETARG_INT32(ARG_CONNECT_TIMEOUT);
	spec.timeout_ms = PG_GETARG_INT32(ARG_TIMEOUT);
	spec.max_response_size = PG_GETARG_INT64(ARG_MAX_SIZE);
	spec.ca_file = text_argument(fcinfo, ARG_CA_FILE);
	return spec;
}

static void
put_text(Datum *value, bool *null, const char *string)
{
	*null = string == NULL;
	if (string != NULL)
		*value = CStringGetTextDatum(string);
}

static void
put_answer(ReturnSetInfo *result, int number, const CsHttpAnswer *answer)
{
	const CsFailure *failure = &answer->failure;
	Datum		values[20] = {0};
	bool		nulls[20] = {0};
	int			n = 0;

	values[n++] = Int32GetDatum(number);
	put_text(&values[n], &nulls[n], cs_failure_kind_name(failure->kind)), n++;
	put_text(&values[n], &nulls[n], delivery_names[failure->delivery]), n++;
	values[n++] = Int32GetDatum(answer->status);
	put_text(&values[n], &nulls[n],
			 failure->kind ? unpack_sql_state(failure->sqlstate) : NULL), n++;
	put_text(&values[n], &nulls[n], failure->message), n++;
	put_text(&values[n], &nulls[n], failure->detail), n++;
	put_text(&values[n], &nulls[n], failure->hint), n++;
	put_text(&values[n], &nulls[n], cs_printable(answer->body, answer->length, 10000)), n++;
	values[n++] = Int64GetDatum((int64) answer->length);
	put_text(&values[n], &nulls[n], answer->content_type), n++;
	values[n++] = Int32GetDatum(answer->retry_after_ms);
	values[n++] = Int64GetDatum(answer->server_time);
	values[n++] = Int32GetDatum(answer->http_version);
	values[n++] = BoolGetDatum(answer->new_connection);
	values[n++] = Int64GetDatum(answer->bytes_sent);
	values[n++] = Int64GetDatum(answer->bytes_received);
	values[n++] = Int32GetDatum((int32) answer->connect_ms);
	values[n++] = Int32GetDatum((int32) answer->first_byte_ms);
	values[n++] = Int32GetDatum((int32) answer->total_ms);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/*
 * http_send(method, urls[], headers[], body, parts[], repeatable,
 * connect_timeout, timeout, max_size, ca_file): one request per URL, all at
 * once; a row per answer, in the order they came.
 */
Datum
http_send(PG_FUNCTION_ARGS)
{
	CsHttpSpec	spec = spec_from(fcinfo);
	int			count;
	const char **urls = strings(PG_GETARG_ARRAYTYPE_P(ARG_URLS), &count);
	CsHttpRequest **requests = palloc0(count * sizeof(CsHttpRequest *));
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "http test",
											  ALLOCSET_SMALL_SIZES);
	int			left = count;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < count; i++)
	{
		spec.url = urls[i];
		requests[i] = cs_http_start(cxt, &spec);
	}
	while (left > 0)
	{
		for (int i = 0; i < count; i++)
		{
			if (requests[i] == NULL || !cs_http_done(requests[i]))
				continue;
			put_answer((ReturnSetInfo *) fcinfo->resultinfo, i + 1, cs_http_answer(requests[i]));
			cs_http_release(requests[i]);
			requests[i] = NULL;
			left--;
		}
		if (left > 0)
			cs_http_wait(-1, CS_WAIT_FOR_ANSWER);
	}
	MemoryContextDelete(cxt);
	return (Datum) 0;
}

/* http_wait(timeout): how many milliseconds the wait took. */
Datum
http_wait(PG_FUNCTION_ARGS)
{
	instr_time	start;
	instr_time	end;

	INSTR_TIME_SET_CURRENT(start);
	cs_http_wait(PG_GETARG_INT32(0), CS_WAIT_FOR_ANSWER);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	PG_RETURN_INT32((int32) INSTR_TIME_GET_MILLISEC(end));
}

Datum
http_active(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(cs_http_active());
}

Datum
http_close_idle(PG_FUNCTION_ARGS)
{
	cs_http_close_idle();
	PG_RETURN_VOID();
}

Datum
http_escape(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(cs_http_escape(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}
