/*
 * contact.c
 *	  What a server's last answers told about the partner, in shared memory.
 *
 * One entry for each server of a database and each account (key) that is used
 * through it; when the table is full the entry that was not used for longest
 * makes room, so a rotated key's does in time.  An entry says which account's
 * budget and token belong to a server, which nothing else in shared memory
 * does: cs_health reads all of it without knowing anybody's key.
 *
 * Locks: CS_LOCK_TABLES, shared to write in an entry that exists (the entry's
 * spinlock protects it), exclusive to add one.  The copy takes each account's
 * own lock after it has let go of that one.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/hsearch.h"

#include "src/base/guc.h"
#include "src/shared/contact.h"
#include "src/shared/layout.h"
#include "src/shared/limiter.h"

/* Compared as bytes: zeroed before it is filled. */
typedef struct ContactKey
{
	Oid			database;
	char		server[NAMEDATALEN];
	CsAccountKey account;
} ContactKey;

typedef struct ContactSlot
{
	ContactKey	key;			/* must be first */
	slock_t		mutex;			/* protects the following */
	CsContact	contact;		/* its name is not used: it is the key's */
} ContactSlot;

static HTAB *slots = NULL;

Size
cs_contact_shmem_size(void)
{
	return hash_estimate_size(cs_guc_max_accounts, sizeof(ContactSlot));
}

void
cs_contact_shmem_attach(void)
{
	HASHCTL		info = {0};

	info.keysize = sizeof(ContactKey);
	info.entrysize = sizeof(ContactSlot);
	slots = ShmemInitHash("cupsource contacts", cs_guc_max_accounts, cs_guc_max_accounts, &info,
						  HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
}

static void
write_down(ContactSlot *slot, const CsContactSample *sample, TimestampTz now)
{
	CsContact  *contact = &slot->contact;

	SpinLockAcquire(&slot->mutex);
	if (contact->fingerprint != sample->fingerprint)
	{
		/* What went wrong with other options says nothing about these. */
		contact->serverid = sample->serverid;
		contact->mappingid = sample->mappingid;
		contact->fingerprint = sample->fingerprint;
		contact->failures_in_a_row = 0;
		contact->unauthorized_at = 0;
	}
	contact->rate_limit = sample->rate_limit;
	contact->last_at = now;
	if (sample->answered)
	{
		contact->answered_at = now;
		contact->failures_in_a_row = 0;
	}
	else
	{
		contact->failed_at = now;
		contact->failures_in_a_row++;
	}
	if (sample->unauthorized)
		contact->unauthorized_at = now;
	else if (sample->answered)
		contact->unauthorized_at = 0;
	if (sample->has_skew)
	{
		contact->has_skew = true;
		contact->skew_us = sample->skew_us;
	}
	SpinLockRelease(&slot->mutex);
}

/* With the lock held exclusively: the entry of the longest silence goes. */
static void
make_room(void)
{
	HASH_SEQ_STATUS scan;
	ContactSlot *slot;
	ContactKey	oldest;
	TimestampTz oldest_at = DT_NOEND;

	hash_seq_init(&scan, slots);
	while ((slot = hash_seq_search(&scan)) != NULL)
	{
		if (slot->contact.last_at < oldest_at)
		{
			oldest_at = slot->contact.last_at;
			oldest = slot->key;
		}
	}
	if (oldest_at != DT_NOEND)
		hash_search(slots, &oldest, HASH_REMOVE, NULL);
}

void
cs_contact_count(const CsContactSample *sample)
{
	ContactKey	key;
	ContactSlot *slot;
	TimestampTz now = GetCurrentTimestamp();
	bool		found;

	memset(&key, 0, sizeof(key));
	key.database = MyDatabaseId;
	strlcpy(key.server, sample->server, sizeof(key.server));
	key.account = sample->account->key;

	LWLockAcquire(cs_shared_lock(CS_LOCK_TABLES), LW_SHARED);
	slot = hash_search(slots, &key, HASH_FIND, NULL);
	if (slot != NULL)
		write_down(slot, sample, now);
	LWLockRelease(cs_shared_lock(CS_LOCK_TABLES));
	if (slot != NULL)
		return;

	LWLockAcquire(cs_shared_lock(CS_LOCK_TABLES), LW_EXCLUSIVE);
	slot = hash_search(slots, &key, HASH_ENTER_NULL, &found);
	if (slot == NULL)
	{
		make_room();
		slot = hash_search(slots, &key, HASH_ENTER_NULL, &found);
	}
	if (slot != NULL)
	{
		if (!found)
		{
			SpinLockInit(&slot->mutex);
			memset(&slot->contact, 0, sizeof(slot->contact));
		}
		write_down(slot, sample, now);
	}
	LWLockRelease(cs_shared_lock(CS_LOCK_TABLES));
}

/* What the account's budget and token say. */
static void
add_account(CsContact *contact, const CsAccountKey *key)
{
	CsSharedAccount *account = cs_shared_account(key);

	snprintf(contact->account, sizeof(contact->account), "%02x%02x%02x%02x",
			 key->bytes[0], key->bytes[1], key->bytes[2], key->bytes[3]);

	contact->used = cs_limiter_used(account);
	contact->waiting = cs_limiter_waiting(account);
	contact->paused_ms = cs_limiter_paused(account);
	if (!cs_token_times(account, &contact->token_obtained_at, &contact->token_expires_at))
		contact->token_obtained_at = 0;
}

CsContact *
cs_contact_copy(int *ncontacts)
{
	HASH_SEQ_STATUS scan;
	ContactSlot *slot;
	CsContact  *contacts = palloc_array(CsContact, cs_guc_max_accounts);
	CsAccountKey *accounts = palloc_array(CsAccountKey, cs_guc_max_accounts);
	int			n = 0;

	LWLockAcquire(cs_shared_lock(CS_LOCK_TABLES), LW_SHARED);
	hash_seq_init(&scan, slots);
	while ((slot = hash_seq_search(&scan)) != NULL)
	{
		if (slot->key.database != MyDatabaseId)
			continue;
		SpinLockAcquire(&slot->mutex);
		contacts[n] = slot->contact;
		SpinLockRelease(&slot->mutex);
		strlcpy(contacts[n].server, slot->key.server, sizeof(contacts[n].server));
		accounts[n] = slot->key.account;
		n++;
	}
	LWLockRelease(cs_shared_lock(CS_LOCK_TABLES));

	for (int i = 0; i < n; i++)
		add_account(&contacts[i], &accounts[i]);
	*ncontacts = n;
	return contacts;
}
