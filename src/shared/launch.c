/*
 * launch.c
 *	  What the launcher decides by: which database wants a worker, when, and
 *	  which have not been looked at yet.
 *
 * A worker is wanted for work that was announced, for a due time, or once for
 * a database that discovery found.  Those that are only looked at come one at
 * a time, so that a server with hundreds of databases starts without needing
 * hundreds of processes.  After a failure the next try waits, twice as long
 * each time.
 *
 * The launcher also watches the clock: whatever is due at a time of day is
 * looked at again when that was set.
 *
 * Locks: CS_LOCK_WORKERS.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"

#include "src/base/compat.h"
#include "src/base/guc.h"
#include "src/shared/launch.h"
#include "src/shared/layout.h"

/* The launcher looks again after this long even if nothing seems to be due. */
#define NAP_US INT64CONST(60000000)

/* After a failure: this long, and twice as long after each further one. */
#define RETRY_FIRST_US INT64CONST(500000)
#define RETRY_MOST_US INT64CONST(60000000)
#define NO_SLOT_MOST_US INT64CONST(10000000)

/* Discovery enters so many databases and waits for them to be looked at. */
#define PROBES_AT_ONCE 16

/* A worker that still has something to do after this long holds up discovery no more. */
#define PROBE_US INT64CONST(5000000)

static void
launcher_exit(int code, Datum arg)
{
	cs_workers_lock();
	if (cs_workers->launcher.pid == MyProcPid)
	{
		cs_workers->launcher.pid = 0;
		cs_workers->launcher.proc = -1;
	}
	cs_workers_unlock();
}

/*
 * Starts that an earlier launcher had begun are forgotten: if a worker comes
 * of one of them after all, it attaches, and a second one does not.
 */
void
cs_launcher_attach(void)
{
	CsLauncher *launcher = &cs_workers->launcher;
	int			i;

	before_shmem_exit(launcher_exit, (Datum) 0);

	cs_workers_lock();
	memset(launcher, 0, sizeof(*launcher));
	launcher->pid = MyProcPid;
	launcher->proc = CS_MY_PROC_NUMBER;
	launcher->started_at = GetCurrentTimestamp();
	for (i = 0; i < cs_guc_max_databases; i++)
	{
		CsDatabase *entry = &cs_workers->databases[i];

		if (entry->database != InvalidOid && entry->serving == CS_SERVING_STARTING)
			entry->serving = CS_SERVING_NONE;
	}
	cs_workers_unlock();
}

/* Until when a worker that only looks holds up the others; 0: there is none. */
static int64
probe_until(int64 now)
{
	int64		until = 0;
	int			i;

	for (i = 0; i < cs_guc_max_databases; i++)
	{
		CsDatabase *entry = &cs_workers->databases[i];

		if (entry->database != InvalidOid && entry->serving != CS_SERVING_NONE &&
			entry->probing && entry->since + PROBE_US > now)
			until = Max(until, entry->since + PROBE_US);
	}
	return until;
}

/*
 * When the entry wants a worker, on the monotonic clock: 0 is now, PG_INT64_MAX
 * is never.  A time of day is translated anew at each look, so that setting
 * the clock is noticed after a nap at the latest.
 */
static int64
wanted_at(const CsDatabase *entry, int64 now, TimestampTz today, int64 probing_until)
{
	int64		at = PG_INT64_MAX;

	if (entry->database == InvalidOid || entry->serving != CS_SERVING_NONE || entry->bars > 0)
		return PG_INT64_MAX;
	if (entry->work || entry->announced > 0)
		at = 0;
	else
	{
		if (entry->due_at != 0)
			at = entry->due_at > today ? now + (entry->due_at - today) : 0;
		if (entry->probe)
			at = Min(at, probing_until);
	}
	if (at == PG_INT64_MAX)
		return at;
	at = Max(at, entry->not_before);
	return at > now ? at : 0;
}

