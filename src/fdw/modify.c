/*
 * modify.c
 *	  INSERT into a table of orders places them, DELETE cancels them; nothing
 *	  else can be written.
 *
 * Both go by the call path, as cs_create_order and cs_cancel_order: what the
 * partner has done is journalled in transactions of the worker and does not
 * roll back with the statement.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "optimizer/appendinfo.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

#include "src/base/compat.h"
#include "src/base/state.h"
#include "src/fdw/fdw.h"
#include "src/orders/orders.h"

/* What a partner can be told; everything else is what it says. */
static const char *const insertable[] = {"server", "external_id", "lines", "ship_to", "options"};

/* ResultRelInfo.ri_FdwState */
typedef struct Modify
{
	CsTable    *table;
	Oid			userid;			/* whose rights and mapping count */
	AttrNumber	remote_id;		/* of the rows to be deleted, in the plan's target list */
} Modify;

/* A switch of the current user, undone by an abort. */
typedef struct UserScope
{
	Oid			userid;
	int			security;
} UserScope;

static void
enter_user(const Modify *modify, UserScope *scope)
{
	GetUserIdAndSecContext(&scope->userid, &scope->security);
	if (modify->userid != scope->userid)
		SetUserIdAndSecContext(modify->userid, scope->security | SECURITY_LOCAL_USERID_CHANGE);
}

static void
leave_user(const UserScope *scope)
{
	SetUserIdAndSecContext(scope->userid, scope->security);
}

/* ---- Planning ---- */

int
cs_modify_updatable(Relation relation)
{
	const CsTable *table = cs_table_get(RelationGetRelid(relation));

	if (!cs_table_has_states(table))
		return 0;
	return (1 << CMD_INSERT) | (table->api->orders->cancel_path ? 1 << CMD_DELETE : 0);
}

void
cs_modify_add_targets(PlannerInfo *root, Index rtindex, RangeTblEntry *entry, Relation relation)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);
	int			i = cs_table_attribute(tupdesc, "remote_id");
	Form_pg_attribute attribute;

	if (i < 0)
		return;					/* it cannot be written to either */
	attribute = TupleDescAttr(tupdesc, i);
	add_row_identity_var(root, makeVar(rtindex, attribute->attnum, attribute->atttypid,
									   attribute->atttypmod, attribute->attcollation, 0),
						 rtindex, "remote_id");
}

List *
cs_modify_plan(PlannerInfo *root, ModifyTable *plan, Index result, int subplan)
{
	if (plan->onConflictAction != ONCONFLICT_NONE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("INSERT into foreign table \"%s\" cannot have ON CONFLICT",
						get_rel_name(planner_rt_fetch(result, root)->relid)),
				 errhint("An order that is there with this external id and content is returned.")));
	return NIL;
}

/* ---- Execution ---- */

/* Whoever may not call the function may not have the same by a table of his own. */
static void
check_right(const Modify *modify, Relation relation, const char *function)
{
	static CsStatement may_execute = {"SELECT cs_internal.may_execute($1, $2)", 2, {OIDOID, TEXTOID}};
	CsStateScope scope;
	Datum		values[2] = {ObjectIdGetDatum(modify->userid), CStringGetTextDatum(function)};
	bool		isnull;
	bool		may;

	cs_state_enter(&scope);
	cs_state_run(&may_execute, values, NULL);
	may = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	cs_state_leave(&scope);
	if (!may)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", function),
				 errdetail("Foreign table \"%s\" does what the function does.",
						   RelationGetRelationName(relation))));
}

static Modify *
make_modify(EState *estate, ResultRelInfo *result, const char *function)
{
	MemoryContext old = MemoryContextSwitchTo(estate->es_query_cxt);
	Modify	   *modify = palloc0(sizeof(Modify));
	ResultRelInfo *named = result;

	/* A partition that a row is routed to has no entry of its own. */
	while (named->ri_RangeTableIndex == 0 && named->ri_RootResultRelInfo)
		named = named->ri_RootResultRelInfo;
	modify->table = cs_table_get(RelationGetRelid(result->ri_RelationDesc));
	modify->userid = named->ri_RangeTableIndex == 0 ? GetUserId() : CS_RESULT_USER(named, estate);
	MemoryContextSwitchTo(old);
	check_right(modify, result->ri_RelationDesc, function);
	return modify;
}

/* Where the plan has the ids of the orders to be cancelled. */
static AttrNumber
find_remote_id(ModifyTableState *state, Relation relation)
{
	if (cs_table_attribute(RelationGetDescr(relation), "remote_id") < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
				 errmsg("cannot delete from foreign table \"%s\" without a column \"remote_id\"",
						RelationGetRelationName(relation)),
				 errhint("Import the table anew, or cancel the order with cs_cancel_order().")));
	return ExecFindJunkAttributeInTlist(outerPlanState(state)->plan->targetlist, "remote_id");
}

