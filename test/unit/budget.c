/*
 * budget.c
 *	  The rules of the request budget, with a clock of our own.
 */
#include "src/shared/budget.c"

#define SECOND INT64CONST(1000000)

static int	tests = 0;
static int	failed = 0;

static void
is(int64 got, int64 expected, const char *what)
{
	bool		good = got == expected;

	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	if (!good)
	{
		failed++;
		printf("# got " INT64_FORMAT ", expected " INT64_FORMAT "\n", got, expected);
	}
}

static CsBudget *
fresh(void)
{
	static CsBudget budget;

	memset(&budget, 0, sizeof(budget));
	return &budget;
}

/* How many of 'tries' requests at this moment are granted. */
static int
granted(CsBudget *budget, int64 now, int per_minute, CsPriority priority, int tries)
{
	int			n = 0;
	int			i;

	for (i = 0; i < tries; i++)
		n += cs_budget_acquire(budget, now, per_minute, priority) == 0;
	return n;
}

static void
test_window(void)
{
	CsBudget   *budget = fresh();
	int64		now = 1000 * SECOND;

	is(granted(budget, now, 60, CS_PRIORITY_ORDER, 70), 60, "orders may use the whole minute at once");
	is(cs_budget_acquire(budget, now, 60, CS_PRIORITY_ORDER), CS_BUDGET_WINDOW_US,
	   "the next one is told to the microsecond when");
	is(cs_budget_acquire(budget, now + CS_BUDGET_WINDOW_US - 1, 60, CS_PRIORITY_ORDER), 1,
	   "a microsecond too early is refused");
	is(granted(budget, now + CS_BUDGET_WINDOW_US, 60, CS_PRIORITY_ORDER, 70), 60,
	   "and then the whole minute is there again");
	is(cs_budget_used(budget, now + CS_BUDGET_WINDOW_US), 60, "those in the window are counted");
	is(cs_budget_used(budget, now + 2 * CS_BUDGET_WINDOW_US), 0, "those that left it are not");

	budget = fresh();
	is(granted(budget, now, 0, CS_PRIORITY_CATALOG, 5000), 5000, "0 per minute is no limit");
	budget = fresh();
	is(granted(budget, now, 1, CS_PRIORITY_CATALOG, 5), 1, "a limit of one is one, for the lowest too");
	budget = fresh();
	is(granted(budget, now, 1, CS_PRIORITY_LIVE, 5), 1, "and for reads");
}

/* Whatever is asked, and whenever: never more than the limit in any window. */
static void
test_never_more(int per_minute, const char *what)
{
	static int64 sent[100000];
	CsBudget   *budget = fresh();
	uint32		random = 12345;
	int64		now = 0;
	int			n = 0;
	int			first = 0;
	int			most = 0;
	int			i;

	while (n < 20000 && now < 3600 * SECOND)
	{
		random = random * 1664525 + 1013904223;
		now += random % 64 == 0 ? (random >> 8) % (5 * SECOND) : (random >> 8) % 20000;
		/* Half of them orders, which no pace holds back. */
		if (cs_budget_acquire(budget, now, per_minute,
							  (CsPriority) Max((int) (random >> 29) - 4, 0)) == 0)
			sent[n++] = now;
	}
	for (i = 0; i < n; i++)
	{
		while (sent[first] + CS_BUDGET_WINDOW_US <= sent[i])
			first++;
		most = Max(most, i - first + 1);
	}
	is(most, per_minute, what);
}

