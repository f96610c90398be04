/*
 * budget.h
 *	  The departures of one account's last minute, and who may be the next.
 *
 * Plain arithmetic: the caller has the lock and says what time it is, so the
 * rules can be tested without a server and without waiting.
 *
 * The window.  A request may leave if fewer than the allowed number left in
 * the WINDOW before it.  That is what the partners count; a bucket that leaks
 * and refills would let nearly twice the number pass within one minute.  The
 * window is a little longer than a minute, because two requests do not take
 * equally long to arrive.
 *
 * The order of priorities.  A request that finds the window full leaves a
 * mark until it is due to come back, and as long as the mark stands those that
 * come after it see one place less: whatever leaves the window next is for the
 * first in order that waits.
 *
 * The pace.  Orders take any place at once.  All others leave them the last
 * place (a hundredth of the window), and once half of the window is used they
 * share out what is left evenly until places come free again: between two of
 * them lies what the fullest stretch of the minute ahead demands.  So there is
 * a place for an order at nearly any time, however many read, and nevertheless
 * the whole allowance is used.  The catalogue's refresh
 * keeps an even distance beyond a quarter of the window already, so that it is
 * not felt by those who read, either.
 *
 * Nobody starves.  A priority of which somebody waits and nothing has left for
 * as long as twenty places last (at most half a window) is overdue: it goes
 * before those that are not, once, needs to keep no pace, and may have the
 * last place.
 *
 * The log.  One entry per departure; above CS_BUDGET_ENTRIES per minute, one
 * per 600th of the window, which leaves it when its last departure does.
 */
#ifndef CS_SHARED_BUDGET_H
#define CS_SHARED_BUDGET_H

#include "postgres.h"

#include "src/shared/limiter.h"

#define CS_BUDGET_WINDOW_US INT64CONST(60250000)
#define CS_BUDGET_ENTRIES 600
#define CS_BUDGET_PRIORITIES (CS_PRIORITY_CATALOG + 1)

typedef struct CsDeparture
{
	int64		at;				/* of the last that it stands for */
	uint32		requests;
} CsDeparture;

/* All zeroes is a budget that nobody has used.  Times are microseconds of any monotonic clock. */
typedef struct CsBudget
{
	int64		paused_until;
	int64		paced_at;		/* last departure that was no order's */
	int64		catalog_at;		/* last one of the refresh */
	int64		awaited_until[CS_BUDGET_PRIORITIES];	/* marks */
	int64		overdue_at[CS_BUDGET_PRIORITIES];	/* if it is waited until then */
	uint32		used;			/* sum of all entries' requests */
	int			first;			/* the oldest entry */
	int			entries;
	CsDeparture log[CS_BUDGET_ENTRIES];
} CsBudget;

/* 0: granted and written down; else the microseconds after which to ask again. */
extern int64 cs_budget_acquire(CsBudget *budget, int64 now, int per_minute, CsPriority priority);

/*
 * One request less.  The oldest entry gives it up, whichever was granted:
 * what stays leaves the window no sooner than what was really sent.
 */
extern void cs_budget_refund(CsBudget *budget, int64 now);

/* Nobody of this priority waits any more. */
extern void cs_budget_leave(CsBudget *budget, CsPriority priority);

/* A pause never shortens one that is in force. */
extern void cs_budget_pause(CsBudget *budget, int64 now, int64 us);
extern void cs_budget_resume(CsBudget *budget);
extern int64 cs_budget_paused(const CsBudget *budget, int64 now);
extern int	cs_budget_used(CsBudget *budget, int64 now);

#endif							/* CS_SHARED_BUDGET_H */
