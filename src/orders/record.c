/*
 * record.c
 *	  What became of the requests that place orders.
 *
 * The one question that matters is whether the request may have arrived; the
 * kind of failure decides only what is said about it.
 *
 *	  not sent, 429, 503 with Retry-After	again later
 *	  answered 2xx and readable				placed
 *	  answered 4xx							failed; looked up first if an earlier
 *											request may have placed it
 *	  anything else							again with the same bytes if the API
 *											knows them, otherwise uncertain
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/base/crash.h"
#include "src/base/guc.h"
#include "src/orders/answer.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"
#include "src/shared/shmem.h"

/* Pauses are random between nothing and this, which doubles up to the limit. */
#define BACKOFF_FIRST_MS 500
#define BACKOFF_LIMIT_MS 300000

/* An answer that cannot be read stays one; so often it may be a passing fault. */
#define UNREADABLE_TRIES 3

/* So many answers are recorded in the transaction that fills their places. */
#define FEW_ANSWERS 3

/* Recording that fails for a passing reason (a lock) is tried again. */
#define RECORD_PAUSE_MS 100

/* Whoever waits does not wait longer for a lock: 1.5 s, and 100 ms for each try. */
#define LOCKED_TRIES 6

typedef enum Verdict
{
	VERDICT_AGAIN,				/* nothing was placed, or the same bytes are known */
	VERDICT_FAILED,				/* refused; the same external id may still succeed */
	VERDICT_FINAL,				/* refused, and the refusal is what this external id gets for ever */
	VERDICT_UNCERTAIN
} Verdict;

static bool
has_code(const CsFailure *failure, const char *code)
{
	return failure->code != NULL && strcmp(failure->code, code) == 0;
}

/* What to do about a failure of a request that places an order. */
static Verdict
judge(const CsTransfer *transfer, const CsFailure *failure)
{
	const CsAccount *account = transfer->account;
	int			status = cs_transfer_meant_status(transfer, failure);
	bool		idempotent = account->api->orders->create_idempotent;
	Verdict		unknown = idempotent || account->retry_uncertain ?
		VERDICT_AGAIN : VERDICT_UNCERTAIN;

	if (failure->delivery == CS_DELIVERY_NOT_SENT)
		return VERDICT_AGAIN;
	if (failure->delivery == CS_DELIVERY_UNKNOWN || status < 300)
		return unknown;
	if (status == 429 || (status == 503 && failure->retry_after_ms >= 0))
		return VERDICT_AGAIN;
	if (status == 409 && has_code(failure, "ORDER_CREATE_IN_PROGRESS"))
		return VERDICT_AGAIN;
	if (status >= 500 || cs_status_gave_up(status))
		return unknown;

	/* "See other": it is done, and its outcome is elsewhere.  Many say 302 for it. */
	if (status == 302 || status == 303)
		return unknown;

	/* An idempotency key keeps its refusal; who may ask is decided before it. */
	return idempotent && status >= 400 && status != 401 && status != 403 && status != 404 ?
		VERDICT_FINAL : VERDICT_FAILED;
}

/* Full jitter, but never before Retry-After has passed. */
static int64
backoff_ms(int tries, int retry_after_ms)
{
	uint64		limit = Min((uint64) BACKOFF_LIMIT_MS,
							(uint64) BACKOFF_FIRST_MS << Min(Max(tries - 1, 0), 16));
	int64		pause = (int64) pg_prng_uint64_range(&pg_global_prng_state, 0, limit);

	return retry_after_ms >= 0 ? retry_after_ms + pause / 4 : pause;
}

