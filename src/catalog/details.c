/*
 * details.c
 *	  What the list of models does not say: variations with their prices,
 *	  placements, print methods; and the wallet.
 *
 * A detail costs one request, at 60 a minute.  So those are read whose model
 * is new, changed in the list or went missing from it, and then a share of
 * the others, going round in the order of their ids: the next ones are those
 * unseen for longest, and only the place where the last run stopped is
 * stored.
 *
 * A model whose own detail cannot be had or read keeps what is known of it and
 * stays due; the others are not kept waiting for it.  The next run asks for it
 * last, when no failure says anything about the partner any more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#include "src/base/guc.h"
#include "src/catalog/rowset.h"
#include "src/catalog/run.h"

#define BATCH 100				/* ids that are looked up together */
#define AHEAD 4					/* details on the wire while another one is stored */
#define TURNS (AHEAD + 1)
#define FAILURES_IN_A_ROW 10		/* so many are not about single models */
#define FAILURES_OF_SILENCE 4		/* that no answer counts for: each is waited for */

static CsStatement begin_statement = {
	.sql = "SELECT d.due, d.ring_rest FROM cs_internal.refresh_details($1, $2, $3) AS d",
	.nargs = 3,
	.argtypes = {TEXTOID, INT8OID, INT8OID},
};

static CsStatement due_statement = {
	.sql = "SELECT d FROM cs_internal.details_due($1, $2, $3) AS d",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, INT8OID},
};

static CsStatement failed_statement = {
	.sql = "SELECT d FROM cs_internal.details_failed($1, $2) AS d",
	.nargs = 2,
	.argtypes = {TEXTOID, INT8OID},
};

static CsStatement unseen_statement = {
	.sql = "SELECT d FROM cs_internal.details_unseen($1, $2, $3) AS d",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, INT8OID},
};

static CsStatement merge_statement = {
	.sql = "SELECT d.added, d.changed, d.revived, d.discontinued, d.models_revived "
	"FROM cs_internal.merge_model_detail($1, $2, $3, $4, $5, $6, $7) AS d",
	.nargs = 7,
	.argtypes = {TEXTOID, TEXTOID, InvalidOid, InvalidOid, InvalidOid, InvalidOid, INT8OID},
};

static CsStatement gone_statement = {
	.sql = "SELECT d.discontinued, d.skus FROM cs_internal.discontinue_model($1, $2) AS d",
	.nargs = 2,
	.argtypes = {TEXTOID, TEXTOID},
};

static CsStatement unread_statement = {
	.sql = "SELECT cs_internal.detail_unread($1, $2, $3) AS code",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, TEXTOID},
};

static CsStatement anew_statement = {
	.sql = "SELECT FROM cs_internal.refresh_anew($1)",
	.nargs = 1,
	.argtypes = {TEXTOID},
};

static CsStatement balance_statement = {
	.sql = "SELECT b FROM cs_internal.merge_balance($1, $2) AS b",
	.nargs = 2,
	.argtypes = {TEXTOID, InvalidOid},
};

/* The four parts of a detail, in the order of merge_model_detail's arguments. */
enum
{
	PART_MODEL, PART_VARIATIONS, PART_PLACEMENTS, PART_PRINT_METHODS, NPARTS
};

static const struct
{
	const char *resource;
	const char *type;
	const char *keys[CS_ROWSET_MAX_KEYS + 1];
}			parts[NPARTS] =
{
	{"model", "detail_row", {NULL}},
	{"variations", "variation_row", {"variation_id", NULL}},
	{"placements", "placement_row", {"placement", NULL}},
	{"print_methods", "print_method_row", {"placement", "print_method", NULL}},
};

typedef struct Details
{
	CsRun	   *run;
	const CsResource *resource; /* "model" */
	const CsResource *part_resources[NPARTS];
	CsRowset   *rowsets[NPARTS];
	char	   *due_position;	/* the last one that was due */
	int			failures;		/* in a row */
	bool		of_failed;		/* those whose last try failed */
	bool		any_read;		/* in this session */
	MemoryContext call_cxts[TURNS]; /* the detail being stored, and those on the wire */
} Details;

static CsCall *
begin_call(const CsRun *run, MemoryContext cxt, const CsResource *resource, const char *path)
{
	MemoryContext old = MemoryContextSwitchTo(cxt);
	CsCallSpec	spec = {
		.endpoint = psprintf("GET %s", resource->path),
		.method = "GET",
		.path = path,
		.repeatable = true,
		.priority = CS_PRIORITY_CATALOG,
		.max_retries = cs_guc_max_retries,
		.timeout_ms = cs_guc_timeout,
	};
	CsCall	   *call = cs_call_begin(cxt, run->account, &spec);
	long		wait_ms;

	(void) cs_call_advance(call, &wait_ms);
	MemoryContextSwitchTo(old);
	return call;
}

