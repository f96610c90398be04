/*
 * import.c
 *	  IMPORT FOREIGN SCHEMA: a table for each resource of the API.
 *
 * What is cached has the columns of its view, so that a query can be pointed
 * at the one or the other.  What belongs to an order has the descriptor's
 * columns, and the partner's id of the order.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

#include "src/base/state.h"
#include "src/client/options.h"
#include "src/fdw/fdw.h"
#include "src/wire/datum.h"

/* The one remote schema. */
#define REMOTE_SCHEMA "api"

const CsShownTable cs_shown_tables[] =
{
	{"products", "products", "cs_products"},
	{"models", "models", "cs_models"},
	{"variations", "variations", "cs_variations"},
	{"placements", "placements", "cs_placements"},
	{"print_methods", "print_methods", "cs_print_methods"},
	{"balance", "balance", "cs_balance"},
	{"orders", "orders", "cs_orders"},
	{"order_items", "order_items", NULL},
	{"shipments", "shipments", NULL},
	{"events", "order_events", NULL},
	{0}
};

const CsShownTable *
cs_shown_table(const char *resource)
{
	for (const CsShownTable *shown = cs_shown_tables; shown->resource; shown++)
		if (strcmp(shown->resource, resource) == 0)
			return shown;
	return NULL;
}

int
cs_view_columns(const char *view, CsViewColumn **columns)
{
	static CsStatement columns_statement = {
		"SELECT v.name, v.type, v.type_oid FROM cs_internal.view_columns($1) AS v", 1, {TEXTOID}
	};
	MemoryContext cxt = CurrentMemoryContext;
	Datum		value = CStringGetTextDatum(view);
	CsStateScope scope;
	int			n;

	cs_state_enter(&scope);
	n = (int) cs_state_run(&columns_statement, &value, NULL);
	*columns = MemoryContextAlloc(cxt, Max(n, 1) * sizeof(CsViewColumn));
	for (int i = 0; i < n; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	tupdesc = SPI_tuptable->tupdesc;
		bool		isnull;

		(*columns)[i].name = MemoryContextStrdup(cxt, SPI_getvalue(row, tupdesc, 1));
		(*columns)[i].type = MemoryContextStrdup(cxt, SPI_getvalue(row, tupdesc, 2));
		(*columns)[i].type_oid = DatumGetObjectId(SPI_getbinval(row, tupdesc, 3, &isnull));
	}
	cs_state_leave(&scope);
	return n;
}

/* Types by their schemas: the command is run with the user's search_path. */
static void
append_column(StringInfo command, const char *name, const char *type)
{
	appendStringInfo(command, "%s  %s %s", command->data[command->len - 1] == '(' ? "\n" : ",\n",
					 quote_identifier(name), type);
}

static void
append_view_columns(StringInfo command, const char *view)
{
	CsViewColumn *columns;
	int			n = cs_view_columns(view, &columns);

	for (int i = 0; i < n; i++)
		append_column(command, columns[i].name, columns[i].type);
}

/* The order that a part of it belongs to comes first, also where the answer does not repeat it. */
static void
append_own_columns(StringInfo command, const CsResource *resource)
{
	append_column(command, "server", "pg_catalog.text");
	for (const CsFilter *filter = resource->filters; filter && filter->name; filter++)
		if (filter->param == NULL && cs_resource_column(resource, filter->columns) == NULL)
			append_column(command, filter->columns, "pg_catalog.text");
	for (const CsColumn *column = resource->columns; column->name; column++)
		append_column(command, column->name, format_type_be_qualified(cs_type_oid(column->type)));
	append_column(command, "raw", "pg_catalog.jsonb");
	append_column(command, "fetched_at", "pg_catalog.timestamptz");
}

static char *
table_command(const ForeignServer *server, const CsApi *api, const CsShownTable *shown)
{
	StringInfoData command;

	initStringInfo(&command);
	appendStringInfo(&command, "CREATE FOREIGN TABLE %s (", quote_identifier(shown->name));
	if (shown->view)
		append_view_columns(&command, shown->view);
	else
		append_own_columns(&command, cs_api_resource(api, shown->resource));
	appendStringInfo(&command, "\n) SERVER %s OPTIONS (resource '%s');",
					 quote_identifier(server->servername), shown->resource);
	return command.data;
}

/* Where orders can be placed there is a table for them, also if they cannot be listed. */
static bool
has_table(const CsApi *api, const CsShownTable *shown)
{
	return cs_api_resource(api, shown->resource) != NULL ||
		(strcmp(shown->resource, "orders") == 0 && api->orders->create_path != NULL);
}

/* What is shown of an API, by its tables' names or by the resources', separated by commas. */
static char *
list_shown(const CsApi *api, bool resources)
{
	StringInfoData names;

	initStringInfo(&names);
	for (const CsShownTable *shown = cs_shown_tables; shown->resource; shown++)
		if (has_table(api, shown))
			appendStringInfo(&names, "%s%s", names.len > 0 ? ", " : "",
							 resources ? shown->resource : shown->name);
	return names.data;
}

char *
cs_shown_resources(const CsApi *api)
{
	return list_shown(api, true);
}

/* Whoever limits the import to a table wants it. */
static void
check_limit(const ImportForeignSchemaStmt *statement, const CsApi *api)
{
	ListCell   *cell;

	if (statement->list_type != FDW_IMPORT_SCHEMA_LIMIT_TO)
		return;
	foreach(cell, statement->table_list)
	{
		const char *name = lfirst_node(RangeVar, cell)->relname;
		bool		known = false;

		for (const CsShownTable *shown = cs_shown_tables; shown->resource; shown++)
			known |= has_table(api, shown) && strcmp(shown->name, name) == 0;
		if (!known)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_TABLE_NOT_FOUND),
					 errmsg("%s has no table \"%s\"", api->title, name),
					 errhint("Its tables are: %s.", list_shown(api, false))));
	}
}

List *
cs_import_schema(ImportForeignSchemaStmt *statement, Oid serverid)
{
	ForeignServer *server = GetForeignServer(serverid);
	const CsApi *api = cs_api_find(cs_option_text(server->options, "api"));
	List	   *commands = NIL;

	if (strcmp(statement->remote_schema, REMOTE_SCHEMA) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_SCHEMA_NOT_FOUND),
				 errmsg("schema \"%s\" does not exist on server \"%s\"",
						statement->remote_schema, server->servername),
				 errhint("The only schema of a cupsource server is \"%s\".", REMOTE_SCHEMA)));
	if (statement->options != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("invalid option \"%s\"",
						linitial_node(DefElem, statement->options)->defname),
				 errhint("IMPORT FOREIGN SCHEMA has no options here.")));
	check_limit(statement, api);
	for (const CsShownTable *shown = cs_shown_tables; shown->resource; shown++)
		if (has_table(api, shown) && IsImportableForeignTable(shown->name, statement))
			commands = lappend(commands, table_command(server, api, shown));
	return commands;
}
