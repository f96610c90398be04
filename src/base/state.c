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
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "src/base/state.h"

#define EXTENSION_NAME "cupsource"

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

bool
cs_extension_lock(void)
{
	Oid			extension = get_extension_oid(EXTENSION_NAME, true);

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);

	/* It may have been dropped, or dropped and created, while we waited. */
	if (get_extension_oid(EXTENSION_NAME, true) == extension)
		return true;
	UnlockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	return false;
}

/* The owner of the extension; throws if it is not installed in this database. */
static Oid
extension_owner(void)
{
	static const char *const name = EXTENSION_NAME;
	Relation	rel;
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;
	Oid			owner = InvalidOid;

	/* There is no syscache for pg_extension before version 18. */
	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ,
				CStringGetDatum(name));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);

	if (!OidIsValid(owner))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"%s\" is not installed in this database", EXTENSION_NAME),
				 errhint("Use CREATE EXTENSION %s.", EXTENSION_NAME)));
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

static SPIPlanPtr
kept_plan(CsStatement *statement)
{
	if (statement->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(statement->sql, statement->nargs, statement->argtypes);

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
