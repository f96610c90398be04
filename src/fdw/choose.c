/*
 * choose.c
 *	  Which answer a foreign scan reads, by the present values of its
 *	  conditions.
 *
 * Rows are kept by what they were asked for with, so that a rescan, and a join
 * by ids, asks for nothing twice.  All answers of a scan are in one tuplestore,
 * each with a read pointer at its first row, so that together they have no more
 * than work_mem and the rest is on disk.  An answer that is left before its end
 * is asked for anew when it is wanted again: its rows would not be together.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "src/fdw/fdw.h"
#include "src/wire/sign.h"

pg_noreturn static void refuse_unlisted(const CsScan *scan);

static void
refuse_unlisted(const CsScan *scan)
{
	const CsTable *table = scan->table;

	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("%s has no list of \"%s\"", table->api->title, table->resource),
			 table->id
			 ? errhint("Ask for one by a condition such as %s = '...'.", table->id->columns)
			 : errhint("The view cs_orders has the orders that were placed from here.")));
}

/* Sets the arguments by the conditions' present values; false if no row can fulfil them. */
static bool
evaluate_conditions(CsScan *scan, CsArguments *arguments)
{
	const CsTable *table = scan->table;
	int			i = 0;
	ListCell   *cell;

	for (int j = 0; j < table->nfixed && !scan->by_id; j++)
		arguments->filters[arguments->n++] = table->fixed[j];
	ResetExprContext(scan->econtext);
	foreach(cell, scan->values)
	{
		bool		isnull;
		Datum		value = ExecEvalExpr((ExprState *) lfirst(cell), scan->econtext, &isnull);
		CsConditionKind kind = scan->kinds[i];
		const CsFilter *filter = scan->filters[i];
		char	   *wire;

		if (filter == table->id)
		{
			arguments->nids = cs_condition_ids(kind, value, isnull, &arguments->ids);
			if (arguments->nids == 0)
				return false;
			i++;
			continue;
		}
		if (filter == &cs_server_filter)
		{
			if (isnull || strcmp(TextDatumGetCString(value), table->server) != 0)
				return false;
			i++;
			continue;
		}
		switch (cs_condition_text(filter, kind, value, isnull, &wire))
		{
			case CS_ASKED:
				arguments->filters[arguments->n].name = filter->name;
				arguments->filters[arguments->n++].value = wire;
				if (scan->filled[i] > 0)
					arguments->filled[i] = datumCopy(value, false, -1);
				break;
			case CS_ASKED_EVERYTHING:
				break;
			case CS_ASKED_NOTHING:
				return false;
		}
		i++;
	}
	return true;
}

/* The arguments in 16 bytes; those that no row can fulfil are all the same. */
static void
digest_arguments(const CsArguments *arguments, bool possible, uint8 *result)
{
	uint8		digest[CS_SHA256_LENGTH];
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, possible ? '+' : '-');
	for (int i = 0; possible && i < arguments->n; i++)
	{
		appendStringInfo(&text, "%s=%s", arguments->filters[i].name, arguments->filters[i].value);
		appendStringInfoChar(&text, '\0');
	}
	for (int i = 0; i < arguments->nids; i++)
		appendBinaryStringInfo(&text, arguments->ids[i], (int) strlen(arguments->ids[i]) + 1);
	cs_sha256(text.data, text.len, digest);
	memcpy(result, digest, sizeof(((CsAnswer *) NULL)->arguments));
}

/* The answer with that digest: a complete one, or an empty one to be asked for. */
static CsAnswer *
enter_answer(CsScan *scan, const uint8 *digest)
{
	CsAnswer   *answer;
	bool		found;
	HASHCTL		ctl = {
		.keysize = sizeof(answer->arguments),
		.entrysize = sizeof(CsAnswer),
		.hcxt = scan->cxt,
	};

	if (!scan->keep)
	{
		answer = &scan->only_answer;
		memset(answer, 0, sizeof(*answer));
		memcpy(answer->arguments, digest, sizeof(answer->arguments));
		answer->pointer = CS_POINTER_READ;
		tuplestore_clear(scan->rows);
		return answer;
	}
	if (scan->answers == NULL)
		scan->answers = hash_create("cupsource answers", 64, &ctl,
									HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	answer = hash_search(scan->answers, digest, HASH_ENTER, &found);
	if (found && answer->complete)
		return answer;

	/* It begins where the rows end now. */
	if (!found)
		answer->pointer = tuplestore_alloc_read_pointer(scan->rows, EXEC_FLAG_REWIND);
	tuplestore_copy_read_pointer(scan->rows, CS_POINTER_WRITE, answer->pointer);
	answer->rows = 0;
	answer->complete = false;
	return answer;
}

/* Back to the first row of the current answer; false if it is not there any more. */
static bool
rewind_answer(CsScan *scan)
{
	if (scan->dropped)
		return false;
	if (scan->answer->pointer != CS_POINTER_READ)
		tuplestore_copy_read_pointer(scan->rows, scan->answer->pointer, CS_POINTER_READ);
	else
	{
		tuplestore_select_read_pointer(scan->rows, CS_POINTER_READ);
		tuplestore_rescan(scan->rows);
	}
	scan->handed_out = 0;
	return true;
}

void
cs_fetch_choose(CsScan *scan)
{
	MemoryContext cxt = AllocSetContextCreate(scan->cxt, "cupsource answer",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	CsArguments arguments = {0};
	uint8		digest[sizeof(scan->answer->arguments)];
	bool		possible = evaluate_conditions(scan, &arguments);

	digest_arguments(&arguments, possible, digest);
	MemoryContextSwitchTo(old);
	if (scan->answer && memcmp(scan->answer->arguments, digest, sizeof(digest)) == 0 &&
		rewind_answer(scan))
	{
		MemoryContextDelete(cxt);
		return;
	}
	if (possible && !scan->by_id && scan->table->list == NULL)
		refuse_unlisted(scan);

	cs_fetch_abandon(scan);
	scan->answer_cxt = cxt;
	scan->arguments = arguments;
	scan->answer = enter_answer(scan, digest);
	if (!possible)
		scan->answer->complete = true;
	scan->dropped = false;
	scan->ahead_at = -1;
	(void) rewind_answer(scan);
}
