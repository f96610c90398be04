/*
 * server.h
 *	  Which foreign server is meant, and may it be used?
 */
#ifndef CS_CLIENT_SERVER_H
#define CS_CLIENT_SERVER_H

#include "postgres.h"

#include "foreign/foreign.h"

/*
 * The server that 'name' means for the current user: the argument, else
 * cupsource.server, else the only usable one.  Checks USAGE.  Throws with the
 * list of usable servers when it is not clear.  'name' may be NULL.
 */
extern Oid	cs_server_resolve(const char *name);

/* Throws unless 'userid' has USAGE on the server. */
extern void cs_server_check_usage(Oid serverid, Oid userid);

/*
 * Throws unless the server is there, and under this name: whoever waited for a
 * lock may have waited for the command that dropped or renamed it.
 */
extern void cs_server_check_name(Oid serverid, const char *name);

/* The same as the first, and throws unless it is a cupsource server, which it returns. */
extern const ForeignServer *cs_server_check(Oid serverid, Oid userid);

#endif							/* CS_CLIENT_SERVER_H */
