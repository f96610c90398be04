/*
 * run.c
 *	  A running refresh: its counters, its checkpoints, its transactions, and
 *	  what it tells meanwhile.
 */
#include "postgres.h"

#include "access/gin.h"
#include "access/xact.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "src/catalog/run.h"
#include "src/shared/changes.h"

#define NOTICE_INTERVAL_MS 5000
#define CHECKPOINT_INTERVAL_MS 1000
#define BATCH_MS 100			/* longest time between commits, but for a page's own */
#define BATCH_NOTES 1000		/* digests that are stored together */

/*
 * New words wait in a list before they are sorted into their index.  It is
 * shorter here than PostgreSQL's 4 MB: then the sorting stays in the processor's
 * caches, and the searches, which walk through the list, are quicker, too.
 */
#define PENDING_LIST_LIMIT_KB 512

static CsStatement begin_statement = {
	.sql = "SELECT b.resumed, b.sound, b.empty, (b.begun).* FROM cs_internal.refresh_begin($1, $2, $3) AS b",
	.nargs = 3,
	.argtypes = {TEXTOID, BOOLOID, INT8OID},
};

static CsStatement checkpoint_statement = {
	.sql = "SELECT FROM cs_internal.refresh_checkpoint($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
	.nargs = 13,
	.argtypes = {TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID,
	INT8OID, INT8OID, INT8OID, INT8OID},
};

static CsStatement complete_statement = {
	.sql = "SELECT FROM cs_internal.refresh_complete($1, $2, $3)",
	.nargs = 3,
	.argtypes = {TEXTOID, INT8OID, BOOLOID},
};

static CsStatement note_statement = {
	.sql = "SELECT FROM cs_internal.note_pages($1, $2, $3)",
	.nargs = 3,
	.argtypes = {TEXTOID, INT8ARRAYOID, INT8ARRAYOID},
};

static CsStatement digests_statement = {
	.sql = "SELECT d.page, d.digest FROM cs_internal.page_digests($1) AS d",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static int64
milliseconds_since(instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	return (int64) INSTR_TIME_GET_MICROSEC(now) / 1000;
}

/* ---- The account ---- */

/*
 * Options have changed, perhaps of another server.  A run reads the account
 * that it began with and no other: it ends if that has become one, if its
 * server is gone, or if the user may not use it any more.
 */
static void
check_account(CsRun *run)
{
	const CsAccount *before = run->account;

	if (run->watched->valid)
		return;
	if (GetForeignServerExtended(before->serverid, FSV_MISSING_OK) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" was dropped while its catalogue was refreshed",
						before->server)));
	run->watched = cs_account_get(run->cxt, before->serverid, before->userid);
	if (run->watched->identity != before->identity ||
		strcmp(run->watched->server, before->server) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("server \"%s\" was given another account while its catalogue was refreshed",
						before->server),
				 errhint("The next refresh reads the new one.")));
}

/*
 * Until the batch ends nobody drops the server whose rows it writes: one that
 * gets its name has none of them.
 */
static void
hold_server(CsRun *run)
{
	LockDatabaseObject(ForeignServerRelationId, run->account->serverid, 0, AccessShareLock);
	check_account(run);
}

/* ---- Scopes and results ---- */

void
cs_run_enter(CsRun *run)
{
	run->scope_cxt = CurrentMemoryContext;
	if (run->commit && !run->in_subtransaction)
	{
		hold_server(run);
		run->outer_owner = CurrentResourceOwner;
		BeginInternalSubTransaction(NULL);
		run->in_subtransaction = true;
	}
	/* A process without a portal has none, and holds none while it waits. */
	run->own_snapshot = !ActiveSnapshotSet();
	if (run->own_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	cs_state_enter(&run->scope);
	run->guc_level = NewGUCNestLevel();
	if (gin_pending_list_limit > PENDING_LIST_LIMIT_KB)
		(void) set_config_option("gin_pending_list_limit",
								 CppAsString2(PENDING_LIST_LIMIT_KB) "kB", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
cs_run_leave(CsRun *run)
{
	AtEOXact_GUC(true, run->guc_level);
	cs_state_leave(&run->scope);
	if (run->own_snapshot)
		PopActiveSnapshot();
	MemoryContextSwitchTo(run->scope_cxt);
}

int64
cs_run_result(const char *column)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	int			number = SPI_fnumber(tupdesc, column);
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[0], tupdesc, number, &isnull);

	if (isnull)
		return 0;
	return SPI_gettypeid(tupdesc, number) == BOOLOID ? (int64) DatumGetBool(value) :
		DatumGetInt64(value);
}

char *
cs_run_result_text(CsRun *run, const char *column)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	char	   *value = SPI_getvalue(SPI_tuptable->vals[0], tupdesc, SPI_fnumber(tupdesc, column));

	return value ? MemoryContextStrdup(run->cxt, value) : NULL;
}

