/*
 * transfer.c
 *	  The worker's memory: requests on the wire and callers that wait.
 *
 * Process-local, so there are no locks.  Everything lives in TopMemoryContext
 * or in a transfer's own context, since it outlives transactions.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/base/crash.h"
#include "src/base/guc.h"
#include "src/orders/transfer.h"
#include "src/shared/shmem.h"

static dlist_head under_way = DLIST_STATIC_INIT(under_way);
static dlist_head planned = DLIST_STATIC_INIT(planned);
static dlist_head waiters = DLIST_STATIC_INIT(waiters);

/* What the endpoints are called in statistics and messages, and how they are asked. */
static const struct
{
	const char *method;
	CsPriority	priority;
	bool		repeatable;		/* apart from what the API says of creating orders */
	bool		may_be_empty;	/* what it asks for is done, or there is nothing to tell */
}			kinds[] =
{
	[CS_TRANSFER_CREATE] = {"POST", CS_PRIORITY_ORDER, false, true},
	[CS_TRANSFER_LOOKUP] = {"GET", CS_PRIORITY_ORDER, true, false},
	[CS_TRANSFER_CANCEL] = {"DELETE", CS_PRIORITY_ORDER, true, true},
	[CS_TRANSFER_GET] = {"GET", CS_PRIORITY_STATUS, true, false},
	[CS_TRANSFER_TRACKING] = {"GET", CS_PRIORITY_STATUS, true, true},
	[CS_TRANSFER_LIST] = {"GET", CS_PRIORITY_STATUS, true, false},
};

CsTransfer *
cs_transfer_new(CsTransferKind kind, Oid serverid, Oid userid, int64 order_id)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "cupsource transfer",
											  ALLOCSET_SMALL_SIZES);
	CsTransfer *transfer;

	PG_TRY();
	{
		transfer = MemoryContextAllocZero(cxt, sizeof(CsTransfer));
		transfer->cxt = cxt;
		transfer->kind = kind;
		transfer->order_id = order_id;
		transfer->account = cs_account_get(cxt, serverid, userid);
	}
	PG_CATCH();
	{
		MemoryContextDelete(cxt);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return transfer;
}

void
cs_transfer_plan(CsTransfer *transfer)
{
	dlist_push_tail(&planned, &transfer->node);
}

/* The template of the path names the endpoint. */
static const char *
endpoint_of(const CsTransfer *transfer)
{
	const CsApi *api = transfer->account->api;
	const CsResource *list;
	const char *path = NULL;

	switch (transfer->kind)
	{
		case CS_TRANSFER_CREATE:
			path = api->orders->create_path;
			break;
		case CS_TRANSFER_LOOKUP:
		case CS_TRANSFER_LIST:
			list = cs_api_resource(api, "orders");
			path = list->path;
			break;
		case CS_TRANSFER_CANCEL:
			path = api->orders->cancel_path;
			break;
		case CS_TRANSFER_GET:
			path = api->orders->get_path;
			break;
		case CS_TRANSFER_TRACKING:
			path = api->orders->tracking_path;
			break;
	}
	return MemoryContextStrdup(transfer->cxt,
							   psprintf("%s %s", kinds[transfer->kind].method, path));
}

/*
 * CsCallSpec.may_start: a caller who left while its order waited for the budget
 * may have rolled back.  The order is put back until that is known.
 */
static bool
is_wanted(void *arg)
{
	const CsTransfer *transfer = arg;

	return !transfer->only_called_for || cs_waiters_want(CS_HANDOFF_CREATE, transfer->order_id);
}

static void
begin_transfer(CsTransfer *transfer)
{
	CsCallSpec	spec = {0};
	bool		placing = transfer->kind == CS_TRANSFER_CREATE;

	spec.endpoint = endpoint_of(transfer);
	spec.method = kinds[transfer->kind].method;
	spec.path = transfer->path;

	/* A LOOKUP has it for the CREATE that may follow. */
	spec.body = placing ? transfer->body : NULL;
	spec.body_length = placing ? transfer->body_length : 0;
	spec.idempotency_key = transfer->idempotency_key;
	spec.repeatable = kinds[transfer->kind].repeatable ||
		(placing && transfer->account->api->orders->create_idempotent);
	spec.may_be_empty = kinds[transfer->kind].may_be_empty;
	spec.priority = kinds[transfer->kind].priority;

	/* Another try of an order is a decision that is recorded first, not libcurl's. */
	spec.one_by_one = placing;
	spec.may_start = placing ? is_wanted : NULL;
	spec.may_start_arg = transfer;
	spec.max_retries = placing ? 0 : cs_guc_max_retries;
	spec.timeout_ms = placing || transfer->kind == CS_TRANSFER_CANCEL ?
		cs_guc_order_timeout : cs_guc_timeout;
	spec.has_place = transfer->has_place;
	spec.waited_ms = transfer->waited_ms;
	transfer->started_at = GetCurrentTimestamp();
	transfer->call = cs_call_begin(transfer->cxt, transfer->account, &spec);
	transfer->has_place = false;
}

