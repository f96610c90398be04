/*
 * cancel.c
 *	  Cancelling at the partner: because somebody asks, or because the
 *	  transaction that asked for an order rolled back.
 *
 * "cancelling" is committed before the request goes out; the request may be
 * sent any number of times.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "src/base/guc.h"
#include "src/orders/answer.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"
#include "src/wire/datum.h"

/* The parameters after the first one. */
#define REMOTE_ORDER \
	"ROW($2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)" \
	"::cs_internal.remote_order"

#define DELAY_MS 30000			/* after a cancellation that did not come through */

/* A cancellation on its way to become a transfer. */
typedef struct Cancellation
{
	int64		order_id;
	Oid			serverid;
	const CsApi *api;
	char	   *role;
	char	   *remote_id;
} Cancellation;

static void
plan_part(void *arg)
{
	Cancellation *c = arg;
	CsTransfer *transfer;
	MemoryContext old;

	if (cs_transfer_of(CS_TRANSFER_CANCEL, c->order_id))
		return;
	transfer = cs_transfer_new(CS_TRANSFER_CANCEL, c->serverid, get_role_oid(c->role, false),
							   c->order_id);
	old = MemoryContextSwitchTo(transfer->cxt);
	transfer->path = cs_path_expand(c->api->orders->cancel_path, "id",
									cs_utf8_from_server(c->remote_id), NULL);
	MemoryContextSwitchTo(old);
	cs_transfer_plan(transfer);
}

/* cancelling, and stays so. */
static void
delay_cancelling(int64 order_id, const CsFailure *failure)
{
	static CsStatement order_delayed = {
		"SELECT cs_internal.order_delayed($1, $2, ROW($3, $4, $5, $6, $7)::cs_internal.order_error)",
		2 + CS_ERROR_ARGS, {INT8OID, INTERVALOID, CS_ERROR_TYPES}
	};
	CsFailure	not_yet = *failure;
	Datum		values[2 + CS_ERROR_ARGS];
	char		nulls[2 + CS_ERROR_ARGS + 1] = "       ";
	int64		after = DELAY_MS / 2;

	if (not_yet.hint == NULL)
		not_yet.hint = "The order stays to be cancelled, and the partner is asked again.";
	after += (int64) pg_prng_uint64_range(&pg_global_prng_state, 0, DELAY_MS);
	values[0] = Int64GetDatum(order_id);
	values[1] = cs_work_interval(Max(after, failure->retry_after_ms));
	cs_work_error(&not_yet, values + 2, nulls + 2);
	cs_state_run(&order_delayed, values, nulls);
	cs_count_failure();
	cs_waiters_answer(CS_HANDOFF_CANCEL, order_id, &not_yet);
}

/* cancelling → back: it is not going to be cancelled. */
static void
not_cancelled(int64 order_id, const CsFailure *failure)
{
	static CsStatement order_not_cancelled = {
		"SELECT cs_internal.order_not_cancelled($1, ROW($2, $3, $4, $5, $6)::cs_internal.order_error)",
		1 + CS_ERROR_ARGS, {INT8OID, CS_ERROR_TYPES}
	};
	Datum		values[1 + CS_ERROR_ARGS];
	char		nulls[1 + CS_ERROR_ARGS + 1] = "      ";

	values[0] = Int64GetDatum(order_id);
	cs_work_error(failure, values + 1, nulls + 1);
	cs_state_run(&order_not_cancelled, values, nulls);
	cs_count_failure();
	cs_waiters_answer(CS_HANDOFF_CANCEL, order_id, failure);
}

/*
 * Asks the partner to cancel.  It may know no cancelling: what was wanted while
 * the order was on its way turns out to be impossible only when it is placed.
 */
static void
send_cancellation(Cancellation *c)
{
	CsFailure	failure = {CS_FAILURE_REFUSED, CS_DELIVERY_NOT_SENT};

	if (c->api->orders->cancel_path == NULL)
	{
		failure.sqlstate = ERRCODE_FEATURE_NOT_SUPPORTED;
		failure.message = psprintf("%s cannot cancel orders", c->api->title);
		failure.detail = psprintf("Order %lld has been placed.", (long long) c->order_id);
		failure.hint = "Ask the partner's support.";
		failure.retry_after_ms = -1;
		not_cancelled(c->order_id, &failure);
	}
	else if (!cs_work_part(plan_part, c, &failure))
		delay_cancelling(c->order_id, &failure);
}

/* Moves an order towards cancelled; returns what cs_internal.order_cancel says. */
static char *
cancel_order(int64 order_id, const char *by)
{
	static CsStatement order_cancel = {
		"SELECT cs_internal.order_cancel($1, $2)", 2, {INT8OID, TEXTOID}
	};
	Datum		values[2];

	values[0] = Int64GetDatum(order_id);
	values[1] = CStringGetTextDatum(by);
	cs_state_run(&order_cancel, values, NULL);
	return cs_work_column_text(SPI_tuptable, 0, 1);
}

