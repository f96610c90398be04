/*
 * refresher.c
 *	  The process that refreshes one catalogue by schedule, and then ends.
 *
 * It is none of the worker's, so that no order ever waits for a page to be
 * stored; the account's budget gives orders their turn before it
 * (src/shared/budget.h).  It can be terminated at any time (src/shared/
 * refreshers.c says by whom) and another one goes on where it stopped.
 *
 * Whether it succeeded stands in cs_internal.catalog_runs, which is where the
 * schedule looks; so it always ends for good.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/backend_status.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "src/base/state.h"
#include "src/catalog/products.h"
#include "src/shared/refreshers.h"
#include "src/worker/refresher.h"

#define ACTIVITY "cupsource: refreshing a catalogue"

/* What it is started for; travels in bgw_extra. */
typedef struct Job
{
	Oid			database;
	Oid			serverid;
	Oid			userid;
} Job;

StaticAssertDecl(sizeof(Job) <= BGW_EXTRALEN, "a job fits into bgw_extra");

bool
cs_refresher_start(Oid serverid, Oid userid)
{
	BackgroundWorker worker = {0};
	Job			job = {MyDatabaseId, serverid, userid};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "cupsource", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "cs_refresher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "cupsource refresh", BGW_MAXLEN);
	strlcpy(worker.bgw_type, worker.bgw_name, BGW_MAXLEN);
	memcpy(worker.bgw_extra, &job, sizeof(job));
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

static void
begin(void)
{
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	pgstat_report_activity(STATE_RUNNING, ACTIVITY);
}

/* The refresh's way to end a transaction and to begin the next one. */
static void
commit(void)
{
	if (ActiveSnapshotSet())
		PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	begin();
}

/*
 * The run threw.  It is recorded, and said in the log; but it is no failure
 * that a user refreshes the account, or that the extension has gone.
 */
static void
record_failure(const Job *job, MemoryContext cxt)
{
	ErrorData  *error;

	MemoryContextSwitchTo(cxt);
	error = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return;

	begin();
	if (cs_extension_present())
	{
		error->elevel = LOG;
		error->context = "refresh of a catalogue by schedule";
		ThrowErrorData(error);
		PushActiveSnapshot(GetTransactionSnapshot());
		cs_catalog_refresh_failed(job->serverid, error);
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
}

static void
refresh(const Job *job)
{
	MemoryContext cxt = AllocSetContextCreate(TopMemoryContext, "cupsource refresher",
											  ALLOCSET_DEFAULT_SIZES);

	begin();
	if (!cs_extension_present())
	{
		CommitTransactionCommand();
		return;
	}
	MemoryContextSwitchTo(cxt);
	PushActiveSnapshot(GetTransactionSnapshot());
	PG_TRY();
	{
		cs_catalog_refresh(job->serverid, job->userid, false, commit);
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		record_failure(job, cxt);
	}
	PG_END_TRY();
}

void
cs_refresher_main(Datum arg)
{
	Job			job;

	memcpy(&job, MyBgworkerEntry->bgw_extra, sizeof(job));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	if (!cs_refresher_attach(job.database, job.serverid))
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(job.database, InvalidOid, 0);

	/* What a database's settings mean for its users is not meant for this. */
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("jit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	pgstat_report_appname("cupsource refresh");

	refresh(&job);
	pgstat_report_stat(true);
	proc_exit(0);
}
