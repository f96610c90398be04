/*
 * fetch.c
 *	  Asking the partner for the rows of a foreign scan, one answer at a time.
 *
 * An answer to a set of arguments is made of
 *
 *	  the pages of a list; or
 *	  the pages of a list, and for each of its rows that can fulfil the query
 *	  a detail, which has the rows or completes the one of the list; or
 *	  a detail for each id that is known, completed from the list if need be.
 *
 * One request is on the wire at a time; where all rows are wanted, the next
 * page of a list is asked for when half of the one before is used up.
 * cs_fetch_poll asks and cs_fetch_step takes the answer.  Everything lives in
 * the answer's context, and goes with it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "src/fdw/fdw.h"
#include "src/orders/orders.h"
#include "src/wire/datum.h"

/* ---- Costs ---- */

static void
add_cost(CsCallCost *sum, const CsPager *pager)
{
	const CsCallCost *cost = pager ? cs_pager_cost(pager) : NULL;

	if (cost == NULL)
		return;
	sum->requests += cost->requests;
	sum->bytes_received += cost->bytes_received;
	sum->limiter_ms += cost->limiter_ms;
}

CsCallCost
cs_fetch_cost(const CsScan *scan)
{
	CsCallCost	sum = scan->cost;

	add_cost(&sum, scan->list);
	add_cost(&sum, scan->detail);
	add_cost(&sum, scan->finder);
	return sum;
}

static void
end_detail(CsScan *scan)
{
	add_cost(&scan->cost, scan->detail);
	scan->detail = NULL;
	MemoryContextReset(scan->detail_cxt);
}

static void
end_finder(CsScan *scan)
{
	add_cost(&scan->cost, scan->finder);
	scan->finder = NULL;
	scan->found_detail = NULL;
	MemoryContextReset(scan->finder_cxt);
}

void
cs_fetch_abandon(CsScan *scan)
{
	add_cost(&scan->cost, scan->list);
	scan->list = NULL;
	end_detail(scan);
	end_finder(scan);
	scan->next_id = 0;
	scan->list_ended = scan->has_listed_row = false;
	if (scan->listed)
		tuplestore_clear(scan->listed);
	if (scan->answer_cxt)
		MemoryContextDelete(scan->answer_cxt);
	scan->answer_cxt = NULL;
	memset(&scan->arguments, 0, sizeof(scan->arguments));
}

/* ---- Rows ---- */

/* A copy of the reader's row, which is not ours to change. */
static void
copy_row(CsScan *scan, const Datum *values, const bool *nulls)
{
	memcpy(scan->out_values, values, scan->tupdesc->natts * sizeof(Datum));
	memcpy(scan->out_nulls, nulls, scan->tupdesc->natts * sizeof(bool));
}

/* A document's rows are about to be read: what they say of orders beside their status. */
static void
read_shown(CsScan *scan, const char *resource, const CsJson *document)
{
	MemoryContext old;

	scan->shown_row = scan->nshown = 0;
	if (scan->state_attribute < 0)
		return;
	MemoryContextReset(scan->shown_cxt);
	old = MemoryContextSwitchTo(scan->shown_cxt);
	scan->shown = cs_order_shown_states(scan->table->api, resource, document,
										scan->account->server, &scan->nshown);
	MemoryContextSwitchTo(old);
}

/* What the next row of the document says; once for each. */
static const char *
next_shown(CsScan *scan)
{
	int			row = scan->shown_row++;

	return row < scan->nshown ? scan->shown[row] : NULL;
}

/* What the copy says of the state of an order, as we call it, with what was shown beside it. */
static void
set_state(CsScan *scan, const char *shown)
{
	if (scan->state_attribute >= 0)
		cs_order_row_state(scan->table->api, scan->out_values, scan->out_nulls,
						   scan->status_attribute, scan->state_attribute, shown);
}

/* The state of a row that has it already, or NULL. */
static const char *
state_of_row(const CsScan *scan, const Datum *values, const bool *nulls)
{
	int			attribute = scan->state_attribute;

	return attribute < 0 || nulls[attribute] ? NULL : TextDatumGetCString(values[attribute]);
}

/* The copy goes to who reads the scan. */
static void
put_row(CsScan *scan, const char *shown)
{
	set_state(scan, shown);
	tuplestore_select_read_pointer(scan->rows, CS_POINTER_WRITE);
	tuplestore_putvalues(scan->rows, scan->tupdesc, scan->out_values, scan->out_nulls);
	scan->answer->rows++;
}

