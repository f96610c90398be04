/*
 * refresh.c
 *	  CALL cs_refresh_catalog(): a partner's whole catalogue into the cache.
 *
 * Page by page: while a page is stored and committed, the next one is on the
 * wire; memory is that of two pages, and between pages no lock on a table, no
 * snapshot and no transaction id is held.  Inside a transaction block, where
 * a procedure cannot commit, all of it is one transaction.
 *
 * Locks: one session refreshes an account at a time, by an advisory lock of
 * our own class on the server's OID.  It belongs to the session (to the
 * transaction, inside a block), so it goes with it, however it ends.
 *
 * A run that is interrupted leaves its checkpoint; the next one goes on there
 * and then looks at the pages before it only if something seems to have
 * vanished: whether a row is absent can be said only of a whole list.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "src/base/compat.h"
#include "src/catalog/load.h"
#include "src/catalog/products.h"
#include "src/catalog/rowset.h"
#include "src/catalog/run.h"
#include "src/client/server.h"
#include "src/shared/refreshers.h"

/* The class of our advisory locks (objsubid in pg_locks; cs_catalog_status looks there). */
#define REFRESH_LOCK_CLASS 417

PG_FUNCTION_INFO_V1(cs_sql_refresh_catalog);

static CsStatement products_statement = {
	.sql = "SELECT m.added, m.changed, m.revived FROM cs_internal.merge_products($1, $2) AS m",
	.nargs = 2,
	.argtypes = {TEXTOID, InvalidOid},
};

static CsStatement models_statement = {
	.sql = "SELECT m.added, m.changed, m.revived FROM cs_internal.merge_models($1, $2) AS m",
	.nargs = 2,
	.argtypes = {TEXTOID, InvalidOid},
};

static CsStatement failed_statement = {
	.sql = "SELECT FROM cs_internal.refresh_failed($1, $2, $3)",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, BOOLOID},
};

/* ---- The lock ---- */

static void
set_lock_tag(LOCKTAG *tag, Oid serverid)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, ForeignServerRelationId, serverid, REFRESH_LOCK_CLASS);
}

/* Before anything is read of the server: from then on it keeps its name. */
static void
take_lock(Oid serverid, bool of_session)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, serverid);
	if (LockAcquire(&tag, ExclusiveLock, of_session, true) == LOCKACQUIRE_NOT_AVAIL)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the catalogue of server \"%s\" is being refreshed by another session",
						GetForeignServer(serverid)->servername),
				 errhint("Its progress is in cs_progress.")));
	AcceptInvalidationMessages();
}

void
cs_catalog_bar(Oid serverid, const char *server)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, serverid);
	if (LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL)
		return;

	/* A scheduled one goes on later; a user's is not interrupted. */
	if (!cs_refresher_end(serverid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the catalogue of server \"%s\" is being refreshed", server),
				 errhint("Cancel the refresh first; its process is in cs_progress.")));
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* Whether this session had it. */
static bool
give_back_lock(Oid serverid)
{
	LOCKTAG		tag;

	set_lock_tag(&tag, serverid);
	return CS_LOCK_HELD(&tag, ExclusiveLock) && LockRelease(&tag, ExclusiveLock, true);
}

/* ---- The list ---- */

/* The list being read: products, or models. */
typedef struct Walk
{
	CsRun	   *run;
	const CsResource *resource;
	bool		models;
	CsRowset   *rowset;
	bool		again;			/* for what its rows are, not as progress */
} Walk;

/* The page as it is counted; true if certainly none of its rows was seen before. */
static bool
count_page(const Walk *walk, const CsPage *page)
{
	CsRun	   *run = walk->run;
	int			length = cs_rowset_length(walk->rowset);
	bool		fresh = true;

	if (run->total >= 0 && page->total != run->total)
		run->total_constant = false;
	run->total = page->total;
	run->pages++;
	if (!walk->again)
	{
		run->list_page++;
		run->list_rows += length;
		run->rows += length;
		if (run->position)
			pfree(run->position);
		run->position = page->next ? MemoryContextStrdup(run->cxt, page->next) : NULL;
	}
	for (int i = 0; i < length; i++)
		fresh &= cs_absent_see(run, cs_rowset_key(walk->rowset, i));
	return fresh;
}

/* What storing a page did. */
typedef struct Stored
{
	int64		added;
	int64		changed;
	int64		revived;
} Stored;

/* In a scope: the page's rows against the stored ones. */
static Stored
merge_page(const Walk *walk)
{
	CsStatement *statement = walk->models ? &models_statement : &products_statement;
	Datum		values[2] = {walk->run->server, cs_rowset_array(walk->rowset)};
	Stored		stored;

	cs_rowset_bind_array(walk->rowset, statement, 1);
	cs_state_run(statement, values, NULL);
	stored.added = cs_run_result("added");
	stored.changed = cs_run_result("changed");
	stored.revived = cs_run_result("revived");
	return stored;
}

/* Stores the page that was read; in the page's context. */
static void
store_page(const Walk *walk, const CsPage *page, bool fresh)
{
	CsRun	   *run = walk->run;
	int64		digest = cs_rowset_fingerprint(walk->rowset);
	Stored		stored = {cs_rowset_length(walk->rowset)};

	/* As the last run left it. */
	if (!walk->models &&
		cs_run_note_page(run, walk->again ? page->number : run->list_page, digest) && run->sound)
		return;

	cs_run_enter(run);
	if (walk->models || !run->empty || !fresh || !cs_load_products(walk->rowset, run->server))
		stored = merge_page(walk);
	cs_run_leave(run);

	run->added += stored.added;
	run->changed += stored.changed;
	run->products += stored.added + stored.revived;
	if (!walk->models)
		run->skus += stored.added + stored.revived;
	run->wrote |= stored.added + stored.changed > 0;
}

