/*
 * load.h
 *	  New rows straight into a table, for the first refresh of an account.
 */
#ifndef CS_CATALOG_LOAD_H
#define CS_CATALOG_LOAD_H

#include "src/catalog/rowset.h"

/*
 * In a scope: appends the page's rows, none of which is stored yet, to
 * cs_internal.products.  False, and nothing is done, if somebody has given the
 * table what only the executor knows of (triggers, checks, row security).
 * Throws 23505 if a row is stored after all.
 */
extern bool cs_load_products(const CsRowset *rowset, Datum server);

#endif							/* CS_CATALOG_LOAD_H */