/* CsRowCallback: a row of the list that needs no detail */
static void
take_row(Datum *values, bool *nulls, void *arg)
{
	CsScan	   *scan = arg;

	copy_row(scan, values, nulls);

	/* What the partner has filtered by and does not show. */
	for (int i = 0; i < CS_MAX_ARGUMENTS; i++)
	{
		int			attribute = scan->filled[i] - 1;

		if (scan->arguments.filled[i] == (Datum) 0 || !nulls[attribute])
			continue;
		scan->out_values[attribute] = scan->arguments.filled[i];
		scan->out_nulls[attribute] = false;
	}
	put_row(scan, next_shown(scan));
}

/* CsRowCallback: a row of the list whose detail is to be asked for */
static void
take_listed_row(Datum *values, bool *nulls, void *arg)
{
	CsScan	   *scan = arg;

	copy_row(scan, values, nulls);
	set_state(scan, next_shown(scan));
	tuplestore_putvalues(scan->listed, scan->tupdesc, scan->out_values, scan->out_nulls);
}

/* "raw" of a row that is in two answers: the detail's fields over the list's. */
static void
merge_raw(CsScan *scan, const Datum *list_values, const bool *list_nulls)
{
	int			raw = scan->raw_attribute;

	if (raw < 0 || list_nulls[raw])
		return;
	scan->out_values[raw] = scan->out_nulls[raw] ? list_values[raw] :
		DirectFunctionCall2(jsonb_concat, list_values[raw], scan->out_values[raw]);
	scan->out_nulls[raw] = false;
}

/*
 * Puts the copied row of a detail, with the list's values where that is their
 * source; 'shown' is what the two say of the state.
 */
static void
put_completed_row(CsScan *scan, const Datum *list_values, const bool *list_nulls,
				  const char *shown)
{
	for (int i = 0; i < scan->tupdesc->natts; i++)
		if (scan->from_list[i])
		{
			scan->out_values[i] = list_values[i];
			scan->out_nulls[i] = list_nulls[i];
		}
	merge_raw(scan, list_values, list_nulls);
	put_row(scan, shown);
}

/* CsRowCallback: a row of a detail */
static void
take_detail_row(Datum *values, bool *nulls, void *arg)
{
	CsScan	   *scan = arg;
	int			id = scan->id_attribute;
	char	   *problem;
	const char *shown = next_shown(scan);

	copy_row(scan, values, nulls);

	/* Not every answer repeats what it was asked for by. */
	if (id >= 0 && nulls[id])
		scan->out_nulls[id] = !cs_text_from_utf8(scan->detail_id, strlen(scan->detail_id),
												 &scan->out_values[id], &problem);
	if (scan->has_listed_row && scan->table->completes)
	{
		slot_getallattrs(scan->listed_row);
		shown = cs_api_further_state(state_of_row(scan, scan->listed_row->tts_values,
												  scan->listed_row->tts_isnull), shown);
		put_completed_row(scan, scan->listed_row->tts_values, scan->listed_row->tts_isnull, shown);
	}
	else if (scan->by_id && scan->needs_list)
	{
		MemoryContext old = MemoryContextSwitchTo(scan->finder_cxt);

		set_state(scan, shown);
		scan->found_detail = heap_form_tuple(scan->tupdesc, scan->out_values, scan->out_nulls);
		MemoryContextSwitchTo(old);
	}
	else
		put_row(scan, shown);
}

/*
 * The list has this row for it, which shows that state beside its status, or
 * none: then what only the list says is NULL.
 */
static void
put_found_detail(CsScan *scan, const Datum *list_values, const bool *list_nulls, const char *shown)
{
	heap_deform_tuple(scan->found_detail, scan->tupdesc, scan->out_values, scan->out_nulls);
	scan->found_detail = NULL;
	shown = cs_api_further_state(state_of_row(scan, scan->out_values, scan->out_nulls), shown);
	if (list_values)
		put_completed_row(scan, list_values, list_nulls, shown);
	else
		put_row(scan, shown);
}

