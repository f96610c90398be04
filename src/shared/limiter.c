/*
 * limiter.c
 *	  The budget of an account, for all processes.
 *
 * budget.c has the rules; here are the lock and the clock.  The clock is read
 * under the lock, so that the log's times never go backwards.  It is the
 * monotonic one: setting the time of day neither opens nor closes a window.
 *
 * The log lives in shared memory and ends with the server.  After a restart
 * the first minute may therefore count from zero while the partner's does
 * not; it answers 429 then, and the account pauses.
 *
 * Who waits is only counted, for those who look: a ticket stands until its
 * holder should have come back, so one that was killed is not counted for ever.
 *
 * Locks: the account's own, for a walk through its log at the most.
 */
#include "postgres.h"

#include "src/shared/layout.h"
#include "src/shared/limiter.h"

/* How long after its time a request that waited is still counted, if it says nothing. */
#define TICKET_GRACE_US INT64CONST(1000000)

/*
 * A test of some minutes is over in less if they are shorter: in the build for
 * the tests (src/base/crash.h) the environment of the postmaster may say how
 * many times as fast the budget's clock runs.
 */
#ifdef CUPSOURCE_CRASH_POINTS
static int64
clock_speed(void)
{
	static int64 speed = 0;

	if (speed == 0)
	{
		const char *text = getenv("CUPSOURCE_CLOCK_SPEED");

		speed = text ? Max(strtol(text, NULL, 10), 1) : 1;
	}
	return speed;
}
#else
#define clock_speed() INT64CONST(1)
#endif

static int64
budget_clock(void)
{
	return cs_monotonic_us() * clock_speed();
}

/* Rounded up: who comes back after so many milliseconds is not too early. */
static int
milliseconds(int64 us)
{
	int64		unit = 1000 * clock_speed();

	return (int) Min((us + unit - 1) / unit, INT_MAX);
}

/* The ticket's entry, or for a new one any that is free or out of date; NULL: none. */
static CsWaiting *
waiting_entry(CsSharedAccount *account, uint64 ticket, int64 now)
{
	CsWaiting  *room = NULL;

	for (int i = 0; i < CS_WAITING_MAX; i++)
	{
		CsWaiting  *entry = &account->waiting[i];

		if (entry->ticket == ticket && ticket != 0)
			return entry;
		if (room == NULL && entry->until <= now)
		{
			room = entry;
			if (ticket == 0)
				break;
		}
	}
	return room;
}

static void
take_ticket(CsSharedAccount *account, uint64 *ticket, CsPriority priority, int64 now, int64 wait)
{
	CsWaiting  *entry = waiting_entry(account, *ticket, now);

	if (*ticket == 0)
		*ticket = ++account->last_ticket;
	if (entry == NULL)
		return;
	entry->ticket = *ticket;
	entry->priority = priority;
	entry->until = now + wait + TICKET_GRACE_US;
}

static void
give_ticket_back(CsSharedAccount *account, uint64 *ticket)
{
	for (int i = 0; i < CS_WAITING_MAX; i++)
	{
		CsWaiting  *entry = &account->waiting[i];

		if (entry->ticket == *ticket)
		{
			entry->ticket = entry->until = 0;
			break;
		}
	}
	*ticket = 0;
}

int
cs_limiter_acquire(CsSharedAccount *account, int per_minute, CsPriority priority, uint64 *ticket)
{
	int64		now;
	int64		wait;

	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	now = budget_clock();
	wait = cs_budget_acquire(&account->budget, now, per_minute, priority);
	if (wait > 0)
		take_ticket(account, ticket, priority, now, wait);
	else if (*ticket != 0)
		give_ticket_back(account, ticket);
	LWLockRelease(&account->lock);
	return milliseconds(wait);
}

void
cs_limiter_leave(CsSharedAccount *account, uint64 *ticket)
{
	CsWaiting  *entry;
	int64		now;

	if (*ticket == 0)
		return;
	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	now = budget_clock();
	entry = waiting_entry(account, *ticket, now);
	if (entry != NULL && entry->ticket == *ticket)
	{
		CsPriority	priority = entry->priority;
		bool		others = false;

		give_ticket_back(account, ticket);
		for (int i = 0; i < CS_WAITING_MAX; i++)
			others = others || (account->waiting[i].until > now &&
								account->waiting[i].priority == priority);
		if (!others)
			cs_budget_leave(&account->budget, priority);
	}
	*ticket = 0;
	LWLockRelease(&account->lock);
}

int
cs_limiter_waiting(CsSharedAccount *account)
{
	int64		now;
	int			waiting = 0;

	LWLockAcquire(&account->lock, LW_SHARED);
	now = budget_clock();
	for (int i = 0; i < CS_WAITING_MAX; i++)
		waiting += account->waiting[i].until > now;
	LWLockRelease(&account->lock);
	return waiting;
}

void
cs_limiter_refund(CsSharedAccount *account)
{
	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	cs_budget_refund(&account->budget, budget_clock());
	LWLockRelease(&account->lock);
}

void
cs_limiter_pause(CsSharedAccount *account, int ms)
{
	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	cs_budget_pause(&account->budget, budget_clock(), (int64) ms * 1000 * clock_speed());
	LWLockRelease(&account->lock);
}

void
cs_limiter_resume(CsSharedAccount *account)
{
	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	cs_budget_resume(&account->budget);
	LWLockRelease(&account->lock);
}

int
cs_limiter_paused(CsSharedAccount *account)
{
	int64		left;

	LWLockAcquire(&account->lock, LW_SHARED);
	left = cs_budget_paused(&account->budget, budget_clock());
	LWLockRelease(&account->lock);
	return milliseconds(left);
}

int
cs_limiter_used(CsSharedAccount *account)
{
	int			used;

	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	used = cs_budget_used(&account->budget, budget_clock());
	LWLockRelease(&account->lock);
	return used;
}
