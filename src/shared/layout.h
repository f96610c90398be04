/*
 * layout.h
 *	  What stands in shared memory and how its parts find it; for the files of
 *	  src/shared only.
 *
 * Locks, all of the tranche "cupsource", in the order in which they may be
 * taken (in fact no path takes two):
 *
 *	  CS_LOCK_TABLES	membership of the accounts' table; the statistics
 *	  CS_LOCK_WORKERS	databases, launcher, handoff slots
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

#include "src/base/guc.h"
#include "src/shared/budget.h"
#include "src/shared/refreshers.h"
#include "src/shared/serve.h"
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

/* A request that was told to come back for the budget; forgotten some time after it should have. */
typedef struct CsWaiting
{
	uint64		ticket;			/* 0: a free entry */
	CsPriority	priority;
	int64		until;			/* monotonic */
} CsWaiting;

#define CS_WAITING_MAX 128

struct CsSharedAccount
{
	CsAccountKey key;			/* must be first: the hash key; never changes */
	LWLock		lock;			/* protects the following */
	CsBudget	budget;
	uint64		last_ticket;
	CsWaiting	waiting[CS_WAITING_MAX];
	CsTokenState token;
};

/* Who serves a database; src/worker/README.md has the transitions. */
typedef enum CsServing
{
	CS_SERVING_NONE,			/* there is no worker */
	CS_SERVING_STARTING,		/* the launcher has registered one */
	CS_SERVING_ATTACHED			/* one has the database */
} CsServing;

/* A process that refreshes a catalogue. */
typedef struct CsRefresher
{
	pid_t		pid;			/* 0: a free place */
	Oid			serverid;
} CsRefresher;

/* Protected by CS_LOCK_WORKERS, as all that follows. */
typedef struct CsDatabase
{
	Oid			database;		/* InvalidOid: a free entry */
	CsServing	serving;

	/* Why a worker is wanted. */
	bool		work;			/* a wake-up that no worker has taken */
	bool		probe;			/* discovered, and to be looked at once */
	int			announced;		/* handoff slots that wait to be taken */
	TimestampTz due_at;			/* 0: none */

	/* Why none may start (now). */
	int			bars;			/* processes that want the database to themselves */
	int			bar_proc;		/* the last of them waits for the worker's leaving; or -1 */
	int64		not_before;		/* monotonic; after a failure */
	int			failures_in_a_row;

	/* The attached worker. */
	pid_t		pid;
	int			proc;
	int64		since;			/* monotonic: started or attached */
	TimestampTz started_at;
	bool		leave;			/* it is asked to */
	bool		probing;		/* it was started for 'probe' alone */
	int64		rests_until;	/* monotonic: until then a wake-up need not reach it */

	CsClockChange clock;		/* what no worker has seen to yet */

	/* Refreshes by schedule (refreshers.c). */
	bool		schedule;		/* what is due may have changed since the worker looked */
	CsRefresher refreshers[CS_REFRESHERS_MAX];

	/* What it reports. */
	int			in_flight;
	int64		orders_sent;
	int64		failures;
	TimestampTz drain_since;	/* of the time in which requests were always on the wire */
	int64		drain_base;		/* orders sent before */
	char		activity[sizeof(((CsWorkerInfo *) NULL)->activity)];
} CsDatabase;

typedef struct CsLauncher
{
	pid_t		pid;			/* 0: there is none */
	int			proc;
	TimestampTz started_at;

	bool		no_slot;		/* the last start found no room for a process */
	int			no_slot_in_a_row;
	int64		not_before;		/* monotonic: try again */

	bool		discovered;		/* all databases have been entered */
	Oid			discovered_to;	/* so far */
	bool		discovery_runs;
	int			discovery_in_a_row; /* runs that found nothing */
	int64		discovery_not_before;	/* monotonic */
	bool		overflow;		/* a database found no entry: discover again when there is room */
} CsLauncher;

typedef struct CsWorkers
{
	CsLauncher	launcher;
	int64		clock_offset;	/* time of day minus monotonic clock; 0: not looked at yet */
	int			next;			/* where the launcher goes on, so that all get their turn */
	CsDatabase	databases[FLEXIBLE_ARRAY_MEMBER];	/* cupsource.max_databases of them */
} CsWorkers;

extern CsWorkers *cs_workers;	/* NULL: the library was not preloaded */

extern void cs_workers_lock(void);	/* CS_LOCK_WORKERS, exclusively */
extern void cs_workers_unlock(void);

/* With the lock held. */
extern CsDatabase *cs_database_find(Oid database);	/* NULL: no entry */
extern CsDatabase *cs_database_enter(Oid database); /* NULL: no room */
extern void cs_database_forget(CsDatabase *entry);
extern void cs_database_failed(CsDatabase *entry);	/* its worker ended otherwise than by leaving */
extern void cs_database_wake(CsDatabase *entry);	/* its worker, or the launcher */
extern int64 cs_clock_step(int64 now, TimestampTz today);	/* since the launcher looked; 0: none */
extern void cs_process_wake(int proc);	/* when the lock is released; -1: nobody */

/* With the lock held: ends the refreshes of a database (true if there are any), or one of any. */
extern bool cs_refreshers_end(CsDatabase *entry);
extern void cs_refreshers_end_one(void);

/* Without the lock: says that there is no room, once in a process. */
extern void cs_database_tell_full(int elevel);

/* What the worker of this database has taken and not answered is lost. */
extern void cs_handoff_lose(Oid database);

extern LWLock *cs_shared_lock(CsLock lock);

/* The parts: how much they need, and finding or making it (the lock is held by shmem.c). */
extern Size cs_stats_shmem_size(void);
extern void cs_stats_shmem_attach(void);
extern Size cs_changes_shmem_size(void);
extern void cs_changes_shmem_attach(void);
extern Size cs_contact_shmem_size(void);
extern void cs_contact_shmem_attach(void);
extern Size cs_wake_shmem_size(void);
extern void cs_wake_shmem_attach(void);
extern Size cs_handoff_shmem_size(void);
extern void cs_handoff_shmem_attach(void);

#endif							/* CS_SHARED_LAYOUT_H */
