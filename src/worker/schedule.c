/*
 * schedule.c
 *	  Which catalogues are due for a refresh, and starting it.
 *
 * The worker looks when something changed (an option of a server, the end of
 * a refresh) and when the next one is due; each look is one short
 * transaction.  A refresh itself runs in a process of its own (refresher.c),
 * so no order waits for it.  What is due, and how long a failed one rests,
 * is told by cs_internal.refreshes_due().
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/backend_status.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/shared/refreshers.h"
#include "src/shared/shmem.h"
#include "src/worker/refresher.h"
#include "src/worker/schedule.h"

#define AFTER_START_MS 1000		/* until a started process stands in its place */
#define NO_ROOM_MS 10000
#define HELD_MS 60000			/* somebody refreshes by hand */
#define FAILED_MS 60000

/* One that was started and left no trace is not started again before. */
#define START_AGAIN_MS 10000

#define MAX_DUE 64				/* of one look */

typedef struct DueRefresh
{
	Oid			serverid;
	Oid			userid;
} DueRefresh;

typedef struct Started
{
	Oid			serverid;
	TimestampTz at;
	int64		since;			/* the same on the monotonic clock */
} Started;

static bool changed = true;
static TimestampTz next_look = 0;
static Started started[MAX_DUE];	/* the last ones, in turn */
static int	nstarted = 0;

static void
options_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	changed = true;
}

void
cs_schedule_init(void)
{
	CacheRegisterSyscacheCallback(FOREIGNSERVEROID, options_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(USERMAPPINGOID, options_changed, (Datum) 0);
}

void
cs_schedule_anew(void)
{
	changed = true;
}

TimestampTz
cs_schedule_due(void)
{
	return next_look;
}

static void
look_again_at(TimestampTz at)
{
	if (next_look == 0 || at < next_look)
		next_look = at;
}

static void
look_again_in(int ms)
{
	look_again_at(GetCurrentTimestamp() + ms * INT64CONST(1000));
}

/* Was it started a moment ago, without any effect that could be seen since? */
static bool
just_started(Oid serverid, TimestampTz attempted_at)
{
	int64		now = cs_monotonic_us();

	for (int i = 0; i < Min(nstarted, MAX_DUE); i++)
	{
		if (started[i].serverid == serverid && started[i].at > attempted_at &&
			started[i].since + START_AGAIN_MS * INT64CONST(1000) > now)
			return true;
	}
	return false;
}

/* In a scope: those that are to be started now; at most 'room'. */
static int
read_due(DueRefresh *due, int room)
{
	static CsStatement refreshes_due = {"SELECT * FROM cs_internal.refreshes_due()", 0};
	uint64		n = cs_state_run(&refreshes_due, NULL, NULL);
	TimestampTz now = GetCurrentTimestamp();
	int			ndue = 0;

	for (uint64 i = 0; i < n; i++)
	{
		Datum		values[4];
		bool		nulls[4];
		TimestampTz due_at;
		Oid			serverid;

		for (int j = 0; j < 4; j++)
			values[j] = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, j + 1,
									  &nulls[j]);
		serverid = DatumGetObjectId(values[0]);
		due_at = DatumGetTimestampTz(values[2]);
		if (nulls[2])
			look_again_in(HELD_MS);
		else if (due_at > now)
			look_again_at(due_at);
		else if (just_started(serverid, nulls[3] ? 0 : DatumGetTimestampTz(values[3])))
			look_again_in(AFTER_START_MS);
		else if (ndue == Min(room, MAX_DUE))
			look_again_in(NO_ROOM_MS);
		else
			due[ndue++] = (DueRefresh)
		{
			serverid, DatumGetObjectId(values[1])
		};
	}
	return ndue;
}

/* Says it once until a process could be started again. */
static void
tell_no_slot(bool free)
{
	static bool told = false;

	if (!free && !told)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no free background worker slot for a refresh of a catalogue"),
				 errhint("Raise \"%s\" and restart the server.", "max_worker_processes")));
	told = !free;
}

static void
start(const DueRefresh *due, int ndue)
{
	for (int i = 0; i < ndue; i++)
	{
		bool		free = cs_refresher_start(due[i].serverid, due[i].userid);

		tell_no_slot(free);
		if (!free)
		{
			look_again_in(NO_ROOM_MS);
			return;
		}
		started[nstarted % MAX_DUE] = (Started)
		{
			due[i].serverid, GetCurrentTimestamp(), cs_monotonic_us()
		};
		nstarted++;
		look_again_in(AFTER_START_MS);
	}
}

/* False: the extension is gone. */
static bool
look(void)
{
	DueRefresh	due[MAX_DUE];
	int			ndue = 0;
	CsStateScope scope;
	bool		present;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	present = cs_extension_present() && cs_extension_lock();
	if (present)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		cs_state_enter(&scope);
		ndue = read_due(due, cs_refreshers_room());
		cs_state_leave(&scope);
		PopActiveSnapshot();
	}
	CommitTransactionCommand();
	start(due, ndue);
	return present;
}

bool
cs_schedule_look(bool woken)
{
	MemoryContext cxt = CurrentMemoryContext;
	volatile bool present = true;

	if (woken && cs_worker_take_schedule())
		changed = true;
	if (!changed && (next_look == 0 || next_look > GetCurrentTimestamp()))
		return true;

	changed = false;
	next_look = 0;
	pgstat_report_activity(STATE_RUNNING, "cupsource: looking for catalogues to refresh");
	PG_TRY();
	{
		present = look();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(cxt);
		EmitErrorReport();
		FlushErrorState();
		AbortOutOfAnyTransaction();
		look_again_in(FAILED_MS);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(cxt);
	pgstat_report_activity(STATE_IDLE, NULL);
	return present;
}
