/*
 * load.c
 *	  New rows straight into a table, for the first refresh of an account.
 *
 * The first refresh is the one that somebody waits for, and all it does is
 * insert.  So its rows go into the table as COPY puts them there, a page at a
 * time, without being made into an array and taken out of it again.  What a
 * row is made of is said once more here, and must agree with
 * cs_internal.insert_products; test/t/030_catalog.pl compares the two.
 *
 * Locks: the table in RowExclusiveLock until the transaction's end, as INSERT.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/executor.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "src/base/compat.h"
#include "src/catalog/load.h"

/* Rows of one call of the table's access method; COPY's number is 1000. */
#define ROWS_AT_ONCE 100

/* Where the columns of the table come from. */
typedef struct Source
{
	int			attribute;		/* of the rowset; -1: the value below */
	Datum		value;
	bool		isnull;
} Source;

typedef struct Load
{
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *result;
	Source	   *sources;
	int			nslots;
	TupleTableSlot **slots;
} Load;

static bool
is_plain(Relation rel)
{
	TupleConstr *constraints = rel->rd_att->constr;

	return rel->rd_rel->relkind == RELKIND_RELATION && rel->trigdesc == NULL &&
		!rel->rd_rel->relrowsecurity &&
		(constraints == NULL ||
		 (constraints->num_check == 0 && !constraints->has_generated_stored));
}

static Source
source_of(const char *column, const CsRowset *rowset, Datum server)
{
	Source		source = {cs_rowset_attribute(rowset, column)};

	if (source.attribute >= 0)
		return source;
	if (strcmp(column, "server") == 0)
		source.value = server;
	else if (strcmp(column, "fetched_at") == 0 || strcmp(column, "price_since") == 0)
		source.value = TimestampTzGetDatum(GetCurrentTransactionStartTimestamp());
	else
		source.isnull = true;
	return source;
}

static void
load_begin(Load *load, const CsRowset *rowset, Datum server)
{
	TupleDesc	columns = RelationGetDescr(load->rel);

	load->estate = CreateExecutorState();
	load->result = makeNode(ResultRelInfo);
	InitResultRelInfo(load->result, load->rel, 0, NULL, 0);
	ExecOpenIndices(load->result, false);
	load->sources = palloc(columns->natts * sizeof(Source));
	for (int i = 0; i < columns->natts; i++)
		load->sources[i] = source_of(NameStr(TupleDescAttr(columns, i)->attname), rowset, server);
	load->nslots = Min(cs_rowset_length(rowset), ROWS_AT_ONCE);
	load->slots = palloc(load->nslots * sizeof(TupleTableSlot *));
	for (int i = 0; i < load->nslots; i++)
		load->slots[i] = table_slot_create(load->rel, NULL);
}

static void
load_end(Load *load)
{
	for (int i = 0; i < load->nslots; i++)
		ExecDropSingleTupleTableSlot(load->slots[i]);
	ExecCloseIndices(load->result);
	FreeExecutorState(load->estate);
}

/* A row of the page as one of the table. */
static void
fill_slot(const Load *load, TupleTableSlot *slot, const CsRowset *rowset, int row)
{
	TupleDesc	columns = RelationGetDescr(load->rel);
	const Datum *values;
	const bool *nulls;

	cs_rowset_row(rowset, row, &values, &nulls);
	ExecClearTuple(slot);
	for (int i = 0; i < columns->natts; i++)
	{
		const Source *source = &load->sources[i];

		slot->tts_values[i] = source->attribute < 0 ? source->value : values[source->attribute];
		slot->tts_isnull[i] = source->attribute < 0 ? source->isnull : nulls[source->attribute];
		if (slot->tts_isnull[i] && TupleDescAttr(columns, i)->attnotnull)
			elog(ERROR, "null value in column \"%s\" of a new product",
				 NameStr(TupleDescAttr(columns, i)->attname));
	}
	ExecStoreVirtualTuple(slot);
}

/*
 * The rows into one index after the other: what an index needs stays in the
 * processor's caches meanwhile, from which a row that goes into all of them
 * drives it out.
 */
static void
index_rows(Load *load, int n)
{
	for (int index = 0; index < load->result->ri_NumIndices; index++)
	{
		ResultRelInfo one = *load->result;

		one.ri_NumIndices = 1;
		one.ri_IndexRelationDescs += index;
		one.ri_IndexRelationInfo += index;
		for (int i = 0; i < n; i++)
		{
			CS_INSERT_INDEX_TUPLES(&one, load->slots[i], load->estate);
			ResetPerTupleExprContext(load->estate);
		}
	}
}

static void
load_rows(Load *load, const CsRowset *rowset)
{
	CommandId	command = GetCurrentCommandId(true);
	int			length = cs_rowset_length(rowset);

	for (int from = 0; from < length; from += load->nslots)
	{
		int			n = Min(length - from, load->nslots);

		for (int i = 0; i < n; i++)
			fill_slot(load, load->slots[i], rowset, from + i);
		table_multi_insert(load->rel, load->slots, n, command, 0, NULL);
		index_rows(load, n);
	}
}

bool
cs_load_products(const CsRowset *rowset, Datum server)
{
	Oid			relid = get_relname_relid("products", get_namespace_oid("cs_internal", false));
	Load		load = {0};

	load.rel = table_open(relid, RowExclusiveLock);
	if (!is_plain(load.rel))
	{
		table_close(load.rel, RowExclusiveLock);
		return false;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	load_begin(&load, rowset, server);
	load_rows(&load, rowset);
	load_end(&load);
	PopActiveSnapshot();
	table_close(load.rel, NoLock);
	CommandCounterIncrement();
	return true;
}
