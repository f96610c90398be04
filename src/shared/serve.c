/*
 * serve.c
 *	  A worker's side: attaching to its database, and leaving it.
 *
 * At most one worker is attached to a database.  It leaves in one of two ways:
 * by cs_worker_try_leave or cs_worker_absent, under the lock, when nothing was
 * announced meanwhile; or by the exit callback, whatever it died of.  Callers
 * whose requests it had taken are told at once in both.
 *
 * Locks: CS_LOCK_WORKERS.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"

#include "src/base/compat.h"
#include "src/base/guc.h"
#include "src/shared/layout.h"
#include "src/shared/serve.h"

/* A worker that lived so long did not die of what its predecessor died of. */
#define STEADY_US INT64CONST(10000000)

static CsDatabase *own_entry = NULL;

/* The lock is held. */
static void
detach(void)
{
	CsDatabase *entry = own_entry;

	own_entry = NULL;
	entry->serving = CS_SERVING_NONE;
	entry->pid = 0;
	entry->proc = -1;
	entry->in_flight = 0;
	entry->probing = false;
	entry->rests_until = 0;
	entry->activity[0] = '\0';
	cs_process_wake(entry->bar_proc);
	cs_process_wake(cs_workers->launcher.proc);
}

/* It has not left, so it has failed, or was terminated, or the server shuts down. */
static void
worker_exit(int code, Datum arg)
{
	CsDatabase *entry;

	cs_workers_lock();
	entry = own_entry;
	if (entry != NULL)
	{
		cs_handoff_lose(entry->database);
		if (cs_monotonic_us() - entry->since > STEADY_US)
			entry->failures_in_a_row = 0;
		detach();
		if (entry->bars > 0)
			entry->work = true;
		else
			cs_database_failed(entry);
	}
	cs_workers_unlock();
}

bool
cs_worker_attach(Oid database)
{
	CsDatabase *entry;

	before_shmem_exit(worker_exit, (Datum) 0);

	cs_workers_lock();
	entry = cs_database_find(database);
	if (entry != NULL && entry->bars == 0 && entry->serving != CS_SERVING_ATTACHED)
	{
		entry->serving = CS_SERVING_ATTACHED;
		entry->pid = MyProcPid;
		entry->proc = CS_MY_PROC_NUMBER;
		entry->since = cs_monotonic_us();
		entry->started_at = GetCurrentTimestamp();
		entry->due_at = 0;
		entry->leave = false;
		entry->in_flight = 0;
		entry->orders_sent = 0;
		entry->failures = 0;
		own_entry = entry;
	}
	cs_workers_unlock();
	return own_entry != NULL;
}

bool
cs_worker_take_wakeup(void)
{
	bool		work;

	cs_workers_lock();
	work = own_entry->work && cs_monotonic_us() >= own_entry->rests_until;
	if (work)
	{
		own_entry->work = false;
		own_entry->probing = false;
	}
	cs_workers_unlock();
	return work;
}

void
cs_worker_rest(int ms)
{
	cs_workers_lock();
	own_entry->rests_until = cs_monotonic_us() + ms * INT64CONST(1000);
	cs_workers_unlock();
}

int
cs_worker_rests_ms(void)
{
	int64		left_us;

	cs_workers_lock();
	left_us = own_entry->rests_until - cs_monotonic_us();
	cs_workers_unlock();
	return left_us > 0 ? (int) ((left_us + 999) / 1000) : 0;
}

CsClockChange
cs_worker_take_clock(void)
{
	CsClockChange change;

	cs_workers_lock();
	change = own_entry->clock;
	own_entry->clock = CS_CLOCK_STEADY;
	if (cs_clock_step(cs_monotonic_us(), GetCurrentTimestamp()) != 0)
		cs_process_wake(cs_workers->launcher.proc);
	cs_workers_unlock();
	return change;
}

