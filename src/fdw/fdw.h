/*
 * fdw.h
 *	  Foreign tables: what the files of this folder share.
 *
 * A table shows one resource of its server's API.  Its rows come from a list,
 * page by page; from details, each asked for by an id; or from a list whose
 * rows a detail completes with more columns.  What of this is asked for
 * depends on the columns and conditions of the query: plan.c decides, fetch.c
 * asks, scan.c hands out the rows.
 */
#ifndef CS_FDW_FDW_H
#define CS_FDW_FDW_H

#include "postgres.h"

#include "executor/executor.h"
#include "foreign/fdwapi.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "utils/tuplestore.h"

#include "src/client/account.h"
#include "src/client/page.h"
#include "src/client/rows.h"

#define CS_MAX_ARGUMENTS 8

/* ---- table.c: a table and its resource ---- */

typedef struct CsTable
{
	Oid			serverid;
	const char *server;			/* name */
	const CsApi *api;
	const char *resource;		/* the option's value: a name of the descriptor */
	const CsResource *list;		/* NULL: the API has none */
	const CsResource *detail;	/* asked for by an id; NULL: there is none */
	bool		completes;		/* 'detail' has the same rows as 'list', with more columns */
	const CsFilter *id;			/* of 'detail'; its 'columns' names the table's column */
	bool		pushdown;		/* may conditions be sent? */
	CsArgument	fixed[CS_MAX_ARGUMENTS];	/* filters that are the table's own */
	int			nfixed;
} CsTable;

/* Where the value of a column can be taken from. */
#define CS_SOURCE_LIST		0x01
#define CS_SOURCE_DETAIL	0x02
#define CS_SOURCE_BOTH_NEEDED	0x04	/* else either of the two will do */

/* The table with that OID, in the current context.  Throws for options that do not fit its API. */
extern CsTable *cs_table_get(Oid relid);

/* CS_SOURCE_… of a column; 0: of none (server, or known here only). */
extern int	cs_table_source(const CsTable *table, const char *column);

/* The attribute of that name, from 0; -1 if there is none. */
extern int	cs_table_attribute(TupleDesc tupdesc, const char *name);

/* The rows of 'table' are orders, of which a row has the state as we call it. */
extern bool cs_table_has_states(const CsTable *table);

/* The descriptor's column of that name; NULL if the resource is NULL or has none. */
extern const CsColumn *cs_resource_column(const CsResource *resource, const char *name);

/* Is 'name' one of the alternatives "a|b"?  NULL has none. */
extern bool cs_is_alternative(const char *alternatives, const char *name);

/*
 * Can the partner filter by the column, but does not show it (so its document)?
 * Only a condition that is sent can tell which rows have a value then.
 */
extern bool cs_is_unshown_filter(const CsTable *table, const char *column);

/* ---- filter.c: conditions that the API can filter by ---- */

typedef enum CsConditionKind
{
	CS_CONDITION_EQUAL,			/* column = text */
	CS_CONDITION_PATTERN,		/* column LIKE or ILIKE text: sent if it is '%…%' */
	CS_CONDITION_SINCE,			/* column >= timestamptz */
	CS_CONDITION_ANY			/* column = ANY (text[]), of an id */
} CsConditionKind;

typedef struct CsCondition
{
	const CsFilter *filter;
	CsConditionKind kind;
	Expr	   *clause;
	Expr	   *value;
	AttrNumber	filled;			/* column that rows lack, and have by being asked for; or 0 */
} CsCondition;

/* Can the clause be sent to the API?  Variables of other relations stand for parameters. */
extern bool cs_condition_match(PlannerInfo *root, RelOptInfo *rel, Oid relid, const CsTable *table,
							   Expr *clause, CsCondition *condition);

/* The filter that is decided here: it compares the table's server. */
extern const CsFilter cs_server_filter;

/* Could an equality with the expression, which is to be a column, be sent? */
extern bool cs_condition_column(RelOptInfo *rel, Oid relid, const CsTable *table, Expr *expression);

/* What a condition asks for, now that its value is known. */
typedef enum CsAsked
{
	CS_ASKED,					/* *wire is what to send, UTF-8 */
	CS_ASKED_EVERYTHING,		/* the API cannot be asked for this */
	CS_ASKED_NOTHING			/* no row can fulfil it */
} CsAsked;

extern CsAsked cs_condition_text(const CsFilter *filter, CsConditionKind kind, Datum value,
								 bool isnull, char **wire);

/* Of CS_CONDITION_ANY and an id that is EQUAL: the ids, each once. */
extern int	cs_condition_ids(CsConditionKind kind, Datum value, bool isnull, char ***ids);

