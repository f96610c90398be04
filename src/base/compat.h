/*
 * compat.h
 *	  Every difference between PostgreSQL versions that the project knows of.
 *
 * No other file tests PG_VERSION_NUM.  PostgreSQL 15 is the floor: it brought
 * shmem_request_hook, MarkGUCPrefixReserved and InitMaterializedSRF.
 */
#ifndef CS_BASE_COMPAT_H
#define CS_BASE_COMPAT_H

#include "postgres.h"

#include "catalog/pg_database.h"
#include "catalog/pg_foreign_server.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "cupsource needs PostgreSQL 15 or newer"
#endif

/* For what must be read by no other version than the one that wrote it. */
#define CS_SERVER_VERSION PG_VERSION_NUM

#if PG_VERSION_NUM < 160000
#define object_aclcheck(classid, objectid, roleid, mode) \
	pg_foreign_server_aclcheck(objectid, roleid, mode)
#define CS_OWNS_DATABASE(database, role) pg_database_ownercheck(database, role)
#define CS_OWNS_SERVER(server, role) pg_foreign_server_ownercheck(server, role)
#else
#define CS_OWNS_DATABASE(database, role) \
	object_ownercheck(DatabaseRelationId, database, role)
#define CS_OWNS_SERVER(server, role) \
	object_ownercheck(ForeignServerRelationId, server, role)
#endif

#if PG_VERSION_NUM < 160000
#define CS_QUALIFIED_NAME_LIST(text) stringToQualifiedNameList(text)
#else
#define CS_QUALIFIED_NAME_LIST(text) stringToQualifiedNameList(text, NULL)
#endif

/*
 * The index entries of a new row; the indexes' unique keys are enforced.  TRY:
 * of a speculative one; those of the arbiters only set *conflict.
 */
#if PG_VERSION_NUM < 160000
#define CS_INSERT_INDEX_TUPLES(result, slot, estate) \
	((void) ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL))
#define CS_TRY_INDEX_TUPLES(result, slot, estate, conflict, arbiters) \
	((void) ExecInsertIndexTuples(result, slot, estate, false, true, conflict, arbiters))
#else
#define CS_INSERT_INDEX_TUPLES(result, slot, estate) \
	((void) ExecInsertIndexTuples(result, slot, estate, false, false, NULL, NIL, false))
#define CS_TRY_INDEX_TUPLES(result, slot, estate, conflict, arbiters) \
	((void) ExecInsertIndexTuples(result, slot, estate, false, true, conflict, arbiters, false))
#endif

/* The number of this process among ProcGlobal->allProcs. */
#if PG_VERSION_NUM >= 170000
#define CS_MY_PROC_NUMBER MyProcNumber
#else
#define CS_MY_PROC_NUMBER (MyProc->pgprocno)
#endif

#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#include "storage/waiteventset.h"
#endif

#if PG_VERSION_NUM >= 170000
#include "utils/resowner.h"
#define CS_CREATE_WAIT_EVENT_SET(nevents) CreateWaitEventSet(NULL, nevents)
/* A named wait event, allocated when it is first waited for. */
#define CS_WAIT_EVENT(cache, name) \
	((cache) != 0 ? (cache) : ((cache) = WaitEventExtensionNew(name)))
#else
#define CS_CREATE_WAIT_EVENT_SET(nevents) CreateWaitEventSet(TopMemoryContext, nevents)
#define CS_WAIT_EVENT(cache, name) ((void) (cache), (void) (name), PG_WAIT_EXTENSION)
#endif

/* A jsonb value in the making: begun as {0}, the root in 'result' at the end. */
#if PG_VERSION_NUM >= 190000
typedef JsonbInState CsJsonbBuild;
#define CS_PUSH_JSONB(build, token, value) pushJsonbValue(build, token, value)
#else
typedef struct CsJsonbBuild
{
	JsonbParseState *parseState;
	JsonbValue *result;
} CsJsonbBuild;
#define CS_PUSH_JSONB(build, token, value) \
	((build)->result = pushJsonbValue(&(build)->parseState, token, value))
#endif

/* Stands before the declaration, as in 18. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/* A path of the foreign-data wrapper; 'private' is its fdw_private. */
#if PG_VERSION_NUM >= 180000
#define CS_CREATE_FOREIGN_PATH(root, rel, rows, startup, total, outer, private) \
	create_foreignscan_path(root, rel, NULL, rows, 0, startup, total, NIL, outer, NULL, NIL, \
							private)
#elif PG_VERSION_NUM >= 170000
#define CS_CREATE_FOREIGN_PATH(root, rel, rows, startup, total, outer, private) \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, outer, NULL, NIL, private)
#else
#define CS_CREATE_FOREIGN_PATH(root, rel, rows, startup, total, outer, private) \
	create_foreignscan_path(root, rel, NULL, rows, startup, total, NIL, outer, NULL, private)
#endif

#if PG_VERSION_NUM >= 170000
#define CS_ESTIMATE_ARRAY_LENGTH(root, array) estimate_array_length(root, array)
#else
#define CS_ESTIMATE_ARRAY_LENGTH(root, array) ((void) (root), estimate_array_length(array))
#endif

/* The user whose rights a scan has, and a table that is written to. */
#if PG_VERSION_NUM >= 160000
#define CS_SCAN_USER(node) \
	(OidIsValid(((ForeignScan *) (node)->ss.ps.plan)->checkAsUser) ? \
	 ((ForeignScan *) (node)->ss.ps.plan)->checkAsUser : GetUserId())
#define CS_RESULT_USER(result, estate) ExecGetResultRelCheckAsUser(result, estate)
#else
#define CS_RANGE_TABLE_USER(entry) \
	(OidIsValid((entry)->checkAsUser) ? (entry)->checkAsUser : GetUserId())
#define CS_SCAN_USER(node) \
	CS_RANGE_TABLE_USER(exec_rt_fetch(((Scan *) (node)->ss.ps.plan)->scanrelid, \
									  (node)->ss.ps.state))
#define CS_RESULT_USER(result, estate) \
	CS_RANGE_TABLE_USER(exec_rt_fetch((result)->ri_RangeTableIndex, estate))
#endif

/* After an attribute of a row type was changed in place. */
#if PG_VERSION_NUM >= 180000
#define CS_ATTRIBUTE_CHANGED(tupdesc, i) populate_compact_attribute(tupdesc, i)
#else
#define CS_ATTRIBUTE_CHANGED(tupdesc, i) ((void) 0)
#endif

/* A generated column that is not stored: there is no value in a row that a trigger gets. */
#if PG_VERSION_NUM >= 180000
#define CS_IS_VIRTUAL(attribute) ((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define CS_IS_VIRTUAL(attribute) ((void) (attribute), false)
#endif

/* The last argument must be a NULL pointer. */
#ifdef __GNUC__
#define CS_SENTINEL __attribute__((sentinel))
#else
#define CS_SENTINEL
#endif

#if PG_VERSION_NUM >= 170000
#define CS_LOCK_HELD(tag, mode) LockHeldByMe(tag, mode, false)
#else
#define CS_LOCK_HELD(tag, mode) LockHeldByMe(tag, mode)
#endif

#endif							/* CS_BASE_COMPAT_H */
