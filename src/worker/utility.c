/*
 * utility.c
 *	  Commands that workers must know of.
 *
 * DROP DATABASE, ALTER DATABASE ... RENAME and SET TABLESPACE, and CREATE
 * DATABASE with this one as its template, fail if anybody else is connected:
 * the worker of that database is asked to leave before, and may come back
 * after, unless the database is gone.
 *
 * COMMIT PREPARED makes the orders of the prepared transaction visible, but is
 * not a commit that transaction callbacks would see: it is followed by a
 * wake-up, needed or not.
 *
 * DROP EXTENSION is followed by one as well, so that the worker sees that it
 * has nothing to do here any more.
 *
 * What is stored follows a server that is renamed, and keeps one from being
 * dropped that orders wait for.  A refresh under the old name is ended first.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/syscache.h"

#include "src/base/compat.h"
#include "src/catalog/products.h"
#include "src/ops/servers.h"
#include "src/shared/wake.h"
#include "src/worker/utility.h"

/*
 * How long the worker has to finish what is on the wire.  After that the
 * command goes on, and gives it five seconds more, as it gives everybody.
 */
#define LEAVE_MS 5000

#define EXTENSION_NAME "cupsource"

static ProcessUtility_hook_type prev_utility_hook = NULL;

/* The value of an option that is a name, or NULL. */
static char *
option_name(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = lfirst_node(DefElem, lc);

		if (strcmp(option->defname, name) == 0 && option->arg != NULL)
			return defGetString(option);
	}
	return NULL;
}

/* The database that the command wants for itself, or NULL. */
static const char *
wanted_database(Node *command)
{
	const char *name;

	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			return castNode(DropdbStmt, command)->dbname;
		case T_RenameStmt:
			if (castNode(RenameStmt, command)->renameType != OBJECT_DATABASE)
				return NULL;
			return castNode(RenameStmt, command)->subname;
		case T_AlterDatabaseStmt:
			if (option_name(castNode(AlterDatabaseStmt, command)->options, "tablespace") == NULL)
				return NULL;
			return castNode(AlterDatabaseStmt, command)->dbname;
		case T_CreatedbStmt:
			name = option_name(castNode(CreatedbStmt, command)->options, "template");
			return name != NULL ? name : "template1";
		default:
			return NULL;
	}
}

/* The server's own have_createdb_privilege() is exported by its newest minor releases only. */
static bool
may_create_databases(void)
{
	HeapTuple	role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		may = superuser();

	if (HeapTupleIsValid(role))
	{
		may |= ((Form_pg_authid) GETSTRUCT(role))->rolcreatedb;
		ReleaseSysCache(role);
	}
	return may;
}

static bool
is_template(Oid database)
{
	HeapTuple	row = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		template = false;

	if (HeapTupleIsValid(row))
	{
		template = ((Form_pg_database) GETSTRUCT(row))->datistemplate;
		ReleaseSysCache(row);
	}
	return template;
}

/*
 * Who may not do it is refused by the command itself, and is not to disturb
 * the worker before.  A template may be copied by others than its owner.
 */
static Oid
database_to_vacate(Node *command)
{
	const char *name = wanted_database(command);
	Oid			database;

	if (name == NULL)
		return InvalidOid;
	database = get_database_oid(name, true);
	if (!OidIsValid(database) || database == MyDatabaseId)
		return InvalidOid;
	if (IsA(command, CreatedbStmt) && !may_create_databases())
		return InvalidOid;
	if (!(IsA(command, CreatedbStmt) && is_template(database)) &&
		!CS_OWNS_DATABASE(database, GetUserId()))
		return InvalidOid;
	return database;
}

static bool
drops_extension(Node *command)
{
	ListCell   *lc;

	if (!IsA(command, DropStmt) || castNode(DropStmt, command)->removeType != OBJECT_EXTENSION)
		return false;
	foreach(lc, castNode(DropStmt, command)->objects)
	{
		if (strcmp(strVal(lfirst(lc)), EXTENSION_NAME) == 0)
			return true;
	}
	return false;
}

static void
next_hook(PlannedStmt *statement, const char *query, bool read_only_tree,
		  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
		  DestReceiver *destination, QueryCompletion *completion)
{
	if (prev_utility_hook)
		prev_utility_hook(statement, query, read_only_tree, context, params, environment,
						  destination, completion);
	else
		standard_ProcessUtility(statement, query, read_only_tree, context, params, environment,
								destination, completion);
}

static void
utility(PlannedStmt *statement, const char *query, bool read_only_tree,
		ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *environment,
		DestReceiver *destination, QueryCompletion *completion)
{
	Node	   *command = statement->utilityStmt;
	bool		drops = IsA(command, DropdbStmt);
	bool		commits = IsA(command, TransactionStmt) &&
		castNode(TransactionStmt, command)->kind == TRANS_STMT_COMMIT_PREPARED;
	bool		leaves = drops_extension(command);
	Oid			database = database_to_vacate(command);
	CsServerChange servers;

	if (OidIsValid(database))
	{
		volatile bool gone = false;

		PG_TRY();
		{
			cs_database_vacate(database, LEAVE_MS);
			next_hook(statement, query, read_only_tree, context, params, environment,
					  destination, completion);
			gone = drops;
		}
		PG_FINALLY();
		{
			cs_database_release(gone);
		}
		PG_END_TRY();
		return;
	}

	cs_server_change_read(command, &servers);

	/* The statement may have gone with its transaction after this. */
	next_hook(statement, query, read_only_tree, context, params, environment, destination,
			  completion);
	if (servers.old_name)
		cs_catalog_bar(get_foreign_server_oid(servers.new_name, false), servers.old_name);
	cs_server_change_follow(&servers);
	if (commits)
		cs_wake_known(MyDatabaseId);
	if (leaves)
		cs_wake_at_commit();
}

void
cs_utility_init(void)
{
	prev_utility_hook = ProcessUtility_hook;
	ProcessUtility_hook = utility;
	cs_server_init();
}
