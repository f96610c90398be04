/*
 * products.h
 *	  The cached catalogue, for those who keep it fresh.
 */
#ifndef CS_CATALOG_PRODUCTS_H
#define CS_CATALOG_PRODUCTS_H

#include "postgres.h"

/*
 * Refreshes the catalogue of the account that 'userid' has on the server.
 * 'commit' ends the transaction and begins another one; it is called after
 * each page, outside of SPI scopes, and no lock or snapshot is held while the
 * next answer is waited for.  NULL: everything is part of the caller's
 * transaction.
 *
 * Throws 55P03 if the account's catalogue is being refreshed by another
 * session, and what reading pages throws.  The caller may then be left in a
 * subtransaction, whose abort or the transaction's it has to see to;
 * cs_catalog_refresh_failed afterwards records the failure.
 */
extern void cs_catalog_refresh(Oid serverid, Oid userid, bool entire, void (*commit) (void));

/*
 * In a new transaction: the refresh ended with this error.  Gives its lock
 * back; without it, it is another session's run that goes on.
 */
extern void cs_catalog_refresh_failed(Oid serverid, const ErrorData *error);

/*
 * The server gets another name, or goes: no refresh of it runs until the
 * transaction ends.  One by schedule is ended; throws 55006 if a user
 * refreshes it.
 */
extern void cs_catalog_bar(Oid serverid, const char *server);

#endif							/* CS_CATALOG_PRODUCTS_H */
