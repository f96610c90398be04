/*
 * handoff.c
 *	  Orders handed to the worker by a caller who waits for the outcome.
 *
 * A slot per process that can run SQL, found by the process's number, so a
 * caller always has one and its latch is found without storing it.  A slot's
 * states:
 *
 *	  FREE -> ANNOUNCED		the caller; the segment is filled before
 *	  ANNOUNCED -> TAKEN	the worker
 *	  TAKEN -> DONE			the worker, with its reply
 *	  TAKEN -> LOST			the worker's end: what became of it, the journal tells
 *	  any -> FREE			the caller, having its answer or giving up
 *
 * Only the caller begins a generation, so a worker that took an earlier one
 * finds another number (or a FREE slot) and lets it be.  The request itself
 * stands in the slot, or, since it can be of any size, in a segment of the
 * caller's: making and mapping one costs as much as a statement.  The
 * worker may come too late to attach it: then the caller has left, or a
 * stranger's segment has the same handle by chance, which its first bytes tell.
 *
 * Locks: CS_LOCK_WORKERS.  Segments are made, attached and copied outside it.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "miscadmin.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

#include "src/base/compat.h"
#include "src/base/crash.h"
#include "src/base/errors.h"
#include "src/shared/handoff.h"
#include "src/shared/layout.h"

/* How long a caller waits for a worker that does not come, and how often it looks. */
#define WORKER_WAIT_US INT64CONST(5000000)
#define LOOK_MS 250L

#define SEGMENT_MAGIC UINT64CONST(0x6370736f75726365)

/* Requests up to this size need no segment: nearly all of them. */
#define SHORT_REQUEST 2048

typedef enum SlotState
{
	SLOT_FREE,
	SLOT_ANNOUNCED,
	SLOT_TAKEN,
	SLOT_DONE,
	SLOT_LOST
} SlotState;

typedef struct HandoffSlot
{
	SlotState	state;
	uint64		generation;
	uint64		turn;			/* the order of announcements */
	Oid			database;
	CsHandoffKind kind;
	dsm_handle	segment;		/* DSM_HANDLE_INVALID: the request is short */
	size_t		length;
	char		request[SHORT_REQUEST];
	CsHandoffReply reply;		/* when DONE */
} HandoffSlot;

typedef struct HandoffState
{
	uint64		turns;
	HandoffSlot slots[FLEXIBLE_ARRAY_MEMBER];	/* MaxBackends */
} HandoffState;

typedef struct SegmentHeader
{
	uint64		magic;
	int64		slot;
	uint64		generation;
	uint64		length;
} SegmentHeader;

/* Why a caller gets no worker. */
typedef enum Unserved
{
	UNSERVED_NOT_YET,
	UNSERVED_NO_LAUNCHER,
	UNSERVED_NO_ROOM,			/* cupsource.max_databases */
	UNSERVED_NO_SLOT,			/* max_worker_processes */
	UNSERVED_BARRED,
	UNSERVED_FAILING
} Unserved;

static HandoffState *handoff = NULL;

Size
cs_handoff_shmem_size(void)
{
	return add_size(offsetof(HandoffState, slots), mul_size(MaxBackends, sizeof(HandoffSlot)));
}

void
cs_handoff_shmem_attach(void)
{
	bool		found;

	handoff = ShmemInitStruct("cupsource handoff", cs_handoff_shmem_size(), &found);
	if (!found)
		memset(handoff, 0, cs_handoff_shmem_size());
}

/*
 * The caller.
 */

/*
 * Ends the caller's use of its slot.  Whoever is going to say that nothing was
 * sent takes it back 'untaken': false if the worker has it after all.
 */
static bool
free_slot(bool untaken)
{
	HandoffSlot *slot = &handoff->slots[CS_MY_PROC_NUMBER];
	bool		freed = true;

	cs_workers_lock();
	if (slot->state == SLOT_ANNOUNCED)
	{
		CsDatabase *entry = cs_database_find(slot->database);

		if (entry != NULL)
			entry->announced--;
	}
	else if (untaken)
		freed = false;
	if (freed)
		slot->state = SLOT_FREE;
	cs_workers_unlock();
	return freed;
}

static void
caller_exit(int code, Datum arg)
{
	(void) free_slot(false);
}

/* The request in a segment of its own; it goes with the transaction or by dsm_detach. */
static dsm_segment *
fill_segment(const char *payload, size_t length, uint64 generation)
{
	dsm_segment *segment = dsm_create(sizeof(SegmentHeader) + length, 0);
	SegmentHeader *header = dsm_segment_address(segment);

	header->magic = SEGMENT_MAGIC;
	header->slot = CS_MY_PROC_NUMBER;
	header->generation = generation;
	header->length = length;
	memcpy(header + 1, payload, length);
	return segment;
}

