/*
 * launcher.h
 *	  The process that starts a worker in each database that has work.
 */
#ifndef CS_WORKER_LAUNCHER_H
#define CS_WORKER_LAUNCHER_H

#include "postgres.h"

extern void cs_launcher_init(void); /* registers it; from _PG_init while preloading */

/* Entry points of the processes; found by name. */
extern PGDLLEXPORT void cs_launcher_main(Datum arg);
extern PGDLLEXPORT void cs_discovery_main(Datum arg);

#endif							/* CS_WORKER_LAUNCHER_H */
