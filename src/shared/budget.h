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
 * mark until it is due to come back, and as long as the mark stands those of
 * lower priority see one place less: whatever leaves the window next is for
 * the highest that waits.
 *
 * The shares.  Reads that somebody waits for, and the following of orders,
 * take at most nine tenths of the window together, so that a burst of them
 * leaves room for orders.  The catalogue's refresh may use what is left to
 * it, all but a hundredth (at least one place), but beyond a quarter of the
 * window it keeps an even distance between its requests.  So its places come
 * free one by one, and whoever else comes along waits for the next of them,
 * about a second, and not for the minute after a burst.
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
	uint32		reads;			/* of them: status and live */
} CsDeparture;

/* All zeroes is a budget that nobody has used.  Times are microseconds of any monotonic clock. */
typedef struct CsBudget
{
	int64		paused_until;
	int64		catalog_at;		/* last departure of the refresh */
	int64		awaited_until[CS_BUDGET_PRIORITIES];	/* marks */
	uint32		used;			/* sum of all entries' requests */
	uint32		reads;
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

/* A pause never shortens one that is in force. */
extern void cs_budget_pause(CsBudget *budget, int64 now, int64 us);
extern void cs_budget_resume(CsBudget *budget);
extern int64 cs_budget_paused(const CsBudget *budget, int64 now);
extern int	cs_budget_used(CsBudget *budget, int64 now);

#endif							/* CS_SHARED_BUDGET_H */
