/*
 * fdw.c
 *	  The handler of the foreign-data wrapper: which function does what.
 */
#include "postgres.h"

#include "fmgr.h"

#include "src/base/state.h"
#include "src/fdw/fdw.h"

PG_FUNCTION_INFO_V1(cs_sql_fdw_handler);

/*
 * There is no AnalyzeForeignTable: a sample would have to be asked for.  And
 * no parallel scan: each process would ask for itself.
 */
Datum
cs_sql_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	cs_require_preload();
	routine->GetForeignRelSize = cs_plan_size;
	routine->GetForeignPaths = cs_plan_paths;
	routine->GetForeignPlan = cs_plan_scan;
	routine->BeginForeignScan = cs_scan_begin;
	routine->IterateForeignScan = cs_scan_iterate;
	routine->ReScanForeignScan = cs_scan_rescan;
	routine->EndForeignScan = cs_scan_end;
	routine->ExplainForeignScan = cs_explain_scan;

	routine->IsForeignRelUpdatable = cs_modify_updatable;
	routine->AddForeignUpdateTargets = cs_modify_add_targets;
	routine->PlanForeignModify = cs_modify_plan;
	routine->BeginForeignModify = cs_modify_begin;
	routine->BeginForeignInsert = cs_modify_begin_insert;
	routine->ExecForeignInsert = cs_modify_insert;
	routine->ExecForeignDelete = cs_modify_delete;
	routine->ExplainForeignModify = cs_explain_modify;

	routine->ImportForeignSchema = cs_import_schema;

	routine->IsForeignPathAsyncCapable = cs_plan_is_async;
	routine->ForeignAsyncRequest = cs_async_request;
	routine->ForeignAsyncConfigureWait = cs_async_configure_wait;
	routine->ForeignAsyncNotify = cs_async_notify;
	PG_RETURN_POINTER(routine);
}
