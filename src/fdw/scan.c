/*
 * scan.c
 *	  Handing out the rows of a foreign scan.
 *
 * Nothing is asked for before the first row is wanted, and a page only when
 * the rows of the one before are used up.
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "src/base/compat.h"
#include "src/base/state.h"
#include "src/fdw/fdw.h"

/* ---- Beginning ---- */

static const CsFilter *
filter_named(const CsTable *table, const char *name, bool by_id)
{
	if (strcmp(name, cs_server_filter.name) == 0)
		return &cs_server_filter;
	if (by_id)
		return table->id;
	for (const CsFilter *filter = table->list->filters; filter->name; filter++)
		if (strcmp(filter->name, name) == 0)
			return filter;
	elog(ERROR, "resource \"%s\" has no filter \"%s\"", table->resource, name);
	return NULL;				/* keep compiler quiet */
}

static void
read_plan(CsScan *scan, ForeignScan *plan)
{
	List	   *filters = list_nth(plan->fdw_private, CS_PLAN_FILTERS);
	List	   *kinds = list_nth(plan->fdw_private, CS_PLAN_KINDS);
	List	   *numbers = list_nth(plan->fdw_private, CS_PLAN_NUMBERS);

	scan->by_id = list_nth_int(numbers, CS_PLAN_BY_ID);
	scan->needs_list = list_nth_int(numbers, CS_PLAN_NEEDS_LIST);
	scan->needs_detail = list_nth_int(numbers, CS_PLAN_NEEDS_DETAIL);
	scan->read_ahead = list_nth_int(numbers, CS_PLAN_READ_AHEAD);
	scan->keep = !list_nth_int(numbers, CS_PLAN_ONCE);
	scan->goal = list_nth_int(numbers, CS_PLAN_GOAL);
	for (int i = 0; i < list_length(filters); i++)
	{
		scan->filters[i] = filter_named(scan->table, strVal(list_nth(filters, i)), scan->by_id);
		scan->kinds[i] = list_nth_int(kinds, i);
		scan->filled[i] = list_nth_int(list_nth(plan->fdw_private, CS_PLAN_FILLED), i);
	}
}

/* Attributes that are needed by their names here, besides those of the query. */
static bool
is_needed_here(const CsScan *scan, const char *name)
{
	const CsTable *table = scan->table;

	if (table->id && cs_is_alternative(table->id->columns, name))
		return true;
	if (cs_table_has_states(table) && strcmp(name, "remote_status") == 0)
		return true;
	if (!scan->by_id || !scan->needs_list)
		return false;
	for (const CsFilter *filter = table->list->filters; filter && filter->name; filter++)
		if (filter->columns &&
			strncmp(filter->columns, name, strcspn(filter->columns, "|")) == 0)
			return true;
	return false;
}

/* The table's row type, in which what is not needed counts as dropped. */
static TupleDesc
needed_columns(const CsScan *scan, List *columns)
{
	TupleDesc	tupdesc = CreateTupleDescCopy(RelationGetDescr(scan->node->ss.ss_currentRelation));

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (attribute->attisdropped || list_member_int(columns, i + 1) ||
			is_needed_here(scan, NameStr(attribute->attname)))
			continue;
		attribute->attisdropped = true;
		CS_ATTRIBUTE_CHANGED(tupdesc, i);
	}
	return tupdesc;
}

/* The list's rows are to have nothing but the id, under the list's name for it. */
static TupleDesc
id_only(const CsScan *scan)
{
	TupleDesc	tupdesc = CreateTupleDescCopy(scan->tupdesc);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (i == scan->id_attribute)
			namestrcpy(&attribute->attname, scan->table->detail->id_column);
		else
			attribute->attisdropped = true;
		CS_ATTRIBUTE_CHANGED(tupdesc, i);
	}
	return tupdesc;
}

static void
find_attributes(CsScan *scan)
{
	const CsTable *table = scan->table;
	TupleDesc	tupdesc = scan->tupdesc;

	scan->id_attribute = table->id ? cs_table_attribute(tupdesc, table->id->columns) : -1;
	scan->raw_attribute = cs_table_attribute(tupdesc, "raw");
	scan->state_attribute = scan->status_attribute = -1;
	if (cs_table_has_states(table))
	{
		scan->status_attribute = cs_table_attribute(tupdesc, "remote_status");
		if (scan->status_attribute >= 0)
			scan->state_attribute = cs_table_attribute(tupdesc, "state");
	}
	scan->from_list = palloc0(Max(tupdesc->natts, 1) * sizeof(bool));
	scan->out_values = palloc0(Max(tupdesc->natts, 1) * sizeof(Datum));
	scan->out_nulls = palloc0(Max(tupdesc->natts, 1) * sizeof(bool));
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (!attribute->attisdropped && i != scan->raw_attribute)
			scan->from_list[i] =
				(cs_table_source(table, NameStr(attribute->attname)) & CS_SOURCE_LIST) != 0;
	}
}

static void
make_readers(CsScan *scan)
{
	const CsTable *table = scan->table;
	bool		parts = table->detail && !table->completes;

	if (table->list && (!scan->by_id || scan->needs_list))
		scan->list_reader = cs_rows_reader(table->list, parts ? id_only(scan) : scan->tupdesc,
										   table->server);
	if (table->detail && (scan->by_id || scan->needs_detail))
		scan->detail_reader = cs_rows_reader(table->detail, scan->tupdesc, table->server);
}

