/*
 * handoff.h
 *	  Between backends, the launcher and the workers: who has work, who is
 *	  woken, and orders handed over by a waiting caller.
 *
 * Each backend has one slot.  A caller writes its request into a dynamic
 * shared memory segment, announces it in its slot and waits; the worker of
 * the database takes it, journals it, sends it, and replies.  A caller that
 * leaves (cancel, death) gives the slot up; the worker goes on with what it
 * has already journalled.  A generation number keeps late replies from the
 * slot's next use.
 */
#ifndef CS_SHARED_HANDOFF_H
#define CS_SHARED_HANDOFF_H

#include "postgres.h"

#include "utils/timestamp.h"

typedef enum CsHandoffKind
{
	CS_HANDOFF_CREATE,			/* place an order now */
	CS_HANDOFF_CANCEL,			/* cancel an order */
	CS_HANDOFF_FOLLOW			/* ask the API for an order's status now */
} CsHandoffKind;

/* What the worker says; texts are cut to fit. */
typedef struct CsHandoffReply
{
	int64		order_id;		/* 0 if nothing was journalled */
	int			sqlstate;		/* 0: done */
	char		message[512];
	char		detail[1024];
	char		hint[512];
} CsHandoffReply;

/*
 * Caller: hands 'payload' to the worker of this database and waits for its
 * reply, interruptibly.  Throws PA011 when no worker can be had.
 */
extern void cs_handoff_call(CsHandoffKind kind, const char *payload, size_t length,
							CsHandoffReply *reply);

/* Worker: a request taken out of its slot. */
typedef struct CsHandoffRequest
{
	int			slot;
	uint64		generation;
	CsHandoffKind kind;
	char	   *payload;		/* palloc'd copy */
	size_t		length;
} CsHandoffRequest;

/* The next announced request of this worker's database; false if there is none. */
extern bool cs_handoff_take(CsHandoffRequest *request);

/* Is the caller still waiting for it? */
extern bool cs_handoff_wanted(const CsHandoffRequest *request);
extern void cs_handoff_reply(const CsHandoffRequest *request, const CsHandoffReply *reply);

/*
 * Work has been queued in this transaction: at its commit the database's
 * worker is woken, or the launcher starts one.  Every commit wakes.
 */
extern void cs_wake_at_commit(void);
extern void cs_wake_now(Oid database);
extern void cs_handoff_init(void);	/* transaction callback; once per process, at first use */

/* Launcher's and workers' side. */
extern void cs_launcher_attach(void);
extern Oid	cs_launcher_next(TimestampTz now, long *timeout_ms);	/* a database that wants a worker, or InvalidOid */
extern void cs_launcher_discovered(Oid database);	/* it exists and may have work */
extern void cs_launcher_started(Oid database, pid_t pid);
extern void cs_launcher_failed(Oid database);	/* no worker slot: retried later */

extern bool cs_worker_attach(Oid database); /* false: another worker has the database */
extern bool cs_worker_take_wakeup(void);	/* was there a wake-up since the last call? */
extern void cs_worker_sleep_until(TimestampTz due); /* next due time while no worker runs; 0: none */
extern void cs_worker_please_leave(Oid database);	/* DROP DATABASE: leave now */
extern bool cs_worker_asked_to_leave(void);
extern bool cs_worker_try_leave(void);	/* gives the database up unless work was announced meanwhile */

typedef struct CsWorkerInfo
{
	Oid			database;
	pid_t		pid;			/* 0: not running */
	TimestampTz started_at;
	TimestampTz due_at;			/* 0: none */
	int			in_flight;
	int64		orders_sent;
	int64		failures;
	char		activity[64];
} CsWorkerInfo;

extern CsWorkerInfo *cs_worker_infos(int *ninfos);	/* palloc'd copy */
extern void cs_worker_report(int in_flight, int64 orders_sent, int64 failures, const char *activity);

#endif							/* CS_SHARED_HANDOFF_H */
