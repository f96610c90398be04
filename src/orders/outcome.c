/*
 * outcome.c
 *	  What callers are told of orders that are neither queued nor on their way.
 *
 * An order that somebody waits for, or its cancellation, may come to its end
 * another way than the one that is waited for: it is cancelled in the queue by
 * another session, an answer shows it as shipped, a look at it as cancelled.
 * So every look sees to those who wait for what will not come.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"

#include "src/orders/transfer.h"

/* Its state; *failure is what was stored with it, or as good as that. */
static const char *
read_outcome(int64 order_id, CsFailure *failure)
{
	static CsStatement stored_error = {
		"SELECT * FROM cs_internal.order_stored_error($1)", 1, {INT8OID}
	};
	Datum		value = Int64GetDatum(order_id);
	const char *state;
	const char *sqlstate;

	memset(failure, 0, sizeof(*failure));
	failure->kind = CS_FAILURE_REFUSED;
	failure->delivery = CS_DELIVERY_ANSWERED;
	cs_state_run(&stored_error, &value, NULL);
	state = cs_work_column_text(SPI_tuptable, 0, 1);
	sqlstate = cs_work_column_text(SPI_tuptable, 0, 2);
	failure->sqlstate = sqlstate && strlen(sqlstate) == 5 ?
		MAKE_SQLSTATE(sqlstate[0], sqlstate[1], sqlstate[2], sqlstate[3], sqlstate[4]) :
		CS_ERRCODE_OUTCOME_UNKNOWN;
	failure->message = cs_work_column_text(SPI_tuptable, 0, 4);
	if (failure->message == NULL)
		failure->message = psprintf("the order is %s", state);
	failure->detail = cs_work_column_text(SPI_tuptable, 0, 5);
	failure->hint = cs_work_column_text(SPI_tuptable, 0, 6);
	return state;
}

/* What to do if it was submitted again; else NULL. */
static char *
read_advice(int64 order_id)
{
	static CsStatement order_advice = {"SELECT cs_internal.order_advice($1)", 1, {INT8OID}};
	Datum		value = Int64GetDatum(order_id);

	cs_state_run(&order_advice, &value, NULL);
	return cs_work_column_text(SPI_tuptable, 0, 1);
}

bool
cs_outcome_of_order(int64 order_id, CsFailure *failure)
{
	const char *state = read_outcome(order_id, failure);
	bool		is_cancelled = strcmp(state, "cancelled") == 0;
	bool		stays = strcmp(state, "failed") != 0 && strcmp(state, "uncertain") != 0;
	char	   *advice;

	if (is_cancelled || strcmp(state, "cancelling") == 0 || strcmp(state, "queued") == 0 ||
		strcmp(state, "sending") == 0)
	{
		failure->sqlstate = CS_ERRCODE_WRONG_STATE;
		failure->message = is_cancelled ? "the order with this external id was cancelled" :
			"the order with this external id is being cancelled";
		failure->detail = psprintf("It is order %lld in cs_orders.", (long long) order_id);
		/* Both could be made, if it cannot be cancelled. */
		failure->hint = is_cancelled ? "Place it under a new external id." :
			"Once it is cancelled, place it under a new external id; if it cannot be, ask for it again.";
		stays = false;
	}

	/* Under another external id it would be made twice, under its own not at all. */
	advice = stays ? NULL : read_advice(order_id);
	if (advice)
		failure->hint = advice;
	return stays;
}

/* The same of a cancellation that is not on its way any more. */
static bool
outcome_of_cancelling(int64 order_id, CsFailure *failure)
{
	const char *state = read_outcome(order_id, failure);

	if (strcmp(state, "cancelled") == 0)
		return true;
	failure->sqlstate = CS_ERRCODE_WRONG_STATE;
	failure->message = psprintf("order %lld is not cancelled: it is %s", (long long) order_id, state);
	failure->detail = NULL;
	failure->hint = NULL;
	return false;
}

static void
settle(CsHandoffKind kind, bool (*outcome) (int64 order_id, CsFailure *failure))
{
	static CsStatement orders_decided = {
		"SELECT * FROM cs_internal.orders_decided($1, $2)", 2, {INT8ARRAYOID, BOOLOID}
	};
	Datum		values[2];
	uint64		nrows;
	SPITupleTable *rows;

	values[0] = cs_waiters_orders(kind);
	values[1] = BoolGetDatum(kind == CS_HANDOFF_CANCEL);
	nrows = cs_state_run(&orders_decided, values, NULL);
	rows = SPI_tuptable;
	for (uint64 row = 0; row < nrows; row++)
	{
		bool		isnull;
		int64		order_id = DatumGetInt64(cs_work_column(rows, row, 1, &isnull));
		CsFailure	failure;

		cs_waiters_answer(kind, order_id, outcome(order_id, &failure) ? NULL : &failure);
	}
}

/* Of queued ones; those on the wire are found locked when they are recorded. */
static void
tell_locked(CsHandoffKind kind)
{
	static CsStatement orders_locked = {
		"SELECT * FROM cs_internal.orders_locked($1)", 1, {INT8ARRAYOID}
	};
	Datum		value = cs_waiters_orders(kind);
	uint64		nrows = cs_state_run(&orders_locked, &value, NULL);
	SPITupleTable *rows = SPI_tuptable;

	for (uint64 row = 0; row < nrows; row++)
	{
		CsFailure	failure = {CS_FAILURE_REFUSED, CS_DELIVERY_NOT_SENT};
		bool		isnull;

		failure.sqlstate = ERRCODE_LOCK_NOT_AVAILABLE;
		cs_outcome_locked(DatumGetInt64(cs_work_column(rows, row, 1, &isnull)), &failure);
	}
}

void
cs_outcomes_tell(void)
{
	if (!cs_waiters_any())
		return;
	settle(CS_HANDOFF_CREATE, cs_outcome_of_order);
	settle(CS_HANDOFF_CANCEL, outcome_of_cancelling);
	tell_locked(CS_HANDOFF_CREATE);
	tell_locked(CS_HANDOFF_CANCEL);
}

void
cs_outcome_locked(int64 order_id, CsFailure *failure)
{
	cs_lock_explain(failure);
	cs_waiters_answer(CS_HANDOFF_CREATE, order_id, failure);
	cs_waiters_answer(CS_HANDOFF_CANCEL, order_id, failure);
	cs_waiters_answer(CS_HANDOFF_FOLLOW, order_id, failure);
}
