/*
 * refreshers.c
 *	  The processes that refresh catalogues by schedule: how many a database
 *	  may have, and ending them.
 *
 * A refresh can be ended at any time and goes on later where it stopped; so
 * whoever needs its place, its database or its server has it terminated: an
 * order's worker that finds no free process, DROP DATABASE, ALTER SERVER
 * ... RENAME.  A process stands here from before it connects until it has
 * given back its locks (before_shmem_exit callbacks run last in, first out),
 * so its number is that of a living process as long as the lock is held.
 *
 * Locks: CS_LOCK_WORKERS.
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "storage/ipc.h"

#include "src/base/guc.h"
#include "src/shared/layout.h"
#include "src/shared/refreshers.h"

static Oid	attached_to = InvalidOid;

/* The lock is held. */
static void
tell_schedule(CsDatabase *entry)
{
	entry->schedule = true;
	entry->work = true;
	cs_database_wake(entry);
}

static void
refresher_exit(int code, Datum arg)
{
	CsDatabase *entry;

	cs_workers_lock();
	entry = cs_database_find(attached_to);
	for (int i = 0; entry != NULL && i < CS_REFRESHERS_MAX; i++)
	{
		if (entry->refreshers[i].pid != MyProcPid)
			continue;
		entry->refreshers[i].pid = 0;
		cs_process_wake(entry->bar_proc);
		if (entry->bars == 0)
			tell_schedule(entry);
	}
	cs_workers_unlock();
}

/* Where the process could stand; NULL: nowhere. */
static CsRefresher *
free_place(CsDatabase *entry, Oid serverid)
{
	CsRefresher *place = NULL;
	int			attached = 0;

	for (int i = 0; i < CS_REFRESHERS_MAX; i++)
	{
		CsRefresher *refresher = &entry->refreshers[i];

		if (refresher->pid == 0)
			place = refresher;
		else if (refresher->serverid == serverid)
			return NULL;
		else
			attached++;
	}
	return attached < cs_guc_refresh_workers ? place : NULL;
}

bool
cs_refresher_attach(Oid database, Oid serverid)
{
	CsDatabase *entry;
	CsRefresher *place = NULL;

	before_shmem_exit(refresher_exit, (Datum) 0);

	cs_workers_lock();
	entry = cs_database_find(database);
	if (entry != NULL && entry->bars == 0)
		place = free_place(entry, serverid);
	if (place != NULL)
	{
		place->pid = MyProcPid;
		place->serverid = serverid;
		attached_to = database;
	}
	cs_workers_unlock();
	return place != NULL;
}

int
cs_refreshers_room(void)
{
	CsDatabase *entry;
	int			room = 0;

	cs_workers_lock();
	entry = cs_database_find(MyDatabaseId);
	if (entry != NULL && entry->bars == 0 && !cs_workers->launcher.no_slot)
	{
		room = cs_guc_refresh_workers;
		for (int i = 0; i < CS_REFRESHERS_MAX; i++)
			room -= entry->refreshers[i].pid != 0;
	}
	cs_workers_unlock();
	return Max(room, 0);
}

bool
cs_worker_take_schedule(void)
{
	CsDatabase *entry;
	bool		changed = false;

	cs_workers_lock();
	entry = cs_database_find(MyDatabaseId);
	if (entry != NULL)
	{
		changed = entry->schedule;
		entry->schedule = false;
	}
	cs_workers_unlock();
	return changed;
}

void
cs_schedule_changed(void)
{
	CsDatabase *entry;

	cs_workers_lock();
	entry = cs_database_find(MyDatabaseId);
	if (entry != NULL)
		tell_schedule(entry);
	cs_workers_unlock();
}

bool
cs_refresher_end(Oid serverid)
{
	CsDatabase *entry;
	bool		found = false;

	cs_workers_lock();
	entry = cs_database_find(MyDatabaseId);
	for (int i = 0; entry != NULL && i < CS_REFRESHERS_MAX; i++)
	{
		const CsRefresher *refresher = &entry->refreshers[i];

		if (refresher->pid != 0 && refresher->serverid == serverid)
			found |= kill(refresher->pid, SIGTERM) == 0;
	}
	cs_workers_unlock();
	return found;
}

bool
cs_refreshers_end(CsDatabase *entry)
{
	bool		found = false;

	for (int i = 0; i < CS_REFRESHERS_MAX; i++)
	{
		if (entry->refreshers[i].pid != 0)
			found |= kill(entry->refreshers[i].pid, SIGTERM) == 0;
	}
	return found;
}

void
cs_refreshers_end_one(void)
{
	for (int i = 0; i < cs_guc_max_databases; i++)
	{
		CsDatabase *entry = &cs_workers->databases[i];

		for (int j = 0; entry->database != InvalidOid && j < CS_REFRESHERS_MAX; j++)
		{
			if (entry->refreshers[j].pid != 0 && kill(entry->refreshers[j].pid, SIGTERM) == 0)
				return;
		}
	}
}
