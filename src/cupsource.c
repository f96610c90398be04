/*
 * cupsource.c
 *	  The module's entry: one call per part, nothing else.
 *
 * Loaded by the postmaster it sets up shared memory, the launcher and the
 * hooks.  Loaded later it does nothing, and every SQL entry point says what
 * to configure (cs_require_preload).
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "src/base/guc.h"
#include "src/base/state.h"
#include "src/fdw/check.h"
#include "src/shared/shmem.h"
#include "src/worker/launcher.h"
#include "src/worker/utility.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	if (!process_shared_preload_libraries_in_progress)
		return;
	cs_guc_init();
	cs_shmem_init();
	cs_launcher_init();
	cs_utility_init();
	cs_fdw_init();
	cs_preloaded = true;
}
