/*
 * take.c
 *	  Requests of callers that wait: journalled here, in transactions that no
 *	  rollback of theirs can undo.
 *
 * lock_timeout is in force, so a request about an order that the caller itself
 * has locked or inserted, and not committed, ends with an error instead of
 * waiting for a transaction that waits for us.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/xid8.h"

#include "src/base/crash.h"
#include "src/client/server.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"

#define TAKE_LIMIT 64			/* requests in one transaction */

/* One request on its way into the journal. */
typedef struct Taken
{
	CsHandoffRequest request;
	bool		held;			/* the queue is not ours */
	bool		failed;
	CsFailure	failure;
} Taken;

typedef struct Batch
{
	int			count;
	bool		look;			/* an order may be left to wait */
	Taken		taken[TAKE_LIMIT];
} Batch;

/* A member of a request; NULL, or 0, if it is not there or null. */
static JsonbValue *
member(Datum object, const char *key)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&DatumGetJsonbP(object)->root, key,
													 strlen(key), NULL);

	return value && value->type != jbvNull ? value : NULL;
}

static char *
member_text(Datum object, const char *key)
{
	JsonbValue *value = member(object, key);

	return value ? pnstrdup(value->val.string.val, value->val.string.len) : NULL;
}

static void
take_create(const Taken *taken)
{
	static CsStatement order_take = {
		"SELECT * FROM cs_internal.order_take($1)", 1, {JSONBOID}
	};
	const CsHandoffRequest *request = &taken->request;
	Datum		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(request->payload));
	char	   *server = member_text(value, "server");
	Oid			serverid = get_foreign_server_oid(server, false);
	char	   *disposition;
	int64		order_id;
	bool		isnull;

	if (taken->held)
		cs_queue_refuse();
	cs_state_run(&order_take, &value, NULL);
	order_id = DatumGetInt64(cs_work_column(SPI_tuptable, 0, 1, &isnull));
	disposition = cs_work_column_text(SPI_tuptable, 0, 2);
	cs_server_check_name(serverid, server);

	if (strcmp(disposition, "error") == 0 || strcmp(disposition, "cancelled") == 0 ||
		strcmp(disposition, "cancelling") == 0)
	{
		CsFailure	failure;

		(void) cs_outcome_of_order(order_id, &failure);
		cs_request_answer(request, order_id, &failure);
	}
	else
	{
		cs_waiter_add(request, order_id);
		if (strcmp(disposition, "done") == 0)
			cs_waiters_answer(CS_HANDOFF_CREATE, order_id, NULL);
	}
}

static void
take_part(void *arg)
{
	const Taken *taken = arg;
	const CsHandoffRequest *request = &taken->request;

	switch (request->kind)
	{
		case CS_HANDOFF_CREATE:
			take_create(taken);
			break;
		case CS_HANDOFF_CANCEL:
			if (taken->held)
				cs_queue_refuse();
			cs_take_cancel(request);
			break;
		case CS_HANDOFF_FOLLOW:
			cs_take_follow(request);
			break;
	}
}

/* ---- a new order that can be sent at once, as nearly all can ---- */

typedef struct Direct
{
	const CsHandoffRequest *request;
	CsTransfer *transfer;
	bool		sent;
} Direct;

/* Likewise. */
static Datum
member_jsonb(Datum object, const char *key)
{
	JsonbValue *value = member(object, key);

	return value ? JsonbPGetDatum(JsonbValueToJsonb(value)) : (Datum) 0;
}

/* Journals it as sending.  False: it is not new, or the queue is not ours. */
static bool
journal_sending(CsOutgoing *order, const char *server, const char *xid)
{
	static CsStatement order_take_sending = {
		"SELECT cs_internal.order_take_sending($1, $2, $3, $4, $5, $6, $7, $8)", 8,
		{TEXTOID, TEXTOID, JSONBOID, JSONBOID, JSONBOID, TEXTOID, XID8OID, BYTEAOID}
	};
	Datum		values[8];
	char		nulls[8 + 1] = "        ";
	bool		isnull;

	values[0] = CStringGetTextDatum(server);
	values[1] = CStringGetTextDatum(order->external_id);
	values[2] = order->lines;
	values[3] = order->ship_to;
	nulls[3] = order->ship_to ? ' ' : 'n';
	values[4] = order->options;
	nulls[4] = order->options ? ' ' : 'n';
	values[5] = CStringGetTextDatum(order->created_by);
	values[6] = FullTransactionIdGetDatum(FullTransactionIdFromU64(strtou64(xid, NULL, 10)));
	values[7] = order->body;
	cs_state_run(&order_take_sending, values, nulls);
	order->order_id = DatumGetInt64(cs_work_column(SPI_tuptable, 0, 1, &isnull));
	return !isnull;
}

