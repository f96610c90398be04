/*
 * call.c
 *	  One call of a partner API: token, budget, request, retries, errors,
 *	  statistics.
 *
 * The token comes before the budget: a grant is a departure in the account's
 * minute, so nothing may come between it and the request.  After a pause,
 * whatever it was for, the token is looked at again: it may have aged.
 */
#include "postgres.h"

#include "access/xact.h"
#include "common/pg_prng.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "src/base/guc.h"
#include "src/client/attempt.h"
#include "src/client/auth.h"
#include "src/client/call.h"

/* Pauses are random between nothing and this, which doubles up to the limit. */
#define BACKOFF_FIRST_MS 250
#define BACKOFF_LIMIT_MS 10000

/* A 429 that does not say for how long. */
#define PAUSE_UNSAID_MS 1000

/* How often a call looks whether somebody has ended the account's pause. */
#define PAUSE_LOOK_MS 1000

typedef enum CallState
{
	CALL_TOKEN,					/* until auth has an outcome */
	CALL_BUDGET,				/* until the limiter grants a request */
	CALL_SENDING,				/* until the attempt is done */
	CALL_PAUSING,				/* until pause_ms have passed since pause_since */
	CALL_DONE					/* failure and document are final */
} CallState;

struct CsCall
{
	MemoryContext cxt;			/* of the call; the struct is in it */
	MemoryContext attempt_cxt;	/* of the current or last attempt and its answer */
	CsAccount  *account;
	CsCallSpec	spec;			/* strings are ours, body and parts the caller's */
	CallState	state;
	CsAuth	   *auth;
	CsAttempt	attempt;		/* set if attempts > 0 */
	int			attempts;
	int			retries;
	int64		bytes_received; /* by all attempts */
	double		limiter_ms;		/* waited for the budget, all in all */
	double		counted_ms;		/* of that, what the statistics already have */
	instr_time	pause_since;	/* in PAUSING */
	int			pause_ms;
	bool		for_budget;		/* the pause is the limiter's */
	CsSharedAccount *shared;	/* the account's */
	uint64		ticket;			/* among those who wait for the budget; 0: it does not */
	MemoryContextCallback leaves;	/* them, if the call is given up */
	int			asked_ms;		/* of all pauses, what the partner asked for */
	CsFailure	failure;
};

static double
ms_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return INSTR_TIME_GET_MILLISEC(now);
}

/* A callback of the call's memory context. */
static void
leave_budget(void *arg)
{
	CsCall	   *call = arg;

	cs_limiter_leave(call->shared, &call->ticket);
	if (call->spec.has_place)
		cs_limiter_refund(call->shared);
}

/*
 * What has begun with an account may go on for long, page by page: its next
 * request goes with the keys of now.  Another address is another partner, whose
 * pages would be no continuation, so then everything ends as it began; so does
 * what a server that is dropped meanwhile was asked.  A refresh watches its
 * account itself.
 */
static CsAccount *
account_of_now(MemoryContext cxt, CsAccount *account, CsPriority priority)
{
	CsAccount  *now;

	if (priority == CS_PRIORITY_CATALOG || !IsTransactionState())
		return account;
	AcceptInvalidationMessages();
	if (account->valid ||
		!SearchSysCacheExists1(FOREIGNSERVEROID, ObjectIdGetDatum(account->serverid)))
		return account;
	now = cs_account_get(cxt, account->serverid, account->userid);
	if (now->api != account->api || strcmp(now->base_url, account->base_url) != 0)
		return account;
	return now;
}