void
cs_order_attempted(const CsTransfer *transfer, const CsFailure *failure)
{
	static CsStatement attempt_ended = {
		"SELECT cs_internal.attempt_ended($1, $2, $3, $4, $5, $6, $7, $8)", 8,
		{INT8OID, TIMESTAMPTZOID, INT4OID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID}
	};
	static const char *const deliveries[] = {
		[CS_DELIVERY_NOT_SENT] = "not_sent",
		[CS_DELIVERY_ANSWERED] = "answered",
		[CS_DELIVERY_UNKNOWN] = "unknown",
	};
	bool		failed = failure->kind != CS_FAILURE_NONE;
	int			status = cs_transfer_status(transfer);
	CsDelivery	delivery = failed ? failure->delivery : CS_DELIVERY_ANSWERED;
	Datum		values[8];
	char		nulls[8 + 1] = "        ";

	values[0] = Int64GetDatum(transfer->order_id);
	values[1] = TimestampTzGetDatum(transfer->started_at);
	values[2] = Int32GetDatum(cs_transfer_duration_ms(transfer));
	values[3] = Int32GetDatum(status);
	nulls[3] = status > 0 ? ' ' : 'n';
	values[4] = CStringGetTextDatum(deliveries[delivery]);
	values[5] = CStringGetTextDatum(cs_failure_kind_name(failure->kind));
	values[6] = cs_work_text(failed ? unpack_sql_state(failure->sqlstate) : NULL, &nulls[6]);
	values[7] = cs_work_text(failed ? failure->message : NULL, &nulls[7]);
	cs_state_run(&attempt_ended, values, nulls);
}

/* How many attempts the order has had, this one included. */
int
cs_order_attempts(int64 order_id)
{
	static CsStatement count_attempts = {
		"SELECT cs_internal.order_attempts_made($1)", 1, {INT8OID}
	};
	Datum		value = Int64GetDatum(order_id);
	bool		isnull;

	cs_state_run(&count_attempts, &value, NULL);
	return DatumGetInt32(cs_work_column(SPI_tuptable, 0, 1, &isnull));
}

/* sending → queued, or (false) cancelled if that was wanted and it never arrived. */
bool
cs_order_put_back(const CsTransfer *transfer, const CsFailure *failure, int tries)
{
	static CsStatement order_again = {
		"SELECT cs_internal.order_again($1, $2, ROW($3, $4, $5, $6, $7)::cs_internal.order_error)",
		2 + CS_ERROR_ARGS, {INT8OID, INTERVALOID, CS_ERROR_TYPES}
	};
	CsFailure	cancelled = {CS_FAILURE_REFUSED, CS_DELIVERY_NOT_SENT,
		.sqlstate = CS_ERRCODE_WRONG_STATE,
		.message = "the order was cancelled before it was sent"
	};
	Datum		values[2 + CS_ERROR_ARGS];
	char		nulls[2 + CS_ERROR_ARGS + 1] = "       ";
	bool		isnull;

	values[0] = Int64GetDatum(transfer->order_id);
	values[1] = cs_work_interval(backoff_ms(tries, failure->retry_after_ms));
	cs_work_error(failure, values + 2, nulls + 2);
	cs_state_run(&order_again, values, nulls);
	if (DatumGetBool(cs_work_column(SPI_tuptable, 0, 1, &isnull)))
		return true;
	cs_waiters_answer(CS_HANDOFF_CANCEL, transfer->order_id, NULL);
	cs_waiters_answer(CS_HANDOFF_CREATE, transfer->order_id, &cancelled);
	return false;
}

/* sending → failed. */
void
cs_order_failed(const CsTransfer *transfer, const CsFailure *failure, bool final)
{
	static CsStatement order_failed = {
		"SELECT cs_internal.order_failed($1, ROW($2, $3, $4, $5, $6)::cs_internal.order_error, $7)",
		2 + CS_ERROR_ARGS, {INT8OID, CS_ERROR_TYPES, BOOLOID}
	};
	Datum		values[2 + CS_ERROR_ARGS];
	char		nulls[2 + CS_ERROR_ARGS + 1] = "       ";

	values[0] = Int64GetDatum(transfer->order_id);
	cs_work_error(failure, values + 1, nulls + 1);
	values[1 + CS_ERROR_ARGS] = BoolGetDatum(final);
	cs_state_run(&order_failed, values, nulls);
	cs_waiters_answer(CS_HANDOFF_CREATE, transfer->order_id, failure);
	cs_waiters_answer(CS_HANDOFF_CANCEL, transfer->order_id, failure);
}

