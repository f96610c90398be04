/*
 * rules.h
 *	  The rules for orders that the cached catalogue can tell of.
 */
#ifndef CS_ORDERS_RULES_H
#define CS_ORDERS_RULES_H

#include "postgres.h"

#include "foreign/foreign.h"

#include "src/api/form.h"

/*
 * Adds what the catalogue says against the lines of a form, which may have
 * errors already.  Without a wish for warnings, lines that no rule could make
 * an error of are not looked up.
 */
extern void cs_rules_check(const ForeignServer *server, const CsApi *api, const CsForm *form,
						   CsFindings *findings);

#endif							/* CS_ORDERS_RULES_H */
