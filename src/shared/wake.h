/*
 * wake.h
 *	  Which databases have work, and waking whoever serves them.
 *
 * An entry per database that has, or may have, something to send.  Its states
 * and every transition are told in src/worker/README.md.  Processes are known
 * by their number among the server's processes, never by an address; whoever
 * is named there takes its name back before it exits.
 */
#ifndef CS_SHARED_WAKE_H
#define CS_SHARED_WAKE_H

#include "postgres.h"

/*
 * Work has been queued in this transaction: at its commit the database's
 * worker is woken, or the launcher starts one.  Every commit wakes.  After
 * PREPARE TRANSACTION it is COMMIT PREPARED that wakes.  Warns, once in a
 * session, if there is no room for the database (cupsource.max_databases).
 */
extern void cs_wake_at_commit(void);

/*
 * The same, and the worker is to look at the schedule of refreshes.  It is woken
 * before it is told what in its caches is not true any more: these alone
 * would not tell it in time.
 */
extern void cs_wake_at_commit_for_schedule(void);
extern void cs_wake_now(Oid database);
extern void cs_wake_known(Oid database);	/* only if the database has an entry */

/*
 * Nobody but the current process is to use the database (DROP DATABASE and the
 * like): its worker is asked to leave and waited for, interruptibly, and no
 * other starts until the release, or the end of this process.  One at a time.
 */
extern void cs_database_vacate(Oid database, int timeout_ms);
extern void cs_database_release(bool gone);

#endif							/* CS_SHARED_WAKE_H */