/*
 * The error being caught becomes the transfer's outcome, before its text is
 * copied: there may be no memory for that.
 */
static void
note_failure(CsTransfer *transfer, bool sending)
{
	ErrorData  *error;

	transfer->failure.kind = CS_FAILURE_OUT_OF_MEMORY;
	transfer->failure.delivery = sending ? CS_DELIVERY_UNKNOWN : CS_DELIVERY_NOT_SENT;
	transfer->failure.sqlstate = geterrcode();
	transfer->failure.message = "out of memory";
	transfer->failure.retry_after_ms = -1;
	transfer->done = true;

	MemoryContextSwitchTo(transfer->cxt);
	error = CopyErrorData();
	FlushErrorState();
	transfer->failure.message = error->message;
	transfer->failure.detail = error->detail;
	transfer->failure.hint = error->hint;
}

/*
 * Catalog look-ups (conversions, secrets) need a transaction; it has no
 * snapshot and ends before anything is waited for.
 */
static bool
advance_one(CsTransfer *transfer, long *wait_ms)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool begun = transfer->call != NULL;

	/* Of many transfers a few have something to do; the others cost no transaction. */
	if (begun && cs_call_on_wire(transfer->call))
	{
		*wait_ms = -1;
		return false;
	}
	if (!begun && transfer->begin_after > 0)
	{
		*wait_ms = (long) (Max(transfer->begin_after - cs_monotonic_us(), 0) + 999) / 1000;
		if (*wait_ms > 0)
			return false;
	}
	PG_TRY();
	{
		StartTransactionCommand();
		MemoryContextSwitchTo(transfer->cxt);
		if (!begun)
			begin_transfer(transfer);
		begun = true;
		transfer->done = cs_call_advance(transfer->call, wait_ms);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		note_failure(transfer, transfer->call != NULL && cs_call_sending(transfer->call));
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	if (transfer->done)
		transfer->ended_at = GetCurrentTimestamp();
	return transfer->done;
}

/*
 * All are under way before the first of them begins: one that throws must not
 * leave the others as planned, which a step that fails later would forget.
 */
void
cs_transfers_begin(void)
{
	dlist_iter	iter;

	if (dlist_is_empty(&planned))
		return;
	CS_CRASH_POINT("claimed");
	while (!dlist_is_empty(&planned))
		dlist_push_tail(&under_way, dlist_pop_head_node(&planned));
	dlist_foreach(iter, &under_way)
	{
		CsTransfer *transfer = dlist_container(CsTransfer, node, iter.cur);
		long		wait_ms;

		if (transfer->call == NULL && !transfer->done)
			(void) advance_one(transfer, &wait_ms);
	}
}

bool
cs_transfers_advance(long *wait_ms)
{
	dlist_iter	iter;
	bool		done = false;

	*wait_ms = -1;
	dlist_foreach(iter, &under_way)
	{
		CsTransfer *transfer = dlist_container(CsTransfer, node, iter.cur);
		long		wait = -1;

		if (transfer->done || advance_one(transfer, &wait))
			wait = (long) (Max(transfer->record_after - cs_monotonic_us(), 0) + 999) / 1000;
		if (transfer->kind == CS_TRANSFER_CREATE)
		{
			if (transfer->done)
				CS_CRASH_POINT("answered");
			else if (cs_call_sending(transfer->call))
				CS_CRASH_POINT("sent");
		}
		if (transfer->done && wait <= 0)
			done = true;
		else if (wait >= 0)
			*wait_ms = *wait_ms < 0 ? wait : Min(*wait_ms, wait);
	}
	return done;
}