/* Somebody waits for what becomes of it. */
static void
try_now(int64 order_id)
{
	static CsStatement order_now = {"SELECT cs_internal.order_now($1)", 1, {INT8OID}};
	Datum		value = Int64GetDatum(order_id);

	cs_state_run(&order_now, &value, NULL);
}

/* What the tables know of an order; throws if it is not there. */
static char *
read_knowledge(int64 order_id, Cancellation *c)
{
	static CsStatement knowledge = {
		"SELECT * FROM cs_internal.order_knowledge($1)", 1, {INT8OID}
	};
	Datum		value = Int64GetDatum(order_id);

	if (cs_state_run(&knowledge, &value, NULL) != 1)
		ereport(ERROR,
				(errcode(cs_errcode_status(404)),
				 errmsg("order %lld does not exist", (long long) order_id)));
	c->order_id = order_id;
	c->api = cs_work_api(cs_work_column_text(SPI_tuptable, 0, 1), &c->serverid);
	c->remote_id = cs_work_column_text(SPI_tuptable, 0, 3);
	c->role = cs_work_column_text(SPI_tuptable, 0, 4);
	return cs_work_column_text(SPI_tuptable, 0, 2);
}

/*
 * One that is queued again, may be at a partner that cannot cancel, and is not
 * wanted any more: to know its outcome it would have to be sent.
 */
static bool
withdraw(const Cancellation *c, const char *state)
{
	CsFailure	failure = {CS_FAILURE_REFUSED, CS_DELIVERY_UNKNOWN};

	if (c->api == NULL || c->api->orders->cancel_path != NULL || strcmp(state, "queued") != 0 ||
		!cs_order_may_have_arrived(c->order_id))
		return false;
	failure.sqlstate = CS_ERRCODE_OUTCOME_UNKNOWN;
	failure.message = psprintf("it is unknown whether order %lld was placed", (long long) c->order_id);
	failure.detail = psprintf("It is not wanted any more, but %s cannot cancel orders, and an earlier request may have arrived.",
							  c->api->title);
	cs_order_uncertain(c->order_id, &failure);
	return true;
}

/* Is, or will it be, up to the partner?  All else order_cancel() decides, or refuses. */
static bool
is_with_partner(const char *state)
{
	static const char *const here[] = {"queued", "failed", "uncertain", "rejected", "cancelled"};

	for (size_t i = 0; i < lengthof(here); i++)
		if (strcmp(state, here[i]) == 0)
			return false;
	return true;
}

/* The payload is the local id, a blank and the name of who asks. */
void
cs_take_cancel(const CsHandoffRequest *request)
{
	char	   *by = strchr(request->payload, ' ');
	Cancellation c;
	char	   *state;
	char	   *next;

	Assert(by != NULL);
	*by++ = '\0';
	state = read_knowledge(pg_strtoint64(request->payload), &c);
	if (c.api == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("the server of order %lld does not exist any more", (long long) c.order_id)));
	if (c.api->orders->cancel_path == NULL && is_with_partner(state))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot cancel orders", c.api->title),
				 errdetail("Order %lld is %s.", (long long) c.order_id, state),
				 errhint("Ask the partner's support.")));
	cs_waiter_add(request, c.order_id);
	if (withdraw(&c, state))
		return;
	next = cancel_order(c.order_id, by);
	if (strcmp(next, "done") == 0)
		cs_waiters_answer(CS_HANDOFF_CANCEL, c.order_id, NULL);
	else if (strcmp(next, "send") == 0)
		send_cancellation(&c);
	else
		try_now(c.order_id);
}

/* An order whose callers have all rolled back, and nobody came back for it. */
static void
give_up_lost(int64 order_id)
{
	static CsStatement order_orphaned = {
		"SELECT cs_internal.order_orphaned($1)", 1, {INT8OID}
	};
	Datum		value = Int64GetDatum(order_id);
	Cancellation c;
	char	   *state = read_knowledge(order_id, &c);
	bool		cancellable = c.api != NULL && c.api->orders->cancel_path != NULL &&
		strcmp(state, "shipped") != 0 && strcmp(state, "delivered") != 0;

	if (withdraw(&c, state))
		return;
	if (cancellable || strcmp(state, "queued") == 0)
		cancel_order(order_id, "cupsource");
	else
		cs_state_run(&order_orphaned, &value, NULL);
}

void
cs_cancel_orders(void)
{
	static CsStatement callers_settle = {
		"SELECT * FROM cs_internal.callers_settle($1)", 1, {INTERVALOID}
	};
	static CsStatement orders_cancelling = {
		"SELECT * FROM cs_internal.orders_cancelling()", 0
	};
	Datum		grace = cs_work_interval(cs_guc_rollback_grace);
	uint64		nrows = cs_state_run(&callers_settle, &grace, NULL);
	SPITupleTable *rows = SPI_tuptable;
	bool		isnull;

	for (uint64 row = 0; row < nrows; row++)
		give_up_lost(DatumGetInt64(cs_work_column(rows, row, 1, &isnull)));

	nrows = cs_state_run(&orders_cancelling, NULL, NULL);
	rows = SPI_tuptable;
	for (uint64 row = 0; row < nrows; row++)
	{
		Cancellation c;

		c.order_id = DatumGetInt64(cs_work_column(rows, row, 1, &isnull));
		c.api = cs_work_api(cs_work_column_text(rows, row, 2), &c.serverid);
		c.role = cs_work_column_text(rows, row, 3);
		c.remote_id = cs_work_column_text(rows, row, 4);
		if (c.api)
			send_cancellation(&c);
	}
}

