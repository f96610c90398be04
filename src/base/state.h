/*
 * state.h
 *	  Calls of the state-changing SQL functions in cs_internal, from C.
 *
 * Stored state changes only in SQL; this is the way there.  Plans are kept
 * for the life of the process and follow invalidation by themselves.
 */
#ifndef CS_BASE_STATE_H
#define CS_BASE_STATE_H

#include "postgres.h"

#include "executor/spi.h"

#define CS_STATEMENT_MAX_ARGS 24

/*
 * One statement of the form SELECT … FROM cs_internal.f($1, …): no operator
 * and no unqualified name in it, since the caller's search_path is in force.
 * Declared static by its user; 'plan' starts as NULL.
 */
typedef struct CsStatement
{
	const char *sql;
	int			nargs;
	Oid			argtypes[CS_STATEMENT_MAX_ARGS];
	SPIPlanPtr	plan;
} CsStatement;

/* A bracket: SPI is connected and the extension's owner is the current user inside. */
typedef struct CsStateScope
{
	Oid			save_userid;
	int			save_sec_context;
} CsStateScope;

/*
 * Throws ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE unless the library was
 * preloaded.  The first line of every SQL entry point.
 */
extern void cs_require_preload(void);

/* Set by _PG_init when the postmaster loaded the library. */
extern bool cs_preloaded;

/* Is the extension installed in this database (and not just being created)? */
extern bool cs_extension_present(void);

/*
 * For a background transaction: locks the extension against DROP and ALTER
 * until the transaction ends; false if it is not there (any more).
 */
extern bool cs_extension_lock(void);

/*
 * Enter and leave.  On ERROR the (sub)transaction's abort restores user and
 * SPI; no PG_TRY is needed.  Scopes nest.
 */
extern void cs_state_enter(CsStateScope *scope);
extern void cs_state_leave(const CsStateScope *scope);

/*
 * Runs the statement inside a scope and returns SPI_processed; rows are in
 * SPI_tuptable until cs_state_leave.  'nulls' as for SPI ('n' or ' '), or NULL.
 */
extern uint64 cs_state_run(CsStatement *statement, Datum *values, const char *nulls);

/* The same, read-only, with a snapshot newer than the caller's transaction's. */
extern uint64 cs_state_read_latest(CsStatement *statement, Datum *values, const char *nulls);

/* A cursor over its rows inside a scope, read-only; to be closed before the scope is left. */
extern Portal cs_state_open(CsStatement *statement, Datum *values, const char *nulls);

#endif							/* CS_BASE_STATE_H */
