/*
 * plan.c
 *	  Which requests a query needs, and what they cost.
 *
 * Nothing here asks a partner, so that EXPLAIN and planning are free.  A
 * request costs far more than any local work, and the account's budget of
 * requests more than time: so a plan that asks less is the better one.
 */
#include "postgres.h"

#include <math.h>

#include "access/sysattr.h"
#include "nodes/makefuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

#include "src/base/compat.h"
#include "src/fdw/fdw.h"

/*
 * As much as reading 100,000 rows here.  More would make the planner believe
 * that there is work to be compiled (jit_above_cost) where there is waiting.
 */
#define REQUEST_COST 1000.0

/* A list that does not exist, or does not show what is joined by: better take a parameter. */
#define NO_LIST_COST 1.0e10

/* RelOptInfo.fdw_private */
typedef struct Planned
{
	Oid			relid;
	CsTable    *table;
	CsEstimate	estimate;
	Bitmapset  *columns;		/* attribute numbers that are needed */
	bool		needs_list;
	bool		needs_detail;
	bool		joins_unshown;	/* by a column that has values only if it is asked for by one */
} Planned;

/* The conditions among clauses that are sent, and how. */
typedef struct Sent
{
	CsCondition conditions[CS_MAX_ARGUMENTS];
	int			n;
	bool		by_id;			/* there is one, and it gives ids */
} Sent;

/* ---- Columns ---- */

/* Attributes of the table that the nodes mention; a whole row mentions all. */
static Bitmapset *
add_columns(Bitmapset *columns, const RelOptInfo *rel, Node *nodes)
{
	Bitmapset  *found = NULL;

	pull_varattnos(nodes, rel->relid, &found);
	for (int attnum = 1; attnum <= rel->max_attr; attnum++)
		if (bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, found) ||
			bms_is_member(0 - FirstLowInvalidHeapAttributeNumber, found))
			columns = bms_add_member(columns, attnum);
	return columns;
}

/* Which parts of the API's answers the needed columns come from. */
static void
find_needs(Planned *planned)
{
	const CsTable *table = planned->table;
	int			attnum = -1;

	if (table->detail && !table->completes)
	{
		planned->needs_detail = true;
		return;
	}
	while ((attnum = bms_next_member(planned->columns, attnum)) >= 0)
	{
		const char *name = get_attname(planned->relid, attnum, true);
		int			source = name ? cs_table_source(table, name) : 0;

		if (source == CS_SOURCE_LIST || (source & CS_SOURCE_BOTH_NEEDED))
			planned->needs_list = true;
		if (source == CS_SOURCE_DETAIL || (source & CS_SOURCE_BOTH_NEEDED))
			planned->needs_detail = true;
	}
}

/* ---- Conditions ---- */

static bool
is_id_condition(const CsTable *table, const CsCondition *condition)
{
	return table->id && condition->filter == table->id;
}

/* A detail is asked for by its id alone. */
static void
begin_by_id(Sent *sent)
{
	int			n = 0;

	sent->by_id = true;
	for (int i = 0; i < sent->n; i++)
		if (sent->conditions[i].filter == &cs_server_filter)
			sent->conditions[n++] = sent->conditions[i];
	sent->n = n;
}

/* The condition that gives the ids. */
static const CsCondition *
id_condition(const CsTable *table, const Sent *sent)
{
	for (int i = 0; i < sent->n; i++)
		if (is_id_condition(table, &sent->conditions[i]))
			return &sent->conditions[i];
	elog(ERROR, "no condition gives ids");
	return NULL;				/* keep compiler quiet */
}

/* Each filter takes one value: the first condition for it is sent, or better an equality. */
static void
add_condition(Sent *sent, const CsTable *table, const CsCondition *condition)
{
	if (is_id_condition(table, condition) && !sent->by_id)
		begin_by_id(sent);
	else if (sent->by_id && condition->filter != &cs_server_filter)
		return;
	for (int i = 0; i < sent->n; i++)
	{
		if (sent->conditions[i].filter != condition->filter)
			continue;
		if (condition->kind == CS_CONDITION_EQUAL &&
			sent->conditions[i].kind == CS_CONDITION_PATTERN)
			sent->conditions[i] = *condition;
		return;
	}
	if (sent->n + table->nfixed < CS_MAX_ARGUMENTS)
		sent->conditions[sent->n++] = *condition;
}