static void
test_priorities(void)
{
	CsBudget   *budget = fresh();
	int64		now = 1000 * SECOND;
	int64		late;
	int64		wait;

	is(granted(budget, now, 60, CS_PRIORITY_LIVE, 100), 30, "a burst of reads takes half");
	wait = cs_budget_acquire(budget, now, 60, CS_PRIORITY_LIVE);
	is(wait, CS_BUDGET_WINDOW_US / 30 + 1, "the rest lasts until they come free: the next read waits");
	is(cs_budget_acquire(budget, now, 60, CS_PRIORITY_STATUS), wait, "and so does following");
	is(granted(budget, now, 60, CS_PRIORITY_ORDER, 100), 30, "but orders do not");

	budget = fresh();
	is(granted(budget, now, 60, CS_PRIORITY_CATALOG, 100), 15, "the refresh begins with a quarter");
	is(cs_budget_acquire(budget, now, 60, CS_PRIORITY_CATALOG), CS_BUDGET_WINDOW_US / 60,
	   "and goes on at an even distance");
	while ((wait = cs_budget_acquire(budget, now, 60, CS_PRIORITY_CATALOG)) == 0 ||
		   now + wait < 1000 * SECOND + CS_BUDGET_WINDOW_US)
		now += wait;
	is(cs_budget_used(budget, now), 59, "until all but one place are used, and not before the minute is over");
	is(cs_budget_acquire(budget, now, 60, CS_PRIORITY_ORDER), 0, "an order finds that one");

	/* Now the window is full; the refresh, a read and an order all wait. */
	wait = cs_budget_acquire(budget, now, 60, CS_PRIORITY_LIVE);
	is(wait, 1000 * SECOND + CS_BUDGET_WINDOW_US - now, "a read waits for the first that leaves");
	is(granted(budget, now + wait, 60, CS_PRIORITY_CATALOG, 100), 1,
	   "when many leave, the refresh has its next one");

	budget = fresh();
	now = 1000 * SECOND;
	is(granted(budget, now, 2, CS_PRIORITY_ORDER, 1), 1, "one of two places");
	is(granted(budget, now + SECOND, 2, CS_PRIORITY_ORDER, 2), 1, "the other; one order waits");
	is(cs_budget_acquire(budget, now + CS_BUDGET_WINDOW_US, 2, CS_PRIORITY_LIVE) > 0, true,
	   "the place that comes free is not for a read");
	late = now + CS_BUDGET_WINDOW_US + 2 * SECOND / 5;
	is(cs_budget_acquire(budget, late, 2, CS_PRIORITY_LIVE) > 0, true,
	   "nor is it 400 ms later, on a machine that is busy");
	is(cs_budget_acquire(budget, late, 2, CS_PRIORITY_ORDER), 0,
	   "it is for the order that waited");
	wait = cs_budget_acquire(budget, now + CS_BUDGET_WINDOW_US + SECOND, 2, CS_PRIORITY_LIVE);
	is(wait, CS_BUDGET_WINDOW_US / 2 - SECOND, "the last one the read has when it has waited for long");
	is(cs_budget_acquire(budget, now + CS_BUDGET_WINDOW_US + SECOND + wait, 2, CS_PRIORITY_LIVE), 0,
	   "then it has it");
}

/* A refresh of ten thousand pages, alone: how near to the limit it comes. */
static void
test_refresh(int per_minute, int requests, int64 most_percent, const char *what)
{
	CsBudget   *budget = fresh();
	int64		start = 1000 * SECOND;
	int64		now = start;
	int			sent = 0;

	while (sent < requests)
	{
		int64		wait = cs_budget_acquire(budget, now, per_minute, CS_PRIORITY_CATALOG);

		sent += wait == 0;
		now += wait;
	}
	is((now - start) * per_minute <= requests * SECOND * 60 / 100 * most_percent, true, what);
}

/* Who asks, again and again, in a simulated hour; and how it fared. */
typedef struct Client
{
	CsPriority	priority;
	int64		pause;			/* from a grant to its next request */
	int64		at;				/* when it asks next */
	int64		since;			/* when it first asked for what it waits for */
	int			granted;
	int64		longest;
} Client;

#define MINUTES 60

