/*
 * serve.h
 *	  A worker's side: attaching to its database, and leaving it.
 */
#ifndef CS_SHARED_SERVE_H
#define CS_SHARED_SERVE_H

#include "postgres.h"

#include "utils/timestamp.h"

/*
 * To be called before the worker connects to the database.  False: another one
 * has it, or somebody wants it for himself; exit then, with status 0.
 */
extern bool cs_worker_attach(Oid database);

/* Was there a wake-up since the last call?  Ask before looking for work. */
extern bool cs_worker_take_wakeup(void);

/*
 * For a worker that can do nothing about queued orders just now: for so long
 * commits do not wake it, and no wake-up is to be taken.  The worker looks by
 * itself then; cs_worker_rests_ms says when that is, 0 if it does not rest.
 */
extern void cs_worker_rest(int ms);
extern int	cs_worker_rests_ms(void);

/*
 * The time of day can be set, by hand or after an outage of the network.  If
 * it goes back, what is stored with a time that had not come yet would wait
 * for longer, by as much as the clock was wrong.
 */
typedef enum CsClockChange
{
	CS_CLOCK_UNWATCHED,			/* the server was down; it may have been set back meanwhile */
	CS_CLOCK_SET_BACK,
	CS_CLOCK_STEADY
} CsClockChange;

/* What happened to the clock since the last call.  Ask before looking for work. */
extern CsClockChange cs_worker_take_clock(void);

/* It could not be seen to (entirely): say it again, to us or to the next worker. */
extern void cs_worker_keep_clock(CsClockChange change);

/* Somebody wants the database for himself: start nothing new, and leave soon. */
extern bool cs_worker_asked_to_leave(void);

/*
 * May an idle worker stay for cupsource.worker_linger?  False: leave at once.
 * To be asked after each wake-up of the latch, whatever set it.
 */
extern bool cs_worker_lingers(void);

/* The next due time, if no worker runs then; 0: none. */
extern void cs_worker_sleep_until(TimestampTz due);

/*
 * Gives the database up, unless work was announced meanwhile: false then.
 * Always true for a worker that was asked to leave.  After true nothing of
 * this header may be called any more; exit with status 0.
 */
extern bool cs_worker_try_leave(void);

/* The same for a worker that finds no extension: the database is forgotten. */
extern bool cs_worker_absent(void);

/* What cs_stat_workers shows; 'activity' is a constant, never data. */
extern void cs_worker_report(int in_flight, int64 orders_sent, int64 failures,
							 const char *activity);

typedef struct CsWorkerInfo
{
	Oid			database;		/* InvalidOid: it is the launcher */
	pid_t		pid;			/* 0: not running */
	TimestampTz started_at;		/* of the running worker, or the last one */
	TimestampTz due_at;			/* next due time of a database without a worker; 0: none */
	int			in_flight;
	int64		orders_sent;
	int64		failures;
	TimestampTz drain_since;	/* since then requests were always on the wire; 0: none are */
	int64		drain_sent;		/* orders sent since then */
	char		activity[64];
} CsWorkerInfo;

/* A palloc'd copy; the launcher comes first. */
extern CsWorkerInfo *cs_worker_infos(int *ninfos);

#endif							/* CS_SHARED_SERVE_H */
