/*
 * budget.c
 *	  The departures of one account's last minute, and who may be the next.
 *
 * The rules stand in budget.h.  Nothing here allocates, throws, locks or looks
 * at a clock; the longest loop is once round the log.
 */
#include "postgres.h"

#include "src/shared/budget.h"

/* Above this many a minute, departures of one tick share an entry. */
#define TICK_US (CS_BUDGET_WINDOW_US / CS_BUDGET_ENTRIES)

/*
 * How late a request that was told when to come back may be: a busy machine
 * wakes it late.  One that was killed costs its place for as long.
 */
#define MARK_GRACE_US INT64CONST(500000)

/* How much later it still counts as the one that has waited. */
#define MARK_KEPT_US INT64CONST(1000000)

static CsDeparture *
entry_at(CsBudget *budget, int i)
{
	return &budget->log[(budget->first + i) % CS_BUDGET_ENTRIES];
}

/* Drop what has left the window, and entries that were given back. */
static void
forget_old(CsBudget *budget, int64 now)
{
	while (budget->entries > 0)
	{
		CsDeparture *oldest = entry_at(budget, 0);

		if (oldest->requests > 0 && oldest->at + CS_BUDGET_WINDOW_US > now)
			break;
		budget->used -= oldest->requests;
		budget->first = (budget->first + 1) % CS_BUDGET_ENTRIES;
		budget->entries--;
	}
}

/* How long until fewer than 'limit' requests are in the window. */
static int64
until_below(CsBudget *budget, int64 now, uint32 limit)
{
	uint32		left = budget->used;
	int64		wait = 0;
	int			i;

	for (i = 0; left >= limit && i < budget->entries; i++)
	{
		CsDeparture *entry = entry_at(budget, i);

		left -= entry->requests;
		wait = entry->at + CS_BUDGET_WINDOW_US - now;
	}
	return wait;
}

/* Do requests of 'other' wait that go before one that is, or is not, overdue? */
static bool
goes_before(const CsBudget *budget, int64 now, CsPriority other, CsPriority priority, bool overdue)
{
	bool		other_overdue = budget->overdue_at[other] <= now;

	if (other == priority || budget->awaited_until[other] <= now)
		return false;
	return other_overdue == overdue ? other < priority : other_overdue;
}

/* The places that a request sees: at least one, or a low limit would shut it out. */
static uint32
places(const CsBudget *budget, int64 now, int per_minute, CsPriority priority, bool overdue)
{
	int			result = per_minute;
	int			other;

	for (other = 0; other < CS_BUDGET_PRIORITIES; other++)
	{
		if (goes_before(budget, now, (CsPriority) other, priority, overdue))
			result--;
	}
	if (priority != CS_PRIORITY_ORDER && !overdue)
		result -= Max(1, per_minute / 100);
	return (uint32) Max(result, 1);
}

/*
 * How long what is no order has to keep its distance from the last such: so
 * that the free places last, at any time from now on, until others come free.
 * With n of them until some departure leaves the window, that is an (n + 1)th
 * of the time from the last one until then.
 */
static int64
until_paced(CsBudget *budget, int64 now, int per_minute, uint32 limit)
{
	int64		n = (int64) limit - budget->used;
	CsDeparture *entry = &budget->log[budget->first];
	int64		distance = 0;
	int64		covered = 0;	/* distance * (n + 1) */
	int			i;

	if (n <= 0 || budget->used < Max((uint32) per_minute / 2, 1))
		return 0;
	for (i = 0; i < budget->entries; i++, entry++)
	{
		int64		time;

		if (entry == &budget->log[CS_BUDGET_ENTRIES])
			entry = budget->log;
		time = entry->at + CS_BUDGET_WINDOW_US - budget->paced_at;
		if (time > covered)
		{
			distance = time / (n + 1) + 1;
			covered = distance * (n + 1);
		}
		n += entry->requests;
		covered += distance * entry->requests;
	}
	return Max(budget->paced_at + distance - now, 0);
}