/* ---- plan.c ---- */

/* ForeignScan.fdw_private, a list of lists of integers and one of names, by these indexes. */
enum
{
	CS_PLAN_FILTERS,			/* names, one for each condition that is sent */
	CS_PLAN_KINDS,				/* their CsConditionKind */
	CS_PLAN_FILLED,				/* their CsCondition.filled */
	CS_PLAN_COLUMNS,			/* attribute numbers that are needed */
	CS_PLAN_NUMBERS				/* by the next indexes */
};

enum
{
	CS_PLAN_BY_ID,				/* a condition gives ids */
	CS_PLAN_NEEDS_LIST,
	CS_PLAN_NEEDS_DETAIL,
	CS_PLAN_READ_AHEAD,			/* all rows are wanted */
	CS_PLAN_ONCE,				/* never scanned again */
	CS_PLAN_GOAL				/* rows after which nobody will ask for more; -1: unknown */
};

/*
 * ForeignScan.fdw_exprs is a list of lists: the conditions' values, the
 * clauses that can be judged by the list alone, the clauses that are sent.
 */
enum
{
	CS_EXPRS_VALUES, CS_EXPRS_EARLY, CS_EXPRS_SENT
};

extern void cs_plan_size(PlannerInfo *root, RelOptInfo *rel, Oid relid);
extern void cs_plan_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid);
extern ForeignScan *cs_plan_scan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path,
								 List *tlist, List *clauses, Plan *outer_plan);
extern bool cs_plan_is_async(ForeignPath *path);

/* ---- estimate.c: how many rows there are, as far as is known here ---- */

typedef struct CsEstimate
{
	double		listed;			/* rows of the list */
	double		per_id;			/* rows of a detail */
} CsEstimate;

/* Asks nobody. */
extern void cs_estimate(const CsTable *table, CsEstimate *estimate);

/* The whole list has so many rows. */
extern void cs_estimate_learn(const CsTable *table, double listed);

/* ---- fetch.c, choose.c, scan.c ---- */

/*
 * Read pointers of CsScan.rows: the active one does not see what is written,
 * so one is for writing.  The others are the beginnings of answers.
 */
enum
{
	CS_POINTER_WRITE, CS_POINTER_READ
};

/* The rows of one set of arguments, in CsScan.rows. */
typedef struct CsAnswer
{
	uint8		arguments[16];	/* the beginning of their digest */
	int			pointer;		/* at its first row; CS_POINTER_READ: it is the only answer */
	int64		rows;
	bool		complete;
} CsAnswer;

/* What is asked for: filters of the list, or ids. */
typedef struct CsArguments
{
	CsArgument	filters[CS_MAX_ARGUMENTS];
	int			n;
	Datum		filled[CS_MAX_ARGUMENTS];	/* as CsScan.filled */
	char	  **ids;
	int			nids;
} CsArguments;

typedef struct CsScan
{
	MemoryContext cxt;			/* of the scan; the struct is in it */
	ForeignScanState *node;
	CsTable    *table;
	CsAccount  *account;

	/* Of the plan. */
	bool		by_id;
	bool		needs_list;
	bool		needs_detail;
	bool		read_ahead;
	bool		keep;			/* rows may be wanted again */
	bool		choose_anew;	/* before the next row: the conditions may have changed */
	bool		dropped;		/* rows of the answer are not in the store any more */
	int64		goal;
	const CsFilter *filters[CS_MAX_ARGUMENTS];
	CsConditionKind kinds[CS_MAX_ARGUMENTS];
	int			filled[CS_MAX_ARGUMENTS];	/* attribute numbers, or 0 */
	List	   *values;			/* ExprStates */
	ExprState  *early;
	ExprContext *econtext;		/* for 'early' and 'values' */

	/* Reading.  Attributes that are not needed count as dropped. */
	TupleDesc	tupdesc;
	CsRowReader *list_reader;
	CsRowReader *detail_reader;
	int			id_attribute;	/* from 0, or -1 */
	int			raw_attribute;
	int			state_attribute;
	int			status_attribute;
	MemoryContext shown_cxt;	/* of the document whose rows are read: */
	const char **shown;			/* what each says of its order beside the status */
	int			nshown;
	int			shown_row;		/* the next one */
	bool	   *from_list;		/* by attribute: completing keeps the list's value */
	Datum	   *out_values;		/* the row that is about to be put */
	bool	   *out_nulls;

	/* The rows. */
	Tuplestorestate *rows;
	TupleTableSlot *row;
	HTAB	   *answers;		/* if 'keep' */
	CsAnswer   *answer;			/* the current one; NULL: to be chosen */
	CsAnswer	only_answer;	/* if not 'keep' */
	int64		handed_out;		/* rows of it */
	int64		ahead_at;		/* after so many the next page is asked for */

	/* What is being asked for the current answer. */
	MemoryContext answer_cxt;	/* NULL: no answer was begun */
	CsArguments arguments;
	int			next_id;
	bool		list_ended;
	bool		has_listed_row;
	bool		finder_filtered;
	CsPager    *list;
	Tuplestorestate *listed;	/* rows of a page whose details are missing */
	TupleTableSlot *listed_row;
	TupleTableSlot *early_row;	/* virtual, what 'early' judges */
	MemoryContext detail_cxt;
	CsPager    *detail;
	const char *detail_id;		/* what it was asked by, UTF-8 */
	MemoryContext finder_cxt;
	CsPager    *finder;			/* looks in the list for the row of an id */
	HeapTuple	found_detail;	/* the row that 'finder' is to complete */

	/* Of the pagers that are gone. */
	CsCallCost	cost;
} CsScan;