/* ---- recording ---- */

/* It may have been seen to have come to its end while the request was on its way. */
static bool
is_cancelling(int64 order_id)
{
	Cancellation c;

	return strcmp(read_knowledge(order_id, &c), "cancelling") == 0;
}

/* The partner says no, and will say so again. */
static bool
is_refusal(const CsFailure *failure, int status)
{
	return failure->delivery == CS_DELIVERY_ANSWERED && status >= 400 && status < 500 &&
		status != 401 && status != 403 && status != 429 && !cs_status_gave_up(status);
}

/*
 * An answer of success that shows the order as anything but cancelled: it goes
 * on; or waits for its approval as before, or is called what nobody knows, and
 * then is asked for again.
 */
static void
contradicted(const CsTransfer *transfer, const CsOrderAnswer *answer)
{
	CsFailure	failure = {CS_FAILURE_MALFORMED, CS_DELIVERY_ANSWERED};
	bool		waits = answer->state == NULL || strcmp(answer->state, "placed") == 0;

	failure.sqlstate = waits ? CS_ERRCODE_OUTCOME_UNKNOWN : CS_ERRCODE_WRONG_STATE;
	failure.message = psprintf("order %lld is not cancelled: the partner's answer shows it as \"%s\"",
							   (long long) transfer->order_id, answer->remote_status);
	failure.hint = waits ? "It is asked for again until that is known." : "Ask the partner's support.";
	failure.retry_after_ms = -1;
	if (waits)
		delay_cancelling(transfer->order_id, &failure);
	else
		not_cancelled(transfer->order_id, &failure);
}

/*
 * What the answer shows of the order.  It may be nothing more than that the
 * partner did what was asked for.
 */
static void
read_cancelled(const CsTransfer *transfer, CsOrderAnswer *answer)
{
	const CsApi *api = transfer->account->api;
	const CsJson *document = cs_call_document(transfer->call);
	const CsJson *order = cs_json_find(document, cs_api_resource(api, "cancelled")->root);
	bool		success = false;

	(void) cs_json_boolean(cs_json_get(document, "success"), &success);
	if (success && cs_json_type(order) != CS_JSON_OBJECT)
		document = NULL;
	if (!cs_answer_order(api, "cancelled", document, transfer->account->server, answer) &&
		document != NULL && !success)
		ereport(ERROR,
				(errcode(CS_ERRCODE_MALFORMED),
				 errmsg("the answer of server \"%s\" does not show the order",
						transfer->account->server)));
}

void
cs_record_cancelled(CsTransfer *transfer)
{
	static CsStatement order_cancelled = {
		"SELECT cs_internal.order_cancelled($1, " REMOTE_ORDER ")",
		1 + CS_ANSWER_COLUMNS, {INT8OID, CS_ANSWER_TYPES}
	};
	static CsStatement order_recognised = {
		"SELECT cs_internal.order_recognised($1, " REMOTE_ORDER ")",
		1 + CS_ANSWER_COLUMNS, {INT8OID, CS_ANSWER_TYPES}
	};
	const CsFailure *failure = cs_transfer_failure(transfer);
	CsOrderAnswer answer;
	Datum		values[1 + CS_ANSWER_COLUMNS];
	char		nulls[1 + CS_ANSWER_COLUMNS + 1] = " ";

	if (!is_cancelling(transfer->order_id))
		return;
	if (failure->kind != CS_FAILURE_NONE)
	{
		if (is_refusal(failure, cs_transfer_meant_status(transfer, failure)))
			not_cancelled(transfer->order_id, failure);
		else
			delay_cancelling(transfer->order_id, failure);
		return;
	}
	read_cancelled(transfer, &answer);
	values[0] = Int64GetDatum(transfer->order_id);
	memcpy(values + 1, answer.values, sizeof(answer.values));
	memcpy(nulls + 1, answer.nulls, sizeof(answer.nulls));
	if (answer.remote_status && (answer.state == NULL || strcmp(answer.state, "cancelled") != 0))
	{
		cs_state_run(&order_recognised, values, nulls);
		contradicted(transfer, &answer);
		return;
	}
	cs_state_run(&order_cancelled, values, nulls);
	cs_waiters_answer(CS_HANDOFF_CANCEL, transfer->order_id, NULL);
}

void
cs_record_not_cancelled(CsTransfer *transfer, const CsFailure *failure)
{
	if (is_cancelling(transfer->order_id))
		delay_cancelling(transfer->order_id, failure);
}