/* 'clauses' are RestrictInfos. */
static void
find_sent(PlannerInfo *root, RelOptInfo *rel, const Planned *planned, List *clauses, Sent *sent)
{
	ListCell   *cell;

	memset(sent, 0, sizeof(*sent));
	foreach(cell, clauses)
	{
		RestrictInfo *info = lfirst_node(RestrictInfo, cell);
		CsCondition condition;

		if (!info->pseudoconstant &&
			cs_condition_match(root, rel, planned->relid, planned->table, info->clause, &condition))
			add_condition(sent, planned->table, &condition);
	}
}

/* A column in the nodes that the partner filters by but does not show; or NULL. */
static const char *
unshown_column(const Planned *planned, const RelOptInfo *rel, Node *nodes)
{
	Bitmapset  *columns = add_columns(NULL, rel, nodes);
	int			attnum = -1;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
	{
		const char *name = get_attname(planned->relid, attnum, true);

		if (name && cs_is_unshown_filter(planned->table, name))
			return name;
	}
	return NULL;
}

/* ---- Size ---- */

static double
ids_in(PlannerInfo *root, const CsCondition *condition)
{
	if (condition->kind != CS_CONDITION_ANY)
		return 1;
	return CS_ESTIMATE_ARRAY_LENGTH(root, (Node *) condition->value);
}

/* The clauses without the one that is the condition. */
static List *
clauses_besides(List *clauses, const CsCondition *condition)
{
	List	   *others = NIL;
	ListCell   *cell;

	foreach(cell, clauses)
		if (lfirst_node(RestrictInfo, cell)->clause != condition->clause)
			others = lappend(others, lfirst(cell));
	return others;
}

/*
 * A condition on a column that the partner does not show can only be judged by
 * the partner.  Judged here it would silently leave no row.
 */
static void
check_unshown(const RelOptInfo *rel, const Planned *planned, const Sent *sent)
{
	ListCell   *cell;

	foreach(cell, rel->baserestrictinfo)
	{
		Expr	   *clause = lfirst_node(RestrictInfo, cell)->clause;
		const char *column = unshown_column(planned, rel, (Node *) clause);
		bool		is_sent = false;

		for (int i = 0; i < sent->n; i++)
			is_sent |= sent->conditions[i].clause == clause;
		if (column && !is_sent)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("column \"%s\" of foreign table \"%s\" can only be compared by =",
							column, get_rel_name(planned->relid)),
					 errdetail("%s filters by it, but does not show it.",
							   planned->table->api->title),
					 errhint("Give one value; the table's option \"pushdown\" must not be off.")));
	}
}

void
cs_plan_size(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	Planned    *planned = palloc0(sizeof(Planned));
	ListCell   *cell;
	Sent		sent;

	planned->relid = relid;
	planned->table = cs_table_get(relid);
	cs_estimate(planned->table, &planned->estimate);
	planned->columns = add_columns(NULL, rel, (Node *) rel->reltarget->exprs);
	foreach(cell, rel->baserestrictinfo)
		planned->columns = add_columns(planned->columns, rel,
									   (Node *) lfirst_node(RestrictInfo, cell)->clause);
	find_needs(planned);
	rel->fdw_private = planned;

	rel->tuples = planned->estimate.listed * planned->estimate.per_id;
	set_baserel_size_estimates(root, rel);
	find_sent(root, rel, planned, rel->baserestrictinfo, &sent);
	check_unshown(rel, planned, &sent);
	if (sent.by_id)
	{
		const CsCondition *id = id_condition(planned->table, &sent);

		rel->rows = ids_in(root, id) * planned->estimate.per_id *
			clauselist_selectivity(root, clauses_besides(rel->baserestrictinfo, id), rel->relid,
								   JOIN_INNER, NULL);
		rel->rows = clamp_row_est(rel->rows);
	}
}

/* ---- Paths ---- */

/* How many requests the list, or those of its details that are needed, take. */
static double
list_requests(PlannerInfo *root, RelOptInfo *rel, const Planned *planned, const Sent *sent,
			  double *first)
{
	const CsResource *list = planned->table->list;
	double		rows = planned->estimate.listed;
	List	   *clauses = NIL;
	double		pages;

	for (int i = 0; i < sent->n; i++)
		clauses = lappend(clauses, sent->conditions[i].clause);
	rows *= clauselist_selectivity(root, clauses, rel->relid, JOIN_INNER, NULL);
	rows = clamp_row_est(rows);
	pages = list->paging == CS_PAGING_NONE ? 1 : Max(1, ceil(rows / list->page_size));
	*first = 1;
	if (!planned->needs_detail)
		return pages;
	*first += 1;
	return pages + rows;
}

