/*
 * limiter.h
 *	  One budget per account, shared by all processes: never more than the
 *	  allowed number of requests in any minute.
 *
 * A log of the last departures, not a leaking bucket: the partner counts
 * requests in a minute, so do we.  Orders go first, what is none keeps a pace
 * at which they find room, and nobody starves; budget.h has the rules.
 */
#ifndef CS_SHARED_LIMITER_H
#define CS_SHARED_LIMITER_H

#include "src/shared/shmem.h"

typedef enum CsPriority
{
	CS_PRIORITY_ORDER,			/* places, cancels; token exchange for them */
	CS_PRIORITY_STATUS,			/* follows orders */
	CS_PRIORITY_LIVE,			/* a user waits for a read */
	CS_PRIORITY_CATALOG			/* refresh */
} CsPriority;

/*
 * Takes one request from the budget of 'per_minute' (0: no limit).  Returns 0
 * if it was granted, else the milliseconds after which to ask again.  *ticket
 * is 0 at first and the caller's to keep: those that wait are counted by it.
 */
extern int	cs_limiter_acquire(CsSharedAccount *account, int per_minute, CsPriority priority,
							   uint64 *ticket);

/*
 * Does not come back for its request: if nobody else of its priority waits,
 * nothing is kept for it.  Who never says so is counted for a second longer.
 */
extern void cs_limiter_leave(CsSharedAccount *account, uint64 *ticket);

/* How many wait, up to CS_WAITING_MAX. */
extern int	cs_limiter_waiting(CsSharedAccount *account);

/* Gives back a grant whose request certainly was not sent. */
extern void cs_limiter_refund(CsSharedAccount *account);

/* A 429: nobody sends for this account for 'ms'. */
extern void cs_limiter_pause(CsSharedAccount *account, int ms);

/* Somebody knows that the partner takes requests again: ends a pause. */
extern void cs_limiter_resume(CsSharedAccount *account);

/* Milliseconds until a pause ends; 0 if there is none. */
extern int	cs_limiter_paused(CsSharedAccount *account);

/* Grants in the last minute. */
extern int	cs_limiter_used(CsSharedAccount *account);

#endif							/* CS_SHARED_LIMITER_H */
