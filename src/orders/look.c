/*
 * look.c
 *	  The worker's look at everything that is due; what it sees to when it
 *	  begins, and before it ends.
 *
 * What is found "sending" when a worker begins was on the wire when the last
 * one ended, since a database has one worker at a time, or is on its own:
 * callers' orders.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "src/base/guc.h"
#include "src/client/options.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"

static bool blocked = false;	/* nothing queued could be sent */

int
cs_orders_in_flight(void)
{
	dlist_iter	iter;
	int			count = 0;

	dlist_foreach(iter, cs_transfers())
		count++;
	return count;
}

bool
cs_orders_busy(void)
{
	return cs_orders_in_flight() > 0 || cs_waiters_any() || cs_places_awaited(InvalidOid);
}

bool
cs_orders_blocked(void)
{
	return blocked;
}

bool
cs_orders_advance(long *wait_ms)
{
	bool		done = cs_transfers_advance(wait_ms);
	long		places_ms = cs_claims_ended() ? -1 : cs_places_wait_ms();

	if (places_ms >= 0)
		*wait_ms = *wait_ms < 0 ? places_ms : Min(*wait_ms, places_ms);
	return done;
}

bool
cs_orders_claim(void)
{
	return !cs_places_due() || cs_claim_freed();
}

/* ---- everything that is due ---- */

static void
cancel_part(void *arg)
{
	cs_cancel_orders();
}

static void
follow_part(void *arg)
{
	cs_follow_orders();
}

static void
outcomes_part(void *arg)
{
	cs_outcomes_tell();
}

/* Webhooks that came while their order was being recorded. */
static void
webhooks_part(void *arg)
{
	static CsStatement webhooks_settle = {"SELECT cs_internal.webhooks_settle()", 0};

	cs_state_run(&webhooks_settle, NULL, NULL);
}

/* Following may fail without keeping orders from being sent. */
static void
try_part(CsStep part)
{
	CsFailure	failure;

	if (!cs_work_part(part, NULL, &failure))
		ereport(LOG,
				(errcode(failure.sqlstate),
				 errmsg("could not look after placed orders: %s", failure.message)));
}

typedef struct LookResult
{
	bool		all;			/* not only what is queued */
	TimestampTz due;
} LookResult;

static void
look_step(void *arg)
{
	static CsStatement next_due = {"SELECT cs_internal.next_due($1)", 1, {INTERVALOID}};
	LookResult *result = arg;
	int64		sent = cs_orders_sent();
	Datum		value;
	bool		isnull;

	if ((blocked = !cs_queue_is_ours()))
		return;
	cs_claim_orders();
	blocked = cs_claims_crowded() && cs_orders_sent() == sent;
	if (!result->all)
		return;
	try_part(cancel_part);
	try_part(outcomes_part);
	try_part(webhooks_part);
	try_part(follow_part);
	value = cs_work_interval(cs_guc_rollback_grace);
	cs_state_run(&next_due, &value, NULL);
	value = cs_work_column(SPI_tuptable, 0, 1, &isnull);
	if (!isnull)
		result->due = DatumGetTimestampTz(value);
}

bool
cs_orders_look(bool all, TimestampTz *due)
{
	LookResult	result = {all, 0};
	bool		ok;
	bool		present = cs_work_step("cupsource: looking for work", look_step, &result, &ok);

	if (ok && all)
		*due = result.due;
	return present && cs_claim_rest();
}

/* ---- after a crash, and before the end ---- */

/* An order that was on the wire when a worker ended. */
static void
see_to_interrupted(int64 order_id, const char *server)
{
	static CsStatement attempt_ended = {
		"SELECT cs_internal.attempt_ended($1, NULL, NULL, NULL, 'unknown', 'connection_lost', $2, $3)",
		3, {INT8OID, TEXTOID, TEXTOID}
	};
	static CsStatement order_again = {
		"SELECT cs_internal.order_again($1, $2, ROW($3, $4, $5, $6, $7)::cs_internal.order_error)",
		2 + CS_ERROR_ARGS, {INT8OID, INTERVALOID, CS_ERROR_TYPES}
	};
	static CsStatement order_uncertain = {
		"SELECT cs_internal.order_uncertain($1, ROW($2, $3, $4, $5, $6)::cs_internal.order_error)",
		1 + CS_ERROR_ARGS, {INT8OID, CS_ERROR_TYPES}
	};
	Oid			serverid;
	const CsApi *api = cs_work_api(server, &serverid);
	CsFailure	failure = {CS_FAILURE_CONNECTION_LOST, CS_DELIVERY_UNKNOWN};
	Datum		values[2 + CS_ERROR_ARGS];
	char		nulls[2 + CS_ERROR_ARGS + 1] = "       ";

	failure.sqlstate = CS_ERRCODE_OUTCOME_UNKNOWN;
	failure.message = "the worker ended while the order was being sent";
	values[0] = Int64GetDatum(order_id);
	values[1] = CStringGetTextDatum(unpack_sql_state(failure.sqlstate));
	values[2] = CStringGetTextDatum(failure.message);
	cs_state_run(&attempt_ended, values, NULL);

	if (api && (api->orders->create_idempotent ||
				cs_option_boolean(GetForeignServer(serverid)->options, "retry_uncertain", false)))
	{
		values[1] = cs_work_interval(0);
		cs_work_error(&failure, values + 2, nulls + 2);
		cs_state_run(&order_again, values, nulls);
		return;
	}
	failure.detail = "It may have been placed, and sending it again could place it twice.";
	failure.hint = "Look for it at the partner, then use cs_resolve_order.";
	cs_work_error(&failure, values + 1, nulls + 1);
	cs_state_run(&order_uncertain, values, nulls);
}

