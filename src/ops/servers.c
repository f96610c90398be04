/*
 * servers.c
 *	  What becomes of stored orders and catalogues when their server is renamed,
 *	  dropped or another API's, and when one gets the name of an earlier one.
 *
 * The command itself decides who may; only then something is done, in the same
 * transaction.  Many commands drop servers, DROP OWNED for one, so that is
 * noted where the server itself is dropped; what becomes of its orders is
 * looked at when the command has ended.  DROP EXTENSION with CASCADE has taken
 * the orders along by then, as it says.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "src/base/state.h"
#include "src/client/options.h"
#include "src/ops/servers.h"
#include "src/shared/wake.h"

#define WRAPPER_NAME "cupsource"

static object_access_hook_type prev_access_hook = NULL;

/* Names of servers that this transaction has dropped and that were not looked at yet. */
static List *dropped = NIL;

static bool
is_ours(Oid serverid)
{
	return OidIsValid(serverid) &&
		GetForeignServer(serverid)->fdwid == get_foreign_data_wrapper_oid(WRAPPER_NAME, true);
}

/* The API of one of our servers; NULL if it is none. */
static const char *
api_of(const char *name)
{
	Oid			serverid = get_foreign_server_oid(name, true);

	return is_ours(serverid) ? cs_option_text(GetForeignServer(serverid)->options, "api") : NULL;
}

/* Its catalog row is still there. */
static void
note_drop(Oid serverid)
{
	MemoryContext old;

	if (!is_ours(serverid))
		return;
	old = MemoryContextSwitchTo(TopTransactionContext);
	dropped = lappend(dropped, pstrdup(GetForeignServer(serverid)->servername));
	MemoryContextSwitchTo(old);
}

static void
object_access(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *arg)
{
	if (prev_access_hook)
		prev_access_hook(access, class_id, object_id, sub_id, arg);
	if (access == OAT_DROP && class_id == ForeignServerRelationId)
		note_drop(object_id);
}

static void
forget_drops(XactEvent event, void *arg)
{
	dropped = NIL;
}

void
cs_server_init(void)
{
	prev_access_hook = object_access_hook;
	object_access_hook = object_access;
	RegisterXactCallback(forget_drops, NULL);
}

void
cs_server_change_read(Node *command, CsServerChange *change)
{
	memset(change, 0, sizeof(*change));
	if (IsA(command, RenameStmt) &&
		castNode(RenameStmt, command)->renameType == OBJECT_FOREIGN_SERVER)
	{
		RenameStmt *rename = castNode(RenameStmt, command);

		if (is_ours(get_foreign_server_oid(strVal(rename->object), true)))
		{
			change->old_name = strVal(rename->object);
			change->new_name = rename->newname;
		}
	}
	else if (IsA(command, CreateForeignServerStmt))
	{
		CreateForeignServerStmt *create = castNode(CreateForeignServerStmt, command);

		if (strcmp(create->fdwname, WRAPPER_NAME) == 0 &&
			!OidIsValid(get_foreign_server_oid(create->servername, true)))
			change->created = create->servername;
		change->configured = create->servername;
	}
	else if (IsA(command, AlterForeignServerStmt))
	{
		change->configured = castNode(AlterForeignServerStmt, command)->servername;
		change->old_api = api_of(change->configured);
	}
	else if (IsA(command, CreateUserMappingStmt))
		change->configured = castNode(CreateUserMappingStmt, command)->servername;
	else if (IsA(command, AlterUserMappingStmt))
		change->configured = castNode(AlterUserMappingStmt, command)->servername;
}

static void
follow_rename(const CsServerChange *change)
{
	static CsStatement server_renamed = {
		"SELECT cs_internal.server_renamed($1, $2)", 2, {TEXTOID, TEXTOID}
	};
	CsStateScope scope;
	Datum		values[2];

	values[0] = CStringGetTextDatum(change->old_name);
	values[1] = CStringGetTextDatum(change->new_name);
	cs_state_enter(&scope);
	cs_state_run(&server_renamed, values, NULL);
	cs_state_leave(&scope);
	cs_wake_at_commit();
}