static void
make_stores(CsScan *scan)
{
	/* Neither is read while the other is written to; together they have work_mem. */
	scan->rows = tuplestore_begin_heap(false, false, work_mem);
	(void) tuplestore_alloc_read_pointer(scan->rows, EXEC_FLAG_REWIND);

	/* Once at the end, the pointer for writing stays there. */
	(void) tuplestore_advance(scan->rows, true);
	scan->row = MakeSingleTupleTableSlot(scan->tupdesc, &TTSOpsMinimalTuple);
	if (scan->needs_detail && !scan->by_id)
	{
		scan->listed = tuplestore_begin_heap(false, false, work_mem);
		scan->listed_row = MakeSingleTupleTableSlot(scan->tupdesc, &TTSOpsMinimalTuple);
		scan->early_row = MakeSingleTupleTableSlot(scan->tupdesc, &TTSOpsVirtual);
	}
}

void
cs_scan_begin(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	EState	   *estate = node->ss.ps.state;
	List	   *early = list_nth(plan->fdw_exprs, CS_EXPRS_EARLY);
	MemoryContext cxt = AllocSetContextCreate(estate->es_query_cxt, "cupsource scan",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	CsScan	   *scan = palloc0(sizeof(CsScan));

	cs_require_preload();
	node->fdw_state = scan;
	scan->cxt = cxt;
	scan->node = node;
	scan->table = cs_table_get(RelationGetRelid(node->ss.ss_currentRelation));
	read_plan(scan, plan);
	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
	{
		MemoryContextSwitchTo(old);
		return;
	}
	if (eflags & (EXEC_FLAG_REWIND | EXEC_FLAG_MARK | EXEC_FLAG_BACKWARD))
		scan->keep = true;
	scan->account = cs_account_get(cxt, scan->table->serverid, CS_SCAN_USER(node));
	scan->tupdesc = needed_columns(scan, list_nth(plan->fdw_private, CS_PLAN_COLUMNS));
	find_attributes(scan);
	make_readers(scan);
	make_stores(scan);
	scan->detail_cxt = AllocSetContextCreate(cxt, "cupsource detail", ALLOCSET_DEFAULT_SIZES);
	scan->shown_cxt = AllocSetContextCreate(cxt, "cupsource shown", ALLOCSET_SMALL_SIZES);
	scan->finder_cxt = AllocSetContextCreate(cxt, "cupsource finder", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(old);

	/* These belong to the query's context, as the node's own. */
	scan->econtext = CreateExprContext(estate);
	scan->values = ExecInitExprList(list_nth(plan->fdw_exprs, CS_EXPRS_VALUES), (PlanState *) node);
	scan->early = ExecInitQual(early, (PlanState *) node);
}

/* ---- Rows ---- */

/*
 * The next row of a store into its slot.  A row that was on disk belongs to
 * the slot, so it must not be in a context that is gone before.
 */
bool
cs_scan_read(CsScan *scan, Tuplestorestate *store, TupleTableSlot *slot)
{
	MemoryContext old = MemoryContextSwitchTo(scan->cxt);
	bool		found = tuplestore_gettupleslot(store, true, false, slot);

	MemoryContextSwitchTo(old);
	return found;
}

/* The next row that is there into the scan's slot; false if none is. */
static bool
take_stored(CsScan *scan, TupleTableSlot *slot)
{
	int			natts = scan->tupdesc->natts;
	long		wait_ms;

	if (scan->handed_out >= scan->answer->rows)
		return false;
	tuplestore_select_read_pointer(scan->rows, CS_POINTER_READ);
	if (!cs_scan_read(scan, scan->rows, scan->row))
		elog(ERROR, "rows of foreign scan are missing");
	scan->handed_out++;

	/* In time for who uses up the page, and not for who only looks at its beginning. */
	if (scan->handed_out == scan->ahead_at)
		(void) cs_fetch_poll(scan, &wait_ms);
	slot_getallattrs(scan->row);
	memcpy(slot->tts_values, scan->row->tts_values, natts * sizeof(Datum));
	memcpy(slot->tts_isnull, scan->row->tts_isnull, natts * sizeof(bool));
	ExecStoreVirtualTuple(slot);
	return true;
}

/* What was handed out is not wanted any more. */
static void
drop_stored(CsScan *scan)
{
	if (scan->keep || scan->answer->rows == 0)
		return;
	ExecClearTuple(scan->row);
	tuplestore_clear(scan->rows);
	scan->dropped = true;
}

/* An empty slot is the end, or, in an Append that asks several, for now. */
TupleTableSlot *
cs_scan_iterate(ForeignScanState *node)
{
	CsScan	   *scan = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	long		wait_ms;

	if (scan->answer == NULL || scan->choose_anew)
		cs_fetch_choose(scan);
	scan->choose_anew = false;
	for (;;)
	{
		ExecClearTuple(slot);
		if (take_stored(scan, slot))
			return slot;
		if (scan->answer->complete)
			return slot;
		if (node->ss.ps.async_capable && !cs_fetch_poll(scan, &wait_ms))
			return slot;
		drop_stored(scan);
		ExecClearTuple(slot);
		(void) cs_fetch_step(scan);
	}
}

/* The conditions may have other values now; they are looked at when a row is wanted. */
void
cs_scan_rescan(ForeignScanState *node)
{
	CsScan	   *scan = node->fdw_state;

	if (scan->answer)
		scan->choose_anew = true;
}

void
cs_scan_end(ForeignScanState *node)
{
	CsScan	   *scan = node->fdw_state;

	if (scan == NULL)
		return;
	if (scan->row)
		ExecDropSingleTupleTableSlot(scan->row);
	if (scan->listed_row)
		ExecDropSingleTupleTableSlot(scan->listed_row);
	if (scan->early_row)
		ExecDropSingleTupleTableSlot(scan->early_row);
	if (scan->listed)
		tuplestore_end(scan->listed);
	if (scan->rows)
		tuplestore_end(scan->rows);
	node->fdw_state = NULL;
	MemoryContextDelete(scan->cxt);
}
