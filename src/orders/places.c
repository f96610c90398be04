/*
 * places.c
 *	  Places in the budgets of accounts, for orders that are about to be sent.
 *
 * A place is taken before its order is committed as sending, so that nothing
 * is waited for between that and the first byte.  An order that finds none
 * stays queued, where a crash leaves no doubt about it, and asks again when
 * there should be one.  Where a request needs a token, that has to come before
 * the place, and the call takes both (call.c); those APIs know an order again.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "src/base/guc.h"
#include "src/orders/transfer.h"
#include "src/shared/shmem.h"

/* How often is looked whether somebody has ended the account's pause. */
#define PAUSE_LOOK_MS 1000

/* An account that has, or had, no place for an order.  Accounts stay, and so do these. */
typedef struct Wait
{
	Oid			serverid;
	CsSharedAccount *account;
	uint64		ticket;			/* among those who wait for the budget; 0: it does not */
	int64		until;			/* monotonic: when to ask again; 0: nobody waits */
} Wait;

static List *waits = NIL;

static Wait *
wait_of(const CsAccount *account)
{
	MemoryContext old;
	ListCell   *cell;
	Wait	   *wait;

	foreach(cell, waits)
	{
		wait = lfirst(cell);
		if (wait->account == account->shared)
			return wait;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	wait = palloc0(sizeof(Wait));
	wait->serverid = account->serverid;
	wait->account = account->shared;
	waits = lappend(waits, wait);
	MemoryContextSwitchTo(old);
	return wait;
}

/* A callback of the transfer's memory context: its request never began. */
static void
give_place_back(void *arg)
{
	CsTransfer *transfer = arg;

	if (transfer->has_place)
		cs_limiter_refund(transfer->account->shared);
}

static void
take_place(CsTransfer *transfer)
{
	MemoryContextCallback *callback = MemoryContextAllocZero(transfer->cxt, sizeof(*callback));

	callback->func = give_place_back;
	callback->arg = transfer;
	MemoryContextRegisterResetCallback(transfer->cxt, callback);
	transfer->has_place = true;
}

bool
cs_place_take(CsTransfer *transfer)
{
	const CsAccount *account = transfer->account;
	CsSharedAccount *shared = account->shared;
	int64		now = cs_monotonic_us();
	Wait	   *wait;
	int			ms;

	if (account->api->auth == CS_AUTH_TOKEN_EXCHANGE)
		return true;
	wait = wait_of(account);
	if (wait->until > now)
	{
		(void) cs_waiters_rest(transfer->order_id);
		return false;
	}
	wait->until = 0;
	ms = cs_limiter_acquire(shared, account->rate_limit, CS_PRIORITY_ORDER, &wait->ticket);
	if (ms > 0)
		transfer->waited_ms = cs_waiters_rest(transfer->order_id);
	if (ms == 0)
		take_place(transfer);
	else if (ms > cs_guc_rate_limit_wait - transfer->waited_ms)
		cs_limiter_leave(shared, &wait->ticket);	/* the call asks as well, and says so */
	else
	{
		if (cs_limiter_paused(shared) > 0)
			ms = Min(ms, PAUSE_LOOK_MS);
		wait->until = now + ms * INT64CONST(1000);
		return false;
	}
	return true;
}

bool
cs_places_awaited(Oid serverid)
{
	int64		now = cs_monotonic_us();
	ListCell   *cell;

	foreach(cell, waits)
	{
		const Wait *wait = lfirst(cell);

		if (wait->until > now && (wait->serverid == serverid || !OidIsValid(serverid)))
			return true;
	}
	return false;
}

long
cs_places_wait_ms(void)
{
	int64		now = cs_monotonic_us();
	int64		first = -1;
	ListCell   *cell;

	foreach(cell, waits)
	{
		const Wait *wait = lfirst(cell);

		if (wait->until > 0)
			first = first < 0 ? wait->until : Min(first, wait->until);
	}
	return first < 0 ? -1 : (long) ((Max(first - now, 0) + 999) / 1000);
}

bool
cs_places_due(void)
{
	int64		now = cs_monotonic_us();
	bool		due = false;
	ListCell   *cell;

	foreach(cell, waits)
	{
		Wait	   *wait = lfirst(cell);

		if (wait->until == 0 || wait->until > now)
			continue;
		wait->until = 0;
		due = true;
	}
	return due;
}
