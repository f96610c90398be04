/*
 * stats.c
 *	  Counters per database, server and endpoint, in shared memory.
 *
 * The table is fixed: sixteen entries for each account that
 * cupsource.max_accounts allows, which is more than there are endpoints.  If
 * it is full all the same, requests of further endpoints go uncounted, with
 * one LOG line per process; a request never fails for its statistics.
 *
 * A clean stop of the server leaves them in a file, and the next start takes
 * them from there and removes it.  After a crash there is no file, and
 * counting begins anew; so does it if the file is not of this version.
 *
 * Locks: CS_LOCK_TABLES, shared to count in an entry that exists (the entry's
 * spinlock protects its counters), exclusive to add and remove entries.
 */
#include "postgres.h"

#include <unistd.h>

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#include "src/base/compat.h"
#include "src/base/guc.h"
#include "src/shared/layout.h"
#include "src/shared/stats.h"

#define ENTRIES_PER_ACCOUNT 16

#define STATS_FILE PGSTAT_STAT_PERMANENT_DIRECTORY "/cupsource.stat"
#define STATS_FILE_FORMAT 0x43550001	/* changes with what an entry is */

/* Compared as bytes: zeroed before it is filled. */
typedef struct StatsKey
{
	Oid			database;
	char		server[NAMEDATALEN];
	char		endpoint[sizeof(((CsStatsEntry *) NULL)->endpoint)];
} StatsKey;

typedef struct StatsSlot
{
	StatsKey	key;			/* must be first */
	slock_t		mutex;			/* protects the following */
	CsStatsEntry counters;		/* its names are not used: they are the key's */
} StatsSlot;

static HTAB *slots = NULL;

static long
max_slots(void)
{
	return (long) cs_guc_max_accounts * ENTRIES_PER_ACCOUNT;
}

Size
cs_stats_shmem_size(void)
{
	return hash_estimate_size(max_slots(), sizeof(StatsSlot));
}

/* What the file is of, and how much stands in it: all of it must fit. */
typedef struct StatsFileHeader
{
	uint32		format;
	uint32		server_version;
	uint32		entry_size;
	uint32		entries;
} StatsFileHeader;

static void
file_header(StatsFileHeader *header, long entries)
{
	memset(header, 0, sizeof(*header));
	header->format = STATS_FILE_FORMAT;
	header->server_version = CS_SERVER_VERSION;
	header->entry_size = sizeof(StatsKey) + sizeof(CsStatsEntry);
	header->entries = (uint32) entries;
}

static bool
write_entries(FILE *file)
{
	HASH_SEQ_STATUS scan;
	StatsSlot  *slot;
	bool		good = true;

	hash_seq_init(&scan, slots);
	while ((slot = hash_seq_search(&scan)) != NULL)
		good = good && fwrite(&slot->key, sizeof(slot->key), 1, file) == 1 &&
			fwrite(&slot->counters, sizeof(slot->counters), 1, file) == 1;
	return good;
}

/* In the postmaster, when every other process has ended. */
static void
save(int code, Datum arg)
{
	StatsFileHeader header;
	FILE	   *file;
	bool		good;

	if (code != 0 || slots == NULL)
		return;
	file = AllocateFile(STATS_FILE ".tmp", PG_BINARY_W);
	good = file != NULL;
	if (good)
	{
		file_header(&header, hash_get_num_entries(slots));
		good = fwrite(&header, sizeof(header), 1, file) == 1 && write_entries(file);
		good = FreeFile(file) == 0 && good;
	}
	if (good)
		(void) durable_rename(STATS_FILE ".tmp", STATS_FILE, LOG);
	else
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", STATS_FILE ".tmp")));
		unlink(STATS_FILE ".tmp");
	}
}

/* False: the file breaks off. */
static bool
read_entries(FILE *file, uint32 entries)
{
	for (uint32 i = 0; i < entries; i++)
	{
		StatsKey	key;
		CsStatsEntry counters;
		StatsSlot  *slot;

		if (fread(&key, sizeof(key), 1, file) != 1 ||
			fread(&counters, sizeof(counters), 1, file) != 1)
			return false;
		slot = hash_search(slots, &key, HASH_ENTER_NULL, NULL);
		if (slot == NULL)		/* there is less room now */
			return true;
		SpinLockInit(&slot->mutex);
		slot->counters = counters;
	}
	return true;
}

/* In the postmaster, before there is any other process. */
static void
load(void)
{
	StatsFileHeader expected;
	StatsFileHeader header;
	FILE	   *file = AllocateFile(STATS_FILE, PG_BINARY_R);

	if (file == NULL)
	{
		if (errno != ENOENT)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("could not read file \"%s\": %m", STATS_FILE)));
		return;
	}
	if (fread(&header, sizeof(header), 1, file) == 1)
	{
		file_header(&expected, header.entries);
		if (memcmp(&header, &expected, sizeof(header)) == 0 && !read_entries(file, header.entries))
			ereport(LOG,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("file \"%s\" breaks off", STATS_FILE)));
	}
	FreeFile(file);
	unlink(STATS_FILE);
}