/* Asks for the detail of a model. */
static CsCall *
begin_detail(const Details *details, int turn, const char *model)
{
	MemoryContext cxt = details->call_cxts[turn];
	MemoryContext old;
	char	   *path;

	MemoryContextReset(cxt);
	old = MemoryContextSwitchTo(cxt);
	path = cs_path_expand(details->resource->path, "model_id", cs_utf8_from_server(model), NULL);
	MemoryContextSwitchTo(old);
	return begin_call(details->run, cxt, details->resource, path);
}

/* ---- One detail ---- */

/* The arguments of merge_model_detail; a list that is not there is NULL. */
typedef struct Detail
{
	Datum		values[7];
	char		nulls[8];
} Detail;

static void
read_detail(const Details *details, const char *model, const CsJson *document, Detail *detail)
{
	uint64		whole = 0;

	strcpy(detail->nulls, "       ");
	detail->values[0] = details->run->server;
	detail->values[1] = CStringGetTextDatum(model);
	for (int i = 0; i < NPARTS; i++)
	{
		CsRowset   *rowset = details->rowsets[i];

		cs_rowset_read(rowset, document);
		whole = whole * 31 + (uint64) cs_rowset_fingerprint(rowset);
		if (i == PART_MODEL)
			detail->values[2 + i] = cs_rowset_first(rowset);
		else if (cs_rows_has_list(details->part_resources[i], document))
			detail->values[2 + i] = cs_rowset_array(rowset);
		else
		{
			detail->nulls[2 + i] = 'n';
			whole++;
		}
	}
	detail->values[6] = Int64GetDatum((int64) whole);
}

/* False, with the error as a failure, if the answer is malformed. */
static bool
try_to_read_detail(const Details *details, const char *model, const CsJson *document,
				   Detail *detail, CsFailure *failure)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *error;
	volatile bool success = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		read_detail(details, model, document, detail);
		ReleaseCurrentSubTransaction();
		success = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (error->sqlerrcode != CS_ERRCODE_MALFORMED)
			ReThrowError(error);
		*failure = (CsFailure) {
			.kind = CS_FAILURE_MALFORMED,
			.sqlstate = error->sqlerrcode,
			.message = error->message,
			.detail = error->detail,
			.hint = error->hint,
		};
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	return success;
}

static void
store_detail(const Details *details, Detail *detail)
{
	CsRun	   *run = details->run;
	int64		added;
	int64		changed;
	int64		revived;
	int64		discontinued;

	cs_run_enter(run);
	cs_state_run(&merge_statement, detail->values, detail->nulls);
	added = cs_run_result("added");
	changed = cs_run_result("changed");
	revived = cs_run_result("revived");
	discontinued = cs_run_result("discontinued");
	run->added += added;
	run->changed += changed;
	run->discontinued += discontinued;
	run->skus += added + revived - discontinued;
	run->products += cs_run_result("models_revived");
	run->rows++;
	run->wrote |= added + changed + discontinued > 0;
	cs_run_leave(run);
}

/* In the partner's words: a gateway that has lost its way there says 404 to everything. */
static bool
says_gone(const CsFailure *failure)
{
	return failure->status == 404 && failure->code && strcmp(failure->code, "NOT_FOUND") == 0;
}

static void
forget_model(CsRun *run, const char *model)
{
	Datum		values[2] = {run->server, CStringGetTextDatum(model)};

	cs_run_enter(run);
	cs_state_run(&gone_statement, values, NULL);
	run->discontinued += cs_run_result("discontinued");
	run->products -= cs_run_result("discontinued");
	run->skus -= cs_run_result("skus");
	run->rows++;
	run->wrote = true;
	cs_run_leave(run);
}

static bool
is_silence(const CsFailure *failure)
{
	return failure->kind == CS_FAILURE_TIMEOUT || failure->kind == CS_FAILURE_CONNECTION_LOST;
}

/* Can other models be had nevertheless? */
static bool
is_of_one_model(const CsFailure *failure)
{
	if (failure->kind == CS_FAILURE_REFUSED)
		return failure->status != 401 && failure->status != 403 && failure->status != 429;
	return failure->kind == CS_FAILURE_MALFORMED || failure->kind == CS_FAILURE_TOO_LARGE ||
		is_silence(failure);
}

/*
 * A session that could read no detail leaves the run no checkpoint: the next one
 * begins with the list, which else is not read for as long as details fail.
 */
static void
give_up(const Details *details, const CsFailure *failure)
{
	CsRun	   *run = details->run;

	if (!details->any_read && run->commit)
	{
		cs_run_enter(run);
		cs_state_run(&anew_statement, &run->server, NULL);
		run->wrote = true;
		cs_run_leave(run);
		cs_run_commit(run);
	}
	cs_failure_throw(failure);
}