/* CsRowCallback: is it the list's row of the detail? */
static void
take_finder_row(Datum *values, bool *nulls, void *arg)
{
	CsScan	   *scan = arg;
	const char *shown = next_shown(scan);
	bool		isnull;
	Datum		wanted;

	if (scan->found_detail == NULL)
		return;
	wanted = heap_getattr(scan->found_detail, scan->id_attribute + 1, scan->tupdesc, &isnull);
	if (isnull || nulls[scan->id_attribute] ||
		!DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, wanted,
											  values[scan->id_attribute])))
		return;
	put_found_detail(scan, values, nulls, shown);
}

/* ---- Requests ---- */

static void
begin_list(CsScan *scan)
{
	const CsResource *list = scan->table->list;
	bool		filtered = scan->arguments.n > 0;
	int64		goal = scan->goal;

	/* Where pages keep their size, a condition that drops a row must not make many small ones. */
	if (filtered && list->paging == CS_PAGING_NUMBER)
		goal = -1;
	if (scan->needs_detail)
		goal = -1;
	scan->list = cs_pager_begin(scan->answer_cxt, scan->account, list, scan->arguments.filters,
								scan->arguments.n, NULL, cs_page_size(list, goal),
								CS_PRIORITY_LIVE, false);
}

static void
begin_detail(CsScan *scan, const char *id)
{
	CsArgument	argument = {scan->table->id->name, id};

	scan->detail_id = id;
	scan->detail = cs_pager_begin(scan->detail_cxt, scan->account, scan->table->detail,
								  &argument, 1, NULL, 0, CS_PRIORITY_LIVE, false);
}

/*
 * A filter of the list that a detail's own value can be sent to, so that the
 * list's row of one id need not be looked for on all pages.
 */
static bool
finder_argument(CsScan *scan, CsArgument *argument)
{
	for (const CsFilter *filter = scan->table->list->filters; filter && filter->name; filter++)
	{
		char	   *column;
		int			attribute;
		bool		isnull;
		Datum		value;
		char	   *text;

		if (filter->match != CS_MATCH_EQUAL && filter->match != CS_MATCH_CONTAINS)
			continue;
		column = pnstrdup(filter->columns, strcspn(filter->columns, "|"));
		attribute = cs_table_attribute(scan->tupdesc, column);
		if (attribute < 0)
			continue;
		value = heap_getattr(scan->found_detail, attribute + 1, scan->tupdesc, &isnull);
		if (isnull ||
			cs_condition_text(filter, CS_CONDITION_EQUAL, value, false, &text) != CS_ASKED)
			continue;
		argument->name = filter->name;
		argument->value = text;
		return true;
	}
	return false;
}

static void
begin_finder(CsScan *scan, bool filtered)
{
	MemoryContext old = MemoryContextSwitchTo(scan->finder_cxt);
	CsArgument	argument;
	int			n = filtered && finder_argument(scan, &argument) ? 1 : 0;

	scan->finder_filtered = n > 0;
	scan->finder = cs_pager_begin(scan->finder_cxt, scan->account, scan->table->list, &argument, n,
								  NULL, 0, CS_PRIORITY_LIVE, false);
	MemoryContextSwitchTo(old);
}

/* The next row of the page that is stored, if it can fulfil the query. */
static bool
next_listed_row(CsScan *scan)
{
	TupleTableSlot *slot = scan->early_row;

	while (cs_scan_read(scan, scan->listed, scan->listed_row))
	{
		if (scan->early == NULL)
			return true;
		ResetExprContext(scan->econtext);
		slot_getallattrs(scan->listed_row);
		ExecClearTuple(slot);
		memcpy(slot->tts_values, scan->listed_row->tts_values,
			   scan->tupdesc->natts * sizeof(Datum));
		memcpy(slot->tts_isnull, scan->listed_row->tts_isnull, scan->tupdesc->natts * sizeof(bool));
		ExecStoreVirtualTuple(slot);
		scan->econtext->ecxt_scantuple = slot;
		if (ExecQual(scan->early, scan->econtext))
			return true;
	}
	return false;
}

/* The id of the current row of the list, in UTF-8 and in the detail's context. */
static char *
listed_id(CsScan *scan)
{
	MemoryContext old = MemoryContextSwitchTo(scan->detail_cxt);
	bool		isnull;
	Datum		value = slot_getattr(scan->listed_row, scan->id_attribute + 1, &isnull);
	char	   *id = isnull ? NULL : cs_utf8_from_server(TextDatumGetCString(value));

	MemoryContextSwitchTo(old);
	return id;
}