/*
 * Reads the pages from position 'from' to the end, or up to the one at
 * 'until', those being read again.
 */
static void
walk_list(CsRun *run, const CsResource *resource, const char *from, const char *until)
{
	static const char *const product_key[] = {"product_id", NULL};
	static const char *const model_key[] = {"model_id", NULL};
	MemoryContext walk_cxt = AllocSetContextCreate(run->cxt, "cupsource refresh list",
												   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(walk_cxt);
	bool		models = strcmp(resource->name, "models") == 0;
	Walk		walk = {
		.run = run,
		.resource = resource,
		.models = models,
		.rowset = cs_rowset_begin(resource, models ? "model_row" : "product_row",
								  run->account->server, models ? model_key : product_key),
		.again = until != NULL,
	};
	CsPager    *pager = cs_pager_begin(walk_cxt, run->account, resource, NULL, 0, from, 0,
									   CS_PRIORITY_CATALOG, true);
	const CsCallCost cost = run->cost;
	const CsPage *page;
	bool		fresh;

	while ((page = cs_pager_next(pager)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		if (until && page->position && strcmp(page->position, until) == 0)
			break;
		MemoryContextReset(run->page_cxt);
		MemoryContextSwitchTo(run->page_cxt);
		run->cost = cost;
		run->cost.limiter_ms += cs_pager_cost(pager)->limiter_ms;
		cs_rowset_read(walk.rowset, page->document);
		fresh = count_page(&walk, page);
		cs_pager_release(pager);
		store_page(&walk, page, fresh);
		MemoryContextSwitchTo(walk_cxt);
		cs_run_commit_before_waiting(run, pager);
	}
	cs_run_commit(run);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(walk_cxt);
}

static void
refresh_list(CsRun *run, const CsResource *resource)
{
	char	   *start = run->position ? pstrdup(run->position) : NULL;

	walk_list(run, resource, start, NULL);
	if (start)
	{
		/* The pages before were read by an earlier session, which knew what it saw. */
		if (run->total == run->products)
			return;
		walk_list(run, resource, NULL, start);
	}
	cs_absent_mark(run, resource);
}

void
cs_catalog_refresh(Oid serverid, Oid userid, bool entire, void (*commit) (void))
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource refresh",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	CsAccount  *account;
	const CsResource *resource;
	CsRun	   *run;

	take_lock(serverid, commit != NULL);
	account = cs_account_get(cxt, serverid, userid);
	resource = cs_api_resource(account->api, "models");
	if (resource == NULL)
		resource = cs_api_resource(account->api, "products");
	run = cs_run_begin(account, entire, commit);
	if (!run->in_details)
		refresh_list(run, resource);
	cs_details_refresh(run);
	cs_balance_refresh(run);
	cs_run_complete(run);
	if (commit)
	{
		give_back_lock(serverid);
		cs_schedule_changed();
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}

/*
 * A position that the partner refuses (an expired cursor) is given up: the
 * next run begins anew.
 */
static bool
position_refused(const ErrorData *error)
{
	return error->sqlerrcode == cs_errcode_status(400) ||
		error->sqlerrcode == cs_errcode_status(404) ||
		error->sqlerrcode == cs_errcode_status(410) ||
		error->sqlerrcode == cs_errcode_status(422);
}

void
cs_catalog_refresh_failed(Oid serverid, const ErrorData *error)
{
	ForeignServer *server;
	CsStateScope scope;

	/* The lock was not to be had: it is another session's run. */
	if (!give_back_lock(serverid))
		return;
	server = GetForeignServerExtended(serverid, FSV_MISSING_OK);
	if (server && cs_extension_present())
	{
		Datum		values[3] = {
			CStringGetTextDatum(server->servername),
			CStringGetTextDatum(error->message),
			BoolGetDatum(position_refused(error)),
		};

		cs_state_enter(&scope);
		cs_state_run(&failed_statement, values, NULL);
		cs_state_leave(&scope);
	}
}

/* ---- The procedure ---- */

/*
 * The run threw: its transaction is ended, the failure is recorded, and the
 * error goes on.
 */
static void
record_failure(Oid serverid, int nest_level, MemoryContext cxt)
{
	ErrorData  *error;

	MemoryContextSwitchTo(cxt);
	error = CopyErrorData();
	FlushErrorState();
	while (GetCurrentTransactionNestLevel() > nest_level)
		RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(cxt);
	SPI_rollback();
	cs_catalog_refresh_failed(serverid, error);
	SPI_commit();
	ReThrowError(error);
}

Datum
cs_sql_refresh_catalog(PG_FUNCTION_ARGS)
{
	bool		atomic = !fcinfo->context || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic || IsSubTransaction();
	const char *name = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	bool		entire = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	Oid			serverid;
	MemoryContext cxt;
	int			nest_level;

	cs_require_preload();
	PreventCommandDuringRecovery("CALL cs_refresh_catalog()");
	PreventCommandIfReadOnly("CALL cs_refresh_catalog()");
	serverid = cs_server_resolve(name);

	SPI_connect_ext(atomic ? 0 : SPI_OPT_NONATOMIC);
	if (atomic)
	{
		cs_catalog_refresh(serverid, GetUserId(), entire, NULL);
		SPI_finish();
		PG_RETURN_VOID();
	}

	/* SPI's context, which is the portal's: it outlives transactions. */
	cxt = CurrentMemoryContext;
	nest_level = GetCurrentTransactionNestLevel();
	PG_TRY();
	{
		cs_catalog_refresh(serverid, GetUserId(), entire, SPI_commit);
	}
	PG_CATCH();
	{
		record_failure(serverid, nest_level, cxt);
	}
	PG_END_TRY();
	SPI_finish();
	PG_RETURN_VOID();
}
