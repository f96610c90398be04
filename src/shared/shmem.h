/*
 * shmem.h
 *	  The one piece of shared memory: per-account budget and token, per-
 *	  endpoint statistics, per-database workers, per-backend handoff slots, and
 *	  a count of catalogue changes.
 *
 * The locks and their order stand in layout.h.  No lock is held over anything
 * that can wait, allocate or throw.  No pointer, descriptor or handle of one
 * process is ever stored here.
 */
#ifndef CS_SHARED_SHMEM_H
#define CS_SHARED_SHMEM_H

#include "postgres.h"

/*
 * Whose budget it is: the first 16 bytes of SHA-256 over base URL, a NUL and
 * the API key, and a NUL and the secret where a token is exchanged for both.
 * Servers of several databases that use one key share it, and a rotated key
 * starts anew.
 */
typedef struct CsAccountKey
{
	uint8		bytes[16];
} CsAccountKey;

typedef struct CsSharedAccount CsSharedAccount;

extern void cs_shmem_init(void);	/* hooks; from _PG_init while preloading */
extern bool cs_shmem_ready(void);	/* false: the library was not preloaded */

/*
 * Microseconds of the clock that all processes share and nobody sets: for
 * whatever is waited for, because the time of day can jump.
 */
extern int64 cs_monotonic_us(void);

/*
 * The account's shared entry, made when it is first seen.  When the table is
 * full (cupsource.max_accounts) a process-local one, with one LOG line: the
 * budget is then per process.  Valid for the life of the process.
 */
extern CsSharedAccount *cs_shared_account(const CsAccountKey *key);

#endif							/* CS_SHARED_SHMEM_H */