static CsPager *
prepare_by_id(CsScan *scan)
{
	if (scan->next_id < scan->arguments.nids)
		begin_detail(scan, scan->arguments.ids[scan->next_id++]);
	return scan->detail;
}

static CsPager *
prepare_by_list(CsScan *scan)
{
	if (scan->listed && (scan->has_listed_row = next_listed_row(scan)))
	{
		begin_detail(scan, listed_id(scan));
		return scan->detail;
	}
	if (scan->list_ended)
		return NULL;
	if (scan->list == NULL)
		begin_list(scan);
	return scan->list;
}

/* What has to be answered next; asked for, if it was not yet.  NULL: the answer is complete. */
static CsPager *
prepare(CsScan *scan)
{
	MemoryContext old;
	CsPager    *pager;

	if (scan->answer->complete)
		return NULL;
	if (scan->finder)
		return scan->finder;
	if (scan->detail)
		return scan->detail;
	old = MemoryContextSwitchTo(scan->answer_cxt);
	pager = scan->by_id ? prepare_by_id(scan) : prepare_by_list(scan);
	MemoryContextSwitchTo(old);
	return pager;
}

bool
cs_fetch_poll(CsScan *scan, long *wait_ms)
{
	CsPager    *pager = prepare(scan);

	return pager == NULL || cs_pager_poll(pager, wait_ms);
}

/* ---- Answers ---- */

static void
take_detail(CsScan *scan)
{
	const CsPage *page = cs_pager_find(scan->detail, !scan->by_id);

	if (page)
	{
		read_shown(scan, "order", page->document);
		cs_rows_each(scan->detail_reader, page->document, -1, take_detail_row, scan);
	}
	end_detail(scan);
	if (scan->found_detail)
		begin_finder(scan, true);
}

/* The list's row was found, is on a later page, or not where it was looked for. */
static void
take_finder(CsScan *scan)
{
	const CsPage *page = cs_pager_next(scan->finder);
	HeapTuple	detail;
	bool		filtered = scan->finder_filtered;

	if (page)
	{
		read_shown(scan, "listed", page->document);
		cs_rows_each(scan->list_reader, page->document, -1, take_finder_row, scan);
	}
	if (scan->found_detail && page && page->next)
		return;
	if (scan->found_detail && !filtered)
		put_found_detail(scan, NULL, NULL, NULL);
	detail = scan->found_detail ? heap_copytuple(scan->found_detail) : NULL;
	end_finder(scan);
	if (detail)
	{
		MemoryContext old = MemoryContextSwitchTo(scan->finder_cxt);

		scan->found_detail = heap_copytuple(detail);
		MemoryContextSwitchTo(old);
		begin_finder(scan, false);
	}
}

static void
take_page(CsScan *scan)
{
	const CsPage *page = cs_pager_next(scan->list);
	int64		before;

	if (page == NULL)
	{
		scan->list_ended = true;
		return;
	}
	if (page->total >= 0 && scan->arguments.n == 0)
		cs_estimate_learn(scan->table, (double) page->total);
	scan->list_ended = page->next == NULL;
	read_shown(scan, "listed", page->document);
	if (scan->listed)
	{
		tuplestore_clear(scan->listed);
		cs_rows_each(scan->list_reader, page->document, -1, take_listed_row, scan);
		return;
	}
	before = scan->answer->rows;
	cs_rows_each(scan->list_reader, page->document, -1, take_row, scan);
	scan->ahead_at = scan->read_ahead && page->next ? (before + scan->answer->rows) / 2 : -1;
	if (scan->goal >= 0 && page->next)
		cs_pager_expect(scan->list, scan->answer->rows < scan->goal ?
						scan->goal - scan->answer->rows : -1);
	else if (page->next == NULL && scan->arguments.n == 0 && page->total < 0)
		cs_estimate_learn(scan->table, (double) scan->answer->rows);
}

bool
cs_fetch_step(CsScan *scan)
{
	CsPager    *pager = prepare(scan);

	if (pager == NULL)
	{
		scan->answer->complete = true;
		cs_fetch_abandon(scan);
		return false;
	}
	if (pager == scan->finder)
		take_finder(scan);
	else if (pager == scan->detail)
		take_detail(scan);
	else
		take_page(scan);
	return true;
}