void
cs_modify_begin(ModifyTableState *state, ResultRelInfo *result, List *private, int subplan,
				int eflags)
{
	Modify	   *modify;

	if (eflags & EXEC_FLAG_EXPLAIN_ONLY)
		return;
	modify = make_modify(state->ps.state, result,
						 state->operation == CMD_DELETE ? "cs_cancel_order" : "cs_create_order");
	if (state->operation == CMD_DELETE)
		modify->remote_id = find_remote_id(state, result->ri_RelationDesc);
	result->ri_FdwState = modify;
}

void
cs_modify_begin_insert(ModifyTableState *state, ResultRelInfo *result)
{
	result->ri_FdwState = make_modify(state->ps.state, result, "cs_create_order");
}

static void
check_inserted(const Modify *modify, Relation relation, TupleTableSlot *slot)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		const char *name = NameStr(TupleDescAttr(tupdesc, i)->attname);
		bool		allowed = false;

		if (slot->tts_isnull[i])
			continue;
		for (size_t j = 0; j < lengthof(insertable); j++)
			allowed |= strcmp(name, insertable[j]) == 0;
		if (!allowed)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot insert into column \"%s\" of foreign table \"%s\"",
							name, RelationGetRelationName(relation)),
					 errhint("Give external_id, lines, ship_to and options.")));
		if (strcmp(name, "server") == 0 &&
			strcmp(TextDatumGetCString(slot->tts_values[i]), modify->table->server) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("foreign table \"%s\" belongs to server \"%s\"",
							RelationGetRelationName(relation), modify->table->server)));
	}
}

/* The column's value, or 0 for NULL. */
static Datum
inserted_value(TupleTableSlot *slot, const char *name)
{
	int			i = cs_table_attribute(slot->tts_tupleDescriptor, name);

	return i < 0 || slot->tts_isnull[i] ? (Datum) 0 : slot->tts_values[i];
}

static Datum
inserted_json(TupleTableSlot *slot, const char *name)
{
	Datum		value = inserted_value(slot, name);

	return value == 0 ? value : JsonbPGetDatum(DatumGetJsonbP(value));
}

/* Fills the slot from a row of cs_orders, by the columns' names. */
static void
show_order(TupleTableSlot *slot, Datum order)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(order);
	TupleDesc	from = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header),
											  HeapTupleHeaderGetTypMod(header));
	TupleDesc	to = slot->tts_tupleDescriptor;
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};

	ExecClearTuple(slot);
	for (int i = 0; i < to->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(to, i);
		int			source = attribute->attisdropped ? -1 :
			cs_table_attribute(from, NameStr(attribute->attname));

		slot->tts_isnull[i] = true;
		if (source >= 0)
			slot->tts_values[i] = heap_getattr(&tuple, source + 1, from, &slot->tts_isnull[i]);
	}
	ReleaseTupleDesc(from);
	ExecStoreVirtualTuple(slot);
}

TupleTableSlot *
cs_modify_insert(EState *estate, ResultRelInfo *result, TupleTableSlot *slot,
				 TupleTableSlot *plan_slot)
{
	const Modify *modify = result->ri_FdwState;
	CsOrderForm form = {0};
	UserScope	scope;
	Datum		external_id;
	Datum		order;

	slot_getallattrs(slot);
	check_inserted(modify, result->ri_RelationDesc, slot);
	external_id = inserted_value(slot, "external_id");
	form.external_id = external_id == 0 ? NULL : TextDatumGetCString(external_id);
	form.lines = inserted_json(slot, "lines");
	form.ship_to = inserted_json(slot, "ship_to");
	form.options = inserted_json(slot, "options");

	enter_user(modify, &scope);
	order = cs_order_row(cs_order_place(modify->table->serverid, &form), true);
	leave_user(&scope);
	show_order(slot, order);
	return slot;
}

/* As seen by whoever may have placed it in this transaction. */
static int64
find_order(const Modify *modify, Datum remote_id)
{
	static CsStatement order_of_remote = {
		"SELECT cs_internal.order_of_remote($1, $2, $3)", 3, {TEXTOID, TEXTOID, OIDOID}
	};
	CsStateScope scope;
	Datum		values[3] = {
		CStringGetTextDatum(modify->table->server),
		remote_id,
		ObjectIdGetDatum(GetUserId()),
	};
	bool		isnull;
	int64		id;

	cs_state_enter(&scope);
	cs_state_read_latest(&order_of_remote, values, NULL);
	id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	cs_state_leave(&scope);
	return id;
}

TupleTableSlot *
cs_modify_delete(EState *estate, ResultRelInfo *result, TupleTableSlot *slot,
				 TupleTableSlot *plan_slot)
{
	const Modify *modify = result->ri_FdwState;
	bool		isnull;
	Datum		remote_id = ExecGetJunkAttribute(plan_slot, modify->remote_id, &isnull);
	UserScope	scope;
	Datum		order;
	int64		id;

	if (isnull)
		elog(ERROR, "the order to be cancelled has no id");
	enter_user(modify, &scope);
	id = find_order(modify, remote_id);
	cs_order_cancel(id);
	order = cs_order_row(id, true);
	leave_user(&scope);
	show_order(slot, order);
	return slot;
}