/* ---- Begin ---- */

/* In a scope. */
static void
load_digests(CsRun *run)
{
	uint64		n = cs_state_run(&digests_statement, &run->server, NULL);
	bool		isnull;

	run->digests = MemoryContextAllocExtended(run->cxt, Max(n, 1) * sizeof(int64),
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	run->ndigests = (int64) n;
	for (uint64 i = 0; i < n; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		int64		page = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));

		if (page >= 1 && page <= run->ndigests)
			run->digests[page - 1] =
				DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
	}
}

CsRun *
cs_run_begin(CsAccount *account, bool entire, void (*commit) (void))
{
	CsRun	   *run = palloc0(sizeof(CsRun));
	Datum		values[3];
	char	   *phase;

	run->cxt = CurrentMemoryContext;
	run->page_cxt = AllocSetContextCreate(run->cxt, "cupsource refresh page", ALLOCSET_DEFAULT_SIZES);
	run->account = run->watched = account;
	run->server = CStringGetTextDatum(account->server);
	run->commit = commit;
	run->total = -1;
	run->noted_pages = palloc(BATCH_NOTES * sizeof(Datum));
	run->noted_digests = palloc(BATCH_NOTES * sizeof(Datum));
	run->total_constant = true;
	INSTR_TIME_SET_CURRENT(run->began);
	run->noticed = run->stored = run->committed = run->began;
	cs_run_reckon_anew(run);

	values[0] = run->server;
	values[1] = BoolGetDatum(entire);
	values[2] = Int64GetDatum(account->identity);
	cs_run_enter(run);
	cs_state_run(&begin_statement, values, NULL);
	run->number = cs_run_result("run");
	run->resumed = cs_run_result("resumed") != 0;
	run->entire = cs_run_result("entire") != 0;
	run->products = cs_run_result("products");
	run->skus = cs_run_result("skus");
	run->ring_position = cs_run_result_text(run, "ring_position");
	run->ring_left = cs_run_result("ring_left");
	if (run->resumed)
	{
		phase = cs_run_result_text(run, "phase");
		run->in_details = strcmp(phase, "details") == 0;
		run->position = cs_run_result_text(run, "position");
		run->pages = cs_run_result("pages_done");
		run->rows = cs_run_result("rows_done");
		if (cs_run_result_text(run, "rows_total"))
			run->total = cs_run_result("rows_total");
		run->added = cs_run_result("rows_new");
		run->changed = cs_run_result("rows_changed");
		run->discontinued = cs_run_result("rows_discontinued");
		run->waited_before_ms = cs_run_result("waited_ms");
		run->list_page = run->pages;
		cs_run_reckon_anew(run);
	}
	run->sound = cs_run_result("sound") != 0;
	run->empty = cs_run_result("empty") != 0;
	load_digests(run);
	cs_run_leave(run);
	if (run->resumed)
		ereport(NOTICE,
				(errmsg("the refresh of the catalogue of \"%s\" goes on after " INT64_FORMAT " rows",
						account->server, run->rows)));
	cs_run_commit(run);
	return run;
}

/* ---- Checkpoints and transactions ---- */