void
cs_order_uncertain(int64 order_id, CsFailure *failure)
{
	static CsStatement order_uncertain = {
		"SELECT cs_internal.order_uncertain($1, ROW($2, $3, $4, $5, $6)::cs_internal.order_error)",
		1 + CS_ERROR_ARGS, {INT8OID, CS_ERROR_TYPES}
	};
	Datum		values[1 + CS_ERROR_ARGS];
	char		nulls[1 + CS_ERROR_ARGS + 1] = "      ";

	failure->hint = psprintf("It may have been placed, so it is not sent again. Look for it at the partner, "
							 "then use cs_resolve_order(%lld, 'placed', ...), 'retry' or 'failed'.",
							 (long long) order_id);
	values[0] = Int64GetDatum(order_id);
	cs_work_error(failure, values + 1, nulls + 1);
	cs_state_run(&order_uncertain, values, nulls);
	cs_waiters_answer(CS_HANDOFF_CREATE, order_id, failure);
	cs_waiters_answer(CS_HANDOFF_CANCEL, order_id, failure);
}

/*
 * sending → uncertain.  An answer that says 5xx is told as it is; any other would
 * be taken for a refusal, which it is not, as an earlier request may have placed
 * the order.
 */
void
cs_order_doubted(const CsTransfer *transfer, const CsFailure *cause)
{
	CsFailure	failure = *cause;

	if (cause->kind != CS_FAILURE_REFUSED || cause->status < 500)
	{
		failure.sqlstate = CS_ERRCODE_OUTCOME_UNKNOWN;
		failure.message = psprintf("it is unknown whether order \"%s\" was placed",
								   transfer->external_id);
		failure.detail = cause->kind != CS_FAILURE_REFUSED ?
			psprintf("The request failed: %s", cause->message) :
			psprintf("The partner's last answer leaves it open: %s%s%s", cause->message,
					 cause->detail ? "; " : "", cause->detail ? cause->detail : "");
	}
	cs_order_uncertain(transfer->order_id, &failure);
}

static bool
ask_about(CsStatement *question, int64 order_id)
{
	Datum		value = Int64GetDatum(order_id);
	bool		isnull;

	cs_state_run(question, &value, NULL);
	return DatumGetBool(cs_work_column(SPI_tuptable, 0, 1, &isnull));
}

bool
cs_order_may_have_arrived(int64 order_id)
{
	static CsStatement never_arrived = {"SELECT cs_internal.never_arrived($1)", 1, {INT8OID}};

	return !ask_about(&never_arrived, order_id);
}

/* May one of its requests have placed it, although nobody knows? */
static bool
is_doubtful(int64 order_id)
{
	static CsStatement is_doubtful = {"SELECT cs_internal.is_doubtful($1)", 1, {INT8OID}};

	return ask_about(&is_doubtful, order_id);
}

/* Does nobody want it so far but callers, who may yet roll back? */
static bool
is_only_called_for(int64 order_id)
{
	static CsStatement is_only_called_for = {
		"SELECT cs_internal.is_only_called_for($1)", 1, {INT8OID}
	};

	return ask_about(&is_only_called_for, order_id);
}

/*
 * To a caller that waits no more for an order which goes on without it.  A
 * refusal of the last request says nothing of an earlier one.
 */
