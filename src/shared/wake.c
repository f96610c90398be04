/*
 * wake.c
 *	  The databases that have work, and waking whoever serves them.
 *
 * The table is an array: there are few databases, and a process remembers
 * where its own stands.  An entry is made when work is queued, when a caller
 * hands something over, or by discovery at the start of the server; it goes
 * when its database is dropped or has no extension.
 *
 * A wake-up is two steps under the lock: the flag in the entry, then the latch
 * of whoever is to look at it.  A worker clears the flag before it looks for
 * work, so none is lost.  The latch is set every time: a flag that is set
 * already says nothing about whether its reader is awake.  Only a worker that
 * has said until when it rests looks without having been woken.
 *
 * Locks: CS_LOCK_WORKERS for everything here.  Latches are set when it has been
 * released: whoever wakes goes for it at once.  By then the number may be that
 * of another process, whose latch is set for nothing, as any latch may be.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"

#include "src/base/compat.h"
#include "src/base/crash.h"
#include "src/base/guc.h"
#include "src/shared/layout.h"
#include "src/shared/wake.h"

CsWorkers  *cs_workers = NULL;

static int	own_index = 0;		/* where this process found its database */
static bool wake_at_commit = false;
static bool schedule_at_commit = false;
static int	to_wake[8];			/* processes, when the lock is released */
static int	nto_wake = 0;
static Oid	vacated = InvalidOid;	/* the database that this process has barred */

Size
cs_wake_shmem_size(void)
{
	return add_size(offsetof(CsWorkers, databases),
					mul_size(cs_guc_max_databases, sizeof(CsDatabase)));
}

void
cs_wake_shmem_attach(void)
{
	bool		found;

	cs_workers = ShmemInitStruct("cupsource workers", cs_wake_shmem_size(), &found);
	if (found)
		return;
	memset(cs_workers, 0, cs_wake_shmem_size());
	cs_workers->launcher.proc = -1;
}

void
cs_workers_lock(void)
{
	LWLockAcquire(cs_shared_lock(CS_LOCK_WORKERS), LW_EXCLUSIVE);
}

void
cs_workers_unlock(void)
{
	LWLockRelease(cs_shared_lock(CS_LOCK_WORKERS));
	while (nto_wake > 0)
		SetLatch(&ProcGlobal->allProcs[to_wake[--nto_wake]].procLatch);
}

CsDatabase *
cs_database_find(Oid database)
{
	int			i;

	if (cs_workers->databases[own_index].database == database)
		return &cs_workers->databases[own_index];
	for (i = 0; i < cs_guc_max_databases; i++)
	{
		if (cs_workers->databases[i].database == database)
		{
			if (database == MyDatabaseId)
				own_index = i;
			return &cs_workers->databases[i];
		}
	}
	return NULL;
}

CsDatabase *
cs_database_enter(Oid database)
{
	CsDatabase *entry = cs_database_find(database);

	if (entry != NULL)
		return entry;
	entry = cs_database_find(InvalidOid);
	if (entry == NULL)
	{
		cs_workers->launcher.overflow = true;
		return NULL;
	}
	memset(entry, 0, sizeof(*entry));
	entry->proc = -1;
	entry->bar_proc = -1;
	entry->database = database;
	return entry;
}

/* There may be databases that found no room: have them looked for again. */
void
cs_database_forget(CsDatabase *entry)
{
	entry->database = InvalidOid;
	if (cs_workers->launcher.overflow)
	{
		cs_workers->launcher.overflow = false;
		cs_workers->launcher.discovered = false;
		cs_workers->launcher.discovered_to = InvalidOid;
		cs_process_wake(cs_workers->launcher.proc);
	}
}

void
cs_process_wake(int proc)
{
	if (proc < 0)
		return;
	if (nto_wake == lengthof(to_wake))
		SetLatch(&ProcGlobal->allProcs[to_wake[--nto_wake]].procLatch);
	to_wake[nto_wake++] = proc;
}

/* A clock that is off by no more is being corrected, not set. */
#define CLOCK_STEP_US INT64CONST(2000000)

int64
cs_clock_step(int64 now, TimestampTz today)
{
	int64		step = cs_workers->clock_offset == 0 ? 0 : today - now - cs_workers->clock_offset;

	return step > -CLOCK_STEP_US && step < CLOCK_STEP_US ? 0 : step;
}

void
cs_database_wake(CsDatabase *entry)
{
	if (entry->serving == CS_SERVING_ATTACHED)
		cs_process_wake(entry->proc);
	else
		cs_process_wake(cs_workers->launcher.proc);
}

