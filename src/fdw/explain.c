/*
 * explain.c
 *	  What EXPLAIN says about a foreign scan: VERBOSE the request and which
 *	  conditions it carries, ANALYZE what it took.
 */
#include "postgres.h"

#include "commands/explain.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

#include "src/base/compat.h"
#include "src/fdw/fdw.h"
#include "src/wire/http.h"

/* What will be sent for a condition: its value if that is known, else {name}. */
static char *
value_text(const CsFilter *filter, CsConditionKind kind, Expr *value)
{
	char	   *text;

	if (filter == &cs_server_filter)
		return NULL;
	if (!IsA(value, Const) || kind == CS_CONDITION_ANY)
		return psprintf("{%s}", filter->name);
	switch (cs_condition_text(filter, kind, ((Const *) value)->constvalue,
							  ((Const *) value)->constisnull, &text))
	{
		case CS_ASKED:
			return cs_http_escape(text);
		case CS_ASKED_EVERYTHING:
			return NULL;
		default:
			return psprintf("{%s}", filter->name);
	}
}

static void
append_parameter(StringInfo request, const char *name, const char *value)
{
	if (value)
		appendStringInfo(request, "%c%s=%s", strchr(request->data, '?') ? '&' : '?', name, value);
}

/* By which column of a detail its row is looked for in the list; NULL: on all pages. */
static const CsFilter *
finder_filter(const CsTable *table)
{
	for (const CsFilter *filter = table->list->filters; filter && filter->name; filter++)
		if (filter->match == CS_MATCH_EQUAL || filter->match == CS_MATCH_CONTAINS)
			return filter;
	return NULL;
}

static char *
list_request(const CsScan *scan, List *values)
{
	const CsResource *list = scan->table->list;
	StringInfoData request;
	int			size = list->page_size;
	bool		filtered = scan->table->nfixed > 0;
	ListCell   *cell;

	initStringInfo(&request);
	appendStringInfo(&request, "GET %s", list->path);
	for (int i = 0; i < scan->table->nfixed; i++)
		for (const CsFilter *filter = list->filters; filter->name; filter++)
			if (strcmp(filter->name, scan->table->fixed[i].name) == 0)
				append_parameter(&request, filter->param,
								 cs_http_escape(scan->table->fixed[i].value));
	if (scan->by_id)
	{
		const CsFilter *finder = finder_filter(scan->table);

		values = NIL;
		if (finder)
			append_parameter(&request, finder->param,
							 psprintf("{%.*s}", (int) strcspn(finder->columns, "|"),
									  finder->columns));
	}
	foreach(cell, values)
	{
		int			i = foreach_current_index(cell);
		char	   *text = value_text(scan->filters[i], scan->kinds[i], lfirst(cell));

		append_parameter(&request, scan->filters[i]->param, text);
		filtered |= text != NULL;
	}
	if (scan->goal >= 0 && !scan->needs_detail && !(filtered && list->paging == CS_PAGING_NUMBER))
		size = cs_page_size(list, scan->goal);
	if (list->size_param)
		append_parameter(&request, list->size_param, psprintf("%d", size));
	return request.data;
}

/* The path of a detail, with the id if it is known. */
static char *
detail_request(const CsScan *scan, List *values)
{
	const CsResource *detail = scan->table->detail;
	char	   *place = psprintf("{%s}", scan->table->id->name);
	const char *at = strstr(detail->path, place);
	char	   *id = NULL;
	ListCell   *cell;

	foreach(cell, values)
	{
		int			i = foreach_current_index(cell);

		if (scan->filters[i] == scan->table->id)
			id = value_text(scan->filters[i], scan->kinds[i], lfirst(cell));
	}
	if (at == NULL || id == NULL)
		return psprintf("GET %s", detail->path);
	return psprintf("GET %.*s%s%s", (int) (at - detail->path), detail->path, id,
					at + strlen(place));
}

static void
explain_requests(const CsScan *scan, List *values, ExplainState *es)
{
	List	   *requests = NIL;

	if (scan->by_id)
		requests = lappend(requests, detail_request(scan, values));
	if (scan->table->list && (!scan->by_id || scan->needs_list))
		requests = lappend(requests, list_request(scan, values));
	if (!scan->by_id && scan->needs_detail)
		requests = lappend(requests, detail_request(scan, values));
	if (list_length(requests) == 1)
		ExplainPropertyText("Remote Request", linitial(requests), es);
	else if (requests != NIL)
		ExplainPropertyList("Remote Requests", requests, es);
}

static void
explain_filters(ForeignScanState *node, List *sent, ExplainState *es)
{
	Node	   *condition;
	List	   *context;

	if (sent == NIL)
		return;
	condition = (Node *) make_ands_explicit(sent);
	context = set_deparse_context_plan(es->deparse_cxt, node->ss.ps.plan, NIL);
	ExplainPropertyText("Remote Filter",
						deparse_expression(condition, context,
										   list_length(es->rtable) > 1 || es->verbose, false), es);
}

void
cs_explain_scan(ForeignScanState *node, ExplainState *es)
{
	const CsScan *scan = node->fdw_state;
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	CsCallCost	cost;

	if (es->verbose)
	{
		explain_filters(node, list_nth(plan->fdw_exprs, CS_EXPRS_SENT), es);
		explain_requests(scan, list_nth(plan->fdw_exprs, CS_EXPRS_VALUES), es);
	}
	if (!es->analyze)
		return;
	cost = cs_fetch_cost(scan);
	ExplainPropertyInteger("Requests", NULL, cost.requests, es);
	ExplainPropertyInteger("Bytes Received", NULL, cost.bytes_received, es);
	if (es->timing)
		ExplainPropertyFloat("Limiter Wait", "ms", cost.limiter_ms, 3, es);
}

void
cs_explain_modify(ModifyTableState *state, ResultRelInfo *result, List *private, int subplan,
				  ExplainState *es)
{
	const CsTable *table = cs_table_get(RelationGetRelid(result->ri_RelationDesc));
	const CsOrderApi *orders = table->api->orders;

	if (!es->verbose)
		return;
	if (state->operation == CMD_INSERT)
		ExplainPropertyText("Remote Request", psprintf("POST %s", orders->create_path), es);
	else if (state->operation == CMD_DELETE)
		ExplainPropertyText("Remote Request", psprintf("DELETE %s", orders->cancel_path), es);
}