static void
tell_impatient(const CsTransfer *transfer, const CsFailure *last, bool arrived)
{
	CsFailure	failure = *last;
	bool		refused = last->kind == CS_FAILURE_REFUSED && last->status < 500;

	if (!arrived)
		failure.hint = "The order stays in the queue, where it was before, and is tried again.";
	else if (last->delivery == CS_DELIVERY_NOT_SENT ||
			 (refused && is_doubtful(transfer->order_id)))
	{
		failure.sqlstate = CS_ERRCODE_OUTCOME_UNKNOWN;
		failure.message = psprintf("it is unknown whether order \"%s\" was placed",
								   transfer->external_id);
		failure.detail = psprintf("An earlier request may have arrived; the last one failed: %s",
								  last->message);
		failure.hint = "It is tried again until that is known. Look it up in cs_orders by its external id.";
	}
	cs_waiters_answer(CS_HANDOFF_CREATE, transfer->order_id, &failure);
}

/* Has who waits seen so many tries fail, or is the next one too far away for him? */
static bool
is_exhausted(int tries, const CsFailure *failure)
{
	return tries > 0 &&
		(tries > cs_guc_max_retries || failure->retry_after_ms > cs_guc_rate_limit_wait);
}

/*
 * Again later.  A caller waits for so many tries only, and for none that is
 * too far away.  Then an order that was never sent, and that nobody else
 * wants, has failed; one that may have been placed, or that a transaction has
 * committed, goes on without it.  So does one that somebody waits to have
 * cancelled.
 */
void
cs_order_try_again(const CsTransfer *transfer, const CsFailure *failure)
{
	int			tries = cs_waiters_try(CS_HANDOFF_CREATE, transfer->order_id);
	int			cancels = cs_waiters_try(CS_HANDOFF_CANCEL, transfer->order_id);
	bool		exhausted = is_exhausted(tries, failure);
	bool		arrived = failure->delivery != CS_DELIVERY_NOT_SENT ||
		(exhausted && cs_order_may_have_arrived(transfer->order_id));

	if (exhausted && !arrived && is_only_called_for(transfer->order_id))
	{
		cs_order_failed(transfer, failure, false);
		return;
	}
	if (!cs_order_put_back(transfer, failure, tries + cancels > 0 ? Max(tries, cancels) :
						   cs_order_attempts(transfer->order_id)))
		return;
	if (exhausted)
		tell_impatient(transfer, failure, arrived);
	if (is_exhausted(cancels, failure))
	{
		CsFailure	not_yet = *failure;

		not_yet.hint = "It is tried again until it is known whether the order was placed, and cancelled then.";
		cs_waiters_answer(CS_HANDOFF_CANCEL, transfer->order_id, &not_yet);
	}
}

static void
record_refused(CsTransfer *transfer, const CsFailure *failure)
{
	cs_count_failure();
	switch (judge(transfer, failure))
	{
		case VERDICT_AGAIN:
			cs_order_try_again(transfer, failure);
			break;
		case VERDICT_FAILED:
			/* Who may not ask is not told what became of an earlier request. */
			if (!is_doubtful(transfer->order_id))
				cs_order_failed(transfer, failure, false);
			else if (!cs_doubt_look_up(transfer, failure, false))
				cs_order_doubted(transfer, failure);
			break;
		case VERDICT_FINAL:
			/* A partner that does not keep its answers refuses what it has made. */
			if (!is_doubtful(transfer->order_id) ||
				!cs_doubt_look_up(transfer, failure, failure->status != 409))
				cs_order_failed(transfer, failure, true);
			break;
		case VERDICT_UNCERTAIN:
			cs_order_doubted(transfer, failure);
			break;
	}
}

