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
 * errors already, as warnings.
 */
extern void cs_rules_check(const ForeignServer *server, const CsForm *form,
						   CsFindings *findings);

#endif							/* CS_ORDERS_RULES_H */
