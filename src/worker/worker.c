/*
 * worker.c
 *	  The process that sends a database's orders: its loop.
 *
 * One runs in each database with work, started by the launcher.  It takes the
 * requests of callers first, then what is queued, then looks at placed orders;
 * it waits on its latch and its sockets, with no transaction open, and leaves
 * when there was nothing to do for cupsource.worker_linger.  On its way it has
 * catalogues refreshed that are due (schedule.c), by other processes.
 *
 * Terminated, it starts nothing new and gives what is on the wire a moment to
 * be answered, because an order without an answer may need a person.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "src/base/compat.h"
#include "src/base/guc.h"
#include "src/orders/orders.h"
#include "src/shared/serve.h"
#include "src/shared/shmem.h"
#include "src/wire/http.h"
#include "src/worker/schedule.h"

/* Nobody whom we wait for may keep the worker: a user's open transaction can hold a row. */
#define LOCK_TIMEOUT "100"

#define FAREWELL_MS 3000		/* for the answers to what is on the wire */
#define BLOCKED_MS 2			/* one look serves the wake-ups of a while in which nothing can go out */
#define LOOK_INTERVAL_MS 100		/* between two looks while answers keep coming */
#define NO_WAIT_MS 100			/* for want of a proper wait */
#define DUE_AGAIN_MS 1000		/* what was due and could not be done */

PGDLLEXPORT void cs_worker_main(Datum arg);

typedef struct Worker
{
	bool		begun;			/* the queue is ours, interrupted orders have been seen to */
	bool		look;			/* something changed since the last look */
	int64		looked_at;		/* monotonic */
	TimestampTz due;			/* next thing to do; 0: none */
	int64		idle_since;		/* monotonic; 0: it is not */
} Worker;

/* The extension has gone, or was never here. */
static void
leave_forgotten(void)
{
	if (cs_worker_absent())
		proc_exit(0);
}

static void
report(const char *activity)
{
	cs_worker_report(cs_orders_in_flight(), cs_orders_sent(), cs_orders_failures(), activity);
}

/*
 * Until something ends, the latch is set or the time is over; survives a
 * cancel, and a lack of memory or descriptors, without going round in circles.
 */
static void
wait_for_something(long timeout_ms)
{
	static uint32 wait_event = 0;
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool failed = false;

	PG_TRY();
	{
		cs_http_wait(timeout_ms, cs_orders_in_flight() > 0 ? CS_WAIT_FOR_ANSWER : CS_WAIT_FOR_WORK);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		failed = geterrcode() != ERRCODE_QUERY_CANCELED;
		EmitErrorReport();
		FlushErrorState();
	}
	PG_END_TRY();
	if (failed)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, NO_WAIT_MS,
						 CS_WAIT_EVENT(wait_event, "CupsourceWorker"));
		ResetLatch(MyLatch);
	}
}

/* Ends the process: at once if nothing is on the wire. */
static void
farewell(void)
{
	int64		until = cs_monotonic_us() + FAREWELL_MS * INT64CONST(1000);
	bool		present = cs_orders_retreat();

	report("leaving");
	while (present && cs_orders_in_flight() > 0 && cs_monotonic_us() < until)
	{
		long		wait_ms;

		if (cs_orders_advance(&wait_ms))
			present = cs_orders_record();
		else
			wait_for_something(wait_ms < 0 ? 100 : Min(wait_ms, 100));
	}
	if (cs_worker_asked_to_leave() && cs_worker_try_leave())
		proc_exit(0);
	proc_exit(1);
}

/* What waits for a time of day, if the clock was set back.  False: the extension is gone. */
static bool
see_to_clock(Worker *worker)
{
	CsClockChange change = cs_worker_take_clock();
	bool		present;
	bool		ok;

	if (change == CS_CLOCK_STEADY)
		return true;
	present = cs_orders_clock(change == CS_CLOCK_SET_BACK, &ok);
	if (!ok)
		cs_worker_keep_clock(change);
	worker->look = true;
	cs_schedule_anew();
	return present;
}

/* Everything that can be done for orders now.  False: the extension is gone. */
static bool
work_on_orders(Worker *worker, bool woken)
{
	TimestampTz now = GetCurrentTimestamp();
	bool		rested;

	if (!worker->begun && cs_orders_pause_ms() == 0)
	{
		if (!cs_orders_begin(&worker->begun))
			return false;
		worker->look |= worker->begun || worker->looked_at == 0;
	}
	if (!cs_orders_take(&worker->look))
		return false;
	if (worker->begun && cs_orders_pause_ms() == 0 && !see_to_clock(worker))
		return false;
	if (cs_orders_pause_ms() == 0 && !cs_orders_claim())
		return false;
	worker->look |= woken;
	if (cs_orders_pause_ms() > 0)
		return true;

	/* New orders go out at once; the rest is looked at now and then. */
	rested = cs_monotonic_us() - worker->looked_at >= LOOK_INTERVAL_MS * INT64CONST(1000);
	if (woken && !rested)
	{
		if (!cs_orders_look(false, &worker->due))
			return false;
		if (cs_orders_blocked())
			cs_worker_rest(BLOCKED_MS);
		return true;
	}
	if ((worker->look && rested) || (worker->due != 0 && worker->due <= now))
	{
		worker->looked_at = cs_monotonic_us();
		worker->look = false;
		if (!cs_orders_look(true, &worker->due))
			return false;
		now = GetCurrentTimestamp();
		if (worker->due != 0 && worker->due <= now)
			worker->due = now + DUE_AGAIN_MS * INT64CONST(1000);
	}
	return true;
}