/* When discovery can begin or go on: not before all that it found have been looked at. */
static int64
discovery_at(void)
{
	const CsLauncher *launcher = &cs_workers->launcher;
	int			i;

	if (launcher->discovered || launcher->overflow || launcher->discovery_runs)
		return PG_INT64_MAX;
	for (i = 0; i < cs_guc_max_databases; i++)
	{
		if (cs_workers->databases[i].database != InvalidOid && cs_workers->databases[i].probe)
			return PG_INT64_MAX;
	}
	return Max(launcher->discovery_not_before, launcher->not_before);
}

/*
 * Sees whether the clock was set since the last call, and by how much (0: it
 * was not).  Workers are told; databases without one where something is due
 * get one, one at a time, to see whether it still is to wait.
 */
static int64
watch_clock(int64 now, TimestampTz today)
{
	int64		step = cs_clock_step(now, today);

	cs_workers->clock_offset = today - now;
	for (int i = 0; step != 0 && i < cs_guc_max_databases; i++)
	{
		CsDatabase *entry = &cs_workers->databases[i];

		if (entry->database == InvalidOid)
			continue;
		if (step < 0)
			entry->clock = CS_CLOCK_SET_BACK;
		if (entry->serving == CS_SERVING_NONE)
			entry->probe |= entry->due_at != 0;
		else
		{
			entry->work = true;
			cs_database_wake(entry);
		}
	}
	return step;
}

static void
tell_clock(int64 step)
{
	if (step != 0)
		ereport(LOG,
				(errmsg("the clock of this server was set %s by %lld s", step > 0 ? "forward" : "back",
						(long long) (Max(step, -step) + USECS_PER_SEC / 2) / USECS_PER_SEC),
				 errdetail("What waits for a time of day is looked at again.")));
}

Oid
cs_launcher_next(long *timeout_ms)
{
	CsLauncher *launcher = &cs_workers->launcher;
	TimestampTz today = GetCurrentTimestamp();
	int64		now = cs_monotonic_us();
	int64		until = now + NAP_US;
	int64		probing_until;
	int64		clock_step;
	Oid			database = InvalidOid;
	int			i;

	cs_workers_lock();
	clock_step = watch_clock(now, today);
	probing_until = probe_until(now);
	until = Min(until, discovery_at());
	for (i = 0; i < cs_guc_max_databases && database == InvalidOid; i++)
	{
		int			place = (cs_workers->next + i) % cs_guc_max_databases;
		CsDatabase *entry = &cs_workers->databases[place];
		int64		at = wanted_at(entry, now, today, probing_until);

		if (at == 0 && launcher->not_before > now)
			at = launcher->not_before;
		if (at > 0)
		{
			until = Min(until, at);
			continue;
		}
		entry->probing = !entry->work && entry->announced == 0 &&
			(entry->due_at == 0 || entry->due_at > today);
		entry->probe = false;
		entry->serving = CS_SERVING_STARTING;
		entry->since = now;
		entry->leave = false;
		cs_workers->next = (place + 1) % cs_guc_max_databases;
		database = entry->database;
	}
	cs_workers_unlock();
	tell_clock(clock_step);

	*timeout_ms = (long) (Max(until - now, 0) + 999) / 1000;
	return database;
}

static int64
backoff(int in_a_row, int64 most)
{
	return Min(RETRY_FIRST_US << Min(in_a_row - 1, 10), most);
}

/* Whatever it was started for has to be seen by another one, a while later. */
void
cs_database_failed(CsDatabase *entry)
{
	entry->serving = CS_SERVING_NONE;
	entry->failures_in_a_row++;
	entry->not_before = cs_monotonic_us() + backoff(entry->failures_in_a_row, RETRY_MOST_US);
	entry->work = true;
}

void
cs_launcher_registered(void)
{
	cs_workers_lock();
	cs_workers->launcher.no_slot = false;
	cs_workers->launcher.no_slot_in_a_row = 0;
	cs_workers_unlock();
}