static void
follow_create(const char *name)
{
	static CsStatement server_created = {
		"SELECT cs_internal.server_created($1)", 1, {TEXTOID}
	};
	CsStateScope scope;
	Datum		value = CStringGetTextDatum(name);

	cs_state_enter(&scope);
	cs_state_run(&server_created, &value, NULL);
	cs_state_leave(&scope);
}

/* In a scope.  An extension that was not updated yet may lack the function. */
static bool
is_there(const CsStatement *statement, char *name)
{
	List	   *function = list_make2(makeString("cs_internal"), makeString(name));

	return OidIsValid(LookupFuncName(function, statement->nargs, statement->argtypes, true));
}

/*
 * Nobody queues an order from here on, and those that were committed are seen,
 * also by a transaction whose snapshot is older.
 */
static void
lock_orders(void)
{
	LockRelationOid(get_relname_relid("orders", get_namespace_oid("cs_internal", false)),
					ShareRowExclusiveLock);
}

/* Its orders would go to another partner, in a form that is not its. */
static void
follow_api(const char *name)
{
	static CsStatement server_api_changed = {
		"SELECT cs_internal.server_api_changed($1)", 1, {TEXTOID}
	};
	CsStateScope scope;
	Datum		value = CStringGetTextDatum(name);

	lock_orders();
	cs_state_enter(&scope);
	if (is_there(&server_api_changed, "server_api_changed"))
		cs_state_read_latest(&server_api_changed, &value, NULL);
	cs_state_leave(&scope);
}

static void
follow_drop(const char *name)
{
	static CsStatement server_dropped = {
		"SELECT cs_internal.server_dropped($1)", 1, {TEXTOID}
	};
	static CsStatement catalog_forget = {
		"SELECT cs_internal.catalog_forget($1)", 1, {TEXTOID}
	};
	CsStateScope scope;
	Datum		value = CStringGetTextDatum(name);

	lock_orders();
	cs_state_enter(&scope);
	cs_state_read_latest(&server_dropped, &value, NULL);
	if (is_there(&catalog_forget, "catalog_forget"))
		cs_state_run(&catalog_forget, &value, NULL);
	cs_state_leave(&scope);
}

/* A drop that was rolled back since has left its server where it was. */
static void
follow_drops(void)
{
	while (dropped != NIL)
	{
		const char *name = linitial(dropped);

		dropped = list_delete_first(dropped);
		if (!OidIsValid(get_foreign_server_oid(name, true)))
			follow_drop(name);
	}
}

/*
 * Who configures a schedule means that this cluster keeps it.  A dump that is
 * being restored does not: as all that pg_dump writes it goes without checks of
 * functions, and whose the schedule is will come with its data.
 */
static void
claim_schedule(void)
{
	static CsStatement claim_first = {"SELECT cs_internal.claim_first()", 0};
	CsStateScope scope;

	if (!check_function_bodies)
		return;
	cs_state_enter(&scope);
	if (is_there(&claim_first, "claim_first"))
		cs_state_run(&claim_first, NULL, NULL);
	cs_state_leave(&scope);
}

/* The worker is to look at the schedule, if the server is on it. */
static void
follow_options(const char *name)
{
	Oid			serverid = get_foreign_server_oid(name, true);

	if (is_ours(serverid) &&
		cs_option_seconds(GetForeignServer(serverid)->options, "refresh_interval", 0) > 0)
	{
		claim_schedule();
		cs_wake_at_commit_for_schedule();
	}
}

void
cs_server_change_follow(const CsServerChange *change)
{
	if ((change->old_name == NULL && change->configured == NULL && dropped == NIL) ||
		!cs_extension_present())
		return;

	/* A superuser sees all orders anyway, and may mean the account that was there. */
	if (change->created && !superuser())
		follow_create(change->created);
	if (change->old_name)
		follow_rename(change);
	if (change->old_api && strcmp(change->old_api, api_of(change->configured)) != 0)
		follow_api(change->configured);
	if (change->configured)
		follow_options(change->configured);
	follow_drops();
}
