/*
 * insert.c
 *	  A new order's row, without planning a statement for it.
 *
 * A user's INSERT pays for each order.  More than half of what an INSERT of
 * ours through SPI costs is setting up a plan's execution, which is the same
 * for every row; so what does not change is kept here: the table's columns,
 * defaults and indexes.  It is forgotten when the table's relcache entry is
 * invalidated, which any ALTER of it or its indexes does.  Neither relations
 * nor locks are kept: a relation that stays open would keep an upgrade in the
 * same transaction from altering it.
 *
 * The insertion is ON CONFLICT DO NOTHING's, a speculative one, and uses the
 * same functions as the executor.  If it meets another row with the external
 * id it is withdrawn and left to the statement, which waits, looks and tells
 * as PostgreSQL does.  So is every insertion into a table to which somebody
 * has added what only the executor serves, such as a trigger or a CHECK.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "src/base/compat.h"
#include "src/orders/insert.h"

static const char *const column_names[CS_ORDER_COLUMNS] =
{
	[CS_ORDER_ID] = "id",
	[CS_ORDER_SERVER] = "server",
	[CS_ORDER_EXTERNAL_ID] = "external_id",
	[CS_ORDER_LINES] = "lines",
	[CS_ORDER_SHIP_TO] = "ship_to",
	[CS_ORDER_OPTIONS] = "options",
	[CS_ORDER_REPLACES] = "replaces",
	[CS_ORDER_CREATED_BY] = "created_by",
	[CS_ORDER_ORIGIN] = "origin",
};

/*
 * What is known of cs_internal.orders.  The relations that 'relinfo' and its
 * index array point to are open during an insertion only.
 */
typedef struct Target
{
	MemoryContext cxt;
	bool		is_plain;		/* nothing on it that needs the executor */
	EState	   *estate;			/* for the expressions of defaults and indexes */
	ResultRelInfo *relinfo;
	TupleTableSlot *slot;
	ExprState **defaults;		/* by attribute; NULL: null */
	AttrNumber	attnums[CS_ORDER_COLUMNS];
	List	   *indexes;		/* OIDs, as in the target's array */
	List	   *arbiters;		/* the unique index of the external id */
} Target;

static Target *known = NULL;
static Oid	known_relid = InvalidOid;	/* even while it is learnt about */
static bool known_is_valid = false;

/* Only marks: it may be in use. */
static void
forget(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == known_relid)
		known_is_valid = false;
}

/* ---- learning about the table ---- */

/* Is it the unique index on (server, external_id), in whatever order? */
static bool
is_arbiter(const Target *learnt, Relation index, const IndexInfo *info)
{
	AttrNumber	server = learnt->attnums[CS_ORDER_SERVER];
	AttrNumber	external_id = learnt->attnums[CS_ORDER_EXTERNAL_ID];
	AttrNumber	first = info->ii_IndexAttrNumbers[0];
	AttrNumber	second = info->ii_IndexAttrNumbers[1];

	return info->ii_Unique && info->ii_NumIndexKeyAttrs == 2 && info->ii_Predicate == NIL &&
		index->rd_index->indimmediate &&
		((first == server && second == external_id) ||
		 (first == external_id && second == server));
}

static bool
is_function(Oid function, void *context)
{
	return true;
}

/* A field of a column calls none. */
static bool
calls_function(Node *node, void *context)
{
	return node != NULL && (check_functions_in_node(node, is_function, NULL) ||
							expression_tree_walker(node, calls_function, context));
}

/*
 * Keeps what the executor knows of the indexes, but not the indexes open.
 * Kinds of index that cache things over insertions, and expressions with
 * functions, which may change unnoticed, are left to the executor.
 */
static void
learn_indexes(Target *learnt)
{
	ResultRelInfo *relinfo = learnt->relinfo;

	ExecOpenIndices(relinfo, false);
	for (int i = 0; i < relinfo->ri_NumIndices; i++)
	{
		Relation	index = relinfo->ri_IndexRelationDescs[i];
		IndexInfo  *info = relinfo->ri_IndexRelationInfo[i];

		if (index->rd_rel->relam != BTREE_AM_OID ||
			calls_function((Node *) info->ii_Expressions, NULL))
			learnt->is_plain = false;
		else if (is_arbiter(learnt, index, info))
			learnt->arbiters = lappend_oid(learnt->arbiters, RelationGetRelid(index));
		learnt->indexes = lappend_oid(learnt->indexes, RelationGetRelid(index));
	}
	ExecCloseIndices(relinfo);
	if (learnt->arbiters == NIL)
		learnt->is_plain = false;
}

static void
learn_columns(Target *learnt, Relation rel)
{
	TupleDesc	tupdesc = RelationGetDescr(rel);

	learnt->slot = MakeSingleTupleTableSlot(CreateTupleDescCopyConstr(tupdesc), &TTSOpsVirtual);
	learnt->defaults = palloc0(sizeof(ExprState *) * tupdesc->natts);
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Node	   *expression = TupleDescAttr(tupdesc, i)->attisdropped ? NULL :
			build_column_default(rel, i + 1);

		if (expression)
			learnt->defaults[i] = ExecPrepareExpr((Expr *) expression, learnt->estate);
	}
	for (int i = 0; i < CS_ORDER_COLUMNS; i++)
	{
		learnt->attnums[i] = get_attnum(RelationGetRelid(rel), column_names[i]);
		if (learnt->attnums[i] == InvalidAttrNumber)
			learnt->is_plain = false;
	}
	if (learnt->attnums[CS_ORDER_ID] == InvalidAttrNumber)
		return;
	for (int i = CS_ORDER_ID + 1; learnt->is_plain && i < CS_ORDER_COLUMNS; i++)
		learnt->defaults[learnt->attnums[i] - 1] = NULL;
}

