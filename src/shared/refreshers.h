/*
 * refreshers.h
 *	  The processes that refresh catalogues by schedule: how many a database
 *	  may have, and ending them.
 */
#ifndef CS_SHARED_REFRESHERS_H
#define CS_SHARED_REFRESHERS_H

#include "postgres.h"

/*
 * To be called before the process connects to the database.  False: another
 * one refreshes that server, there are enough of them, or somebody wants the
 * database for himself; exit then, with status 0.
 */
extern bool cs_refresher_attach(Oid database, Oid serverid);

/* For the worker: how many more may be started; none while orders lack a process. */
extern int	cs_refreshers_room(void);

/* Has anything changed that the schedule depends on, since the last call? */
extern bool cs_worker_take_schedule(void);

/* It has: whoever serves this database is to look.  Does nothing for one that nobody serves. */
extern void cs_schedule_changed(void);

/* Ends the process that refreshes the server by schedule; false if there is none. */
extern bool cs_refresher_end(Oid serverid);

#endif							/* CS_SHARED_REFRESHERS_H */
