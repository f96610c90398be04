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

/* How late a request that was told when to come back may be. */
#define MARK_GRACE_US INT64CONST(100000)

static CsDeparture *
entry_at(CsBudget *budget, int i)
{
	return &budget->log[(budget->first + i) % CS_BUDGET_ENTRIES];
}

static bool
is_read(CsPriority priority)
{
	return priority == CS_PRIORITY_STATUS || priority == CS_PRIORITY_LIVE;
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
		budget->reads -= oldest->reads;
		budget->first = (budget->first + 1) % CS_BUDGET_ENTRIES;
		budget->entries--;
	}
}

/* How long until fewer than 'limit' requests (or reads) are in the window. */
static int64
until_below(CsBudget *budget, int64 now, uint32 limit, bool reads)
{
	uint32		left = reads ? budget->reads : budget->used;
	int64		wait = 0;
	int			i;

	for (i = 0; left >= limit && i < budget->entries; i++)
	{
		CsDeparture *entry = entry_at(budget, i);

		left -= reads ? entry->reads : entry->requests;
		wait = entry->at + CS_BUDGET_WINDOW_US - now;
	}
	return wait;
}

/* The places that 'priority' sees: at least one, or a low limit would shut it out. */
static uint32
places(const CsBudget *budget, int64 now, int per_minute, CsPriority priority)
{
	int			result = per_minute;
	int			higher;

	for (higher = 0; higher < (int) priority; higher++)
	{
		if (budget->awaited_until[higher] > now)
			result--;
	}
	if (priority == CS_PRIORITY_CATALOG)
		result -= Max(1, per_minute / 100);
	return (uint32) Max(result, 1);
}

/* The even distance that the refresh keeps once a quarter of the window is used. */
static int64
until_next_step(const CsBudget *budget, int64 now, int per_minute)
{
	if (budget->used < Max((uint32) per_minute / 4, 1))
		return 0;
	return Max(budget->catalog_at + CS_BUDGET_WINDOW_US / per_minute - now, 0);
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
		entry->reads = 0;
	}
	entry->at = now;
	entry->requests++;
	budget->used++;
	if (is_read(priority))
	{
		entry->reads++;
		budget->reads++;
	}
	else if (priority == CS_PRIORITY_CATALOG)
		budget->catalog_at = now;
}

int64
cs_budget_acquire(CsBudget *budget, int64 now, int per_minute, CsPriority priority)
{
	int64		wait = cs_budget_paused(budget, now);
	int64		place;

	if (per_minute <= 0)
		return wait;
	forget_old(budget, now);

	place = until_below(budget, now, places(budget, now, per_minute, priority), false);
	wait = Max(wait, place);
	if (is_read(priority))
		wait = Max(wait, until_below(budget, now,
									 (uint32) (per_minute - Max(per_minute / 10, per_minute > 1)),
									 true));
	else if (priority == CS_PRIORITY_CATALOG)
		wait = Max(wait, until_next_step(budget, now, per_minute));

	if (wait == 0)
	{
		budget->awaited_until[priority] = 0;
		write_down(budget, now, per_minute, priority);
	}
	else if (place == wait)
		budget->awaited_until[priority] = now + wait + MARK_GRACE_US;
	return wait;
}

void
cs_budget_refund(CsBudget *budget, int64 now)
{
	CsDeparture *oldest;

	forget_old(budget, now);
	if (budget->entries == 0)
		return;
	oldest = entry_at(budget, 0);
	oldest->requests--;
	budget->used--;
	if (oldest->reads > oldest->requests)
	{
		oldest->reads--;
		budget->reads--;
	}
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