/* A table with columns, NOT NULL and indexes, and nothing else. */
static bool
is_plain(Relation rel)
{
	TupleConstr *constraints = RelationGetDescr(rel)->constr;

	return rel->rd_rel->relkind == RELKIND_RELATION && !rel->rd_rel->relispartition &&
		rel->trigdesc == NULL && rel->rd_rules == NULL && !rel->rd_rel->relrowsecurity &&
		(constraints == NULL ||
		 (constraints->num_check == 0 && !constraints->has_generated_stored));
}

/* Into a context of its own, which an error leaves to no one. */
static Target *
learn(Relation rel)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource orders",
											  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	Target	   *learnt = palloc0(sizeof(Target));

	learnt->cxt = cxt;
	learnt->estate = CreateExecutorState();
	learnt->relinfo = makeNode(ResultRelInfo);
	learnt->is_plain = is_plain(rel);
	InitResultRelInfo(learnt->relinfo, rel, 0, NULL, 0);
	learn_columns(learnt, rel);
	learn_indexes(learnt);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(cxt, CacheMemoryContext);
	return learnt;
}

/* The table, open and locked, and what is known of it; NULL if there is no such table. */
static Relation
open_target(Target **target)
{
	static bool registered = false;
	Relation	rel;
	Oid			relid;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget, (Datum) 0);
		registered = true;
	}
	relid = known_is_valid ? known_relid :
		get_relname_relid("orders", get_namespace_oid("cs_internal", true));
	rel = OidIsValid(relid) ? try_table_open(relid, RowExclusiveLock) : NULL;
	if (rel == NULL)
		return NULL;
	if (!known_is_valid || known == NULL)
	{
		if (known)
			MemoryContextDelete(known->cxt);
		known = NULL;

		/*
		 * Look-ups may invalidate again: what is read from here on counts.  It
		 * is good for this transaction in any case; with the lock held, what
		 * could make it wrong waits.
		 */
		known_relid = relid;
		known_is_valid = true;
		known = learn(rel);
	}
	*target = known;
	return rel;
}

/* ---- inserting ---- */

static void
open_indexes(Target *target)
{
	ListCell   *cell;

	foreach(cell, target->indexes)
		target->relinfo->ri_IndexRelationDescs[foreach_current_index(cell)] =
			index_open(lfirst_oid(cell), RowExclusiveLock);
}

static void
close_indexes(Target *target)
{
	for (int i = 0; i < target->relinfo->ri_NumIndices; i++)
		index_close(target->relinfo->ri_IndexRelationDescs[i], NoLock);
}

static void
fill_slot(Target *target, const Datum *values, const char *nulls)
{
	TupleTableSlot *slot = target->slot;
	ExprContext *context = GetPerTupleExprContext(target->estate);

	ExecClearTuple(slot);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		slot->tts_isnull[i] = true;
		if (target->defaults[i])
			slot->tts_values[i] = ExecEvalExprSwitchContext(target->defaults[i], context,
															&slot->tts_isnull[i]);
	}
	for (int i = CS_ORDER_ID + 1; i < CS_ORDER_COLUMNS; i++)
	{
		slot->tts_values[target->attnums[i] - 1] = values[i];
		slot->tts_isnull[target->attnums[i] - 1] = nulls[i] == 'n';
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(target->relinfo->ri_RelationDesc);
}

/* False: withdrawn, because of another row with the external id. */
static bool
insert_row(Target *target, Relation rel)
{
	TransactionId xid = GetCurrentTransactionId();
	uint32		token = SpeculativeInsertionLockAcquire(xid);
	bool		conflict = false;

	table_tuple_insert_speculative(rel, target->slot, GetCurrentCommandId(true), 0, NULL, token);
	CS_TRY_INDEX_TUPLES(target->relinfo, target->slot, target->estate, &conflict,
						target->arbiters);
	table_tuple_complete_speculative(rel, target->slot, token, !conflict);
	SpeculativeInsertionLockRelease(xid);
	return !conflict;
}

bool
cs_order_insert(const Datum *values, const char *nulls, int64 *id)
{
	Target	   *target;
	Relation	rel;
	Oid			userid;
	int			sec_context;
	bool		inserted = false;

	PreventCommandIfReadOnly("INSERT");
	rel = open_target(&target);
	if (rel == NULL)
		return false;
	if (target->is_plain)
	{
		GetUserIdAndSecContext(&userid, &sec_context);
		SetUserIdAndSecContext(rel->rd_rel->relowner, sec_context | SECURITY_LOCAL_USERID_CHANGE);
		target->relinfo->ri_RelationDesc = rel;
		ResetPerTupleExprContext(target->estate);
		fill_slot(target, values, nulls);
		ExecConstraints(target->relinfo, target->slot, target->estate);
		open_indexes(target);
		inserted = insert_row(target, rel);
		close_indexes(target);
		*id = DatumGetInt64(target->slot->tts_values[target->attnums[CS_ORDER_ID] - 1]);
		ExecClearTuple(target->slot);
		SetUserIdAndSecContext(userid, sec_context);
	}
	table_close(rel, NoLock);
	if (inserted)
		CommandCounterIncrement();
	return inserted;
}