void
cs_order_placed(CsTransfer *transfer, const CsOrderAnswer *answer)
{
	static CsStatement order_placed = {
		"SELECT cs_internal.order_placed($1, $2, ROW($3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, "
		"$14, $15, $16, $17, $18, $19)::cs_internal.remote_order, $20, $21, $22, $23, $24)",
		7 + CS_ANSWER_COLUMNS,
		{INT8OID, TEXTOID, CS_ANSWER_TYPES, JSONBOID, INTERVALOID, TIMESTAMPTZOID, INT4OID, INT4OID}
	};
	const CsAccount *account = transfer->account;
	Datum		values[7 + CS_ANSWER_COLUMNS];
	char		nulls[7 + CS_ANSWER_COLUMNS + 1];
	CsFailure	failure;
	bool		stays;
	bool		isnull;

	memset(nulls, ' ', sizeof(nulls));
	values[0] = Int64GetDatum(transfer->order_id);
	values[1] = CStringGetTextDatum(answer->state ? answer->state : "placed");
	memcpy(values + 2, answer->values, sizeof(answer->values));
	memcpy(nulls + 2, answer->nulls, sizeof(answer->nulls));
	values[2 + CS_ANSWER_COLUMNS] = cs_answer_raw(cs_call_document(transfer->call),
												  &nulls[2 + CS_ANSWER_COLUMNS]);
	values[3 + CS_ANSWER_COLUMNS] = cs_work_interval(account->poll_interval_s * INT64CONST(1000));

	/* What cannot be asked for is not followed. */
	if (account->api->orders->get_path == NULL && account->api->orders->tracking_path == NULL)
		nulls[3 + CS_ANSWER_COLUMNS] = 'n';
	values[4 + CS_ANSWER_COLUMNS] = TimestampTzGetDatum(transfer->started_at);
	values[5 + CS_ANSWER_COLUMNS] = Int32GetDatum(cs_transfer_duration_ms(transfer));
	values[6 + CS_ANSWER_COLUMNS] = Int32GetDatum(cs_transfer_status(transfer));
	cs_state_run(&order_placed, values, nulls);
	stays = DatumGetBool(cs_work_column(SPI_tuptable, 0, 1, &isnull)) ||
		cs_outcome_of_order(transfer->order_id, &failure);
	cs_waiters_answer(CS_HANDOFF_CREATE, transfer->order_id, stays ? NULL : &failure);
}

void
cs_record_created(CsTransfer *transfer)
{
	const CsFailure *failure = cs_transfer_failure(transfer);
	const CsAccount *account = transfer->account;
	CsOrderAnswer answer;

	if (failure->kind != CS_FAILURE_NONE)
	{
		cs_order_attempted(transfer, failure);
		record_refused(transfer, failure);
		return;
	}
	if (!cs_answer_order(account->api, "created", cs_call_document(transfer->call),
						 account->server, &answer))
		ereport(ERROR,
				(errcode(CS_ERRCODE_MALFORMED),
				 errmsg("the answer to order \"%s\" does not show the order", transfer->external_id)));
	cs_order_placed(transfer, &answer);
}

/* A success that cannot be read: the order is there, but which one is it? */
void
cs_record_unreadable(CsTransfer *transfer, const CsFailure *failure)
{
	CsFailure	unreadable = *failure;

	cs_count_failure();
	if (transfer->doubted)
	{
		cs_order_doubted(transfer, transfer->doubted);
		return;
	}
	unreadable.kind = CS_FAILURE_MALFORMED;
	unreadable.delivery = CS_DELIVERY_UNKNOWN;
	cs_order_attempted(transfer, &unreadable);
	if (judge(transfer, &unreadable) == VERDICT_AGAIN &&
		cs_order_attempts(transfer->order_id) < UNREADABLE_TRIES)
		(void) cs_order_put_back(transfer, &unreadable, 1);
	else if (!cs_doubt_look_up(transfer, &unreadable, false))
		cs_order_doubted(transfer, &unreadable);
}

/* ---- the step ---- */

static void
record_part(void *arg)
{
	CsTransfer *transfer = arg;

	switch (transfer->kind)
	{
		case CS_TRANSFER_CREATE:
			cs_record_created(transfer);
			break;
		case CS_TRANSFER_LOOKUP:
			cs_record_looked_up(transfer);
			break;
		case CS_TRANSFER_CANCEL:
			cs_record_cancelled(transfer);
			break;
		case CS_TRANSFER_GET:
		case CS_TRANSFER_TRACKING:
			cs_record_followed(transfer);
			break;
		case CS_TRANSFER_LIST:
			cs_record_listed(transfer);
			break;
	}
}