/* False: there is no room for the database.  Without a segment the request is short. */
static bool
announce(CsHandoffKind kind, const char *payload, size_t length, dsm_segment *segment,
		 uint64 generation)
{
	HandoffSlot *slot = &handoff->slots[CS_MY_PROC_NUMBER];
	CsDatabase *entry;

	cs_workers_lock();
	entry = cs_database_enter(MyDatabaseId);
	if (entry != NULL)
	{
		slot->generation = generation;
		slot->turn = ++handoff->turns;
		slot->database = MyDatabaseId;
		slot->kind = kind;
		slot->segment = segment ? dsm_segment_handle(segment) : DSM_HANDLE_INVALID;
		slot->length = length;
		if (segment == NULL)
			memcpy(slot->request, payload, length);
		slot->state = SLOT_ANNOUNCED;
		entry->announced++;
		cs_database_wake(entry);
	}
	cs_workers_unlock();
	return entry != NULL;
}

/* Looks at the slot; *unserved is why nobody takes it, if it is only announced. */
static SlotState
look_at_slot(CsHandoffReply *reply, Unserved *unserved)
{
	HandoffSlot *slot = &handoff->slots[CS_MY_PROC_NUMBER];
	SlotState	state;
	CsDatabase *entry;

	*unserved = UNSERVED_NOT_YET;

	cs_workers_lock();
	state = slot->state;
	if (state == SLOT_DONE)
		*reply = slot->reply;
	else if (state == SLOT_ANNOUNCED)
	{
		entry = cs_database_find(slot->database);
		if (entry == NULL)
			*unserved = UNSERVED_NO_ROOM;
		else if (entry->serving == CS_SERVING_ATTACHED && !entry->leave)
			*unserved = UNSERVED_NOT_YET;
		else if (entry->bars > 0)
			*unserved = UNSERVED_BARRED;
		else if (cs_workers->launcher.pid == 0)
			*unserved = UNSERVED_NO_LAUNCHER;
		else if (cs_workers->launcher.no_slot)
			*unserved = UNSERVED_NO_SLOT;
		else
			*unserved = UNSERVED_FAILING;
	}
	cs_workers_unlock();
	return state;
}

static void
throw_no_worker(Unserved unserved)
{
	const char *reason = NULL;
	const char *hint = NULL;

	switch (unserved)
	{
		case UNSERVED_NO_LAUNCHER:
			reason = "the cupsource launcher is not running";
			hint = "It starts with the server if \"max_worker_processes\" has room for it; the server log has its last message.";
			break;
		case UNSERVED_NO_ROOM:
			reason = "too many databases use cupsource";
			hint = "Raise \"cupsource.max_databases\" and restart the server.";
			break;
		case UNSERVED_NO_SLOT:
			reason = "the server has no free background worker slot";
			hint = "Raise \"max_worker_processes\" and restart the server.";
			break;
		case UNSERVED_BARRED:
			reason = "the database is being dropped, renamed, moved or copied";
			hint = "Try again when that is done.";
			break;
		case UNSERVED_NOT_YET:
		case UNSERVED_FAILING:
			reason = "the cupsource worker of this database did not start";
			hint = "The server log says why.";
			break;
	}
	ereport(ERROR,
			(errcode(CS_ERRCODE_NO_WORKER),
			 errmsg("no worker can take the request: %s", reason),
			 errdetail("Nothing was sent."),
			 errhint("%s", hint)));
}

/* Until there is a reply; throws if there is to be none. */
static void
wait_for_reply(CsHandoffReply *reply)
{
	static uint32 wait_event = 0;
	int64		served_at = cs_monotonic_us();

	for (;;)
	{
		int64		now = cs_monotonic_us();
		Unserved	unserved;
		SlotState	slot = look_at_slot(reply, &unserved);

		if (slot == SLOT_DONE)
			return;
		if (slot == SLOT_TAKEN)
			CS_CRASH_POINT("waiting");
		if (slot == SLOT_LOST)
			ereport(ERROR,
					(errcode(CS_ERRCODE_OUTCOME_UNKNOWN),
					 errmsg("the cupsource worker ended before it reported the outcome"),
					 errdetail("It had taken the request; if it was journalled, the next worker carries it on."),
					 errhint("Look the order up in cs_orders by its external id.")));
		if (unserved == UNSERVED_NOT_YET)
			served_at = now;
		else if (now - served_at > WORKER_WAIT_US && free_slot(true))
			throw_no_worker(unserved);

		/* A request that was taken ends in a wake-up; one that was not may be left alone. */
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH |
						 (slot == SLOT_ANNOUNCED ? WL_TIMEOUT : 0),
						 slot == SLOT_ANNOUNCED ? LOOK_MS : -1L,
						 CS_WAIT_EVENT(wait_event, "CupsourceHandoff"));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
}

