/*
 * layout.h
 *	  What stands in shared memory and how its parts find it; for the files of
 *	  src/shared only.
 *
 * Locks, all of the tranche "cupsource", in the order in which they may be
 * taken (in fact no path takes two):
 *
 *	  CS_LOCK_TABLES	membership of the accounts' table; the statistics
 *	  CS_LOCK_WORKERS	databases, launcher, handoff slots, and the right to
 *						set the latch of a process that they name
 *	  account lock		one per account: its budget and its token
 *
 * They are LWLocks even where little is done: walking the log of a minute or
 * copying a token is more than a spinlock is for.  Under none of them is
 * anything allocated, logged, thrown or waited for.  What is changed under a
 * lock is valid after each store, so that even a crash of the process in
 * between would leave nothing half-done that others stumble over.
 */
#ifndef CS_SHARED_LAYOUT_H
#define CS_SHARED_LAYOUT_H

#include "postgres.h"

#include "storage/lwlock.h"
#include "utils/timestamp.h"

#include "src/shared/budget.h"
#include "src/shared/shmem.h"
#include "src/shared/tokens.h"

typedef enum CsLock
{
	CS_LOCK_TABLES,
	CS_LOCK_WORKERS,
	CS_LOCK_COUNT
} CsLock;

typedef struct CsTokenState
{
	int64		turn_until;		/* monotonic; 0: it is nobody's turn */
	int			turn_pid;		/* whose it is */
	TimestampTz obtained;		/* 0: there is no token */
	TimestampTz expires;
	char		token[CS_TOKEN_MAX_LENGTH + 1];
} CsTokenState;

struct CsSharedAccount
{
	CsAccountKey key;			/* must be first: the hash key; never changes */
	LWLock		lock;			/* protects the following */
	CsBudget	budget;
	CsTokenState token;
};

extern LWLock *cs_shared_lock(CsLock lock);

/* Microseconds of the clock that all processes share and nobody sets. */
extern int64 cs_monotonic_us(void);

/* The parts: how much they need, and finding or making it (the lock is held by shmem.c). */
extern Size cs_stats_shmem_size(void);
extern void cs_stats_shmem_attach(void);

#endif							/* CS_SHARED_LAYOUT_H */