static void
add_path_for(PlannerInfo *root, RelOptInfo *rel, const Planned *planned, const Sent *sent,
			 double rows, Relids required_outer)
{
	const CsTable *table = planned->table;
	double		requests;
	double		first;
	List	   *private;
	Cost		startup;
	Cost		total;

	if (sent->by_id)
	{
		first = planned->needs_list ? 2 : 1;
		requests = first * ids_in(root, id_condition(table, sent));
	}
	else if (table->list == NULL || (planned->joins_unshown && bms_is_empty(required_outer)))
	{
		first = 1;
		requests = NO_LIST_COST / REQUEST_COST;
	}
	else
		requests = list_requests(root, rel, planned, sent, &first);
	startup = first * REQUEST_COST + rel->baserestrictcost.startup;
	total = requests * REQUEST_COST + rel->baserestrictcost.startup +
		rows * (cpu_tuple_cost + rel->baserestrictcost.per_tuple);

	/* Whether all rows are wanted is not to be seen any more when the Append is made. */
	private = list_make1(makeInteger(root->tuple_fraction == 0));
	add_path(rel, (Path *) CS_CREATE_FOREIGN_PATH(root, rel, rows, Min(startup, total), total,
												  required_outer, private));
}

typedef struct ColumnSearch
{
	const Planned *planned;
	Expr	   *current;		/* the member that is tried; NULL: take any */
	List	   *used;
} ColumnSearch;

/* ec_matches_callback_type */
static bool
is_sendable_member(PlannerInfo *root, RelOptInfo *rel, EquivalenceClass *ec,
				   EquivalenceMember *em, void *arg)
{
	ColumnSearch *search = arg;

	if (search->current != NULL)
		return equal(em->em_expr, search->current);
	if (list_member(search->used, em->em_expr) ||
		!cs_condition_column(rel, search->planned->relid, search->planned->table, em->em_expr))
		return false;
	search->current = em->em_expr;
	return true;
}

/* A path that gets the clause's other side as a parameter. */
static List *
add_parameters(PlannerInfo *root, RelOptInfo *rel, Planned *planned, List *parameters,
			   RestrictInfo *info)
{
	CsCondition condition;
	Relids		required_outer;

	if (!join_clause_is_movable_to(info, rel) ||
		!cs_condition_match(root, rel, planned->relid, planned->table, info->clause, &condition) ||
		condition.filter == &cs_server_filter)
		return parameters;
	required_outer = bms_union(info->clause_relids, rel->lateral_relids);
	required_outer = bms_del_member(required_outer, rel->relid);
	if (bms_is_empty(required_outer))
		return parameters;
	planned->joins_unshown |= condition.filled > 0;
	return list_append_unique_ptr(parameters,
								  get_baserel_parampathinfo(root, rel, required_outer));
}

static List *
find_parameters(PlannerInfo *root, RelOptInfo *rel, Planned *planned)
{
	ColumnSearch search = {planned, NULL, NIL};
	List	   *parameters = NIL;
	ListCell   *cell;

	foreach(cell, rel->joininfo)
		parameters = add_parameters(root, rel, planned, parameters,
									lfirst_node(RestrictInfo, cell));
	while (rel->has_eclass_joins)
	{
		List	   *clauses;

		search.current = NULL;
		clauses = generate_implied_equalities_for_column(root, rel, is_sendable_member, &search,
														 rel->lateral_referencers);
		if (search.current == NULL)
			break;
		foreach(cell, clauses)
			parameters = add_parameters(root, rel, planned, parameters,
										lfirst_node(RestrictInfo, cell));
		search.used = lappend(search.used, search.current);
	}
	return parameters;
}

void
cs_plan_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid)
{
	Planned    *planned = rel->fdw_private;
	List	   *parameters_found = NIL;
	ListCell   *cell;
	Sent		sent;

	find_sent(root, rel, planned, rel->baserestrictinfo, &sent);
	if (!sent.by_id)
		parameters_found = find_parameters(root, rel, planned);
	add_path_for(root, rel, planned, &sent, rel->rows, rel->lateral_relids);
	foreach(cell, parameters_found)
	{
		ParamPathInfo *parameters = lfirst(cell);
		List	   *clauses = list_concat_copy(parameters->ppi_clauses, rel->baserestrictinfo);

		find_sent(root, rel, planned, clauses, &sent);
		add_path_for(root, rel, planned, &sent, parameters->ppi_rows, parameters->ppi_req_outer);
	}
}

