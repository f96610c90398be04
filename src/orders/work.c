/*
 * work.c
 *	  The worker's transactions: steps, parts of steps, and their Datums.
 *
 * A step is short and never waits for the network.  It looks for the extension
 * and locks it first, so that DROP EXTENSION finds either no transaction of
 * ours or one that ends at once.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "src/base/state.h"
#include "src/client/options.h"
#include "src/orders/orders.h"
#include "src/orders/transfer.h"
#include "src/shared/shmem.h"

#define PAUSE_FIRST_MS 100
#define PAUSE_LIMIT_MS 30000
#define DELAY_MS 60000			/* something of ours is missing */
#define SHORT_DELAY_MS 5000		/* memory, descriptors, or a lock */

/* Steps that failed in a row, and when the last one did (monotonic). */
static int	failed_steps = 0;
static int64 failed_at = 0;

static bool
begin_step(CsStateScope *scope)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (!cs_extension_lock())
	{
		CommitTransactionCommand();
		return false;
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	cs_state_enter(scope);
	return true;
}

/*
 * On disk before a byte is sent or a caller is told, also where the
 * configuration lets users' commits be lost in a crash (synchronous_commit =
 * off): an order forgotten to be on the wire would be sent twice.
 */
static void
commit_step(CsStateScope *scope)
{
	cs_state_leave(scope);
	PopActiveSnapshot();
	ForceSyncCommit();
	CommitTransactionCommand();
}

bool
cs_work_step(const char *activity, CsStep step, void *arg, bool *ok)
{
	MemoryContext cxt = CurrentMemoryContext;
	CsStateScope scope;
	volatile bool present = true;
	volatile bool success = false;

	pgstat_report_activity(STATE_RUNNING, activity);
	PG_TRY();
	{
		present = begin_step(&scope);
		if (present)
		{
			step(arg);
			commit_step(&scope);
			success = true;
		}
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);

	if (success)
	{
		failed_steps = 0;
		cs_waiters_committed();
		cs_transfers_begin();
	}
	else
	{
		cs_waiters_aborted();
		cs_transfers_forget_planned();
		if (present)
			cs_orders_hold_back();
	}
	MemoryContextSwitchTo(cxt);

	/* Not at once while a partner may answer: a caller may be waiting for that. */
	pgstat_report_stat(!cs_orders_busy());
	pgstat_report_activity(STATE_IDLE, NULL);
	if (ok)
		*ok = success;
	return present;
}

void
cs_orders_hold_back(void)
{
	failed_steps++;
	failed_at = cs_monotonic_us();
}

int
cs_orders_pause_ms(void)
{
	int64		pause;

	if (failed_steps == 0)
		return 0;
	pause = Min(PAUSE_LIMIT_MS, (int64) PAUSE_FIRST_MS << Min(failed_steps - 1, 10));
	pause -= (cs_monotonic_us() - failed_at) / 1000;
	return Max(pause, 0);
}

bool
cs_work_is_transient(int sqlstate)
{
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			return true;
		default:
			return false;
	}
}

int64
cs_work_delay_ms(int sqlstate)
{
	int			category = ERRCODE_TO_CATEGORY(sqlstate);
	bool		momentary = category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_TRANSACTION_ROLLBACK ||
		sqlstate == ERRCODE_LOCK_NOT_AVAILABLE || sqlstate == ERRCODE_SYSTEM_ERROR;

	return momentary ? SHORT_DELAY_MS : DELAY_MS;
}

/* The error being caught, as a value in the current context. */
static void
failure_from_error(CsFailure *failure)
{
	ErrorData  *error = CopyErrorData();

	FlushErrorState();
	memset(failure, 0, sizeof(*failure));
	failure->kind = CS_FAILURE_MALFORMED;
	failure->delivery = CS_DELIVERY_UNKNOWN;
	failure->sqlstate = error->sqlerrcode;
	failure->message = error->message ? error->message : pstrdup("missing error text");
	failure->detail = error->detail;
	failure->hint = error->hint;
	failure->retry_after_ms = -1;
}

bool
cs_work_part(CsStep step, void *arg, CsFailure *failure)
{
	MemoryContext cxt = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool success = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(cxt);
	PG_TRY();
	{
		step(arg);
		ReleaseCurrentSubTransaction();
		success = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		failure_from_error(failure);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	CurrentResourceOwner = owner;
	return success;
}

const CsApi *
cs_work_api(const char *server, Oid *serverid)
{
	ForeignServer *foreign = GetForeignServerByName(server, true);
	const char *name = foreign ? cs_option_text(foreign->options, "api") : NULL;

	*serverid = foreign ? foreign->serverid : InvalidOid;
	return name ? cs_api_find(name) : NULL;
}

Datum
cs_work_interval(int64 ms)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->time = ms * INT64CONST(1000);
	return IntervalPGetDatum(interval);
}

Datum
cs_work_text(const char *text, char *null)
{
	*null = text ? ' ' : 'n';
	return text ? CStringGetTextDatum(text) : (Datum) 0;
}

void
cs_work_error(const CsFailure *failure, Datum *values, char *nulls)
{
	values[0] = cs_work_text(unpack_sql_state(failure->sqlstate), &nulls[0]);
	values[1] = cs_work_text(failure->code, &nulls[1]);
	values[2] = cs_work_text(failure->message, &nulls[2]);
	values[3] = cs_work_text(failure->detail, &nulls[3]);
	values[4] = cs_work_text(failure->hint, &nulls[4]);
}

char *
cs_work_column_text(SPITupleTable *rows, uint64 row, int column)
{
	return SPI_getvalue(rows->vals[row], rows->tupdesc, column);
}

Datum
cs_work_column(SPITupleTable *rows, uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(rows->vals[row], rows->tupdesc, column, isnull);
}
