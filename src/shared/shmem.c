/*
 * shmem.c
 *	  Requests the shared memory, finds it again in each process, and keeps the
 *	  table of accounts.
 *
 * An account's entry is never removed: processes keep its address.  Keys that
 * were rotated away stay until the next restart of the server, which is what
 * cupsource.max_accounts has room for.
 *
 * Locks: see layout.h.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#include "src/base/guc.h"
#include "src/shared/layout.h"

#define TRANCHE "cupsource"

/* An account of this process alone, because the shared table is full. */
typedef struct LocalAccount
{
	struct LocalAccount *next;
	CsSharedAccount account;
} LocalAccount;

static LWLockPadded *locks = NULL;
static HTAB *accounts = NULL;
static LocalAccount *local_accounts = NULL;

static shmem_request_hook_type prev_shmem_request_hook = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;

static void
shmem_request(void)
{
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();

	RequestAddinShmemSpace(hash_estimate_size(cs_guc_max_accounts, sizeof(CsSharedAccount)));
	RequestAddinShmemSpace(cs_stats_shmem_size());
	RequestAddinShmemSpace(cs_changes_shmem_size());
	RequestAddinShmemSpace(cs_contact_shmem_size());
	RequestAddinShmemSpace(cs_wake_shmem_size());
	RequestAddinShmemSpace(cs_handoff_shmem_size());
	RequestNamedLWLockTranche(TRANCHE, CS_LOCK_COUNT);
}

/* Also after a crash: what the statics pointed to is gone then. */
static void
shmem_startup(void)
{
	HASHCTL		info = {0};

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();

	info.keysize = sizeof(CsAccountKey);
	info.entrysize = sizeof(CsSharedAccount);

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	locks = GetNamedLWLockTranche(TRANCHE);
	accounts = ShmemInitHash("cupsource accounts", cs_guc_max_accounts, cs_guc_max_accounts, &info,
							 HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	cs_stats_shmem_attach();
	cs_changes_shmem_attach();
	cs_contact_shmem_attach();
	cs_wake_shmem_attach();
	cs_handoff_shmem_attach();
	LWLockRelease(AddinShmemInitLock);
}

void
cs_shmem_init(void)
{
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = shmem_request;
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

bool
cs_shmem_ready(void)
{
	return accounts != NULL;
}

LWLock *
cs_shared_lock(CsLock lock)
{
	return &locks[lock].lock;
}

int64
cs_monotonic_us(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MICROSEC(now);
}

static void
account_init(CsSharedAccount *account)
{
	LWLockInitialize(&account->lock, locks[0].lock.tranche);
	memset(&account->budget, 0, sizeof(account->budget));
	memset(&account->token, 0, sizeof(account->token));
	account->last_ticket = 0;
	memset(account->waiting, 0, sizeof(account->waiting));
}

/* The entry for a key that found no room: made once, for the life of the process. */
static CsSharedAccount *
local_account(const CsAccountKey *key)
{
	LocalAccount *local;

	for (local = local_accounts; local != NULL; local = local->next)
	{
		if (memcmp(&local->account.key, key, sizeof(CsAccountKey)) == 0)
			return &local->account;
	}

	if (local_accounts == NULL)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("more than %d partner accounts are in use", cs_guc_max_accounts),
				 errdetail("Further accounts have a request budget and a token per process instead of shared ones."),
				 errhint("Raise \"%s\" and restart the server.", "cupsource.max_accounts")));
	local = MemoryContextAllocZero(TopMemoryContext, sizeof(LocalAccount));
	local->account.key = *key;
	account_init(&local->account);
	local->next = local_accounts;
	local_accounts = local;
	return &local->account;
}

CsSharedAccount *
cs_shared_account(const CsAccountKey *key)
{
	CsSharedAccount *account;
	bool		found;

	LWLockAcquire(cs_shared_lock(CS_LOCK_TABLES), LW_SHARED);
	account = hash_search(accounts, key, HASH_FIND, NULL);
	LWLockRelease(cs_shared_lock(CS_LOCK_TABLES));
	if (account != NULL)
		return account;

	LWLockAcquire(cs_shared_lock(CS_LOCK_TABLES), LW_EXCLUSIVE);
	account = hash_search(accounts, key, HASH_ENTER_NULL, &found);
	if (account != NULL && !found)
		account_init(account);
	LWLockRelease(cs_shared_lock(CS_LOCK_TABLES));

	return account != NULL ? account : local_account(key);
}