/* The answer is poisonous; what else can be said of its order? */
typedef struct Poisonous
{
	CsTransfer *transfer;
	CsFailure	failure;
} Poisonous;

static void
poison_part(void *arg)
{
	Poisonous  *poisonous = arg;

	switch (poisonous->transfer->kind)
	{
		case CS_TRANSFER_CREATE:
		case CS_TRANSFER_LOOKUP:
			cs_record_unreadable(poisonous->transfer, &poisonous->failure);
			break;
		case CS_TRANSFER_CANCEL:
			cs_record_not_cancelled(poisonous->transfer, &poisonous->failure);
			break;
		case CS_TRANSFER_LIST:
			cs_record_not_listed(poisonous->transfer, &poisonous->failure);
			break;
		default:
			cs_record_not_followed(poisonous->transfer, &poisonous->failure);
			break;
	}
}

/* Records one transfer; false: to be tried again. */
static bool
record_one(CsTransfer *transfer)
{
	Poisonous	poisonous = {transfer};
	CsFailure	failure;

	if (cs_work_part(record_part, transfer, &poisonous.failure))
		return true;
	if (!cs_work_is_transient(poisonous.failure.sqlstate) &&
		cs_work_part(poison_part, &poisonous, &failure))
		return true;
	transfer->record_tries++;
	transfer->record_after = cs_monotonic_us() +
		RECORD_PAUSE_MS * INT64CONST(1000) * Min(transfer->record_tries, 100);
	if (transfer->record_tries == 1)
		ereport(LOG,
				(errcode(poisonous.failure.sqlstate),
				 errmsg("could not record the answer to order %lld: %s",
						(long long) transfer->order_id, poisonous.failure.message)));
	if (transfer->record_tries >= LOCKED_TRIES &&
		poisonous.failure.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE)
		cs_outcome_locked(transfer->order_id, &poisonous.failure);
	return false;
}

typedef struct Recording
{
	bool		claims;			/* in the same transaction */
	List	   *recorded;
} Recording;

/* Each answer by itself: one that cannot be recorded fails its own order only. */
static void
record_step(void *arg)
{
	Recording  *recording = arg;
	dlist_iter	iter;

	if (recording->claims)
		cs_claim_more_orders();
	dlist_foreach(iter, cs_transfers())
	{
		CsTransfer *transfer = dlist_container(CsTransfer, node, iter.cur);

		if (!transfer->done || transfer->record_after > cs_monotonic_us())
			continue;
		if (record_one(transfer))
		{
			MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

			recording->recorded = lappend(recording->recorded, transfer);
			MemoryContextSwitchTo(old);
		}
	}
	if (recording->recorded != NIL)
		CS_CRASH_POINT("recorded");
}

static int
count_answers(void)
{
	dlist_iter	iter;
	int			count = 0;

	dlist_foreach(iter, cs_transfers())
		count += dlist_container(CsTransfer, node, iter.cur)->done ? 1 : 0;
	return count;
}

/*
 * The places that answers have freed are not to wait until all of those are
 * recorded; few of them are recorded sooner than a transaction is committed.
 */
bool
cs_orders_record(void)
{
	Recording	recording = {count_answers() <= FEW_ANSWERS, NIL};
	ListCell   *cell;
	bool		ok;

	if (!recording.claims && !cs_claim_freed())
		return false;
	if (!cs_work_step("cupsource: recording answers", record_step, &recording, &ok))
		return false;
	if (ok)
		foreach(cell, recording.recorded)
			cs_transfer_release(lfirst(cell));
	list_free(recording.recorded);
	return cs_claim_rest();
}