void
cs_launcher_no_slot(Oid database)
{
	CsLauncher *launcher = &cs_workers->launcher;
	CsDatabase *entry = NULL;
	int			i;

	cs_workers_lock();
	if (OidIsValid(database))
		entry = cs_database_find(database);
	if (entry != NULL && entry->serving == CS_SERVING_STARTING)
	{
		entry->serving = CS_SERVING_NONE;
		entry->probe = entry->probing;
	}
	launcher->no_slot = true;
	launcher->no_slot_in_a_row++;
	launcher->not_before = cs_monotonic_us() +
		backoff(launcher->no_slot_in_a_row, NO_SLOT_MOST_US);

	/* A refresh can go on later; and those that linger are to make room (cs_worker_lingers). */
	cs_refreshers_end_one();
	for (i = 0; i < cs_guc_max_databases; i++)
	{
		if (cs_workers->databases[i].database != InvalidOid)
			cs_process_wake(cs_workers->databases[i].proc);
	}
	cs_workers_unlock();
}

/*
 * If it had attached, its entry tells already what came of it.  It may also
 * have been refused, because somebody wants the database for himself.
 */
void
cs_launcher_failed(Oid database)
{
	CsDatabase *entry;

	cs_workers_lock();
	entry = cs_database_find(database);
	if (entry != NULL && entry->serving == CS_SERVING_STARTING)
	{
		if (entry->bars > 0)
			entry->serving = CS_SERVING_NONE;
		else
			cs_database_failed(entry);
	}
	cs_workers_unlock();
}

void
cs_launcher_room(void)
{
	cs_workers_lock();
	cs_workers->launcher.no_slot_in_a_row = 0;
	cs_workers->launcher.not_before = 0;
	cs_workers_unlock();
}

/* A run that finds nothing, nor the end, is a failure until it turns out otherwise. */
bool
cs_discovery_begin(void)
{
	CsLauncher *launcher = &cs_workers->launcher;
	int64		now = cs_monotonic_us();
	bool		begins;

	cs_workers_lock();
	begins = discovery_at() <= now;
	if (begins)
	{
		launcher->discovery_runs = true;
		launcher->discovery_in_a_row++;
		launcher->discovery_not_before = now + backoff(launcher->discovery_in_a_row, RETRY_MOST_US);
	}
	cs_workers_unlock();
	return begins;
}

void
cs_discovery_ended(void)
{
	cs_workers_lock();
	cs_workers->launcher.discovery_runs = false;
	cs_workers_unlock();
}

Oid
cs_discovery_resume(void)
{
	Oid			last;

	cs_workers_lock();
	last = cs_workers->launcher.discovered_to;
	cs_workers_unlock();
	return last;
}

bool
cs_discovery_found(Oid database)
{
	CsDatabase *entry = NULL;
	bool		full = false;
	int			probes = 0;
	int			i;

	cs_workers_lock();
	for (i = 0; i < cs_guc_max_databases; i++)
		probes += cs_workers->databases[i].database != InvalidOid && cs_workers->databases[i].probe;
	/* What is only looked at will make room; it is not for lack of room that we stop then. */
	if (probes == 0 ||
		(probes < PROBES_AT_ONCE &&
		 (cs_database_find(database) != NULL || cs_database_find(InvalidOid) != NULL)))
	{
		entry = cs_database_enter(database);
		full = entry == NULL;
	}
	if (entry != NULL)
	{
		entry->probe |= entry->serving == CS_SERVING_NONE;
		cs_workers->launcher.discovered_to = database;
		cs_workers->launcher.discovery_in_a_row = 0;
		cs_workers->launcher.discovery_not_before = 0;
		cs_process_wake(cs_workers->launcher.proc);
	}
	cs_workers_unlock();
	if (full)
		cs_database_tell_full(LOG);
	return entry != NULL;
}

void
cs_discovery_complete(void)
{
	cs_workers_lock();
	cs_workers->launcher.discovered = true;
	cs_workers_unlock();
}