/*
 * Evaluates the conditions and begins the answer to them, or goes back to the
 * beginning of one that is there.
 */
extern void cs_fetch_choose(CsScan *scan);

/* Would cs_fetch_step not wait?  Asks for what it will need.  *wait_ms as for cs_pager_poll. */
extern bool cs_fetch_poll(CsScan *scan, long *wait_ms);

/* Takes the next answer of the partner, waiting for it; false if there are no more. */
extern bool cs_fetch_step(CsScan *scan);

/* Ends what is being asked for. */
extern void cs_fetch_abandon(CsScan *scan);

/* What the scan has cost so far. */
extern CsCallCost cs_fetch_cost(const CsScan *scan);

extern bool cs_scan_read(CsScan *scan, Tuplestorestate *store, TupleTableSlot *slot);
extern void cs_scan_begin(ForeignScanState *node, int eflags);
extern TupleTableSlot *cs_scan_iterate(ForeignScanState *node);
extern void cs_scan_rescan(ForeignScanState *node);
extern void cs_scan_end(ForeignScanState *node);

/* ---- async.c ---- */

extern void cs_async_request(AsyncRequest *request);
extern void cs_async_configure_wait(AsyncRequest *request);
extern void cs_async_notify(AsyncRequest *request);

/* ---- explain.c ---- */

struct ExplainState;
extern void cs_explain_scan(ForeignScanState *node, struct ExplainState *es);
extern void cs_explain_modify(ModifyTableState *state, ResultRelInfo *result, List *private,
							  int subplan, struct ExplainState *es);

/* ---- modify.c ---- */

extern int	cs_modify_updatable(Relation relation);
extern void cs_modify_add_targets(PlannerInfo *root, Index rtindex, RangeTblEntry *entry,
								  Relation relation);
extern List *cs_modify_plan(PlannerInfo *root, ModifyTable *plan, Index result, int subplan);
extern void cs_modify_begin(ModifyTableState *state, ResultRelInfo *result, List *private,
							int subplan, int eflags);
extern void cs_modify_begin_insert(ModifyTableState *state, ResultRelInfo *result);
extern TupleTableSlot *cs_modify_insert(EState *estate, ResultRelInfo *result,
										TupleTableSlot *slot, TupleTableSlot *plan_slot);
extern TupleTableSlot *cs_modify_delete(EState *estate, ResultRelInfo *result,
										TupleTableSlot *slot, TupleTableSlot *plan_slot);

/* ---- import.c, check.c ---- */

extern List *cs_import_schema(ImportForeignSchemaStmt *statement, Oid serverid);

/* The tables that IMPORT FOREIGN SCHEMA makes; ended by a NULL resource. */
typedef struct CsShownTable
{
	const char *resource;
	const char *name;			/* of the table */
	const char *view;			/* whose columns it has; NULL: the descriptor's */
} CsShownTable;

extern const CsShownTable cs_shown_tables[];

/* NULL if the resource is not shown as a table. */
extern const CsShownTable *cs_shown_table(const char *resource);

/* The names of an API's resources that are shown, separated by commas. */
extern char *cs_shown_resources(const CsApi *api);

/* A view's columns. */
typedef struct CsViewColumn
{
	char	   *name;
	char	   *type;
	Oid			type_oid;
} CsViewColumn;

extern int	cs_view_columns(const char *view, CsViewColumn **columns);

#endif							/* CS_FDW_FDW_H */