void
cs_handoff_call(CsHandoffKind kind, const char *payload, size_t length, CsHandoffReply *reply)
{
	static bool registered = false;
	uint64		generation = handoff->slots[CS_MY_PROC_NUMBER].generation + 1;
	dsm_segment *volatile segment = NULL;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(CS_ERRCODE_NO_WORKER),
				 errmsg("no worker can take the request: the server is a standby"),
				 errdetail("Nothing was sent."),
				 errhint("Call it on the primary server.")));
	if (!AllocSizeIsValid(length + 1))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("request is too large")));
	if (!registered)
	{
		before_shmem_exit(caller_exit, (Datum) 0);
		registered = true;
	}

	if (length > SHORT_REQUEST)
		segment = fill_segment(payload, length, generation);
	PG_TRY();
	{
		if (!announce(kind, payload, length, segment, generation))
			throw_no_worker(UNSERVED_NO_ROOM);
		wait_for_reply(reply);
	}
	PG_FINALLY();
	{
		(void) free_slot(false);
	}
	PG_END_TRY();
	if (segment)
		dsm_detach(segment);
}

/*
 * The worker.
 */

/* The slot announced first; its state is TAKEN then.  -1: none is. */
static int
take_first(Oid database, HandoffSlot *copy)
{
	CsDatabase *entry;
	int			first = -1;
	int			i;

	cs_workers_lock();
	entry = cs_database_find(database);
	if (entry != NULL && entry->announced > 0)
	{
		for (i = 0; i < MaxBackends; i++)
		{
			HandoffSlot *slot = &handoff->slots[i];

			if (slot->state == SLOT_ANNOUNCED && slot->database == database &&
				(first < 0 || slot->turn < handoff->slots[first].turn))
				first = i;
		}
		if (first >= 0)
		{
			handoff->slots[first].state = SLOT_TAKEN;
			entry->announced--;
			*copy = handoff->slots[first];
		}
	}
	cs_workers_unlock();
	return first;
}

/* What the caller wrote; NULL if it has left. */
static char *
copy_payload(int slot, const HandoffSlot *copy)
{
	char	   *payload = palloc(copy->length + 1);
	dsm_segment *segment;
	SegmentHeader *header;
	bool		same;

	if (copy->segment == DSM_HANDLE_INVALID)
	{
		memcpy(payload, copy->request, copy->length);
		payload[copy->length] = '\0';
		return payload;
	}
	segment = dsm_attach(copy->segment);
	if (segment == NULL)
		return NULL;
	header = dsm_segment_address(segment);
	same = dsm_segment_map_length(segment) >= sizeof(SegmentHeader) + copy->length &&
		header->magic == SEGMENT_MAGIC && header->slot == slot &&
		header->generation == copy->generation && header->length == copy->length;
	if (same)
	{
		memcpy(payload, header + 1, copy->length);
		payload[copy->length] = '\0';
	}
	dsm_detach(segment);
	return same ? payload : NULL;
}

bool
cs_handoff_take(CsHandoffRequest *request)
{
	HandoffSlot copy;

	while ((request->slot = take_first(MyDatabaseId, &copy)) >= 0)
	{
		request->generation = copy.generation;
		request->kind = copy.kind;
		request->length = copy.length;
		PG_TRY();
		{
			request->payload = copy_payload(request->slot, &copy);
		}
		PG_CATCH();
		{
			/* Out of memory, say.  Whoever catches this cannot answer: we must. */
			CsHandoffReply reply = {0};

			reply.sqlstate = CS_ERRCODE_NO_WORKER;
			strlcpy(reply.message, "the cupsource worker could not read the request", sizeof(reply.message));
			strlcpy(reply.detail, "Nothing was sent.", sizeof(reply.detail));
			strlcpy(reply.hint, "The server log says why.", sizeof(reply.hint));
			cs_handoff_reply(request, &reply);
			PG_RE_THROW();
		}
		PG_END_TRY();
		if (request->payload != NULL)
			return true;
	}
	return false;
}

bool
cs_handoff_wanted(const CsHandoffRequest *request)
{
	HandoffSlot *slot = &handoff->slots[request->slot];
	bool		wanted;

	cs_workers_lock();
	wanted = slot->state == SLOT_TAKEN && slot->generation == request->generation;
	cs_workers_unlock();
	return wanted;
}

void
cs_handoff_reply(const CsHandoffRequest *request, const CsHandoffReply *reply)
{
	HandoffSlot *slot = &handoff->slots[request->slot];

	cs_workers_lock();
	if (slot->state == SLOT_TAKEN && slot->generation == request->generation)
	{
		slot->reply = *reply;
		slot->state = SLOT_DONE;
		cs_process_wake(request->slot);
	}
	cs_workers_unlock();
}

void
cs_handoff_lose(Oid database)
{
	int			i;

	for (i = 0; i < MaxBackends; i++)
	{
		HandoffSlot *slot = &handoff->slots[i];

		if (slot->state == SLOT_TAKEN && slot->database == database)
		{
			slot->state = SLOT_LOST;
			cs_process_wake(i);
		}
	}
}