void
cs_stats_shmem_attach(void)
{
	HASHCTL		info = {0};

	info.keysize = sizeof(StatsKey);
	info.entrysize = sizeof(StatsSlot);
	slots = ShmemInitHash("cupsource statistics", max_slots(), max_slots(), &info,
						  HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	if (!IsUnderPostmaster && hash_get_num_entries(slots) == 0)
	{
		load();
		on_shmem_exit(save, (Datum) 0);
	}
}

static void
key_fill(StatsKey *key, const CsStatsSample *sample)
{
	memset(key, 0, sizeof(*key));
	key->database = MyDatabaseId;
	strlcpy(key->server, sample->server, sizeof(key->server));
	strlcpy(key->endpoint, sample->endpoint, sizeof(key->endpoint));
}

/* Which counter a failed request belongs to. */
static int64 *
failure_counter(CsStatsEntry *counters, const CsStatsSample *sample)
{
	switch (sample->failure)
	{
		case CS_FAILURE_NONE:
			return NULL;
		case CS_FAILURE_RESOLVE:
		case CS_FAILURE_CONNECT:
		case CS_FAILURE_TLS:
		case CS_FAILURE_RATE_LIMIT_WAIT:
			return &counters->not_sent;
		case CS_FAILURE_TIMEOUT:
			return &counters->timeouts;
		case CS_FAILURE_MALFORMED:
		case CS_FAILURE_TOO_LARGE:
		case CS_FAILURE_REDIRECT:
			return &counters->malformed;
		case CS_FAILURE_REFUSED:
			if (sample->status == 429)
				return &counters->rate_limited_429;
			if (sample->status >= 400 && sample->status < 500)
				return &counters->refused_4xx;
			if (sample->status >= 500 && sample->status < 600)
				return &counters->refused_5xx;
			break;
		case CS_FAILURE_CONNECTION_LOST:
		case CS_FAILURE_OUT_OF_MEMORY:
			break;
	}
	return &counters->other_failures;
}

static void
add(StatsSlot *slot, const CsStatsSample *sample, TimestampTz now)
{
	CsStatsEntry *counters = &slot->counters;
	int64	   *failed = failure_counter(counters, sample);

	SpinLockAcquire(&slot->mutex);
	if (counters->calls == 0)
	{
		counters->first_at = now;
		counters->min_ms = sample->total_ms;
		counters->max_ms = sample->total_ms;
	}
	counters->last_at = Max(counters->last_at, now);
	counters->calls++;
	counters->retries += sample->retry;
	counters->connections += sample->new_connection;
	if (failed != NULL)
		(*failed)++;
	counters->bytes_sent += sample->bytes_sent;
	counters->bytes_received += sample->bytes_received;
	counters->total_ms += sample->total_ms;
	counters->min_ms = Min(counters->min_ms, sample->total_ms);
	counters->max_ms = Max(counters->max_ms, sample->total_ms);
	counters->limiter_ms += sample->limiter_ms;
	SpinLockRelease(&slot->mutex);
}

void
cs_stats_count(const CsStatsSample *sample)
{
	static bool told = false;
	StatsKey	key;
	StatsSlot  *slot;
	TimestampTz now = GetCurrentTimestamp();
	bool		found;

	key_fill(&key, sample);

	LWLockAcquire(cs_shared_lock(CS_LOCK_TABLES), LW_SHARED);
	slot = hash_search(slots, &key, HASH_FIND, NULL);
	if (slot != NULL)
		add(slot, sample, now);
	LWLockRelease(cs_shared_lock(CS_LOCK_TABLES));
	if (slot != NULL)
		return;

	LWLockAcquire(cs_shared_lock(CS_LOCK_TABLES), LW_EXCLUSIVE);
	slot = hash_search(slots, &key, HASH_ENTER_NULL, &found);
	if (slot != NULL)
	{
		if (!found)
		{
			SpinLockInit(&slot->mutex);
			memset(&slot->counters, 0, sizeof(slot->counters));
		}
		add(slot, sample, now);
	}
	LWLockRelease(cs_shared_lock(CS_LOCK_TABLES));

	if (slot == NULL && !told)
	{
		told = true;
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no room for the request statistics of more than %ld endpoints", max_slots()),
				 errhint("Call cs_stat_reset(), or raise \"%s\" and restart the server.",
						 "cupsource.max_accounts")));
	}
}

CsStatsEntry *
cs_stats_copy(int *nentries)
{
	HASH_SEQ_STATUS scan;
	StatsSlot  *slot;
	CsStatsEntry *entries;
	long		room;
	int			n = 0;

	/* Allocated before the lock is taken, with some room for what comes meanwhile. */
	room = hash_get_num_entries(slots) + 16;
	entries = palloc_array(CsStatsEntry, room);

	LWLockAcquire(cs_shared_lock(CS_LOCK_TABLES), LW_SHARED);
	hash_seq_init(&scan, slots);
	while ((slot = hash_seq_search(&scan)) != NULL)
	{
		if (slot->key.database != MyDatabaseId || n >= room)
			continue;
		SpinLockAcquire(&slot->mutex);
		entries[n] = slot->counters;
		SpinLockRelease(&slot->mutex);
		entries[n].database = slot->key.database;
		strlcpy(entries[n].server, slot->key.server, sizeof(entries[n].server));
		strlcpy(entries[n].endpoint, slot->key.endpoint, sizeof(entries[n].endpoint));
		n++;
	}
	LWLockRelease(cs_shared_lock(CS_LOCK_TABLES));

	*nentries = n;
	return entries;
}

void
cs_stats_reset(void)
{
	HASH_SEQ_STATUS scan;
	StatsSlot  *slot;

	LWLockAcquire(cs_shared_lock(CS_LOCK_TABLES), LW_EXCLUSIVE);
	hash_seq_init(&scan, slots);
	while ((slot = hash_seq_search(&scan)) != NULL)
	{
		if (slot->key.database == MyDatabaseId)
			hash_search(slots, &slot->key, HASH_REMOVE, NULL);
	}
	LWLockRelease(cs_shared_lock(CS_LOCK_TABLES));
}