/* The model's detail could not be had or read: that is told, and the run goes on. */
static void
pass_over_model(Details *details, const char *model, const CsFailure *failure)
{
	CsRun	   *run = details->run;
	Datum		values[3] = {
		run->server,
		CStringGetTextDatum(model),
		CStringGetTextDatum(psprintf("the detail of model \"%s\" was not read: %s", model,
									 failure->message)),
	};
	const char *code;

	details->failures += is_silence(failure) ? FAILURES_OF_SILENCE : 1;
	if (!is_of_one_model(failure) ||
		(details->failures >= FAILURES_IN_A_ROW && !details->of_failed))
		give_up(details, failure);
	cs_run_enter(run);
	cs_state_run(&unread_statement, values, NULL);
	code = cs_run_result_text(run, "code");
	run->rows++;
	run->wrote = true;
	cs_run_leave(run);
	ereport(WARNING,
			(errcode(failure->sqlstate),
			 errmsg("the detail of model \"%s\" (%s) was not read: %s", model,
					code ? code : "without a code", failure->message),
			 failure->detail ? errdetail_internal("%s", failure->detail) : 0,
			 errhint("What is known of it is kept; the next refresh asks for it again.")));
}

/* The call, in its turn's context, is given back as soon as it was read: see page.c. */
static void
take_detail(Details *details, int turn, CsCall *call, const char *model)
{
	CsFailure	failure = *cs_call_failure(call);
	Detail		detail;

	if (failure.kind == CS_FAILURE_NONE &&
		try_to_read_detail(details, model, cs_call_document(call), &detail, &failure))
	{
		MemoryContextReset(details->call_cxts[turn]);
		store_detail(details, &detail);
	}
	else if (says_gone(&failure))
		forget_model(details->run, model);
	else
	{
		pass_over_model(details, model, &failure);
		return;
	}
	details->failures = 0;
	details->any_read = true;
}

static void
finish_detail(Details *details, int turn, CsCall *call, const char *model, bool of_ring)
{
	CsRun	   *run = details->run;
	MemoryContext old;

	MemoryContextReset(run->page_cxt);
	old = MemoryContextSwitchTo(run->page_cxt);
	run->pages++;
	cs_call_cost(call, &run->cost);
	if (of_ring)
	{
		pfree(run->ring_position);
		run->ring_position = MemoryContextStrdup(run->cxt, model);
		run->ring_left--;
	}
	take_detail(details, turn, call, model);
	MemoryContextSwitchTo(old);
	cs_run_commit(run);
}

/* ---- Which ones ---- */

/* The ids that a statement finds, in the run's context. */
static int
look_up_ids(CsRun *run, CsStatement *statement, Datum *values, char **ids)
{
	uint64		n;

	cs_run_enter(run);
	n = cs_state_run(statement, values, NULL);
	for (uint64 i = 0; i < n; i++)
		ids[i] = MemoryContextStrdup(run->cxt, SPI_getvalue(SPI_tuptable->vals[i],
															SPI_tuptable->tupdesc, 1));
	cs_run_leave(run);
	cs_run_commit(run);
	return (int) n;
}

/* Each once, whether or not it could be read. */
static int
look_up_due(Details *details, char **ids)
{
	Datum		values[3] = {
		details->run->server,
		CStringGetTextDatum(details->due_position),
		Int64GetDatum(BATCH),
	};
	int			n = look_up_ids(details->run, &due_statement, values, ids);

	if (n > 0)
	{
		pfree(details->due_position);
		details->due_position = MemoryContextStrdup(details->run->cxt, ids[n - 1]);
	}
	return n;
}

/* The next ones of the ring; at its end it begins anew. */
static int
look_up_unseen(CsRun *run, char **ids)
{
	Datum		values[3] = {run->server, (Datum) 0, Int64GetDatum(Min(run->ring_left, BATCH))};
	int			n = 0;

	if (run->ring_left > 0)
	{
		values[1] = CStringGetTextDatum(run->ring_position);
		n = look_up_ids(run, &unseen_statement, values, ids);
	}
	if (n == 0 && run->ring_left > 0 && run->ring_position[0] != '\0')
	{
		values[1] = CStringGetTextDatum("");
		n = look_up_ids(run, &unseen_statement, values, ids);
	}
	return n;
}

/*
 * In order; the next ones are asked for as long as each goes out at once.
 * Those whose last try failed are given up when so many fail again.
 */
