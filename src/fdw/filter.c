/*
 * filter.c
 *	  Conditions of a query that the partner's API can filter by.
 *
 * What is sent only has to let every row through that fulfils the condition:
 * each one is judged again here.  So a condition is sent where the document
 * vouches for that (CsFilter.match), and for everything in doubt it is not.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "src/fdw/fdw.h"
#include "src/orders/answer.h"
#include "src/wire/datum.h"

const CsFilter cs_server_filter = {
	"server", NULL, CS_TYPE_TEXT, CS_MATCH_EQUAL, "server"
};

/* ---- Planning ---- */

/* Operators by their functions, with the column on the left. */
static bool
operator_kind(Oid function, CsMatch match, CsConditionKind *kind)
{
	switch (function)
	{
		case F_TEXTEQ:
			*kind = CS_CONDITION_EQUAL;
			return match == CS_MATCH_EQUAL || match == CS_MATCH_CONTAINS;
		case F_TEXTLIKE:
		case F_TEXTICLIKE:
			*kind = CS_CONDITION_PATTERN;
			return match == CS_MATCH_CONTAINS;
		case F_TIMESTAMPTZ_EQ:
		case F_TIMESTAMPTZ_GE:
		case F_TIMESTAMPTZ_GT:
			*kind = CS_CONDITION_SINCE;
			return match == CS_MATCH_SINCE;
		default:
			return false;
	}
}

/* The filter by which a condition on the column may be sent. */
static const CsFilter *
filter_of(const CsTable *table, const char *column)
{
	const CsResource *list = table->list;

	if (strcmp(column, cs_server_filter.name) == 0)
		return &cs_server_filter;

	/* The table's own filters say which rows it has; a detail cannot be asked for those. */
	if (table->id && table->nfixed == 0 && cs_is_alternative(table->id->columns, column))
		return table->id;
	if (table->detail && !table->completes)
		return NULL;
	for (const CsFilter *filter = list ? list->filters : NULL; filter && filter->name; filter++)
	{
		bool		fixed = false;

		for (int i = 0; i < table->nfixed; i++)
			fixed |= strcmp(table->fixed[i].name, filter->name) == 0;
		if (!fixed && cs_is_alternative(filter->columns, column))
			return filter;
	}
	return NULL;
}

/* The name of the table's column that 'node' is; NULL if it is none. */
static const char *
column_name(const RelOptInfo *rel, Oid relid, Node *node)
{
	Var		   *var;

	/* A relabelling changes no value: another collation. */
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	var = (Var *) node;
	if (node == NULL || !IsA(node, Var) || var->varno != (int) rel->relid ||
		var->varlevelsup != 0 || var->varattno <= 0)
		return NULL;
	return get_attname(relid, var->varattno, false);
}

/* Is it the same value for the whole of a scan? */
static bool
is_constant_in_scan(PlannerInfo *root, const RelOptInfo *rel, Node *value)
{
	return !bms_is_member(rel->relid, pull_varnos(root, value)) &&
		!contain_volatile_functions(value) && !contain_subplans(value);
}