void
cs_transfer_release(CsTransfer *transfer)
{
	dlist_delete(&transfer->node);
	MemoryContextDelete(transfer->cxt);
}

void
cs_transfers_forget_planned(void)
{
	while (!dlist_is_empty(&planned))
		cs_transfer_release(dlist_head_element(CsTransfer, node, &planned));
}

dlist_head *
cs_transfers(void)
{
	return &under_way;
}

static CsTransfer *
find_transfer(dlist_head *list, CsTransferKind kind, int64 order_id, Oid serverid)
{
	dlist_iter	iter;

	dlist_foreach(iter, list)
	{
		CsTransfer *transfer = dlist_container(CsTransfer, node, iter.cur);

		if (transfer->kind == kind && transfer->order_id == order_id &&
			(!OidIsValid(serverid) || transfer->account->serverid == serverid))
			return transfer;
	}
	return NULL;
}

CsTransfer *
cs_transfer_of(CsTransferKind kind, int64 order_id)
{
	CsTransfer *transfer = find_transfer(&under_way, kind, order_id, InvalidOid);

	return transfer ? transfer : find_transfer(&planned, kind, order_id, InvalidOid);
}

CsTransfer *
cs_transfer_list_of(Oid serverid)
{
	CsTransfer *transfer = find_transfer(&under_way, CS_TRANSFER_LIST, 0, serverid);

	return transfer ? transfer : find_transfer(&planned, CS_TRANSFER_LIST, 0, serverid);
}

/* Not those that wait for their time: they keep nobody from the wire. */
static int
count_transfers(dlist_head *list, Oid serverid, bool placing)
{
	dlist_iter	iter;
	int			count = 0;

	dlist_foreach(iter, list)
	{
		CsTransfer *transfer = dlist_container(CsTransfer, node, iter.cur);
		bool		places = transfer->kind == CS_TRANSFER_CREATE ||
			transfer->kind == CS_TRANSFER_LOOKUP;

		if (transfer->account->serverid == serverid && places == placing && !transfer->done &&
			(transfer->call != NULL || transfer->begin_after == 0))
			count++;
	}
	return count;
}

int
cs_transfers_of_server(Oid serverid, bool placing)
{
	return count_transfers(&under_way, serverid, placing) +
		count_transfers(&planned, serverid, placing);
}

const CsFailure *
cs_transfer_failure(const CsTransfer *transfer)
{
	if (transfer->failure.kind != CS_FAILURE_NONE)
		return &transfer->failure;
	return cs_call_failure(transfer->call);
}

int
cs_transfer_status(const CsTransfer *transfer)
{
	const CsHttpAnswer *answer = transfer->call ? cs_call_answer(transfer->call) : NULL;

	return answer ? answer->status : 0;
}

int
cs_transfer_meant_status(const CsTransfer *transfer, const CsFailure *failure)
{
	return failure->kind == CS_FAILURE_REFUSED && failure->status > 0 ? failure->status :
		cs_transfer_status(transfer);
}

int
cs_transfer_duration_ms(const CsTransfer *transfer)
{
	const CsHttpAnswer *answer = transfer->call ? cs_call_answer(transfer->call) : NULL;

	return answer ? (int) answer->total_ms : 0;
}

/* By its last attempt: what was waited for before that tells nothing. */
TimestampTz
cs_transfer_asked_at(const CsTransfer *transfer)
{
	return transfer->ended_at - cs_transfer_duration_ms(transfer) * INT64CONST(1000);
}

/* ---- callers ---- */

void
cs_waiter_add(const CsHandoffRequest *request, int64 order_id)
{
	CsWaiter   *waiter = MemoryContextAllocZero(TopMemoryContext, sizeof(CsWaiter));

	waiter->request = *request;
	waiter->request.payload = NULL;
	waiter->order_id = order_id;
	dlist_push_tail(&waiters, &waiter->node);
}

/* As much of the text as fits, ending at a character's border. */
static void
fit(char *into, size_t size, const char *text)
{
	size_t		length = text ? pg_mbcliplen(text, strlen(text), size - 1) : 0;

	memcpy(into, text ? text : "", length);
	into[length] = '\0';
}

