/*
 * table.c
 *	  A foreign table and the resource of its server's API.
 *
 * Read anew from the catalogs for each plan and scan: their caches are fast
 * enough, and nothing here can be out of date.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/rel.h"

#include "src/client/options.h"
#include "src/fdw/fdw.h"
#include "src/wire/datum.h"

const CsColumn *
cs_resource_column(const CsResource *resource, const char *name)
{
	for (const CsColumn *column = resource ? resource->columns : NULL; column && column->name;
		 column++)
		if (strcmp(column->name, name) == 0)
			return column;
	return NULL;
}

bool
cs_is_alternative(const char *alternatives, const char *name)
{
	size_t		length = strlen(name);

	while (alternatives)
	{
		size_t		n = strcspn(alternatives, "|");

		if (n == length && strncmp(alternatives, name, n) == 0)
			return true;
		alternatives = alternatives[n] ? alternatives + n + 1 : NULL;
	}
	return false;
}

/* The filter that stands in the resource's path; NULL if none does. */
static const CsFilter *
path_filter(const CsResource *resource)
{
	for (const CsFilter *filter = resource->filters; filter && filter->name; filter++)
		if (filter->param == NULL)
			return filter;
	return NULL;
}

/* The detail that has one row for each row of the list of that name. */
static const CsResource *
completing_detail(const CsApi *api, const char *list)
{
	for (const CsResource *resource = api->resources; resource->name; resource++)
		if (resource->id_list && strcmp(resource->id_list, list) == 0 &&
			resource->lists[0] == NULL)
			return resource;
	return NULL;
}

static void
find_resources(CsTable *table)
{
	const CsResource *own = cs_api_resource(table->api, table->resource);

	if (own && path_filter(own))
	{
		table->detail = own;
		table->list = own->id_list ? cs_api_resource(table->api, own->id_list) : NULL;
	}
	else
	{
		table->list = own;
		table->detail = completing_detail(table->api, table->resource);
		table->completes = table->detail != NULL;
	}
	if (table->detail)
		table->id = path_filter(table->detail);
}

static void
add_fixed_filter(CsTable *table, DefElem *option)
{
	const CsResource *list = table->detail && !table->completes ? NULL : table->list;
	bool		known = false;

	for (const CsFilter *filter = list ? list->filters : NULL; filter && filter->name; filter++)
		known |= strcmp(filter->name, option->defname) == 0;
	if (!known || table->nfixed == CS_MAX_ARGUMENTS)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("%s cannot filter resource \"%s\" by \"%s\"",
						table->api->title, table->resource, option->defname)));
	table->fixed[table->nfixed].name = option->defname;
	table->fixed[table->nfixed++].value = cs_utf8_from_server(defGetString(option));
}

CsTable *
cs_table_get(Oid relid)
{
	CsTable    *table = palloc0(sizeof(CsTable));
	ForeignTable *foreign = GetForeignTable(relid);
	ForeignServer *server = GetForeignServer(foreign->serverid);
	const char *api = cs_option_text(server->options, "api");
	ListCell   *cell;

	table->serverid = server->serverid;
	table->server = server->servername;
	table->api = api ? cs_api_find(api) : NULL;
	table->resource = cs_option_text(foreign->options, "resource");
	table->pushdown = cs_option_boolean(foreign->options, "pushdown", true);
	if (table->api == NULL || table->resource == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"%s\" is required", table->api ? "resource" : "api")));
	if (cs_shown_table(table->resource) == NULL ||
		(cs_api_resource(table->api, table->resource) == NULL &&
		 strcmp(table->resource, "orders") != 0))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_TABLE_NOT_FOUND),
				 errmsg("%s, the API of server \"%s\", has no resource \"%s\" that can be read",
						table->api->title, table->server, table->resource),
				 errhint("Its resources are: %s.", cs_shown_resources(table->api))));
	find_resources(table);
	foreach(cell, foreign->options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, "resource") != 0 && strcmp(option->defname, "pushdown") != 0)
			add_fixed_filter(table, option);
	}
	return table;
}

bool
cs_table_has_states(const CsTable *table)
{
	return strcmp(table->resource, "orders") == 0;
}

static bool
is_shown(const CsColumn *column)
{
	return column && (column->flags & CS_COLUMN_UNSHOWN) == 0;
}

/*
 * The value of a column must not depend on the other columns that are asked
 * for.  So what both have is taken from the one whose document shows it.
 */
int
cs_table_source(const CsTable *table, const char *column)
{
	const CsColumn *in_list;
	const CsColumn *in_detail = cs_resource_column(table->detail, column);

	if (cs_table_has_states(table) && strcmp(column, "state") == 0)
		return cs_table_source(table, "remote_status");
	if (table->detail && !table->completes)
	{
		if (cs_is_alternative(table->id->columns, column))
			return CS_SOURCE_LIST | CS_SOURCE_DETAIL;
		return in_detail || strcmp(column, "raw") == 0 ? CS_SOURCE_DETAIL : 0;
	}
	if (strcmp(column, "raw") == 0)
		return (table->list ? CS_SOURCE_LIST : 0) | (table->detail ? CS_SOURCE_DETAIL : 0) |
			(table->list && table->detail ? CS_SOURCE_BOTH_NEEDED : 0);
	in_list = cs_resource_column(table->list, column);
	if (is_shown(in_list) != is_shown(in_detail))
		return is_shown(in_list) ? CS_SOURCE_LIST : CS_SOURCE_DETAIL;
	if (is_shown(in_list))
		return CS_SOURCE_LIST | CS_SOURCE_DETAIL;
	if (in_detail)
		return CS_SOURCE_DETAIL;
	return in_list ? CS_SOURCE_LIST : 0;
}

bool
cs_is_unshown_filter(const CsTable *table, const char *column)
{
	const CsColumn *in_list = cs_resource_column(table->list, column);

	if (table->detail || in_list == NULL || is_shown(in_list))
		return false;
	for (const CsFilter *filter = table->list->filters; filter && filter->name; filter++)
		if (filter->match == CS_MATCH_EQUAL && cs_is_alternative(filter->columns, column))
			return true;
	return false;
}

int
cs_table_attribute(TupleDesc tupdesc, const char *name)
{
	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);

		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return i;
	}
	return -1;
}
