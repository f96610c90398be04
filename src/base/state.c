/*
 * state.c
 *	  Calls of the state-changing SQL functions in cs_internal, from C.
 *
 * The caller's rights were checked by USAGE on the server; the functions and
 * tables of cs_internal belong to the extension's owner, so a scope switches
 * to that role as a referential-integrity trigger switches to the table's.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "src/base/state.h"

#define EXTENSION_NAME "cupsource"
#define SCHEMA_NAME "cs_internal"

bool		cs_preloaded = false;

void
cs_require_preload(void)
{
	if (!cs_preloaded)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cupsource must be loaded via \"shared_preload_libraries\""),
				 errdetail("Orders are sent by background workers, and all sessions share one request budget; both begin with the server."),
				 errhint("Add cupsource to shared_preload_libraries in postgresql.conf (shared_preload_libraries = 'cupsource'), or use ALTER SYSTEM SET, and restart the server.")));
}

bool
cs_extension_present(void)
{
	return !creating_extension && OidIsValid(get_extension_oid(EXTENSION_NAME, true));
}

/*
 * Before version 18 there is no syscache for pg_extension, and looking into it
 * costs as much as a small statement.  So the extension is known by its schema,
 * which nobody can drop without it: while that has the same OID, it is the same.
 */
bool
cs_extension_lock(void)
{
	static Oid	extension = InvalidOid;
	static Oid	schema = InvalidOid;
	Oid			found = get_namespace_oid(SCHEMA_NAME, true);

	if (!OidIsValid(found) || found != schema)
	{
		if (!cs_extension_present())
			return false;
		extension = get_extension_oid(EXTENSION_NAME, false);
		schema = get_namespace_oid(SCHEMA_NAME, false);
	}
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);

	/* It may have been dropped, or dropped and created, while we waited. */
	if (get_namespace_oid(SCHEMA_NAME, true) == schema)
		return true;
	UnlockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	return false;
}

/* The owner of the extension, as its schema's; throws if it is not installed in this database. */
static Oid
extension_owner(void)
{
	HeapTuple	tuple = SearchSysCache1(NAMESPACENAME, CStringGetDatum(SCHEMA_NAME));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" is not installed in this database", EXTENSION_NAME),
				 errhint("Use CREATE EXTENSION %s.", EXTENSION_NAME)));
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

void
cs_state_enter(CsStateScope *scope)
{
	Oid			owner = extension_owner();

	GetUserIdAndSecContext(&scope->save_userid, &scope->save_sec_context);
	SPI_connect();
	SetUserIdAndSecContext(owner, scope->save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
}

void
cs_state_leave(const CsStateScope *scope)
{
	SetUserIdAndSecContext(scope->save_userid, scope->save_sec_context);
	SPI_finish();
}

/* The version of the extension's objects; NULL: there are none. */
static char *
version_here(void)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	char	   *version = NULL;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(EXTENSION_NAME));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(rel), &isnull);

		if (!isnull)
			version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return version;
}

/* What a statement does not find may come with an update that was forgotten here. */
static void
advise_update(void *arg)
{
	if (ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION)
		errhint("The extension is at version %s in this database, the loaded library at %s. After a new package restart the server, then use ALTER EXTENSION %s UPDATE in each database.",
				(const char *) arg, CUPSOURCE_VERSION, EXTENSION_NAME);
}

/* The versions are compared until they are the same: the library's does not change any more. */
static SPIPlanPtr
prepare(CsStatement *statement)
{
	static bool is_current = false;
	char	   *version = is_current ? NULL : version_here();
	ErrorContextCallback advice = {error_context_stack, advise_update, version};
	SPIPlanPtr	plan;

	is_current = is_current || (version && strcmp(version, CUPSOURCE_VERSION) == 0);
	if (version && !is_current)
		error_context_stack = &advice;
	plan = SPI_prepare(statement->sql, statement->nargs, statement->argtypes);
	error_context_stack = advice.previous;
	return plan;
}

static SPIPlanPtr
kept_plan(CsStatement *statement)
{
	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = prepare(statement);

		if (plan == NULL)
			elog(ERROR, "could not prepare \"%s\": %s", statement->sql,
				 SPI_result_code_string(SPI_result));
		SPI_keepplan(plan);
		statement->plan = plan;
	}
	return statement->plan;
}

uint64
cs_state_run(CsStatement *statement, Datum *values, const char *nulls)
{
	int			result = SPI_execute_plan(kept_plan(statement), values, nulls, false, 0);

	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", statement->sql,
			 SPI_result_code_string(result));
	return SPI_processed;
}

uint64
cs_state_read_latest(CsStatement *statement, Datum *values, const char *nulls)
{
	int			result;

	PushActiveSnapshot(GetLatestSnapshot());
	result = SPI_execute_plan(kept_plan(statement), values, nulls, true, 0);
	PopActiveSnapshot();
	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", statement->sql,
			 SPI_result_code_string(result));
	return SPI_processed;
}

Portal
cs_state_open(CsStatement *statement, Datum *values, const char *nulls)
{
	return SPI_cursor_open(NULL, kept_plan(statement), values, nulls, true);
}