/* In a scope. */
static void
store_notes(CsRun *run)
{
	Datum		values[3] = {run->server};

	if (run->nnoted == 0)
		return;
	values[1] = PointerGetDatum(construct_array(run->noted_pages, run->nnoted, INT8OID,
												sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[2] = PointerGetDatum(construct_array(run->noted_digests, run->nnoted, INT8OID,
												sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	cs_state_run(&note_statement, values, NULL);
	run->nnoted = 0;
}

bool
cs_run_note_page(CsRun *run, int64 page, int64 digest)
{
	if (page <= run->ndigests && run->digests[page - 1] == digest)
		return true;
	if (run->nnoted == BATCH_NOTES)
	{
		cs_run_enter(run);
		store_notes(run);
		cs_run_leave(run);
	}
	run->noted_pages[run->nnoted] = Int64GetDatum(page);
	run->noted_digests[run->nnoted++] = Int64GetDatum(digest);
	run->wrote = true;
	return false;
}

/* In a scope. */
static void
store_checkpoint(CsRun *run)
{
	Datum		values[13] = {
		run->server,
		run->position ? CStringGetTextDatum(run->position) : (Datum) 0,
		Int64GetDatum(run->pages),
		Int64GetDatum(run->rows),
		Int64GetDatum(run->total),
		Int64GetDatum(run->added),
		Int64GetDatum(run->changed),
		Int64GetDatum(run->discontinued),
		CStringGetTextDatum(run->ring_position),
		Int64GetDatum(run->ring_left),
		Int64GetDatum(run->products),
		Int64GetDatum(run->skus),
		Int64GetDatum(run->waited_before_ms + (int64) run->cost.limiter_ms),
	};
	char		nulls[] = "             ";

	store_notes(run);
	nulls[1] = run->position ? ' ' : 'n';
	nulls[4] = run->total >= 0 ? ' ' : 'n';
	cs_state_run(&checkpoint_statement, values, nulls);
	INSTR_TIME_SET_CURRENT(run->stored);
}

void
cs_run_reckon_anew(CsRun *run)
{
	INSTR_TIME_SET_CURRENT(run->since);
	run->rows_since = run->rows;
}

/* What is left, as people say it. */
static char *
duration_text(int64 s)
{
	if (s < 60)
		return psprintf(INT64_FORMAT " s", s);
	if (s < 3600)
		return psprintf(INT64_FORMAT " min %d s", s / 60, (int) (s % 60));
	return psprintf(INT64_FORMAT " h %d min", s / 3600, (int) (s / 60 % 60));
}

/* The rate is that of this session and phase: a resumed run knows nothing of earlier ones. */
static void
tell_progress(CsRun *run)
{
	int64		elapsed = Max(milliseconds_since(run->since), 1);
	double		rate = (double) (run->rows - run->rows_since) * 1000 / (double) elapsed;
	StringInfoData more;

	initStringInfo(&more);
	if (run->total >= run->rows && rate > 0)
		appendStringInfo(&more, ", %s left",
						 duration_text((int64) ((double) (run->total - run->rows) / rate) + 1));
	if (run->cost.limiter_ms >= 1000)
		appendStringInfo(&more, ", waited %s for the account's budget",
						 duration_text((int64) run->cost.limiter_ms / 1000));
	if (run->total >= 0)
		ereport(NOTICE,
				(errmsg("refreshing the catalogue of \"%s\": " INT64_FORMAT " of " INT64_FORMAT
						" rows, " INT64_FORMAT " pages, %.1f rows/s%s",
						run->account->server, run->rows, run->total, run->pages, rate, more.data)));
	else
		ereport(NOTICE,
				(errmsg("refreshing the catalogue of \"%s\": " INT64_FORMAT " rows, "
						INT64_FORMAT " pages, %.1f rows/s%s",
						run->account->server, run->rows, run->pages, rate, more.data)));
	pfree(more.data);
	INSTR_TIME_SET_CURRENT(run->noticed);
}

/* Ends the batch's subtransaction and its transaction. */
static void
end_batch(CsRun *run, bool wait_for_disk)
{
	MemoryContext old = CurrentMemoryContext;

	if (run->in_subtransaction)
	{
		ReleaseCurrentSubTransaction();
		CurrentResourceOwner = run->outer_owner;
		run->in_subtransaction = false;
	}

	/*
	 * What a crash could take away is read again, so these commits need not
	 * wait for the disk; the one that completes the run does, and takes them
	 * along.
	 */
	if (!wait_for_disk && TransactionIdIsValid(GetTopTransactionIdIfAny()) &&
		synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_LOCAL, true, 0, false);
	run->commit();
	MemoryContextSwitchTo(old);
	if (run->wrote)
		cs_catalog_changed();
	run->wrote = false;
	INSTR_TIME_SET_CURRENT(run->committed);
}

void
cs_run_commit(CsRun *run)
{
	if (run->commit)
	{
		if (run->wrote || milliseconds_since(run->stored) >= CHECKPOINT_INTERVAL_MS)
		{
			cs_run_enter(run);
			store_checkpoint(run);
			cs_run_leave(run);
		}
		end_batch(run, false);
		check_account(run);
	}
	else if (run->wrote)
		cs_catalog_changed();	/* as far as this session is concerned */
	if (milliseconds_since(run->noticed) >= NOTICE_INTERVAL_MS)
		tell_progress(run);
}

void
cs_run_commit_before_waiting(CsRun *run, CsPager *pager)
{
	if (milliseconds_since(run->committed) >= BATCH_MS || !cs_pager_ready(pager))
		cs_run_commit(run);
}

void
cs_run_complete(CsRun *run)
{
	Datum		values[3] = {
		run->server,
		Int64GetDatum(run->list_page),
		BoolGetDatum(!run->resumed && run->list_rows == run->products),
	};
	int64		elapsed;

	cs_run_enter(run);
	store_checkpoint(run);
	cs_state_run(&complete_statement, values, NULL);
	cs_run_leave(run);
	if (run->commit)
		end_batch(run, true);
	elapsed = milliseconds_since(run->began);
	ereport(NOTICE,
			(errmsg("refreshed the catalogue of \"%s\": " INT64_FORMAT " pages, " INT64_FORMAT " rows, "
					INT64_FORMAT " new, " INT64_FORMAT " changed, " INT64_FORMAT " discontinued, "
					INT64_FORMAT ".%03d s",
					run->account->server, run->pages, run->rows, run->added, run->changed,
					run->discontinued, elapsed / 1000, (int) (elapsed % 1000))));
}