void
cs_worker_keep_clock(CsClockChange change)
{
	cs_workers_lock();
	if (own_entry->clock != CS_CLOCK_SET_BACK)
		own_entry->clock = change;
	cs_workers_unlock();
}

bool
cs_worker_asked_to_leave(void)
{
	bool		leave;

	cs_workers_lock();
	leave = own_entry->leave;
	cs_workers_unlock();
	return leave;
}

/*
 * Who was started only to look, and found nothing, makes room for the next;
 * so does everybody while the server has no room for a process more.
 */
bool
cs_worker_lingers(void)
{
	bool		lingers;

	cs_workers_lock();
	lingers = !own_entry->probing && !own_entry->leave && !cs_workers->launcher.no_slot;
	cs_workers_unlock();
	return lingers;
}

void
cs_worker_sleep_until(TimestampTz due)
{
	cs_workers_lock();
	own_entry->due_at = due;
	cs_workers_unlock();
}

bool
cs_worker_try_leave(void)
{
	bool		left;

	cs_workers_lock();
	left = own_entry->leave || (!own_entry->work && own_entry->announced == 0);
	if (left)
	{
		CsDatabase *entry = own_entry;

		cs_handoff_lose(entry->database);
		entry->work |= entry->leave;	/* it left in the middle */
		entry->failures_in_a_row = 0;
		detach();
	}
	cs_workers_unlock();
	return left;
}

bool
cs_worker_absent(void)
{
	bool		left;

	cs_workers_lock();
	left = own_entry->leave || !own_entry->work;
	if (left)
	{
		CsDatabase *entry = own_entry;

		cs_handoff_lose(entry->database);
		entry->due_at = 0;
		detach();
		if (entry->announced > 0)
			cs_database_failed(entry);
		else if (entry->bars == 0)
			cs_database_forget(entry);
	}
	cs_workers_unlock();
	return left;
}

void
cs_worker_report(int in_flight, int64 orders_sent, int64 failures, const char *activity)
{
	TimestampTz now = in_flight > 0 ? GetCurrentTimestamp() : 0;

	cs_workers_lock();
	if (in_flight > 0 && own_entry->in_flight == 0)
	{
		own_entry->drain_since = now;
		own_entry->drain_base = own_entry->orders_sent;
	}
	own_entry->in_flight = in_flight;
	own_entry->orders_sent = orders_sent;
	own_entry->failures = failures;
	strlcpy(own_entry->activity, activity, sizeof(own_entry->activity));
	cs_workers_unlock();
}

CsWorkerInfo *
cs_worker_infos(int *ninfos)
{
	CsWorkerInfo *infos = palloc0_array(CsWorkerInfo, cs_guc_max_databases + 1);
	int			n = 0;
	int			i;

	LWLockAcquire(cs_shared_lock(CS_LOCK_WORKERS), LW_SHARED);
	infos[n].pid = cs_workers->launcher.pid;
	infos[n].started_at = cs_workers->launcher.started_at;
	strlcpy(infos[n].activity,
			cs_workers->launcher.no_slot ? "waiting for a worker process" : "", sizeof(infos[n].activity));
	n++;
	for (i = 0; i < cs_guc_max_databases; i++)
	{
		CsDatabase *entry = &cs_workers->databases[i];

		if (entry->database == InvalidOid)
			continue;
		infos[n].database = entry->database;
		infos[n].pid = entry->pid;
		infos[n].started_at = entry->started_at;
		infos[n].due_at = entry->due_at;
		infos[n].in_flight = entry->in_flight;
		infos[n].orders_sent = entry->orders_sent;
		infos[n].failures = entry->failures;
		if (entry->in_flight > 0)
		{
			infos[n].drain_since = entry->drain_since;
			infos[n].drain_sent = entry->orders_sent - entry->drain_base;
		}
		strlcpy(infos[n].activity, entry->activity, sizeof(infos[n].activity));
		n++;
	}
	cs_workers_unlock();

	*ninfos = n;
	return infos;
}
