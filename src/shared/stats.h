/*
 * stats.h
 *	  Counters per database, server and endpoint, in shared memory.
 */
#ifndef CS_SHARED_STATS_H
#define CS_SHARED_STATS_H

#include "src/base/errors.h"
#include "utils/timestamp.h"

/* One finished request (every attempt is one). */
typedef struct CsStatsSample
{
	const char *server;
	const char *endpoint;		/* "GET /products", … at most 63 bytes */
	CsFailureKind failure;
	int			status;
	bool		retry;			/* not the first attempt of its call */
	bool		new_connection;
	int64		bytes_sent;
	int64		bytes_received;
	double		total_ms;
	double		limiter_ms;		/* waited for the budget before it */
} CsStatsSample;

typedef struct CsStatsEntry
{
	Oid			database;
	char		server[NAMEDATALEN];
	char		endpoint[64];
	int64		calls,
				retries,
				connections,
				refused_4xx,
				rate_limited_429,
				refused_5xx,
				not_sent,
				timeouts,
				malformed,
				other_failures,
				bytes_sent,
				bytes_received;
	double		total_ms,
				min_ms,
				max_ms,
				limiter_ms;
	TimestampTz first_at,
				last_at;
} CsStatsEntry;

extern void cs_stats_count(const CsStatsSample *sample);

/* A palloc'd copy of all entries of the current database. */
extern CsStatsEntry *cs_stats_copy(int *nentries);

extern void cs_stats_reset(void);	/* of the current database */

#endif							/* CS_SHARED_STATS_H */
