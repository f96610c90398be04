/*
 * refresher.h
 *	  The process that refreshes one catalogue by schedule.
 */
#ifndef CS_WORKER_REFRESHER_H
#define CS_WORKER_REFRESHER_H

#include "postgres.h"

/* Starts it for this database; false if the server has no room for a process. */
extern bool cs_refresher_start(Oid serverid, Oid userid);

/* Its entry point; found by name. */
extern PGDLLEXPORT void cs_refresher_main(Datum arg);

#endif							/* CS_WORKER_REFRESHER_H */