/* The fewest requests that are granted in any minute. */
static int
simulate(int per_minute, Client *clients, int nclients)
{
	CsBudget   *budget = fresh();
	int			each_minute[MINUTES] = {0};
	int64		start = 1000 * SECOND;
	uint32		random = 12345;
	int			fewest = per_minute;
	int			i;

	for (i = 0; i < nclients; i++)
		clients[i].at = clients[i].since = start + i;
	for (;;)
	{
		Client	   *next = &clients[0];
		int64		wait;

		for (i = 1; i < nclients; i++)
		{
			if (clients[i].at < next->at)
				next = &clients[i];
		}
		if (next->at >= start + MINUTES * 60 * SECOND)
			break;
		wait = cs_budget_acquire(budget, next->at, per_minute, next->priority);
		if (wait == 0)
		{
			each_minute[(next->at - start) / (60 * SECOND)]++;
			next->granted++;
			next->longest = Max(next->longest, next->at - next->since);
			next->at += next->pause + 1000;
			next->since = next->at;
		}
		else
		{
			/* In whole milliseconds, and a process is woken late. */
			random = random * 1664525 + 1013904223;
			next->at += (wait + 999) / 1000 * 1000 + (random >> 8) % 5000;
		}
	}
	for (i = 0; i < MINUTES; i++)
		fewest = Min(fewest, each_minute[i]);
	return fewest;
}

static void
test_load(int per_minute)
{
	Client		readers[] = {{CS_PRIORITY_LIVE}, {CS_PRIORITY_LIVE}, {CS_PRIORITY_LIVE}};
	Client		refresh[] = {{CS_PRIORITY_CATALOG}};
	Client		mixed[] = {{CS_PRIORITY_ORDER, 600 * SECOND / per_minute},
		{CS_PRIORITY_STATUS}, {CS_PRIORITY_LIVE}, {CS_PRIORITY_LIVE}, {CS_PRIORITY_CATALOG}};
	Client		full[] = {{CS_PRIORITY_ORDER}, {CS_PRIORITY_ORDER}, {CS_PRIORITY_STATUS},
		{CS_PRIORITY_LIVE}, {CS_PRIORITY_CATALOG}};

	printf("# %d a minute\n", per_minute);
	is(simulate(per_minute, readers, lengthof(readers)) >= per_minute * 95 / 100, true,
	   "reads alone use 95 % of every minute");
	is(simulate(per_minute, refresh, lengthof(refresh)) >= per_minute * 95 / 100, true,
	   "so does a refresh");

	is(simulate(per_minute, mixed, lengthof(mixed)) >= per_minute * 95 / 100, true,
	   "and all of them together");
	is(mixed[0].longest <= 60 * SECOND / per_minute, true,
	   "beside them, every tenth request an order, none waits for longer than a place lasts");
	is(mixed[0].granted >= per_minute * MINUTES / 10 * 95 / 100, true, "so all orders go out");

	is(simulate(per_minute, full, lengthof(full)) >= per_minute * 95 / 100, true,
	   "with as many orders as go out");
	is(full[0].granted + full[1].granted >= per_minute * MINUTES * 80 / 100, true,
	   "four fifths are orders");
	is(Min(Min(full[2].granted, full[3].granted), full[4].granted) >= MINUTES, true,
	   "and nobody starves");
}

static void
test_leaving(void)
{
	CsBudget   *budget = fresh();
	int64		now = 1000 * SECOND;

	is(granted(budget, now, 60, CS_PRIORITY_ORDER, 60), 60, "a full minute");
	is(granted(budget, now, 60, CS_PRIORITY_STATUS, 1), 0, "somebody waits");
	now += CS_BUDGET_WINDOW_US;
	is(granted(budget, now, 60, CS_PRIORITY_ORDER, 60), 59, "what waits for long is given a place");
	is(granted(budget, now, 60, CS_PRIORITY_STATUS, 1), 1, "which it takes");

	budget = fresh();
	is(granted(budget, now, 60, CS_PRIORITY_ORDER, 60), 60, "a full minute again");
	is(granted(budget, now, 60, CS_PRIORITY_STATUS, 1), 0, "somebody waits");
	cs_budget_leave(budget, CS_PRIORITY_STATUS);
	is(granted(budget, now + CS_BUDGET_WINDOW_US, 60, CS_PRIORITY_ORDER, 61), 60,
	   "who went away is not");
}