CsCall *
cs_call_begin(MemoryContext cxt, CsAccount *account, const CsCallSpec *spec)
{
	MemoryContext own = AllocSetContextCreate(cxt, "cupsource call", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(own);
	CsCall	   *call = palloc0(sizeof(CsCall));

	if (strchr(spec->path, '{'))
		elog(ERROR, "path \"%s\" is not complete", spec->path);
	account = account_of_now(own, account, spec->priority);
	call->cxt = own;
	call->account = account;
	call->shared = account->shared;
	call->leaves.func = leave_budget;
	call->leaves.arg = call;
	MemoryContextRegisterResetCallback(own, &call->leaves);
	call->spec = *spec;
	call->spec.has_place = false;	/* the caller's, until nothing can fail any more */
	call->spec.endpoint = pstrdup(spec->endpoint);
	call->spec.method = pstrdup(spec->method);
	call->spec.path = pstrdup(spec->path);
	if (spec->idempotency_key)
		call->spec.idempotency_key = pstrdup(spec->idempotency_key);
	else if (strcmp(spec->method, "POST") == 0)
		call->spec.idempotency_key = cs_uuid();
	if (call->spec.timeout_ms <= 0)
		call->spec.timeout_ms = cs_guc_timeout;
	call->limiter_ms = spec->waited_ms;
	call->state = CALL_TOKEN;
	call->auth = cs_auth_begin(own, account, call->spec.timeout_ms);
	call->spec.has_place = spec->has_place;
	MemoryContextSwitchTo(old);
	return call;
}

/* How long the call may still wait because the account may not send. */
static double
patience_ms(const CsCall *call)
{
	return cs_guc_rate_limit_wait - call->limiter_ms - call->asked_ms;
}

static bool
may_try_again(const CsCall *call)
{
	const CsFailure *failure = &call->failure;

	if (call->retries >= call->spec.max_retries ||
		failure->kind == CS_FAILURE_RATE_LIMIT_WAIT || failure->kind == CS_FAILURE_OUT_OF_MEMORY)
		return false;
	if (failure->retry_after_ms > patience_ms(call))
		return false;
	if (failure->delivery == CS_DELIVERY_NOT_SENT)
		return true;
	if (failure->status == 429 || (failure->status == 503 && failure->retry_after_ms >= 0))
		return true;
	if (!call->spec.repeatable)
		return false;
	if (failure->kind == CS_FAILURE_REFUSED)
		return failure->status >= 500;
	return failure->kind == CS_FAILURE_TIMEOUT || failure->kind == CS_FAILURE_CONNECTION_LOST;
}

/* Full jitter. */
static int
backoff_ms(const CsCall *call)
{
	int			limit = BACKOFF_LIMIT_MS;

	if (call->retries < 16)
		limit = Min(limit, BACKOFF_FIRST_MS << call->retries);
	return (int) pg_prng_uint64_range(&pg_global_prng_state, 0, limit);
}

/* {BUDGET, TOKEN, SENDING} → DONE with this failure */
static void
end_with_failure(CsCall *call)
{
	CsFailure  *failure = &call->failure;
	MemoryContext old = MemoryContextSwitchTo(call->cxt);

	Assert(call->state != CALL_DONE && call->state != CALL_PAUSING);
	if (!call->spec.repeatable && failure->delivery == CS_DELIVERY_UNKNOWN)
	{
		failure->sqlstate = CS_ERRCODE_OUTCOME_UNKNOWN;
		if (!call->spec.one_by_one)
			failure->message = psprintf("the outcome is unknown: %s", failure->message);
	}
	call->state = CALL_DONE;
	MemoryContextSwitchTo(old);
}

/* {TOKEN, SENDING} → PAUSING or DONE */
static void
pause_or_end(CsCall *call)
{
	if (!may_try_again(call))
	{
		end_with_failure(call);
		return;
	}

	/*
	 * After a 429 the limiter keeps the whole account waiting; this call needs no
	 * more.  One of the identity host is none of the API's.
	 */
	if (call->failure.status == 429 && call->state == CALL_SENDING)
		call->pause_ms = 0;
	else
	{
		call->pause_ms = Max(backoff_ms(call), call->failure.retry_after_ms);
		call->asked_ms += Max(0, call->failure.retry_after_ms);
	}
	INSTR_TIME_SET_CURRENT(call->pause_since);
	call->for_budget = false;
	call->retries++;
	call->state = CALL_PAUSING;
}

/* TOKEN → BUDGET, or the failure's way */
static bool
advance_token(CsCall *call, long *wait_ms)
{
	if (!cs_auth_advance(call->auth, wait_ms))
		return false;
	if (cs_auth_header(call->auth))
		call->state = CALL_BUDGET;
	else
	{
		call->failure = *cs_auth_failure(call->auth);
		pause_or_end(call);
	}
	return true;
}

/* BUDGET → SENDING */
static void
start_attempt(CsCall *call)
{
	CsAttempt  *attempt = &call->attempt;

	Assert(call->state == CALL_BUDGET);
	if (call->attempt_cxt)
		MemoryContextReset(call->attempt_cxt);
	else
		call->attempt_cxt = AllocSetContextCreate(call->cxt, "cupsource attempt",
												  ALLOCSET_DEFAULT_SIZES);
	*attempt = (CsAttempt)
	{
		.account = call->account,
		.endpoint = call->spec.endpoint,
		.method = call->spec.method,
		.base_url = call->account->base_url,
		.path = call->spec.path,
		.authorization = cs_auth_header(call->auth),
		.idempotency_key = call->spec.idempotency_key,
		.body = call->spec.body,
		.body_length = call->spec.body_length,
		.parts = call->spec.parts,
		.nparts = call->spec.nparts,
		.repeatable = call->spec.repeatable && !call->spec.one_by_one,
		.confidential = call->spec.confidential,
		.may_be_empty = call->spec.may_be_empty,
		.retry = call->attempts > 0,
		.timeout_ms = call->spec.timeout_ms,
		.limiter_ms = call->limiter_ms - call->counted_ms,
	};
	attempt->nsecrets = cs_auth_secrets(call->auth, attempt->secrets);
	call->counted_ms = call->limiter_ms;
	memset(&call->failure, 0, sizeof(call->failure));
	cs_attempt_start(attempt, call->attempt_cxt);
	call->attempts++;
	call->state = CALL_SENDING;
}

/* BUDGET → DONE: what we would have to wait is more than may be. */
static void
refuse_to_wait(CsCall *call, int ms)
{
	MemoryContext old = MemoryContextSwitchTo(call->cxt);
	CsFailure  *failure = &call->failure;
	const char *server = call->account->server;
	int			waiting;

	memset(failure, 0, sizeof(*failure));
	failure->kind = CS_FAILURE_RATE_LIMIT_WAIT;
	failure->delivery = CS_DELIVERY_NOT_SENT;
	failure->sqlstate = CS_ERRCODE_RATE_LIMIT_WAIT;
	failure->retry_after_ms = ms;
	if (cs_limiter_paused(call->shared) > 0)
		failure->message = psprintf("%s on server \"%s\": the partner has asked for a pause",
									call->spec.endpoint, server);
	else
		failure->message = psprintf("%s on server \"%s\": "
									"no place yet in the budget of %d requests a minute",
									call->spec.endpoint, server, call->account->rate_limit);
	cs_limiter_leave(call->shared, &call->ticket);
	waiting = cs_limiter_waiting(call->shared);
	failure->detail = psprintf("The next request may go out in %.1f s, and %d %s for it; "
							   "this one has waited %.1f s of the %.1f s "
							   "that cupsource.rate_limit_wait allows.",
							   ms / 1000.0, waiting, waiting == 1 ? "other waits" : "others wait",
							   call->limiter_ms / 1000.0, cs_guc_rate_limit_wait / 1000.0);
	failure->hint = psprintf("Try again later, or raise cupsource.rate_limit_wait%s.",
							 MyBackendType == B_BG_WORKER ?
							 " in the configuration, by which orders are sent" : "");
	end_with_failure(call);
	MemoryContextSwitchTo(old);
}

/* BUDGET → DONE: there is a place, and nobody who wants it any more. */
static void
give_place_back(CsCall *call)
{
	MemoryContext old = MemoryContextSwitchTo(call->cxt);
	CsFailure  *failure = &call->failure;

	cs_limiter_refund(call->shared);
	memset(failure, 0, sizeof(*failure));
	failure->kind = CS_FAILURE_RATE_LIMIT_WAIT;
	failure->delivery = CS_DELIVERY_NOT_SENT;
	failure->sqlstate = CS_ERRCODE_RATE_LIMIT_WAIT;
	failure->retry_after_ms = -1;
	failure->message = psprintf("%s on server \"%s\": not sent, because its caller had left "
								"when there was a place in the budget",
								call->spec.endpoint, call->account->server);
	end_with_failure(call);
	MemoryContextSwitchTo(old);
}

/* BUDGET → SENDING, PAUSING or DONE */
static void
ask_for_budget(CsCall *call)
{
	int			ms = 0;

	if (!call->spec.has_place)
		ms = cs_limiter_acquire(call->shared, call->account->rate_limit, call->spec.priority,
								&call->ticket);
	call->spec.has_place = false;
	if (ms == 0 && call->spec.may_start && !call->spec.may_start(call->spec.may_start_arg))
		give_place_back(call);
	else if (ms == 0)
		start_attempt(call);
	else if (ms > patience_ms(call))
		refuse_to_wait(call, ms);
	else
	{
		INSTR_TIME_SET_CURRENT(call->pause_since);
		call->pause_ms = cs_limiter_paused(call->shared) > 0 ? Min(ms, PAUSE_LOOK_MS) : ms;
		call->for_budget = true;
		call->state = CALL_PAUSING;
	}
}

/* SENDING → DONE, PAUSING or, for a new token, TOKEN */
static void
judge(CsCall *call)
{
	CsFailure  *failure = &call->failure;

	if (call->attempt.answer)
		call->bytes_received += call->attempt.answer->bytes_received;
	*failure = call->attempt.failure;
	if (failure->kind == CS_FAILURE_NONE)
	{
		call->state = CALL_DONE;
		return;
	}
	if (failure->delivery == CS_DELIVERY_NOT_SENT)
		cs_limiter_refund(call->shared);
	if (failure->status == 429)
		cs_limiter_pause(call->shared, failure->retry_after_ms >= 0 ?
						 failure->retry_after_ms : PAUSE_UNSAID_MS);
	if (failure->status == 401 && cs_auth_rejected(call->auth))
		call->state = CALL_TOKEN;
	else
		pause_or_end(call);
}

/* PAUSING → TOKEN */
static bool
advance_pause(CsCall *call, long *wait_ms)
{
	double		elapsed = ms_since(call->pause_since);

	if (elapsed < call->pause_ms)
	{
		*wait_ms = (long) (call->pause_ms - elapsed) + 1;
		return false;
	}
	if (call->for_budget)
		call->limiter_ms += elapsed;
	cs_auth_again(call->auth);
	call->state = CALL_TOKEN;
	return true;
}

bool
cs_call_on_wire(const CsCall *call)
{
	return call->state == CALL_SENDING && !cs_attempt_ended(&call->attempt);
}

bool
cs_call_advance(CsCall *call, long *wait_ms)
{
	for (;;)
	{
		switch (call->state)
		{
			case CALL_TOKEN:
				if (!advance_token(call, wait_ms))
					return false;
				break;
			case CALL_BUDGET:
				ask_for_budget(call);
				break;
			case CALL_SENDING:
				if (!cs_attempt_done(&call->attempt))
				{
					*wait_ms = -1;
					return false;
				}
				judge(call);
				break;
			case CALL_PAUSING:
				if (!advance_pause(call, wait_ms))
					return false;
				break;
			case CALL_DONE:
				return true;
		}
	}
}

static CsWaitFor
waits_for(const CsCall *call)
{
	switch (call->state)
	{
		case CALL_PAUSING:
			return call->for_budget ? CS_WAIT_FOR_BUDGET : CS_WAIT_FOR_RETRY;
		case CALL_TOKEN:
			return cs_auth_exchanging(call->auth) ? CS_WAIT_FOR_ANSWER : CS_WAIT_FOR_TOKEN;
		default:
			return CS_WAIT_FOR_ANSWER;
	}
}

void
cs_call_finish(CsCall *call)
{
	long		wait_ms;

	while (!cs_call_advance(call, &wait_ms))
		cs_http_wait(wait_ms, waits_for(call));
}

void
cs_call_finish_first(CsCall *const *calls, int ncalls)
{
	long		wait_ms;

	while (!cs_call_advance(calls[0], &wait_ms))
	{
		for (int i = 1; i < ncalls; i++)
		{
			long		other_ms;

			if (!cs_call_advance(calls[i], &other_ms) && other_ms >= 0)
				wait_ms = wait_ms < 0 ? other_ms : Min(wait_ms, other_ms);
		}
		cs_http_wait(wait_ms, waits_for(calls[0]));
	}
}

const CsFailure *
cs_call_failure(const CsCall *call)
{
	Assert(call->state == CALL_DONE);
	return &call->failure;
}

const CsJson *
cs_call_document(const CsCall *call)
{
	Assert(call->state == CALL_DONE);
	return call->failure.kind == CS_FAILURE_NONE ? call->attempt.document : NULL;
}

const CsHttpAnswer *
cs_call_answer(const CsCall *call)
{
	return call->attempt.answer;
}

int
cs_call_attempts(const CsCall *call)
{
	return call->attempts;
}

bool
cs_call_sending(const CsCall *call)
{
	return call->attempts > 0;
}

void
cs_call_cost(const CsCall *call, CsCallCost *cost)
{
	cost->requests += call->attempts;
	cost->bytes_received += call->bytes_received;
	cost->limiter_ms += call->limiter_ms;
}

void
cs_call_release(CsCall *call)
{
	MemoryContextDelete(call->cxt);
}

const CsJson *
cs_call_read(MemoryContext cxt, CsAccount *account, const CsCallSpec *spec)
{
	CsCall	   *call = cs_call_begin(cxt, account, spec);

	cs_call_finish(call);
	if (call->failure.kind != CS_FAILURE_NONE)
		cs_failure_throw(&call->failure);
	return cs_call_document(call);
}

/* 'value' as a segment of a path. */
static char *
path_segment(const char *name, const char *value)
{
	if (value[0] == '\0' || strcmp(value, ".") == 0 || strcmp(value, "..") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a valid %s", value, name)));
	return cs_http_escape(value);
}

char *
cs_path_expand(const char *path,...)
{
	char	   *result = pstrdup(path);
	const char *name;
	va_list		pairs;

	va_start(pairs, path);
	while ((name = va_arg(pairs, const char *)) != NULL)
	{
		const char *value = va_arg(pairs, const char *);
		char	   *place = psprintf("{%s}", name);
		char	   *at = strstr(result, place);

		if (at)
			result = psprintf("%.*s%s%s", (int) (at - result), result,
							  path_segment(name, value), at + strlen(place));
	}
	va_end(pairs);
	return result;
}
