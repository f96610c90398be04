/*
 * schedule.h
 *	  Which catalogues are due for a refresh, and starting it.
 */
#ifndef CS_WORKER_SCHEDULE_H
#define CS_WORKER_SCHEDULE_H

#include "postgres.h"

#include "utils/timestamp.h"

extern void cs_schedule_init(void); /* once, when the worker has connected */

/* The configuration was read again, or the clock set back. */
extern void cs_schedule_anew(void);

/*
 * Starts what is due, if anything may be; 'woken' if there was a wake-up since
 * the last call.  Outside of transactions.  False: the extension is gone.
 */
extern bool cs_schedule_look(bool woken);

/* When to look again; 0: never, but for a wake-up. */
extern TimestampTz cs_schedule_due(void);

#endif							/* CS_WORKER_SCHEDULE_H */
