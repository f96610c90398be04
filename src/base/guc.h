/*
 * guc.h
 *	  The settings cupsource.*; per-account settings are server options.
 */
#ifndef CS_BASE_GUC_H
#define CS_BASE_GUC_H

#include "postgres.h"

#define CS_REFRESHERS_MAX 8		/* of a database; the limit of refresh_workers */

/* Sorted by name.  Times are milliseconds unless the name says otherwise. */
extern int	cs_guc_connect_timeout; /* user: lookup, connect and TLS together (10 s) */
extern char *cs_guc_instance;	/* configuration file only: tells a copy from its original ("") */
extern int	cs_guc_log_min_duration;	/* superuser: log what takes longer, with phases (-1: none) */
extern bool cs_guc_log_requests;	/* superuser: a LOG line per request: method, path, status, ms */
extern int	cs_guc_max_accounts;	/* postmaster: accounts with a shared budget (256) */
extern int	cs_guc_max_age;		/* user: cs_order_status asks the API beyond this age (60 s) */
extern int	cs_guc_max_databases;	/* postmaster: databases with a worker (256) */
extern int	cs_guc_max_response_size;	/* user: kB, after decompression (64 MB) */
extern int	cs_guc_max_retries; /* user: further tries of a read, and of an order never sent (5) */
extern int	cs_guc_order_timeout;	/* user: like timeout, for requests that place or change an order (60 s) */
extern int	cs_guc_rate_limit_wait; /* user: longest wait for the account's budget (60 s) */
extern int	cs_guc_refresh_workers; /* sighup: catalogues of a database refreshed at once (2) */
extern int	cs_guc_rollback_grace;	/* sighup: how long a rolled-back caller may come back (30 s) */
extern char *cs_guc_server; /* user: the server meant when none is named ("") */
extern int	cs_guc_timeout;		/* user: one request, connecting included (30 s) */
extern int	cs_guc_worker_linger;	/* sighup: how long an idle worker stays (10 s) */

extern void cs_guc_init(void);

#endif							/* CS_BASE_GUC_H */
