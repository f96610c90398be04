/*
 * changes.h
 *	  How often the cached catalogues were written, in all databases together:
 *	  whoever keeps something of them in his own memory looks here whether it
 *	  may have become old.
 */
#ifndef CS_SHARED_CHANGES_H
#define CS_SHARED_CHANGES_H

#include "postgres.h"

/* After the commit of what was written; before it, others may read the old once more. */
extern void cs_catalog_changed(void);

extern uint64 cs_catalog_changes(void);

#endif							/* CS_SHARED_CHANGES_H */
