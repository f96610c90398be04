/*
 * absent.c
 *	  What was not in the partner's list any more.
 *
 * An unchanged row must not be written, so that it was seen cannot be noted
 * with it.  A Bloom filter notes it, in 16 MB at most whatever the number of
 * rows: it may take an absent row for one that was seen (hardly ever up to a
 * million rows, and differently in each run), never the other way.
 *
 * Pages shift while rows come and go, so a row may be missed although it is
 * there.  Absence counts when the list is read by cursor and the partner's
 * total, the same on each page, agrees with what was seen; or when a second
 * complete run misses the row too; a model also when its detail is answered
 * with 404.
 *
 * A partner's mistake must not take the catalogue away: if more than half of
 * it is missing at once, or all, a run believes it only if a user has asked
 * for an entire one.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "src/catalog/rowset.h"
#include "src/catalog/run.h"

#define FILTER_MAX_KB (16 * 1024)
#define CHUNK 1000				/* stored ids that are looked at together */
#define FEW 10					/* so many may go whatever their share */

static CsStatement offered_statement = {
	.sql = "SELECT i FROM cs_internal.items_on_offer($1, $2, $3) AS i",
	.nargs = 3,
	.argtypes = {TEXTOID, TEXTOID, INT8OID},
};

static CsStatement products_absent_statement = {
	.sql = "SELECT a.discontinued, a.discontinued AS skus FROM cs_internal.mark_products_absent($1, $2, $3, $4) AS a",
	.nargs = 4,
	.argtypes = {TEXTOID, INT8OID, TEXTARRAYOID, BOOLOID},
};

static CsStatement models_absent_statement = {
	.sql = "SELECT a.discontinued, a.skus FROM cs_internal.mark_models_absent($1, $2, $3) AS a",
	.nargs = 3,
	.argtypes = {TEXTOID, INT8OID, TEXTARRAYOID},
};

bool
cs_absent_see(CsRun *run, uint64 key)
{
	if (run->seen == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(run->cxt);

		/*
		 * Eight times the rows to be expected, which makes 8 to 16 bytes for
		 * each: up to a million of them not one is taken for another, as a rule,
		 * and what was seen is what is stored (cs_absent_mark).
		 */
		run->seen = bloom_create(8 * Max(Max(run->total, run->products), 10000), FILTER_MAX_KB,
								 (uint64) run->number);
		MemoryContextSwitchTo(old);
	}
	if (!bloom_lacks_element(run->seen, (unsigned char *) &key, sizeof(key)))
		return false;
	run->distinct++;
	bloom_add_element(run->seen, (unsigned char *) &key, sizeof(key));
	return true;
}

static bool
was_seen(const CsRun *run, Datum id)
{
	uint64		key = cs_rowset_hash_text(id);

	return run->seen != NULL &&
		!bloom_lacks_element(run->seen, (unsigned char *) &key, sizeof(key));
}

/* In a scope: these are absent. */
static void
mark_chunk(CsRun *run, bool models, bool confirmed, Datum *ids, int nids)
{
	Datum		values[4] = {
		run->server,
		Int64GetDatum(run->number),
		PointerGetDatum(construct_array(ids, nids, TEXTOID, -1, false, TYPALIGN_INT)),
		BoolGetDatum(confirmed),
	};
	int64		gone;

	cs_state_run(models ? &models_absent_statement : &products_absent_statement, values, NULL);
	gone = cs_run_result("discontinued");
	run->discontinued += gone;
	run->products -= gone;
	run->skus -= cs_run_result("skus");
}

/* What was found among the stored rows on offer. */
typedef struct Tally
{
	int64		offered;
	int64		absent;
} Tally;

/*
 * Looks at the stored rows after 'after'; returns the last one's id, or NULL
 * at the end.  Marks the absent ones, or only counts.
 */
static Datum
check_chunk(CsRun *run, bool models, bool confirmed, bool mark, Datum after, Tally *tally)
{
	Datum		values[3] = {run->server, after, Int64GetDatum(CHUNK)};
	Datum		last = (Datum) 0;
	Datum		absent[CHUNK];
	int			nabsent = 0;
	uint64		n;

	cs_run_enter(run);
	n = cs_state_run(&offered_statement, values, NULL);
	for (uint64 i = 0; i < n; i++)
	{
		bool		isnull;
		Datum		id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		if (!was_seen(run, id))
			absent[nabsent++] = id;
		if (i == n - 1 && n == CHUNK)
		{
			MemoryContext old = MemoryContextSwitchTo(run->page_cxt);

			last = PointerGetDatum(PG_DETOAST_DATUM_COPY(id));
			MemoryContextSwitchTo(old);
		}
	}
	tally->offered += n;
	tally->absent += nabsent;
	if (mark && nabsent > 0)
	{
		mark_chunk(run, models, confirmed, absent, nabsent);
		run->wrote = true;
	}
	cs_run_leave(run);
	cs_run_commit(run);
	return last;
}

static Tally
check_all(CsRun *run, bool models, bool confirmed, bool mark)
{
	Tally		tally = {0};
	Datum		after;

	MemoryContextReset(run->page_cxt);
	after = PointerGetDatum(cstring_to_text(""));
	while (after != (Datum) 0)
		after = check_chunk(run, models, confirmed, mark, after, &tally);
	return tally;
}

/* May so many be gone? */
static bool
is_believed(const CsRun *run, const Tally *tally)
{
	if (run->entire || (run->distinct > 0 &&
						(tally->absent <= FEW || tally->absent <= tally->offered / 2)))
		return true;
	ereport(WARNING,
			(errmsg("the list of server \"%s\" lacks " INT64_FORMAT " of " INT64_FORMAT
					" items of its catalogue; they are kept",
					run->account->server, tally->absent, tally->offered),
			 errhint("If the partner does not offer them any more: "
					 "CALL cs_refresh_catalog('%s', \"full\" => true), twice.",
					 run->account->server)));
	return false;
}

void
cs_absent_mark(CsRun *run, const CsResource *resource)
{
	bool		models = strcmp(resource->name, "models") == 0;
	bool		confirmed = resource->paging == CS_PAGING_CURSOR && run->total_constant &&
		run->total == run->distinct && run->distinct > 0;
	int64		discontinued = run->discontinued;
	Tally		tally;

	/* Every row that was seen is stored; so nothing is absent if there are no others. */
	if (run->distinct == run->products)
		return;

	tally = check_all(run, models, confirmed, false);
	if (tally.absent > 0 && is_believed(run, &tally))
		tally = check_all(run, models, confirmed, true);

	/* They were counted; now it is certain. */
	run->products = tally.offered - (run->discontinued - discontinued);
	if (!models)
		run->skus = run->products;
}
