/*
 * ops.c
 *	  What shared memory knows, as rows: request statistics, accounts and
 *	  processes.
 *
 * The views in ops.sql decide who sees which rows.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "src/base/state.h"
#include "src/client/secret.h"
#include "src/shared/contact.h"
#include "src/shared/serve.h"
#include "src/shared/stats.h"

#define REQUEST_COLUMNS 20
#define WORKER_COLUMNS 10
#define ACCOUNT_COLUMNS 14

PG_FUNCTION_INFO_V1(cs_sql_stat_requests);
PG_FUNCTION_INFO_V1(cs_sql_stat_reset);
PG_FUNCTION_INFO_V1(cs_sql_stat_workers);
PG_FUNCTION_INFO_V1(cs_sql_stat_accounts);

/* cs_internal.stat_requests(): a row per server and endpoint of this database. */
Datum
cs_sql_stat_requests(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CsStatsEntry *entries;
	int			nentries;
	int			i;

	cs_require_preload();
	InitMaterializedSRF(fcinfo, 0);

	entries = cs_stats_copy(&nentries);
	for (i = 0; i < nentries; i++)
	{
		const CsStatsEntry *entry = &entries[i];
		Datum		values[REQUEST_COLUMNS];
		bool		nulls[REQUEST_COLUMNS] = {0};
		int			n = 0;

		values[n++] = CStringGetTextDatum(entry->server);
		values[n++] = CStringGetTextDatum(entry->endpoint);
		values[n++] = Int64GetDatum(entry->calls);
		values[n++] = Int64GetDatum(entry->retries);
		values[n++] = Int64GetDatum(entry->connections);
		values[n++] = Int64GetDatum(entry->refused_4xx);
		values[n++] = Int64GetDatum(entry->rate_limited_429);
		values[n++] = Int64GetDatum(entry->refused_5xx);
		values[n++] = Int64GetDatum(entry->not_sent);
		values[n++] = Int64GetDatum(entry->timeouts);
		values[n++] = Int64GetDatum(entry->malformed);
		values[n++] = Int64GetDatum(entry->other_failures);
		values[n++] = Int64GetDatum(entry->bytes_sent);
		values[n++] = Int64GetDatum(entry->bytes_received);
		values[n++] = Float8GetDatum(entry->total_ms);
		values[n++] = Float8GetDatum(entry->min_ms);
		values[n++] = Float8GetDatum(entry->max_ms);
		values[n++] = Float8GetDatum(entry->limiter_ms);
		values[n++] = TimestampTzGetDatum(entry->first_at);
		values[n++] = TimestampTzGetDatum(entry->last_at);
		Assert(n == REQUEST_COLUMNS);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* cs_stat_reset(): this database's statistics begin anew. */
Datum
cs_sql_stat_reset(PG_FUNCTION_ARGS)
{
	cs_require_preload();
	cs_stats_reset();
	PG_RETURN_VOID();
}

/* cs_internal.stat_workers(): the launcher, then a row per database that it knows. */
Datum
cs_sql_stat_workers(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CsWorkerInfo *infos;
	int			ninfos;
	int			i;

	cs_require_preload();
	InitMaterializedSRF(fcinfo, 0);

	infos = cs_worker_infos(&ninfos);
	for (i = 0; i < ninfos; i++)
	{
		const CsWorkerInfo *info = &infos[i];
		Datum		values[WORKER_COLUMNS];
		bool		nulls[WORKER_COLUMNS] = {0};
		int			n = 0;

		nulls[n] = !OidIsValid(info->database);
		values[n++] = ObjectIdGetDatum(info->database);
		nulls[n] = info->pid == 0;
		values[n++] = Int32GetDatum((int32) info->pid);
		nulls[n] = info->pid == 0;
		values[n++] = TimestampTzGetDatum(info->started_at);
		nulls[n] = info->due_at == 0;
		values[n++] = TimestampTzGetDatum(info->due_at);
		values[n++] = Int32GetDatum(info->in_flight);
		values[n++] = Int64GetDatum(info->orders_sent);
		values[n++] = Int64GetDatum(info->failures);
		nulls[n] = info->activity[0] == '\0';
		values[n++] = CStringGetTextDatum(info->activity);
		nulls[n] = info->drain_since == 0;
		values[n++] = TimestampTzGetDatum(info->drain_since);
		values[n++] = Int64GetDatum(info->drain_sent);
		Assert(n == WORKER_COLUMNS);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* A time of shared memory, in which 0 means never. */
static Datum
time_or_null(TimestampTz time, bool *isnull)
{
	*isnull = time == 0;
	return TimestampTzGetDatum(time);
}

/*
 * Does the contact tell of an account that is used so now?  One whose mapping
 * is gone does not, nor one whose options were altered once there was a request
 * with the new ones; until then it is not charged with what went wrong before.
 */
static bool
is_current(CsContact *contacts, int ncontacts, CsContact *contact)
{
	uint64		fingerprint = cs_options_fingerprint(contact->serverid, contact->mappingid);

	if (fingerprint == 0)
		return false;
	if (fingerprint == contact->fingerprint)
		return true;
	for (int i = 0; i < ncontacts; i++)
	{
		if (contacts[i].mappingid == contact->mappingid && contacts[i].fingerprint == fingerprint)
			return false;
	}
	contact->failures_in_a_row = 0;
	contact->unauthorized_at = 0;
	return true;
}

/* cs_internal.stat_accounts(): a row per server of this database and account used through it. */
Datum
cs_sql_stat_accounts(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	CsContact  *contacts;
	int			ncontacts;
	int			i;

	cs_require_preload();
	InitMaterializedSRF(fcinfo, 0);

	contacts = cs_contact_copy(&ncontacts);
	for (i = 0; i < ncontacts; i++)
	{
		CsContact  *contact = &contacts[i];
		Datum		values[ACCOUNT_COLUMNS];
		bool		nulls[ACCOUNT_COLUMNS] = {0};
		int			n = 0;

		if (!is_current(contacts, ncontacts, contact))
			continue;
		values[n++] = CStringGetTextDatum(contact->server);
		values[n++] = CStringGetTextDatum(contact->account);
		values[n++] = Int32GetDatum(contact->rate_limit);
		values[n++] = Int32GetDatum(contact->used);
		values[n++] = Int32GetDatum(contact->waiting);
		values[n++] = Int32GetDatum(contact->paused_ms);
		values[n] = time_or_null(contact->token_obtained_at, &nulls[n]);
		n++;
		values[n] = time_or_null(contact->token_obtained_at == 0 ? 0 : contact->token_expires_at,
								 &nulls[n]);
		n++;
		nulls[n] = !contact->has_skew;
		values[n++] = Float8GetDatum(contact->skew_us / 1000.0);
		values[n++] = TimestampTzGetDatum(contact->last_at);
		values[n] = time_or_null(contact->answered_at, &nulls[n]);
		n++;
		values[n] = time_or_null(contact->failed_at, &nulls[n]);
		n++;
		values[n++] = Int32GetDatum(contact->failures_in_a_row);
		values[n] = time_or_null(contact->unauthorized_at, &nulls[n]);
		n++;
		Assert(n == ACCOUNT_COLUMNS);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
