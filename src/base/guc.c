/*
 * guc.c
 *	  The settings cupsource.*, one table per type, sorted by name.
 *
 * What belongs to one account is an option of its server, not a setting.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "src/base/guc.h"

/*
 * connect_timeout: how long finding the host, connecting and the TLS handshake
 * may take together.  Short, because nothing has been sent yet and the next
 * try is safe.
 */
int			cs_guc_connect_timeout = 10000;

/*
 * instance: set in the configuration of production only, outside the data
 * directory that is copied, so that a base backup or snapshot started
 * elsewhere does not carry it and keeps its queue on hold.
 */
char	   *cs_guc_instance = NULL;

/* log_min_duration: of a request from its start, without what it waited for the budget. */
int			cs_guc_log_min_duration = -1;

/* log_requests: method, path, status and duration of each request, no body. */
bool		cs_guc_log_requests = false;

/* max_accounts: entries in shared memory, about 20 kB each. */
int			cs_guc_max_accounts = 256;

/* max_age: knowledge younger than this answers cs_order_status by itself. */
int			cs_guc_max_age = 60000;

/* max_databases: how many databases of the cluster may have a worker. */
int			cs_guc_max_databases = 256;

/*
 * max_response_size: counted while the answer arrives and after decompression,
 * so that neither a runaway list nor a compressed bomb can take the memory.
 */
int			cs_guc_max_response_size = 64 * 1024;

/* max_retries: of what may be repeated: reads, and orders that were certainly not sent. */
int			cs_guc_max_retries = 5;

/*
 * order_timeout: a partner may take long to book an order, and giving up early
 * leaves the outcome unknown; so orders wait longer than reads.
 */
int			cs_guc_order_timeout = 60000;

/* rate_limit_wait: does not count against timeout, which begins when the request is sent. */
int			cs_guc_rate_limit_wait = 60000;

/* refresh_workers: each takes a process that an order may need (src/shared/refreshers.c). */
int			cs_guc_refresh_workers = 2;

/* rollback_grace: after it an order whose transaction rolled back is cancelled. */
int			cs_guc_rollback_grace = 30000;

/* server: the account that is meant when a function is called without one. */
char	   *cs_guc_server = NULL;

/* timeout: one request from its start to the last byte of the answer. */
int			cs_guc_timeout = 30000;

/* worker_linger: an idle worker costs a process slot, a new one some milliseconds. */
int			cs_guc_worker_linger = 10000;

static const struct
{
	const char *name;
	const char *description;
	const char *explanation;
	bool	   *variable;
	GucContext	context;
}			boolean_settings[] =
{
	{"cupsource.log_requests",
		"Logs every request to a partner API: method, path, status and duration.",
		NULL,
	&cs_guc_log_requests, PGC_SUSET},
};

static const struct
{
	const char *name;
	const char *description;
	const char *explanation;
	int		   *variable;
	int			lowest;
	int			highest;
	GucContext	context;
	int			flags;
}			integer_settings[] =
{
	{"cupsource.connect_timeout",
		"Sets the longest time that connecting to a partner API may take.",
		"It covers the name lookup, the connection and the TLS handshake.",
	&cs_guc_connect_timeout, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS},
	{"cupsource.log_min_duration",
		"Sets the duration above which a request to a partner API is logged, with where the time went.",
		"-1 logs none, 0 all. Waiting for the account's request budget does not count.",
	&cs_guc_log_min_duration, -1, INT_MAX, PGC_SUSET, GUC_UNIT_MS},
	{"cupsource.max_accounts",
		"Sets the number of accounts whose budget and token are shared by all processes.",
		"An account beyond it has a budget per process.",
	&cs_guc_max_accounts, 1, 100000, PGC_POSTMASTER, 0},
	{"cupsource.max_age",
		"Sets the age beyond which cs_order_status asks the partner API again.",
		NULL,
	&cs_guc_max_age, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS},
	{"cupsource.max_databases",
		"Sets the number of databases whose orders are sent by a worker.",
		NULL,
	&cs_guc_max_databases, 1, 100000, PGC_POSTMASTER, 0},
	{"cupsource.max_response_size",
		"Sets the largest answer that is accepted from a partner API.",
		"It is counted while the answer arrives, after decompression.",
	&cs_guc_max_response_size, 1, MAX_KILOBYTES, PGC_USERSET, GUC_UNIT_KB},
	{"cupsource.max_retries",
		"Sets how often a request that may be repeated is sent again after a failure.",
		"A request that could place an order twice is never among them.",
	&cs_guc_max_retries, 0, 100, PGC_USERSET, 0},
	{"cupsource.order_timeout",
		"Sets the longest time that a request which places or changes an order may take.",
		NULL,
	&cs_guc_order_timeout, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS},
	{"cupsource.rate_limit_wait",
		"Sets the longest wait for the account's request budget.",
		"It is not part of cupsource.timeout.",
	&cs_guc_rate_limit_wait, 0, INT_MAX, PGC_USERSET, GUC_UNIT_MS},
	{"cupsource.refresh_workers",
		"Sets how many catalogues of a database are refreshed at once by schedule.",
		"Each takes a slot of max_worker_processes; 0 stops the schedule.",
	&cs_guc_refresh_workers, 0, CS_REFRESHERS_MAX, PGC_SIGHUP, 0},
	{"cupsource.rollback_grace",
		"Sets how long an order whose transaction rolled back may be claimed by its retry.",
		"After it the order is cancelled at the partner, or marked orphaned where that cannot be.",
	&cs_guc_rollback_grace, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
	{"cupsource.timeout",
		"Sets the longest time that one request to a partner API may take.",
		NULL,
	&cs_guc_timeout, 1, INT_MAX, PGC_USERSET, GUC_UNIT_MS},
	{"cupsource.worker_linger",
		"Sets how long an idle worker stays before it leaves.",
		NULL,
	&cs_guc_worker_linger, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS},
};

static const struct
{
	const char *name;
	const char *description;
	const char *explanation;
	char	  **variable;
	GucContext	context;
	int			flags;
}			string_settings[] =
{
	{"cupsource.instance",
		"Names this cluster among its copies.",
		"Set it in the configuration of production only; a copy without it keeps its queue on hold.",
	&cs_guc_instance, PGC_SIGHUP, 0},
	{"cupsource.server",
		"Sets the foreign server that is meant when a function is called without one.",
		NULL,
	&cs_guc_server, PGC_USERSET, GUC_IS_NAME},
};

void
cs_guc_init(void)
{
	for (size_t i = 0; i < lengthof(boolean_settings); i++)
		DefineCustomBoolVariable(boolean_settings[i].name, boolean_settings[i].description,
								 boolean_settings[i].explanation, boolean_settings[i].variable,
								 *boolean_settings[i].variable, boolean_settings[i].context, 0,
								 NULL, NULL, NULL);
	for (size_t i = 0; i < lengthof(integer_settings); i++)
		DefineCustomIntVariable(integer_settings[i].name, integer_settings[i].description,
								integer_settings[i].explanation, integer_settings[i].variable,
								*integer_settings[i].variable, integer_settings[i].lowest,
								integer_settings[i].highest, integer_settings[i].context,
								integer_settings[i].flags, NULL, NULL, NULL);
	for (size_t i = 0; i < lengthof(string_settings); i++)
		DefineCustomStringVariable(string_settings[i].name, string_settings[i].description,
								   string_settings[i].explanation, string_settings[i].variable,
								   "", string_settings[i].context, string_settings[i].flags,
								   NULL, NULL, NULL);
	MarkGUCPrefixReserved("cupsource");
}
