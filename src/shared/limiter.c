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
 * Locks: the account's own, for a walk through its log at the most.
 */
#include "postgres.h"

#include "src/shared/layout.h"
#include "src/shared/limiter.h"

/* Rounded up: who comes back after so many milliseconds is not too early. */
static int
milliseconds(int64 us)
{
	return (int) Min((us + 999) / 1000, INT_MAX);
}

int
cs_limiter_acquire(CsSharedAccount *account, int per_minute, CsPriority priority)
{
	int64		wait;

	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	wait = cs_budget_acquire(&account->budget, cs_monotonic_us(), per_minute, priority);
	LWLockRelease(&account->lock);
	return milliseconds(wait);
}

void
cs_limiter_refund(CsSharedAccount *account)
{
	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	cs_budget_refund(&account->budget, cs_monotonic_us());
	LWLockRelease(&account->lock);
}

void
cs_limiter_pause(CsSharedAccount *account, int ms)
{
	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	cs_budget_pause(&account->budget, cs_monotonic_us(), (int64) ms * 1000);
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
	left = cs_budget_paused(&account->budget, cs_monotonic_us());
	LWLockRelease(&account->lock);
	return milliseconds(left);
}

int
cs_limiter_used(CsSharedAccount *account)
{
	int			used;

	LWLockAcquire(&account->lock, LW_EXCLUSIVE);
	used = cs_budget_used(&account->budget, cs_monotonic_us());
	LWLockRelease(&account->lock);
	return used;
}
