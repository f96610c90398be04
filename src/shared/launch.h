/*
 * launch.h
 *	  The launcher's side: which database wants a worker, and when.
 */
#ifndef CS_SHARED_LAUNCH_H
#define CS_SHARED_LAUNCH_H

#include "postgres.h"

extern void cs_launcher_attach(void);	/* this process is the launcher now */

/*
 * The next database that wants a worker; it is marked as starting.  InvalidOid
 * if there is none before the timeout.  What came of it is said by one of
 * cs_launcher_registered and cs_launcher_no_slot, and by cs_launcher_failed
 * when the process has ended.
 */
extern Oid	cs_launcher_next(long *timeout_ms);
extern void cs_launcher_registered(void);
extern void cs_launcher_no_slot(Oid database);	/* or InvalidOid: for another process */
extern void cs_launcher_failed(Oid database);
extern void cs_launcher_room(void); /* a process has ended */

/*
 * Discovery: databases that exist are looked at once, in the order of their
 * OIDs, a few entered at a time.
 */
extern bool cs_discovery_begin(void);	/* true: a run is to be started now */
extern void cs_discovery_ended(void);	/* the process has, or could not be started */
extern Oid	cs_discovery_resume(void);	/* the last one that was entered */
extern bool cs_discovery_found(Oid database);	/* false: enough for now */
extern void cs_discovery_complete(void);

#endif							/* CS_SHARED_LAUNCH_H */