/* The same, and for catalogues. */
static bool
work(Worker *worker)
{
	bool		woken = cs_worker_take_wakeup();

	return work_on_orders(worker, woken) && cs_schedule_look(woken);
}

/* The next thing to do; 0: none. */
static TimestampTz
next_due(const Worker *worker)
{
	TimestampTz refresh = cs_schedule_due();

	if (worker->due == 0 || (refresh != 0 && refresh < worker->due))
		return refresh;
	return worker->due;
}

/* How long to wait if nobody wakes us; leaves if there is nothing to wait for. */
static long
rest(Worker *worker, long wait_ms)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = next_due(worker);
	long		due_ms = due == 0 ? -1 : Max(TimestampDifferenceMilliseconds(now, due), 0);
	long		pause_ms = cs_orders_pause_ms();
	long		rest_ms = cs_worker_rests_ms();
	long		linger_ms;

	if (worker->look)
		wait_ms = wait_ms < 0 ? LOOK_INTERVAL_MS : Min(wait_ms, LOOK_INTERVAL_MS);
	if (pause_ms > 0)
	{
		worker->look = true;	/* what failed has left its work */
		return pause_ms;
	}
	if (due_ms >= 0)
		wait_ms = wait_ms < 0 ? due_ms : Min(wait_ms, due_ms);
	if (rest_ms > 0)
		wait_ms = wait_ms < 0 ? rest_ms : Min(wait_ms, rest_ms);
	if (cs_orders_busy() || worker->look)
	{
		worker->idle_since = 0;
		return wait_ms;
	}

	if (worker->idle_since == 0)
		worker->idle_since = cs_monotonic_us();
	linger_ms = cs_worker_lingers() ?
		cs_guc_worker_linger - (long) ((cs_monotonic_us() - worker->idle_since) / 1000) : 0;
	if (linger_ms <= 0)
	{
		cs_worker_sleep_until(due);
		if (cs_worker_try_leave())
			proc_exit(0);
		worker->idle_since = 0;
		worker->look = true;
		return 0;
	}
	return wait_ms < 0 ? linger_ms : Min(wait_ms, linger_ms);
}

/* Everything that can be done now, then the wait for more. */
static void
turn(Worker *worker)
{
	long		wait_ms;

	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		worker->look = true;
		cs_schedule_anew();
	}
	if (ShutdownRequestPending || cs_worker_asked_to_leave())
		farewell();
	if (!work(worker))
		leave_forgotten();
	if (cs_orders_advance(&wait_ms) && cs_orders_pause_ms() == 0)
	{
		report("recording");
		if (!cs_orders_record())
			leave_forgotten();
		worker->look = true;
		return;
	}
	report(cs_orders_in_flight() > 0 ? "waiting for partners" : "idle");
	wait_for_something(rest(worker, wait_ms));
}

/*
 * The same, in spite of a lack of memory: to end for that would leave orders
 * that are on the wire without their answers.  Any other error ends the process.
 */
static void
steady_turn(Worker *worker, MemoryContext cxt)
{
	PG_TRY();
	{
		turn(worker);
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_INSUFFICIENT_RESOURCES)
			PG_RE_THROW();
		MemoryContextSwitchTo(cxt);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		worker->look = true;
		cs_orders_hold_back();
	}
	PG_END_TRY();
}

void
cs_worker_main(Datum arg)
{
	Oid			database = DatumGetObjectId(arg);
	Worker		worker = {0};
	MemoryContext cxt;

	/* Until it is connected nothing is owed to anybody. */
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (!cs_worker_attach(database))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	SetConfigOption("lock_timeout", LOCK_TIMEOUT, PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);

	/* What a database's or role's settings mean for its users would stop the queue. */
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);

	/* Plans that forbid a sequential scan look expensive; compiling them would be. */
	SetConfigOption("jit", "off", PGC_SUSET, PGC_S_OVERRIDE);

	/*
	 * Whatever the arguments are, the way to an order is an index: a plan is
	 * made once, and not while the tables are so small that it would scan them.
	 */
	SetConfigOption("plan_cache_mode", "force_generic_plan", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("enable_seqscan", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("enable_bitmapscan", "off", PGC_SUSET, PGC_S_OVERRIDE);
	pgstat_report_appname("cupsource worker");
	pgstat_report_activity(STATE_IDLE, NULL);

	cs_schedule_init();
	cxt = AllocSetContextCreate(TopMemoryContext, "cupsource worker", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		MemoryContextReset(cxt);
		MemoryContextSwitchTo(cxt);
		steady_turn(&worker, cxt);
	}
}