static void
fill_reply(CsHandoffReply *reply, int64 order_id, const CsFailure *failure)
{
	memset(reply, 0, sizeof(*reply));
	reply->order_id = order_id;
	if (failure == NULL)
		return;
	reply->sqlstate = failure->sqlstate;
	fit(reply->message, sizeof(reply->message), failure->message);
	fit(reply->detail, sizeof(reply->detail), failure->detail);
	fit(reply->hint, sizeof(reply->hint), failure->hint);
}

void
cs_waiters_answer(CsHandoffKind kind, int64 order_id, const CsFailure *failure)
{
	dlist_iter	iter;

	dlist_foreach(iter, &waiters)
	{
		CsWaiter   *waiter = dlist_container(CsWaiter, node, iter.cur);

		if (waiter->order_id != order_id || waiter->request.kind != kind)
			continue;
		fill_reply(&waiter->reply, order_id, failure);
		waiter->ready = true;
	}
}

bool
cs_waiters_want(CsHandoffKind kind, int64 order_id)
{
	dlist_iter	iter;

	dlist_foreach(iter, &waiters)
	{
		CsWaiter   *waiter = dlist_container(CsWaiter, node, iter.cur);

		if (waiter->order_id == order_id && waiter->request.kind == kind &&
			cs_handoff_wanted(&waiter->request))
			return true;
	}
	return false;
}

int
cs_waiters_try(CsHandoffKind kind, int64 order_id)
{
	dlist_iter	iter;
	int			tries = 0;

	dlist_foreach(iter, &waiters)
	{
		CsWaiter   *waiter = dlist_container(CsWaiter, node, iter.cur);

		if (waiter->order_id == order_id && waiter->request.kind == kind &&
			cs_handoff_wanted(&waiter->request))
		{
			waiter->tries++;
			tries = Max(tries, waiter->tries);
		}
	}
	return tries;
}

int64
cs_waiters_rest(int64 order_id)
{
	int64		now = cs_monotonic_us();
	int64		since = now;
	dlist_iter	iter;

	dlist_foreach(iter, &waiters)
	{
		CsWaiter   *waiter = dlist_container(CsWaiter, node, iter.cur);

		if (waiter->order_id != order_id || waiter->request.kind != CS_HANDOFF_CREATE)
			continue;
		if (waiter->rests_since == 0)
			waiter->rests_since = now;
		since = Min(since, waiter->rests_since);
	}
	return (now - since) / 1000;
}

Datum
cs_waiters_orders(CsHandoffKind kind)
{
	ArrayBuildState *ids = NULL;
	dlist_iter	iter;

	dlist_foreach(iter, &waiters)
	{
		CsWaiter   *waiter = dlist_container(CsWaiter, node, iter.cur);

		if (waiter->request.kind == kind && !waiter->ready && cs_handoff_wanted(&waiter->request))
			ids = accumArrayResult(ids, Int64GetDatum(waiter->order_id), false, INT8OID,
								   CurrentMemoryContext);
	}
	return ids ? makeArrayResult(ids, CurrentMemoryContext) :
		PointerGetDatum(construct_empty_array(INT8OID));
}

void
cs_waiter_drop(const CsHandoffRequest *request, const CsFailure *failure)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &waiters)
	{
		CsWaiter   *waiter = dlist_container(CsWaiter, node, iter.cur);

		if (waiter->request.slot != request->slot ||
			waiter->request.generation != request->generation)
			continue;
		dlist_delete(&waiter->node);
		pfree(waiter);
	}
	cs_request_answer(request, 0, failure);
}

bool
cs_waiters_any(void)
{
	return !dlist_is_empty(&waiters);
}

void
cs_waiters_committed(void)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, &waiters)
	{
		CsWaiter   *waiter = dlist_container(CsWaiter, node, iter.cur);

		if (waiter->ready)
			cs_handoff_reply(&waiter->request, &waiter->reply);
		else if (cs_handoff_wanted(&waiter->request))
		{
			CS_CRASH_POINT("journalled");
			continue;
		}
		dlist_delete(&waiter->node);
		pfree(waiter);
	}
}

void
cs_waiters_aborted(void)
{
	dlist_iter	iter;

	dlist_foreach(iter, &waiters)
		dlist_container(CsWaiter, node, iter.cur)->ready = false;
}

void
cs_request_answer(const CsHandoffRequest *request, int64 order_id, const CsFailure *failure)
{
	CsHandoffReply reply;

	fill_reply(&reply, order_id, failure);
	cs_handoff_reply(request, &reply);
}
