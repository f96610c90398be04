/*
 * launcher.c
 *	  The process that starts a worker in each database that has work.
 *
 * There is one in the cluster, from the end of recovery on: none on a standby,
 * and at promotion it begins.  It has no database connection, so it is in
 * nobody's way.  What it knows of databases stands in shared memory
 * (src/shared/launch.c decides); after a start it does not know any, and has
 * another process, which lives for a moment and connects to no database
 * either, read pg_database.
 *
 * It ends with status 1, also when it is terminated: the postmaster starts it
 * again a second later.  Workers that run meanwhile go on.
 *
 * README.md tells the states and who changes them.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procsignal.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "src/base/compat.h"
#include "src/shared/launch.h"
#include "src/worker/launcher.h"

#define LIBRARY "cupsource"
#define RESTART_S 1

/* Of a database that PostgreSQL could not drop entirely. */
#define CONNECTION_LIMIT_INVALID (-2)

/* A process that was registered and has not ended so far; the latest first. */
typedef struct Start
{
	Oid			database;		/* InvalidOid: it is discovery */
	BackgroundWorkerHandle *handle;
	struct Start *next;
} Start;

static Start *starts = NULL;

void
cs_launcher_init(void)
{
	BackgroundWorker worker = {0};

	/* pg_upgrade starts the server to look at it and to load it, not to send orders. */
	if (IsBinaryUpgrade)
		return;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_S;
	strlcpy(worker.bgw_library_name, LIBRARY, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "cs_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "cupsource launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "cupsource launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/*
 * Registers a process that connects to a database, or with InvalidOid the one
 * that reads pg_database.  False if the server has no room for it.
 */
static bool
start_process(Oid database)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	Start	   *start;
	bool		discovery = !OidIsValid(database);

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, LIBRARY, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, discovery ? "cs_discovery_main" : "cs_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, discovery ? "cupsource discovery" : "cupsource worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, worker.bgw_name, BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;

	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		return false;
	start = palloc_object(Start);
	start->database = database;
	start->handle = handle;
	start->next = starts;
	starts = start;
	return true;
}

/* Says it once until a process could be started again. */
static void
tell_no_slot(bool free)
{
	static bool told = false;

	if (!free && !told)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no free background worker slot for a cupsource worker"),
				 errdetail("Orders wait until there is one."),
				 errhint("Raise \"%s\" and restart the server.", "max_worker_processes")));
	told = !free;
}

/* Starts it, or notes that there is no room. */
static void
start_or_wait(Oid database)
{
	bool		started = start_process(database);

	if (started)
		cs_launcher_registered();
	else
	{
		cs_launcher_no_slot(database);
		if (!OidIsValid(database))
			cs_discovery_ended();
	}
	tell_no_slot(started);
}

/* Of several starts for a database only the latest can be the one it waits for. */
static bool
is_latest(const Start *start)
{
	const Start *other;

	for (other = starts; other != start; other = other->next)
	{
		if (other->database == start->database)
			return false;
	}
	return true;
}

/* Processes that have ended: some came to nothing, all leave room. */
static void
review_starts(void)
{
	Start	  **link = &starts;

	while (*link != NULL)
	{
		Start	   *start = *link;
		pid_t		pid;

		if (GetBackgroundWorkerPid(start->handle, &pid) != BGWH_STOPPED)
		{
			link = &start->next;
			continue;
		}
		if (!OidIsValid(start->database))
			cs_discovery_ended();
		else if (is_latest(start))
			cs_launcher_failed(start->database);
		cs_launcher_room();
		*link = start->next;
		pfree(start->handle);
		pfree(start);
	}
}

void
cs_launcher_main(Datum arg)
{
	static uint32 wait_event = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	/* How the postmaster says that a process we registered has ended. */
	pqsignal(SIGUSR1, procsignal_sigusr1_handler);
	BackgroundWorkerUnblockSignals();

	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "cupsource launcher",
												ALLOCSET_DEFAULT_SIZES));
	cs_launcher_attach();

	for (;;)
	{
		long		timeout_ms;
		Oid			database;

		if (ShutdownRequestPending)
			proc_exit(1);
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		review_starts();
		if (cs_discovery_begin())
			start_or_wait(InvalidOid);
		/* Without room there is no next one either, for a while. */
		while (OidIsValid(database = cs_launcher_next(&timeout_ms)))
			start_or_wait(database);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms,
						 CS_WAIT_EVENT(wait_event, "CupsourceLauncher"));
		ResetLatch(MyLatch);
	}
}

/*
 * The databases that can be connected to, sorted.  Templates are left out: a
 * worker there would be in the way of CREATE DATABASE.
 */
static List *
read_databases(void)
{
	MemoryContext cxt = CurrentMemoryContext;
	List	   *databases = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		if (!form->datallowconn || form->datistemplate ||
			form->datconnlimit == CONNECTION_LIMIT_INVALID)
			continue;
		old = MemoryContextSwitchTo(cxt);
		databases = lappend_oid(databases, form->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();

	list_sort(databases, list_oid_cmp);
	return databases;
}

/* Enters the next databases; with status 0 it does not come again by itself. */
void
cs_discovery_main(Datum arg)
{
	Oid			last = cs_discovery_resume();
	MemoryContext cxt;
	ListCell   *lc;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);

	cxt = AllocSetContextCreate(TopMemoryContext, "cupsource discovery", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(cxt);
	foreach(lc, read_databases())
	{
		if (lfirst_oid(lc) > last && !cs_discovery_found(lfirst_oid(lc)))
			proc_exit(0);
	}
	cs_discovery_complete();
	proc_exit(0);
}
