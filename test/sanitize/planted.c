/*
 * planted.c
 *	  Faults, to see that they are found.
 */
#include "postgres.h"

#include <stdlib.h>

#include "fmgr.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(planted_address);
PG_FUNCTION_INFO_V1(planted_shift);

/* Decides by what is behind the end of a block. */
Datum
planted_address(PG_FUNCTION_ARGS)
{
	char	   *block = calloc(1, 1);
	volatile size_t past = 1;
	bool		result = block[past] != 0;

	free(block);
	PG_RETURN_BOOL(result);
}

/* Shifts by more than a number has bits. */
Datum
planted_shift(PG_FUNCTION_ARGS)
{
	volatile int bits = 40;

	PG_RETURN_INT32(1 << bits);
}
