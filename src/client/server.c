/*
 * server.c
 *	  Which foreign server is meant, and may it be used?
 *
 * Nothing is cached: who may use what can change by memberships too, and the
 * catalogs that are looked at are small.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_foreign_server.h"
#include "foreign/foreign.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "src/api/api.h"
#include "src/base/compat.h"
#include "src/base/guc.h"
#include "src/client/server.h"

#define WRAPPER_NAME "cupsource"
#define SERVERS_LISTED 10		/* in a message */

static bool
may_use(Oid serverid, Oid userid)
{
	return object_aclcheck(ForeignServerRelationId, serverid, userid, ACL_USAGE) == ACLCHECK_OK;
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/*
 * The names of the servers that the current user may use, sorted.  *only is
 * one of them, *all how many servers the wrapper has.
 */
static List *
usable_servers(Oid *only, int *all)
{
	List	   *names = NIL;
	Oid			wrapper = get_foreign_data_wrapper_oid(WRAPPER_NAME, true);
	Relation	rel = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	*only = InvalidOid;
	*all = 0;
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server server = (Form_pg_foreign_server) GETSTRUCT(tuple);

		if (server->srvfdw != wrapper)
			continue;
		(*all)++;
		if (may_use(server->oid, GetUserId()))
		{
			*only = server->oid;
			names = lappend(names, pstrdup(NameStr(server->srvname)));
		}
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(names, compare_names);
	return names;
}

/* The first of the names, quoted, for a message. */
static char *
name_list(List *names)
{
	StringInfoData list;
	ListCell   *cell;

	initStringInfo(&list);
	foreach(cell, names)
	{
		if (foreach_current_index(cell) == SERVERS_LISTED)
		{
			appendStringInfo(&list, " and %d more", list_length(names) - SERVERS_LISTED);
			break;
		}
		appendStringInfo(&list, "%s\"%s\"", list.len > 0 ? ", " : "", (char *) lfirst(cell));
	}
	return list.data;
}

static void
refuse_no_server(int all)
{
	const char *role = GetUserNameFromId(GetUserId(), false);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("role \"%s\" may not use any cupsource server", role),
			 all == 0
			 ? errdetail("There is no server of the foreign-data wrapper \"%s\" in this database.",
						 WRAPPER_NAME) : 0,
			 all == 0
			 ? errhint("Connect a partner account: CREATE SERVER hub FOREIGN DATA WRAPPER %s "
					   "OPTIONS (api '%s'); then CREATE USER MAPPING FOR %s SERVER hub "
					   "OPTIONS (api_key '...').",
					   WRAPPER_NAME, cs_apis[0]->name, quote_identifier(role))
			 : errhint("Let the owner of a server GRANT USAGE ON FOREIGN SERVER ... TO %s.",
					   quote_identifier(role))));
}

static Oid
only_usable_server(void)
{
	Oid			only;
	int			all;
	List	   *names = usable_servers(&only, &all);

	if (names == NIL)
		refuse_no_server(all);
	if (list_length(names) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_AMBIGUOUS_PARAMETER),
				 errmsg("it is not clear which server is meant"),
				 errdetail("Usable servers are %s.", name_list(names)),
				 errhint("Name one by the argument \"server\", or SET cupsource.server.")));
	list_free_deep(names);
	return only;
}

static void
refuse_unknown_server(const char *name, bool by_setting)
{
	Oid			only;
	int			all;
	List	   *names = usable_servers(&only, &all);

	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("server \"%s\" does not exist", name),
			 by_setting ? errdetail("It is named by the setting \"cupsource.server\".") : 0,
			 names ? errhint("Usable servers are %s.", name_list(names))
			 : errhint("Connect a partner account: CREATE SERVER %s FOREIGN DATA WRAPPER %s "
					   "OPTIONS (api '%s').",
					   quote_identifier(name), WRAPPER_NAME, cs_apis[0]->name)));
}

void
cs_server_check_usage(Oid serverid, Oid userid)
{
	if (!may_use(serverid, userid))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for foreign server %s",
						GetForeignServer(serverid)->servername),
				 errdetail("Role \"%s\" has no USAGE on it.", GetUserNameFromId(userid, false))));
}

void
cs_server_check_name(Oid serverid, const char *name)
{
	if (get_foreign_server_oid(name, true) != serverid)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("server \"%s\" does not exist", name),
				 errdetail("It has just been dropped or renamed.")));
}

/* Without GetForeignServer, which unfolds all options. */
static Oid
wrapper_of(Oid serverid)
{
	HeapTuple	tuple = SearchSysCache1(FOREIGNSERVEROID, ObjectIdGetDatum(serverid));
	Oid			wrapper;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for foreign server %u", serverid);
	wrapper = ((Form_pg_foreign_server) GETSTRUCT(tuple))->srvfdw;
	ReleaseSysCache(tuple);
	return wrapper;
}

/* Throws unless it is a cupsource server that 'userid' may use. */
static void
check_server(Oid serverid, Oid userid)
{
	Oid			wrapper = wrapper_of(serverid);

	if (wrapper != get_foreign_data_wrapper_oid(WRAPPER_NAME, true))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("server \"%s\" is not a cupsource server",
						GetForeignServer(serverid)->servername),
				 errdetail("It belongs to the foreign-data wrapper \"%s\".",
						   GetForeignDataWrapper(wrapper)->fdwname)));
	cs_server_check_usage(serverid, userid);
}

const ForeignServer *
cs_server_check(Oid serverid, Oid userid)
{
	check_server(serverid, userid);
	return GetForeignServer(serverid);
}

Oid
cs_server_resolve(const char *name)
{
	bool		by_setting = false;
	Oid			serverid;

	if (name == NULL && cs_guc_server[0] != '\0')
	{
		name = cs_guc_server;
		by_setting = true;
	}
	if (name == NULL)
		return only_usable_server();

	serverid = get_foreign_server_oid(name, true);
	if (!OidIsValid(serverid))
		refuse_unknown_server(name, by_setting);
	check_server(serverid, GetUserId());
	return serverid;
}
