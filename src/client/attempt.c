/*
 * attempt.c
 *	  One HTTP request of an account, and what its answer means.
 *
 * Every text that came from outside passes cs_printable or the JSON reader on
 * its way into a failure, and every text of a failure passes cs_redact: a
 * partner that repeats our key in its error message does not get it into a
 * log.
 */
#include "postgres.h"

#include <ctype.h>

#include "datatype/timestamp.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "src/base/guc.h"
#include "src/client/attempt.h"
#include "src/shared/contact.h"
#include "src/shared/stats.h"

#define MAX_HEADERS 8
#define BODY_SHOWN 120			/* bytes of an unreadable answer that a message shows */

/*
 * A partner that writes milliseconds, or a point in time, where seconds are
 * meant must not silence the account for years.  To ask once a day is no harm.
 */
#define RETRY_AFTER_LIMIT_MS (24 * 60 * 60 * 1000)

char *
cs_uuid(void)
{
	uint8		b[16];

	if (!pg_strong_random(b, sizeof(b)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	return psprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
					b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
					b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

static const char *const *
make_headers(const CsAttempt *attempt)
{
	const CsAccount *account = attempt->account;
	const char **headers = palloc(MAX_HEADERS * sizeof(char *));
	int			n = 0;

	if (attempt->authorization)
		headers[n++] = attempt->authorization;
	headers[n++] = "Accept: application/json";
	if (attempt->body)
		headers[n++] = "Content-Type: application/json";
	headers[n++] = "User-Agent: cupsource/" CUPSOURCE_VERSION;
	if (strcmp(attempt->method, "POST") == 0)
		headers[n++] = psprintf("Idempotency-Key: %s",
								attempt->idempotency_key ? attempt->idempotency_key : cs_uuid());
	if (account->environment && account->api->environment_header)
		headers[n++] = psprintf("%s: %s", account->api->environment_header, account->environment);
	headers[n++] = NULL;
	Assert(n <= MAX_HEADERS);
	return headers;
}

void
cs_attempt_start(CsAttempt *attempt, MemoryContext cxt)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	CsHttpSpec	spec = {
		.method = attempt->method,
		.url = psprintf("%s%s", attempt->base_url, attempt->path),
		.headers = make_headers(attempt),
		.body = attempt->body,
		.body_length = attempt->body_length,
		.parts = attempt->parts,
		.nparts = attempt->nparts,
		.ca_file = attempt->account->ca_file,
		.repeatable = attempt->repeatable,
		.connect_timeout_ms = cs_guc_connect_timeout,
		.timeout_ms = attempt->timeout_ms,
		.max_response_size = (int64) cs_guc_max_response_size * 1024,
	};

	attempt->cxt = cxt;
	attempt->answer = NULL;
	attempt->document = NULL;
	memset(&attempt->failure, 0, sizeof(attempt->failure));
	attempt->request = cs_http_start(cxt, &spec);
	MemoryContextSwitchTo(old);
}

void
cs_failure_malformed(CsFailure *failure, const CsAccount *account, const char *subject,
					 const char *problem, const char *detail)
{
	memset(failure, 0, sizeof(*failure));
	failure->kind = CS_FAILURE_MALFORMED;

	/* It was answered, but what was done we cannot read. */
	failure->delivery = CS_DELIVERY_UNKNOWN;
	failure->sqlstate = CS_ERRCODE_MALFORMED;
	failure->retry_after_ms = -1;
	failure->message = psprintf("malformed answer from server \"%s\": %s: %s",
								account->server, subject, problem);
	failure->detail = detail ? pstrdup(detail) : NULL;
}

/*
 * The answer's body without secrets.  Texts are cut to fit a message, and half
 * a secret would not be recognised afterwards.
 */
static const char *
clean_body(const CsAttempt *attempt, size_t *length)
{
	const CsHttpAnswer *answer = attempt->answer;

	for (int i = 0; i < attempt->nsecrets; i++)
		if (memmem(answer->body, answer->length, attempt->secrets[i], strlen(attempt->secrets[i])))
		{
			const char *body = cs_redact(answer->body, attempt->secrets, attempt->nsecrets);

			*length = strlen(body);
			return body;
		}
	*length = answer->length;
	return answer->body;
}

/* The document of a refusal; NULL if the body is not JSON. */
static const CsJson *
parse_clean(const CsAttempt *attempt)
{
	char	   *problem;
	size_t		length;
	const char *body = clean_body(attempt, &length);

	return length > 0 ? cs_json_parse(attempt->cxt, body, length, &problem) : NULL;
}

/* A refusal in plain words: a reason that no field holds. */
static void
add_plain_reason(CsAttempt *attempt)
{
	const char *type = attempt->answer->content_type;
	size_t		length;
	const char *body = clean_body(attempt, &length);

	while (length > 0 && isspace((unsigned char) body[length - 1]))
		length--;
	if (length == 0 || attempt->confidential || type == NULL ||
		pg_strncasecmp(type, "text/plain", strlen("text/plain")) != 0)
		return;
	attempt->failure.detail =
		psprintf("%s The answer says: %s", attempt->failure.detail,
				 cs_printable(body, Min(length, BODY_SHOWN + 1), BODY_SHOWN));
}

/* A success whose body is not a JSON document: not meant to be one, or not sound. */
static void
read_garbage(CsAttempt *attempt, const char *problem)
{
	const CsHttpAnswer *answer = attempt->answer;
	const char *type = answer->content_type ? answer->content_type : "no content type";
	bool		meant = strcasestr(type, "json") != NULL;
	size_t		length;
	const char *body = clean_body(attempt, &length);

	cs_failure_malformed(&attempt->failure, attempt->account, attempt->endpoint,
						 meant ?
						 psprintf("unsound JSON: %s (HTTP status %d)", problem, answer->status) :
						 psprintf("expected JSON, got %s (HTTP status %d)",
								  cs_printable(type, strlen(type), BODY_SHOWN), answer->status),
						 attempt->confidential ? NULL :
						 psprintf("The answer begins with: %s",
								  cs_printable(body, Min(length, BODY_SHOWN + 1), BODY_SHOWN)));
	attempt->failure.status = answer->status;
}

/* A success without a body: what was asked for is not there, nor is it said that there is none. */
static void
read_nothing(CsAttempt *attempt)
{
	if (attempt->may_be_empty)
		return;
	cs_failure_malformed(&attempt->failure, attempt->account, attempt->endpoint,
						 psprintf("the answer is empty (HTTP status %d)", attempt->answer->status),
						 NULL);
	attempt->failure.status = attempt->answer->status;
}

static bool says_something(const CsJson *value);

/* CsJsonMemberCallback */
static void
member_says_something(const char *key, const CsJson *value, void *arg)
{
	*(bool *) arg |= says_something(value);
}

/* Unlike null, "", 0, false, [], {} and what holds nothing else. */
static bool
says_something(const CsJson *value)
{
	bool		something = false;
	size_t		length;

	check_stack_depth();
	if (cs_json_truth(value, &something))
		return something;
	switch (cs_json_type(value))
	{
		case CS_JSON_NULL:
			return false;
		case CS_JSON_STRING:
			(void) cs_json_string(value, &length);
			return length > 0;
		case CS_JSON_ARRAY:
			for (size_t i = 0; i < cs_json_length(value); i++)
				something |= says_something(cs_json_at(value, i));
			return something;
		case CS_JSON_OBJECT:
			cs_json_each(value, member_says_something, &something);
			return something;
		default:
			return true;
	}
}

/* What an envelope by the JSend convention says of a request that failed. */
static bool
is_failed(const CsJson *status)
{
	size_t		length;
	const char *word = cs_json_string(status, &length);

	return word && (pg_strcasecmp(word, "error") == 0 || pg_strcasecmp(word, "fail") == 0);
}

/*
 * Does an answer with a status of success say that it is none?  Where it does
 * not tell by "success", an error does: an id beside it may be that of the
 * request, and a list beside it is not all there is.  Only an order that was
 * asked for, and came without an envelope, may have an error of its own.
 */
static bool
denies_success(const CsAttempt *attempt, const CsJson *document)
{
	bool		success;

	if (cs_json_truth(cs_json_get(document, "success"), &success))
		return !success;
	if (strcmp(attempt->method, "GET") == 0 && cs_json_get(document, "data") == NULL)
		return false;
	return says_something(cs_json_get(document, "error")) ||
		says_something(cs_json_get(document, "errors")) ||
		is_failed(cs_json_get(document, "status"));
}

/* The envelope counts, not the status. */
static void
read_denial(CsAttempt *attempt)
{
	const CsJson *document = parse_clean(attempt);
	int			status = attempt->answer->status;

	if (cs_json_find(document, "error|errors|message"))
		cs_api_failure(attempt->account->api, status, document, &attempt->failure);
	else
		cs_failure_malformed(&attempt->failure, attempt->account, attempt->endpoint,
							 psprintf("%s without an error (HTTP status %d)",
									  cs_json_get(document, "success") ?
									  "\"success\" is false" : "\"status\" tells of a failure",
									  status),
							 NULL);
}

/* A complete HTTP answer. */
static void
read_answer(CsAttempt *attempt)
{
	const CsHttpAnswer *answer = attempt->answer;
	const CsJson *document = NULL;
	char	   *problem = NULL;

	attempt->failure.retry_after_ms = -1;
	if (answer->status >= 400)
	{
		document = parse_clean(attempt);
		cs_api_failure(attempt->account->api, answer->status, document, &attempt->failure);
		if (document == NULL)
			add_plain_reason(attempt);
		attempt->failure.retry_after_ms = answer->retry_after_ms;
		return;
	}
	if (answer->status < 200 || answer->status >= 300)
	{
		cs_failure_malformed(&attempt->failure, attempt->account, attempt->endpoint,
							 psprintf("unexpected HTTP status %d", answer->status), NULL);
		return;
	}
	if (answer->length == 0)
	{
		read_nothing(attempt);
		return;
	}
	document = cs_json_parse(attempt->cxt, answer->body, answer->length, &problem);
	if (document == NULL)
		read_garbage(attempt, problem);
	else if (denies_success(attempt, document))
		read_denial(attempt);
	else
		attempt->document = document;
}

/* Server and endpoint are named in the message, or in the detail of the partner's own. */
static void
name_the_call(CsAttempt *attempt)
{
	CsFailure  *failure = &attempt->failure;
	const char *server = attempt->account->server;

	if (failure->kind == CS_FAILURE_REFUSED)
		failure->detail = psprintf("Server \"%s\", %s: %s", server, attempt->endpoint,
								   failure->detail ? failure->detail : "refused.");
	else if (attempt->answer->failure.kind != CS_FAILURE_NONE)
		failure->message = psprintf("%s on server \"%s\": %s", attempt->endpoint, server,
									failure->message);
}

static char *
redact(const CsAttempt *attempt, const char *text)
{
	return text ? cs_redact(text, attempt->secrets, attempt->nsecrets) : NULL;
}

/*
 * The partner's clock minus ours.  Its Date was cut to the second, and is from
 * some time between the sending of the request and the first byte of the answer.
 */
static int64
clock_skew_us(const CsHttpAnswer *answer)
{
	TimestampTz theirs = time_t_to_timestamptz((pg_time_t) answer->server_time) +
		USECS_PER_SEC / 2;
	TimestampTz ours = GetCurrentTimestamp() -
		(int64) ((answer->total_ms - answer->first_byte_ms / 2) * 1000);

	return theirs - ours;
}

static void
count_and_log(const CsAttempt *attempt)
{
	const CsHttpAnswer *answer = attempt->answer;
	const CsFailure *failure = &attempt->failure;
	CsStatsSample sample = {
		.server = attempt->account->server,
		.endpoint = attempt->endpoint,
		.failure = failure->kind,
		.status = answer->status,
		.retry = attempt->retry,
		.new_connection = answer->new_connection,
		.bytes_sent = answer->bytes_sent,
		.bytes_received = answer->bytes_received,
		.total_ms = answer->total_ms,
		.limiter_ms = attempt->limiter_ms,
	};
	CsContactSample contact = {
		.server = attempt->account->server,
		.account = attempt->account->shared,
		.serverid = attempt->account->serverid,
		.mappingid = attempt->account->mappingid,
		.fingerprint = attempt->account->fingerprint,
		.rate_limit = attempt->account->rate_limit,
		.answered = failure->kind == CS_FAILURE_NONE ||
			(failure->kind == CS_FAILURE_REFUSED && answer->status < 500),
		.unauthorized = answer->status == 401 || answer->status == 403,
		.has_skew = answer->server_time >= 0,
	};
	bool		slow = cs_guc_log_min_duration >= 0 &&
		answer->total_ms >= cs_guc_log_min_duration;

	if (contact.has_skew)
		contact.skew_us = clock_skew_us(answer);
	cs_stats_count(&sample);
	cs_contact_count(&contact);
	if (!cs_guc_log_requests && !slow)
		return;

	/* A query may hold what nobody but the partner should see. */
	ereport(LOG,
			(errmsg("cupsource request: %s %.*s on server \"%s\": %s%s, status %d, %.3f ms",
					attempt->method, (int) strcspn(attempt->path, "?"), attempt->path,
					attempt->account->server,
					failure->kind == CS_FAILURE_NONE ? "ok" : cs_failure_kind_name(failure->kind),
					attempt->retry ? " (retry)" : "",
					answer->status, answer->total_ms),
			 slow ? errdetail_log("Waited for the budget before: %.3f ms. Host found after %.3f ms, "
								  "connected after %.3f ms, first byte of the answer after %.3f ms; "
								  "%lld bytes sent, %lld received.",
								  attempt->limiter_ms, answer->lookup_ms, answer->connect_ms,
								  answer->first_byte_ms, (long long) answer->bytes_sent,
								  (long long) answer->bytes_received) : 0,
			 errhidestmt(true),
			 errhidecontext(true)));
}

bool
cs_attempt_ended(const CsAttempt *attempt)
{
	return attempt->answer != NULL || cs_http_done(attempt->request);
}

bool
cs_attempt_done(CsAttempt *attempt)
{
	CsFailure  *failure = &attempt->failure;
	MemoryContext old;

	if (attempt->answer)
		return true;
	if (!cs_attempt_ended(attempt))
		return false;

	old = MemoryContextSwitchTo(attempt->cxt);
	attempt->answer = cs_http_answer(attempt->request);
	if (attempt->answer->failure.kind == CS_FAILURE_NONE)
		read_answer(attempt);
	else
		*failure = attempt->answer->failure;
	if (failure->kind != CS_FAILURE_NONE)
	{
		failure->retry_after_ms = Min(failure->retry_after_ms, RETRY_AFTER_LIMIT_MS);
		name_the_call(attempt);
		failure->code = redact(attempt, failure->code);
		failure->message = redact(attempt, failure->message);
		failure->detail = redact(attempt, failure->detail);
		failure->hint = redact(attempt, failure->hint);
	}
	count_and_log(attempt);
	MemoryContextSwitchTo(old);
	return true;
}
