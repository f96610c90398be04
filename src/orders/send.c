/*
 * send.c
 *	  The worker's way of an order: taken from a caller or claimed from the
 *	  queue, on the wire, recorded.
 *
 * The intent is committed before the first byte goes out, and the outcome
 * before anybody is told of it.  No transaction is open in between.  What is
 * found "sending" when a worker begins was on the wire when the last one ended,
 * since a database has one worker at a time, or is on its own: callers' orders.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "src/base/guc.h"
#include "src/client/options.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"

#define CONCURRENCY 8			/* without the server option */
#define CLAIM_LIMIT 16			/* of one server in one transaction: the first wait for the last */

static int64 orders_sent = 0;
static int64 failures = 0;
static bool held = false;		/* said so in the log */
static bool retreating = false; /* claims nothing any more */
static int	first_server = 0;	/* with whom the next claim begins */
static List *crowded = NIL;		/* OIDs of servers that had no room for all that is due */
static bool room_left = false;	/* and one had, but not in one transaction */
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
	return cs_orders_in_flight() > 0 || cs_waiters_any();
}

bool
cs_orders_blocked(void)
{
	return blocked;
}

bool
cs_orders_advance(long *wait_ms)
{
	return cs_transfers_advance(wait_ms);
}

int64
cs_orders_sent(void)
{
	return orders_sent;
}

int64
cs_orders_failures(void)
{
	return failures;
}

void
cs_count_failure(void)
{
	failures++;
}

void
cs_count_sent(void)
{
	orders_sent++;
}

bool
cs_queue_is_ours(void)
{
	static CsStatement queue_is_ours = {"SELECT FROM cs_internal.queue_is_ours()", 0};
	static CsStatement claim_queue = {"SELECT cs_internal.claim_queue()", 0};
	bool		isnull;
	bool		ours;

	if (cs_state_run(&queue_is_ours, NULL, NULL) > 0)
		return true;
	cs_state_run(&claim_queue, NULL, NULL);
	ours = DatumGetBool(cs_work_column(SPI_tuptable, 0, 1, &isnull));
	if (!ours && !held)
		ereport(LOG,
				(errmsg("the order queue of database \"%s\" belongs to another cluster and is on hold",
						get_database_name(MyDatabaseId)),
				 errhint("If the original does not run any more, use SELECT cs_adopt_queue().")));
	held = !ours;
	return ours;
}

/* ---- claiming ---- */

/* A claimed order on its way to become a transfer. */
typedef struct Claimed
{
	SPITupleTable *rows;
	uint64		row;
	Oid			serverid;
	int64		order_id;
	CsOutgoing	order;
	CsTransfer *transfer;
} Claimed;

/* The columns of cs_internal.orders_claim. */
enum
{
	CLAIM_ID = 1,
	CLAIM_EXTERNAL_ID,
	CLAIM_CREATED_BY,
	CLAIM_LINES,
	CLAIM_SHIP_TO,
	CLAIM_OPTIONS,
	CLAIM_BODY,
	CLAIM_ATTEMPTS,
	CLAIM_FIRST_SENT_AT,
	CLAIM_ONLY_CALLED_FOR
};

/* What the row says of the order. */
static void
read_claimed(const Claimed *claimed, CsOutgoing *order)
{
	SPITupleTable *rows = claimed->rows;
	uint64		row = claimed->row;
	Datum		values[CLAIM_ONLY_CALLED_FOR + 1];

	for (int i = CLAIM_LINES; i <= CLAIM_ONLY_CALLED_FOR; i++)
	{
		bool		isnull;

		values[i] = cs_work_column(rows, row, i, &isnull);
		if (isnull)
			values[i] = (Datum) 0;
	}
	order->serverid = claimed->serverid;
	order->order_id = claimed->order_id;
	order->external_id = cs_work_column_text(rows, row, CLAIM_EXTERNAL_ID);
	order->created_by = cs_work_column_text(rows, row, CLAIM_CREATED_BY);
	order->lines = values[CLAIM_LINES];
	order->ship_to = values[CLAIM_SHIP_TO];
	order->options = values[CLAIM_OPTIONS];
	order->body = values[CLAIM_BODY];
	order->first_sent_at = DatumGetTimestampTz(values[CLAIM_FIRST_SENT_AT]);
	order->only_called_for = DatumGetBool(values[CLAIM_ONLY_CALLED_FOR]);
}

/* A part: may throw, and then nothing of it stays. */
static void
prepare(void *arg)
{
	Claimed    *claimed = arg;

	read_claimed(claimed, &claimed->order);
	claimed->transfer = cs_transfer_prepare(&claimed->order);
}

/* It cannot be sent: for now, or at all. */
static void
not_prepared(const Claimed *claimed, const CsFailure *failure)
{
	static CsStatement order_delayed = {
		"SELECT cs_internal.order_delayed($1, $2, ROW($3, $4, $5, $6, $7)::cs_internal.order_error)",
		2 + CS_ERROR_ARGS, {INT8OID, INTERVALOID, CS_ERROR_TYPES}
	};
	static CsStatement order_failed = {
		"SELECT cs_internal.order_failed($1, ROW($2, $3, $4, $5, $6)::cs_internal.order_error, $7)",
		2 + CS_ERROR_ARGS, {INT8OID, CS_ERROR_TYPES, BOOLOID}
	};
	Datum		values[2 + CS_ERROR_ARGS];
	char		nulls[2 + CS_ERROR_ARGS + 1] = "       ";

	failures++;
	values[0] = Int64GetDatum(claimed->order_id);
	if (!claimed->order.has_account || cs_work_is_transient(failure->sqlstate))
	{
		values[1] = cs_work_interval(cs_work_delay_ms(failure->sqlstate));
		cs_work_error(failure, values + 2, nulls + 2);
		cs_state_run(&order_delayed, values, nulls);
	}
	else
	{
		cs_work_error(failure, values + 1, nulls + 1);
		values[1 + CS_ERROR_ARGS] = BoolGetDatum(false);
		cs_state_run(&order_failed, values, nulls);
	}
	cs_waiters_answer(CS_HANDOFF_CREATE, claimed->order_id, failure);
}

