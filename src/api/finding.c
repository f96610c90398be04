/*
 * finding.c
 *	  What is wrong, or doubtful, with an order form.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "src/api/finding.h"

#define SHOWN_ERRORS 50

void
cs_finding_add(CsFindings *findings, CsRule rule, bool is_warning, const char *field,
			   const char *message)
{
	CsFinding  *finding = palloc(sizeof(CsFinding));

	finding->rule = rule;
	finding->is_warning = is_warning;
	finding->field = field;
	finding->message = message;
	finding->next = NULL;
	if (findings->last)
		findings->last->next = finding;
	else
		findings->first = finding;
	findings->last = finding;
	findings->errors += !is_warning;
}

void
cs_findings_throw(const CsFindings *findings, const CsApi *api, const char *what)
{
	StringInfoData detail;
	int			shown = 0;

	if (findings->errors == 0)
		return;
	initStringInfo(&detail);
	for (const CsFinding *finding = findings->first; finding && shown < SHOWN_ERRORS;
		 finding = finding->next)
		if (!finding->is_warning)
			appendStringInfo(&detail, "%s%s: %s", shown++ ? "\n" : "", finding->field,
							 finding->message);
	if (findings->errors > shown)
		appendStringInfo(&detail, "\nand %d more", findings->errors - shown);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 api ?
			 errmsg("%s is not valid for API \"%s\"", what, api->name) :
			 errmsg("%s is not valid", what),
			 errdetail_internal("%s", detail.data),
			 api && findings->errors > shown ? errhint("cs_check_order() shows all of them.") : 0));
}