/* The even distance that the refresh keeps once a quarter of the window is used. */
static int64
until_next_step(const CsBudget *budget, int64 now, int per_minute)
{
	if (budget->used < Max((uint32) per_minute / 4, 1))
		return 0;
	return Max(budget->catalog_at + CS_BUDGET_WINDOW_US / per_minute - now, 0);
}

/* How long a priority may be passed over. */
static int64
patience(int per_minute)
{
	return Min(20 * CS_BUDGET_WINDOW_US / per_minute, CS_BUDGET_WINDOW_US / 2);
}

static void
write_down(CsBudget *budget, int64 now, int per_minute, CsPriority priority)
{
	CsDeparture *entry = NULL;

	if (budget->entries > 0)
		entry = entry_at(budget, budget->entries - 1);
	if (entry == NULL ||
		(budget->entries < CS_BUDGET_ENTRIES &&
		 (per_minute <= CS_BUDGET_ENTRIES || entry->at / TICK_US != now / TICK_US)))
	{
		budget->entries++;
		entry = entry_at(budget, budget->entries - 1);
		entry->requests = 0;
	}
	entry->at = now;
	entry->requests++;
	budget->used++;
	if (priority != CS_PRIORITY_ORDER)
		budget->paced_at = now;
	if (priority == CS_PRIORITY_CATALOG)
		budget->catalog_at = now;
}

/* How long what is no order waits by the rules, and at most until it is overdue. */
static int64
until_turn(CsBudget *budget, int64 now, int per_minute, CsPriority priority)
{
	uint32		limit = places(budget, now, per_minute, priority, false);
	uint32		overdue_limit = places(budget, now, per_minute, priority, true);
	int64		wait = Max(until_below(budget, now, limit),
						   until_paced(budget, now, per_minute, limit));

	return Min(wait, Max(budget->overdue_at[priority] - now,
						 until_below(budget, now, overdue_limit)));
}

int64
cs_budget_acquire(CsBudget *budget, int64 now, int per_minute, CsPriority priority)
{
	int64		wait = cs_budget_paused(budget, now);
	int64		turn;

	if (per_minute <= 0)
		return wait;
	forget_old(budget, now);

	/* Nobody of it has waited so far. */
	if (budget->awaited_until[priority] + MARK_KEPT_US <= now)
		budget->overdue_at[priority] = now + patience(per_minute);

	if (priority == CS_PRIORITY_ORDER)
		turn = until_below(budget, now, places(budget, now, per_minute, priority,
											   budget->overdue_at[priority] <= now));
	else
		turn = until_turn(budget, now, per_minute, priority);
	wait = Max(wait, turn);
	if (priority == CS_PRIORITY_CATALOG)
		wait = Max(wait, until_next_step(budget, now, per_minute));

	if (wait == 0)
	{
		/* Overdue by more than once: the mark stands for those that ask at this moment. */
		if (budget->overdue_at[priority] <= now)
			budget->overdue_at[priority] += patience(per_minute);
		else
			budget->awaited_until[priority] = 0;
		write_down(budget, now, per_minute, priority);
	}
	else if (turn == wait)
		budget->awaited_until[priority] = now + wait + MARK_GRACE_US;
	return wait;
}

void
cs_budget_refund(CsBudget *budget, int64 now)
{
	forget_old(budget, now);
	if (budget->entries == 0)
		return;
	entry_at(budget, 0)->requests--;
	budget->used--;
}

void
cs_budget_leave(CsBudget *budget, CsPriority priority)
{
	budget->awaited_until[priority] = 0;
}

void
cs_budget_pause(CsBudget *budget, int64 now, int64 us)
{
	budget->paused_until = Max(budget->paused_until, now + us);
}

void
cs_budget_resume(CsBudget *budget)
{
	budget->paused_until = 0;
}

int64
cs_budget_paused(const CsBudget *budget, int64 now)
{
	return Max(budget->paused_until - now, 0);
}

int
cs_budget_used(CsBudget *budget, int64 now)
{
	forget_old(budget, now);
	return (int) budget->used;
}