/*
 * Asking several accounts at once is for those who want all rows: who wants a
 * few may get them from the first.
 */
bool
cs_plan_is_async(ForeignPath *path)
{
	return path->fdw_private != NIL && intVal(linitial(path->fdw_private));
}

/* ---- The plan ---- */

/* Can the clause be judged by a row of the list, before its detail is asked for? */
static bool
is_early(const Planned *planned, const RelOptInfo *rel, Expr *clause)
{
	Bitmapset  *columns = add_columns(NULL, rel, (Node *) clause);
	Bitmapset  *found = NULL;
	int			attnum = -1;

	/* A whole row is not there yet, and system columns never are. */
	pull_varattnos((Node *) clause, rel->relid, &found);
	if (bms_num_members(found) != bms_num_members(columns))
		return false;
	if (contain_volatile_functions((Node *) clause) || contain_subplans((Node *) clause))
		return false;
	while ((attnum = bms_next_member(columns, attnum)) >= 0)
	{
		int			source = cs_table_source(planned->table,
											 get_attname(planned->relid, attnum, false));

		if ((source & CS_SOURCE_LIST) == 0 || (source & CS_SOURCE_BOTH_NEEDED))
			return false;
	}
	return true;
}

/* Is it the only table of its query, apart from others in the same Append? */
static bool
is_alone(PlannerInfo *root)
{
	return bms_membership(root->all_baserels) == BMS_SINGLETON;
}

/* After how many rows nobody asks for more, as far as the LIMIT says; -1: unknown. */
static int
row_goal(PlannerInfo *root, int nclauses, const Sent *sent)
{
	if (root->limit_tuples <= 0 || root->limit_tuples > PG_INT32_MAX || !is_alone(root) ||
		root->sort_pathkeys != NIL || root->parse->limitOption == LIMIT_OPTION_WITH_TIES ||
		nclauses > sent->n)
		return -1;
	return (int) root->limit_tuples;
}

static List *
column_list(const Bitmapset *columns)
{
	List	   *list = NIL;
	int			attnum = -1;

	while ((attnum = bms_next_member(columns, attnum)) >= 0)
		list = lappend_int(list, attnum);
	return list;
}

ForeignScan *
cs_plan_scan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path, List *tlist,
			 List *clauses, Plan *outer_plan)
{
	const Planned *planned = rel->fdw_private;
	List	   *local = extract_actual_clauses(clauses, false);
	Bitmapset  *columns = add_columns(bms_copy(planned->columns), rel, (Node *) local);
	List	   *filters = NIL;
	List	   *kinds = NIL;
	List	   *filled = NIL;
	List	   *values = NIL;
	List	   *early = NIL;
	List	   *clauses_sent = NIL;
	List	   *numbers;
	ListCell   *cell;
	Sent		sent;

	find_sent(root, rel, planned, clauses, &sent);
	for (int i = 0; i < sent.n; i++)
	{
		filters = lappend(filters, makeString(pstrdup(sent.conditions[i].filter->name)));
		kinds = lappend_int(kinds, sent.conditions[i].kind);
		filled = lappend_int(filled, sent.conditions[i].filled);
		values = lappend(values, sent.conditions[i].value);
		clauses_sent = lappend(clauses_sent, sent.conditions[i].clause);
	}
	if (!sent.by_id && planned->needs_detail)
		foreach(cell, clauses)
		{
			RestrictInfo *info = lfirst_node(RestrictInfo, cell);

			/* A security barrier stays one: nothing that could leak is judged before it. */
			if (!info->pseudoconstant && restriction_is_securely_promotable(info, rel) &&
				is_early(planned, rel, info->clause))
				early = lappend(early, info->clause);
		}

	/* In the order of the CS_PLAN_… numbers. */
	numbers = list_make5_int(sent.by_id, planned->needs_list, planned->needs_detail,
							 root->tuple_fraction == 0 && is_alone(root),
							 root->query_level == 1 && is_alone(root));
	numbers = lappend_int(numbers, row_goal(root, list_length(local), &sent));
	return make_foreignscan(tlist, local, rel->relid,
							list_make3(values, early, clauses_sent),
							list_make5(filters, kinds, filled, column_list(columns), numbers),
							NIL, NIL, outer_plan);
}
