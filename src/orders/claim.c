/*
 * claim.c
 *	  From the queue to the wire: which orders go out now, as many as their
 *	  servers have room for and the budgets of their accounts have places.
 *
 * The intent is committed before the first byte goes out, and the outcome
 * before anybody is told of it (record.c).  No transaction is open in between.
 * What may not go yet stays as it is.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/client/options.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"

#define CONCURRENCY 8			/* without the server option */
#define CLAIM_LIMIT 16			/* of one server in one transaction: the first wait for the last */

static int64 orders_sent = 0;
static int64 failures = 0;
static bool held = false;		/* said so in the log */
static bool ended = false;		/* claims nothing any more */
static int	first_server = 0;	/* with whom the next claim begins */
static List *crowded = NIL;		/* OIDs of servers that had no room for all that is due */
static bool room_left = false;	/* and one had, but not in one transaction */

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

/* A copy sends nothing, and what waits for the original would wait for ever. */
void
cs_queue_refuse(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the order queue of this database belongs to another cluster and is on hold"),
			 errhint("If the original does not run any more, use SELECT cs_adopt_queue().")));
}

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
	return !ended && !list_member_oid(crowded, serverid) && room_of(serverid) > 0;
}

/* Claims up to 'most' orders of a server; true if there may be more that are due. */
static bool
claim_server(Oid serverid, const char *server, int most)
{
	static CsStatement orders_claim = {
		"SELECT * FROM cs_internal.orders_claim($1, $2, $3, $4)", 4,
		{TEXTOID, INT4OID, INT8ARRAYOID, BOOLOID}
	};
	static CsStatement orders_sending = {
		"SELECT cs_internal.orders_sending($1, $2)", 2, {INT8ARRAYOID, BYTEAARRAYOID}
	};
	const CsApi *api = cs_work_api(server, &serverid);
	Datum		values[4];
	uint64		nrows;
	SPITupleTable *rows;
	ArrayBuildState *ids = NULL;
	ArrayBuildState *bodies = NULL;
	bool		more;

	values[0] = CStringGetTextDatum(server);
	values[1] = Int32GetDatum(most);
	values[2] = cs_waiters_orders(CS_HANDOFF_CREATE);
	values[3] = BoolGetDatum(api == NULL || api->orders->create_idempotent);
	nrows = cs_state_run(&orders_claim, values, NULL);
	rows = SPI_tuptable;
	more = nrows == (uint64) most;

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
		if (!cs_place_take(claimed.transfer))
		{
			cs_transfer_release(claimed.transfer);
			more = true;
			continue;
		}
		cs_count_sent();
		ids = accumArrayResult(ids, Int64GetDatum(claimed.order_id), false, INT8OID,
							   CurrentMemoryContext);
		bodies = accumArrayResult(bodies, claimed.order.body, false, BYTEAOID,
								  CurrentMemoryContext);
	}
	if (ids == NULL)
		return more;
	values[0] = makeArrayResult(ids, CurrentMemoryContext);
	values[1] = makeArrayResult(bodies, CurrentMemoryContext);
	cs_state_run(&orders_sending, values, NULL);
	return more;
}

/* As many as there is room for, and a transaction should take. */
static void
claim_some(Oid serverid, const char *server)
{
	int			room = cs_places_awaited(serverid) ? 0 : room_of(serverid);
	MemoryContext old;

	if (room > 0 && !claim_server(serverid, server, Min(room, CLAIM_LIMIT)))
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	crowded = lappend_oid(crowded, serverid);
	MemoryContextSwitchTo(old);
	room_left |= room > CLAIM_LIMIT && !cs_places_awaited(serverid);
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
	if (ended)
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
	if (ended || servers == NIL || !cs_queue_is_ours())
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

bool
cs_claims_crowded(void)
{
	return crowded != NIL;
}

void
cs_claims_end(void)
{
	ended = true;
}

bool
cs_claims_ended(void)
{
	return ended;
}
