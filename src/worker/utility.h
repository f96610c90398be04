/*
 * utility.h
 *	  Commands that workers must know of.
 */
#ifndef CS_WORKER_UTILITY_H
#define CS_WORKER_UTILITY_H

extern void cs_utility_init(void);	/* the hook; from _PG_init while preloading */

#endif							/* CS_WORKER_UTILITY_H */
