/*
 * servers.h
 *	  CREATE SERVER, ALTER SERVER and what drops servers, for the utility hook.
 */
#ifndef CS_OPS_SERVERS_H
#define CS_OPS_SERVERS_H

#include "postgres.h"

#include "nodes/nodes.h"

/* Called once by the postmaster: has dropped servers noted. */
extern void cs_server_init(void);

/* What a command does to servers of ours, apart from dropping them. */
typedef struct CsServerChange
{
	const char *created;		/* or NULL */
	const char *old_name;		/* renamed; or NULL */
	const char *new_name;
	const char *configured;		/* options of it or of its mappings were set; or NULL */
	const char *old_api;		/* of the one whose options were set; or NULL */
} CsServerChange;

/* Before the command: what it is about to do. */
extern void cs_server_change_read(Node *command, CsServerChange *change);

/*
 * After the command, which has checked that the user may: brings what is
 * stored in line with it.  Throws 55006 if orders would be lost with a server,
 * or go to another API's partner, 42710 if a new server would inherit the
 * orders of an earlier one.
 */
extern void cs_server_change_follow(const CsServerChange *change);

#endif							/* CS_OPS_SERVERS_H */