/* There is work for whoever serves the database. */
static void
announce(CsDatabase *entry)
{
	entry->work = true;
	if (cs_monotonic_us() >= entry->rests_until)
		cs_database_wake(entry);
}

void
cs_database_tell_full(int elevel)
{
	static bool told = false;

	if (told)
		return;
	told = true;
	ereport(elevel,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("more than %d databases use cupsource", cs_guc_max_databases),
			 errdetail("The orders of databases beyond that number are not sent."),
			 errhint("Raise \"%s\" and restart the server.", "cupsource.max_databases")));
}

static void
wake_now(Oid database, bool schedule)
{
	CsDatabase *entry;

	cs_workers_lock();
	entry = cs_database_enter(database);
	if (entry != NULL)
	{
		entry->schedule |= schedule;
		announce(entry);
	}
	cs_workers_unlock();
	if (entry == NULL)
		cs_database_tell_full(LOG);
}

void
cs_wake_now(Oid database)
{
	wake_now(database, false);
}

void
cs_wake_known(Oid database)
{
	CsDatabase *entry;

	cs_workers_lock();
	entry = cs_database_find(database);
	if (entry != NULL)
		announce(entry);
	cs_workers_unlock();
}

/*
 * At COMMIT the rows are visible when this is called.  PREPARE only forgets
 * the flag: the utility hook wakes at COMMIT PREPARED, in whatever session
 * that is.  The rollback of a savepoint leaves the flag alone, and at worst a
 * worker finds nothing.
 */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (!wake_at_commit)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			CS_CRASH_POINT("committed");
			wake_now(MyDatabaseId, schedule_at_commit);
			wake_at_commit = schedule_at_commit = false;
			CS_HOLD_POINT("woken");
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			wake_at_commit = schedule_at_commit = false;
			break;
		default:
			break;
	}
}

void
cs_wake_at_commit(void)
{
	static bool registered = false;
	bool		room;

	if (wake_at_commit)
		return;
	if (!registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		registered = true;
	}

	/* Now, while it can still be said, and so that COMMIT PREPARED finds the entry. */
	cs_workers_lock();
	room = cs_database_enter(MyDatabaseId) != NULL;
	cs_workers_unlock();
	if (!room)
		cs_database_tell_full(WARNING);
	wake_at_commit = true;
}

void
cs_wake_at_commit_for_schedule(void)
{
	cs_wake_at_commit();
	schedule_at_commit = true;
}

static void
release_at_exit(int code, Datum arg)
{
	if (OidIsValid(vacated))
		cs_database_release(false);
}

void
cs_database_vacate(Oid database, int timeout_ms)
{
	static bool registered = false;
	static uint32 wait_event = 0;
	int64		until = cs_monotonic_us() + (int64) timeout_ms * 1000;
	CsDatabase *entry;

	Assert(!OidIsValid(vacated));
	if (!registered)
	{
		before_shmem_exit(release_at_exit, (Datum) 0);
		registered = true;
	}

	cs_workers_lock();
	entry = cs_database_find(database);
	if (entry != NULL)
	{
		vacated = database;
		entry->bars++;
		entry->bar_proc = CS_MY_PROC_NUMBER;
		entry->leave = true;
		(void) cs_refreshers_end(entry);
		cs_database_wake(entry);
	}
	cs_workers_unlock();
	if (entry == NULL)
		return;

	for (;;)
	{
		int64		left = until - cs_monotonic_us();
		bool		served;

		LWLockAcquire(cs_shared_lock(CS_LOCK_WORKERS), LW_SHARED);
		entry = cs_database_find(database);
		served = entry != NULL &&
			(entry->serving == CS_SERVING_ATTACHED || cs_refreshers_end(entry));
		cs_workers_unlock();
		if (!served || left <= 0)
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (long) (left / 1000) + 1,
						 CS_WAIT_EVENT(wait_event, "CupsourceWorkerExit"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Does nothing if this process has barred none. */
void
cs_database_release(bool gone)
{
	CsDatabase *entry;

	if (!OidIsValid(vacated))
		return;
	cs_workers_lock();
	entry = cs_database_find(vacated);
	if (entry != NULL && gone)
		cs_database_forget(entry);
	else if (entry != NULL)
	{
		if (entry->bar_proc == CS_MY_PROC_NUMBER)
			entry->bar_proc = -1;
		if (--entry->bars == 0)
		{
			entry->leave = false;
			cs_process_wake(cs_workers->launcher.proc);
		}
	}
	vacated = InvalidOid;
	cs_workers_unlock();
}