static void
begin_queue(void *arg)
{
	static CsStatement orders_interrupted = {"SELECT * FROM cs_internal.orders_interrupted()", 0};
	bool	   *ours = arg;
	uint64		nrows;
	SPITupleTable *rows;

	*ours = cs_queue_is_ours();
	if (!*ours)
		return;
	nrows = cs_state_run(&orders_interrupted, NULL, NULL);
	rows = SPI_tuptable;
	for (uint64 row = 0; row < nrows; row++)
	{
		bool		isnull;
		int64		order_id = DatumGetInt64(cs_work_column(rows, row, 1, &isnull));

		if (cs_transfer_of(CS_TRANSFER_CREATE, order_id) == NULL &&
			cs_transfer_of(CS_TRANSFER_LOOKUP, order_id) == NULL)
			see_to_interrupted(order_id, cs_work_column_text(rows, row, 2));
	}
}

bool
cs_orders_begin(bool *ok)
{
	bool		ours = false;
	bool		present = cs_work_step("cupsource: looking after interrupted orders", begin_queue,
									   &ours, ok);

	*ok = *ok && ours;
	return present;
}

typedef struct ClockStep
{
	bool		watched;
	bool		all;			/* result: no order is left that somebody has locked */
} ClockStep;

static void
clock_step(void *arg)
{
	static CsStatement orders_clock = {"SELECT cs_internal.orders_clock($1)", 1, {BOOLOID}};
	ClockStep  *clock = arg;
	Datum		value = BoolGetDatum(clock->watched);
	bool		isnull;

	clock->all = true;
	if (!cs_queue_is_ours())
		return;
	cs_state_run(&orders_clock, &value, NULL);
	clock->all = DatumGetBool(cs_work_column(SPI_tuptable, 0, 1, &isnull));
}

bool
cs_orders_clock(bool watched, bool *ok)
{
	ClockStep	clock = {watched, false};
	bool		present;

	present = cs_work_step("cupsource: looking after the clock", clock_step, &clock, ok);
	*ok = *ok && clock.all;
	return present;
}

/* Those that wait for a token or the budget go back into the queue. */
static void
retreat(void *arg)
{
	static CsStatement order_again = {
		"SELECT cs_internal.order_again($1, $2, NULL::cs_internal.order_error)",
		2, {INT8OID, INTERVALOID}
	};
	static CsStatement attempt_ended = {
		"SELECT cs_internal.attempt_ended($1, NULL, NULL, NULL, 'not_sent', NULL, NULL, NULL)",
		1, {INT8OID}
	};
	dlist_iter	iter;

	dlist_foreach(iter, cs_transfers())
	{
		CsTransfer *transfer = dlist_container(CsTransfer, node, iter.cur);
		Datum		values[2];

		if (transfer->kind != CS_TRANSFER_CREATE || transfer->done ||
			(transfer->call && cs_call_sending(transfer->call)))
			continue;
		values[0] = Int64GetDatum(transfer->order_id);
		values[1] = cs_work_interval(0);
		cs_state_run(&attempt_ended, values, NULL);
		cs_state_run(&order_again, values, NULL);
	}
}

bool
cs_orders_retreat(void)
{
	dlist_mutable_iter iter;
	bool		present;

	cs_claims_end();
	present = cs_work_step("cupsource: putting orders back", retreat, NULL, NULL);
	dlist_foreach_modify(iter, cs_transfers())
	{
		CsTransfer *transfer = dlist_container(CsTransfer, node, iter.cur);

		if (transfer->done || (transfer->call && cs_call_sending(transfer->call) &&
							   transfer->kind == CS_TRANSFER_CREATE))
			continue;
		cs_transfer_release(transfer);
	}
	return present;
}
