/*
 * changes.c
 *	  How often the cached catalogues were written.
 *
 * One counter for the whole cluster, an atomic without a lock: a change in
 * another database makes a process read a little again, and no more.
 */
#include "postgres.h"

#include "port/atomics.h"
#include "storage/shmem.h"

#include "src/shared/changes.h"
#include "src/shared/layout.h"

static pg_atomic_uint64 *changes = NULL;

Size
cs_changes_shmem_size(void)
{
	return sizeof(pg_atomic_uint64);
}

void
cs_changes_shmem_attach(void)
{
	bool		found;

	changes = ShmemInitStruct("cupsource changes", cs_changes_shmem_size(), &found);
	if (!found)
		pg_atomic_init_u64(changes, 0);
}

void
cs_catalog_changed(void)
{
	pg_atomic_fetch_add_u64(changes, 1);
}

uint64
cs_catalog_changes(void)
{
	return pg_atomic_read_u64(changes);
}