/*
 * One statement instead of the four that queue, look, claim and mark: the
 * caller waits for each of them.
 */
static void
direct_part(void *arg)
{
	Direct	   *direct = arg;
	Datum		request = DirectFunctionCall1(jsonb_in, CStringGetDatum(direct->request->payload));
	char	   *server = member_text(request, "server");
	CsOutgoing	order = {0};

	order.serverid = get_foreign_server_oid(server, false);
	if (!cs_may_send_now(order.serverid))
		return;
	order.external_id = member_text(request, "external_id");
	order.created_by = member_text(request, "created_by");
	order.lines = member_jsonb(request, "lines");
	order.ship_to = member_jsonb(request, "ship_to");
	order.options = member_jsonb(request, "options");
	order.only_called_for = true;
	direct->transfer = cs_transfer_prepare(&order);
	if (!cs_place_take(direct->transfer))
		return;
	if (!journal_sending(&order, server, member_text(request, "xid")))
		return;
	cs_server_check_name(order.serverid, server);
	direct->transfer->order_id = order.order_id;
	direct->sent = true;
}

/*
 * False: it goes the ordinary way, which tells what is wrong with it, too.  A
 * lock that did not come would not come there either.
 */
static bool
send_directly(Taken *taken)
{
	Direct		direct = {&taken->request};
	bool		success = cs_work_part(direct_part, &direct, &taken->failure);

	if (success && direct.sent)
	{
		cs_waiter_add(&taken->request, direct.transfer->order_id);
		cs_transfer_plan(direct.transfer);
		cs_count_sent();
		return true;
	}
	if (direct.transfer)
		MemoryContextDelete(direct.transfer->cxt);
	taken->failed = !success && taken->failure.sqlstate == ERRCODE_LOCK_NOT_AVAILABLE;
	return taken->failed;
}

void
cs_lock_explain(CsFailure *failure)
{
	if (failure->sqlstate != ERRCODE_LOCK_NOT_AVAILABLE)
		return;
	failure->message = "the order is being changed by another transaction that has not ended";
	failure->detail = "If it is this transaction that queued or changed it, it cannot be asked for here before COMMIT.";
	failure->hint = "Try again when that transaction has ended.";
}

static void
take_step(void *arg)
{
	Batch	   *batch = arg;
	bool		queued = false; /* there may be something to claim */
	bool		looked = false; /* whether the queue is held */
	bool		held = false;

	for (int i = 0; i < batch->count; i++)
	{
		Taken	   *taken = &batch->taken[i];
		bool		is_order = taken->request.kind == CS_HANDOFF_CREATE;

		if (!is_order || !send_directly(taken))
		{
			if (!looked && taken->request.kind != CS_HANDOFF_FOLLOW)
			{
				held = !cs_queue_is_ours();
				looked = true;
			}
			queued |= is_order;
			batch->look |= taken->request.kind != CS_HANDOFF_FOLLOW;
			taken->held = held;
			taken->failed = !cs_work_part(take_part, taken, &taken->failure);
		}
		if (taken->failed)
		{
			cs_lock_explain(&taken->failure);
			cs_waiter_drop(&taken->request, &taken->failure);
		}
	}
	if (queued && !held)
		cs_claim_orders();
	CS_CRASH_POINT("taken");
}

/* Takes one request more.  One that cannot be held is answered already. */
static bool
take_next(Batch *batch)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool taken = false;

	PG_TRY();
	{
		taken = cs_handoff_take(&batch->taken[batch->count].request);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		EmitErrorReport();
		FlushErrorState();
	}
	PG_END_TRY();
	batch->count += taken ? 1 : 0;
	return taken;
}

bool
cs_orders_take(bool *look)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource requests",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	bool		present = true;

	for (;;)
	{
		Batch		batch = {0};
		bool		ok;

		while (batch.count < TAKE_LIMIT && take_next(&batch))
			 /* the next */ ;
		if (batch.count == 0)
			break;
		present = cs_work_step("cupsource: taking orders from callers", take_step, &batch, &ok);
		*look |= batch.look;
		if (!ok)
		{
			CsFailure	failure = {CS_FAILURE_REFUSED, CS_DELIVERY_NOT_SENT};

			failure.sqlstate = CS_ERRCODE_NO_WORKER;
			failure.message = "the worker could not write the request down";
			failure.hint = "Nothing was sent. The server's log has the reason.";
			for (int i = 0; i < batch.count; i++)
				cs_waiter_drop(&batch.taken[i].request, &failure);
		}
		if (!present)
			break;
	}
	MemoryContextSwitchTo(old);
	present = present && cs_claim_rest();
	MemoryContextDelete(cxt);
	return present;
}
