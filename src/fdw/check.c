/*
 * check.c
 *	  Is a foreign table one that its API can fill?
 *
 * The validator of the wrapper sees options only.  So the columns are looked
 * at after each command that makes or changes a foreign table, in the same
 * transaction.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "src/base/state.h"
#include "src/fdw/check.h"
#include "src/fdw/fdw.h"
#include "src/wire/datum.h"

#define WRAPPER_NAME "cupsource"

static ProcessUtility_hook_type prev_utility_hook = NULL;

/* ---- Columns ---- */

/* Columns that every table may have. */
static const struct
{
	const char *name;
	Oid			type;
}			common_columns[] =
{
	{"server", TEXTOID},
	{"raw", JSONBOID},
	{"fetched_at", TIMESTAMPTZOID},
};

/* What a table of the resource may have, by the view that shows it. */
typedef struct Known
{
	const CsTable *table;
	CsViewColumn *columns;
	int			ncolumns;
} Known;

/* The type that a column must have; InvalidOid if there is no such column. */
static Oid
type_of(const Known *known, const char *name)
{
	const CsColumn *column = cs_resource_column(known->table->list, name);

	if (known->table->detail && (column == NULL || !known->table->completes))
		column = cs_resource_column(known->table->detail, name);
	if (column)
		return cs_type_oid(column->type);
	if (known->table->id && cs_is_alternative(known->table->id->columns, name))
		return TEXTOID;
	for (size_t i = 0; i < lengthof(common_columns); i++)
		if (strcmp(common_columns[i].name, name) == 0)
			return common_columns[i].type;
	for (int i = 0; i < known->ncolumns; i++)
		if (strcmp(known->columns[i].name, name) == 0)
			return known->columns[i].type_oid;
	return InvalidOid;
}

static void
append_columns(StringInfo names, const CsResource *resource)
{
	for (const CsColumn *column = resource ? resource->columns : NULL; column && column->name;
		 column++)
		appendStringInfo(names, "%s%s", names->len > 0 ? ", " : "", column->name);
}

/* Its columns, for a hint. */
static char *
column_names(const Known *known)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < known->ncolumns; i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", known->columns[i].name);
	if (known->ncolumns == 0)
		append_columns(&names, known->table->detail ? known->table->detail : known->table->list);
	return names.data;
}

static void
check_column(const Known *known, const char *relation, const FormData_pg_attribute *attribute)
{
	const char *name = NameStr(attribute->attname);
	Oid			type = type_of(known, name);

	if (!OidIsValid(type))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
				 errmsg("column \"%s\" of foreign table \"%s\" does not exist in resource "
						"\"%s\" of %s",
						name, relation, known->table->resource, known->table->api->title),
				 errhint("Its columns are: %s.", column_names(known))));
	if (attribute->atttypid != type)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_DATA_TYPE),
				 errmsg("column \"%s\" of foreign table \"%s\" must have type %s",
						name, relation, format_type_be(type)),
				 errdetail("It has type %s.", format_type_be(attribute->atttypid))));
}

static void
require_column(TupleDesc tupdesc, const char *relation, const char *name, const char *why)
{
	if (cs_table_attribute(tupdesc, name) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
				 errmsg("foreign table \"%s\" needs a column \"%s\"", relation, name),
				 errdetail_internal("%s", why)));
}

static void
check_table(Oid relid)
{
	Known		known = {cs_table_get(relid)};
	const CsShownTable *shown = cs_shown_table(known.table->resource);
	Relation	relation = relation_open(relid, AccessShareLock);
	TupleDesc	tupdesc = RelationGetDescr(relation);
	const char *name = RelationGetRelationName(relation);

	if (shown->view)
		known.ncolumns = cs_view_columns(shown->view, &known.columns);
	for (int i = 0; i < tupdesc->natts; i++)
		if (!TupleDescAttr(tupdesc, i)->attisdropped)
			check_column(&known, name, TupleDescAttr(tupdesc, i));
	if (known.table->id)
		require_column(tupdesc, name, known.table->id->columns,
					   "By this id the partner is asked for details.");
	if (cs_table_has_states(known.table) && cs_table_attribute(tupdesc, "state") >= 0)
		require_column(tupdesc, name, "remote_status", "What \"state\" says comes from it.");
	relation_close(relation, NoLock);
}

/* ---- Commands ---- */

/* The table that a command makes or changes, as a copy; NULL: none. */
static RangeVar *
changed_table(Node *command)
{
	switch (nodeTag(command))
	{
		case T_CreateForeignTableStmt:
			return copyObject(castNode(CreateForeignTableStmt, command)->base.relation);
		case T_AlterTableStmt:
			return copyObject(castNode(AlterTableStmt, command)->relation);
		case T_RenameStmt:
			if (castNode(RenameStmt, command)->renameType != OBJECT_COLUMN)
				return NULL;
			return copyObject(castNode(RenameStmt, command)->relation);
		default:
			return NULL;
	}
}

static bool
is_ours(Oid relid)
{
	Oid			wrapper = get_foreign_data_wrapper_oid(WRAPPER_NAME, true);

	return get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE &&
		GetForeignServer(GetForeignServerIdByRelId(relid))->fdwid == wrapper;
}

/* A change of columns reaches the tables that inherit them, partitions among them. */
static void
check_tables(Oid relid)
{
	ListCell   *cell;

	foreach(cell, find_all_inheritors(relid, NoLock, NULL))
		if (is_ours(lfirst_oid(cell)))
			check_table(lfirst_oid(cell));
}

static void
utility(PlannedStmt *statement, const char *query, bool read_only_tree,
		ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
		DestReceiver *destination, QueryCompletion *completion)
{
	RangeVar   *changed = changed_table(statement->utilityStmt);
	Oid			relid;

	if (prev_utility_hook)
		prev_utility_hook(statement, query, read_only_tree, context, params, environment,
						  destination, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context, params, environment,
								destination, completion);
	if (changed == NULL || !cs_extension_present())
		return;
	relid = RangeVarGetRelid(changed, NoLock, true);
	if (OidIsValid(relid))
	{
		CommandCounterIncrement();
		check_tables(relid);
	}
}

void
cs_fdw_init(void)
{
	prev_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = utility;
}
