/*
 * check.c
 *	  What is wrong with an order, before it is stored: the rules of the
 *	  documents, by form and cached catalogue, without the network.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "src/api/form.h"
#include "src/base/state.h"
#include "src/client/options.h"
#include "src/client/server.h"
#include "src/orders/orders.h"
#include "src/orders/rules.h"

PG_FUNCTION_INFO_V1(cs_sql_check_order);

const CsApi *
cs_order_api(const ForeignServer *server)
{
	const char *name = cs_option_text(server->options, "api");
	const CsApi *api = name ? cs_api_find(name) : NULL;

	if (api == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("server \"%s\" has no option \"api\"", server->servername)));
	return api;
}

static void
find_all(MemoryContext cxt, const ForeignServer *server, const CsApi *api,
		 const CsOrderForm *form, CsFindings *findings)
{
	MemoryContext old;
	const CsForm *read = cs_form_check(cxt, api, CS_FORM_ORDER, form->external_id, form->lines,
									   form->ship_to, form->options, findings);

	old = MemoryContextSwitchTo(cxt);
	cs_rules_check(server, api, read, findings);
	MemoryContextSwitchTo(old);
}

/* Which of many orders an error is about. */
static void
tell_order(void *arg)
{
	const CsOrderForm *form = arg;

	if (form->external_id)
		errcontext("order \"%s\"", form->external_id);
}

void
cs_order_check(const ForeignServer *server, const CsOrderForm *form)
{
	MemoryContext cxt = AllocSetContextCreate(CurrentMemoryContext, "cupsource order form",
											  ALLOCSET_DEFAULT_SIZES);
	const CsApi *api = cs_order_api(server);
	CsFindings	findings = {0};
	ErrorContextCallback context = {
		.previous = error_context_stack,
		.callback = tell_order,
		.arg = unconstify(CsOrderForm *, form),
	};

	error_context_stack = &context;
	if (form->external_id == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("external_id must not be null"),
				 errhint("It is your name for the order, and keeps it from being placed twice.")));
	if (form->lines == 0)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("lines must not be null")));
	find_all(cxt, server, api, form, &findings);
	cs_form_throw(api, CS_FORM_ORDER, &findings);
	error_context_stack = context.previous;
	MemoryContextDelete(cxt);
}

/* cs_check_order(lines, ship_to, external_id, options, server) */
Datum
cs_sql_check_order(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	CsFindings	findings = {.wants_warnings = true};
	CsOrderForm form;
	const ForeignServer *server;
	const CsApi *api;

	cs_require_preload();
	server = cs_server_check(cs_order_form_arguments(fcinfo, &form), GetUserId());
	api = cs_order_api(server);
	InitMaterializedSRF(fcinfo, 0);
	find_all(CurrentMemoryContext, server, api, &form, &findings);
	for (const CsFinding *finding = findings.first; finding; finding = finding->next)
	{
		Datum		values[4] = {
			CStringGetTextDatum(finding->field),
			CStringGetTextDatum(cs_api_rule_code(api, finding->rule)),
			CStringGetTextDatum(finding->message),
			CStringGetTextDatum(finding->is_warning ? "warning" : "error"),
		};
		bool		nulls[4] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