/* Of what column_name() has named. */
static AttrNumber
attribute_number(Node *node)
{
	while (IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return castNode(Var, node)->varattno;
}

static bool
match_operator(const RelOptInfo *rel, Oid relid, const CsTable *table, OpExpr *clause,
			   CsCondition *condition, Node **value)
{
	Oid			operator = clause->opno;
	Node	   *left = linitial(clause->args);
	Node	   *right = lsecond(clause->args);
	const char *column = column_name(rel, relid, left);
	Node	   *var = left;

	*value = right;
	if (column == NULL)
	{
		column = column_name(rel, relid, right);
		operator = get_commutator(operator);
		*value = left;
		var = right;
	}
	if (column == NULL || !OidIsValid(operator))
		return false;
	condition->filter = filter_of(table, column);
	if (condition->filter == NULL ||
		!operator_kind(get_opcode(operator), condition->filter->match, &condition->kind))
		return false;
	if (condition->kind == CS_CONDITION_EQUAL && cs_is_unshown_filter(table, column))
		condition->filled = attribute_number(var);

	/* Other collations may find more equal than the partner does. */
	return !OidIsValid(clause->inputcollid) || get_collation_isdeterministic(clause->inputcollid);
}

/* id = ANY (…) */
static bool
match_array(const RelOptInfo *rel, Oid relid, const CsTable *table, ScalarArrayOpExpr *clause,
			CsCondition *condition, Node **value)
{
	const char *column = column_name(rel, relid, linitial(clause->args));

	if (column == NULL || !clause->useOr || get_opcode(clause->opno) != F_TEXTEQ ||
		!get_collation_isdeterministic(clause->inputcollid))
		return false;
	condition->filter = filter_of(table, column);
	condition->kind = CS_CONDITION_ANY;
	*value = lsecond(clause->args);
	return condition->filter != NULL && condition->filter == table->id;
}

/*
 * name ILIKE '%…%' OR code ILIKE '%…%': each arm could be sent alone, and they
 * would be sent as the same.
 */
static bool
match_either(PlannerInfo *root, RelOptInfo *rel, Oid relid, const CsTable *table, BoolExpr *clause,
			 CsCondition *condition, Node **value)
{
	ListCell   *cell;

	foreach(cell, clause->args)
	{
		CsCondition arm;

		if (!cs_condition_match(root, rel, relid, table, lfirst(cell), &arm) ||
			(arm.kind != CS_CONDITION_EQUAL && arm.kind != CS_CONDITION_PATTERN) ||
			arm.filter == table->id || arm.filter == &cs_server_filter)
			return false;
		if (foreach_current_index(cell) == 0)
			*condition = arm;
		else if (arm.filter != condition->filter || arm.kind != condition->kind ||
				 !equal(arm.value, condition->value))
			return false;
	}

	/* Two columns, so that what was asked for is the value of neither. */
	condition->filled = 0;
	*value = (Node *) condition->value;
	return true;
}

/*
 * Is its value known, and such that nothing can be asked for by it?  A column
 * that is not shown needs its filter in any case.
 */
static bool
says_nothing(const CsTable *table, const CsCondition *condition)
{
	const Const *value = (const Const *) condition->value;
	char	   *wire;

	return value && IsA(value, Const) && condition->kind != CS_CONDITION_ANY &&
		condition->filled == 0 && condition->filter != table->id &&
		condition->filter != &cs_server_filter &&
		cs_condition_text(condition->filter, condition->kind, value->constvalue,
						  value->constisnull, &wire) == CS_ASKED_EVERYTHING;
}

bool
cs_condition_match(PlannerInfo *root, RelOptInfo *rel, Oid relid, const CsTable *table,
				   Expr *clause, CsCondition *condition)
{
	Node	   *value = NULL;
	bool		matches = false;

	if (!table->pushdown)
		return false;
	memset(condition, 0, sizeof(*condition));
	if (IsA(clause, OpExpr) && list_length(((OpExpr *) clause)->args) == 2)
		matches = match_operator(rel, relid, table, (OpExpr *) clause, condition, &value);
	else if (is_orclause(clause))
		matches = match_either(root, rel, relid, table, (BoolExpr *) clause, condition, &value);
	else if (IsA(clause, ScalarArrayOpExpr))
		matches = match_array(rel, relid, table, (ScalarArrayOpExpr *) clause, condition, &value);
	if (!matches || !is_constant_in_scan(root, rel, value))
		return false;
	condition->clause = clause;
	condition->value = (Expr *) value;
	return !says_nothing(table, condition);
}

bool
cs_condition_column(RelOptInfo *rel, Oid relid, const CsTable *table, Expr *expression)
{
	const char *column = table->pushdown ? column_name(rel, relid, (Node *) expression) : NULL;
	const CsFilter *filter = column ? filter_of(table, column) : NULL;

	return filter && filter != &cs_server_filter &&
		(filter->match == CS_MATCH_EQUAL || filter->match == CS_MATCH_CONTAINS);
}

/* ---- Execution ---- */

/*
 * The text between the percent signs of '%…%', if that is all that there is to
 * the pattern.  Case is only folded alike by everybody in ASCII.
 */
static char *
contained_text(const char *pattern)
{
	size_t		length = strlen(pattern);

	if (length < 3 || pattern[0] != '%' || pattern[length - 1] != '%')
		return NULL;
	for (size_t i = 1; i < length - 1; i++)
		if (strchr("%_\\", pattern[i]) != NULL || IS_HIGHBIT_SET(pattern[i]))
			return NULL;
	return pnstrdup(pattern + 1, length - 2);
}

/* Is there anything to ask for?  Blanks would be asked for as nothing. */
static bool
is_blank(const char *text)
{
	return text[strspn(text, " \t\r\n\f\v")] == '\0';
}

CsAsked
cs_condition_text(const CsFilter *filter, CsConditionKind kind, Datum value, bool isnull,
				  char **wire)
{
	TimestampTz at;
	char	   *plain;

	if (isnull)
		return CS_ASKED_NOTHING;
	switch (kind)
	{
		case CS_CONDITION_SINCE:
			at = DatumGetTimestampTz(value);
			if (at < CS_ISO_TIME_FIRST || at >= CS_ISO_TIME_END)
				return CS_ASKED_EVERYTHING;

			/* Partners show whole seconds, and may have rounded them up. */
			*wire = cs_answer_iso_time(at - USECS_PER_SEC);
			return CS_ASKED;
		case CS_CONDITION_PATTERN:
			plain = contained_text(TextDatumGetCString(value));
			break;
		default:
			plain = TextDatumGetCString(value);
	}

	/* A column that may hold JSON text instead of a string is not compared as such. */
	if (plain == NULL || is_blank(plain) || plain[0] == '{' || plain[0] == '[')
		return CS_ASKED_EVERYTHING;
	*wire = cs_utf8_from_server(plain);
	return CS_ASKED;
}

/* No row has such an id, and no path can be made of it. */
static bool
is_no_id(const char *text)
{
	return text[0] == '\0' || strcmp(text, ".") == 0 || strcmp(text, "..") == 0;
}

static int
add_id(char **ids, int n, Datum value)
{
	char	   *id = cs_utf8_from_server(TextDatumGetCString(value));

	if (is_no_id(id))
		return n;
	for (int i = 0; i < n; i++)
		if (strcmp(ids[i], id) == 0)
			return n;
	ids[n] = id;
	return n + 1;
}

int
cs_condition_ids(CsConditionKind kind, Datum value, bool isnull, char ***ids)
{
	Datum	   *elements;
	bool	   *nulls;
	int			nelements;
	int			n = 0;

	if (isnull)
		return 0;
	if (kind != CS_CONDITION_ANY)
	{
		*ids = palloc(sizeof(char *));
		return add_id(*ids, 0, value);
	}
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &nelements);
	*ids = palloc(Max(nelements, 1) * sizeof(char *));
	for (int i = 0; i < nelements; i++)
		if (!nulls[i])
			n = add_id(*ids, n, elements[i]);
	return n;
}