static void
test_give_back(void)
{
	CsBudget   *budget = fresh();
	int64		now = 1000 * SECOND;

	is(granted(budget, now, 60, CS_PRIORITY_ORDER, 60), 60, "a full minute");
	cs_budget_refund(budget, now);
	is(granted(budget, now, 60, CS_PRIORITY_ORDER, 5), 1, "what was given back can be had again, once");

	budget = fresh();
	is(granted(budget, now, 60, CS_PRIORITY_ORDER, 1), 1, "one sent early");
	is(granted(budget, now + 30 * SECOND, 60, CS_PRIORITY_LIVE, 1), 1, "one later");
	cs_budget_refund(budget, now + 31 * SECOND);
	is(cs_budget_used(budget, now + CS_BUDGET_WINDOW_US), 1, "the younger stays, whichever was given back");
	cs_budget_refund(budget, now + CS_BUDGET_WINDOW_US);
	is(cs_budget_used(budget, now + CS_BUDGET_WINDOW_US), 0, "the last one");
	cs_budget_refund(budget, now + CS_BUDGET_WINDOW_US);
	is(cs_budget_used(budget, now + CS_BUDGET_WINDOW_US), 0, "one too many does nothing");
}

static void
test_pause(void)
{
	CsBudget   *budget = fresh();
	int64		now = 1000 * SECOND;

	cs_budget_pause(budget, now, 20 * SECOND);
	cs_budget_pause(budget, now, 5 * SECOND);
	is(cs_budget_paused(budget, now + SECOND), 19 * SECOND, "a shorter pause does not shorten a longer");
	is(cs_budget_acquire(budget, now + SECOND, 60, CS_PRIORITY_ORDER), 19 * SECOND,
	   "nobody sends meanwhile");
	is(cs_budget_acquire(budget, now + SECOND, 0, CS_PRIORITY_ORDER), 19 * SECOND,
	   "not without a limit either");
	cs_budget_resume(budget);
	is(cs_budget_acquire(budget, now + SECOND, 60, CS_PRIORITY_ORDER), 0, "unless it is ended");
	cs_budget_pause(budget, now, 20 * SECOND);
	is(cs_budget_acquire(budget, now + 20 * SECOND, 60, CS_PRIORITY_ORDER), 0, "then it goes on");
}

static void
test_many(void)
{
	CsBudget   *budget = fresh();
	int64		now = 1000 * SECOND;

	is(granted(budget, now, 6000, CS_PRIORITY_ORDER, 7000), 6000, "a large limit is granted in full");
	is(budget->entries, 1, "departures of a moment share an entry");
	is(granted(budget, now + CS_BUDGET_WINDOW_US, 6000, CS_PRIORITY_ORDER, 7000), 6000, "and again");
}

int
main(void)
{
	test_window();
	test_never_more(1, "never more than 1 in any window");
	test_never_more(60, "never more than 60 in any window");
	test_never_more(120, "never more than 120 in any window");
	test_never_more(600, "never more than 600 in any window");
	test_never_more(1000, "never more than 1000 in any window");
	test_priorities();
	test_refresh(60, 505, 102, "505 requests at 60 a minute: within 2 % of the least time");
	test_refresh(120, 1000, 102, "1000 requests at 120 a minute: within 2 %");
	test_refresh(120, 10000, 102, "10000 requests at 120 a minute: within 2 %");
	test_refresh(60, 10000, 103, "10000 requests at 60 a minute: within 3 %");
	test_load(60);
	test_load(120);
	test_leaving();
	test_give_back();
	test_pause();
	test_many();
	printf("1..%d\n", tests);
	return failed > 0;
}
