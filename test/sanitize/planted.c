/*
 * planted.c
 *	  A fault, to see that it is found: LOAD reads past the end of a block.
 */
#include "postgres.h"

#include <stdlib.h>

#include "fmgr.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	char	   *block = calloc(1, 1);
	volatile size_t past = 1;

	if (block[past] != 0)
		elog(LOG, "there is something behind the block");
	free(block);
}