static int
room_of(Oid serverid)
{
	return cs_option_integer(GetForeignServer(serverid)->options, "concurrency", CONCURRENCY) -
		cs_transfers_of_server(serverid, true);
}

bool
cs_may_send_now(Oid serverid)
{
	return !retreating && !list_member_oid(crowded, serverid) && room_of(serverid) > 0;
}

/* Claims up to 'most' orders of a server; true if there may be more. */
static bool
claim_server(Oid serverid, const char *server, int most)
{
	static CsStatement orders_claim = {
		"SELECT * FROM cs_internal.orders_claim($1, $2, $3)", 3, {TEXTOID, INT4OID, INT8ARRAYOID}
	};
	static CsStatement orders_sending = {
		"SELECT cs_internal.orders_sending($1, $2)", 2, {INT8ARRAYOID, BYTEAARRAYOID}
	};
	Datum		values[3];
	uint64		nrows;
	SPITupleTable *rows;
	ArrayBuildState *ids = NULL;
	ArrayBuildState *bodies = NULL;

	values[0] = CStringGetTextDatum(server);
	values[1] = Int32GetDatum(most);
	values[2] = cs_waiters_orders();
	nrows = cs_state_run(&orders_claim, values, NULL);
	rows = SPI_tuptable;

	for (uint64 row = 0; row < nrows; row++)
	{
		Claimed		claimed = {rows, row, serverid};
		CsFailure	failure;
		bool		isnull;

		claimed.order_id = DatumGetInt64(cs_work_column(rows, row, CLAIM_ID, &isnull));
		if (!cs_work_part(prepare, &claimed, &failure))
		{
			not_prepared(&claimed, &failure);
			continue;
		}
		cs_transfer_plan(claimed.transfer);
		cs_count_sent();
		ids = accumArrayResult(ids, Int64GetDatum(claimed.order_id), false, INT8OID,
							   CurrentMemoryContext);
		bodies = accumArrayResult(bodies, claimed.order.body, false, BYTEAOID,
								  CurrentMemoryContext);
	}
	if (ids == NULL)
		return nrows == (uint64) most;
	values[0] = makeArrayResult(ids, CurrentMemoryContext);
	values[1] = makeArrayResult(bodies, CurrentMemoryContext);
	cs_state_run(&orders_sending, values, NULL);
	return nrows == (uint64) most;
}

/* As many as there is room for, and a transaction should take. */
static void
claim_some(Oid serverid, const char *server)
{
	int			room = room_of(serverid);
	MemoryContext old;

	if (room > 0 && !claim_server(serverid, server, Min(room, CLAIM_LIMIT)))
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	crowded = lappend_oid(crowded, serverid);
	MemoryContextSwitchTo(old);
	room_left |= room > CLAIM_LIMIT;
}

/*
 * Queued orders of all servers, each up to its own concurrency; every time
 * another one comes first.
 */
void
cs_claim_orders(void)
{
	static CsStatement servers_waiting = {"SELECT * FROM cs_internal.servers_waiting()", 0};
	TimestampTz now = GetCurrentTimestamp();
	uint64		nservers;
	SPITupleTable *servers;

	room_left = false;
	if (retreating)
		return;
	nservers = cs_state_run(&servers_waiting, NULL, NULL);
	servers = SPI_tuptable;
	list_free(crowded);
	crowded = NIL;
	first_server++;
	for (uint64 i = 0; i < nservers; i++)
	{
		uint64		row = (i + first_server) % nservers;
		bool		isnull;

		if (DatumGetTimestampTz(cs_work_column(servers, row, 3, &isnull)) <= now)
			claim_some(DatumGetObjectId(cs_work_column(servers, row, 1, &isnull)),
					   cs_work_column_text(servers, row, 2));
	}
}

void
cs_claim_more_orders(void)
{
	List	   *servers = crowded;
	ListCell   *cell;

	room_left = false;
	if (retreating || servers == NIL || !cs_queue_is_ours())
		return;
	crowded = NIL;
	foreach(cell, servers)
	{
		ForeignServer *server = GetForeignServerExtended(lfirst_oid(cell), FSV_MISSING_OK);

		if (server)
			claim_some(server->serverid, server->servername);
	}
	list_free(servers);
}

static void
claim_step(void *arg)
{
	cs_claim_more_orders();
}

bool
cs_claim_rest(void)
{
	bool		present = true;
	bool		ok = true;

	while (present && ok && room_left)
		present = cs_work_step("cupsource: claiming orders", claim_step, NULL, &ok);
	return present;
}

bool
cs_claim_freed(void)
{
	room_left = crowded != NIL;
	return cs_claim_rest();
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
	int64		sent = orders_sent;
	Datum		value;
	bool		isnull;

	if ((blocked = !cs_queue_is_ours()))
		return;
	cs_claim_orders();
	blocked = crowded != NIL && orders_sent == sent;
	if (!result->all)
		return;
	try_part(cancel_part);
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

	retreating = true;
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
