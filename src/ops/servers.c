/*
 * servers.c
 *	  What becomes of stored orders and catalogues when their server is renamed
 *	  or dropped, and when a server gets the name of an earlier one.
 *
 * The command itself decides who may; only then something is done, in the same
 * transaction.  DROP EXTENSION, DROP OWNED and DROP FOREIGN DATA WRAPPER with
 * CASCADE do not come this way: they mean what they say.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "utils/builtins.h"

#include "src/base/state.h"
#include "src/ops/servers.h"
#include "src/shared/wake.h"

#define WRAPPER_NAME "cupsource"

static bool
is_ours(const char *name)
{
	Oid			serverid = get_foreign_server_oid(name, true);

	return OidIsValid(serverid) &&
		GetForeignServer(serverid)->fdwid == get_foreign_data_wrapper_oid(WRAPPER_NAME, true);
}

void
cs_server_change_read(Node *command, CsServerChange *change)
{
	memset(change, 0, sizeof(*change));
	if (IsA(command, RenameStmt) &&
		castNode(RenameStmt, command)->renameType == OBJECT_FOREIGN_SERVER)
	{
		RenameStmt *rename = castNode(RenameStmt, command);

		if (is_ours(strVal(rename->object)))
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
	}
	else if (IsA(command, DropStmt) &&
			 castNode(DropStmt, command)->removeType == OBJECT_FOREIGN_SERVER)
	{
		ListCell   *lc;

		foreach(lc, castNode(DropStmt, command)->objects)
		{
			if (is_ours(strVal(lfirst(lc))))
				change->dropped = lappend(change->dropped, strVal(lfirst(lc)));
		}
	}
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

static void
follow_drop(const char *name)
{
	static CsStatement server_dropped = {
		"SELECT cs_internal.server_dropped($1)", 1, {TEXTOID}
	};
	CsStateScope scope;
	Datum		value = CStringGetTextDatum(name);

	cs_state_enter(&scope);
	cs_state_run(&server_dropped, &value, NULL);
	cs_state_leave(&scope);
}

void
cs_server_change_follow(const CsServerChange *change)
{
	ListCell   *lc;

	if ((change->old_name == NULL && change->created == NULL && change->dropped == NIL) ||
		!cs_extension_present())
		return;

	/* A superuser sees all orders anyway, and may mean the account that was there. */
	if (change->created && !superuser())
		follow_create(change->created);
	if (change->old_name)
		follow_rename(change);
	foreach(lc, change->dropped)
		follow_drop(lfirst(lc));
}
