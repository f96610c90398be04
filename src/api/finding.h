/*
 * finding.h
 *	  What is wrong, or doubtful, with an order form.
 *
 * All of it is collected: whoever writes a mapping does not find the faults
 * one by one.  An error keeps the order from being stored; a warning is told
 * by cs_check_order alone, and whoever does not ask for warnings does not pay
 * for their words.
 */
#ifndef CS_API_FINDING_H
#define CS_API_FINDING_H

#include "postgres.h"

#include "src/api/api.h"

/* Strings are in the server's encoding. */
typedef struct CsFinding
{
	CsRule		rule;
	bool		is_warning;
	const char *field;			/* "lines[2].designs[0].placement", "options.currency" */
	const char *message;		/* "must be an https URL" */
	struct CsFinding *next;
} CsFinding;

/* Zeroed, it is an empty one. */
typedef struct CsFindings
{
	bool		wants_warnings;
	int			errors;
	CsFinding  *first;			/* in the order in which they were found */
	CsFinding  *last;
} CsFindings;

/* The strings must live as long as the findings do. */
extern void cs_finding_add(CsFindings *findings, CsRule rule, bool is_warning,
						   const char *field, const char *message);

/* Throws 22023 with an error in each line of DETAIL, if there are any.  'api' may be NULL. */
extern void cs_findings_throw(const CsFindings *findings, const CsApi *api, const char *what);

#endif							/* CS_API_FINDING_H */