static void
refresh_models(Details *details, char **ids, int nids, bool of_ring)
{
	CsCall	   *calls[BATCH];
	int			begun = 0;

	for (int i = 0; i < nids; i++)
	{
		while (begun < Min(i + AHEAD, nids) && (begun <= i || cs_call_sending(calls[begun - 1])))
		{
			calls[begun] = begin_detail(details, begun % TURNS, ids[begun]);
			begun++;
		}
		cs_call_finish_first(calls + i, begun - i);
		finish_detail(details, i % TURNS, calls[i], ids[i], of_ring);
		pfree(ids[i]);
		if (details->of_failed && details->failures >= FAILURES_IN_A_ROW)
			return;
	}
}

/* The details' phase begins, unless the run goes on in it. */
static void
begin_details(CsRun *run)
{
	Datum		values[3] = {
		run->server,
		Int64GetDatum(run->account->detail_budget),
		Int64GetDatum(run->rows),
	};
	int64		due;

	if (run->in_details)
		return;
	cs_run_enter(run);
	cs_state_run(&begin_statement, values, run->account->detail_budget < 0 ? " n " : NULL);
	due = cs_run_result("due");
	run->ring_left = cs_run_result("ring_rest");
	run->in_details = true;
	run->total = run->rows + due + run->ring_left;
	cs_run_reckon_anew(run);
	run->wrote = true;
	cs_run_leave(run);
	cs_run_commit(run);
}

/*
 * At the end: whatever becomes of them, the run is complete.  Those that were
 * tried longest ago go first, so that each has its turn although the run gives
 * up; a batch that begins as the one before is the end.
 */
static void
refresh_failed(Details *details)
{
	CsRun	   *run = details->run;
	Datum		values[2] = {run->server, Int64GetDatum(BATCH)};
	char	   *ids[BATCH];
	char	   *before = NULL;
	int			n;

	details->of_failed = true;
	details->failures = 0;
	while (details->failures < FAILURES_IN_A_ROW &&
		   (n = look_up_ids(run, &failed_statement, values, ids)) > 0 &&
		   (before == NULL || strcmp(before, ids[0]) != 0))
	{
		before = MemoryContextStrdup(run->cxt, ids[0]);
		refresh_models(details, ids, n, false);
	}
}

void
cs_details_refresh(CsRun *run)
{
	Details		details = {.run = run, .resource = cs_api_resource(run->account->api, "model")};
	MemoryContext old;
	char	   *ids[BATCH];
	int			n;

	if (details.resource == NULL)
		return;
	begin_details(run);
	old = MemoryContextSwitchTo(run->cxt);
	details.due_position = pstrdup("");
	for (int i = 0; i < NPARTS; i++)
	{
		details.part_resources[i] = cs_api_resource(run->account->api, parts[i].resource);
		details.rowsets[i] = cs_rowset_begin(details.part_resources[i], parts[i].type,
											 run->account->server, parts[i].keys);
		if (i == PART_MODEL)
			cs_rowset_bind_row(details.rowsets[i], &merge_statement, 2 + i);
		else
			cs_rowset_bind_array(details.rowsets[i], &merge_statement, 2 + i);
	}
	for (int i = 0; i < TURNS; i++)
		details.call_cxts[i] = AllocSetContextCreate(run->cxt, "cupsource refresh detail",
													 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(old);

	while ((n = look_up_due(&details, ids)) > 0)
		refresh_models(&details, ids, n, false);
	while ((n = look_up_unseen(run, ids)) > 0)
		refresh_models(&details, ids, n, true);
	refresh_failed(&details);
}

/* ---- The wallet ---- */

void
cs_balance_refresh(CsRun *run)
{
	const CsResource *resource = cs_api_resource(run->account->api, "balance");
	MemoryContext cxt;
	MemoryContext old;
	CsRowset   *rowset;
	CsCall	   *call;
	Datum		values[2] = {run->server};

	if (resource == NULL)
		return;
	cxt = AllocSetContextCreate(run->cxt, "cupsource refresh balance", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(cxt);
	call = begin_call(run, cxt, resource, resource->path);
	cs_call_finish(call);
	run->pages++;
	if (cs_call_failure(call)->kind == CS_FAILURE_NONE)
	{
		rowset = cs_rowset_begin(resource, "balance_row", run->account->server, NULL);
		cs_rowset_bind_row(rowset, &balance_statement, 1);
		cs_rowset_read(rowset, cs_call_document(call));
		values[1] = cs_rowset_first(rowset);
		cs_run_enter(run);
		cs_state_run(&balance_statement, values, NULL);
		cs_run_leave(run);
		cs_run_commit(run);
	}
	else if (cs_call_failure(call)->kind == CS_FAILURE_REFUSED)
		/* A key may be good for the catalogue and not for the wallet. */
		ereport(NOTICE,
				(errmsg("the balance of \"%s\" was not read: %s", run->account->server,
						cs_call_failure(call)->message)));
	else
		cs_failure_throw(cs_call_failure(call));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(cxt);
}
